#!/bin/sh
# Runs the benchmarks, and leaves in a folder, with the name "results", or "async" for those of echo
# servers: NAME.txt (tables), NAME.csv (all figures), NAME.md (the table of a README) and, with gnuplot,
# plots (SVG).
#
#     bench.sh quick|full|async-quick|async DRIVER FOLDER 'NAME: COMMAND' ...    as driver.c takes them
set -eu

if [ $# -lt 4 ]; then
    echo "usage: bench.sh quick|full|async-quick|async DRIVER FOLDER 'NAME: COMMAND' ..." >&2
    exit 2
fi
effort=$1
driver=$2
folder=$3
shift 3
here=$(dirname "$0")
case $effort in
async*) results=$folder/async own=$here/async ;;
*) results=$folder/results own=$here ;;
esac

"$driver" "$effort" "$results.csv" "$@" >"$results.txt"
[ "$own" != "$here" ] ||
    awk -f "$here/figures.awk" -f "$here/targets.awk" "$results.csv" >>"$results.txt"
awk -f "$here/figures.awk" -f "$own/table.awk" "$results.csv" >"$results.md"
cat "$results.txt"
if command -v gnuplot >/dev/null; then
    gnuplot -e "folder = '$folder'" "$own/plot.gp"
else
    echo "bench.sh: no plots, for there is no gnuplot" >&2
fi
printf '\nAll of it: %s\n' "$folder"
