#!/bin/sh
# Makes the Debian packages libselectors1 and libselectors-dev from what "make install" installs, and
# libselectors1-dbgsym, with which debuggers and profilers find the lines of the library.
#
#     deb.sh FOLDER    where they go
#
# Needs dpkg-deb. SOURCE_DATE_EPOCH, if set, is the time of all files; DEBFULLNAME and DEBEMAIL are the
# maintainer.
set -eu

folder=$1
version=$(sed -n 's/^#define SEL_VERSION_STRING "\(.*\)"/\1/p' include/selectors.h)
major=${version%%.*}
architecture=$(dpkg --print-architecture)
triplet=$(${CC:-cc} -print-multiarch)
: "${SOURCE_DATE_EPOCH:=$(git log -1 --format=%ct 2>/dev/null || date +%s)}"
export SOURCE_DATE_EPOCH
maintainer="${DEBFULLNAME:-the swift-selectors developers} <${DEBEMAIL:-nobody@swift-selectors.invalid}>"

mkdir -p "$folder"
folder=$(cd "$folder" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
dev=$work/libselectors-dev
library=$work/libselectors$major
symbols=$library-dbgsym
lib=usr/lib/$triplet

make -s install-strip DESTDIR="$dev" PREFIX=/usr LIBDIR="/$lib" RUNPATH=
mkdir -p "$library/$lib" "$library/DEBIAN" "$dev/DEBIAN"
mv "$dev/$lib"/libselectors.so.* "$library/$lib"
chmod 644 "$library/$lib/libselectors.so.$version"

# Debuggers find the file by the build ID, which stripping does not change.
id=$(readelf -n "$library/$lib/libselectors.so.$version" | sed -n 's/.*Build ID: //p')
debug=usr/lib/debug/.build-id/$(echo "$id" | cut -c 1-2)
mkdir -p "$symbols/$debug" "$symbols/DEBIAN"
objcopy --only-keep-debug --compress-debug-sections .build-c/libselectors.so."$version" \
    "$symbols/$debug/$(echo "$id" | cut -c 3-).debug"
chmod 644 "$symbols/$debug"/*
find "$dev" -name '*.[137]' -type f -exec gzip -9n {} +

# needs_libc FILE ...: the dependency on the newest version of the C library that a symbol is taken from
needs_libc() {
    objdump -T "$@" | grep -v ' w ' | grep -o 'GLIBC_[0-9.]*' | sed 's/GLIBC_/libc6 (>= /; s/$/)/' |
        sort -V | tail -n 1
}

# Debian's common licenses have the text.
copyright() {
    cat <<COPYRIGHT
Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/
Upstream-Name: swift-selectors

Files: *
Copyright: $(date -u -d "@$SOURCE_DATE_EPOCH" +%Y) the swift-selectors developers
License: Apache-2.0
 Licensed under the Apache License, Version 2.0. On Debian systems its text is in
 /usr/share/common-licenses/Apache-2.0.
COPYRIGHT
}

# In Debian's format; CHANGELOG.md, which is installed beside it, tells the changes.
changelog() {
    cat <<CHANGELOG
swift-selectors ($version) unstable; urgency=medium

  * See CHANGELOG.md.gz.

 -- $maintainer  $(LC_ALL=C date -u -R -d "@$SOURCE_DATE_EPOCH")
CHANGELOG
}

# control PACKAGE SECTION DEPENDENCIES [FIELD], and the description from standard input
control() {
    doc=$work/$1/usr/share/doc
    mkdir -p "$doc"
    case $1 in
    *-dbgsym) ln -s "${1%-dbgsym}" "$doc/$1" ;;
    *)
        mkdir "$doc/$1"
        copyright >"$doc/$1/copyright"
        changelog | gzip -9nc >"$doc/$1/changelog.gz"
        gzip -9nc CHANGELOG.md >"$doc/$1/CHANGELOG.md.gz"
        ;;
    esac
    {
        printf 'Package: %s\nSource: swift-selectors\nVersion: %s\n' "$1" "$version"
        printf 'Architecture: %s\nSection: %s\n' "$architecture" "$2"
        printf 'Priority: optional\nDepends: %s\n%s' "$3" "${4:+$4
}"
        printf 'Maintainer: %s\n' "$maintainer"
        printf 'Installed-Size: %s\n' "$(du -sk "$work/$1" | cut -f 1)"
        cat
    } >"$work/$1/DEBIAN/control"
    (cd "$work/$1" && find usr -type f -print0 | sort -z | xargs -0 md5sum >DEBIAN/md5sums)
    find "$work/$1" -exec touch -hd "@$SOURCE_DATE_EPOCH" {} +
    dpkg-deb --root-owner-group --build "$work/$1" "$folder" >/dev/null
}

printf 'libselectors %s libselectors%s (>= %s)\n' "$major" "$major" "$version" \
    >"$library/DEBIAN/shlibs"
printf 'activate-noawait ldconfig\n' >"$library/DEBIAN/triggers"
control "libselectors$major" libs "$(needs_libc "$library/$lib/libselectors.so.$version")" "Multi-Arch: same" <<'DESCRIPTION'
Description: readiness of many file descriptors (shared library)
 One small interface over epoll, poll and select, with the same behaviour on
 each: register descriptors, wait until some are ready. The backend is chosen
 at run time. Needs the C library alone.
DESCRIPTION
control "libselectors$major-dbgsym" debug "libselectors$major (= $version)" \
    "Multi-Arch: same
Auto-Built-Package: debug-symbols
Build-Ids: $id" <<DESCRIPTION
Description: debug symbols for libselectors$major
DESCRIPTION
control libselectors-dev libdevel \
    "libselectors$major (= $version), $(needs_libc "$dev"/usr/bin/*)" <<'DESCRIPTION'
Description: readiness of many file descriptors (development files)
 One small interface over epoll, poll and select, with the same behaviour on
 each. This package has the header, the static library, the manual pages, files
 for pkg-config and CMake, selectors-backends, which lists the backends, and
 selectors-conformance, which tests one.
DESCRIPTION

ls "$folder"/*.deb
