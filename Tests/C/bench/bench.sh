#!/bin/sh
# Runs the benchmarks, and leaves in a folder: results.txt (tables), results.csv (all figures),
# results.md (the table of the README) and, with gnuplot, plots (SVG).
#
#     bench.sh quick|full DRIVER FOLDER 'NAME: COMMAND' ...    as driver.c takes them
set -eu

if [ $# -lt 4 ]; then
    echo "usage: bench.sh quick|full DRIVER FOLDER 'NAME: COMMAND' ..." >&2
    exit 2
fi
effort=$1
driver=$2
folder=$3
shift 3
here=$(dirname "$0")

"$driver" "$effort" "$folder/results.csv" "$@" >"$folder/results.txt"
awk -f "$here/figures.awk" -f "$here/targets.awk" "$folder/results.csv" >>"$folder/results.txt"
awk -f "$here/figures.awk" -f "$here/table.awk" "$folder/results.csv" >"$folder/results.md"
cat "$folder/results.txt"
if command -v gnuplot >/dev/null; then
    gnuplot -e "folder = '$folder'" "$here/plot.gp"
else
    echo "bench.sh: no plots, for there is no gnuplot" >&2
fi
printf '\nAll of it: %s\n' "$folder"
