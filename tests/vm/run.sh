#!/usr/bin/env bash
# Boots Debian's cloud kernel under qemu into a pure cgroup-v2 system with disks that know project quotas, and runs
# scenario.sh there.
# Usage: tests/vm/run.sh DIRECTORY-OF-THE-STATIC-PROGRAMS
set -euo pipefail
cd "$(dirname "$0")/../.."
bin=$1
tools=target/tools
kernel=$(ls "$tools"/boot/vmlinuz-* | head -n 1)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

root=$work/root
mkdir -p "$root"/bin "$root"/etc
cp /bin/busybox "$root/bin/"
for program in isula isulad isulad-shim; do cp "$bin/$program" "$root/bin/"; done
mkdir "$root/modules"
# In the order in which they need each other.
number=0
for module in overlay quota_tree quota_v2 libcrc32c xfs; do
    number=$((number + 1))
    find "$tools/lib/modules" -name "$module.ko" -exec cp {} "$root/modules/$number-$module.ko" \;
done
cp tests/vm/scenario.sh "$root/"
install -m 755 tests/vm/init "$root/init"
printf 'root:x:0:0:root:/:/bin/sh\n' >"$root/etc/passwd"

# The image: busybox alone, as an OCI archive that skopeo turns into a docker-archive.
tests/images/busybox.sh "$work/oci" >/dev/null
skopeo copy --quiet "oci:$work/oci:latest" "docker-archive:$root/image.tar:busybox:vm"

# Two disks whose file systems know project quotas.
truncate -s 128M "$work/ext4"
mkfs.ext4 -q -O quota,project -E quotatype=prjquota "$work/ext4"
truncate -s 320M "$work/xfs"
mkfs.xfs -q "$work/xfs"

(cd "$root" && find . | cpio --quiet -o -H newc) | gzip -1 >"$work/initramfs.gz"
timeout 600 qemu-system-x86_64 -accel tcg -cpu max -m 1024 -smp 1 -nographic -no-reboot \
    -kernel "$kernel" -initrd "$work/initramfs.gz" -net none \
    -drive "file=$work/ext4,if=none,id=ext4,format=raw" -device nvme,serial=ext4,drive=ext4 \
    -drive "file=$work/xfs,if=none,id=xfs,format=raw" -device nvme,serial=xfs,drive=xfs \
    -append 'console=ttyS0 quiet panic=-1 systemd.unified_cgroup_hierarchy=1' \
    </dev/null >"$work/console" 2>&1 || true
tests/vm/verdict.sh "$work/console"
