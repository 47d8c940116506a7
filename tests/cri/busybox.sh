#!/usr/bin/env bash
# Builds busybox from Debian's source in FILE: every applet, static, and a shell that runs the program
# of that name instead of its own applet (tests replace programs). Kept between runs.
set -euo pipefail
file=$1
[ -x "$file" ] && exit 0
mkdir -p "$(dirname "$file")"
file=$(realpath "$(dirname "$file")")/$(basename "$file")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
. /etc/os-release
mkdir -p "$work/lists/partial" "$work/source"
printf 'deb-src [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] http://deb.debian.org/debian %s main\n' \
    "$VERSION_CODENAME" >"$work/sources.list"
options=(-qq -o "Dir::Etc::SourceList=$work/sources.list" -o Dir::Etc::SourceParts=- -o "Dir::State::lists=$work/lists"
    -o APT::Sandbox::User=root)
apt-get "${options[@]}" update >/dev/null
(
    cd "$work/source"
    apt-get "${options[@]}" source --download-only busybox >/dev/null
    tar -xf busybox_*.orig.tar.*
    cd busybox-*/
    make -s defconfig >/dev/null 2>&1
    # tc does not compile with newer kernel headers.
    sed -i -e 's/^# CONFIG_STATIC is not set/CONFIG_STATIC=y/' -e 's/^CONFIG_TC=y/# CONFIG_TC is not set/' \
        -e 's/^CONFIG_FEATURE_SH_STANDALONE=y/# CONFIG_FEATURE_SH_STANDALONE is not set/' .config
    yes '' | make -s oldconfig >/dev/null 2>&1 || true
    make -s -j "$(nproc)" busybox >"$work/log" 2>&1 || { tail -n 20 "$work/log" >&2; exit 1; }
    cp busybox "$file.new"
)
mv "$file.new" "$file"
