/*
 * model.c - predicts a selector's results from the simulated kernel objects.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "model.h"

#include <poll.h>
#include <string.h>

#define BIT(file) (UINT64_C(1) << (file))

struct model model;

void model_begin(const sel_backend_info *backend, bool is_nested) {
    model = (struct model){
        .capabilities = backend->capabilities,
        .watches_both = strcmp(backend->name, "kqueue") == 0,
        .may_lose_numbers = strcmp(backend->name, "devpoll") == 0,
        .is_select = strcmp(backend->name, "select") == 0,
        .is_nested = is_nested,
    };
    model.watches_files = backend->capabilities & SEL_CAN_CONCURRENT && !model.watches_both;
    model.holds_files = backend->origin != NULL && !model.watches_files;
}

struct registration *model_find(int number) {
    struct registration *registration = &model.registrations[number];
    return registration->events != 0 ? registration : NULL;
}

int model_count(void) {
    int count = 0;
    for (int i = 0; i < NUMBERS; i++)
        count += model_find(i) != NULL;
    return count;
}

static unsigned number_bits(int number) {
    return world.file[number] == NONE ? POLLNVAL : world_bits(world_file(number));
}

/* What the kernel would attach a registration to if it were added now. */
static struct watch watch_of(int number, uint32_t events) {
    const struct file *file = world_file(number);
    bool is_refused = file == NULL || file->kind == REGULAR || file->kind == NULL_DEVICE;
    if (model.watches_files)
        is_refused |= file != NULL && file->kind == SELECTOR && events & SEL_EXCLUSIVE;
    else
        is_refused |= !model.watches_both || events & SEL_PRIORITY;
    if (is_refused)
        return (struct watch){.number = true};
    return (struct watch){.files = BIT(world.file[number])};
}

/* The bits that a registration is reported for. */
static unsigned asked_bits(uint32_t events) {
    unsigned bits = POLLERR | POLLHUP | POLLNVAL;
    if (events & SEL_READ)
        bits |= POLLIN | (events & SEL_EXCLUSIVE ? 0 : POLLRDHUP);
    return bits | (events & SEL_WRITE ? POLLOUT : 0) | (events & SEL_PRIORITY ? POLLPRI : 0);
}

/* An attachment to a file that no longer has the number stays in the kernel when it is removed. */
static void leave_behind(int number) {
    const struct registration *registration = &model.registrations[number];
    uint32_t one = registration->events, other = registration->installed;
    for (int i = 0; i < FILES && model.watches_files; i++) {
        struct left *left = &model.left[i];
        if (!(registration->watch.files & BIT(i)) || i == world.file[number])
            continue;
        left->must = left->may == 0 ? ~0u : left->must;
        left->must &= (one | other) & SEL_EDGE ? 0 : asked_bits(one & other);
        left->may |= asked_bits(one | other);
        model.reported &= ~BIT(i);
    }
}

/* Whether a stale attachment is ready, and so may be reported. */
static bool may_report_left(void) {
    for (int i = 0; i < FILES; i++)
        if (model.left[i].may & world_bits(&world.files[i]))
            return true;
    return false;
}

/* Removes a registration from the kernel's set. */
static void detach(int number) {
    struct registration *registration = &model.registrations[number];
    leave_behind(number);
    registration->watch = (struct watch){.nothing = true};
    registration->installed = 0;
}

static void attach(int number) {
    struct registration *registration = &model.registrations[number];
    detach(number);
    registration->watch = watch_of(number, registration->events);
    registration->installed = registration->events;
    registration->seen = number_bits(number);
    registration->owed = ~0u;
    registration->is_vague = false;
}

/* The registration may also be attached to the file that has the number now. */
static void suspect(int number) {
    struct registration *registration = &model.registrations[number];
    struct watch now = watch_of(number, registration->events);
    registration->watch.files |= now.files;
    registration->watch.number |= now.number;
}

static void apply_changes(void) {
    for (int i = 0; i < NUMBERS; i++) {
        struct registration *registration = model_find(i);
        if (registration == NULL)
            continue;
        if (registration->is_vague || registration->may_be_told) {
            leave_behind(i);
            suspect(i);
        }
        if (registration->disarmed) {
            if (registration->installed != SPENT)
                detach(i);
        } else if (registration->may_be_told) {
            registration->installed = registration->events;
        } else if (registration->installed != registration->events) {
            attach(i);
        }
        registration->may_be_told = false;
    }
}

/* The library may have rebuilt its kernel set from the current files. */
static void suspect_rebuild(void) {
    for (int i = 0; i < NUMBERS; i++) {
        struct registration *registration = model_find(i);
        if (registration == NULL || (registration->disarmed && (registration->installed == 0 ||
                                                                registration->installed == SPENT)))
            continue;
        if (registration->installed == 0 && !registration->may_be_told)
            registration->watch.nothing = false; /* it is armed: what follows will be told */
        suspect(i);
        registration->may_be_told |= registration->installed != registration->events;
    }
}

/* The library has rebuilt its kernel set. */
static void rebuild(void) {
    for (int i = 0; i < NUMBERS; i++) {
        struct registration *registration = model_find(i);
        if (registration == NULL)
            continue;
        detach(i);
        if (!registration->disarmed) {
            registration->watch = watch_of(i, registration->events);
            registration->installed = registration->events;
            registration->seen = number_bits(i);
        }
    }
    memset(model.left, 0, sizeof model.left);
    model.is_inherited = false;
}

/* A stale event that was reported made the next call rebuild the set. */
static void forget_reported(void) {
    for (int i = 0; i < FILES; i++)
        if (model.reported & BIT(i))
            model.left[i] = (struct left){0};
    model.reported = 0;
}

void model_register(int number, uint32_t events, void *data) {
    if (model.is_inherited)
        rebuild();
    else if (model.may_be_rebuilt)
        suspect_rebuild();
    forget_reported();
    model.registrations[number] =
        (struct registration){.events = events, .data = data, .place = ++model.places};
    attach(number);
}

void model_modify(int number, uint32_t events, void *data) {
    struct registration *registration = &model.registrations[number];
    registration->events = events;
    registration->data = data;
    registration->disarmed = false;
    if (model.is_nested && !model.is_inherited)
        apply_changes();
}

void model_unregister(int number) {
    detach(number);
    model.registrations[number].events = 0;
}

void model_renamed(int number, int ended) {
    struct registration *registration = &model.registrations[number];
    /* It is unknown whether this was an edge, and whether another will follow. */
    registration->is_vague = registration->events & SEL_EDGE;
    if (model.holds_files && registration->installed != 0)
        registration->watch =
            (struct watch){.files = ~UINT64_C(0), .number = true, .nothing = true};
    if (model.may_lose_numbers && registration->watch.number)
        registration->watch.nothing = true;
    if (model.watches_both && registration->watch.files != 0) {
        registration->watch.files = 0;
        registration->watch.nothing = true;
    }
    if (ended == NONE)
        return;
    model.left[ended] = (struct left){0};
    for (int i = 0; i < NUMBERS; i++) {
        struct watch *watch = &model.registrations[i].watch;
        if (watch->files & BIT(ended)) {
            watch->files &= ~BIT(ended);
            watch->nothing = true;
        }
    }
}

void model_inherit(void) {
    world_inherit();
    model.is_inherited = true;
    model.may_be_rebuilt = false;
    if (model.wake == WAKES)
        model.wake = MAY_WAKE;
}

/* The only file to which it is attached, or NULL. */
static const struct file *only_file(const struct watch *watch) {
    for (int i = 0; i < FILES; i++)
        if (watch->files == BIT(i) && !watch->number && !watch->nothing)
            return &world.files[i];
    return NULL;
}

static bool is_only_number(const struct watch *watch) {
    return watch->number && watch->files == 0 && !watch->nothing;
}

void model_observe(void) {
    for (int i = 0; i < NUMBERS; i++) {
        struct registration *registration = model_find(i);
        if (registration == NULL || !(registration->events & SEL_EDGE))
            continue;
        const struct file *file = only_file(&registration->watch);
        if (file == NULL)
            continue;
        unsigned bits = world_bits(file);
        registration->owed |= (bits & ~registration->seen) | (file->arrived ? POLLIN : 0);
        registration->seen = bits;
    }
    for (int i = 0; i < FILES; i++)
        world.files[i].arrived = false;
}

/* A wait that finds nothing ready has the backend watch what was left to poll(2), if it can. */
static void suspect_adoption(void) {
    bool adopts = model.watches_files || model.watches_both;
    for (int i = 0; i < NUMBERS && adopts; i++) {
        const struct registration *registration = model_find(i);
        if (registration != NULL && !registration->disarmed && registration->watch.number)
            suspect(i);
    }
}

void model_select(void) {
    if (model.is_inherited)
        rebuild();
    apply_changes();
    suspect_adoption();
    if (model.may_be_rebuilt)
        suspect_rebuild();
    forget_reported();
    model.may_be_rebuilt = may_report_left();
    if (model.may_be_rebuilt)
        suspect_rebuild();
}

/* The bits that select(2) sees. */
static unsigned visible_bits(uint32_t events) {
    return (events & SEL_READ ? POLLIN | POLLHUP | POLLERR : 0) |
           (events & SEL_WRITE ? POLLOUT | POLLERR : 0) | (events & SEL_PRIORITY ? POLLPRI : 0) |
           POLLNVAL;
}

/* What bits mean for a registration: whether they make it ready, for what and why. */
static bool means(unsigned bits, uint32_t interest, uint32_t *events, uint32_t *detail) {
    bits &= asked_bits(interest);
    *events = (bits & (POLLIN | POLLRDHUP) ? SEL_READ : 0) | (bits & POLLOUT ? SEL_WRITE : 0) |
              (bits & POLLPRI ? SEL_PRIORITY : 0);
    if (bits & (POLLERR | POLLHUP | POLLNVAL))
        *events = WAITABLE;
    *events &= interest;
    *detail = (bits & POLLHUP ? SEL_HANGUP : 0) | (bits & POLLRDHUP ? SEL_READ_HANGUP : 0) |
              (bits & POLLERR ? SEL_ERROR : 0) | (bits & POLLNVAL ? SEL_INVALID : 0);
    return *events != 0;
}

static bool agrees(unsigned bits, uint32_t interest, const sel_event *event) {
    uint32_t events, detail;
    return means(bits, interest, &events, &detail) && event->events == events &&
           event->detail == detail;
}

/* Each filter of a kqueue has its own edges: an event has all that is new, and may lack the rest. */
static bool agrees_in_part(unsigned bits, const struct registration *registration,
                           const sel_event *event) {
    uint32_t events, detail, new_events = 0, new_detail;
    if (!model.watches_both || !(registration->events & SEL_EDGE) ||
        !means(bits, registration->events, &events, &detail))
        return false;
    means(bits & registration->owed, registration->events, &new_events, &new_detail);
    return event->events != 0 && (event->events & ~events) == 0 && (event->detail & ~detail) == 0 &&
           (new_events & ~event->events) == 0;
}

bool model_allows(int number, const sel_event *event) {
    const struct registration *registration = model_find(number);
    if (registration == NULL || registration->disarmed)
        return false;
    if (registration->watch.number && agrees(number_bits(number), registration->events, event))
        return true;
    for (int i = 0; i < FILES; i++)
        if (registration->watch.files & BIT(i) &&
            (agrees(world_bits(&world.files[i]), registration->events, event) ||
             agrees_in_part(world_bits(&world.files[i]), registration, event)))
            return true;
    return false;
}

bool model_requires(int number) {
    const struct registration *registration = model_find(number);
    uint32_t events, detail;
    if (registration == NULL || registration->disarmed || registration->watch.nothing)
        return false;
    const struct watch *watch = &registration->watch;
    unsigned bits = ~0u, counted = asked_bits(registration->events);
    if (registration->events & SEL_EDGE) {
        if (registration->is_vague || (!is_only_number(watch) && only_file(watch) == NULL))
            return false;
        counted &= registration->owed;
    }
    if (model.is_select)
        counted &= visible_bits(registration->events);
    /* It must be ready if every possible attachment is. */
    if (watch->number)
        bits &= number_bits(number);
    for (int i = 0; i < FILES; i++)
        if (watch->files & BIT(i))
            bits &= world_bits(&world.files[i]);
    return means(bits & counted, registration->events, &events, &detail);
}

void model_reported(int number) {
    struct registration *registration = &model.registrations[number];
    registration->owed = 0;
    /* A descriptor that is watched by its number has no edges. */
    if (registration->events & SEL_ONESHOT ||
        (registration->events & SEL_EDGE && !registration->is_vague &&
         is_only_number(&registration->watch)))
        registration->disarmed = true;
    if (registration->events & SEL_ONESHOT && !(registration->events & SEL_EXCLUSIVE) &&
        model.capabilities & SEL_CAN_ONESHOT && !is_only_number(&registration->watch))
        registration->installed = SPENT;
}

void model_selected(int count, int max) {
    /* A wake-up takes the room of an event, and so does a stale attachment. */
    if (max == ROOMY || (count < max && !model.may_be_rebuilt))
        model.wake = SLEEPS;
    else if (model.wake == WAKES)
        model.wake = MAY_WAKE;
    for (int i = 0; i < FILES && max == ROOMY; i++)
        if (model.left[i].must & world_bits(&world.files[i]))
            model.reported |= BIT(i);
    if (model.is_nested)
        apply_changes();
}

bool model_requires_readable(void) {
    if (model.is_inherited || model.may_be_rebuilt)
        return false;
    for (int i = 0; i < NUMBERS; i++)
        if (only_file(&model.registrations[i].watch) != NULL && model_requires(i))
            return true;
    return false;
}

bool model_allows_readable(void) {
    uint32_t events, detail;
    uint64_t files;
    if (model.is_inherited || model.may_be_rebuilt || model.wake != SLEEPS)
        return true;
    if (may_report_left())
        return true;
    for (int i = 0; i < NUMBERS; i++) {
        const struct registration *registration = model_find(i);
        if (registration == NULL || registration->disarmed)
            continue;
        files = registration->watch.files;
        for (int j = 0; j < FILES; j++)
            if (files & BIT(j) &&
                means(world_bits(&world.files[j]), registration->events, &events, &detail))
                return true;
    }
    return false;
}
