#!/bin/bash
# Tests what "make install" and "make deb" give to others: how it is installed, used and removed.
#
#     install_test.sh    from anywhere; speaks TAP
#
# Needs pkg-config and binutils; cmake, abidiff, gdb, lintian, dpkg and root for the tests that say so.
# shellcheck disable=SC2317 # the tests are called by name
set -u

cd "$(dirname "$0")/../.."
root=$PWD
work=$(mktemp -d)
trap 'umount "$work/jail/proc" "$work/jail/dev" 2>/dev/null; rm -rf "$work"' EXIT
unset MAKEFLAGS MAKELEVEL DESTDIR PREFIX LIBDIR INCLUDEDIR MANDIR BINDIR SELECTORS_BACKEND
cc=${CC:-cc}
version=$(sed -n 's/^#define SEL_VERSION_STRING "\(.*\)"/\1/p' include/selectors.h)
soname=libselectors.so.${version%%.*}

tests=0
failed=0
# prove WHAT FUNCTION: what it prints is shown if it fails.
prove() {
    local status
    tests=$((tests + 1))
    # Not in a condition: it would switch errexit off.
    (
        set -e -o pipefail
        "$2"
    ) >"$work/log" 2>&1
    status=$?
    if [ "$status" -eq 0 ]; then
        echo "ok $tests - $1"
    else
        failed=$((failed + 1))
        echo "not ok $tests - $1"
        tail -n 20 "$work/log" | sed 's/^/# /'
    fi
}
# Succeeds where the command fails.
refute() {
    if "$@"; then return 1; fi
}
skip() {
    tests=$((tests + 1))
    echo "ok $tests - $1 # SKIP $2"
}

# A folder with a space, and the library installed below it.
there="$work/a place"
installed="$there/usr/local"

installs() {
    make -s all
    make -s install-strip DESTDIR="$there"
    for file in include/selectors.h lib/libselectors.so.$version lib/libselectors.a \
        lib/pkgconfig/selectors.pc lib/cmake/selectors/selectors-config.cmake \
        bin/selectors-backends bin/selectors-conformance share/man/man1/selectors-conformance.1 \
        share/man/man3/sel_open.3 share/man/man7/selectors.7 share/selectors/selectors.supp; do
        [ -f "$installed/$file" ] || { echo "no $file"; false; }
    done
    [ "$(readlink "$installed/lib/libselectors.so")" = "$soname" ]
    [ "$(readlink "$installed/lib/$soname")" = "libselectors.so.$version" ]
}

second_make_does_nothing() {
    make -q all
    [ "$(make all)" = "make: Nothing to be done for 'all'." ]
}

takes_flags() {
    make -nB all LDFLAGS=-Lmine CFLAGS=-Omine SWIFTFLAGS=-smine >"$work/commands"
    grep -q -- '-shared .*-Lmine' "$work/commands"
    grep -q -- '-Omine .*list_backends' "$work/commands"
    grep -q -- '--target .*-smine' "$work/commands"
}

library=$installed/lib/libselectors.so.$version

is_small() {
    [ "$(wc -c <"$library")" -le 100000 ]
}

is_hardened() {
    readelf -lW "$library" | grep -q GNU_RELRO
    readelf -dW "$library" | grep -q BIND_NOW
    readelf -lW "$library" | grep GNU_STACK | grep -q 'RW '
    readelf -dW "$library" >"$work/dynamic"
    refute grep TEXTREL "$work/dynamic"
}

needs_libc_only() {
    [ "$(readelf -dW "$library" | grep -c NEEDED)" -eq 1 ]
    readelf -dW "$library" | grep NEEDED | grep -q 'libc\.so'
}

tells_no_path() {
    strings -a ".build-c/libselectors.so.$version" .build-c/libselectors.a >"$work/strings"
    refute grep -F "$root" "$work/strings"
    refute grep -F "$HOME/" "$work/strings"
}

is_reproducible() {
    mkdir "$work/another place"
    git ls-files -z --cached --others --exclude-standard |
        xargs -0 cp --parents -t "$work/another place"
    make -s -j2 -C "$work/another place" all
    cmp ".build-c/libselectors.so.$version" "$work/another place/.build-c/libselectors.so.$version"
    cmp .build-c/libselectors.a "$work/another place/.build-c/libselectors.a"
}

export PKG_CONFIG_PATH=$installed/lib/pkgconfig
pkg() {
    # The prefix holds where it was installed to; a test looks below DESTDIR.
    pkg-config --define-prefix "$@" selectors
}

pkg_config_links() {
    [ "$(pkg --modversion)" = "$version" ]
    eval "$cc -std=c11 -o '$work/shared' Tests/C/conformance/*.c $(pkg --cflags --libs)"
    LD_LIBRARY_PATH=$installed/lib "$work/shared" poll | tail -n 1
}

pkg_config_links_statically() {
    eval "$cc -std=c11 -static -o '$work/static' Tests/C/conformance/*.c" \
        "$(pkg --static --cflags --libs)"
    readelf -dW "$work/static" >"$work/dynamic"
    refute grep NEEDED "$work/dynamic"
    "$work/static" >"$work/tap" || { grep -A5 '^not ok' "$work/tap"; false; }
}

cmake_links() {
    mkdir "$work/project"
    cp examples-c/list_backends.c "$work/project/main.c"
    cat >"$work/project/CMakeLists.txt" <<'CMAKE'
cmake_minimum_required(VERSION 3.13)
project(user C)
find_package(selectors 1 REQUIRED)
add_executable(shared main.c)
target_link_libraries(shared selectors::selectors)
add_executable(static main.c)
target_link_libraries(static selectors::selectors_static)
CMAKE
    cmake -S "$work/project" -B "$work/project/build" -DCMAKE_PREFIX_PATH="$installed"
    cmake --build "$work/project/build"
    "$work/project/build/shared" >"$work/listed"
    "$work/project/build/static" | diff "$work/listed" -
    readelf -dW "$work/project/build/shared" | grep "$soname"
    readelf -dW "$work/project/build/static" >"$work/dynamic"
    refute grep libselectors "$work/dynamic"
}

# Nothing but libc, the library and the test; pthread_cancel(3), which that calls, loads libgcc_s.
runs_in_a_jail() {
    jail=$work/jail
    mkdir -p "$jail/proc" "$jail/dev" "$jail/tmp" "$jail/lib64" "$jail/lib"
    cp -L "$(ldd "$work/shared" | sed -n 's/.*=> \(.*libc\.so\.6\) .*/\1/p')" "$jail/lib"
    cp -L /lib64/ld-linux-x86-64.so.2 "$jail/lib64"
    cp -L "$("${CC:-cc}" -print-file-name=libgcc_s.so.1)" "$jail/lib"
    cp "$library" "$jail/lib/$soname"
    cp "$work/shared" "$jail/conformance"
    mount -t proc proc "$jail/proc" || mount --bind /proc "$jail/proc"
    mount --bind /dev "$jail/dev"
    env -i LD_LIBRARY_PATH=/lib "$(command -v chroot)" "$jail" /conformance >"$work/tap" ||
        { grep -A5 '^not ok' "$work/tap"; false; }
    umount "$jail/proc" "$jail/dev"
    tail -n 1 "$work/tap"
}

# The programs are told by nobody where the library is.
finds_its_library() {
    local own="$work/a prefix"
    for folders in "" "LIBDIR=$own/lib/here" "BINDIR=$own/libexec/selectors/bin"; do
        make -s install PREFIX="$own" ${folders:+"$folders"}
        tool=$(find "$own" -name selectors-backends)
        env -i "$tool" | grep '^epoll'
        env -i "$(command -v ldd)" "$tool" | grep -F "$soname => $own/"
        make -s uninstall PREFIX="$own" ${folders:+"$folders"}
    done
}

runs_with_libc_alone() {
    env -i LD_LIBRARY_PATH="$installed/lib" "$work/shared" >"$work/tap" ||
        { grep -A5 '^not ok' "$work/tap"; false; }
}

serves_cplusplus() {
    for compiler in g++ clang++; do
        command -v "$compiler" || continue
        for standard in 11 14 17 20; do
            eval "$compiler -std=c++$standard -Wall -Wextra -Wpedantic -Werror -o '$work/guard'" \
                "examples-c/guard.cpp $(pkg --cflags --libs)"
            LD_LIBRARY_PATH=$installed/lib "$work/guard"
        done
    done
}

# Each function has a page with its prototype, which needs to be on one line for this look.
has_manuals() {
    for header in "$installed"/include/*.h; do
        "$cc" -E -P -fpreprocessed -dD -x c "$header"
    done | grep -v '^typedef' | tr -s ' \n' ' ' |
        grep -oE '(int|uint32_t|const char \*) ?sel_[a-z_]+\([^()]*\);' >"$work/prototypes"
    [ "$(wc -l <"$work/prototypes")" -gt 15 ]
    while read -r prototype; do
        name=$(echo "$prototype" | sed 's/(.*//; s/.*[ *]//')
        sed -n '/^\.SH SYNOPSIS/,/^\.SH DESCRIPTION/p' "$installed/share/man/man3/$name.3" |
            sed 's/\\f[BP]//g; s/\\//g' | tr -s ' \n' ' ' | grep -qF "$prototype" ||
            { echo "$prototype"; false; }
    done <"$work/prototypes"
    [ "$(find "$installed/share/man/man3" -type f | wc -l)" -eq "$(wc -l <"$work/prototypes")" ]
    # No error that the headers tell of is left out.
    [ "$(grep -c '^\.B \\-E' "$installed"/share/man/man3/*.3 | awk -F: '{ n += $2 } END { print n }')" \
        -eq "$(grep -cE '^ \*   -E[A-Z]+' "$installed"/include/*.h |
            awk -F: '{ n += $2 } END { print n }')" ]
    if command -v mandoc; then
        [ -z "$(mandoc -Tlint -W warning "$installed"/share/man/man?/* | tee /dev/stderr)" ]
    else
        [ -z "$(groff -man -ww -z "$installed"/share/man/man?/* 2>&1 | tee /dev/stderr)" ]
    fi
}

uninstalls() {
    make -s uninstall DESTDIR="$there"
    [ ! -e "$there" ] || { find "$there"; false; }
}

waiting_program() {
    cat >"$work/waiting.c" <<'C'
#include <selectors.h>
int main(void) {
    sel_selector *selector;
    sel_event event;
    if (sel_open(&selector, NULL) < 0)
        return 1;
    return sel_select(selector, &event, 1, SEL_FOREVER);
}
C
    "$cc" -g -O1 -o "$work/waiting" "$work/waiting.c" "$@"
}

# gdb shows where the program waits, with a line of the library, on each backend.
debugger_shows_the_wait() {
    while read -r backend call; do
        # The backend was tried before line 7.
        SELECTORS_BACKEND=$backend DEBUGINFOD_URLS='' gdb -nx -batch -ex 'break waiting.c:7' -ex run \
            -ex "break $call" -ex continue -ex bt "$work/waiting" >"$work/trace" 2>&1 </dev/null
        cat "$work/trace"
        grep -q '^#.* sel_select (.*Sources/SelectorsC/Functions\.swift:[0-9]*$' "$work/trace"
        grep -q '^#.* main () at .*waiting\.c:7$' "$work/trace"
    done <<'BACKENDS'
epoll epoll_wait
poll poll
select pselect
BACKENDS
}

debugger_shows_lines() {
    waiting_program -Iinclude -L.build-c -lselectors -Wl,-rpath,"$root/.build-c"
    debugger_shows_the_wait
}

makes_debian_packages() {
    make -s deb
    # Another process may be installing something.
    apt=(apt-get -y -qq -o DPkg::Lock::Timeout=120)
    trap '"${apt[@]}" purge libselectors-dev libselectors1-dbgsym libselectors1' EXIT
    "${apt[@]}" install "./.build-c/deb/libselectors1_${version}_"*.deb \
        "./.build-c/deb/libselectors1-dbgsym_${version}_"*.deb \
        "./.build-c/deb/libselectors-dev_${version}_"*.deb
    unset PKG_CONFIG_PATH
    readelf -dW /usr/bin/selectors-backends >"$work/dynamic"
    refute grep RUNPATH "$work/dynamic"
    eval "$cc -o '$work/echo_server' examples-c/echo_server.c" \
        "$(pkg-config --cflags --libs selectors)"
    ldd "$work/echo_server" | grep "/lib/.*$soname"
    selectors-backends | grep '^epoll'
    selectors-conformance poll | tail -n 1
    "$work/shared" poll | tail -n 1
    if command -v gdb; then
        waiting_program -lselectors
        debugger_shows_the_wait
    fi
    trap - EXIT
    "${apt[@]}" purge libselectors-dev libselectors1-dbgsym libselectors1
    refute ls /usr/bin/selectors-backends /usr/bin/selectors-conformance /usr/include/selectors.h
}

lintian_is_content() {
    # As root it wants to be told that this is meant.
    lintian --allow-root --fail-on error,warning .build-c/deb/*.deb
}

abi_is_as_described() {
    make -s abi
}

echo "TAP version 13"
prove "make install, into a folder with a space" installs
prove "a second make does nothing" second_make_does_nothing
prove "the user's flags survive" takes_flags
prove "the library has at most 100 kB" is_small
prove "no relocation in text, RELRO, no executable stack" is_hardened
prove "the library needs libc and nothing else" needs_libc_only
prove "no path of the build is inside" tells_no_path
prove "a build in another folder gives the same bytes" is_reproducible
prove "pkg-config: shared" pkg_config_links
prove "pkg-config: static, all backends" pkg_config_links_statically
if command -v cmake >/dev/null; then
    prove "find_package(selectors)" cmake_links
else
    skip "find_package(selectors)" "there is no cmake"
fi
prove "the programs find the library below any PREFIX" finds_its_library
prove "all backends, with nothing in the environment" runs_with_libc_alone
if [ "$(id -u)" -eq 0 ] && mkdir -p "$work/try" && mount --bind /dev "$work/try" 2>/dev/null; then
    umount "$work/try"
    prove "all backends, where there is only libc" runs_in_a_jail
else
    skip "all backends, where there is only libc" "needs root and mount"
fi
prove "C++11 to C++20" serves_cplusplus
if command -v abidiff >/dev/null; then
    prove "the ABI is as described" abi_is_as_described
else
    skip "the ABI is as described" "there is no abidiff"
fi
prove "each function has its manual page" has_manuals
prove "make uninstall leaves nothing" uninstalls
if command -v gdb >/dev/null; then
    prove "gdb: sel_select is a frame, with a line" debugger_shows_lines
else
    skip "gdb: sel_select is a frame, with a line" "there is no gdb"
fi
if [ "$(id -u)" -eq 0 ] && command -v dpkg >/dev/null; then
    prove "Debian packages: installed, used, removed" makes_debian_packages
else
    skip "Debian packages: installed, used, removed" "needs root and dpkg"
fi
if command -v lintian >/dev/null && make -s deb >/dev/null; then
    prove "lintian has neither errors nor warnings" lintian_is_content
else
    skip "lintian has neither errors nor warnings" "there is no lintian"
fi
echo "1..$tests"
exit $((failed > 0))
