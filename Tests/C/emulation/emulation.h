/*
 * What the emulations share.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef EMULATION_H
#define EMULATION_H

#include <signal.h>

#pragma GCC visibility push(hidden)

/* The lock of all emulations. No signal comes while it is held: its handler may close or fork. */
sigset_t enter(void);
void leave(sigset_t before);

/* Whether the variable EMULATION has the word. */
int has_trait(const char *word);

/* Whether it is one of Linux's files whose readiness a look clears. */
int is_perf_ring(int fd);

#pragma GCC visibility pop

#endif
