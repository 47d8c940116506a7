#!/usr/bin/env bash
# The main job, seen: a daemon on roots of its own, an image from a registry on loopback, a container.
# Touches nothing of the host's configuration and cleans up behind itself.
# Usage: tools/demo.sh DIRECTORY-OF-THE-PROGRAMS
set -euo pipefail
cd "$(dirname "$0")/.."
bin=$(realpath "$1")
work=$(mktemp -d)
daemon= registry=
finish() {
    if [ -n "$daemon" ]; then
        isula ps -aq | while read -r id; do isula rm -f "$id" >/dev/null; done
        kill "$daemon" && wait "$daemon" || true
    fi
    [ -z "$registry" ] || { kill "$registry" && wait "$registry" 2>/dev/null; } || true
    find /sys/fs/cgroup -mindepth 1 -maxdepth 2 -type d -name "isula-demo-$$" -exec rmdir {} +
    rm -rf "$work"
}
trap finish EXIT
isula() { "$bin/isula" -H "unix://$work/isulad.sock" "$@"; }
show() {
    printf '\n$ isula %s\n' "$*"
    isula "$@"
}

if [ "$(id -u)" != 0 ]; then
    echo "the demo needs root, as every container engine with cgroups does" >&2
    exit 1
fi

# A registry, with an image made from Debian's busybox.
tests/images/busybox.sh "$work/image" >/dev/null
port=$((20000 + RANDOM % 20000))
cat >"$work/registry.yml" <<YAML
version: 0.1
log: {level: error}
storage: {filesystem: {rootdirectory: $work/registry}}
http: {addr: '127.0.0.1:$port'}
YAML
target/tools/usr/bin/docker-registry serve "$work/registry.yml" >/dev/null 2>&1 &
registry=$!
image=127.0.0.1:$port/demo/busybox:1
skopeo copy --quiet --retry-times 5 --dest-tls-verify=false "oci:$work/image:latest" "docker://$image"

# The daemon says READY=1 on its notification socket; here its socket file is enough of a sign.
echo '{}' >"$work/daemon.json"
"$bin/isulad" --config "$work/daemon.json" --graph "$work/data" --state "$work/state" \
    --pidfile "$work/pid" -H "unix://$work/isulad.sock" --shim "$bin/isulad-shim" --log-level warn \
    --cgroup-parent "/isula-demo-$$" &
daemon=$!
until isula version >/dev/null 2>&1; do
    kill -0 "$daemon"
    sleep 0.05
done

show run --rm "$image" echo "hello from a container"
show run -d --name web -m 64m --pids-limit 20 "$image" sh -c 'while true; do date; sleep 1; done'
show ps
show exec web sh -c 'hostname; id; cat /proc/1/comm'
show logs web
show stop -t 1 web
show rm web
show rmi "$image"
