/*
 * paths.c - proves that a plug-in is loaded by its path, or rejected with the reason.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "plugins.h"

#include <dlfcn.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

enum { NOT_PRIVILEGED = 77, NOT_RUN };

static bool write_text(const char *path) {
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    bool written = fd >= 0 && write(fd, "no library\n", 11) == 11;
    close(fd);
    return written;
}

static void what_is_no_library_is_refused(void) {
    char path[64];
    CHECK(write_text(scratch(path, "text.so")));
    REFUSES(sel_load_plugin(path), -ELIBACC, path, "file too short");
    CHECK(listed_as_refused(path, "file too short"));
    scratch(path, "");
    REFUSES(sel_load_plugin(path), -ELIBACC, path);
    REFUSES(sel_load_plugin("plugins/missing.so"), -ELIBACC, "\"plugins/missing.so\"",
            "No such file or directory");
    CHECK(listed_as_refused("plugins/missing.so", "No such file or directory"));
    CHECK(built_ins_work());
}

static void a_library_that_is_no_plugin_is_refused(void) {
    Dl_info library;
    void *libc = dlopen("libc.so.6", RTLD_NOW | RTLD_NOLOAD);
    CHECK(libc != NULL && dladdr(dlsym(libc, "poll"), &library) != 0);
    REFUSES(sel_load_plugin(library.dli_fname), -EINVAL, library.dli_fname,
            "it has no function sel_plugin");
    CHECK(listed_as_refused(library.dli_fname, "it has no function sel_plugin"));
    CHECK(dlclose(libc) == 0);
    CHECK(built_ins_work());
}

static void a_path_needs_a_slash(void) {
    REFUSES(sel_load_plugin("wrong.so"), -EINVAL, "\"wrong.so\"", "no slash");
    CHECK(listed_as_refused("wrong.so", "no slash"));
    REFUSES(sel_load_plugin(""), -EINVAL, "plug-in", "no path");
    REFUSES(sel_load_plugin(NULL), -EINVAL, "plug-in");
    CHECK(listed("") == NULL);
    CHECK(built_ins_work());
}

static void a_path_may_be_odd_or_long(void) {
    char path[PATH_MAX] = "";
    REFUSES(sel_load_plugin("odd/\n\033[2J\x7f.so"), -ELIBACC, "\"odd/??[2J?.so\"");
    REFUSES(sel_load_plugin("odd/\xc3\xb6\xff.so"), -ELIBACC, "\"odd/");
    for (int i = 0; i < 8; i++)
        strcat(path, "/a-folder-with-a-name");
    strcat(path, "/plugin.so");
    REFUSES(sel_load_plugin(path), -ELIBACC, path, "No such file or directory");
    memset(path, 'x', sizeof path - 1);
    REFUSES(sel_load_plugin(path), -EINVAL, "no slash");
    path[0] = '/';
    REFUSES(sel_load_plugin(path), -ELIBACC, "File name too long");
    CHECK(built_ins_work());
}

static void a_refused_plugin_may_come_back(void) {
    char path[64];
    CHECK(write_text(scratch(path, "late.so")));
    REFUSES(sel_load_plugin(path), -ELIBACC, path, "file too short");
    CHECK(unlink(path) == 0);
    REFUSES(sel_load_plugin(path), -ELIBACC, path, "No such file or directory");
    CHECK(listed_as_refused(path, "No such file or directory"));
    CHECK(copy_file(PLUGIN, path));
    OK(sel_load_plugin(path));
    CHECK(listed(path) == NULL);
    CHECK(works("wrong"));
    CHECK(strcmp(listed("wrong")->origin, path) == 0);
}

static void the_same_plugin_is_added_once(void) {
    char path[64];
    CHECK(symlink(realpath(PLUGIN, (char[PATH_MAX]){0}), scratch(path, "link.so")) == 0);
    OK(sel_load_plugin(PLUGIN));
    OK(sel_load_plugin(PLUGIN));
    OK(sel_load_plugin("./" PLUGIN));
    OK(sel_load_plugin(path));
    CHECK(unlink(path) == 0);
    EQUAL(sel_backends(NULL, 0), BUILT_IN + 1);
    CHECK(strcmp(listed("wrong")->origin, PLUGIN) == 0);
    CHECK(works("wrong"));
}

static void of_two_with_one_name_the_second_is_refused(void) {
    char path[64];
    CHECK(copy_file(PLUGIN, scratch(path, "copy.so")));
    OK(sel_load_plugin(PLUGIN));
    REFUSES(sel_load_plugin(path), -EEXIST, path, "backend \"wrong\" exists already");
    CHECK(listed_as_refused(path, "backend \"wrong\" exists already"));
    CHECK(strcmp(listed("wrong")->origin, PLUGIN) == 0);
    CHECK(works("wrong"));
    CHECK(built_ins_work());
}

static void the_environment_names_plugins(void) {
    char copy[64], list[256];
    CHECK(copy_file(PLUGIN, scratch(copy, "copy.so")));
    snprintf(list, sizeof list, "::wrong.so:./missing.so:" PLUGIN ":%s::./" PLUGIN ":", copy);
    setenv("SELECTORS_PLUGINS", list, 1);
    EQUAL(sel_backends(NULL, 0), BUILT_IN + 4);
    CHECK(listed_as_refused("wrong.so", "no slash"));
    CHECK(listed_as_refused(copy, "exists already"));
    CHECK(listed_as_refused("./missing.so", "No such file or directory"));
    CHECK(strcmp(listed("wrong")->origin, PLUGIN) == 0);
    CHECK(works("wrong"));
    setenv("SELECTORS_BACKEND", "wrong", 1);
    CHECK(works(NULL));
    unsetenv("SELECTORS_BACKEND");
    CHECK(built_ins_work());
}

static void the_environment_is_read_once(void) {
    setenv("SELECTORS_PLUGINS", "", 1);
    EQUAL(sel_backends(NULL, 0), BUILT_IN);
    setenv("SELECTORS_PLUGINS", PLUGIN, 1);
    EQUAL(sel_backends(NULL, 0), BUILT_IN);
    CHECK(built_ins_work());
}

static void *load(void *result) {
    *(int *)result = sel_load_plugin(PLUGIN);
    return NULL;
}

static void threads_may_load_the_same_plugin(void) {
    pthread_t threads[8];
    int results[8], started = 0, loaded = 0;
    while (started < 8 && pthread_create(&threads[started], NULL, load, &results[started]) == 0)
        started++;
    for (int i = 0; i < started; i++)
        loaded += pthread_join(threads[i], NULL) == 0 && results[i] == 0;
    EQUAL(loaded, 8);
    EQUAL(sel_backends(NULL, 0), BUILT_IN + 1);
    CHECK(works("wrong"));
}

static void *open_library(void *handle) {
    *(void **)handle = dlopen(PLUGIN, RTLD_NOW);
    return NULL;
}

/* The loader holds its own lock while the constructor calls the library. */
static void a_constructor_may_ask_while_another_thread_loads(void) {
    char value[64];
    void *handle = NULL;
    pthread_t loading;
    eventfd_t announced;
    bool is_announced, works_meanwhile;
    int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    snprintf(value, sizeof value, "%d %ld", fd, (long)syscall(SYS_gettid));
    break_rule("constructor-blocks", value);
    setenv("SELECTORS_PLUGINS", PLUGIN, 1);
    CHECK(pthread_create(&loading, NULL, open_library, &handle) == 0);
    while (!(is_announced = eventfd_read(fd, &announced) == 0) && errno == EAGAIN)
        continue; /* and runs until it is blocked by what comes */
    works_meanwhile = works("wrong");
    CHECK(pthread_join(loading, NULL) == 0 && handle != NULL);
    CHECK(is_announced && works_meanwhile);
    EQUAL(sel_backends(NULL, 0), BUILT_IN + 1);
    CHECK(drop(fd));
}

/* Called by main() in a privileged copy of this program. */
int run_privileged(void) {
    if (!getauxval(AT_SECURE))
        return NOT_PRIVILEGED;
    bool ignored = sel_backends(NULL, 0) == BUILT_IN;
    return ignored && sel_load_plugin(PLUGIN) == 0 && sel_backends(NULL, 0) == BUILT_IN + 1 ? 0 : 1;
}

/* A set-group-ID program with another group is privileged. */
static void a_privileged_process_ignores_the_environment(void) {
    char path[64];
    int status;
    if (geteuid() != 0)
        SKIP("to make a program that is privileged takes root");
    CHECK(copy_file("/proc/self/exe", scratch(path, "privileged")));
    CHECK(chown(path, 0, getegid() + 1) == 0 && chmod(path, 02755) == 0);
    setenv("SELECTORS_PLUGINS", PLUGIN, 1);
    setenv("SELECTORS_BACKEND", "nonsense", 1);
    CHECK((test.child = fork()) >= 0);
    if (test.child == 0) {
        execl(path, path, "--privileged", (char *)NULL);
        _exit(NOT_RUN); /* valgrind runs none that are privileged */
    }
    CHECK(waitpid(test.child, &status, 0) == test.child && WIFEXITED(status));
    test.child = 0;
    if (WEXITSTATUS(status) == NOT_PRIVILEGED || WEXITSTATUS(status) == NOT_RUN)
        SKIP("programs do not become privileged here");
    EQUAL(WEXITSTATUS(status), 0);
    EQUAL(sel_backends(NULL, 0), BUILT_IN + 1);
}

static const struct fact facts[] = {
    FACT_ALONE("what is no library is refused", what_is_no_library_is_refused),
    FACT_ALONE("a library that is no plug-in is refused", a_library_that_is_no_plugin_is_refused),
    FACT_ALONE("a path needs a slash", a_path_needs_a_slash),
    FACT_ALONE("a path may be odd or long", a_path_may_be_odd_or_long),
    FACT_ALONE("a refused plug-in may come back", a_refused_plugin_may_come_back),
    FACT_ALONE("the same plug-in is added once", the_same_plugin_is_added_once),
    FACT_ALONE("of two with one name the second is refused",
               of_two_with_one_name_the_second_is_refused),
    FACT_ALONE("threads may load the same plug-in", threads_may_load_the_same_plugin),
    FACT_ALONE("a constructor may ask while another thread loads",
               a_constructor_may_ask_while_another_thread_loads),
    FACT_ALONE("the environment names plug-ins", the_environment_names_plugins),
    FACT_ALONE("the environment is read once", the_environment_is_read_once),
    FACT_ALONE("a privileged process ignores the environment",
               a_privileged_process_ignores_the_environment),
    END_OF_FACTS,
};

void prove_paths(void) {
    prove("paths", facts);
}
