/*
 * Shows which backends the library has, what each can do, and which one it would take here.
 *
 *     list_backends
 *     SELECTORS_BACKEND=poll list_backends
 */
#include <stdio.h>
#include <stdlib.h>

#include "selectors.h"

/* Each ability as a word. */
static const char *abilities(uint32_t capabilities) {
    switch (capabilities & (SEL_CAN_FILENO | SEL_CAN_CONCURRENT)) {
    case SEL_CAN_FILENO | SEL_CAN_CONCURRENT: return "fileno concurrent";
    case SEL_CAN_FILENO: return "fileno";
    case SEL_CAN_CONCURRENT: return "concurrent";
    default: return "-";
    }
}

int main(void) {
    /* Asked for no entries it tells how many there are. */
    int count = sel_backends(NULL, 0);
    sel_backend_info *infos = count > 0 ? calloc((size_t)count, sizeof *infos) : NULL;
    if (infos == NULL || sel_backends(infos, count) != count) {
        fprintf(stderr, "list_backends: %s\n", count < 0 ? sel_last_error() : "no list");
        free(infos);
        return 1;
    }
    printf("%-12s %4s  %-18s %s\n", "name", "rank", "capabilities", "available");
    for (int i = 0; i < count; i++)
        printf("%-12s %4d  %-18s %s%s\n", infos[i].name, infos[i].rank,
               abilities(infos[i].capabilities), infos[i].reason == NULL ? "yes" : "no: ",
               infos[i].reason == NULL ? "" : infos[i].reason);
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
