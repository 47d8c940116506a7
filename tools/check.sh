#!/usr/bin/env bash
# What machines check: formatting, lints, documentation, licences, the limits of the code's shape.
set -euo pipefail
cd "$(dirname "$0")/.."
cargo fmt --all --check
cargo xtask tidy
cargo clippy --quiet --workspace --all-targets --all-features -- -D warnings
RUSTDOCFLAGS='-D warnings' cargo doc --quiet --workspace --no-deps --document-private-items
cargo deny --log-level error check licenses bans sources
