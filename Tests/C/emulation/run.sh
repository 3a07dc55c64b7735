#!/bin/sh
# Runs the conformance program over the emulated facilities, with what differs between systems in both positions.
#
#     sh run.sh FOLDER        with the programs kqueue_test, conformance, stress and model in FOLDER
folder=$1
output=$(mktemp)
trap 'rm -f "$output"' EXIT
status=0

# attempt TRAITS PROGRAM ...
attempt() {
    export EMULATION="$1"
    shift
    # Into a file: what a process that hangs were to hold open would be waited for.
    if timeout -k 5 90 "$@" >"$output" 2>&1; then
        verdict=passed
    else
        verdict="FAILED ($?)"
        status=1
        grep -a -A5 '^not ok' "$output" || tail -n 5 "$output"
    fi
    printf '%s: %s: "%s" %s\n' "$verdict" "${1##*/}" "$EMULATION" "$(tail -n 1 "$output")"
}

for traits in "" "open-in-child" "epipe no-except" "eintr"; do
    attempt "$traits" "$folder/kqueue_test"
done
for traits in "" "open-in-child ebadf" "epipe eintr"; do
    attempt "$traits" "$folder/conformance" kqueue
    attempt "$traits" "$folder/stress" --seconds 2 kqueue
done
# Not with "epipe": of what the engine polls then, the model does not know that it leaves the kqueue.
for traits in "" "open-in-child" "eintr"; do
    attempt "$traits" "$folder/model" --seed 1 --operations 100000 kqueue
done
for traits in "" "by-number"; do
    attempt "$traits" "$folder/conformance" devpoll
    attempt "$traits" "$folder/stress" --seconds 2 devpoll
    attempt "$traits" "$folder/model" --seed 1 --operations 100000 devpoll
done
exit $status
