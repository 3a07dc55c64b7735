/*
 * backend_list.c - fuzz target: opens a list of backends, by argument and by SELECTORS_BACKEND. The
 * chosen backend or the error must match the result of a second, independent parser.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "target.h"

enum { MOST_BACKENDS = 32 };

static sel_backend_info infos[MOST_BACKENDS];
static int backends;

/* A name in a list. */
struct name {
    const char *text;
    size_t length;
};

static bool is(struct name name, const char *text) {
    return name.length == strlen(text) && memcmp(name.text, text, name.length) == 0;
}

static const sel_backend_info *find(struct name name) {
    for (int i = 0; i < backends; i++)
        if (is(name, infos[i].name))
            return &infos[i];
    return NULL;
}

static struct name trim(struct name name) {
    while (name.length > 0 && (*name.text == ' ' || *name.text == '\t'))
        name.text++, name.length--;
    while (name.length > 0 &&
           (name.text[name.length - 1] == ' ' || name.text[name.length - 1] == '\t'))
        name.length--;
    return name;
}

/* Takes the first name off a list, which is NULL after the last, and tells whether it is an
 * excluded one. */
static bool take(const char **list, struct name *name) {
    bool is_excluded;
    *name = (struct name){*list, strcspn(*list, ",")};
    *list = (*list)[name->length] == ',' ? *list + name->length + 1 : NULL;
    *name = trim(*name);
    is_excluded = name->length > 0 && *name->text == '-';
    if (is_excluded)
        *name = trim((struct name){name->text + 1, name->length - 1});
    return is_excluded;
}

static bool excludes(const char *list, const char *backend) {
    struct name name;
    while (list != NULL)
        if (take(&list, &name) && is(name, backend))
            return true;
    return false;
}

/* The expected result of a list. */
struct prediction {
    const char *opened; /* NULL: nothing */
    int error;
    int unknown_names;
    struct name unknown; /* the last of them */
};

static struct prediction predict(const char *list) {
    struct prediction prediction = {NULL, 0, 0, {NULL, 0}};
    const char *best = NULL, *first = NULL;
    bool names_some = false;
    struct name name;
    for (int i = backends - 1; i >= 0; i--)
        if (infos[i].reason == NULL && infos[i].rank > 0 && !excludes(list, infos[i].name))
            best = infos[i].name;
    for (const char *rest = list; rest != NULL;) {
        bool is_excluded = take(&rest, &name);
        const sel_backend_info *info = find(name);
        if (name.length == 0)
            return (struct prediction){NULL, -EINVAL, 0, {NULL, 0}};
        if (info == NULL) {
            prediction.unknown = name;
            prediction.unknown_names++;
        }
        names_some |= !is_excluded;
        if (info != NULL && info->reason == NULL && !is_excluded && first == NULL &&
            !excludes(list, info->name))
            first = info->name;
    }
    if (names_some)
        best = first;
    if (prediction.unknown_names > 0)
        prediction.error = -ENOENT;
    else if (best == NULL)
        prediction.error = -ENOTSUP;
    else
        prediction.opened = best;
    return prediction;
}

/* The message quotes an unknown name if it is the only one and not too long. */
static void check_blame(const char *words, struct name unknown) {
    char blame[128] = "there is no backend \"";
    size_t length = strlen(blame);
    if (unknown.length > 64)
        return;
    for (size_t i = 0; i < unknown.length; i++) {
        bool is_printable = unknown.text[i] >= 0x20 && unknown.text[i] < 0x7f;
        blame[length++] = is_printable ? unknown.text[i] : '?';
    }
    blame[length] = '"';
    CHECK(strstr(words, blame) != NULL);
}

/* Opens a selector, and checks the result. */
static void try(const char *argument, const char *origin, struct prediction wanted) {
    int poison, result;
    sel_selector *selector = (sel_selector *)&poison;
    const char *words;
    errno = UNTOUCHED;
    result = sel_open(&selector, argument);
    CHECK(errno == UNTOUCHED);
    CHECK(result == wanted.error);
    if (result == 0) {
        CHECK(strcmp(sel_backend_name(selector), wanted.opened) == 0);
        CHECK(sel_close(selector) == 0);
        return;
    }
    CHECK(selector == NULL);
    words = sel_last_error();
    CHECK(is_one_line(words));
    CHECK(strncmp(words, origin, strlen(origin)) == 0);
    for (int i = 0; i < backends; i++)
        CHECK(strstr(words, infos[i].name) != NULL);
    if (wanted.unknown_names == 1)
        check_blame(words, wanted.unknown);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    int before;
    /* An exact copy, so that the sanitizer detects a read beyond its end. */
    char *list = malloc(size + 1);
    memcpy(list, data, size);
    list[size] = '\0';
    backends = sel_backends(infos, MOST_BACKENDS);
    CHECK(backends >= 1 && backends <= MOST_BACKENDS);
    before = open_descriptors();

    try(list, "backend \"", predict(list));
    CHECK(setenv("SELECTORS_BACKEND", list, 1) == 0);
    /* An empty variable selects the best backend. */
    try(NULL, "SELECTORS_BACKEND=\"", predict(*list == '\0' ? NULL : list));

    CHECK(open_descriptors() == before);
    free(list);
    return 0;
}
