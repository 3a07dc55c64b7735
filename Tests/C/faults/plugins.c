/*
 * plugins.c - tests of plug-ins, which must pass with each fault, like the conformance tests.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "../conformance/helpers.h"
#include "faults.h"

#include <limits.h>
#include <selectors_plugin.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define MISSING_FILE "/none/none.so"

/* The plug-in in this program's folder. */
static const char *plugin(void) {
    static char path[PATH_MAX];
    ssize_t length = readlink("/proc/self/exe", path, sizeof path - 1);
    char *slash;
    path[length < 0 ? 0 : length] = '\0';
    slash = strrchr(path, '/');
    if (slash != NULL)
        snprintf(slash, sizeof path - (size_t)(slash - path), "/plugins/wrong.so");
    return path;
}

/* The number of backends with a path, including rejected ones. */
static int count_from(const char *path, const char **name) {
    sel_backend_info infos[MOST_BACKENDS];
    int count = sel_backends(infos, MOST_BACKENDS), found = 0;
    for (int i = 0; i < count && i < MOST_BACKENDS; i++)
        if (infos[i].origin != NULL && strcmp(infos[i].origin, path) == 0) {
            *name = infos[i].reason == NULL ? infos[i].name : "refused";
            found++;
        }
    return found;
}

static void backend_works(const char *name) {
    int ends[2];
    sel_selector *selector = open_selector(name);
    CHECK(selector != NULL && make_pair(ends));
    OK(sel_register(selector, ends[0], SEL_READ, NULL));
    CHECK(quiet(selector));
    CHECK(put(ends[1]) && sees(selector, ends[0], SEL_READ, 0));
    OK(sel_modify(selector, ends[0], BOTH, NULL));
    CHECK(sees(selector, ends[0], BOTH, 0));
    OK(sel_unregister(selector, ends[0], NULL));
    CHECK(quiet(selector));
    OK(close_selector(selector));
}

static void a_plugin_is_loaded(void) {
    const char *name = "";
    OK(sel_load_plugin(plugin()));
    EQUAL(count_from(plugin(), &name), 1);
    CHECK(strcmp(name, "wrong") == 0);
    backend_works("wrong");
    OK(sel_load_plugin(plugin()));
    EQUAL(count_from(plugin(), &name), 1);
}

static void a_plugin_is_named(void) {
    const char *name = "";
    setenv("SELECTORS_PLUGINS", plugin(), 1);
    /* The environment is read once: after a resource shortage the plug-in is not loaded. */
    sel_backends(NULL, 0);
    unsetenv("SELECTORS_PLUGINS");
    if (count_from(plugin(), &name) == 1 && strcmp(name, "refused") == 0)
        plan->retired++;
    OK(sel_load_plugin(plugin()));
    EQUAL(count_from(plugin(), &name), 1);
    CHECK(strcmp(name, "wrong") == 0);
    backend_works("wrong");
}

static void a_plugin_is_missing(void) {
    const char *name = "";
    for (int i = 0; i < 2; i++)
        EQUAL(sel_load_plugin(MISSING_FILE), -ELIBACC);
    EQUAL(sel_load_plugin("/proc/self/none\n"), -ELIBACC);
    EQUAL(sel_load_plugin("none.so"), -EINVAL);
    CHECK(count_from(MISSING_FILE, &name) <= 1);
    backend_works(NULL);
}

/* A backend that never reports anything. */

static int open_idle(void **instance) {
    *instance = NULL;
    return 0;
}

static int add_idle(void *instance, int fd, uint32_t mask, uint64_t token) {
    (void)instance, (void)fd, (void)mask, (void)token;
    return 0;
}

static int remove_idle(void *instance, int fd) {
    (void)instance, (void)fd;
    return 0;
}

static int wait_idle(void *instance, sel_backend_event *events, int max, int64_t timeout_ns,
                     const sigset_t *signals) {
    (void)instance, (void)events, (void)max, (void)timeout_ns, (void)signals;
    return 0;
}

static void close_idle(void *instance) {
    (void)instance;
}

static void a_backend_is_added(void) {
    const sel_backend_ops idle = {.abi = SEL_PLUGIN_ABI,
                                  .size = sizeof idle,
                                  .name = "idle",
                                  .open = open_idle,
                                  .add = add_idle,
                                  .modify = add_idle,
                                  .remove = remove_idle,
                                  .wait = wait_idle,
                                  .close = close_idle};
    int before = sel_backends(NULL, 0);
    sel_selector *selector;
    OK(sel_add_backend(&idle));
    EQUAL(sel_add_backend(&idle), -EEXIST);
    EQUAL(sel_backends(NULL, 0), before + 1);
    OK(sel_open(&selector, "idle"));
    OK(sel_register(selector, make_event(), SEL_READ, NULL));
    CHECK(quiet(selector));
    OK(sel_close(selector));
}

const struct fact plugin_facts[] = {
    FACT_ALONE("a backend is added, once", a_backend_is_added),
    FACT_ALONE("a plug-in is loaded, once", a_plugin_is_loaded),
    FACT_ALONE("a plug-in that the environment names is loaded", a_plugin_is_named),
    FACT_ALONE("a plug-in that is missing is refused", a_plugin_is_missing),
    END_OF_FACTS,
};
