#!/usr/bin/env bash
# The image that is pulled by digest only. It holds one file, so its digest is the same everywhere.
# Usage: digest-image.sh [LAYOUT TAG]: prints the digest, and adds the image to an OCI image layout.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir "$work/root"
printf 'pulled by digest\n' >"$work/root/file"
chmod 0755 "$work/root"
chmod 0644 "$work/root/file"
chown -R 0:0 "$work/root"
"$(dirname "$0")/layout.sh" "${1:-$work/layout}" "${2:-digest}" "$work/root"
