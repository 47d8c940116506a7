#!/usr/bin/env bash
# Cross-builds the programs for aarch64 and starts each once under qemu-user.
set -euo pipefail
cd "$(dirname "$0")/.."
target=aarch64-unknown-linux-musl
cargo build --release --quiet --target "$target" -p isula -p isulad -p isulad-shim -p lcr
for program in isula isulad lcr isulad-shim; do
    file=target/$target/release/$program
    qemu-aarch64-static "$file" --version
    # A program interpreter would mean that it is not static.
    if readelf -lW "$file" | grep -q INTERP; then
        echo "$program is not static" >&2
        exit 1
    fi
done
