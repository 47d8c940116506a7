#!/usr/bin/env bash
# Runs a scenario of this directory in mount, network and pid namespaces and directories of its own, with isulad, and
# with other engines and registries where it asks for them. Nothing of it is left afterwards.
#
# Usage: tests/interop/world.sh DIRECTORY-OF-THE-STATIC-PROGRAMS SCENARIO.sh
set -euo pipefail
world=$(realpath "$0")
here=$(dirname "$world")
root=$(realpath "$here/../..")
tools=$root/target/tools
[ $# -ge 2 ] || { sed -n '2,6s/^# \{0,1\}//p' "$world" >&2; exit 2; }
bin=$(realpath "$1")
scenario=$(realpath "$2")

# ---- Outside: what has to be cleaned up is made here.
if [ "${3:-}" != inside ]; then
    work=$(mktemp -d /var/tmp/isula-interop.XXXXXX)
    cleanup() {
        [ -z "${child:-}" ] || kill -KILL "$child" 2>/dev/null || true
        wait 2>/dev/null || true
        # The pid namespace is gone and with it every process; the kernel may need a moment for the groups.
        for _ in 1 2 3 4 5 6 7 8 9 10; do
            find /sys/fs/cgroup -depth -type d -path "*/${work##*/}*" -exec rmdir {} + 2>/dev/null || true
            [ -n "$(find /sys/fs/cgroup -type d -name "${work##*/}")" ] || break
            sleep 0.2
        done
        rm -rf --one-file-system "$work"
    }
    trap cleanup EXIT
    trap 'exit 130' INT TERM
    "$root/tests/images/busybox.sh" "$work/busybox" >/dev/null
    WORK=$work unshare --mount --net --pid --fork --kill-child --mount-proc --propagation private \
        "$world" "$bin" "$scenario" inside &
    child=$!
    status=0
    wait "$child" || status=$?
    child=
    exit "$status"
fi

# ---- Inside.
ip link set lo up
mount -t tmpfs -o mode=0755 tmpfs /run
mkdir "$WORK/etc" "$WORK/etc-work"
mount -t overlay -o "lowerdir=/etc,upperdir=$WORK/etc,workdir=$WORK/etc-work" overlay /etc
rm -rf /etc/isulad /etc/docker
mkdir /etc/isulad
export PATH=$bin:$tools/usr/bin:/usr/bin:/usr/sbin:/bin:/sbin
export DOCKER_CONFIG=$WORK/client ISULAD_HOST=unix:///run/isulad.sock
group=/${WORK##*/}
failed=0

# answers NAME COMMAND ...: waits until the command succeeds; the log of NAME says why it never does. Nothing
# but an answer tells that somebody answers.
answers() {
    local name=$1 tries=0
    shift
    until "$@" >/dev/null 2>&1; do
        tries=$((tries + 1))
        [ "$tries" -lt 300 ] || { echo "interop: $name does not answer" >&2; tail -n 20 "$WORK/$name.log" >&2; exit 1; }
        sleep 0.1
    done
}

check() { # NAME WANTED FOUND
    if [ "$2" = "$3" ]; then echo "ok $1"; else echo "FAILED $1: wanted '$2', found '$3'"; failed=1; fi
}

told() { # WORDS COMMAND ...: whether the command fails and says so
    local words=$1 found
    shift
    found=$("$@" 2>&1 </dev/null) && { echo "it succeeded: $found"; return; }
    case $found in *"$words"*) echo told ;; *) echo "$found" ;; esac
}

# daemon [NAME=VALUE ...]: starts isulad with /etc/isulad/daemon.json and such an environment.
daemon() {
    env "$@" isulad --graph "$WORK/isula" --state /run/isulad -H "$ISULAD_HOST" --pidfile /run/isulad.pid \
        --cgroup-parent "$group" --log-level info >>"$WORK/isula.log" 2>&1 &
    isulad=$!
    answers isula isula version
}
end_daemon() {
    kill -TERM "$isulad"
    wait "$isulad"
}

# serve NAME ADDRESS [HTTP [MORE]]: Debian's registry; all have the same images.
serve() {
    cat >"$WORK/$1.yml" <<YAML
version: 0.1
storage: {filesystem: {rootdirectory: $WORK/registry}}
http: {addr: '$2'${3:-}}
${4:-}
YAML
    docker-registry serve "$WORK/$1.yml" >"$WORK/$1.log" 2>&1 &
    answers "$1" grep -q 'listening on' "$WORK/$1.log"
}

echo '{}' >/etc/isulad/daemon.json
# me:secret, as `htpasswd -nbB me secret` writes it.
echo 'me:$2y$05$abcdefghijklmnopqrstuuOQiyCxlgf/oeuTqixKmWdcYUh4Hjl0a' >"$WORK/users"
with_password="auth: {htpasswd: {realm: here, path: $WORK/users}}"
. "$scenario"
exit "$failed"
