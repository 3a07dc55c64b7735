/*
 * Runs the contestants of the benchmark against each other; prints and stores the results.
 *
 *     driver quick|full|pool|async-quick|async CSV 'NAME: COMMAND' ...
 *
 * For each workload all contestants are started, set it up, and run it in turns, round by round. So
 * other load on the machine affects all of them equally. This is repeated with new processes,
 * because the memory layout of a process also affects its speed. A figure is the median of all
 * rounds; a ratio is the median of the ratios of each round.
 *
 * The baseline of a contestant whose name ends in X is "raw X". If there is none, or it does not
 * support the workload, the baseline is the first contestant. "-" marks an unsupported workload; a
 * contestant that supports no workload of a table has no row there. "pool" measures only thread
 * pools, for a longer time; "async" measures the echo servers of async/.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { MOST_CONTESTANTS = 32, MOST_ROUNDS = 64, COLUMNS = 5 };

/* A workload with its parameters: a column of a table. */
struct column {
    const char *workload;
    int registered, ready;
    const char *head;
    bool quick; /* measured in a quick run, too */
};

/*
 * NS_AND_SWITCHES: each column is followed by one with the context switches. SERVER_NS: the time of
 * a server, which another program reports.
 */
enum unit { NS, NS_AND_SWITCHES, BYTES, SERVER_NS };

static const struct table {
    const char *title;
    enum unit unit;
    struct column columns[COLUMNS];
} tables[] = {
    {"A wait with 1 ready, ns, by the number of registered",
     NS,
     {{"dispatch", 100, 1, "100", true},
      {"dispatch", 300, 1, "300", false},
      {"dispatch", 1000, 1, "1000", true},
      {"dispatch", 3000, 1, "3000", false},
      {"dispatch", 9000, 1, "9000", true}}},
    {"A wait with 1000 registered, ns, by the number of ready",
     NS,
     {{"dispatch", 1000, 10, "10", false},
      {"dispatch", 1000, 65, "65", true},
      {"dispatch", 1000, 300, "300", false},
      {"dispatch", 1000, 1000, "1000", false}}},
    {"A wait with 9000 registered, ns, by the number of ready",
     NS,
     {{"dispatch", 9000, 10, "10", false},
      {"dispatch", 9000, 100, "100", true},
      {"dispatch", 9000, 1000, "1000", false},
      {"dispatch", 9000, 3000, "3000", false},
      {"dispatch", 9000, 9000, "9000", false}}},
    {"Changes, 1000 registered, ns",
     NS,
     {{"register", 1000, 1, "register + unregister", true},
      {"register_wait", 1000, 1, "with a wait after each", false},
      {"modify", 1000, 1, "modify, no change", false},
      {"toggle", 1000, 1, "200 modifies, wait", true}}},
    {"Wake-up, ns",
     NS,
     {{"wake_pending", 1, 0, "one is pending", true},
      {"wake", 1, 0, "latency", true},
      {"wake_blocked", 1, 0, "of a blocked wait", true}}},
    {"Traffic, ns",
     NS,
     {{"echo", 100, 0, "echo, CPU a request", true},
      {"ping_pong", 1, 0, "ping-pong", false},
      {"ring", 1000, 1, "1 token in a ring", false},
      {"ring", 1000, 100, "100 tokens in a ring", true}}},
    {"A pool of 32 threads in one set, ns of CPU an event, by the number of ready",
     NS_AND_SWITCHES,
     {{"pool", 64, 1, "1", true}, {"pool", 64, 8, "8", true}}},
    {"The same with a set for each thread",
     NS_AND_SWITCHES,
     {{"pool_apart", 64, 1, "1", false}, {"pool_apart", 64, 8, "8", true}}},
    {"Memory, bytes a descriptor",
     BYTES,
     {{"bytes", 1000, 1, "1000 registered", true}, {"bytes", 9000, 1, "9000 registered", true}}},
    {"Processor time of an echo, ns, by the number of connections",
     SERVER_NS,
     {{"echo_cpu", 1, 0, "1", true},
      {"echo_cpu", 100, 0, "100", true},
      {"echo_cpu", 1000, 0, "1000", true}}},
    {"Wall time of an echo, ns, by the number of connections",
     SERVER_NS,
     {{"echo_wall", 1, 0, "1", true},
      {"echo_wall", 100, 0, "100", true},
      {"echo_wall", 1000, 0, "1000", true}}},
};

enum { TABLES = sizeof tables / sizeof tables[0] };

static const struct effort {
    const char *name;
    int starts, rounds; /* rounds after each start */
    double round_ns;    /* the intended duration of a round */
} efforts[] = {{"quick", 3, 5, 3e6},
               {"full", 6, 9, 6e6},
               {"pool", 4, 8, 30e6},
               {"async-quick", 3, 5, 3e6},
               {"async", 5, 9, 30e6}},
  once = {"once", 1, 1, 0};

struct contestant {
    const char *name, *command;
    int floor; /* the raw loop over the same facility */
    pid_t child;
    FILE *to, *from; /* NULL: it cannot do this */
    long loops;      /* in a round */
    double values[MOST_ROUNDS], ratios[MOST_ROUNDS], raw_ratios[MOST_ROUNDS];
    double switches[MOST_ROUNDS];
    double allocations, operations; /* in all rounds */
};

static struct contestant contestants[MOST_CONTESTANTS];
static int contestant_count;
static const struct effort *effort;
static FILE *csv;
static struct timespec began;

static _Noreturn void fail(const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    fputs("bench: ", stderr);
    vfprintf(stderr, format, arguments);
    fputc('\n', stderr);
    va_end(arguments);
    exit(1);
}

/* The part of a name that is the facility. */
static const char *last_word(const char *name) {
    const char *space = strrchr(name, ' ');
    return space == NULL ? name : space + 1;
}

static void read_contestants(char **arguments) {
    for (; *arguments != NULL; arguments++, contestant_count++) {
        char *colon = strchr(*arguments, ':');
        if (colon == NULL || contestant_count == MOST_CONTESTANTS)
            fail("bad or too many contestants: %s", *arguments);
        *colon = '\0';
        contestants[contestant_count].name = *arguments;
        contestants[contestant_count].command = colon + 1;
    }
    for (int i = 0; i < contestant_count; i++)
        for (int j = 0; j < contestant_count; j++)
            if (strncmp(contestants[j].name, "raw ", 4) == 0 &&
                strcmp(last_word(contestants[i].name), last_word(contestants[j].name)) == 0)
                contestants[i].floor = j;
}

/* Starts a contestant and waits until it has set up the workload. */
static void start(struct contestant *contestant, const struct column *column, bool is_first) {
    int there[2], back[2];
    char command[4096], line[256];
    snprintf(command, sizeof command, "exec %s %s %d %d", contestant->command, column->workload,
             column->registered, column->ready);
    if (pipe2(there, O_CLOEXEC) < 0 || pipe2(back, O_CLOEXEC) < 0 ||
        (contestant->child = fork()) < 0)
        fail("%s", strerror(errno));
    if (contestant->child == 0) {
        dup2(there[0], 0);
        dup2(back[1], 1);
        execl("/bin/sh", "sh", "-c", command, (char *)NULL);
        _exit(127);
    }
    close(there[0]);
    close(back[1]);
    contestant->to = fdopen(there[1], "w");
    contestant->from = fdopen(back[0], "r");
    if (contestant->to == NULL || contestant->from == NULL)
        fail("%s", strerror(errno));
    if (fgets(line, sizeof line, contestant->from) == NULL)
        fail("%s has failed in %s", contestant->name, column->workload);
    if (line[0] == '-') {
        if (is_first)
            fprintf(stderr, "    %s: none, for %s", contestant->name, line + 2);
        fclose(contestant->to);
        fclose(contestant->from);
        contestant->to = contestant->from = NULL;
        waitpid(contestant->child, NULL, 0);
    }
}

static void stop(struct contestant *contestant, const struct column *column) {
    int status;
    if (contestant->to == NULL)
        return;
    fclose(contestant->to);
    fclose(contestant->from);
    if (waitpid(contestant->child, &status, 0) < 0 || status != 0)
        fail("%s has failed at the end of %s", contestant->name, column->workload);
}

/* Runs `loops` loops and returns their duration. Stores the figures of one operation. */
static double run(struct contestant *contestant, long loops, double *value, double *switches) {
    double sum, operations;
    long allocations, switched;
    fprintf(contestant->to, "%ld\n", loops);
    fflush(contestant->to);
    if (fscanf(contestant->from, "%lf %lf %ld %ld", &sum, &operations, &allocations, &switched) !=
        4)
        fail("%s has failed", contestant->name);
    *value = sum / operations;
    *switches = (double)switched / operations;
    contestant->operations += operations;
    contestant->allocations += (double)allocations;
    return sum;
}

/*
 * Finds the number of loops for a round of the intended duration, in a few steps: the first loop is
 * slow, and a single loop includes the fixed cost of a round.
 */
static void calibrate(struct contestant *contestant, double round_ns) {
    double allocations = contestant->allocations, operations = contestant->operations;
    double value, switches; /* not used */
    for (int step = 0; step < 5; step++) {
        double factor = round_ns / run(contestant, contestant->loops, &value, &switches);
        factor = factor > 64 ? 64 : factor;
        contestant->loops = (long)((double)contestant->loops * factor);
        if (contestant->loops < 1)
            contestant->loops = 1;
    }
    contestant->allocations = allocations;
    contestant->operations = operations;
}

/* The contestant's baseline: the first contestant if "raw X" does not support the workload. */
static int floor_of(const struct contestant *contestant) {
    return contestants[contestant->floor].to == NULL ? 0 : contestant->floor;
}

static void run_round(int round) {
    for (int i = 0; i < contestant_count; i++) {
        struct contestant *contestant = &contestants[(i + round) % contestant_count];
        if (contestant->to != NULL)
            run(contestant, contestant->loops, &contestant->values[round],
                &contestant->switches[round]);
    }
    for (int i = 0; i < contestant_count; i++) {
        struct contestant *contestant = &contestants[i];
        contestant->ratios[round] =
            contestant->values[round] / contestants[floor_of(contestant)].values[round];
        contestant->raw_ratios[round] = contestant->values[round] / contestants[0].values[round];
    }
}

static void compete(const struct column *column, const struct effort *spent) {
    for (int i = 0; i < contestant_count; i++)
        contestants[i].allocations = contestants[i].operations = 0;
    for (int time = 0; time < spent->starts; time++) {
        for (int i = 0; i < contestant_count; i++) {
            start(&contestants[i], column, time == 0);
            contestants[i].loops = 1;
            if (contestants[i].to != NULL && spent->round_ns > 0)
                calibrate(&contestants[i], spent->round_ns);
        }
        for (int round = 0; round < spent->rounds; round++)
            run_round(time * spent->rounds + round);
        for (int i = 0; i < contestant_count; i++)
            stop(&contestants[i], column);
    }
}

static int ascending(const void *a, const void *b) {
    double left = *(const double *)a, right = *(const double *)b;
    return (left > right) - (left < right);
}

/* Stores the lower quartile, the median and the upper quartile. */
static void quartiles(double *values, int count, double result[3]) {
    qsort(values, (size_t)count, sizeof *values, ascending);
    for (int i = 0; i < 3; i++)
        result[i] = values[(count - 1) * (i + 1) / 4];
}

/* A table's cell: one contestant and column. */
struct cell {
    bool there;
    bool time; /* it has a ratio */
    double value, spread, ratio, switches;
};

static struct cell evaluate(struct contestant *contestant, const struct column *column,
                            enum unit unit, int rounds) {
    double values[3], ratios[3], raw_ratios[3], switches[3];
    if (contestant->to == NULL)
        return (struct cell){.there = false};
    quartiles(contestant->values, rounds, values);
    quartiles(contestant->ratios, rounds, ratios);
    quartiles(contestant->raw_ratios, rounds, raw_ratios);
    quartiles(contestant->switches, rounds, switches);
    fprintf(csv, "%s,%d,%d,%s,%s,%.6g,%.6g,%.6g,%s,%.5g,%.5g,%.5g,%.5g,%.5g,%.5g\n",
            column->workload, column->registered, column->ready, contestant->name,
            unit == BYTES ? "bytes" : "ns", values[1], values[0], values[2],
            contestants[floor_of(contestant)].name, ratios[1], ratios[0], ratios[2], raw_ratios[1],
            contestant->allocations / contestant->operations, switches[1]);
    return (struct cell){.there = true,
                         .time = unit != BYTES,
                         .value = values[1],
                         .spread = (values[2] - values[0]) / 2 / values[1] * 100,
                         .ratio = ratios[1],
                         .switches = switches[1]};
}

static void print_cell(struct cell cell) {
    if (!cell.there)
        printf("  %24s", "-");
    else if (!cell.time)
        printf("  %24.1f", cell.value);
    else
        printf("  %10.*f ±%3.0f%% %6.*fx", cell.value < 1000, cell.value, cell.spread,
               cell.ratio < 100 ? 2 : 0, cell.ratio);
}

/* Measures one column and stores its cells, one for each contestant. */
static void run_column(const struct column *column, enum unit unit, struct cell *cells) {
    struct timespec now;
    const struct effort *spent = unit == BYTES ? &once : effort;
    clock_gettime(CLOCK_MONOTONIC, &now);
    fprintf(stderr, "%4ld s  %s: %d registered, %d ready\n", (long)(now.tv_sec - began.tv_sec),
            column->workload, column->registered, column->ready);
    compete(column, spent);
    for (int i = 0; i < contestant_count; i++)
        cells[i] = evaluate(&contestants[i], column, unit, spent->starts * spent->rounds);
}

/* Whether the effort includes a table. */
static bool has(const struct table *table) {
    if (strncmp(effort->name, "async", 5) == 0)
        return table->unit == SERVER_NS;
    if (strcmp(effort->name, "pool") == 0)
        return table->unit == NS_AND_SWITCHES;
    return table->unit != SERVER_NS;
}

static void run_table(const struct table *table) {
    static struct cell cells[COLUMNS][MOST_CONTESTANTS];
    const char *heads[COLUMNS];
    int columns = 0;
    for (int i = 0; i < COLUMNS && table->columns[i].workload != NULL; i++) {
        if (strcmp(effort->name, "quick") == 0 && !table->columns[i].quick)
            continue;
        run_column(&table->columns[i], table->unit, cells[columns]);
        heads[columns++] = table->columns[i].head;
        if (table->unit != NS_AND_SWITCHES)
            continue;
        for (int j = 0; j < contestant_count; j++) {
            struct cell cell = cells[columns - 1][j];
            cells[columns][j] = (struct cell){.there = cell.there, .value = cell.switches};
        }
        heads[columns++] = "switches";
    }
    printf("\n%s\n\n%-20s", table->title, "");
    for (int i = 0; i < columns; i++)
        printf("  %24s", heads[i]);
    putchar('\n');
    for (int i = 0; i < contestant_count; i++) {
        bool some = false;
        for (int j = 0; j < columns; j++)
            some = some || cells[j][i].there;
        if (!some)
            continue;
        printf("%-20s", contestants[i].name);
        for (int j = 0; j < columns; j++)
            print_cell(cells[j][i]);
        putchar('\n');
    }
    fflush(stdout);
}

int main(int argc, char **argv) {
    for (size_t i = 0; argc > 3 && i < sizeof efforts / sizeof efforts[0]; i++)
        if (strcmp(argv[1], efforts[i].name) == 0)
            effort = &efforts[i];
    if (effort == NULL) {
        fprintf(stderr,
                "usage: driver quick|full|pool|async-quick|async CSV 'NAME: COMMAND' ...\n");
        return 2;
    }
    signal(SIGPIPE, SIG_IGN);
    clock_gettime(CLOCK_MONOTONIC, &began);
    read_contestants(argv + 3);
    if ((csv = fopen(argv[2], "we")) == NULL)
        fail("%s: %s", argv[2], strerror(errno));
    fputs("workload,registered,ready,contestant,unit,median,lower_quartile,upper_quartile,floor,"
          "ratio,ratio_lower_quartile,ratio_upper_quartile,ratio_to_first,allocations,switches\n",
          csv);
    printf(
        "Medians of %d rounds, half the distance of their quartiles, ratio to the raw loop over\n"
        "the same facility, or to the first contestant.\n",
        effort->starts * effort->rounds);
    for (int i = 0; i < TABLES; i++)
        if (has(&tables[i]))
            run_table(&tables[i]);
    return fclose(csv) == 0 ? 0 : 1;
}
