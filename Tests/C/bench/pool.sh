#!/bin/sh
# Measures a pool of threads on raw epoll and on this library in turns, and holds the library to the
# limits.
#
#     pool.sh FOLDER RESULTS LIMITS
#
# FOLDER has the programs driver, raw_epoll and selectors; the figures go to RESULTS/pool.csv.
#
# Both are measured twice: on all processors, where threads get into each other's way, but where the
# time also depends on which one the kernel wakes a thread on, so that rounds differ by a factor; and
# on one processor, where the time is the same within 2 %, whatever else the machine does.
# Exits with 1 if the library is over a limit.
set -eu

if [ $# -ne 3 ]; then
    echo "usage: pool.sh FOLDER RESULTS LIMITS" >&2
    exit 2
fi
folder=$1
results=$2
limits=$3
here=$(dirname "$0")

set -- "raw epoll: $folder/raw_epoll -" "selectors epoll: $folder/selectors epoll"
# The first processor that this shell may use.
if processor=$(taskset -cp $$ 2>/dev/null | sed -n 's/.*: \([0-9][0-9]*\).*/\1/p') &&
    [ -n "$processor" ]; then
    set -- "$@" "raw one-cpu: taskset -c $processor $folder/raw_epoll -" \
        "selectors one-cpu: taskset -c $processor $folder/selectors epoll"
else
    echo "pool.sh: not measured on one processor, for there is no taskset" >&2
fi

"$folder/driver" pool "$results/pool.csv" "$@"
awk -v limits="$limits" -f "$here/figures.awk" -f "$here/pool.awk" "$results/pool.csv" || {
    echo "pool.sh: the library is over a limit" >&2
    exit 1
}
