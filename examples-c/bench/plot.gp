# Plots the waits: time by the number of registered, and by the number of ready. Needs `folder`.
#
# SPDX-License-Identifier: Apache-2.0

set terminal svg size 640,420 font "sans-serif,12" background "white" linewidth 1.5
set datafile separator ","
set logscale xy
set key outside right top
set grid
set offsets graph 0.05, graph 0.05, graph 0.05, graph 0.05
set format y "10^{%T}"
set style data linespoints
set ylabel "ns per wait"
csv = folder . "/results.csv"

# The rows of one contestant among those waits that a condition of awk picks.
rows(name, condition) = sprintf( \
    "< awk -F, '$1 == \"dispatch\" && %s && $4 == \"%s\"' '%s'", condition, name, csv)
names = system(sprintf("awk -F, '$1 == \"dispatch\" && !seen[$4]++ { gsub(\" \", \"~\", $4); print $4 }' '%s'", csv))
shown(name) = system(sprintf("printf %%s '%s' | tr '~' ' '", name))

set output folder . "/registered.svg"
set title "1 ready"
set xlabel "registered"
plot for [i = 1:words(names)] rows(shown(word(names, i)), "$3 == 1") using 2:6 \
    title shown(word(names, i)) linetype i pointtype i

# The most that were registered.
most = system(sprintf("awk -F, '$1 == \"dispatch\" && $2 > most { most = $2 } END { print most }' '%s'", csv))
set output folder . "/ready.svg"
set title most . " registered"
set xlabel "ready"
plot for [i = 1:words(names)] rows(shown(word(names, i)), "$2 == " . most) using 3:6 \
    title shown(word(names, i)) linetype i pointtype i
