# What TARGET says: the tools and flags for another processor, C library or system. Included by both
# Makefiles. Without it nothing here applies.
#
# Swift compiles Embedded Swift for the bare processor, while its clang reads the headers as for the
# target itself. The C compiler tells where these are. It is the one of that name on Debian, and for
# macOS, BSD and musl on aarch64 that of the PyPI package ziglang, which has their headers.

ifdef TARGET

ziglang := ziglang==0.16.0

#                                 clang's target                 bare target of Embedded Swift
known_aarch64-linux-gnu        := aarch64-unknown-linux-gnu      aarch64-none-none-elf
known_riscv64-linux-gnu        := riscv64-unknown-linux-gnu      riscv64-none-none-eabi
known_arm-linux-gnueabihf      := armv7-unknown-linux-gnueabihf  armv7-none-none-eabi
known_i686-linux-gnu           := i686-unknown-linux-gnu         i686-unknown-none-elf
known_x86_64-linux-musl        := x86_64-unknown-linux-musl      x86_64-unknown-linux-gnu
known_aarch64-linux-musl       := aarch64-unknown-linux-musl     aarch64-none-none-elf
known_x86_64-unknown-freebsd   := x86_64-unknown-freebsd14       x86_64-unknown-linux-gnu
known_x86_64-unknown-netbsd    := x86_64-unknown-netbsd10        x86_64-unknown-linux-gnu
known_x86_64-unknown-openbsd   := x86_64-unknown-openbsd7        x86_64-unknown-linux-gnu
known_arm64-apple-macos        := arm64-apple-macosx15.0         arm64-apple-ios
known_x86_64-apple-macos       := x86_64-apple-macosx15.0        x86_64-apple-none-macho

# What zig calls it; empty: Debian's compiler.
zig_aarch64-linux-musl         := aarch64-linux-musl
zig_x86_64-unknown-freebsd     := x86_64-freebsd
zig_x86_64-unknown-netbsd      := x86_64-netbsd
zig_x86_64-unknown-openbsd     := x86_64-openbsd
zig_arm64-apple-macos          := aarch64-macos
zig_x86_64-apple-macos         := x86_64-macos

# Debian's packages to build with, and to run what was built.
debian_aarch64-linux-gnu       := gcc-aarch64-linux-gnu libc6-dev-arm64-cross qemu-user
debian_riscv64-linux-gnu       := gcc-riscv64-linux-gnu libc6-dev-riscv64-cross qemu-user
debian_arm-linux-gnueabihf     := gcc-arm-linux-gnueabihf libc6-dev-armhf-cross qemu-user
debian_i686-linux-gnu          := gcc-i686-linux-gnu libc6-dev-i386-cross libc6-i386 lib32gcc-s1
debian_x86_64-linux-musl       := musl-tools

# What runs a program; empty: this machine can. The tests know qemu by the variable.
emulator_aarch64-linux-gnu     := env QEMU_LD_PREFIX=/usr/aarch64-linux-gnu qemu-aarch64
emulator_aarch64-linux-musl    := env QEMU_LD_PREFIX=/ qemu-aarch64
emulator_riscv64-linux-gnu     := env QEMU_LD_PREFIX=/usr/riscv64-linux-gnu qemu-riscv64
emulator_arm-linux-gnueabihf   := env QEMU_LD_PREFIX=/usr/arm-linux-gnueabihf qemu-arm

# What the bare processor lacks that its system has. On i686 and OpenBSD Swift's checks of the stack ask
# for what libc does not have. With 32 bits time_t has 64; _GNU_SOURCE declares all functions that this renames.
time64 := -Xcc -D_GNU_SOURCE -Xcc -D_TIME_BITS=64 -Xcc -D_FILE_OFFSET_BITS=64
flags_riscv64-linux-gnu        := -Xcc -march=rv64gc -Xcc -mabi=lp64d
flags_arm-linux-gnueabihf      := $(time64) -Xcc -mfloat-abi=hard
unchecked := -Xcc -fno-stack-protector -Xswiftc -Xfrontend -Xswiftc -disable-stack-protector
flags_i686-linux-gnu           := $(time64) $(unchecked)
flags_x86_64-unknown-openbsd   := $(unchecked)

# Swift for Linux has no Embedded Swift for macOS. That for iOS on arm64 is the same but for a mark in the
# object. On x86-64 that for ELF is, with System V's calls as on macOS: it is there under Mach-O's name, too.
# SwiftPM looks for a libtool and does not use it; zig takes no list of exported names.
ifneq ($(findstring -apple-,$(TARGET)),)
library_name = libselectors$(1).dylib
origin_folder := @executable_path
macho_ldflags = -Wl,-install_name,@rpath/$(soname) -Wl,-dead_strip
macho_swiftflags := --no-omit-frame-pointers
sections_out := __TEXT,__swift_modhash __DWARF,__debug_names
exported := _sel_*
before_build = mkdir -p $(build)/bin; ln -sf /bin/false $(build)/bin/libtool; $(before_$(TARGET))
after_build = $(OBJCOPY) --wildcard --keep-global-symbol='$(exported)' $@; $(after_$(TARGET))
export PATH := $(PATH):$(CURDIR)/.build-$(TARGET)/bin

flags_arm64-apple-macos := -Xswiftc -target -Xswiftc arm64-apple-ios18.0
build_version = struct.pack("<4I", 0x32, 24, $(1), $(2) << 16)
after_arm64-apple-macos = python3 -c 'import struct, pathlib; file = pathlib.Path("$@"); old = file.read_bytes(); \
    new = old.replace($(call build_version,2,18), $(call build_version,1,15)); \
    assert new != old; file.write_bytes(new)'

flags_x86_64-apple-macos = -Xswiftc -resource-dir -Xswiftc $(CURDIR)/$(build)/resources
before_x86_64-apple-macos = rm -rf $(build)/resources; cp -rs $(resources) $(build)/resources; \
    for module in $(build)/resources/embedded/*.swiftmodule; do \
        ln -sf x86_64-unknown-none-elf.swiftmodule $$module/x86_64-apple-none-macho.swiftmodule; done
module_x86_64-apple-macos := x86_64-unknown-none-elf
endif

known := $(known_$(TARGET))
zig := $(zig_$(TARGET))
missing = $(error TARGET=$(TARGET): $(1))
ifeq ($(known),)
    $(call missing,not among $(patsubst known_%,%,$(filter known_%,$(.VARIABLES))))
endif

ifneq ($(zig),)
    zig_command := python3 -m ziglang
    CC := $(zig_command) cc -target $(zig)
    AR := $(zig_command) ar
    cross_ldflags :=# zig knows none of ours
    OBJCOPY ?= $(or $(wildcard $(dir $(realpath $(shell command -v $(SWIFT))))llvm-objcopy),llvm-objcopy)
    ifneq ($(MAKECMDGOALS),clean)
    ifneq ($(shell $(zig_command) version >/dev/null 2>&1 || echo no),)
        $(call missing,there is no zig: pip install $(ziglang))
    endif
    endif
else
    ifeq ($(origin CC),default)
        CC := $(if $(findstring musl,$(TARGET)),musl-gcc,$(TARGET)-gcc)
    endif
    tools_prefix := $(if $(findstring musl,$(TARGET)),,$(TARGET)-)
    ifeq ($(origin AR),default)
        AR := $(tools_prefix)ar
    endif
    OBJCOPY ?= $(tools_prefix)objcopy
    STRIP ?= $(tools_prefix)strip
    ifneq ($(MAKECMDGOALS),clean)
    ifneq ($(shell echo '\#include <poll.h>' | $(CC) -E - >/dev/null 2>&1 || echo no),)
        $(call missing,$(CC) is missing, or has no libc: apt-get install $(debian_$(TARGET)))
    endif
    endif
endif

resources := $(shell $(SWIFT) -print-target-info | sed -n 's/.*"runtimeResourcePath": "\(.*\)".*/\1/p')
embedded := $(or $(module_$(TARGET)),$(word 2,$(known)))
ifeq ($(wildcard $(resources)/embedded/Swift.swiftmodule/$(embedded).swiftmodule),)
    $(call missing,this Swift has no Embedded Swift for $(embedded))
endif

# Where the compiler looks for headers, but for those of its own, of which Swift's clang has others.
# They come after those of Swift's clang.
own_headers := $(realpath $(shell $(CC) -print-file-name=include 2>/dev/null))
headers := $(realpath $(shell $(CC) -E -v -x c /dev/null 2>&1 | sed -n '/^\#include </,/^End /s/^ //p'))
headers := $(filter-out $(own_headers) $(own_headers)-fixed %/ziglang/lib/include,$(headers))

cross_swiftflags = --triple $(word 2,$(known)) -Xswiftc -Xfrontend -Xswiftc -clang-target \
    -Xswiftc -Xfrontend -Xswiftc $(word 1,$(known)) -Xcc -nostdlibinc \
    $(foreach folder,$(headers),-Xcc -idirafter -Xcc $(folder)) $(flags_$(TARGET))

EMULATOR ?= $(emulator_$(TARGET))

endif
