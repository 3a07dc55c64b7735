#!/bin/sh
# Makes the documentation of the Swift modules, as static web pages: Selectors and SelectorsAsync below
# FOLDER. A warning is an error, such as a link that leads nowhere.
#
#     docs.sh FOLDER [SCRATCH]     SCRATCH is the folder of swift build (.build)
set -eu

if [ $# -lt 1 ] || [ $# -gt 2 ]; then
    echo "usage: docs.sh FOLDER [SCRATCH]" >&2
    exit 2
fi
folder=$1
scratch=${2-.build}
target=$(swift -print-target-info | sed -n 's/^ *"unversionedTriple": "\(.*\)",*$/\1/p')

graphs=$(mktemp -d)
trap 'rm -rf "$graphs"' EXIT
trap 'exit 129' HUP
trap 'exit 130' INT
trap 'exit 143' TERM

swift build --scratch-path "$scratch" --target SelectorsAsync
modules=$(swift build --scratch-path "$scratch" --show-bin-path)/Modules
for module in Selectors SelectorsAsync; do
    mkdir -p "$graphs/$module" "$folder"
    # What Selectors passes on from SelectorsCore is documented as its own.
    swift symbolgraph-extract -module-name "$module" -target "$target" -I "$modules" -I include \
        -I Sources/CSelectorsPlatform -minimum-access-level public -skip-synthesized-members \
        -experimental-allowed-reexported-modules=SelectorsCore -output-dir "$graphs/$module"
    docc convert "Sources/$module/$module.docc" --warnings-as-errors \
        --additional-symbol-graph-dir "$graphs/$module" --fallback-bundle-identifier "$module" \
        --transform-for-static-hosting --output-path "$folder/$module"
done
