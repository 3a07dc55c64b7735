#!/bin/sh
# Builds the library for other targets, and tests it where this machine can run what was built.
#
#     cross.sh TARGET...    those of Sources/packaging/targets.mk
#
# The conformance program, the model, threads at random, and the echo programs run natively or under
# qemu-user. That aborts in a select(2) of numbers above 1023: the conformance program has as many there,
# and the model, which asks for more, is left out. Other systems are compiled for and linked alone, and the
# names that the library exports are compared with the header's.
set -eu

cd "$(dirname "$0")/../../examples-c"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
trap 'exit 129' HUP
trap 'exit 130' INT
trap 'exit 143' TERM

failures=0

# run NAME COMMAND...: its last line, and all of it if it fails.
run() {
    name=$1
    shift
    if timeout -k 10 300 "$@" >"$work/output" 2>&1; then
        echo "$target: $name: $(tail -n 1 "$work/output")"
    else
        echo "$target: $name has failed ($?)"
        grep -A 5 -a '^not ok' "$work/output" || tail -n 20 "$work/output"
        failures=$((failures + 1))
    fi
}

test_target() {
    programs=
    for program in conformance model stress echo_server echo_client; do
        programs="$programs $build/$program"
    done
    # Where the C library is another than the system's, its programs are static.
    case $target in
        *-musl)
            set -- LDFLAGS=-static \
                CPPFLAGS="-idirafter /usr/include -idirafter /usr/include/$(uname -m)-linux-gnu"
            ;;
        *) set -- ;;
    esac
    # shellcheck disable=SC2086 # the programs are words
    make -s TARGET="$target" "$@" $programs
    emulator=$(make -s TARGET="$target" print-emulator)
    for backend in epoll poll select; do
        few=
        [ -z "$emulator" ] || [ $backend != select ] || few='prlimit --nofile=1024:1024'
        # shellcheck disable=SC2086 # the commands are words
        run "conformance of $backend" $few $emulator "$build/conformance" $backend
        sed -n "s/^ok [0-9]* - $backend: \(.*\) # SKIP/    skipped: \1:/p" "$work/output" |
            grep -v -e ' the backend ' || :
        # shellcheck disable=SC2086
        [ -n "$few" ] || run "model of $backend" $emulator "$build/model" --seed 1 --operations 20000 $backend
    done
    # shellcheck disable=SC2086
    run "threads at random" $emulator "$build/stress" --seconds 1
    mkdir -p "$build/run"
    for program in echo_server echo_client; do
        printf '#!/bin/sh\nexec %s ./%s/%s "$@"\n' "$emulator" "$build" "$program" \
            >"$build/run/$program"
        chmod +x "$build/run/$program"
    done
    run "echo" sh ./run.sh "./$build/run"
}

for target; do
    build=build-$target
    case $target in
        *-linux-*) test_target ;;
        *)
            make -s -C .. TARGET="$target"
            library=../.build-$target/libselectors.so
            # binutils know no Mach-O.
            nm='nm'
            case $target in *-apple-*)
                library=../.build-$target/libselectors.dylib
                nm=$(dirname "$(realpath "$(command -v swift)")")/llvm-nm
                ;;
            esac
            run "names and linking" env C_COMPILERS= CXX_COMPILERS= NM="$nm" \
                sh ../Tests/C/header_test.sh ../include "$library" --only
            ;;
    esac
done
[ "$failures" -eq 0 ]
