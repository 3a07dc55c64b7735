#!/bin/sh
# Runs the conformance program over the emulated facilities, with what differs between systems in both positions.
#
#     sh run.sh FOLDER        with the programs conformance, stress and model in FOLDER
folder=$1
status=0

# attempt TRAITS PROGRAM ...
attempt() {
    export EMULATION="$1"
    shift
    if output=$(timeout -k 10 300 "$@" 2>&1); then
        verdict=passed
    else
        verdict=FAILED
        status=1
        printf '%s\n' "$output" | grep -a -A5 '^not ok' || printf '%s\n' "$output" | tail -n 5
    fi
    printf '%s: %s: "%s" %s\n' "$verdict" "${1##*/}" "$EMULATION" "$(printf '%s\n' "$output" | tail -n 1)"
}

for traits in "" "open-in-child" "epipe eintr"; do
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
