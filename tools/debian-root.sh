#!/usr/bin/env bash
# Makes a Debian with systemd as its first process, as a disk image for the virtual machines of
# tests/systemd: target/tools/debian/root.ext4. Kept between runs, made anew when this script changes.
set -euo pipefail
cd "$(dirname "$0")/.."
tools=$PWD/target/tools
out=$tools/debian
stamp=$out/$(sha256sum "tools/debian-root.sh" | cut -c 1-16)
[ -e "$stamp" ] && exit 0
release=$(basename "$tools"/lib/modules/*)
rm -rf "$out"
mkdir -p "$out"
work=$(mktemp -d /var/tmp/debian-root.XXXXXX)
trap 'rm -rf --one-file-system "$work"' EXIT

printf 'setup: making a Debian with systemd\n' >&2
. /etc/os-release
mmdebstrap --quiet --variant=essential --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-exclude=/usr/share/locale/*' \
    --dpkgopt='path-exclude=/usr/share/man/*' --include=systemd-sysv,dbus,kmod,iproute2,procps,runc,criu \
    "$VERSION_CODENAME" "$work/root.tar" >/dev/null
mkdir "$work/root"
tar -C "$work/root" --exclude='./dev/*' -xf "$work/root.tar"
root=$work/root
mkdir -p "$root/lib/modules"
cp -a "$tools/lib/modules/$release" "$root/lib/modules/"
chroot "$root" depmod "$release"

# It starts what the tests are about and nothing else: no consoles, no timers, no network.
: >"$root/etc/machine-id"
printf 'debian\n' >"$root/etc/hostname"
: >"$root/etc/fstab"
chroot "$root" groupadd --system isula
for unit in getty.target serial-getty@.service getty@.service e2scrub_reap.service systemd-timesyncd.service \
    systemd-update-utmp.service systemd-random-seed.service systemd-pstore.service timers.target \
    systemd-logind.service systemd-udevd.service systemd-udev-trigger.service; do
    ln -sf /dev/null "$root/etc/systemd/system/$unit"
done
truncate -s 1536M "$out/root.part"
mke2fs -q -t ext4 -O ^has_journal -m 0 -d "$root" "$out/root.part"
mv "$out/root.part" "$out/root.ext4"
touch "$stamp"
