#!/usr/bin/env bash
# Every test, in the order in which a failure is cheapest to understand. Run by `make test`.
set -euo pipefail
cd "$(dirname "$0")/.."
target=x86_64-unknown-linux-musl
export PATH=$PWD/target/tools/usr/bin:$PATH
step() { printf '\n== %s\n' "$*"; }
before=$(tools/census.sh | sort -u)

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
step "Kubernetes' tests of the CRI, and a tour of crictl"
tests/cri/critest.sh "target/$target/release"
tests/cri/crictl.sh "target/$target/release"
step "the examples of the documentation, and Docker beside us"
tests/interop/world.sh "target/$target/release" tests/interop/documentation.sh
tests/interop/world.sh "target/$target/release" tests/interop/docker.sh
step "static programs for aarch64, started once under qemu-user"
tools/aarch64.sh
step "pure cgroup v2 and project quotas in a virtual machine"
tests/vm/run.sh "target/$target/release"
step "systemd's control groups, and checkpoints by CRIU, in a virtual machine"
cargo build --release --quiet --target "$target" -p isula-tests --bin cri-call
tests/systemd/run.sh "target/$target/release"
step "nothing is left behind"
# The engine keeps its parent control group, as engines do; an empty one is no test's business any more.
find /sys/fs/cgroup -mindepth 2 -maxdepth 2 -type d -name isulad -exec rmdir --ignore-fail-on-non-empty {} + 2>/dev/null || true
left=$(comm -13 <(echo "$before") <(tools/census.sh | sort -u))
if [ -n "$left" ]; then
    printf 'left behind:\n%s\n' "$left" >&2
    exit 1
fi
