/*
 * tables.c - proves that an invalid table of functions is rejected.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "plugins.h"

#include <dlfcn.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static const struct bad_table {
    const char *rule;
    int error;
    const char *words;
} bad_tables[] = {
    {"abi=0", -ENOTSUP, "another version of selectors_plugin.h, its ABI is 0"},
    {"abi=2", -ENOTSUP, "another version of selectors_plugin.h, its ABI is 2"},
    {"abi=0xffffffff", -ENOTSUP, "its ABI is 4294967295"},
    {"size=0", -EINVAL, "too small"},
    {"size=16", -EINVAL, "too small, its size is 16"},
    {"no-name", -EINVAL, "it has no name"},
    {"no-open", -EINVAL, "\"wrong\": it has no function open"},
    {"no-add", -EINVAL, "\"wrong\": it has no function add"},
    {"no-modify", -EINVAL, "\"wrong\": it has no function modify"},
    {"no-remove", -EINVAL, "\"wrong\": it has no function remove"},
    {"no-wait", -EINVAL, "\"wrong\": it has no function wait"},
    {"no-close", -EINVAL, "\"wrong\": it has no function close"},
    {"no-fileno", -EINVAL, "\"wrong\": it has no function fileno"},
    {"no-reset", -EINVAL, "\"wrong\": it has no function reset"},
    {"rank=-1", -EINVAL, "\"wrong\": its rank is negative"},
    {"rank=-2147483648", -EINVAL, "\"wrong\": its rank is negative"},
    {"capabilities=0x400", -EINVAL, "\"wrong\": unknown capabilities"},
    {"capabilities=0x8000000f", -EINVAL, "\"wrong\": unknown capabilities"},
    {"name=", -EINVAL, "\"\": a name is 1 to 32 of a-z, 0-9, _ and -"},
    {"name=Wrong", -EINVAL, "\"Wrong\": a name is 1 to 32 of a-z, 0-9, _ and -"},
    {"name=9wrong", -EINVAL, "\"9wrong\": a name is 1 to 32 of a-z, 0-9, _ and -"},
    {"name=-wrong", -EINVAL, "\"-wrong\": a name is 1 to 32 of a-z, 0-9, _ and -"},
    {"name=wrong,poll", -EINVAL, "\"wrong,poll\": a name is 1 to 32 of a-z, 0-9, _ and -"},
    {"name=wr ong", -EINVAL, "\"wr ong\": a name is 1 to 32 of a-z, 0-9, _ and -"},
    {"name=wr\nong\033[2J\x7f", -EINVAL, "\"wr?ong?[2J?\": a name is 1 to 32 of a-z, 0-9, _ and -"},
    {"name=wr\xc3\xb6ng\xff", -EINVAL, "\"wr??ng?\": a name is 1 to 32 of a-z, 0-9, _ and -"},
    {"name=a23456789-123456789-123456789-123", -EINVAL,
     "\": a name is 1 to 32 of a-z, 0-9, _ and -"},
    {"name=epoll", -EEXIST, "\"epoll\" exists already"},
    {"name=kqueue", -EEXIST, "\"kqueue\" exists already"},
};

static const struct bad_table *bad_table;

static void a_bad_table_is_refused_when_loaded(void) {
    break_rule(bad_table->rule, NULL);
    REFUSES(sel_load_plugin(PLUGIN), bad_table->error, "\"" PLUGIN "\"", bad_table->words);
    CHECK(listed_as_refused(PLUGIN, bad_table->words));
    REFUSES(sel_load_plugin(PLUGIN), bad_table->error, "\"" PLUGIN "\"", bad_table->words);
    CHECK(listed_as_refused(PLUGIN, bad_table->words));
    CHECK(listed("wrong") == NULL);
    CHECK(built_ins_work());
    keep_rules();
    OK(sel_load_plugin(PLUGIN));
    CHECK(listed(PLUGIN) == NULL);
    CHECK(works("wrong"));
}

static void a_bad_table_is_refused_in_the_environment(void) {
    sel_selector *selector;
    break_rule(bad_table->rule, NULL);
    setenv("SELECTORS_PLUGINS", PLUGIN, 1);
    CHECK(listed_as_refused(PLUGIN, bad_table->words));
    REFUSES(sel_open(&selector, PLUGIN), -ENOTSUP, PLUGIN " (", bad_table->words);
    REFUSES(sel_open(&selector, "wrong"), -ENOENT, "\"wrong\"", PLUGIN " (", bad_table->words);
    CHECK(built_ins_work());
}

static void a_bad_table_is_refused_when_added(void) {
    void *library = dlopen(PLUGIN, RTLD_NOW | RTLD_LOCAL), *symbol;
    sel_plugin_entry *entry;
    CHECK(library != NULL && (symbol = dlsym(library, "sel_plugin")) != NULL);
    memcpy(&entry, &symbol, sizeof entry);
    break_rule(bad_table->rule, NULL);
    REFUSES(sel_add_backend(entry(NULL)), bad_table->error, "backend", bad_table->words);
    EQUAL(sel_backends(NULL, 0), BUILT_IN);
    CHECK(built_ins_work());
}

static void no_table_is_refused(void) {
    REFUSES(sel_add_backend(NULL), -EINVAL, "backend", "no table");
    break_rule("null", NULL);
    REFUSES(sel_load_plugin(PLUGIN), -EINVAL, "\"" PLUGIN "\"", "does not want to run");
    CHECK(listed_as_refused(PLUGIN, "does not want to run"));
    CHECK(built_ins_work());
}

static void the_longest_name_is_taken(void) {
    break_rule("name", "a23456789-123456789-123456789-12");
    OK(sel_load_plugin(PLUGIN));
    keep_rules();
    CHECK(works("a23456789-123456789-123456789-12"));
}

static void a_larger_table_is_taken(void) {
    break_rule("size", "4096");
    OK(sel_load_plugin(PLUGIN));
    keep_rules();
    CHECK(works("wrong"));
}

/* What the child of a fork exits with, in which wrong_forked() exits with 7. */
static int fork_beside(const char *backend) {
    sel_selector *selector = open_selector(backend);
    int status = -1;
    pid_t child;
    setenv("WRONG_FORKED", "7", 1);
    child = selector == NULL ? -1 : fork();
    if (child == 0)
        _exit(0);
    if (child > 0)
        waitpid(child, &status, 0);
    unsetenv("WRONG_FORKED");
    return close_selector(selector) == 0 && WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static void a_fork_is_told_at_once(void) {
    OK(sel_load_plugin(PLUGIN));
    EQUAL(fork_beside("wrong"), 7);
}

static void the_table_of_1_0_is_taken(void) {
    char size[16];
    snprintf(size, sizeof size, "%zu", offsetof(sel_backend_ops, forked));
    break_rule("size", size);
    OK(sel_load_plugin(PLUGIN));
    keep_rules();
    CHECK(works("wrong"));
    EQUAL(fork_beside("wrong"), 0);
}

static const struct fact bad_table_facts[] = {
    FACT_ALONE("refused when loaded", a_bad_table_is_refused_when_loaded),
    FACT_ALONE("refused in the environment", a_bad_table_is_refused_in_the_environment),
    FACT_ALONE("refused when added", a_bad_table_is_refused_when_added),
    END_OF_FACTS,
};

static const struct fact facts[] = {
    FACT_ALONE("no table is refused", no_table_is_refused),
    FACT_ALONE("a name may have 32 characters", the_longest_name_is_taken),
    FACT_ALONE("a table may be larger", a_larger_table_is_taken),
    FACT_ALONE("a table may be that of version 1.0", the_table_of_1_0_is_taken),
    FACT_ALONE("a fork is told at once", a_fork_is_told_at_once),
    END_OF_FACTS,
};

void prove_tables(void) {
    for (int i = 0; i < LENGTH(bad_tables); i++) {
        bad_table = &bad_tables[i];
        prove_rule("a table with", bad_table->rule, bad_table_facts);
    }
    prove("tables", facts);
}
