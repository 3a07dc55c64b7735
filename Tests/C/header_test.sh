#!/bin/sh
# Tests that the headers compile everywhere, and that the library has just the functions in them.
#
#     header_test.sh FOLDER LIBRARY [--only]    prints TAP
#
# With --only the library may export nothing but sel_ functions. C_COMPILERS and CXX_COMPILERS
# name the compilers to try (gcc clang, g++ clang++); one that is not installed is skipped. NM lists symbols.
set -eu

if [ $# -lt 2 ] || [ "${3:---only}" != --only ]; then
    echo "usage: header_test.sh FOLDER LIBRARY [--only]" >&2
    exit 2
fi
folder=$1
library=$2
only=${3:-}
warnings='-Wall -Wextra -Wpedantic -Werror'

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
trap 'exit 129' HUP
trap 'exit 130' INT
trap 'exit 143' TERM

number=0
failures=0

# report NAME: one line of TAP, "not ok" if the file $work/problem has something in it.
report() {
    number=$((number + 1))
    if [ -s "$work/problem" ]; then
        echo "not ok $number - $1"
        sed 's/^/# /' "$work/problem"
        failures=$((failures + 1))
    else
        echo "ok $number - $1"
    fi
}

# compile COMPILER STANDARD LANGUAGE HEADER: a file with nothing in it but the header.
compile() {
    name="$4 compiles with $1 -std=$2"
    if ! command -v "$1" >/dev/null 2>&1; then
        number=$((number + 1))
        echo "ok $number - $name # SKIP $1 is not installed"
        return
    fi
    printf '#include <%s>\nextern int not_empty;\n' "$4" >"$work/includes_it"
    # shellcheck disable=SC2086 # the warnings are words
    if "$1" "-std=$2" $warnings -x "$3" -fsyntax-only -I "$work/include" "$work/includes_it" \
        >"$work/output" 2>&1; then
        : >"$work/problem"
    else
        echo "exit status $?" | cat - "$work/output" >"$work/problem"
    fi
    report "$name"
}

echo 'TAP version 13'

# A folder of its own, so that the headers cannot lean on a neighbour.
mkdir "$work/include"
cp "$folder"/*.h "$work/include"
for header in selectors.h selectors_plugin.h; do
    for compiler in ${C_COMPILERS-gcc clang}; do
        for standard in c99 c11 c17; do
            compile "$compiler" "$standard" c "$header"
        done
    done
    for compiler in ${CXX_COMPILERS-g++ clang++}; do
        for standard in c++11 c++20; do
            compile "$compiler" "$standard" c++ "$header"
        done
    done
done

# The example in the first comment of the manual.
{
    printf '%s\n' '#include <selectors.h>' 'void serve(void *connection, uint32_t events);' \
        '_Noreturn void give_up(const char *why);' 'void loop(int socket, void *connection);' \
        'void loop(int socket, void *connection) {'
    sed -n '/^ \*     sel_selector \*selector;/,/^ \* Errors\./s/^ \*     //p' "$folder/selectors.h"
    echo '}'
} >"$work/example.c"
# shellcheck disable=SC2086 # the warnings are words
if grep -q sel_select "$work/example.c" && "${CC:-cc}" -std=c11 $warnings -fsyntax-only \
    -I "$work/include" "$work/example.c" 2>"$work/problem"; then
    : >"$work/problem"
else
    cat "$work/example.c" >>"$work/problem"
fi
report 'the example of selectors.h compiles'

# misuse WHAT CODE: the compiler warns of it.
misuse() {
    printf '#include <selectors.h>\nvoid use(sel_selector *s);\nvoid use(sel_selector *s) {\n%s\n}\n' \
        "$2" >"$work/misuse.c"
    # shellcheck disable=SC2086 # the warnings are words
    if gcc -O1 $warnings -c -I "$work/include" "$work/misuse.c" -o "$work/misuse.o" \
        >"$work/output" 2>&1; then
        echo "no warning of: $2" >"$work/problem"
    else
        : >"$work/problem"
    fi
    report "the compiler warns of $1"
}

if command -v gcc >/dev/null 2>&1 && [ "$(gcc -dumpversion | cut -d. -f1)" -ge 11 ]; then
    misuse 'an array that is too small' 'sel_event ev[4]; (void)sel_select(s, ev, 64, -1);'
    misuse 'no room for keys' 'sel_key keys[2]; (void)sel_get_map(s, keys, 3);'
    misuse 'a negative number of events' 'sel_event ev[4]; (void)sel_select(s, ev, -1, 0);'
    misuse 'a result that is not looked at' '(void)s; sel_selector *t; sel_open(&t, NULL);'
fi

# The preprocessor takes the comments away; what then looks like a call is a declaration.
if ! cat "$folder"/*.h | "${CC:-cc}" -E -P -I "$folder" -x c - >"$work/preprocessed" \
    2>"$work/problem"; then
    report 'the headers can be preprocessed'
fi
grep -v '^typedef' "$work/preprocessed" | grep -o 'sel_[a-z0-9_]* *(' | tr -d ' (' | sort -u >"$work/declared"
[ -s "$work/declared" ] && : >"$work/problem" || echo "none found in $folder" >"$work/problem"
report 'the headers declare functions'

# In Mach-O there is one table of symbols, each name begins with "_", and the linker exports two of its own.
table=-D
underscore=
case $library in *.dylib) table='' underscore=_ ;; esac
# shellcheck disable=SC2086 # one word, or none
if [ -r "$library" ] && "${NM:-nm}" $table -g --defined-only "$library" >"$work/symbols" 2>"$work/problem"; then
    : >"$work/problem"
else
    echo "$library cannot be read: build it first" >>"$work/problem"
    : >"$work/symbols"
fi
report "the library is there"

# Absolute symbols (A) are the names of symbol versions; what follows @ is the version of a symbol.
awk '$(NF - 1) != "A" { sub(/@.*/, "", $NF); sub(/^'"$underscore"'/, "", $NF); print $NF }' "$work/symbols" |
    sort -u | grep -v -x -e _mh_dylib_header -e __dso_handle >"$work/exported"
grep '^sel_' "$work/exported" >"$work/exported_ours" || :

comm -23 "$work/declared" "$work/exported_ours" >"$work/problem"
report 'every function of the headers is in the library'
comm -13 "$work/declared" "$work/exported_ours" >"$work/problem"
report 'every sel_ function of the library is in a header'
if [ -n "$only" ]; then
    grep -v '^sel_' "$work/exported" >"$work/problem" || :
    report 'the library exports nothing else'
fi

echo "1..$number"
[ "$failures" -eq 0 ]
