#!/bin/sh
# Runs the comparison of echo servers, and leaves in a folder: async.txt (tables), async.csv (all
# figures), async.md (the table of the README) and, with gnuplot, async.svg.
#
#     bench.sh async-quick|async DRIVER FOLDER 'NAME: COMMAND' ...    as ../driver.c takes them
set -eu

if [ $# -lt 4 ]; then
    echo "usage: bench.sh async-quick|async DRIVER FOLDER 'NAME: COMMAND' ..." >&2
    exit 2
fi
effort=$1
driver=$2
folder=$3
shift 3
here=$(dirname "$0")

"$driver" "$effort" "$folder/async.csv" "$@" >"$folder/async.txt"
cat "$folder/async.txt"
awk -f "$here/../figures.awk" -f "$here/table.awk" "$folder/async.csv" >"$folder/async.md"
if command -v gnuplot >/dev/null; then
    gnuplot -e "folder = '$folder'" "$here/plot.gp"
else
    echo "bench.sh: no plot, for there is no gnuplot" >&2
fi
printf '\nAll of it: %s\n' "$folder"
