#!/bin/sh
# Counts user-space instructions on epoll by callgrind, and allocations, and holds the library to the
# limits.
#
#     instructions.sh FOLDER LIMITS [SWIFT EXECUTOR]
#
# FOLDER has the programs raw_epoll and selectors; SWIFT is that for the Swift face, of which allocations
# and the wait that fills an array are counted; EXECUTOR is that for SelectorsAsync, of which allocations
# and, with strace, system calls are counted. Each figure is what more loops need more, so that start-up,
# registration and exit
# cancel out; it is the same on each run. A wait with n ready takes wait + n * event.
# Exits with 1 if the library is more than 3 % above a limit.
set -eu

if [ $# -ne 2 ] && [ $# -ne 4 ]; then
    echo "usage: instructions.sh FOLDER LIMITS [SWIFT EXECUTOR]" >&2
    exit 2
fi
folder=$1
limits=$2
swift=${3-}
executor=${4-}

log=$(mktemp)
stripped=$(mktemp)
trap 'rm -f "$log" "$stripped"' EXIT
trap 'exit 129' HUP
trap 'exit 130' INT
trap 'exit 143' TERM

# collected PROGRAM ARGUMENT WORKLOAD REGISTERED READY LOOPS: the instructions of that whole run.
collected() {
    if ! valgrind --tool=callgrind --callgrind-out-file=/dev/null "$@" >"$log" 2>&1; then
        cat "$log" >&2
        return 1
    fi
    sed -n 's/.*Collected : \([0-9][0-9]*\).*/\1/p' "$log"
}

# of PROGRAM ARGUMENT WORKLOAD REGISTERED READY LOOPS: the instructions of one loop.
of() {
    program=$1 argument=$2 workload=$3 registered=$4 ready=$5 loops=$6
    short=$(collected "$program" "$argument" "$workload" "$registered" "$ready" "$loops")
    long=$(collected "$program" "$argument" "$workload" "$registered" "$ready" $((3 * loops)))
    echo $(((long - short + loops) / (2 * loops)))
}

# waits PREFIX PROGRAM ARGUMENT: the lines of a wait and an event.
waits() {
    prefix=$1
    shift
    one=$(of "$@" dispatch 1000 1 1000)
    many=$(of "$@" dispatch 1000 33 1000)
    event=$(((many - one + 16) / 32))
    printf '%swait %d\n%sevent %d\n' "$prefix" $((one - event)) "$prefix" "$event"
}

# measure PROGRAM: one line for each figure.
measure() {
    waits "" "$folder/$1" epoll
    one=$(of "$folder/$1" epoll dispatch 1000 1 1000)
    toggle=$(of "$folder/$1" epoll toggle 1000 1 10)
    modify=$(of "$folder/$1" epoll modify 1000 1 1000)
    register=$(of "$folder/$1" epoll register 1000 1 1000)
    wakeup=$(of "$folder/$1" epoll wake_pending 1 0 1000)
    cat <<EOL
modify $modify
toggled_modify $(((toggle - one + 100) / 200))
register $register
wakeup $wakeup
EOL
}

# allocated FIGURE COMMAND ...: a line with the most allocations of a call, of any kind.
allocated() {
    figure=$1 most=0
    shift
    for workload in "dispatch 1000 1" "dispatch 1000 65" "dispatch 1000 1000" "modify 1000 1" \
        "toggle 1000 1" "register 1000 1" "wake_pending 1 0"; do
        # The first round may set up what is kept.
        # shellcheck disable=SC2086 # the workload is three arguments
        count=$(printf '10\n1000\n' | "$@" $workload | awk '{ count = $3 } END { print count }')
        if [ -z "$count" ]; then
            echo "instructions.sh: $* $workload: no figure" >&2
            return 1
        fi
        each=$(((count + 999) / 1000))
        [ "$each" -le "$most" ] || most=$each
    done
    echo "$figure $most"
}

# executor_calls WAITS: the system calls of that run, but for those that wait, receive and send.
executor_calls() {
    strace -f -c -o "$log" -e trace='!epoll_pwait2,epoll_wait,recvfrom,sendto' \
        "$executor" "$1" >/dev/null
    awk '$NF == "total" { print $4 }' "$log"
}

# What a wait in an executor takes, for 1000 waits: some of them may be of the threads of the runtime.
waits_in_executor() {
    made=$("$executor" 100000 | cut -d ' ' -f 1)
    [ "$made" -gt 0 ] || made=0
    echo "executor_allocations $(((made + 99) / 100))"
    if ! command -v strace >/dev/null; then
        echo "instructions.sh: no strace: the executor's system calls are not counted" >&2
        return
    fi
    echo "executor_system_calls $((($(executor_calls 21000) - $(executor_calls 1000)) / 20))"
}

raw=$(measure raw_epoll)
library=$(
    measure selectors
    if [ -n "$swift" ]; then
        # valgrind 3.19 does not read the line numbers of Swift.
        strip -g -o "$stripped" "$swift"
        chmod +x "$stripped"
        waits swift_array_ "$stripped" array
    fi
)
allocations=$(
    allocated allocations "$folder/selectors" epoll
    [ -z "$swift" ] || allocated swift_array_allocations "$swift" array
    [ -z "$swift" ] || allocated swift_list_allocations "$swift" list
    [ -z "$executor" ] || waits_in_executor
)
printf '%s\n\n%s\n%s\n' "$raw" "$library" "$allocations" | awk '
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
        printf "%-24s %8s %10d %8d%s\n", $1, raw[$1], $2, limit[$1], over ? "  over" : ""
    }
    END { exit failed > 0 }
' "$limits" - || {
    echo "instructions.sh: the library is over a limit" >&2
    exit 1
}
