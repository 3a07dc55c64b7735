# Builds, installs and packages the library for C programs.
#
#     make                  libselectors.so, libselectors.a, manual pages, and the programs
#                           selectors-backends and selectors-conformance
#     make check            the C tests against the library that was built
#     make install          puts all of it below DESTDIR and PREFIX
#     make install-strip    the same without symbols
#     make uninstall        removes what install has put there
#     make deb              Debian packages, into .build-c/deb
#     make abi              compares the library with the committed description of its ABI
#     make abi-dump         writes that description anew
#     make clean
#
# Variables, as usual: CC, CFLAGS, CPPFLAGS, LDFLAGS, SWIFT, SWIFTFLAGS, AR, OBJCOPY, STRIP,
# INSTALL, DESTDIR, PREFIX, BINDIR, LIBDIR, INCLUDEDIR, DATADIR, MANDIR; and RUNPATH, where the programs look for
# the library first: the way from BINDIR to LIBDIR, or nowhere if it is empty.
#
# TARGET=aarch64-linux-gnu builds for another processor, C library or system, into a folder of its own,
# .build-aarch64-linux-gnu. Sources/packaging/targets.mk lists the targets.
#
# Building asks for Swift 6.3 and a C compiler; what is built, for libc alone. The version is that
# of include/selectors.h.

PREFIX ?= /usr/local
BINDIR ?= $(PREFIX)/bin
LIBDIR ?= $(PREFIX)/lib
INCLUDEDIR ?= $(PREFIX)/include
DATADIR ?= $(PREFIX)/share
MANDIR ?= $(DATADIR)/man
RUNPATH ?= $(origin_folder)/$(shell realpath -m --relative-to="$(BINDIR)" "$(LIBDIR)")

CFLAGS ?= -O2 -g
SWIFT ?= swift
INSTALL ?= install

packaging := Sources/packaging

# The library's name with a version; what is cut out of its object, and the names in it that it exports.
library_name = libselectors.so$(1)
origin_folder := $$ORIGIN
sections_out := .swift_modhash .debug_names
exported := sel_*

include $(packaging)/targets.mk
cross_ldflags ?= -Wl,-z,noexecstack -Wl,-z,noseparate-code
STRIP ?= strip
OBJCOPY ?= objcopy

VERSION := $(shell sed -n 's/^.define SEL_VERSION_STRING "\(.*\)"/\1/p' include/selectors.h)
MAJOR := $(firstword $(subst ., ,$(VERSION)))

build := .build-$(or $(TARGET),c)
soname := $(call library_name,.$(MAJOR))
link_name := $(call library_name,)
shared := $(build)/$(call library_name,.$(VERSION))
static := $(build)/libselectors.a
# The tests of the contract make files that Linux alone has.
is_linux := $(or $(if $(TARGET),,yes),$(findstring linux,$(TARGET)))
tools := $(build)/selectors-backends $(if $(is_linux),$(build)/selectors-conformance)
object := $(build)/selectors.o
man := $(build)/man

# The user's flags come after ours, so that theirs win.
our_cflags := -std=c11 -Wall -Wextra -Wpedantic -Iinclude
elf_ldflags := -Wl,-soname,$(soname) -Wl,--gc-sections -Wl,--build-id \
    -Wl,--version-script=Sources/SelectorsC/selectors.map \
    -Wl,-z,nodelete -Wl,-z,relro -Wl,-z,now $(cross_ldflags)
our_ldflags := -shared $(or $(macho_ldflags),$(elf_ldflags))
# Every instruction counts, and there is no trace of the folder that it was built in. Each function
# has a section, so that the linker leaves out what nobody calls, such as the allocation of objects.
our_swiftflags := $(or $(macho_swiftflags),--omit-frame-pointers -Xcc -fno-plt) \
    -Xswiftc -Xfrontend -Xswiftc -function-sections \
    -Xswiftc -file-prefix-map -Xswiftc "$(CURDIR)=." -Xcc "-ffile-prefix-map=$(CURDIR)=." \
    -Xswiftc -Xfrontend -Xswiftc -no-clang-module-breadcrumbs

sources := Package.swift $(wildcard include/* Sources/CSelectorsPlatform/* Sources/SelectorsC/* \
    Sources/SelectorsCore/*.swift Sources/SelectorsCore/*/*.swift)

.PHONY: all library check install install-strip uninstall deb abi abi-dump clean
.DELETE_ON_ERROR:

all: library $(tools) $(man)/selectors.7

library: $(build)/$(link_name) $(static)

# Embedded Swift puts the whole library into one object. Of the sections that go, one is a hash that
# knows the folder; the other is an index that older gdb (13) reads wrong, and then finds no lines.
# SwiftPM does not see that a header outside of its targets has changed: each build is a new one.
$(object): $(sources) Makefile $(packaging)/targets.mk
	@command -v $(firstword $(SWIFT)) >/dev/null || \
	    { echo "there is no $(firstword $(SWIFT)): Swift 6.3 or later is needed" >&2; exit 1; }
	rm -rf $(build)/swift
	$(before_build)
	SELECTORS_EMBEDDED=1 $(SWIFT) build --scratch-path $(build)/swift -c release \
	    --target SelectorsC $(our_swiftflags) $(cross_swiftflags) $(SWIFTFLAGS)
	$(OBJCOPY) $(addprefix --remove-section=,$(sections_out)) \
	    $(build)/swift/release/SelectorsC.build/Functions.swift.o $@
	$(after_build)

$(shared): $(object) Sources/SelectorsC/selectors.map
	$(CC) $(CFLAGS) $(our_ldflags) $(LDFLAGS) -o $@ $(object)

$(build)/$(link_name): $(shared)
	ln -sf $(notdir $(shared)) $(build)/$(soname)
	ln -sf $(soname) $@

# The names that are not of the interface are hidden in the archive, too.
$(static): $(object)
	$(OBJCOPY) --wildcard --keep-global-symbol='$(exported)' $(object) $(build)/selectors-static.o
	rm -f $@
	$(AR) rcsD $@ $(build)/selectors-static.o

# Holds the run path of the last build, and is touched only when that changes.
$(shell mkdir -p $(build) && { echo '$(RUNPATH)' | cmp -s - $(build)/runpath || \
    echo '$(RUNPATH)' >$(build)/runpath; })

$(build)/selectors-backends: examples-c/list_backends.c
$(build)/selectors-conformance: $(wildcard Tests/C/conformance/*.[ch])
$(tools): include/selectors.h $(build)/$(link_name) $(build)/runpath
	$(CC) $(our_cflags) $(CPPFLAGS) $(CFLAGS) -o $@ $(filter %.c,$^) -L$(build) \
	    $(if $(RUNPATH),-Xlinker -rpath -Xlinker '$(RUNPATH)') $(LDFLAGS) -lselectors

# The headers' comments are the manual.
$(man)/selectors.7: $(wildcard include/*.h) $(packaging)/man.sh $(packaging)/man.awk \
    examples-c/list_backends.c Tests/C/conformance/main.c CHANGELOG.md
	sh $(packaging)/man.sh $(man)

check: all
	$(MAKE) -C examples-c check

lib := "$(DESTDIR)$(LIBDIR)"
installed_tools := $(foreach tool,$(notdir $(tools)),"$(DESTDIR)$(BINDIR)/$(tool)")
in_prefix = $(patsubst $(PREFIX)/%,$${prefix}/%,$(1))
fill_in := sed -e 's|@PREFIX@|$(PREFIX)|g' -e 's|@LIBDIR@|$(LIBDIR)|g' \
    -e 's|@LIBDIR_IN_PREFIX@|$(call in_prefix,$(LIBDIR))|g' \
    -e 's|@INCLUDEDIR_IN_PREFIX@|$(call in_prefix,$(INCLUDEDIR))|g' \
    -e 's|@INCLUDEDIR@|$(INCLUDEDIR)|g' -e 's|@VERSION@|$(VERSION)|g' -e 's|@MAJOR@|$(MAJOR)|g'

install: all
	$(INSTALL) -d $(lib)/pkgconfig $(lib)/cmake/selectors \
	    "$(DESTDIR)$(INCLUDEDIR)" "$(DESTDIR)$(BINDIR)" "$(DESTDIR)$(DATADIR)/selectors"
	$(INSTALL) -m 755 $(shared) $(lib)
	ln -sf $(notdir $(shared)) $(lib)/$(soname)
	ln -sf $(soname) $(lib)/$(link_name)
	$(INSTALL) -m 644 $(static) $(lib)
	$(INSTALL) -m 644 include/*.h "$(DESTDIR)$(INCLUDEDIR)"
	$(INSTALL) -m 755 $(tools) "$(DESTDIR)$(BINDIR)"
	$(INSTALL) -m 644 $(packaging)/selectors.supp "$(DESTDIR)$(DATADIR)/selectors"
	$(fill_in) $(packaging)/selectors.pc.in >$(lib)/pkgconfig/selectors.pc
	$(fill_in) $(packaging)/selectors-config.cmake.in \
	    >$(lib)/cmake/selectors/selectors-config.cmake
	$(fill_in) $(packaging)/selectors-config-version.cmake.in \
	    >$(lib)/cmake/selectors/selectors-config-version.cmake
	for page in $(man)/*; do \
	    section="$(DESTDIR)$(MANDIR)/man$${page##*.}" && \
	    $(INSTALL) -d "$$section" && $(INSTALL) -m 644 "$$page" "$$section" || exit 1; \
	done

install-strip: install
	$(STRIP) --strip-unneeded $(lib)/$(notdir $(shared)) \
	    $(installed_tools)
	$(STRIP) --strip-debug --enable-deterministic-archives $(lib)/libselectors.a

# Folders go, too, where they are ours, or empty below DESTDIR.
uninstall: $(man)/selectors.7
	rm -f $(lib)/$(notdir $(shared)) $(lib)/$(soname) $(lib)/$(link_name) \
	    $(lib)/libselectors.a $(lib)/pkgconfig/selectors.pc \
	    $(installed_tools)
	rm -rf $(lib)/cmake/selectors "$(DESTDIR)$(DATADIR)/selectors"
	for header in $(notdir $(wildcard include/*.h)); do \
	    rm -f "$(DESTDIR)$(INCLUDEDIR)/$$header"; \
	done
	for page in $(man)/*; do \
	    rm -f "$(DESTDIR)$(MANDIR)/man$${page##*.}/$$(basename "$$page")"; \
	done
	[ -z "$(DESTDIR)" ] || [ ! -d "$(DESTDIR)" ] || find "$(DESTDIR)" -depth -type d -empty -delete

deb: all
	sh $(packaging)/deb.sh $(build)/deb

# What C programs are compiled against is described by the header, which every function is checked
# against: the description is that of a stand-in made of the header's own prototypes.
abi abi-dump: all
	sh $(packaging)/abi.sh $(if $(filter abi-dump,$@),--write) $(packaging)/selectors.abi $(shared)

clean:
	rm -rf $(build)
