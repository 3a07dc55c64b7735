# Writes the table of the README, in Markdown, from the CSV of driver.c.
#
# SPDX-License-Identifier: Apache-2.0

BEGIN {
    FS = ","
    count = split("dispatch,1000,1;register,1000,1;toggle,1000,1;wake_pending,1,0;echo,100,0;bytes,9000,1",
                  columns, ";")
}

function number(value) {
    return sprintf(value < 100 ? "%.1f" : "%.0f", value)
}

function cell(contestant, column,    key) {
    key = column "," contestant
    if (!(key in median)) return "-"
    return number(median[key]) (ratio[key] == "" ? "" : sprintf(" (%.2f)", ratio[key]))
}

# ns of each further event: the slope from 1 to 1000 ready.
function event(contestant,    one, many) {
    one = "dispatch,1000,1," contestant
    many = "dispatch,1000,1000," contestant
    return (many in median) ? (median[many] - median[one]) / 999 : ""
}

NR == 2 { first = $4 }

NR > 1 {
    if (!seen[$4]++) names[++contestants] = $4
    key = $1 "," $2 "," $3 "," $4
    median[key] = $6
    ratio[key] = $5 == "ns" && $4 !~ /poll$|select$/ || $4 ~ /epoll$/ && $5 == "ns" ? $13 : ""
}

END {
    print "| ns (times raw epoll) | wait, 1 ready | each further event | register + unregister |" \
        " 200 modifies, wait | wake-up, one pending | echo, CPU a request | bytes a descriptor |"
    print "|---|---|---|---|---|---|---|---|"
    for (i = 1; i <= contestants; i++) {
        name = names[i]
        if (name ~ / (poll|select)$/) continue
        slope = event(name)
        printf "| %s | %s | %s |", name == "selectors epoll" ? "**this library**" : name,
            cell(name, columns[1]),
            slope == "" ? "-" : number(slope) sprintf(" (%.2f)", slope / event(first))
        for (j = 2; j <= count; j++) printf " %s |", cell(name, columns[j])
        print ""
    }
}
