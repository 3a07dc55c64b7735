/*
 * plugins.h - looks at what the library does with a plug-in, beside the conformance tests' harness.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef PLUGINS_H
#define PLUGINS_H

#include "../conformance/helpers.h"

#include <selectors_plugin.h>

#define PLUGIN "plugins/wrong.so"
#define BUILT_IN 5 /* backends: that many has the library itself */
#define AGAINST_THE_RULES "the backend has answered against the rules"

/* The call fails with this error, leaves errno alone, and the last error is a line with these words. */
#define REFUSES(call, wanted, ...)                                    \
    do {                                                              \
        errno = UNTOUCHED;                                            \
        if (!check_refused(__FILE__, __LINE__, #call, call, wanted,   \
                           (const char *const[]){__VA_ARGS__, NULL})) \
            return;                                                   \
    } while (0)

bool check_refused(const char *file, int line, const char *call, int got, int wanted,
                   const char *const *words);

/* Whether there is text, and nothing in it that moves a terminal's cursor. */
bool is_printable_line(const char *text);

/* The words for an error that a plug-in has answered with, maybe against the rules. */
const char *words_of(int error);

/* The entry of that name in the list of backends, or NULL. It is noted if there are two. */
const sel_backend_info *listed(const char *name);

/* Whether a plug-in is listed under its path, with a reason that has these words. */
bool listed_as_refused(const char *path, const char *words);

/* Whether a selector watches a descriptor and sees it. */
bool works(const char *backend);

/* Whether the library's own backends do so, and the best of them is the default. */
bool built_ins_work(void);

/* Has the plug-in wrong.so break a rule from now on, with a value if that is not NULL, or none. */
void break_rule(const char *rule, const char *value);
void keep_rules(void);

/* Loads wrong.so, which breaks no rule yet, and opens a selector over it. */
sel_selector *open_wrong(void);

/* A path for a test's file; all of them are removed in the end. */
const char *scratch(char path[64], const char *name);
bool make_scratch(void);
void remove_scratch(void);

bool copy_file(const char *source, const char *path);

/* Proves facts, each in a process of its own; that of a rule are called so. */
void prove(const char *group, const struct fact *facts);
void prove_rule(const char *subject, const char *rule, const struct fact *facts);

/* The themes. */
void prove_tables(void);
void prove_paths(void);
void prove_opening(void);
void prove_calls(void);
void prove_events(void);
void prove_threads(void);
void prove_trace(void);

/* What main() does with the argument --privileged. */
int run_privileged(void);

#endif
