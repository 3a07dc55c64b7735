# Plots the processor time of a request for each server, by the number of connections, with the
# quartiles. Needs `folder`.
#
# SPDX-License-Identifier: Apache-2.0

set terminal svg size 640,420 font "sans-serif,12" background "white" linewidth 1.5 noenhanced
set output folder . "/async.svg"
set datafile separator ","
set style data histograms
set style histogram errorbars gap 2 linewidth 1
set style fill solid 0.7
set key top left title "connections"
set grid y
set yrange [0:]
set xtics rotate by -30
set ylabel "processor time, µs a request"
rows(connections) = sprintf( \
    "< awk -F, '$1 == \"echo_cpu\" && $2 == %s' '%s/async.csv'", connections, folder)
plot for [connections in "1 100 1000"] rows(connections) \
    using ($6 / 1000):($7 / 1000):($8 / 1000):xtic(4) title connections
