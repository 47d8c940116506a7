# Everything a person or a machine does with this repository.
#
#   make demo    sets up, builds, and runs a container from an image of a registry
#   make test    sets up, builds, and passes every test
#   make check   formatting, lints, documentation, licences, and the limits of the code's shape
#   make bench   measures the engine beside runc
#   make critest, make crictl, make kubelet
#                the tests of Kubernetes' own against the CRI socket
#   make bench-cri
#                measures pods beside containerd

TARGET := x86_64-unknown-linux-musl
BIN := target/$(TARGET)/release
export PATH := $(HOME)/.cargo/bin:$(PATH)

.PHONY: build demo test unit e2e vm aarch64 check bench critest crictl kubelet bench-cri clean

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

bench: build
	tools/setup.sh test
	ISULA_BIN_DIR=$(CURDIR)/$(BIN) cargo run --release --quiet -p isula-bench

critest: build
	tools/setup.sh test
	tests/cri/critest.sh $(BIN)
	tests/cri/critest.sh --websocket $(BIN) -- -ginkgo.focus=Streaming

crictl: build
	tools/setup.sh test
	tests/cri/crictl.sh $(BIN)

kubelet: build
	tools/setup.sh test
	tools/cri-setup.sh kubelet
	tests/cri/kubelet.sh $(BIN)

bench-cri: build
	tools/setup.sh test
	bench/cri.sh $(BIN)

clean:
	cargo clean
