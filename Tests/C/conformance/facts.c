/*
 * facts.c - lists the groups of tests, in the order in which they run.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "harness.h"

extern const struct fact library_facts[], detail_facts[];
extern const struct fact arguments_facts[], registration_facts[], readiness_facts[],
    timeouts_facts[], signals_facts[], hangup_facts[], modes_facts[], closed_facts[], files_facts[],
    many_facts[], nesting_facts[], exhaustion_facts[], threads_facts[], forks_facts[];

const struct fact *const facts_of_the_library[] = {library_facts, detail_facts, NULL};

const struct fact *const facts_of_a_backend[] = {
    arguments_facts, registration_facts, readiness_facts, timeouts_facts, signals_facts,
    hangup_facts,    modes_facts,        closed_facts,    files_facts,    many_facts,
    nesting_facts,   exhaustion_facts,   threads_facts,   forks_facts,    NULL,
};
