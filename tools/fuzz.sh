#!/usr/bin/env bash
# Fuzzes the parsers of what strangers write: each target of fuzz/ for some time, with what is kept in fuzz/corpus and
# with what earlier runs found (target/fuzz). Ends at the first input that breaks a promise, which it names.
#
# Usage: tools/fuzz.sh [SECONDS [TARGET ...]]     ten minutes for each of all targets, if nothing is said
#        tools/fuzz.sh keep                       makes fuzz/corpus a small part of all that reaches most
#
# It needs a nightly compiler and cargo-fuzz: rustup toolchain install nightly && cargo install cargo-fuzz
set -euo pipefail
cd "$(dirname "$0")/.."
what=${1:-600}
shift || true
[ $# -gt 0 ] || set -- reference documents challenge unpack archive
cargo +nightly fuzz build --release
for target in "$@"; do
    found=$PWD/target/fuzz/$target kept=$PWD/fuzz/corpus/$target
    program=fuzz/target/$(rustc -vV | sed -n 's/^host: //p')/release/$target
    mkdir -p "$found"
    export ASAN_OPTIONS=detect_odr_violation=0
    if [ "$what" = keep ]; then
        # Larger and more inputs reach little more and would weigh on the repository. What has a name was put there
        # by a person and stays.
        fresh=$(mktemp -d)
        "$program" -set_cover_merge=1 -max_len=1536 "$fresh" "$kept" "$found" 2>/dev/null
        find "$kept" -type f -regextype egrep -regex '.*/[0-9a-f]{40}' -delete
        find "$fresh" -type f -printf '%s %p\n' | sort -n | head -n 120 | cut -d ' ' -f 2- | xargs -r cp -t "$kept"
        rm -rf "$fresh"
        echo "$target: $(find "$kept" -type f | wc -l) files, $(du -sb "$kept" | cut -f 1) bytes"
    else
        echo "$target for $what seconds"
        "$program" -max_total_time="$what" -rss_limit_mb=2048 -timeout=60 -max_len=65536 -print_final_stats=1 \
            -artifact_prefix="$found-" "$found" "$kept" 2>&1 | grep --text -vE '^#|^"|NEW_FUNC'
    fi
done
