# Everything a person or a machine does with this repository.
#
#   make demo    sets up, builds, and runs a container from an image of a registry
#   make test    sets up, builds, and passes every test
#   make check   formatting, lints, documentation, licences, and the limits of the code's shape
#   make bench   measures the engine beside Docker, Podman, containerd, LXC, crun and runc, and beside
#                the kernel's own floor: everything, or `make bench-single`, `-crowd`, `-floor`, `-scale`,
#                `-images`, `-daemon`, `-counts`, `-sizes`, `-peers` (the first three), or what
#                `make bench ARGS='single --only isula,runc --quick'` asks for; `make bench-docs` writes docs/bench
#   make critest, make crictl, make kubelet
#                the tests of Kubernetes' own against the CRI socket
#   make interop
#                Docker beside us: each loads and imports what the other saves and exports
#   make fuzz    ten minutes for each target of fuzz/ (needs a nightly compiler and cargo-fuzz)
#   make systemd the systemd driver of control groups, and checkpoints, on a Debian with systemd in a virtual machine
#   make systemd-critest
#                Kubernetes' conformance tests of the CRI there (some 10 minutes)
#   make bench-cri
#                measures pods beside containerd

TARGET := x86_64-unknown-linux-musl
BIN := target/$(TARGET)/release
RUN_BENCH := ISULA_BIN_DIR=$(CURDIR)/$(BIN) target/release/isula-bench
export PATH := $(HOME)/.cargo/bin:$(PATH)

.PHONY: build demo test check clean critest crictl kubelet interop fuzz systemd systemd-critest bench bench-cri bench-build bench-quick bench-docs bench-peers bench-single \
	bench-crowd bench-floor bench-scale bench-images bench-daemon bench-counts bench-sizes

build:
	tools/setup.sh build
	cargo build --release --quiet --target $(TARGET) -p isula -p isulad -p isulad-shim -p lcr

demo: build
	tools/setup.sh demo
	tools/demo.sh $(BIN)

test:
	tools/setup.sh test
	tools/test.sh

check:
	tools/setup.sh test
	tools/check.sh

bench: bench-build
	$(RUN_BENCH) $(ARGS)

bench-quick: bench-build
	$(RUN_BENCH) --quick $(ARGS)

bench-docs: bench-build
	$(RUN_BENCH) --docs $(ARGS)

bench-peers: bench-build
	$(RUN_BENCH) single crowd floor $(ARGS)

bench-single bench-crowd bench-floor bench-scale bench-images bench-daemon bench-counts bench-sizes: bench-build
	$(RUN_BENCH) $(patsubst bench-%,%,$@) $(ARGS)

bench-build: build
	tools/setup.sh bench
	cargo build --release --quiet --target $(TARGET) -p isula-floor
	cargo build --release --quiet -p isula-bench

critest: build
	tools/setup.sh test
	tests/cri/critest.sh $(BIN)
	tests/cri/critest.sh --websocket $(BIN) -- -ginkgo.focus=Streaming

crictl: build
	tools/setup.sh test
	tests/cri/crictl.sh $(BIN)

systemd: build
	tools/setup.sh test
	cargo build --release --quiet --target $(TARGET) -p isula-tests --bin cri-call
	tests/systemd/run.sh $(BIN)

systemd-critest: build
	tools/setup.sh test
	tests/systemd/run.sh --critest '\[Conformance\]' $(BIN)

kubelet: build
	tools/setup.sh test
	tools/cri-setup.sh kubelet
	tests/cri/kubelet.sh $(BIN)

interop: build
	tools/setup.sh test
	tests/interop/world.sh $(BIN) tests/interop/documentation.sh
	tests/interop/world.sh $(BIN) tests/interop/docker.sh

fuzz:
	tools/fuzz.sh

bench-cri: build
	tools/setup.sh test
	bench/cri.sh $(BIN)

clean:
	cargo clean
