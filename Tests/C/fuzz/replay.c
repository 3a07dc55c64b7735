/*
 * replay.c - runs a fuzz target on the given files, without a fuzzer. The output is TAP.
 *
 *     replay_calls FILE...
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "target.h"

#include <signal.h>

static const char *current;

/* Tells which input it was; the signal comes again, and ends the process. */
static void tell(int number) {
    static const char words[] = "not ok 1 - ";
    (void)number;
    (void)!write(1, words, strlen(words));
    (void)!write(1, current, strlen(current));
    (void)!write(1, "\n", 1);
}

int main(int argc, char **argv) {
    static const int deadly[] = {SIGABRT, SIGSEGV, SIGBUS, SIGILL, SIGTRAP};
    struct sigaction action = {.sa_handler = tell, .sa_flags = (int)SA_RESETHAND};
    for (int i = 0; i < LENGTH(deadly); i++)
        sigaction(deadly[i], &action, NULL);

    for (int i = 1; i < argc; i++) {
        uint8_t buffer[1 << 16], *input;
        FILE *file = fopen(current = argv[i], "rb");
        size_t size;
        if (file == NULL)
            return perror(argv[i]), 1;
        size = fread(buffer, 1, sizeof buffer, file);
        fclose(file);
        /* As large as the input, so that a sanitizer or valgrind sees each byte behind it. */
        input = malloc(size + (size == 0));
        memcpy(input, buffer, size);
        LLVMFuzzerTestOneInput(input, size);
        free(input);
    }
    printf("1..1\nok 1 - %d inputs\n", argc - 1);
    return argc < 2;
}
