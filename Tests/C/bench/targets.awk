# Compares the figures with what the library is to reach: awk -f figures.awk -f targets.awk CSV
#
# SPDX-License-Identifier: Apache-2.0

# Prints whether a figure is within its target; nothing where it was not measured.
function judge(what, figure, target, unit) {
    if (figure == "") return
    if (!headed++) printf "\n%-46s %10s %10s\n", "What the library is to reach", "is", "at most"
    printf "%-46s %9.4g%s %9.4g%s  %s\n", what, figure, unit, target, unit,
        figure <= target ? "yes" : "no"
}

# The highest ratio of any wait.
function worst(contestant,    key, most) {
    for (key in ratio)
        if (key ~ /^dispatch,/ && key ~ ("," contestant "$") && ratio[key] > most) most = ratio[key]
    return most
}

END {
    c = "selectors epoll"
    judge("epoll, wait with 1 ready", ratio[row("dispatch", 1000, 1, c)], 1.05, "x")
    if (event(c) != "" && event("raw epoll") > 0)
        judge("epoll, each further event", event(c) / event("raw epoll"), 1.03, "x")
    judge("epoll, register + unregister", ratio[row("register", 1000, 1, c)], 1.05, "x")
    judge("epoll, 200 modifies + wait", ratio[row("toggle", 1000, 1, c)], 0.03, "x")
    judge("wake-up with one pending, ns", median[row("wake_pending", 1, 0, c)], 5, " ")
    judge("epoll, bytes for each of 9000 descriptors", median[row("bytes", 9000, 1, c)], 40, " ")
    for (ready = 1; ready <= 8; ready += 7) {
        pool = row("pool", 64, ready, c)
        judge("epoll, pool with " ready " ready, CPU", ratio[pool], 1.20, "x")
        judge("epoll, pool with " ready " ready, switches", switches[pool], 4, " ")
    }
    judge("poll, the worst of all waits", worst("selectors poll"), 1.05, "x")
    judge("select, the worst of all waits", worst("selectors select"), 1.05, "x")
    for (key in allocated)
        if (key ~ /,selectors / && key ~ /^(dispatch|modify|toggle|register|wake)/)
            if (most == "" || allocated[key] > most) most = allocated[key]
    judge("C, allocations a call", most, 0, " ")
    for (i = split("list array", faces, " "); i > 0; i--) {
        name = "Swift " faces[i]
        wait = row("dispatch", 1000, 1, name)
        many = row("dispatch", 1000, 65, name)
        if (!(wait in median)) continue
        judge(name ", wait with 1 ready, to that of C", median[wait] / median[row("dispatch", 1000, 1, c)],
            1.10, "x")
        judge(name ", allocations a wait, 65 ready", allocated[many], faces[i] == "list" ? 3 : 0, " ")
    }
}
