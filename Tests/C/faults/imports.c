/*
 * imports.c - proves that faults are injected into every function that the library imports.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "faults.h"

#include <dlfcn.h>
#include <link.h>
#include <stdint.h>
#include <string.h>

/* What cannot fail, or fails for nothing but a wrong use. What allocates is not among these. */
static const char *const others[] = {
    "__errno_location", "__libc_single_threaded", "__stack_chk_fail", "__cxa_finalize",
    "__gmon_start__", "_ITM_deregisterTMCloneTable", "_ITM_registerTMCloneTable",
    /* The leak checker's, if present. */
    "__lsan_register_root_region", "__lsan_unregister_root_region",
    /* The sanitizers' of threads and memory. */
    "__tsan_acquire", "__tsan_release", "__msan_unpoison",
    /* Checked in inject.c. */
    "syscall",
    /* Text. */
    "memcpy", "memmove", "memset", "strchr", "strcmp", "strcspn", "strerror", "strlen", "strncmp",
    "strnlen",
    /* These release or look up something. */
    "munmap", "secure_getenv", "dlsym", "dlerror", "clock_gettime", "nanosleep",
    "pthread_getspecific", "pthread_key_delete", "pthread_setcancelstate",
    /* Linux allocates nothing for these. */
    "pthread_mutex_init", "pthread_mutex_destroy", "pthread_mutex_unlock"};

static bool is_known(const char *name) {
    for (int i = 0; i < LENGTH(others); i++)
        if (strcmp(others[i], name) == 0)
            return true;
    for (int i = 0; i < FUNCTIONS; i++)
        if (function_names[i] != NULL && strcspn(function_names[i], "(") == strlen(name) &&
            strncmp(function_names[i], name, strlen(name)) == 0)
            return true;
    return false;
}

/* An entry of the library's dynamic section. */
static const void *entry(const struct link_map *library, ElfW(Sxword) tag) {
    for (const ElfW(Dyn) *next = library->l_ld; next->d_tag != DT_NULL; next++)
        if (next->d_tag == tag)
            return (const void *)(next->d_un.d_ptr < library->l_addr
                                      ? library->l_addr + next->d_un.d_ptr
                                      : next->d_un.d_ptr);
    return NULL;
}

static void each_import_is_known(void) {
    const struct link_map *library;
    const ElfW(Sym) * symbols;
    const char *names;
    const uint32_t *hash;
    void *extra;
    Dl_info info;
    CHECK(dladdr1(find_in_library("sel_open"), &info, &extra, RTLD_DL_LINKMAP) != 0);
    library = extra;
    symbols = entry(library, DT_SYMTAB);
    names = entry(library, DT_STRTAB);
    hash = entry(library, DT_GNU_HASH);
    CHECK(symbols != NULL && names != NULL && hash != NULL);
    /* The second word of the hash table is the index of the first exported symbol. */
    for (uint32_t i = 1; i < hash[1]; i++)
        if (!is_known(names + symbols[i].st_name))
            note("the library calls %s(), which is not known here", names + symbols[i].st_name);
}

const struct fact import_facts[] = {
    FACT_ALONE("each function that the library calls is known", each_import_is_known),
    END_OF_FACTS,
};
