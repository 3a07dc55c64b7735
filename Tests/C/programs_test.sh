#!/bin/sh
# Runs the larger programs against real peers, on each backend.
#
#     programs_test.sh FOLDER    FOLDER has the programs, as built; prints TAP
#
# curl and wrk are used where they are installed, and the tests that need them skipped elsewhere.
# PREFIX_COMMAND runs the servers under something (valgrind -q --error-exitcode=9 ...); then wrk,
# which would measure that, is left out.
set -u

bin=$(cd "$1" && pwd) || exit 2
tests=$(cd "$(dirname "$0")" && pwd) || exit 2
prefix=${PREFIX_COMMAND:-}
work=$(mktemp -d) || exit 1
processes=
number=0
failures=0

stop_all() {
    for process in $processes; do
        kill "$process" 2>/dev/null
    done
    wait
    processes=
}
trap 'stop_all; rm -rf "$work"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# prove STATUS WHAT
prove() {
    number=$((number + 1))
    if [ "$1" -eq 0 ]; then
        echo "ok $number - $SELECTORS_BACKEND: $2"
    else
        echo "not ok $number - $SELECTORS_BACKEND: $2"
        sed 's/^/# /' "$work/log" 2>/dev/null | tail -n 20
        failures=$((failures + 1))
    fi
}

skip() {
    number=$((number + 1))
    echo "ok $number - $SELECTORS_BACKEND: $1 # SKIP $2"
}

# start PROGRAM ...: in the background; stores what it is and the port that it listens on. Its first
# line comes through a pipe, so that reading it waits just as long as it takes.
start() {
    program=$1
    shift
    rm -f "$work/line"
    mkfifo "$work/line"
    # shellcheck disable=SC2086 # the prefix is words
    timeout -k 5 100 $prefix "$bin/$program" "$@" >"$work/line" 2>>"$work/log" &
    process=$!
    processes="$processes $process"
    read -r line <"$work/line" || line=
    port=${line#*:}
    port=${port%% *}
}

# Tells a program to end, and gives its status.
stop() {
    kill -TERM "$1"
    wait "$1"
}

test_http() {
    start http_server "$work/files" 0 2
    server=$process
    url=http://127.0.0.1:$port
    if ! command -v curl >/dev/null; then
        skip "files are served" "there is no curl"
    else
        # The second one is asked for on the connection of the first.
        curl -sS --max-time 20 "$url/0" "$url/big" -o "$work/a" -o "$work/b" 2>>"$work/log" &&
            cmp "$work/files/0" "$work/a" && cmp "$work/files/big" "$work/b"
        prove $? "files are served"
        codes=
        for request in "$url/none" "--path-as-is $url/../secret" "-X POST $url/0" "-I $url/0"; do
            # shellcheck disable=SC2086 # options and address
            codes="$codes $(curl -s --max-time 20 -o "$work/a" -w '%{http_code}' $request)"
        done
        echo "codes: $codes" >"$work/log"
        [ "$codes" = " 404 404 405 200" ]
        prove $? "what is not there, is outside or is not meant is refused"
    fi
    if ! command -v wrk >/dev/null || [ -n "$prefix" ]; then
        skip "wrk, without an error" "there is no wrk, or something between"
    else
        wrk -t 2 -c 50 -d "${WRK_SECONDS:-5}s" "$url/0" >"$work/log" 2>&1 &&
            grep -q 'requests in' "$work/log" && ! grep -E 'Socket errors|Non-2xx' "$work/log"
        prove $? "wrk, without an error"
    fi
    if [ ! -x "$bin/fetch_many" ]; then
        skip "50 downloads at once" "there was no libcurl to build it with"
    else
        rm -rf "$work/fetched"
        mkdir "$work/fetched"
        urls=
        for i in $(seq 0 49); do
            urls="$urls $url/$i"
        done
        # shellcheck disable=SC2086 # addresses
        timeout -k 5 60 $prefix "$bin/fetch_many" "$work/fetched" $urls >"$work/log" 2>&1 &&
            for i in $(seq 0 49); do
                cmp "$work/files/$i" "$work/fetched/$i" && echo same
            done >>"$work/log" 2>&1 && [ "$(grep -c '^same$' "$work/log")" -eq 50 ]
        prove $? "50 downloads at once"
        # shellcheck disable=SC2086
        timeout -k 5 60 $prefix "$bin/fetch_many" "$work/fetched" "$url/none" >"$work/log" 2>&1
        [ $? -eq 1 ]
        prove $? "a download that fails is told"
    fi
    stop "$server"
    prove $? "the HTTP server ends when it is told to"
}

test_proxy() {
    start echo_server 0
    echo_server=$process
    start tcp_proxy 0 127.0.0.1 "$port"
    proxy=$process
    timeout -k 5 60 "$bin/echo_client" 127.0.0.1 "$port" 50 100 >"$work/log" 2>&1
    prove $? "50 connections through the proxy"
    stop "$proxy"
    prove $? "the proxy ends when it is told to"
    stop "$echo_server"
    # 100 MB in one direction, by way of the file server.
    start http_server "$work/files" 0 1
    server=$process
    start tcp_proxy 0 127.0.0.1 "$port"
    proxy=$process
    if ! command -v curl >/dev/null; then
        skip "$megabytes MB through the proxy, unharmed" "there is no curl"
    else
        curl -sS --max-time 60 "http://127.0.0.1:$port/big" -o "$work/a" 2>"$work/log" &&
            cmp "$work/files/big" "$work/a" >>"$work/log" 2>&1
        prove $? "$megabytes MB through the proxy, unharmed"
    fi
    stop "$proxy"
    stop "$server"
}

# A client without curl: the shell of bash has one, sh has none.
fetch_line() {
    timeout 10 bash -c "exec 3<>/dev/tcp/127.0.0.1/$1 && head -n 1 <&3"
}

test_prefork() {
    start prefork 0 4
    server=$process
    answered=0
    for i in $(seq 1 20); do
        case $(fetch_line "$port") in
            'served by '*) answered=$((answered + 1)) ;;
        esac
    done
    echo "$answered of 20 answered" >"$work/log"
    [ "$answered" -eq 20 ]
    prove $? "prefork: all are served"
    stop "$server"
    prove $? "prefork: ends when it is told to"

    # The only worker dies: whoever comes next is served by another one.
    start prefork 0 1
    server=$process
    first=$(fetch_line "$port")
    kill -KILL "${first#served by }"
    second=$(fetch_line "$port")
    printf '%s\n%s\n' "$first" "$second" >"$work/log"
    [ "${second#served by }" != "$second" ] && [ "$first" != "$second" ]
    prove $? "prefork: a worker that has died is replaced"
    stop "$server"
    ! kill -0 "${second#served by }" 2>/dev/null
    prove $? "prefork: no worker is left"
}

test_chat() {
    printf 'hello from the file\n' >"$work/said"
    mkfifo "$work/heard"
    # shellcheck disable=SC2086
    timeout -k 5 60 $prefix "$bin/chat" listen 0 <"$work/said" >"$work/listener" 2>"$work/heard" &
    listener=$!
    processes="$processes $listener"
    read -r line <"$work/heard"
    port=${line#*:}
    port=${port%% *}
    # The first has nothing to say, the second says something through a pipe.
    timeout -k 5 60 "$bin/chat" 127.0.0.1 "$port" </dev/null >"$work/first" 2>"$work/log"
    status=$?
    [ "$status" -eq 0 ] && [ "$(cat "$work/first")" = "hello from the file" ]
    prove $? "chat: a file is said to the peer"
    wait "$listener"
    prove $? "chat: who listens ends with the last peer"
    rm "$work/heard"

    mkfifo "$work/heard" "$work/never"
    exec 4<>"$work/never"
    # shellcheck disable=SC2086
    timeout -k 5 60 $prefix "$bin/chat" listen 0 <"$work/never" >"$work/listener" 2>"$work/heard" &
    listener=$!
    processes="$processes $listener"
    read -r line <"$work/heard"
    port=${line#*:}
    port=${port%% *}
    (echo one && echo two) | timeout -k 5 60 "$bin/chat" 127.0.0.1 "$port" >"$work/first" 2>"$work/log" &
    talker=$!
    processes="$processes $talker"
    tries=0
    until [ "$(tr '\n' ' ' <"$work/listener")" = "one two " ]; do
        tries=$((tries + 1))
        [ "$tries" -lt 200 ] || break
        sleep 0.05
    done
    [ "$(tr '\n' ' ' <"$work/listener")" = "one two " ]
    prove $? "chat: a pipe is heard"
    kill "$talker" "$listener" 2>/dev/null
    wait "$talker" "$listener" 2>/dev/null
    exec 4>&-
    rm "$work/heard" "$work/never"
}

# crowd_holds WHAT ARGUMENT ...: crowd with these arguments
crowd_holds() {
    what=$1
    shift
    timeout -k 5 120 "$bin/crowd" "$@" >"$work/log" 2>&1
    prove $? "$what"
}

test_batch() {
    # shellcheck disable=SC2086 # the prefix is words
    crowd_holds "chat: who is dropped has an event still to come" batch $prefix "$bin/chat" listen 0
}

test_idle() {
    # shellcheck disable=SC2086 # the prefix is words
    crowd_holds "idle_server: who is silent is closed, who talks is not" \
        idle 1000 $prefix "$bin/idle_server" 0 1000
}

# OpenSSL's own client for a start, then peers that are hard to serve.
test_tls() {
    if [ ! -x "$bin/tls_server" ] || ! command -v openssl >/dev/null; then
        skip "tls_server" "there was no OpenSSL"
        return
    fi
    [ -e "$work/certificate" ] ||
        openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 \
            -subj /CN=localhost -addext subjectAltName=DNS:localhost \
            -keyout "$work/key" -out "$work/certificate" 2>"$work/log"
    start tls_server "$work/certificate" "$work/key" 0 1000
    server=$process
    # It does not end with its input, but when it has been idle for too long.
    echo hello | timeout -k 5 60 openssl s_client -quiet -ign_eof -verify_return_error \
        -CAfile "$work/certificate" -servername localhost -connect "127.0.0.1:$port" \
        >"$work/a" 2>"$work/log"
    [ "$(cat "$work/a")" = hello ]
    prove $? "tls_server: openssl s_client"
    stop "$server"
    prove $? "tls_server: ends when it is told to"
    if ! command -v python3 >/dev/null; then
        skip "tls_server: records, back-pressure, farewells, deadlines" "there is no python3"
        return
    fi
    # shellcheck disable=SC2086 # the prefix is words
    timeout -k 5 100 python3 "$tests/programs/tls_peers.py" "$work/certificate" "$work/key" 3000 \
        $prefix "$bin/tls_server" >"$work/log" 2>&1
    prove $? "tls_server: records, back-pressure, farewells, deadlines"
}

# Servers whose descriptors run out. valgrind has a limit and descriptors of its own.
test_full() {
    if [ -n "$prefix" ]; then
        skip "servers without descriptors" "something between"
        return
    fi
    crowd_holds "echo_server: no descriptors left" full "$bin/echo_server"
    crowd_holds "http_server: no descriptors left" full -s "GET /1 HTTP/1.1$crlf$crlf" \
        -e 'HTTP/1.1 ' -l 'HTTP/1.1 200 OK' "$bin/http_server" "$work/files" 0 2
    crowd_holds "idle_server: no descriptors left" full "$bin/idle_server" 0 60000
    [ ! -x "$bin/tls_server" ] || crowd_holds "tls_server: no descriptors left" \
        full -s '' -e '' "$bin/tls_server" "$work/certificate" "$work/key" 0 60000
    start echo_server 0
    echo_server=$process
    crowd_holds "tcp_proxy: no descriptors left" full "$bin/tcp_proxy" 0 127.0.0.1 "$port"
    stop "$echo_server"
    crowd_holds "chat: no descriptors left" full -e '' "$bin/chat" listen 0
    crowd_holds "prefork: no descriptors left" workers "$bin/prefork" 0 4
}

crlf=$(printf '\r\n.')
crlf=${crlf%.}
mkdir "$work/files"
megabytes=100
[ -z "$prefix" ] || megabytes=5
head -c "${megabytes}000000" /dev/urandom >"$work/files/big"
for i in $(seq 0 49); do
    head -c $((i * 997)) "$work/files/big" >"$work/files/$i"
done

echo 'TAP version 13'
for backend in ${BACKENDS:-epoll poll select}; do
    export SELECTORS_BACKEND="$backend"
    test_http
    test_proxy
    test_prefork
    test_chat
    test_batch
    test_idle
    test_tls
    test_full
    stop_all
done
echo "1..$number"
exit $((failures > 0))
