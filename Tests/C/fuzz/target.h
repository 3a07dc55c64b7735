/*
 * target.h - what the fuzz targets have in common. To be included before any system header.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef TARGET_H
#define TARGET_H

#define _GNU_SOURCE

#include "selectors.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define UNTOUCHED 4711 /* an errno that nobody sets */
#define LENGTH(array) ((int)(sizeof(array) / sizeof *(array)))

/* Ends the process, which the fuzzer takes as a find. */
#define CHECK(condition)                                                                  \
    do {                                                                                  \
        if (!(condition)) {                                                               \
            fprintf(stderr, "%s:%d: %s does not hold\n", __FILE__, __LINE__, #condition); \
            abort();                                                                      \
        }                                                                                 \
    } while (0)

/* The text is one line, and not empty. */
static inline bool is_one_line(const char *text) {
    if (text == NULL || *text == '\0')
        return false;
    for (; *text != '\0'; text++)
        if (*text < 0x20 || *text > 0x7e)
            return false;
    return true;
}

/* How many descriptors are open; none is higher. */
static inline int open_descriptors(void) {
    int count = 0;
    for (int fd = 0; fd < 256; fd++)
        count += fcntl(fd, F_GETFD) >= 0;
    return count;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#endif
