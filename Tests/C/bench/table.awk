# Writes the table of the README, in Markdown: awk -f figures.awk -f table.awk CSV
#
# SPDX-License-Identifier: Apache-2.0

function number(value) {
    return sprintf(value < 100 ? "%.1f" : "%.0f", value)
}

function cell(key) {
    if (!(key in median)) return "-"
    return number(median[key]) (unit[key] == "ns" ? sprintf(" (%.2f)", ratio_to_first[key]) : "")
}

END {
    print "| ns (times raw epoll) | wait, 1 ready | each further event | register + unregister |" \
        " 200 modifies, wait | wake-up, one pending | echo, CPU a request | bytes a descriptor |"
    print "|---|---|---|---|---|---|---|---|"
    for (i = 1; i <= contestants; i++) {
        name = names[i]
        if (name ~ / (poll|select)$/) continue
        slope = event(name)
        printf "| %s | %s | %s | %s | %s | %s | %s | %s |\n",
            name == "selectors epoll" ? "**this library**" : name,
            cell(row("dispatch", 1000, 1, name)),
            slope == "" ? "-" : number(slope) sprintf(" (%.2f)", slope / event(names[1])),
            cell(row("register", 1000, 1, name)), cell(row("toggle", 1000, 1, name)),
            cell(row("wake_pending", 1, 0, name)), cell(row("echo", 100, 0, name)),
            cell(row("bytes", 9000, 1, name))
    }
}
