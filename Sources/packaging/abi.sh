#!/bin/sh
# Compares the interface with the committed description of its ABI, and fails if they differ.
#
#     abi.sh DESCRIPTION LIBRARY
#     abi.sh --write DESCRIPTION LIBRARY    writes the description anew
#
# The types of the library itself are Swift's. So the description is that of a stand-in: a C library
# of the header's prototypes with empty bodies. The compiler holds the Swift functions to the same
# header; that the library exports the same symbols, in the same versions, is checked here.
#
# Needs abidw and abidiff (Debian: abigail-tools) and binutils.
set -eu

write=
if [ "$1" = --write ]; then
    write=yes
    shift
fi
description=$1
library=$2
root=$(dirname "$0")/../..
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

for header in "$root"/include/*.h; do
    printf '#include "%s"\n' "$(basename "$header")"
done >"$work/all.h"
{
    printf '#include <stddef.h>\n#include <stdint.h>\n#include <sys/select.h>\n'
    "${CC:-cc}" -E -P -D_SYS_SELECT_H -D_STDDEF_H -D_STDINT_H -I"$root/include" "$work/all.h" |
        tr '\n' ' ' |
        sed -E 's/((int|uint32_t|const char \*) ?sel_[a-z_]+\([^()]*\));/\1 { return 0; }\n/g'
} >"$work/standin.c"
cp "$root/Sources/SelectorsC/selectors.map" "$work"
soname=$(basename "$library" | sed 's/\(\.so\.[0-9]*\).*/\1/')
(cd "$work" && "${CC:-cc}" -g -shared -fPIC -Wl,-soname,"$soname" \
    -Wl,--version-script=selectors.map -o libselectors.so standin.c)

symbols() {
    nm -D --defined-only --with-symbol-versions "$1" | sed 's/^[0-9a-f]* //' | sort
}
symbols "$library" >"$work/symbols"
symbols "$work/libselectors.so" | diff "$work/symbols" - || {
    echo "abi.sh: the header (>) and the library (<) do not have the same functions" >&2
    exit 1
}

abidw --no-corpus-path --no-comp-dir-path --no-show-locs --out-file "$work/description" \
    "$work/libselectors.so"
if [ -n "$write" ]; then
    cp "$work/description" "$description"
    exit
fi

status=0
abidiff --no-show-locs "$description" "$work/description" || status=$?
if [ $((status & 8)) -ne 0 ]; then
    echo "abi.sh: programs that use the library as described would break" >&2
elif [ "$status" -ne 0 ]; then
    echo "abi.sh: the ABI differs; if programs do not mind, describe it by \"make abi-dump\"" >&2
else
    echo "the ABI is as described: $(wc -l <"$work/symbols") symbols"
fi
exit "$status"
