# Plots the waits: time by the number of registered, and by the number of ready, the latter also as a
# ratio to raw epoll. Needs `folder`.
#
# SPDX-License-Identifier: Apache-2.0

set terminal svg size 640,420 font "sans-serif,12" background "white" linewidth 1.5
set datafile separator ","
set logscale xy
set key outside right top
set grid
set offsets graph 0.05, graph 0.05, graph 0.05, graph 0.05
set style data linespoints
csv = folder . "/results.csv"

# Runs awk over the rows of waits.
waits(program) = sprintf("awk -F, '$1 == \"dispatch\" { %s } END { print most }' '%s'", program, csv)
most = system(waits("if ($2 > most) most = $2"))

# The contestants that a condition chooses, a word each; one of them; its rows that one chooses.
names(condition) = system(waits(sprintf( \
    "if (!seen[$4]++ && (%s)) { gsub(\" \", \"~\", $4); print $4 }", condition)))
name(list, i) = system(sprintf("echo '%s' | tr '~' ' '", word(list, i)))
rows(contestant, condition) = "< " . waits(sprintf( \
    "if ($4 == \"%s\" && %s) print", contestant, condition))

all = names("1")
set format y "10^{%T}"
set ylabel "ns per wait"

set output folder . "/registered.svg"
set title "1 ready"
set xlabel "registered"
plot for [i = 1:words(all)] rows(name(all, i), "$3 == 1") using 2:6 \
    title name(all, i) linetype i pointtype i

set output folder . "/ready.svg"
set title most . " registered"
set xlabel "ready"
plot for [i = 1:words(all)] rows(name(all, i), "$2 == " . most) using 3:6 \
    title name(all, i) linetype i pointtype i

# Those that wait by epoll, but for CPython, which takes three to five times as long.
by_epoll = names("$4 !~ / (poll|select)$|^CPython$/")
set output folder . "/ratio.svg"
unset logscale y
set ylabel "time per wait / that of raw epoll"
set format y "%.1f"
set yrange [0.95:2]
plot for [i = 1:words(by_epoll)] rows(name(by_epoll, i), "$2 == " . most) using 3:13 \
    title name(by_epoll, i) linetype i pointtype i
