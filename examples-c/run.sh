#!/bin/sh
# Runs echo_client against echo_server: 100 connections, 200 messages on each.
#
#     run.sh FOLDER [CONNECTIONS [MESSAGES]]    FOLDER has the two programs, as built
#
# Exits with 0 if every reply was right and the server ended cleanly when it was told to. Neither
# program may take for ever: timeout(1) ends what hangs.
set -u

if [ $# -lt 1 ] || [ $# -gt 3 ]; then
    echo "usage: run.sh FOLDER [CONNECTIONS [MESSAGES]]" >&2
    exit 2
fi

work=$(mktemp -d) || exit 1
server=
client=
stop() {
    for process in $client $server; do
        kill "$process" 2>/dev/null
        wait "$process" 2>/dev/null
    done
    rm -rf "$work"
}
trap stop EXIT
trap 'exit 129' HUP
trap 'exit 130' INT
trap 'exit 143' TERM

# The server's first line comes through a named pipe: reading it waits just as long as it takes,
# and meets the end of the file if the server ends without having said anything.
mkfifo "$work/line" || exit 1
timeout -k 5 120 "$1/echo_server" 0 >"$work/line" &
server=$!
read -r line <"$work/line" || line=

case $line in
    'listening on 127.0.0.1:'*) ;;
    *)
        # It has told the reason itself.
        kill "$server" 2>/dev/null
        wait "$server"
        status=$?
        server=
        [ "$status" -ne 0 ] || status=1
        exit "$status"
        ;;
esac
port=${line#*:}
port=${port%% *}

# In the background, too: a shell that waits for it can be interrupted.
timeout -k 5 100 "$1/echo_client" 127.0.0.1 "$port" "${2:-100}" "${3:-200}" &
client=$!
wait "$client"
client_status=$?
client=

kill "$server"
wait "$server"
server_status=$?
server=

if [ "$server_status" -ne 0 ]; then
    echo "run.sh: the server ended with status $server_status" >&2
fi
[ "$client_status" -eq 0 ] && [ "$server_status" -eq 0 ]
