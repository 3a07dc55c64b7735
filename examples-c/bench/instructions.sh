#!/bin/sh
# Counts user-space instructions on epoll by callgrind, and holds the library to the limits.
#
#     instructions.sh FOLDER LIMITS    FOLDER has the programs raw_epoll and selectors
#
# Each figure is the difference of two runs of different length, so that start-up, registration and
# exit cancel out; it is the same on each run. A wait with n ready takes wait + n * event.
# Exits with 1 if the library is more than 3 % above a limit.
set -eu

if [ $# -ne 2 ]; then
    echo "usage: instructions.sh FOLDER LIMITS" >&2
    exit 2
fi
folder=$1
limits=$2

log=$(mktemp)
trap 'rm -f "$log"' EXIT
trap 'exit 129' HUP
trap 'exit 130' INT
trap 'exit 143' TERM

# collected PROGRAM WORKLOAD REGISTERED READY LOOPS: the instructions of that whole run.
collected() {
    program=$1
    shift
    if ! valgrind --tool=callgrind --callgrind-out-file=/dev/null \
        "$folder/$program" epoll "$@" >"$log" 2>&1; then
        cat "$log" >&2
        return 1
    fi
    sed -n 's/.*Collected : \([0-9][0-9]*\).*/\1/p' "$log"
}

# of PROGRAM WORKLOAD REGISTERED READY LOOPS: the instructions of one loop.
of() {
    program=$1 workload=$2 registered=$3 ready=$4 loops=$5
    short=$(collected "$program" "$workload" "$registered" "$ready" "$loops")
    long=$(collected "$program" "$workload" "$registered" "$ready" $((3 * loops)))
    echo $(((long - short + loops) / (2 * loops)))
}

# measure PROGRAM: one line for each figure.
measure() {
    one=$(of "$1" dispatch 1000 1 1000)
    many=$(of "$1" dispatch 1000 33 1000)
    toggle=$(of "$1" toggle 1000 1 10)
    event=$(((many - one + 16) / 32))
    modify=$(of "$1" modify 1000 1 1000)
    register=$(of "$1" register 1000 1 1000)
    wakeup=$(of "$1" wake_pending 1 0 1000)
    cat <<EOL
wait $((one - event))
event $event
modify $modify
toggled_modify $(((toggle - one + 100) / 200))
register $register
wakeup $wakeup
EOL
}

raw=$(measure raw_epoll)
library=$(measure selectors)
printf '%s\n\n%s\n' "$raw" "$library" | awk '
    NR == FNR { if ($1 !~ /^#/ && NF == 2) limit[$1] = $2; next }
    NF == 0 {
        second = 1
        printf "%-24s %8s %10s %8s\n", "user-space instructions", "epoll", "selectors", "limit"
        next
    }
    !second { raw[$1] = $2; next }
    {
        if (!($1 in limit)) { printf "no limit for %s\n", $1; failed = 1; next }
        over = $2 > limit[$1] * 1.03
        failed += over
        printf "%-24s %8d %10d %8d%s\n", $1, raw[$1], $2, limit[$1], over ? "  over" : ""
    }
    END { exit failed > 0 }
' "$limits" - || {
    echo "instructions.sh: the library is over a limit" >&2
    exit 1
}
