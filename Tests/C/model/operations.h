/*
 * operations.h - random operations, on a selector and its model alike.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef OPERATIONS_H
#define OPERATIONS_H

#include "journal.h"

#include "selectors.h"

/* Performs a sequence of operations, and fails if the selector does not do as the model says. */
void perform(const sel_backend_info *backend, uint64_t operations);

#endif
