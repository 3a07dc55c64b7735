# Builds and runs the C tests. Included by the Makefile of examples-c, which lists the targets, and
# run in that folder.

STRESS ?= --seconds 5
FORKS ?= 1000
FUZZ_SECONDS ?= 60
FUZZ_CC ?= clang
FUZZ_BUILD ?= $(CURDIR)/../.build-fuzz

tests := ../Tests/C
c_tests := conformance kinds plugins_test allocations timers_test
fuzz_targets := backend_list calls
replays := $(addprefix $(BUILD)/replay_,$(fuzz_targets))

.PHONY: check programs bench bench-async instructions pool faults model stress forks handover \
    handover-memory handover-valgrind emulated emulated_library emulated-swift emulated-faults fuzz fuzz-library

all: $(addprefix $(BUILD)/,stress crowd $(c_tests)) $(replays)

# The sources and headers in a folder here.
sources = $(wildcard $(tests)/$(1)/*.[ch])

$(BUILD)/conformance: $(call sources,conformance)
$(BUILD)/kinds: $(call sources,kinds) \
    $(filter %.h %/main.c %/harness.c %/helpers.c,$(call sources,conformance))
$(BUILD)/model: $(call sources,model)
$(BUILD)/stress: $(call sources,stress)
$(BUILD)/allocations: $(tests)/allocations.c
$(BUILD)/timers_test: $(tests)/timers_test.c timers.h
$(BUILD)/steps_test: $(tests)/steps_test.c
$(BUILD)/faults: $(call sources,faults) $(filter-out %/main.c,$(call sources,conformance)) \
    $(BUILD)/documented.h | $(BUILD)/plugins/wrong.so
$(BUILD)/faults: private our_cflags += -I$(BUILD)
$(BUILD)/plugins_test: $(call sources,plugins) ../include/selectors_plugin.h \
    $(filter %.h %/harness.c %/helpers.c %/waiters.c,$(call sources,conformance)) | plugins $(BUILD)/plugins/wrong.so
$(replays): $(BUILD)/replay_%: $(tests)/fuzz/%.c $(tests)/fuzz/replay.c $(tests)/fuzz/target.h

$(addprefix $(BUILD)/,conformance kinds model stress allocations timers_test steps_test faults plugins_test) \
    $(replays): \
    ../include/selectors.h $(BUILD)/flags | library
	$(link)

$(BUILD)/plugins/wrong.so: $(tests)/plugins/plugin/wrong.c $(wildcard ../include/*.h) $(BUILD)/flags
	@mkdir -p $(@D)
	$(link_plugin)

# The peers of the programs know nothing of the library.
$(BUILD)/crowd: $(tests)/programs/crowd.c $(BUILD)/flags
	$(CC) $(our_cflags) $(CPPFLAGS) $(CFLAGS) -o $@ $< $(LDFLAGS) $(LDLIBS)

# A module with the archive in it, which is built here alone, and who loads and unloads it.
$(BUILD)/module.so: $(tests)/unload/module.c ../include/selectors.h $(BUILD)/flags | library
	$(CC) $(our_cflags) $(CPPFLAGS) $(CFLAGS) -fPIC -shared -o $@ $< "$(libdir)/libselectors.a" $(LDFLAGS)

$(BUILD)/unload: $(tests)/unload/main.c $(BUILD)/flags
	$(CC) $(our_cflags) $(CPPFLAGS) $(CFLAGS) -o $@ $< $(LDFLAGS) -ldl -pthread $(LDLIBS)

# Which errors the headers tell of, function by function.
$(BUILD)/documented.h: $(tests)/faults/documented.awk ../include/selectors.h ../include/selectors_plugin.h
	@mkdir -p $(@D)
	awk -f $(tests)/faults/documented.awk $(filter %.h,$^) >$@

# The example in the plug-in header's first comment.
$(BUILD)/mine.so: ../include/selectors_plugin.h $(BUILD)/flags
	sed -n '/^ \*     #define _GNU_SOURCE/,/^ \* SPDX/{ s/^ \*     //p; s/^ \*$$//p; }' $< >$(BUILD)/mine.c
	$(CC) $(our_cflags) -Werror $(CPPFLAGS) $(CFLAGS) -fPIC -shared -o $@ $(BUILD)/mine.c $(LDFLAGS)

# All tests run, even after one that failed.
check: all $(BUILD)/mine.so $(if $(only),$(BUILD)/module.so $(BUILD)/unload $(BUILD)/steps_test)
	@status=0; \
	for test in $(c_tests); do \
	    echo "# $$test"; \
	    $(bin)/$$test || { status=1; echo "# $$test has failed" >&2; }; \
	done; \
	echo "# conformance of a plug-in"; \
	SELECTORS_PLUGINS=$(bin)/mine.so $(bin)/conformance mine || \
	    { status=1; echo "# conformance of a plug-in has failed" >&2; }; \
	for target in $(fuzz_targets); do \
	    echo "# replay_$$target"; \
	    $(bin)/replay_$$target $(tests)/fuzz/corpus/$$target/* || \
	        { status=1; echo "# replay_$$target has failed" >&2; }; \
	done; \
	if [ -n "$(only)" ]; then \
	    echo "# steps_test"; \
	    $(bin)/steps_test || { status=1; echo "# steps_test has failed" >&2; }; \
	    echo "# unload"; \
	    $(bin)/unload $(bin)/module.so || { status=1; echo "# unload has failed" >&2; }; \
	    echo "# what the library makes when it is first used: nothing"; \
	    nm "$(libdir)/libselectors.so" | grep swift_once >&2 && status=1; \
	fi; \
	echo "# header_test.sh"; \
	sh $(tests)/header_test.sh ../include "$(libdir)/libselectors.so" $(only) || \
	    { status=1; echo "# header_test.sh has failed" >&2; }; \
	if [ -n "$(only)" ]; then \
	    echo "# what the library needs besides libc, libm and the dynamic linker: nothing"; \
	    ldd "$(libdir)/libselectors.so" | awk '{ sub(".*/", "", $$1); print $$1 }' | \
	        grep -v -E '^(linux-vdso|libc|libm|ld-linux.*)\.so\.[0-9]+$$' >&2 && status=1; \
	fi; \
	exit $$status

programs: all
	@sh $(tests)/programs_test.sh $(bin)

faults: $(BUILD)/faults
	@$(bin)/faults

model: $(BUILD)/model
	@$(bin)/model

gate:
	@CC="$(CC)" sh $(tests)/gate/check.sh

stress: $(BUILD)/stress
	@$(bin)/stress $(STRESS)

# A program with a sanitizer in it over the library without: of threads, or, by clang alone, of memory.
$(BUILD)/handover $(BUILD)/handover_memory: \
    $(tests)/sanitizer/handover.c ../include/selectors.h $(BUILD)/flags | library
	@mkdir -p $(@D)
	$(link) -fsanitize=$(if $(filter %_memory,$@),memory,thread)

# The same program without, for valgrind's tools.
$(BUILD)/handover_plain: $(tests)/sanitizer/handover.c ../include/selectors.h $(BUILD)/flags | library
	@mkdir -p $(@D)
	$(link)

handover-valgrind: $(BUILD)/handover_plain
	@for tool in helgrind drd; do \
	    for backend in epoll poll select; do \
	        valgrind -q --tool=$$tool --error-exitcode=9 \
	            --suppressions=../Sources/packaging/selectors.supp $(bin)/handover_plain $$backend && \
	            echo "handover: $$tool: $$backend: no report" || exit 1; \
	    done; \
	done

handover: $(BUILD)/handover
handover-memory: $(BUILD)/handover_memory
handover handover-memory:
	@for backend in epoll poll select; do \
	    $^ $$backend && echo "$@: $$backend: no report" || exit 1; \
	done

# The library over kqueue(2) and /dev/poll as ../Tests/C/emulation has them: a build of its own.
emulated := $(CURDIR)/../.build-emulated
emulated_library:
	@mkdir -p "$(emulated)"
	$(CC) $(our_cflags) $(CFLAGS) -Werror -fPIC -shared -pthread -o "$(emulated)/libemulation.so" \
	    $(tests)/emulation/kqueue.c $(tests)/emulation/devpoll.c
	@$(MAKE) -s -C .. library build=.build-emulated SWIFTFLAGS='-Xcc -DSELECTORS_EMULATED' \
	    LDFLAGS='-L.build-emulated -Wl,--no-as-needed -lemulation'

$(BUILD)/kqueue_test: $(wildcard $(tests)/emulation/kqueue*) $(BUILD)/flags
	$(CC) $(our_cflags) -Werror $(CPPFLAGS) $(CFLAGS) -o $@ $(filter %.c,$(filter-out %/kqueue.c,$^)) $(LDFLAGS) \
	    -Wl,-rpath,"$(emulated)"

emulated: emulated_library
	@$(MAKE) -s SELECTORS_LIBDIR="$(emulated)" BUILD=build-emulated \
	    LDFLAGS='-L$(emulated) -lemulation' \
	    $(addprefix build-emulated/,kqueue_test conformance stress model)
	@sh $(tests)/emulation/run.sh build-emulated

# The tests in Swift over these, without those of what Linux lists.
emulated-swift: emulated_library
	@cd .. && LD_LIBRARY_PATH="$(emulated)" $(SWIFT) test --scratch-path .build-emulated-swift \
	    -Xcc -DSELECTORS_EMULATED -Xlinker -L"$(emulated)" -Xlinker --no-as-needed \
	    -Xlinker -lemulation --skip CrossLanguage --skip RegistryTests --skip EnvironmentTests \
	    --skip theSelectorsOfOtherSystems --skip aBackendPrintsWhyItCannotBeUsed

# Whether these tests see faults of the kqueue backend: a build for each.
emulated-faults:
	@sh $(tests)/emulation/faults.sh

forks: $(BUILD)/stress
	@$(bin)/stress --forks $(FORKS)

fuzz: $(addprefix fuzz-,$(fuzz_targets))

# Finds are left in $(BUILD); what reaches new code, below $(BUILD)/fuzz. Swift's backtracer would get
# in the way of the fuzzer.
fuzz-backend_list fuzz-calls: fuzz-%: $(BUILD)/fuzz_%
	@mkdir -p $(BUILD)/fuzz/$*
	SWIFT_BACKTRACE=enable=no $(bin)/fuzz_$* -max_total_time=$(FUZZ_SECONDS) -max_len=400 -verbosity=0 \
	    -timeout=10 -artifact_prefix=$(BUILD)/$*- $(FUZZ) $(BUILD)/fuzz/$* \
	    $(tests)/fuzz/corpus/$*

$(BUILD)/fuzz_%: $(tests)/fuzz/%.c $(tests)/fuzz/target.h fuzz-library
	$(FUZZ_CC) $(our_cflags) -O1 -g -fsanitize=fuzzer,address -fuse-ld=lld -o $@ $< \
	    -L"$(FUZZ_BUILD)/debug" -Wl,-rpath,"$(FUZZ_BUILD)/debug" -lselectors

# The library with the fuzzer's eyes in it, and the address sanitizer's. The frontend alone is told,
# for the fuzzer's main function is none of the library's.
fuzz-library:
	@mkdir -p $(BUILD)
	@echo 'int LLVMFuzzerTestOneInput(void) { return 0; }' | \
	    $(FUZZ_CC) -x c -fsanitize=fuzzer,address -o $(BUILD)/probe - 2>/dev/null || \
	    { echo "$(FUZZ_CC) has no libFuzzer; Swift's has, FUZZ_CC=... tells where" >&2; exit 1; }
	$(SWIFT) build --package-path .. --scratch-path "$(FUZZ_BUILD)" --product selectors \
	    --sanitize=address -Xswiftc -Xfrontend -Xswiftc -sanitize=address,fuzzer

include $(tests)/bench/rules.mk
