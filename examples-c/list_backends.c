/*
 * Lists the backends of the library, what each can do, and which one is the default here.
 *
 *     list_backends
 *     SELECTORS_BACKEND=poll list_backends
 *     SELECTORS_PLUGINS=./mine.so list_backends
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "selectors.h"

/* Writes the name of each capability. */
static const char *describe(uint32_t capabilities, char text[80]) {
    static const char *const names[] = {"fileno",    "concurrent", "edge",
                                        "exclusive", "oneshot",    "readhangup"};
    int length = 0;
    strcpy(text, "-");
    for (int bit = 0; bit < 6; bit++)
        if (capabilities >> bit & 1)
            length += sprintf(text + length, "%s%s", length == 0 ? "" : " ", names[bit]);
    return text;
}

int main(int argc, char **argv) {
    if (argc != 1) {
        fprintf(stderr, "usage: %s\n", argv[0]);
        return 2;
    }
    /* With no room for entries, it returns how many there are. */
    int count = sel_backends(NULL, 0);
    sel_backend_info *infos = count > 0 ? calloc((size_t)count, sizeof *infos) : NULL;
    if (infos == NULL || sel_backends(infos, count) != count) {
        fprintf(stderr, "list_backends: %s\n", count < 0 ? sel_last_error() : "no list");
        free(infos);
        return 1;
    }
    printf("%-12s %4s  %-52s %s\n", "name", "rank", "capabilities", "available");
    for (int i = 0; i < count; i++) {
        char text[80];
        printf("%-12s %4d  %-52s ", infos[i].name, infos[i].rank,
               describe(infos[i].capabilities, text));
        if (infos[i].reason != NULL)
            printf("no: %s\n", infos[i].reason);
        else if (infos[i].origin != NULL)
            printf("yes, from %s\n", infos[i].origin);
        else
            printf("yes\n");
    }
    free(infos);

    sel_selector *selector;
    if (sel_open(&selector, NULL) < 0) {
        fflush(stdout);
        fprintf(stderr, "list_backends: %s\n", sel_last_error());
        return 1;
    }
    printf("\nsel_open(&selector, NULL) takes %s (libselectors %s)\n", sel_backend_name(selector),
           sel_version());
    sel_close(selector);
    return 0;
}
