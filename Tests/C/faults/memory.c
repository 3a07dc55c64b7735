/*
 * memory.c - counts the allocations that the library has not freed.
 *
 * It takes no lock, because a fork may happen at any point of it.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "faults.h"

#include <stdint.h>

#define PLACES 4096
#define PROBES 256 /* places in which a pointer may stand */

static _Atomic(void *) places[PLACES];

static _Atomic(void *) *place(const void *memory, int probe) {
    return &places[((uintptr_t)memory / 16 + (uintptr_t)probe) % PLACES];
}

/* Returns `memory`. If there is no free slot, it is not counted. */
void *remember(void *memory) {
    for (int i = 0; memory != NULL && i < PROBES; i++) {
        void *nothing = NULL;
        if (atomic_compare_exchange_strong(place(memory, i), &nothing, memory))
            break;
    }
    return memory;
}

void forget(void *memory) {
    for (int i = 0; memory != NULL && i < PROBES; i++) {
        void *wanted = memory;
        if (atomic_compare_exchange_strong(place(memory, i), &wanted, NULL))
            return;
    }
}

int held(void) {
    int count = 0;
    for (int i = 0; i < PLACES; i++)
        count += places[i] != NULL;
    return count;
}
