#!/usr/bin/env bash
# Boots a Debian with systemd as its first process under qemu into a pure cgroup-v2 system, with the
# engine as its packages install it and the systemd driver of control groups, and runs a scenario there.
# Usage: tests/systemd/run.sh [--critest FOCUS] DIRECTORY-OF-THE-STATIC-PROGRAMS
#
# With --critest it is Kubernetes' own tests of the CRI whose names match FOCUS. KEEP_CONSOLE=FILE keeps
# what the machine wrote.
set -euo pipefail
cd "$(dirname "$0")/../.."
focus=
if [ "$1" = --critest ]; then
    focus=$2
    shift 2
fi
bin=$1
tools=$PWD/target/tools
kernel=$(ls "$tools"/boot/vmlinuz-* | head -n 1)
tools/debian-root.sh
[ -z "$focus" ] || tests/cri/images.sh "$tools/cri"
work=$(mktemp -d /var/tmp/isula-systemd.XXXXXX)
trap 'rm -rf --one-file-system "$work"' EXIT

root=$work/root payload=$work/root/payload
mkdir -p "$root/bin" "$payload"/{usr/bin,etc/isulad,etc/systemd/system/{sockets,multi-user}.target.wants,root}
cp /bin/busybox "$root/bin/"
install -m 755 tests/systemd/init "$root/init"

# As dist/ is installed: the socket is listened to, the daemon comes with the first client.
for program in isula isulad isulad-shim; do cp "$bin/$program" "$payload/usr/bin/"; done
cp "$tools/go/bin/crictl" "$payload/usr/bin/"
units=$payload/etc/systemd/system
cp dist/isulad.service dist/isulad.socket "$units/"
ln -s ../isulad.socket "$units/sockets.target.wants/"
sed 's#/usr/bin/runc#/usr/sbin/runc#; 1a\    "systemd-cgroup": true,' dist/daemon.json >"$payload/etc/isulad/daemon.json"
printf 'runtime-endpoint: unix:///run/isulad/isulad.sock\ntimeout: 60\n' >"$payload/etc/crictl.yaml"
cat >"$units/scenario.service" <<'UNIT'
[Unit]
Description=The scenario of the test
[Service]
Type=oneshot
Environment=HOME=/root
ExecStart=/bin/bash /root/scenario.sh
ExecStopPost=/bin/sh -c 'echo SCENARIO ENDED WITH $EXIT_STATUS; systemctl poweroff --force --force'
StandardOutput=tty
StandardError=tty
TTYPath=/dev/ttyS0
TimeoutStartSec=infinity
UNIT
ln -s ../scenario.service "$units/multi-user.target.wants/"

disks=()
disk() { # NAME FILE
    disks+=(-drive "id=$1,file=$2,format=raw,if=none" -device "nvme,drive=$1,serial=$1")
}
disk root "$tools/debian/root.ext4"
processors=1 limit=900
if [ -n "$focus" ]; then
    processors=2 limit=5400
    cp tests/systemd/critest.sh "$payload/root/scenario.sh"
    printf '%s' "$focus" >"$payload/root/focus"
    # Every registry that the tests name is the one on loopback.
    registry=127.0.0.1:5000
    sed -i "s#\"insecure-registries\": \[\]#\"insecure-registries\": [\"$registry\"]#" "$payload/etc/isulad/daemon.json"
    for host in registry.k8s.io k8s.gcr.io gcr.io public.ecr.aws docker.io; do
        mkdir -p "$payload/etc/isulad/certs.d/$host"
        printf 'server = "http://%s"\n[host."http://%s"]\n  capabilities = ["pull", "resolve"]\n' "$registry" "$registry" \
            >"$payload/etc/isulad/certs.d/$host/hosts.toml"
    done
    mkdir -p "$payload/etc/cni/net.d" "$work/more"
    cat >"$payload/etc/cni/net.d/10-bridge.conflist" <<'JSON'
{"cniVersion": "1.0.0", "name": "pods", "plugins": [
  {"type": "bridge", "bridge": "cni0", "isGateway": true, "ipMasq": true, "hairpinMode": true,
   "ipam": {"type": "host-local", "ranges": [[{"subnet": "10.88.0.0/16"}]], "routes": [{"dst": "0.0.0.0/0"}]}},
  {"type": "portmap", "capabilities": {"portMappings": true}, "snat": true}
]}
JSON
    cp -r "$tools/cri/registry" "$tools/go/bin/critest" "$tools/usr/bin/docker-registry" tests/cri/registry.sh "$work/more/"
    truncate -s 512M "$work/more.ext4"
    mke2fs -q -t ext4 -O ^has_journal -m 0 -d "$work/more" "$work/more.ext4"
    rm -rf "$work/more"
    disk more "$work/more.ext4"
else
    cp tests/systemd/scenario.sh tests/systemd/checkpoint.sh "$payload/root/"
    cp "$bin/cri-call" "$payload/usr/bin/"
    tests/images/busybox.sh "$work/oci" >/dev/null
    skopeo copy --quiet "oci:$work/oci:latest" "docker-archive:$payload/root/image.tar:busybox:vm"
fi

(cd "$root" && find . | cpio --quiet -o -H newc) | gzip -1 >"$work/initramfs.gz"
rm -rf "$root"
# What is written goes to a file of this run alone.
TMPDIR=$work timeout "$limit" qemu-system-x86_64 -accel tcg -cpu max -m 1536 -smp "$processors" -nographic -no-reboot -snapshot \
    "${disks[@]}" -kernel "$kernel" -initrd "$work/initramfs.gz" -net none \
    -append 'console=ttyS0 quiet panic=-1 systemd.unified_cgroup_hierarchy=1 systemd.show_status=0 systemd.firstboot=0' \
    </dev/null >"$work/console" 2>&1 || true
[ -z "${KEEP_CONSOLE:-}" ] || cp "$work/console" "$KEEP_CONSOLE"
tests/vm/verdict.sh "$work/console"
