/*
 * library.c - proves the calls without a descriptor: version, errors, and the choice of backend.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "helpers.h"

#include <limits.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>

/* These tests deliberately pass arguments that the compiler warns about. */
#if defined __GNUC__ && !defined __clang__
#pragma GCC diagnostic ignored "-Wnonnull"
#pragma GCC diagnostic ignored "-Wstringop-overflow"
#endif

#define CAPABILITIES                                                                            \
    (SEL_CAN_FILENO | SEL_CAN_CONCURRENT | SEL_CAN_EDGE | SEL_CAN_EXCLUSIVE | SEL_CAN_ONESHOT | \
     SEL_CAN_READ_HANGUP)

/* Returns the backend that a list opens, or NULL; *error is the result of sel_open(). */
static const char *opens(const char *list, int *error) {
    int poison;
    sel_selector *selector = (sel_selector *)&poison;
    const char *name;
    errno = UNTOUCHED;
    *error = sel_open(&selector, list);
    if (errno != UNTOUCHED)
        note("sel_open() set errno to %d", errno);
    if (*error != 0)
        return selector == NULL ? NULL : "not NULL";
    name = sel_backend_name(selector);
    sel_close(selector);
    return name;
}

static bool check_opens(int line, const char *list, const char *wanted) {
    int error;
    const char *name = opens(list, &error);
    if (error == 0 && wanted != NULL && strcmp(name, wanted) == 0)
        return !*test.failure;
    note("%s:%d: failed: \"%s\" opens %s instead of %s, %d: %s", __FILE__, line,
         list == NULL ? "NULL" : list, name == NULL ? "nothing" : name,
         wanted == NULL ? "nothing" : wanted, error, error == 0 ? "" : sel_last_error());
    return false;
}

/* A failed call returns this value, and its message contains this text, if not NULL. */
static bool check_refuses(int line, const char *list, int wanted, const char *told) {
    int error;
    const char *name = opens(list, &error), *words = sel_last_error();
    if (error == wanted && name == NULL && *words != '\0' && strchr(words, '\n') == NULL &&
        (told == NULL || strstr(words, told) != NULL))
        return !*test.failure;
    note("%s:%d: failed: \"%s\" gives %d instead of %d, *out %s, last error \"%s\"", __FILE__, line,
         list == NULL ? "NULL" : list, error, wanted, name == NULL ? "NULL" : name, words);
    return false;
}

#define OPENS(list, wanted)                       \
    do {                                          \
        if (!check_opens(__LINE__, list, wanted)) \
            return;                               \
    } while (0)
#define OPENS_NOT(list, error, told)                     \
    do {                                                 \
        if (!check_refuses(__LINE__, list, error, told)) \
            return;                                      \
    } while (0)

/* A rejected plug-in is listed under its path, which may not be a valid name in a list. */
static bool is_name(const char *name) {
    return name[strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789_-")] == '\0';
}

/* Creates a list that excludes all backends but one, or returns NULL. */
static void take_out_all_but(const char *name, char *list, size_t size) {
    sel_backend_info infos[MOST_BACKENDS];
    *list = '\0';
    for (int i = 0, count = backends(infos); i < count; i++) {
        size_t used = strlen(list);
        if (is_name(infos[i].name) && (name == NULL || strcmp(infos[i].name, name) != 0))
            snprintf(list + used, size - used, "%s-%s", used == 0 ? "" : ", ", infos[i].name);
    }
}

static void version_is_that_of_the_header(void) {
    char text[64];
    snprintf(text, sizeof text, "%d.%d.%d", SEL_VERSION_MAJOR, SEL_VERSION_MINOR,
             SEL_VERSION_PATCH);
    CHECK(strcmp(SEL_VERSION_STRING, text) == 0);
    CHECK(strcmp(sel_version(), SEL_VERSION_STRING) == 0);
}

static void errors_have_names(void) {
    const int errors[] = {EBADF, EINVAL,  ENOENT, EEXIST, ENOMEM, ENOSPC,
                          ELOOP, ENOTSUP, EMFILE, ENFILE, EPERM,  0};
    const int absurd[] = {INT_MAX, INT_MIN, INT_MIN + 1, 4096, -4096, 99999, -99999};
    for (int i = 0; i < LENGTH(errors); i++) {
        CHECK(strcmp(sel_strerror(errors[i]), strerror(errors[i])) == 0);
        CHECK(strcmp(sel_strerror(-errors[i]), strerror(errors[i])) == 0);
    }
    for (int i = 0; i < LENGTH(absurd); i++) {
        errno = UNTOUCHED;
        CHECK(sel_strerror(absurd[i]) != NULL && *sel_strerror(absurd[i]) != '\0');
        EQUAL(errno, UNTOUCHED);
    }
}

static void *fail_in_a_thread(void *result) {
    bool empty = *sel_last_error() == '\0';
    bool failed = sel_get_map(NULL, NULL, 0) == -EINVAL;
    *(bool *)result = empty && failed && strstr(sel_last_error(), sel_strerror(-EINVAL)) != NULL;
    return NULL;
}

static void each_thread_has_its_last_error(void) {
    pthread_t thread;
    bool good = false;
    sel_selector *selector = open_selector(NULL);
    int fd = make_event();
    sel_key key;
    REFUSED(sel_get_key(selector, fd, &key), -ENOENT);
    CHECK(pthread_create(&thread, NULL, fail_in_a_thread, &good) == 0);
    CHECK(pthread_join(thread, NULL) == 0);
    CHECK(good);
    CHECK(strstr(sel_last_error(), sel_strerror(-ENOENT)) != NULL);
    OK(sel_register(selector, fd, SEL_READ, NULL));
    CHECK(strstr(sel_last_error(), sel_strerror(-ENOENT)) != NULL);
    REFUSED(sel_register(selector, fd, SEL_READ, NULL), -EEXIST);
    REFUSED(sel_select(selector, NULL, 0, 0), -EINVAL);
}

static void backends_are_described_best_first(void) {
    sel_backend_info infos[MOST_BACKENDS], first[2];
    int count = sel_backends(NULL, 0);
    CHECK(count >= 1 && count <= MOST_BACKENDS);
    EQUAL(sel_backends(infos, MOST_BACKENDS), count);
    for (int i = 0; i < count; i++) {
        CHECK(infos[i].name != NULL && *infos[i].name != '\0');
        CHECK(infos[i].rank >= 0 && (i == 0 || infos[i].rank <= infos[i - 1].rank));
        CHECK((infos[i].capabilities & ~CAPABILITIES) == 0);
        for (int j = 0; j < i; j++)
            CHECK(strcmp(infos[i].name, infos[j].name) != 0);
        if (!is_name(infos[i].name)) {
            CHECK(infos[i].reason != NULL && infos[i].origin != NULL);
        } else if (infos[i].reason == NULL) {
            OPENS(infos[i].name, infos[i].name);
        } else {
            CHECK(*infos[i].reason != '\0');
            OPENS_NOT(infos[i].name, -ENOTSUP, infos[i].name);
        }
    }
    memset(first, 0, sizeof first);
    EQUAL(sel_backends(first, 1), count);
    CHECK(first[0].name == infos[0].name && first[1].name == NULL);
    REFUSED(sel_backends(infos, -1), -EINVAL);
    REFUSED(sel_backends(NULL, 1), -EINVAL);
    REFUSED(sel_backends(NULL, -1), -EINVAL);
}

static void best_backend_is_the_default(void) {
    OPENS(NULL, best_but(""));
    OPENS("-epoll", best_but("epoll"));
    OPENS(" -epoll ", best_but("epoll"));
    OPENS("-poll", best_but("poll"));
}

static void open_needs_a_place_to_store(void) {
    errno = UNTOUCHED;
    EQUAL(sel_open(NULL, "poll"), -EINVAL);
    EQUAL(sel_open(NULL, NULL), -EINVAL);
    EQUAL(errno, UNTOUCHED);
    CHECK(*sel_last_error() != '\0');
}

static void lists_are_tried_in_order(void) {
    char list[2048];
    OPENS("poll", "poll");
    OPENS("  poll", "poll");
    OPENS(" poll , select ", "poll");
    OPENS("select,poll", "select");
    OPENS("select ,poll,epoll", "select");
    OPENS("-epoll,poll", "poll");
    take_out_all_but("select", list, sizeof list);
    OPENS(list, "select");
}

static void malformed_lists_are_refused(void) {
    const char *const lists[] = {
        "", " ", ",", "epoll,,poll", "poll,", ",poll", "poll, ,select", "-", "poll,-"};
    for (int i = 0; i < LENGTH(lists); i++)
        OPENS_NOT(lists[i], -EINVAL, NULL);
}

static void unknown_names_are_refused(void) {
    const char *const lists[] = {"nonsense",        "nonsense,poll", "poll,nonsense",
                                 " nonsense ,poll", "-nonsense",     "poll,-nonsense"};
    sel_backend_info infos[MOST_BACKENDS];
    for (int i = 0; i < LENGTH(lists); i++) {
        OPENS_NOT(lists[i], -ENOENT, "nonsense");
        for (int j = 0, count = backends(infos); j < count; j++)
            OPENS_NOT(lists[i], -ENOENT, infos[j].name);
    }
    OPENS_NOT("pol", -ENOENT, "pol");
    OPENS_NOT("polls", -ENOENT, "polls");
    OPENS_NOT("Poll", -ENOENT, "Poll");
    OPENS_NOT("poll select", -ENOENT, NULL);
    OPENS_NOT("--poll", -ENOENT, NULL);
    OPENS_NOT("\xff\xfe", -ENOENT, NULL);
    OPENS_NOT("two\nlines", -ENOENT, NULL);
}

static void endless_name_is_refused(void) {
    static char name[100000];
    memset(name, 'x', sizeof name - 1);
    OPENS_NOT(name, -ENOENT, "poll");
}

/* A built-in backend that this system lacks, or NULL. */
static const char *of_another_system(void) {
    sel_backend_info infos[MOST_BACKENDS];
    for (int i = 0, count = backends(infos); i < count; i++)
        if (infos[i].origin == NULL && infos[i].reason != NULL)
            return infos[i].name;
    return NULL;
}

static void unusable_names_are_refused_or_passed_over(void) {
    char list[2048];
    const char *other = of_another_system();
    if (other != NULL) {
        OPENS_NOT(other, -ENOTSUP, other);
        snprintf(list, sizeof list, "%s,poll", other);
        OPENS(list, "poll");
    }
    take_out_all_but(NULL, list, sizeof list);
    OPENS_NOT(list, -ENOTSUP, NULL);
}

#define NEEDS_ENVIRONMENT                                                  \
    do {                                                                   \
        if (getauxval(AT_SECURE))                                          \
            SKIP("a privileged process does not look at its environment"); \
    } while (0)

static void environment_chooses_the_backend(void) {
    char list[64];
    NEEDS_ENVIRONMENT;
    setenv("SELECTORS_BACKEND", "select", 1);
    OPENS(NULL, "select");
    OPENS("poll", "poll");
    setenv("SELECTORS_BACKEND", " poll , select ", 1);
    OPENS(NULL, "poll");
    setenv("SELECTORS_BACKEND", "-epoll", 1);
    OPENS(NULL, best_but("epoll"));
    if (of_another_system() != NULL) {
        snprintf(list, sizeof list, "%s,poll", of_another_system());
        setenv("SELECTORS_BACKEND", list, 1);
        OPENS(NULL, "poll");
    }
    setenv("SELECTORS_BACKEND", "", 1);
    OPENS(NULL, best_but(""));
    unsetenv("SELECTORS_BACKEND");
    OPENS(NULL, best_but(""));
}

static void wrong_word_in_the_environment_is_refused(void) {
    NEEDS_ENVIRONMENT;
    setenv("SELECTORS_BACKEND", "poll,nonsense", 1);
    OPENS_NOT(NULL, -ENOENT, "SELECTORS_BACKEND");
    OPENS_NOT(NULL, -ENOENT, "nonsense");
    OPENS_NOT(NULL, -ENOENT, "select");
    OPENS("poll", "poll");
    setenv("SELECTORS_BACKEND", "epoll,,poll", 1);
    OPENS_NOT(NULL, -EINVAL, "SELECTORS_BACKEND");
    if (of_another_system() != NULL) {
        setenv("SELECTORS_BACKEND", of_another_system(), 1);
        OPENS_NOT(NULL, -ENOTSUP, "SELECTORS_BACKEND");
    }
}

static void open_tells_that_no_descriptor_is_left(void) {
    int poison, result;
    sel_selector *other = (sel_selector *)&poison;
    CHECK(use_up_descriptors());
    errno = UNTOUCHED;
    result = sel_open(&other, test.backend);
    EQUAL(errno, UNTOUCHED);
    EQUAL(result, -EMFILE);
    CHECK(other == NULL);
    CHECK(*sel_last_error() != '\0');
}

const struct fact library_facts[] = {
    FACT_ALONE("the version is that of the header", version_is_that_of_the_header),
    FACT_ALONE("errors have names", errors_have_names),
    FACT_ALONE("each thread has its last error", each_thread_has_its_last_error),
    FACT_ALONE("backends are described, the best first", backends_are_described_best_first),
    FACT_ALONE("the best backend is the default", best_backend_is_the_default),
    FACT_ALONE("sel_open needs a place to store", open_needs_a_place_to_store),
    FACT_ALONE("lists of names are tried in order", lists_are_tried_in_order),
    FACT_ALONE("malformed lists are refused", malformed_lists_are_refused),
    FACT_ALONE("unknown names are refused, with the names there are", unknown_names_are_refused),
    FACT_ALONE("an endless name is refused", endless_name_is_refused),
    FACT_ALONE("names that cannot be used are refused, or passed over",
               unusable_names_are_refused_or_passed_over),
    FACT_ALONE("the environment chooses the backend", environment_chooses_the_backend),
    FACT_ALONE("a wrong word in the environment is refused",
               wrong_word_in_the_environment_is_refused),
    END_OF_FACTS,
};

const struct fact exhaustion_facts[] = {
    FACT_ALONE("no descriptors left", open_tells_that_no_descriptor_is_left),
    END_OF_FACTS,
};
