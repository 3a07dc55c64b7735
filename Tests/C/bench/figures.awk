# Reads the CSV of driver.c, for the scripts that follow on the command line.
#
# SPDX-License-Identifier: Apache-2.0

BEGIN { FS = "," }

function row(workload, registered, ready, contestant) {
    return workload "," registered "," ready "," contestant
}

# ns of each further event: the slope from 1 to 1000 ready, or to 65 where there is no more.
function event(contestant,    one, many) {
    one = row("dispatch", 1000, 1, contestant)
    many = row("dispatch", 1000, 1000, contestant)
    if (many in median) return (median[many] - median[one]) / 999
    many = row("dispatch", 1000, 65, contestant)
    return (many in median) ? (median[many] - median[one]) / 64 : ""
}

NR > 1 {
    if (!seen[$4]++) names[++contestants] = $4
    key = row($1, $2, $3, $4)
    unit[key] = $5
    median[key] = $6
    ratio[key] = $10
    ratio_low[key] = $11
    ratio_to_first[key] = $13
    allocated[key] = $14
    switches[key] = $15
}
