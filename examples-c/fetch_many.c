/*
 * Fetches many URLs at once, with libcurl's multi-socket interface on a selector.
 *
 *     fetch_many FOLDER URL ...    into FOLDER/0, FOLDER/1 ...
 *
 * libcurl names the sockets that it waits for and the time of its next call; the selector waits.
 * The exit status is 0 if all URLs were fetched.
 */
#define _GNU_SOURCE
#include <curl/curl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "selectors.h"

static sel_selector *selector;
static int64_t deadline = -1; /* at which libcurl wants to be called, in ns; -1: never */

static void die(const char *what, const char *why) {
    fprintf(stderr, "fetch_many: %s: %s\n", what, why);
    exit(1);
}

static int64_t now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (int64_t)time.tv_sec * 1000000000 + time.tv_nsec;
}

/* Called by libcurl: the events to wait for on a socket have changed. */
static int on_socket(CURL *easy, curl_socket_t fd, int what, void *context, void *known) {
    uint32_t events = (what & CURL_POLL_IN ? SEL_READ : 0) | (what & CURL_POLL_OUT ? SEL_WRITE : 0);
    int result;
    (void)easy;
    if (what == CURL_POLL_REMOVE)
        result = sel_unregister(selector, fd, NULL);
    else if (known != NULL)
        result = sel_modify(selector, fd, events, NULL);
    else
        result = sel_register(selector, fd, events, NULL);
    if (what != CURL_POLL_REMOVE && known == NULL)
        curl_multi_assign(context, fd, &selector); /* any pointer marks it as registered */
    if (result < 0)
        die("selector", sel_last_error());
    return 0;
}

/* Called by libcurl: sets the time of its next call; -1: none. */
static int on_timer(CURLM *multi, long timeout_ms, void *context) {
    (void)multi, (void)context;
    deadline = timeout_ms < 0 ? -1 : now() + timeout_ms * INT64_C(1000000);
    return 0;
}

static void start(CURLM *multi, const char *folder, int number, const char *url) {
    char path[4096];
    CURL *easy = curl_easy_init();
    snprintf(path, sizeof path, "%s/%d", folder, number);
    FILE *file = fopen(path, "wbe");
    if (easy == NULL || file == NULL)
        die(path, "cannot be opened");
    curl_easy_setopt(easy, CURLOPT_URL, url);
    curl_easy_setopt(easy, CURLOPT_WRITEDATA, file);
    curl_easy_setopt(easy, CURLOPT_PRIVATE, file);
    curl_easy_setopt(easy, CURLOPT_FAILONERROR, 1L);
    curl_multi_add_handle(multi, easy);
}

/* Closes the finished transfers. Returns how many have failed. */
static int finish(CURLM *multi) {
    CURLMsg *message;
    int failed = 0, left;
    while ((message = curl_multi_info_read(multi, &left)) != NULL) {
        CURL *easy = message->easy_handle;
        CURLcode result = message->data.result;
        char *url, *file;
        curl_easy_getinfo(easy, CURLINFO_EFFECTIVE_URL, &url);
        curl_easy_getinfo(easy, CURLINFO_PRIVATE, &file);
        if (fclose((FILE *)file) != 0 && result == CURLE_OK)
            result = CURLE_WRITE_ERROR;
        if (result != CURLE_OK)
            fprintf(stderr, "fetch_many: %s: %s\n", url, curl_easy_strerror(result));
        failed += result != CURLE_OK;
        curl_multi_remove_handle(multi, easy);
        curl_easy_cleanup(easy);
    }
    return failed;
}

int main(int argc, char **argv) {
    int running = 1, failed = 0;
    if (argc < 3) {
        fprintf(stderr, "usage: fetch_many FOLDER URL ...\n");
        return 2;
    }
    if (sel_open(&selector, NULL) < 0)
        die("selector", sel_last_error());
    curl_global_init(CURL_GLOBAL_DEFAULT);
    CURLM *multi = curl_multi_init();
    curl_multi_setopt(multi, CURLMOPT_SOCKETFUNCTION, on_socket);
    curl_multi_setopt(multi, CURLMOPT_SOCKETDATA, multi);
    curl_multi_setopt(multi, CURLMOPT_TIMERFUNCTION, on_timer);
    for (int i = 2; i < argc; i++)
        start(multi, argv[1], i - 2, argv[i]);

    while (running > 0) {
        sel_event events[64];
        int64_t left = deadline < 0 ? SEL_FOREVER : deadline - now();
        int ready = sel_select(selector, events, 64, deadline >= 0 && left < 0 ? 0 : left);
        if (ready < 0)
            die("sel_select", sel_last_error());
        for (int i = 0; i < ready; i++) {
            int what = (events[i].events & SEL_READ ? CURL_CSELECT_IN : 0) |
                       (events[i].events & SEL_WRITE ? CURL_CSELECT_OUT : 0) |
                       (events[i].detail & SEL_ERROR ? CURL_CSELECT_ERR : 0);
            curl_multi_socket_action(multi, events[i].key.fd, what, &running);
        }
        if (deadline >= 0 && now() >= deadline) {
            deadline = -1;
            curl_multi_socket_action(multi, CURL_SOCKET_TIMEOUT, 0, &running);
        }
        failed += finish(multi);
    }

    curl_multi_cleanup(multi);
    curl_global_cleanup();
    sel_close(selector);
    printf("%d of %d fetched\n", argc - 2 - failed, argc - 2);
    return failed != 0;
}
