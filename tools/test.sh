#!/usr/bin/env bash
# Every test, in the order in which a failure is cheapest to understand. Run by `make test`.
set -euo pipefail
cd "$(dirname "$0")/.."
target=x86_64-unknown-linux-musl
export PATH=$PWD/target/tools/usr/bin:$PATH
step() { printf '\n== %s\n' "$*"; }

step "formatting, lints, documentation, licences, shape"
tools/check.sh
step "static programs for x86-64"
cargo build --release --quiet --target "$target" -p isula -p isulad -p isulad-shim -p lcr
step "unit and integration tests"
ISULA_BIN_DIR=$PWD/target/$target/release cargo test --quiet --workspace --exclude isula-tests
cargo test --quiet -p isula-tests --lib
step "end-to-end tests"
ISULA_BIN_DIR=$PWD/target/$target/release cargo test --quiet -p isula-tests --test e2e
step "the gate: counts, memory, sizes"
ISULA_BIN_DIR=$PWD/target/$target/release cargo test --quiet -p isula-tests --test gate
step "crash tests (fault points compiled in)"
cargo build --quiet -p isulad --features testing
cp target/debug/isulad target/isulad-testing
ISULA_BIN_DIR=$PWD/target/$target/release ISULAD_TESTING=$PWD/target/isulad-testing \
    cargo test --quiet -p isula-tests --test crash
step "static programs for aarch64, started once under qemu-user"
tools/aarch64.sh
step "pure cgroup v2 in a virtual machine"
tests/vm/run.sh "target/$target/release"
