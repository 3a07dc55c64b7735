# Builds and runs the benchmarks. Included by ../rules.mk.
#
# What is not there has no row: pkg-config tells, and for libev its header.

bench_bin := $(BUILD)/bench
bench_results := $(BUILD)/bench-results
bench_shared := $(call sources,bench/workloads)

has = $(shell pkg-config --exists $(1) 2>/dev/null && echo $(2))
bench_peers := $(call has,libevent_core libevent_pthreads,libevent) $(call has,libuv,libuv) \
    $(shell printf '\043include <ev.h>\nint version = EV_VERSION_MAJOR;\n' | \
        $(CC) $(CPPFLAGS) -x c -fsyntax-only - 2>/dev/null && echo libev)
bench_programs := $(addprefix $(bench_bin)/,raw_epoll raw_poll raw_select selectors $(bench_peers))

# NAME: COMMAND, the floor first.
bench_contestants = \
    $(foreach x,epoll poll select,'raw $x: $(bin)/bench/raw_$x -') \
    $(foreach x,epoll poll select,'selectors $x: $(bin)/bench/selectors $x') \
    $(if $(bench_swift),$(foreach x,list array,'Swift $x: $(bench_swift_bin) $x')) \
    $(foreach x,$(bench_peers),'$x: $(bin)/bench/$x -') \
    $(shell command -v python3 >/dev/null && \
        echo "'CPython: python3 $(tests)/bench/cpython.py EpollSelector'")

$(bench_programs): private LDFLAGS += -pthread -Wl,--as-needed
$(bench_bin)/libevent: private LDLIBS += $(shell pkg-config --libs libevent_core libevent_pthreads)
$(bench_bin)/libuv: private LDLIBS += $(shell pkg-config --libs libuv)
$(bench_bin)/libev: private LDLIBS += -lev

$(bench_programs): $(bench_bin)/%: $(tests)/bench/%.c $(bench_shared) ../include/selectors.h \
    $(BUILD)/flags | library
	@mkdir -p $(bench_bin)
	$(link)

$(bench_bin)/driver: $(tests)/bench/driver.c $(BUILD)/flags
	@mkdir -p $(bench_bin)
	$(CC) $(our_cflags) $(CPPFLAGS) $(CFLAGS) -o $@ $< $(LDFLAGS) $(LDLIBS)

# The Swift face, as ordinary Swift, where there is Swift.
bench_swift := $(if $(SELECTORS_LIBDIR),,$(shell command -v $(SWIFT)))
bench_swift_build := $(CURDIR)/../.build-bench
bench_swift_bin := $(bench_swift_build)/release/swift-contestant
bench_executor_bin := $(bench_swift_build)/release/swift-executor

.PHONY: bench-swift
bench-swift:
ifneq ($(bench_swift),)
	@mkdir -p "$(bench_swift_build)"
	@ln -sfn .. "$(bench_swift_build)/swift-selectors"
	@$(SWIFT) build -c release --package-path $(tests)/bench \
	    --scratch-path "$(bench_swift_build)" >&2
endif

bench: $(bench_programs) $(bench_bin)/driver bench-swift
	@mkdir -p $(bench_results)
	@sh $(tests)/bench/bench.sh $(if $(QUICK),quick,full) $(bin)/bench/driver $(bench_results) \
	    $(bench_contestants)

# A pool of threads alone, on epoll, held to limits.
pool: $(bench_bin)/raw_epoll $(bench_bin)/selectors $(bench_bin)/driver
	@mkdir -p $(bench_results)
	@sh $(tests)/bench/pool.sh $(bin)/bench $(bench_results) $(tests)/bench/limits

instructions: $(bench_bin)/raw_epoll $(bench_bin)/selectors bench-swift
	@sh $(tests)/bench/instructions.sh $(bin)/bench $(tests)/bench/limits \
	    $(if $(bench_swift),$(bench_swift_bin) $(bench_executor_bin))
ifneq ($(bench_swift),)
	@for backend in epoll poll; do $(bench_executor_bin) crowd $$backend >/dev/null || exit 1; done
endif

include $(tests)/bench/async/rules.mk
