#!/usr/bin/env bash
# What a test could leave behind on this machine, one thing a line: mounts, control groups, named network
# namespaces, network devices, processes of ours, files outside the repository.
set -euo pipefail
awk '{ print "mount", $5 }' /proc/self/mountinfo
find /sys/fs/cgroup -mindepth 1 -maxdepth 5 -type d -name '*isula*' -printf 'cgroup %p\n'
find /run/netns -mindepth 1 -printf 'namespace %p\n' 2>/dev/null || true
find /sys/class/net -mindepth 1 -maxdepth 1 -printf 'device %f\n'
# Not those that have ended and are the system's init to reap.
ps -eo pid=,stat=,comm= | awk '$2 !~ /^Z/ && $3 ~ /^(isula|isulad|isulad-shim|isulad-template|lcr|runc|docker-registry|qemu-system-x86.*)$/ { print "process", $3, $1 }'
find /tmp /var/tmp -mindepth 1 -maxdepth 1 \( -name '*isula*' -o -name '.tmp*' \) -printf 'file %p\n'
for path in /run/isulad /var/lib/isulad /var/lib/cni /run/cni; do
    [ ! -e "$path" ] || echo "file $path"
done
