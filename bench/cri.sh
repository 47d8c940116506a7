#!/usr/bin/env bash
# Measures pods and containers over CRI on a CNI bridge, this engine and containerd side by side in
# alternating rounds; target/bench/cri.md has the table.
# Usage: cri.sh [DIRECTORY OF THE PROGRAMS] [ROUNDS] [FLAG OF isula-bench-cri ...]
set -euo pipefail
root=$(realpath "$(dirname "$0")/..")
bin=${1:-$root/target/x86_64-unknown-linux-musl/release}
rounds=${2:-3}
shift $(($# < 2 ? $# : 2))
"$root/tools/cri-setup.sh" containerd
cargo build --release --quiet --manifest-path "$root/Cargo.toml" -p isula-bench --bin isula-bench-cri
bench=$root/target/release/isula-bench-cri
runs=$root/target/bench/cri
rm -rf "$runs"
mkdir -p "$runs"
for round in $(seq "$rounds"); do
    for engine in isula containerd; do
        # What a helper of theirs is called begins as the daemon's name does.
        program=isulad
        [ "$engine" = isula ] || program="containerd --memory-of pause"
        # shellcheck disable=SC2016,SC2086
        "$root/tests/cri/world.sh" --engine "$engine" --bin "$bin" bash -c 'cd "$CRI_WORK"; exec "$0" --socket "$CRI_SOCKET" "$@"' \
            "$bench" --memory-of $program "$@" >"$runs/$engine-$round.json"
    done
done
"$bench" --table "$runs"/*.json | tee "$root/target/bench/cri.md"
