#!/bin/sh
# Puts faults into a copy of the kqueue backend, one at a time, and expects the conformance program to fail
# over each.
#
#     sh faults.sh
set -eu

root=$(cd "$(dirname "$0")/../../.." && pwd)
copy=$(mktemp -d)
trap 'rm -rf "$copy"' EXIT
cd "$root"
git ls-files -z | xargs -0 cp --parents -t "$copy"
status=0

# attempt NAME FILE EXPRESSION: edits the file with sed.
attempt() {
    cp "$root/$2" "$copy/$2"
    sed -i "$3" "$copy/$2"
    if cmp -s "$root/$2" "$copy/$2"; then
        echo "$1: nothing was changed in $2"
        status=1
        return
    fi
    make -s -C "$copy/examples-c" emulated_library >"$copy/output" 2>&1
    make -s -C "$copy/examples-c" SELECTORS_LIBDIR="$copy/.build-emulated" BUILD=build-emulated \
        LDFLAGS="-L$copy/.build-emulated -lemulation" build-emulated/conformance >"$copy/output" 2>&1
    if timeout 120 "$copy/examples-c/build-emulated/conformance" kqueue >"$copy/output" 2>&1; then
        echo "$1: NOT SEEN"
        status=1
    else
        echo "$1: seen, $(grep -a -c '^not ok' "$copy/output") facts failed"
    fi
    cp "$root/$2" "$copy/$2"
}

backend=Sources/SelectorsCore/Backends/KqueueBackend.swift
attempt "a filter is not deleted" $backend \
    '/platform_kevent_change(kq, fd, Int32(PLATFORM_FILTER_WRITE), how, 0)/d'
attempt "EV_EOF is ignored" Sources/CSelectorsPlatform/kqueue.h \
    's/is_end = (event.flags & EV_EOF) != 0/is_end = 0/'
attempt "reports are not merged" $backend 's/first.fd == report.fd && first.token == report.token/false/'
exit $status
