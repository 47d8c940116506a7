#!/usr/bin/env bash
# Makes the tar of a minimal Debian root file system in FILE (kept between runs).
set -euo pipefail
file=$1
[ -s "$file" ] && exit 0
mkdir -p "$(dirname "$file")"
mmdebstrap --quiet --variant=minbase --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-exclude=/usr/share/locale/*' \
    bookworm "$file.part.tar" >/dev/null
mv "$file.part.tar" "$file"
