#!/bin/sh
# Makes the manual pages from the comments of the headers, so that neither can say what the other
# does not.
#
#     man.sh FOLDER    writes a page for each function in section 3, selectors.7 and
#                      those of the programs in section 1
set -eu

folder=$1
here=$(dirname "$0")
root=$here/../..
version=$(sed -n 's/^#define SEL_VERSION_STRING "\(.*\)"/\1/p' "$root/include/selectors.h")
date=$(sed -n "s/^## $version, //p" "$root/CHANGELOG.md")

mkdir -p "$folder"
rm -f "$folder"/*.[137]
for header in "$root"/include/*.h; do
    awk -v folder="$folder" -v header="$(basename "$header")" -v version="$version" \
        -v date="$date" -f "$here/man.awk" "$header"
done
# page PROGRAM FILE NAME: of a program that calls itself NAME where it is built.
page() {
    awk -v folder="$folder" -v program="$1" -v called="$3" -v version="$version" \
        -v date="$date" -f "$here/man.awk" "$root/$2"
}
page selectors-backends examples-c/list_backends.c list_backends
page selectors-conformance Tests/C/conformance/main.c conformance
