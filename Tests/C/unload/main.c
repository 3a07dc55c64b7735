/*
 * main.c - proves that a module which contains the library leaves nothing behind when it is
 * unloaded: no fork handler and no destructor of thread-specific data.
 *
 *     unload MODULE    prints TAP
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#define _GNU_SOURCE

#include <dlfcn.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static int (*use_selectors)(void);
static sem_t is_used, is_unloaded;
static int result;

/* Ends after the code that allocated this thread's message is unloaded. */
static void *use(void *unused) {
    result = use_selectors();
    sem_post(&is_used);
    sem_wait(&is_unloaded);
    return unused;
}

static int is_mapped(const char *path) {
    const char *name = strrchr(path, '/') == NULL ? path : strrchr(path, '/');
    char line[4096];
    int found = 0;
    FILE *maps = fopen("/proc/self/maps", "re");
    while (maps != NULL && fgets(line, sizeof line, maps) != NULL)
        found |= strstr(line, name) != NULL;
    if (maps != NULL)
        fclose(maps);
    return found;
}

static const char *load_use_and_unload(const char *path) {
    pthread_t thread;
    void *module = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (module == NULL)
        return dlerror();
    *(void **)&use_selectors = dlsym(module, "use_selectors");
    if (use_selectors == NULL || use_selectors() != 0)
        return "the module does not work";
    if (pthread_create(&thread, NULL, use, NULL) != 0)
        return "there is no thread";
    sem_wait(&is_used);
    if (dlclose(module) != 0 || is_mapped(path))
        return "the module is not unloaded";
    sem_post(&is_unloaded);
    pthread_join(thread, NULL);
    return result == 0 ? NULL : "the module does not work in a thread";
}

static const char *fork_once(void) {
    int status;
    pid_t child = fork();
    if (child == 0)
        _exit(0);
    return child > 0 && waitpid(child, &status, 0) == child && status == 0
               ? NULL
               : "the child has crashed";
}

int main(int argc, char **argv) {
    enum { TIMES = 2000 }; /* more than there can be keys in a process */
    const char *problem = argc == 2 ? NULL : "usage: unload MODULE";
    int i = 0;
    sem_init(&is_used, 0, 0);
    sem_init(&is_unloaded, 0, 0);
    printf("1..1\n");
    fflush(stdout);
    for (; i < TIMES && problem == NULL; i++) {
        problem = load_use_and_unload(argv[1]);
        if (problem == NULL && i % 100 == 0)
            problem = fork_once();
    }
    printf("%sok 1 - a module with the library is loaded and unloaded %d times\n",
           problem == NULL ? "" : "not ", i);
    if (problem != NULL)
        printf("# %s\n", problem);
    return problem != NULL;
}
