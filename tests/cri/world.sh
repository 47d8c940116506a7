#!/usr/bin/env bash
# Runs a command in a private world with a CRI engine and a registry that has every test image: own
# mount, network, pid and cgroup namespaces, own /etc, /run and /var/lib/cni. Nothing of it is left
# afterwards, whatever happens.
#
# Usage: world.sh [--engine isula|containerd] [--bin DIRECTORY] COMMAND ...
#
# The command finds the socket in $CRI_SOCKET, the logs and its own files in $CRI_WORK, crictl and the
# others on its PATH. --bin is where isulad and isulad-shim are (target/x86_64-unknown-linux-musl/release).
set -euo pipefail
here=$(dirname "$(realpath "$0")")
root=$(realpath "$here/../..")

engine=isula
bin=$root/target/x86_64-unknown-linux-musl/release
inside=
while [ $# -gt 0 ]; do
    case $1 in
        --engine) engine=$2; shift 2 ;;
        --bin) bin=$(realpath -m "$2"); shift 2 ;;
        --inside) inside=1; shift ;;
        *) break ;;
    esac
done
[ $# -gt 0 ] || { sed -n '2,10s/^# \{0,1\}//p' "$0" >&2; exit 2; }

hierarchies() { # every mounted cgroup hierarchy: type, options, mount point
    awk '{ for (i = 7; $i != "-"; i++); if ($(i + 1) ~ /^cgroup2?$/) print $(i + 1), $(i + 3), $5 }' /proc/self/mountinfo
}

# ---- Outside: what has to be cleaned up is made here.
if [ -z "$inside" ]; then
    [ "$(id -u)" = 0 ] || { echo "world: must be root" >&2; exit 2; }
    "$here/images.sh" "$root/target/tools/cri"
    name=isula-cri-$$
    # On a real file system, and where a user namespace may walk to.
    work=$(mktemp -d /var/tmp/$name.XXXXXX)
    chmod 0755 "$work"
    mapfile -t mounts < <(hierarchies)
    cni=
    [ -e /var/lib/cni ] || cni=/var/lib/cni
    cleanup() {
        local line mount group
        [ -z "${child:-}" ] || kill -KILL "$child" 2>/dev/null || true
        wait 2>/dev/null || true
        for line in "${mounts[@]}"; do
            mount=${line##* }
            [ -d "$mount/$name" ] || continue
            # The pid namespace is gone and with it every process; the kernel may need a moment.
            while read -r group; do
                for _ in 1 2 3 4 5 6 7 8 9 10; do rmdir "$group" 2>/dev/null && break; sleep 0.2; done
            done < <(find "$mount/$name" -depth -type d)
        done
        [ -z "$cni" ] || rmdir "$cni" 2>/dev/null || true
        rm -rf --one-file-system "$work"
    }
    trap cleanup EXIT
    trap 'exit 130' INT TERM
    for line in "${mounts[@]}"; do
        mount=${line##* }
        mkdir "$mount/$name"
        # A cpuset begins empty, and nothing runs in it.
        for file in cpuset.cpus cpuset.mems; do
            [ ! -e "$mount/$name/$file" ] || cat "$mount/$file" >"$mount/$name/$file"
        done
    done
    mkdir "$work/outer"
    CRI_WORK=$work unshare --mount --net --pid --fork --kill-child --propagation private \
        bash -c '
            mounts=$1 name=$2; shift 2
            for mount in $mounts; do echo 0 >"$mount/$name/cgroup.procs"; done
            exec unshare --cgroup "$@"
        ' world "$(printf '%s\n' "${mounts[@]##* }")" "$name" \
        "$0" --engine "$engine" --bin "$bin" --inside "$@" &
    child=$!
    status=0
    wait "$child" || status=$?
    child=
    exit "$status"
fi

# ---- Inside.
work=$CRI_WORK
mapfile -t mounts < <(hierarchies)
mount -t proc proc /proc
mkdir -p "$work/etc-upper" "$work/etc-work"
mount -t overlay overlay -o "lowerdir=/etc,upperdir=$work/etc-upper,workdir=$work/etc-work" /etc
mount -t tmpfs -o mode=755 tmpfs /run
# What libcni of other engines keeps.
mkdir -p /run/lock /var/lib/cni
mount -t tmpfs -o mode=755 tmpfs /var/lib/cni
top=$(printf '%s\n' "${mounts[@]##* }" | sort | head -n 1)
mount -t tmpfs -o mode=755 tmpfs "$(case $top in /sys/fs/cgroup/*) echo /sys/fs/cgroup ;; *) echo "$top" ;; esac)"
for line in "${mounts[@]}"; do
    read -r type options mount <<<"$line"
    mkdir -p "$mount"
    [ "$type" = cgroup2 ] && { mount -t cgroup2 cgroup2 "$mount"; continue; }
    mount -t cgroup -o "$(tr , '\n' <<<"$options" | grep -vxE 'rw|ro|relatime|xattr|release_agent=.*|clone_children' | paste -sd ,)" cgroup "$mount"
done
ip link set lo up
# Ports 80 and the like belong to this world alone.
sysctl -qw net.ipv4.ip_forward=1 2>/dev/null || true
mkdir -p /run/cni "$work/cni.d" "$work/cni"
export PATH=$root/target/tools/go/bin:$PATH:/usr/sbin:/sbin

"$here/registry.sh" "$root/target/tools/cri/registry" "$work/registry" 2>>"$work/registry.log" &
while [ ! -s "$work/registry" ]; do sleep 0.05; done
registry=$(cat "$work/registry")

if [ -z "${CRI_NO_CNI:-}" ]; then
    cat >"$work/cni.d/10-bridge.conflist" <<JSON
{"cniVersion": "1.0.0", "name": "pods", "plugins": [
  {"type": "bridge", "bridge": "cni0", "isGateway": true, "ipMasq": true, "hairpinMode": true,
   "ipam": {"type": "host-local", "dataDir": "$work/cni", "ranges": [[{"subnet": "10.88.0.0/16"}]], "routes": [{"dst": "0.0.0.0/0"}]}},
  {"type": "portmap", "capabilities": {"portMappings": true}, "snat": true}
]}
JSON
fi

mirrors() { # DIRECTORY: every registry of the tests is the one on loopback
    local host
    for host in registry.k8s.io k8s.gcr.io gcr.io public.ecr.aws docker.io; do
        mkdir -p "$1/$host"
        printf 'server = "http://%s"\n[host."http://%s"]\n  capabilities = ["pull", "resolve"]\n' "$registry" "$registry" >"$1/$host/hosts.toml"
    done
}

wait_for() { # SOCKET PID LOG
    until crictl --runtime-endpoint "unix://$1" --timeout 2s version >/dev/null 2>&1; do
        kill -0 "$2" 2>/dev/null || { tail -n 20 "$3" >&2; exit 1; }
        sleep 0.1
    done
}

start_containerd() {
    export CRI_SOCKET=$work/containerd.sock
    mirrors "$work/certs.d"
    cat >"$work/containerd.toml" <<TOML
version = 3
root = "$work/root"
state = "$work/state"
disabled_plugins = ["io.containerd.nri.v1.nri", "io.containerd.snapshotter.v1.devmapper", "io.containerd.tracing.processor.v1.otlp"]
[grpc]
  address = "$CRI_SOCKET"
[ttrpc]
  address = "$work/containerd.ttrpc"
[plugins."io.containerd.cri.v1.images".registry]
  config_path = "$work/certs.d"
[plugins."io.containerd.cri.v1.images".pinned_images]
  sandbox = "registry.k8s.io/pause:3.10"
[plugins."io.containerd.cri.v1.runtime"]
  restrict_oom_score_adj = true
[plugins."io.containerd.cri.v1.runtime".cni]
  bin_dirs = ["$root/target/tools/go/bin/cni"]
  conf_dir = "$work/cni.d"
[plugins."io.containerd.cri.v1.runtime".containerd.runtimes.runc]
  runtime_type = "io.containerd.runc.v2"
TOML
    containerd --config "$work/containerd.toml" >"$work/engine.log" 2>&1 &
    wait_for "$CRI_SOCKET" $! "$work/engine.log"
    echo $! >"$work/engine.pid"
}

start_isula() {
    export CRI_SOCKET=$work/isulad.sock
    mirrors /etc/isulad/certs.d
    cat >"$work/daemon.json" <<JSON
{"cni-bin-dir": "$root/target/tools/go/bin/cni", "cni-conf-dir": "$work/cni.d",
 "insecure-registries": ["$registry"], "native-cni": ${ISULA_NATIVE_CNI:-true}}
JSON
    PATH=$bin:$PATH "$bin/isulad" --config "$work/daemon.json" --graph "$work/data" --state "$work/state" \
        --pidfile "$work/engine.pid" -H "unix://$CRI_SOCKET" --log-level "${ISULA_LOG_LEVEL:-info}" >"$work/engine.log" 2>&1 &
    wait_for "$CRI_SOCKET" $! "$work/engine.log"
}

case $engine in
    isula) start_isula ;;
    containerd) start_containerd ;;
    *) echo "world: unknown engine: $engine" >&2; exit 2 ;;
esac
printf 'runtime-endpoint: unix://%s\nimage-endpoint: unix://%s\ntimeout: 60\n' "$CRI_SOCKET" "$CRI_SOCKET" >/etc/crictl.yaml
export CRI_WORK CRI_ENGINE=$engine CONTAINER_RUNTIME_ENDPOINT=unix://$CRI_SOCKET IMAGE_SERVICE_ENDPOINT=unix://$CRI_SOCKET
status=0
"$@" || status=$?
keep=${CRI_KEEP_LOGS:-}
if [ -n "$keep" ]; then mkdir -p "$keep" && cp "$work"/*.log "$keep/"; fi
exit "$status"
