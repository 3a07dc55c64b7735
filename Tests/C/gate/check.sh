#!/bin/sh
# Searches gate.pml, the model of the gate, with spin(1), each configuration to the end, and then with
# faults put into it, each of which must be found.
#
#     check.sh [NAME ...]    all of the lines below, or those with these names
#
# Prints a line for each, and exits with 1 if a property does not hold, or holds in spite of a fault.
# JOBS (2) of them run at a time, with up to 1.8 GB each.
set -u

here=$(cd "$(dirname "$0")" && pwd) || exit 2
compiler=${CC:-cc}

# NAME|SEARCH|EXPECTED|SWITCHES
#
# SEARCH  states  in all states the assertions hold; when all is at rest nobody is stuck, and no
#                 wake-up is lost
#         rest    no thread goes on for ever: all is at rest in the end, whoever runs next each time
#         fair    where there are always events, one thread comes to its end again and again, if each
#                 one that can go on does so some time
# EXPECTED  holds, or the property that the fault breaks
table() {
    cat <<'END'
closing, one thread|states|holds|-DCLOSERS=1 -DREBUILDERS=1 -DCHANGERS=1
closing, one thread, wake-ups|states|holds|-DCLOSERS=1 -DCHANGERS=1 -DWAKERS=1 -DEVENTS=1
closing, shared, level|states|holds|-DSHARED=1 -DCLOSERS=1 -DREBUILDERS=1 -DWAKERS=1 -DEVENTS=1
closing, shared, edge|states|holds|-DSHARED=1 -DLEVEL=0 -DCLOSERS=1 -DREBUILDERS=1 -DWAKERS=1 -DEVENTS=1
closing, shared, two wake-ups|states|holds|-DSHARED=1 -DLEVEL=0 -DCLOSERS=1 -DCHANGERS=1 -DWAKERS=2
closing, time limits|states|holds|-DCLOSERS=1 -DCHANGERS=1 -DWAKERS=1 -DTIMED=1
forking, one thread|states|holds|-DFORKS=1 -DCLOSERS=1 -DCHANGERS=1 -DEVENTS=1
forking, shared|states|holds|-DSHARED=1 -DLEVEL=0 -DFORKS=1 -DCLOSERS=1 -DREBUILDERS=1
one thread, level|states|holds|-DREBUILDERS=1 -DCHANGERS=1 -DWAKERS=1 -DEVENTS=1
one thread, edge|states|holds|-DLEVEL=0 -DREBUILDERS=1 -DCHANGERS=1 -DWAKERS=1 -DEVENTS=1
three waiters, one thread|states|holds|-DWAITERS=3 -DCHANGERS=1 -DWAKERS=1 -DEVENTS=1
three waiters, shared, level|states|holds|-DWAITERS=3 -DSHARED=1 -DREBUILDERS=1 -DWAKERS=1 -DSELECTS=2
three waiters, shared, edge|states|holds|-DWAITERS=3 -DSHARED=1 -DLEVEL=0 -DREBUILDERS=1 -DWAKERS=1 -DSELECTS=2
two rebuilders|states|holds|-DSHARED=1 -DLEVEL=0 -DREBUILDERS=2 -DWAKERS=1 -DSELECTS=1
two changers|states|holds|-DCHANGERS=2 -DWAKERS=1 -DTIMED=1
time limits|states|holds|-DTIMED=2 -DCHANGERS=1 -DWAKERS=1 -DEVENTS=1
files for poll, level|states|holds|-DSHARED=1 -DCHANGERS=1 -DREFUSED=1 -DWAKERS=1 -DEVENTS=1 -DSELECTS=1
files for poll, edge|states|holds|-DSHARED=1 -DLEVEL=0 -DCHANGERS=1 -DREFUSED=1 -DWAKERS=1 -DEVENTS=1 -DSELECTS=1
rest, one thread|rest|holds|-DCHANGERS=1 -DWAKERS=1 -DEVENTS=1 -DTIMED=1
rest, shared|rest|holds|-DSHARED=1 -DREBUILDERS=1 -DWAKERS=1 -DEVENTS=1
rest, files for poll|rest|holds|-DSHARED=1 -DCHANGERS=1 -DREFUSED=1 -DWAKERS=1 -DEVENTS=1
rest, closing|rest|holds|-DCLOSERS=1 -DREBUILDERS=1 -DWAKERS=1
changers get on|fair|holds|-DENDLESS=1 -DWAITERS=3 -DCHANGERS=1 -DPROGRESS_OF_CHANGER
waiters get on|fair|holds|-DENDLESS=1 -DWAITERS=3 -DCHANGERS=1 -DPROGRESS_OF_WAITER
waiters get on, two changers|fair|holds|-DENDLESS=1 -DCHANGERS=2 -DPROGRESS_OF_WAITER
changers get on, shared|fair|holds|-DENDLESS=1 -DSHARED=1 -DWAITERS=3 -DCHANGERS=1 -DPROGRESS_OF_CHANGER
waiters get on, shared|fair|holds|-DENDLESS=1 -DSHARED=1 -DWAITERS=3 -DCHANGERS=1 -DPROGRESS_OF_WAITER
all sleepers are woken|rest|it_comes_to_rest|-DBROADCAST
a set is replaced under a waiter|states|kernel_set_is_empty|-DREPLACED_UNDER_WAITER -DREBUILDERS=1
a call is not counted|states|memory_is_there|-DENTERED_UNCOUNTED -DCHANGERS=1 -DCLOSERS=1
park() clears what it waits for|states|nobody_is_stuck|-DPARK_CLEARS -DCHANGERS=1
a drained wake-up is not passed on|states|nobody_is_stuck|-DDRAIN_UNTOLD -DSHARED=1 -DREBUILDERS=1 -DWAKERS=1 -DSELECTS=1
a wait ends before the lock is taken|states|one_thread_in_kernel_set|-DWAITING_ENDS_EARLY -DWAKERS=1
a request is forgotten with the kernel set|states|no_wake_up_is_lost|-DREQUEST_FORGOTTEN -DREBUILDERS=1 -DWAKERS=1
nobody is told of duties|states|duties_are_seen|-DDUTIES_UNTOLD -DCHANGERS=1
a request is counted in a second step|states|memory_is_there|-DREQUEST_UNCOUNTED -DWAKERS=1 -DCLOSERS=1
a wake-up ends a select that others need|states|no_ready_file_is_missed|-DLOOK_UNTOLD -DSHARED=1 -DLEVEL=0 -DCHANGERS=1 -DREFUSED=1 -DWAKERS=1 -DSELECTS=1
an event ends a select that others need|states|no_ready_file_is_missed|-DLOOK_UNTOLD -DSHARED=1 -DLEVEL=0 -DCHANGERS=1 -DREFUSED=1 -DEVENTS=1 -DSELECTS=1
a look that has no room is forgotten|states|no_ready_file_is_missed|-DLOOK_FORGOTTEN -DSHARED=1 -DLEVEL=0 -DCHANGERS=1 -DREFUSED=1 -DEVENTS=1 -DSELECTS=1
the lock is never handed over|fair|nobody_starves|-DNEVER_HANDED_OVER -DENDLESS=1 -DCHANGERS=1 -DPROGRESS_OF_CHANGER
a waiter does not look for others' turns|fair|nobody_starves|-DTURNS_IGNORED -DENDLESS=1 -DPROGRESS_OF_WAITER
END
}

# search NAME SEARCH EXPECTED SWITCHES: one line, in a folder of its own.
search() {
    folder=$(mktemp -d) || return 1
    trap 'rm -rf "$folder"' EXIT
    cd "$folder" || return 1
    cp "$here/gate.pml" .

    # A search to the end is worth some time of the compiler's.
    optimize=-O1
    [ "$3" = holds ] || optimize=-O0
    case $2 in
    states) defines=-DSAFETY options=-E name_of_cycle= ;;
    rest) defines=-DNP options='-l -E' name_of_cycle=it_comes_to_rest ;;
    fair) defines='-DNP -DNFAIR=3' options='-l -f' name_of_cycle=nobody_starves ;;
    *)
        echo "not ok - $1: there is no such line"
        return 1
        ;;
    esac
    # shellcheck disable=SC2086 # several words
    if ! spin -a $4 gate.pml >log 2>&1 ||
        ! $compiler $optimize -w $defines -DCOLLAPSE -DMEMLIM=1800 -o pan pan.c >>log 2>&1 ||
        ! ./pan -m200000 $options >>log 2>&1; then
        sed 's/^/# /' log
        echo "not ok - $1: it cannot be searched"
        return 1
    fi

    broken=$(sed -n 's/^pan:.*assertion violated \([a-z_]*\).*/\1/p' log)
    if grep -q 'non-progress cycle (' log; then broken=$name_of_cycle; fi
    # Not all was searched.
    if [ -z "$broken" ] && { grep -q -e 'too small' -e 'not completed' -e 'MEMLIM' log ||
        ! grep -q 'errors: 0' log; }; then
        broken=the_search
    fi
    size="$(sed -n 's/^ *\([0-9]*\) states, stored.*/\1/p' log) states, $(
        sed -n 's/^pan: elapsed time //p' log
    )"
    if [ "${broken:-holds}" = "$3" ]; then
        echo "ok - $1: ${broken:+broken, }${broken:-$size}"
        return 0
    fi
    if [ "$3" = holds ]; then
        # The way there.
        # shellcheck disable=SC2086 # several words
        spin -t -p $4 gate.pml 2>/dev/null | grep '^ *[0-9]*:.*proc' | tail -n 150 | sed 's/^/# /'
        sed 's/^/# /' log
    fi
    echo "not ok - $1: ${broken:-nothing} is broken, expected: $3; $size"
    return 1
}

if [ "${1:-}" = --search ]; then
    IFS='|' read -r name kind expected switches <<END
$2
END
    search "$name" "$kind" "$expected" "$switches"
    exit
fi

if ! command -v spin >/dev/null; then
    echo "check.sh: there is no spin; Debian's package is spin" >&2
    exit 2
fi
if [ $# -eq 0 ]; then
    table
else
    for name; do table | grep "^$name|" || echo "$name|unknown||"; done
fi | tr '\n' '\0' | xargs -0 -n 1 -P "${JOBS:-2}" sh "$0" --search
