#!/usr/bin/env bash
# Measures pods and containers over CRI on a CNI bridge, this engine and containerd side by side in
# alternating rounds. Usage: cri.sh [DIRECTORY OF THE PROGRAMS] [ROUNDS] [FLAG OF isula-bench-cri ...]
set -euo pipefail
root=$(realpath "$(dirname "$0")/..")
bin=${1:-$root/target/x86_64-unknown-linux-musl/release}
rounds=${2:-2}
shift $(($# < 2 ? $# : 2))
"$root/tools/cri-setup.sh" containerd
cargo build --release --quiet --manifest-path "$root/Cargo.toml" -p isula-bench --bin isula-bench-cri
for round in $(seq "$rounds"); do
    for engine in isula containerd; do
        printf '== %s, round %s\n' "$engine" "$round"
        # shellcheck disable=SC2016
        "$root/tests/cri/world.sh" --engine "$engine" --bin "$bin" bash -c 'cd "$CRI_WORK"; exec "$0" --socket "$CRI_SOCKET" "$@"' \
            "$root/target/release/isula-bench-cri" --memory-of "$engine" "$@"
    done
done
