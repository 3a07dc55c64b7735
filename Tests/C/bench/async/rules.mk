# Builds and runs the comparison of echo servers. Included by ../rules.mk.
#
# SwiftNIO is fetched for it. tokio takes part where cargo can build it: from crates.io, or offline
# from what Debian has installed (librust-tokio-dev).

async := $(tests)/bench/async
async_build := $(CURDIR)/../.build-bench-async
async_server := $(async_build)/release/async-server
tokio_build := $(BUILD)/bench/tokio

# NAME: COMMAND, what the ratios are to first.
async_contestants = \
    'C sel_select: $(1) $(bin)/echo_server 0' \
    'Swift select: $(1) $(async_server) select' \
    'executor tasks: $(1) $(async_server) tasks' \
    'executor actor: $(1) $(async_server) actor' \
    'continuations: $(1) $(async_server) continuations' \
    'NIO handlers: $(1) $(async_server) handlers' \
    'NIOAsyncChannel: $(1) $(async_server) channel' \
    'NIOAsyncChannel hook: $(1) $(async_server) channel-hooked' \
    'DispatchSource: $(1) $(async_server) dispatch' \
    $(shell test -x $(tokio_build)/release/tokio-server && \
        echo "'tokio: $(1) $(bin)/bench/tokio/release/tokio-server'")

$(bench_bin)/client: $(async)/client.c $(BUILD)/flags
	@mkdir -p $(bench_bin)
	$(CC) $(our_cflags) $(CPPFLAGS) $(CFLAGS) -o $@ $< $(LDFLAGS) $(LDLIBS)

.PHONY: async-server tokio-server
async-server:
	@mkdir -p "$(bench_swift_build)"
	@ln -sfn .. "$(bench_swift_build)/swift-selectors"
	@$(SWIFT) build -c release --package-path $(async) --scratch-path "$(async_build)" >&2

# cargo writes beside its sources, so they are copied.
tokio_crates := /usr/share/cargo/registry
tokio_source := $(if $(wildcard $(tokio_crates)/tokio-*),--offline \
    --config 'source.crates-io.replace-with="debian"' \
    --config 'source.debian.directory="$(tokio_crates)"')
tokio-server:
	@mkdir -p $(tokio_build)
	@rm -f $(tokio_build)/release/tokio-server
	@cp $(async)/tokio/* $(tokio_build)
	@if ! command -v cargo >/dev/null; then \
	    echo "bench-async: no tokio, for there is no cargo" >&2; \
	elif ! CARGO_NET_RETRY=0 cargo build -q --release --target-dir $(tokio_build) \
	    --manifest-path $(tokio_build)/Cargo.toml $(tokio_source); then \
	    echo "bench-async: no tokio, for cargo cannot build it" >&2; \
	fi

bench-async: $(BUILD)/echo_server $(bench_bin)/driver $(bench_bin)/client async-server tokio-server
	@mkdir -p $(bench_results)
	@sh $(tests)/bench/bench.sh $(if $(QUICK),async-quick,async) $(bin)/bench/driver $(bench_results) \
	    $(call async_contestants,$(bin)/bench/client)
