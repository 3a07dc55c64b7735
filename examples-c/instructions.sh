#!/bin/sh
# Counts the user-space instructions of a wait, by callgrind, and holds the library to limits.
#
#     instructions.sh BENCH [PER_WAIT [PER_EVENT]]    BENCH is the program bench, as built
#
# A wait with n ready descriptors costs wait + n * event, the loop around it included. The figures
# are differences of runs of different length, so
# that start-up, registration and exit cancel out, and they are the same on every run.
# Exits with 1 if the library needs more than PER_WAIT (200) or PER_EVENT (50).
set -eu

if [ $# -lt 1 ]; then
    echo "usage: instructions.sh BENCH [PER_WAIT [PER_EVENT]]" >&2
    exit 2
fi
bench=$1
wait_limit=${2:-200}
event_limit=${3:-50}

log=$(mktemp)
trap 'rm -f "$log"' EXIT
trap 'exit 129' HUP
trap 'exit 130' INT
trap 'exit 143' TERM

# collected KIND ROUNDS READY: the instructions of that whole run.
collected() {
    if ! valgrind --tool=callgrind --callgrind-out-file=/dev/null \
        "$bench" count "$1" "$2" "$3" >"$log" 2>&1; then
        cat "$log" >&2
        return 1
    fi
    sed -n 's/.*Collected : \([0-9][0-9]*\).*/\1/p' "$log"
}

# per_wait KIND READY: the instructions of one wait with that many ready.
per_wait() {
    short=$(collected "$1" 1000 "$2")
    long=$(collected "$1" 3000 "$2")
    echo $(((long - short + 1000) / 2000))
}

raw_one=$(per_wait raw 1)
raw_many=$(per_wait raw 33)
sel_one=$(per_wait sel 1)
sel_many=$(per_wait sel 33)
raw_event=$(((raw_many - raw_one + 16) / 32))
sel_event=$(((sel_many - sel_one + 16) / 32))
raw_wait=$((raw_one - raw_event))
sel_wait=$((sel_one - sel_event))

printf '%-28s %10s %10s %7s\n' 'user-space instructions' epoll_wait sel_select limit
printf '%-28s %10d %10d %7d\n' 'a wait' "$raw_wait" "$sel_wait" "$wait_limit"
printf '%-28s %10d %10d %7d\n' 'each of its events' "$raw_event" "$sel_event" "$event_limit"

if [ "$sel_wait" -gt "$wait_limit" ] || [ "$sel_event" -gt "$event_limit" ]; then
    echo "instructions.sh: the library is over its limit" >&2
    exit 1
fi
