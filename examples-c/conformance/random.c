/*
 * random.c - proves that random changes agree with a model.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "helpers.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { POOL = 24, FILES = 3, STEPS = 4000 };

enum state { EMPTY, SOME, FULL }; /* of the counter of an eventfd */

struct model {
    int fd;
    bool is_file; /* always ready, its state does not matter */
    enum state state;
    int place; /* in the order of registration; 0: not registered */
    uint32_t events;
    void *data;
};

static uint64_t seed;

static unsigned pick(unsigned below) {
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return (unsigned)(seed >> 32) % below;
}

static uint32_t readiness(const struct model *model) {
    static const uint32_t of_state[] = {[EMPTY] = SEL_WRITE, [SOME] = BOTH, [FULL] = SEL_READ};
    return model->events & (model->is_file ? BOTH : of_state[model->state]);
}

/* The model of what is registered under a number, or NULL. */
static struct model *model_of(struct model *models, int fd) {
    for (int i = 0; i < POOL; i++)
        if (models[i].fd == fd)
            return models[i].place != 0 ? &models[i] : NULL;
    return NULL;
}

static bool agrees(const struct model *model, const sel_key *key) {
    return model != NULL && key->events == model->events && key->data == model->data;
}

static bool set_state(struct model *model, enum state state) {
    uint64_t count = state == SOME ? 1 : UINT64_MAX - 1;
    if (model->is_file)
        return true;
    if (model->state != EMPTY && !take(model->fd))
        return false;
    model->state = state;
    return state == EMPTY || write(model->fd, &count, sizeof count) == (ssize_t)sizeof count;
}

static bool make_anew(struct model *model) {
    model->fd = model->is_file ? make_file() : make_event();
    model->state = EMPTY;
    return model->fd >= 0;
}

static bool unregister(sel_selector *selector, struct model *model, int fd) {
    int wanted = model->place != 0 ? 0 : -ENOENT;
    model->place = 0;
    return sel_unregister(selector, fd, NULL) == wanted;
}

/* Closes a descriptor and makes another one, and unregisters it before, in between or after. */
static bool replace(sel_selector *selector, struct model *model) {
    int fd = model->fd;
    if (pick(2))
        return unregister(selector, model, fd) && drop(fd) && make_anew(model);
    if (!drop(fd))
        return false;
    if (pick(2))
        return make_anew(model) && unregister(selector, model, fd);
    return unregister(selector, model, fd) && make_anew(model);
}

static bool select_agrees(sel_selector *selector, struct model *models) {
    sel_event events[POOL + 4];
    bool seen[POOL] = {false};
    int max = 1 + (int)pick(POOL + 4), ready = 0;
    int count = sel_select(selector, events, max, 0);
    for (int i = 0; i < POOL; i++)
        ready += models[i].place && readiness(&models[i]);
    if (count > max || (ready <= max ? count != ready : count < 1))
        return false;
    for (int i = 0; i < count; i++) {
        const struct model *model = model_of(models, events[i].key.fd);
        if (!agrees(model, &events[i].key) || seen[model - models] ||
            events[i].events != readiness(model) || events[i].detail != 0)
            return false;
        seen[model - models] = true;
    }
    return true;
}

static bool map_agrees(sel_selector *selector, struct model *models) {
    sel_key keys[POOL];
    int count = sel_get_map(selector, keys, POOL), registered = 0, last = 0;
    for (int i = 0; i < POOL; i++)
        registered += models[i].place != 0;
    if (count != registered)
        return false;
    for (int i = 0; i < count; i++) {
        const struct model *model = model_of(models, keys[i].fd);
        if (!agrees(model, &keys[i]) || model->place <= last)
            return false;
        last = model->place;
    }
    return true;
}

static bool random_step(sel_selector *selector, struct model *models, int step) {
    struct model *model = &models[pick(POOL)];
    uint32_t events = 1 + pick(3);
    void *data = (void *)(uintptr_t)step;
    int result;
    switch (pick(7)) {
    case 0:
        result = sel_register(selector, model->fd, events, data);
        if (model->place)
            return result == -EEXIST;
        model->events = events;
        model->data = data;
        model->place = step;
        return result == 0;
    case 1: return unregister(selector, model, model->fd);
    case 2:
        result = sel_modify(selector, model->fd, events, data);
        if (!model->place)
            return result == -ENOENT;
        model->events = events;
        model->data = data;
        return result == 0;
    case 3: return set_state(model, (enum state)pick(3));
    case 4: return pick(4) != 0 || replace(selector, model);
    case 5: return map_agrees(selector, models);
    default: return select_agrees(selector, models);
    }
}

static void random_changes_agree_with_a_model(sel_selector *selector) {
    struct model models[POOL];
    const char *wish = getenv("CONFORMANCE_SEED");
    unsigned long long first = wish != NULL ? strtoull(wish, NULL, 0) : (unsigned long long)now();
    seed = first | 1;
    memset(models, 0, sizeof models);
    for (int i = 0; i < POOL; i++) {
        models[i].is_file = i < FILES;
        CHECK(make_anew(&models[i]));
    }
    for (int step = 1; step <= STEPS; step++) {
        if (!random_step(selector, models, step) || !select_agrees(selector, models)) {
            note("CONFORMANCE_SEED=%llu fails in step %d", first, step);
            return;
        }
    }
    CHECK(map_agrees(selector, models));
}

const struct fact random_facts[] = {
    FACT("random changes agree with a model", random_changes_agree_with_a_model),
    END_OF_FACTS,
};
