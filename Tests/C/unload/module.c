/*
 * module.c - a module that contains the library, from libselectors.a.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "selectors.h"

int use_selectors(void);

/* Leaves words of its own behind in the thread. */
int use_selectors(void) {
    sel_selector *selector;
    sel_event event;
    if (sel_open(&selector, "nonsense") == 0 || sel_open(&selector, NULL) != 0 ||
        sel_select(selector, &event, 1, 0) != 0)
        return 1;
    return sel_close(selector);
}
