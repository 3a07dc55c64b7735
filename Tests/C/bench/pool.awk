# Holds a pool of threads in one set to the limits:
#
#     awk -v limits=FILE -f figures.awk -f pool.awk CSV
#
# Of the switches the median of all rounds counts. Of the CPU the lower quartile of the ratios does,
# so that a part of the rounds may have been disturbed. Exits with 1 if the library is over a limit.
#
# SPDX-License-Identifier: Apache-2.0

function hold(what, figure, note, name) {
    over = !(name in limit) || figure > limit[name]
    failed += over
    printf "%-52s %8.4g %8s %8s%s\n", what, figure, note, limit[name], over ? "  over" : ""
}

END {
    while ((getline line <limits) > 0)
        if (line !~ /^#/ && split(line, words, " ") == 2) limit[words[1]] = words[2]
    printf "\n%-52s %8s %8s %8s\n", "This library, an event of a pool in one selector", "is", "median",
        "limit"
    for (i = 1; i <= contestants; i++) {
        if (names[i] !~ /^selectors /) continue
        for (ready = 1; ready <= 8; ready += 7) {
            key = row("pool", 64, ready, names[i])
            if (!(key in median)) exit 1
            where = (names[i] ~ /one-cpu/ ? "one processor, " : "all processors, ") ready " ready: "
            hold(where "context switches", switches[key], "", "pool_switches")
            hold(where "CPU, % of raw epoll", 100 * ratio_low[key], sprintf("%.4g", 100 * ratio[key]),
                "pool_cpu_percent")
        }
    }
    exit failed > 0
}
