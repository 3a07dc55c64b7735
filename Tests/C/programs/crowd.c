/*
 * Starts a server, puts it under adverse conditions, and checks that it keeps working.
 *
 *     crowd full [-n LIMIT] [-p PORT] [-s SEND] [-e EXPECT] [-l LAST] PROGRAM ARGUMENT ...
 *     crowd workers PROGRAM ARGUMENT ...
 *     crowd batch PROGRAM ARGUMENT ...
 *     crowd idle MS PROGRAM ARGUMENT ...
 *
 * full: the server may open LIMIT descriptors (16), and more clients than that connect. It must not
 * busy-wait meanwhile, and must serve each client as others disconnect: a client sends SEND, shuts
 * down its side, and must receive EXPECT before the end of the stream. A client that connects when
 * all others have left must receive LAST.
 *
 * workers: the same for a server whose children serve the clients and keep no connection. The limit
 * of the children is lowered to the number of their open descriptors, and raised again.
 *
 * batch: three peers of a chat act while the server is stopped: the first and the last send text,
 * and the second resets its connection. So the three events arrive together, and in any order the
 * server drops the second peer while its event is still pending.
 *
 * idle: a connection that is idle for MS milliseconds is closed, not earlier, and an active one is
 * not closed.
 *
 * The server prints its port in its first line, "listening on 127.0.0.1:PORT", on standard output
 * or standard error, unless PORT is given. SIGTERM ends it, unless it has ended by itself. The exit
 * status is 0 on success; otherwise it is 1, and a line names the failure.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { CLIENTS = 24, PATIENCE_MS = 20000, PERCENT = 10 };

static pid_t server;
static int port;
static int input; /* the other end of the server's standard input, which stays empty */

__attribute__((noreturn, format(printf, 1, 2))) static void fail(const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    fprintf(stderr, "crowd: ");
    vfprintf(stderr, format, arguments);
    fprintf(stderr, "\n");
    va_end(arguments);
    if (server > 0)
        kill(server, SIGKILL);
    exit(1);
}

static int64_t now_ms(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * INT64_C(1000) + now.tv_nsec / 1000000;
}

static void pause_ms(int ms) {
    poll(NULL, 0, ms);
}

/* Starts the server, and waits until it has told its port. */
static void start(char **command, int limit) {
    int output[2], empty[2];
    if (pipe(output) < 0 || pipe(empty) < 0)
        fail("pipe: %s", strerror(errno));
    server = fork();
    if (server == 0) {
        struct rlimit most = {.rlim_cur = (rlim_t)limit, .rlim_max = (rlim_t)limit};
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        dup2(empty[0], STDIN_FILENO);
        if (port == 0) {
            dup2(output[1], STDOUT_FILENO);
            dup2(output[1], STDERR_FILENO);
        }
        for (int fd = 3; fd < 64; fd++)
            close(fd);
        if (limit > 0)
            setrlimit(RLIMIT_NOFILE, &most);
        execvp(command[0], command);
        _exit(127);
    }
    close(output[1]);
    close(empty[0]);
    input = empty[1];
    if (port != 0) {
        close(output[0]);
        return;
    }
    char text[512];
    size_t length = 0;
    while (length < sizeof text - 1 && read(output[0], text + length, 1) == 1 &&
           text[length] != '\n')
        length++;
    text[length] = '\0';
    if (sscanf(text, "listening on 127.0.0.1:%d", &port) != 1)
        fail("the server has said \"%s\"", text);
    /* What it says later is passed on. */
    if (fork() == 0) {
        ssize_t count;
        close(input);
        while ((count = read(output[0], text, sizeof text)) > 0)
            if (write(STDERR_FILENO, text, (size_t)count) < 0)
                break;
        _exit(0);
    }
    close(output[0]);
}

/* Ends the server; with a status of its own, if it has a choice. */
static void stop(void) {
    int status;
    kill(server, SIGTERM);
    if (waitpid(server, &status, 0) != server)
        fail("waitpid: %s", strerror(errno));
    server = 0;
    if (!(WIFEXITED(status) && WEXITSTATUS(status) == 0) &&
        !(WIFSIGNALED(status) && WTERMSIG(status) == SIGTERM))
        fail("the server ended with status %#x", (unsigned)status);
}

static int join(void) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    for (int64_t end = now_ms() + PATIENCE_MS;;) {
        int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        if (connect(fd, (struct sockaddr *)&address, sizeof address) == 0)
            return fd;
        if (errno != ECONNREFUSED || now_ms() > end)
            fail("connect: %s", strerror(errno));
        close(fd); /* it does not listen yet */
        pause_ms(10);
    }
}

static void say(int fd, const char *text) {
    if (send(fd, text, strlen(text), MSG_NOSIGNAL) != (ssize_t)strlen(text))
        fail("send: %s", strerror(errno));
}

/* Waits for something to read, and reads it; 0 at the end. */
static size_t hear(int fd, char *text, size_t size) {
    struct pollfd wanted = {.fd = fd, .events = POLLIN};
    if (poll(&wanted, 1, PATIENCE_MS) != 1)
        fail("a client has waited for %d s in vain", PATIENCE_MS / 1000);
    ssize_t count = recv(fd, text, size, 0);
    if (count < 0)
        fail("recv: %s", strerror(errno));
    return (size_t)count;
}

static void reset(int fd) {
    struct linger linger = {.l_onoff = 1, .l_linger = 0};
    setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof linger);
    close(fd);
}

/* Sends a request, the last one. */
static void ask(int fd, const char *request) {
    if (*request != '\0')
        say(fd, request);
    shutdown(fd, SHUT_WR);
}

/* Takes the answer to its end. */
static void take(int fd, const char *expected) {
    char text[65536];
    size_t length = 0, count;
    while ((count = hear(fd, text + length, sizeof text - 1 - length)) > 0)
        length += count;
    text[length] = '\0';
    if (strstr(text, expected) == NULL)
        fail("a client has got \"%.200s\"", text);
    close(fd);
}

/* The state, 'R' or 'T' for example, and the processor time used so far, of a process. */
static char look(pid_t pid, double *seconds) {
    char path[64], text[1024], state = '?';
    unsigned long user = 0, system = 0;
    snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
    FILE *file = fopen(path, "r");
    if (file != NULL) {
        text[fread(text, 1, sizeof text - 1, file)] = '\0';
        fclose(file);
        sscanf(strrchr(text, ')') + 2, "%c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu", &state,
               &user, &system);
    }
    if (seconds != NULL)
        *seconds = (double)(user + system) / (double)sysconf(_SC_CLK_TCK);
    return state;
}

static int count_open(pid_t pid) {
    char path[64];
    int count = 0;
    snprintf(path, sizeof path, "/proc/%d/fd", (int)pid);
    DIR *folder = opendir(path);
    for (struct dirent *entry; folder != NULL && (entry = readdir(folder)) != NULL;)
        count += entry->d_name[0] != '.';
    if (folder != NULL)
        closedir(folder);
    return count;
}

/* The children of the server. */
static int find_workers(pid_t *workers, int most) {
    char path[64];
    int count = 0;
    snprintf(path, sizeof path, "/proc/%d/task/%d/children", (int)server, (int)server);
    FILE *file = fopen(path, "r");
    while (file != NULL && count < most && fscanf(file, "%d", &workers[count]) == 1)
        count++;
    if (file != NULL)
        fclose(file);
    return count;
}

/* Lets a second pass: none of the processes may use more than PERCENT of it. */
static void watch(const pid_t *processes, int count) {
    double before[64], after;
    int64_t began = now_ms();
    for (int i = 0; i < count; i++)
        look(processes[i], &before[i]);
    pause_ms(1000);
    for (int i = 0; i < count; i++) {
        look(processes[i], &after);
        double percent = (after - before[i]) * 100000 / (double)(now_ms() - began);
        if (percent > PERCENT)
            fail("with no descriptor left it uses %.0f %% of a processor", percent);
    }
}

static void test_full(char **command, int limit, const char *request, const char *expected,
                      const char *last) {
    int clients[CLIENTS];
    start(command, limit);
    for (int i = 0; i < CLIENTS; i++)
        clients[i] = join();
    /* One may be too few for a server that needs two for each client. */
    for (int64_t end = now_ms() + PATIENCE_MS; count_open(server) < limit - 1; pause_ms(10))
        if (now_ms() > end)
            fail("the server does not use up its descriptors: %d of %d", count_open(server), limit);
    watch(&server, 1);
    close(input); /* a chat goes on until we have nothing to say */
    /* In any order: a server with several threads does not take the first first. The first stays to
     * the end, for without it a chat would be over. */
    for (int i = 1; i < CLIENTS; i++)
        ask(clients[i], request);
    for (int i = 1; i < CLIENTS; i++)
        take(clients[i], expected);
    clients[1] = join();
    ask(clients[1], request);
    take(clients[1], last);
    ask(clients[0], request);
    take(clients[0], last);
    stop();
}

static void test_workers(char **command) {
    pid_t workers[64];
    int clients[CLIENTS];
    start(command, 0);
    take(join(), "served by"); /* now one worker, at least, has all it needs */
    int count = find_workers(workers, 64);
    for (int i = 0; i < count; i++) {
        /* Each has registered the listener when it waits. */
        struct rlimit none = {.rlim_cur = 3, .rlim_max = 1024};
        for (int64_t end = now_ms() + PATIENCE_MS; look(workers[i], NULL) != 'S'; pause_ms(10))
            if (now_ms() > end)
                fail("worker %d does not wait", (int)workers[i]);
        if (prlimit(workers[i], RLIMIT_NOFILE, &none, NULL) < 0)
            fail("prlimit: %s", strerror(errno));
    }
    for (int i = 0; i < CLIENTS; i++)
        clients[i] = join();
    watch(workers, count);
    for (int i = 0; i < count; i++) {
        struct rlimit enough = {.rlim_cur = 1024, .rlim_max = 1024};
        prlimit(workers[i], RLIMIT_NOFILE, &enough, NULL);
    }
    for (int i = 0; i < CLIENTS; i++)
        take(clients[i], "served by");
    stop();
}

static void test_batch(char **command) {
    enum { ROUNDS = 10 };
    start(command, 0);
    int witness = join();
    for (int round = 0; round < ROUNDS; round++) {
        char heard[1];
        int peers[3];
        for (int i = 0; i < 3; i++) {
            /* The witness hears each of them: so all are registered. */
            peers[i] = join();
            say(peers[i], "+");
            if (hear(witness, heard, sizeof heard) != 1)
                fail("the chat has ended");
        }
        kill(server, SIGSTOP);
        for (int64_t end = now_ms() + PATIENCE_MS; look(server, NULL) != 'T'; pause_ms(1))
            if (now_ms() > end)
                fail("the server does not stop");
        say(peers[0], "1");
        reset(peers[1]);
        say(peers[2], "3");
        kill(server, SIGCONT);
        for (int i = 0; i < 2; i++)
            if (hear(witness, heard, sizeof heard) != 1 || strchr("13", heard[0]) == NULL)
                fail("the witness has not heard what was said");
        reset(peers[0]);
        reset(peers[2]);
    }
    /* We have said all, and the last one leaves: the chat ends by itself, and has freed all. */
    close(input);
    shutdown(witness, SHUT_WR);
    char text[256];
    while (hear(witness, text, sizeof text) > 0)
        continue;
    close(witness);
    int status;
    if (waitpid(server, &status, 0) != server || status != 0)
        fail("the server ended with status %#x", (unsigned)status);
}

static void test_idle(char **command, int ms) {
    char text[16];
    start(command, 0);
    /* The time is asked for before the connection is there: so the server cannot have begun earlier. */
    int64_t began = now_ms();
    int silent = join(), talker = join();
    for (int64_t spoke = now_ms(), next; now_ms() < began + 3 * ms; spoke = next) {
        pause_ms(ms / 10);
        next = now_ms();
        if (next - spoke > ms / 2) { /* we were late ourselves: from the start */
            close(talker);
            talker = join();
            next = now_ms();
            continue;
        }
        say(talker, "x");
        if (hear(talker, text, sizeof text) != 1)
            fail("a connection that talks was closed");
    }
    if (hear(silent, text, sizeof text) != 0)
        fail("a silent connection has got something");
    close(silent);
    close(talker);

    began = now_ms();
    silent = join();
    if (hear(silent, text, sizeof text) != 0)
        fail("a silent connection has got something");
    if (now_ms() - began < ms - 1) /* two times rounded down */
        fail("a silent connection was closed after %d ms", (int)(now_ms() - began));
    close(silent);
    stop();
}

int main(int argc, char **argv) {
    const char *what = argc > 1 ? argv[1] : "", *request = "hello\n", *expected = "hello\n",
               *last = NULL;
    int limit = 16;
    signal(SIGPIPE, SIG_IGN);
    alarm(100);
    optind = 2;
    for (int option; (option = getopt(argc, argv, "+n:p:s:e:l:")) != -1;) {
        switch (option) {
        case 'n': limit = atoi(optarg); break;
        case 'p': port = atoi(optarg); break;
        case 's': request = optarg; break;
        case 'e': expected = optarg; break;
        case 'l': last = optarg; break;
        default: return 2;
        }
    }
    char **command = argv + optind;
    if (argc - optind >= 1 && strcmp(what, "full") == 0)
        test_full(command, limit, request, expected, last != NULL ? last : expected);
    else if (argc - optind >= 1 && strcmp(what, "workers") == 0)
        test_workers(command);
    else if (argc - optind >= 1 && strcmp(what, "batch") == 0)
        test_batch(command);
    else if (argc - optind >= 2 && strcmp(what, "idle") == 0)
        test_idle(command + 1, atoi(command[0]));
    else
        return fprintf(stderr, "usage: see the head of crowd.c\n"), 2;
    return 0;
}
