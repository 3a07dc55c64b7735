# Writes the table of the README, in Markdown: awk -f ../figures.awk -f table.awk CSV
#
# SPDX-License-Identifier: Apache-2.0

function cell(workload, connections, name,    key) {
    key = row(workload, connections, 0, name)
    return sprintf("%.1f (%.2f)", median[key] / 1000, ratio[key])
}

END {
    print "| µs a request (times the C loop) | CPU, 1 connection | CPU, 100 | CPU, 1000 |" \
        " wall, 1 | wall, 100 | wall, 1000 |"
    print "|---|---|---|---|---|---|---|"
    for (i = 1; i <= contestants; i++)
        printf "| %s | %s | %s | %s | %s | %s | %s |\n", names[i] ~ /^executor/ ? \
            "**" names[i] "**" : names[i],
            cell("echo_cpu", 1, names[i]), cell("echo_cpu", 100, names[i]),
            cell("echo_cpu", 1000, names[i]), cell("echo_wall", 1, names[i]),
            cell("echo_wall", 100, names[i]), cell("echo_wall", 1000, names[i])
}
