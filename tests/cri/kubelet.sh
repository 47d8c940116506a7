#!/usr/bin/env bash
# A kubelet on its own, with static pods, on the engine's socket in a private world: an init container,
# nginx with readiness and liveness probes, a host port, an emptyDir, resources, a sidecar that crashes
# and is restarted; logs, exec and port-forward through the kubelet; the daemon is killed and started
# again; the manifest goes and nothing is left.
#
# Usage: kubelet.sh [--engine isula|containerd] [DIRECTORY OF THE PROGRAMS]
set -euo pipefail
here=$(dirname "$(realpath "$0")")
if [ -z "${CRI_SOCKET:-}" ]; then
    world=()
    while [ $# -gt 0 ]; do
        case $1 in
            --engine) world+=(--engine "$2"); shift 2 ;;
            -*) sed -n '2,7s/^# \{0,1\}//p' "$0" >&2; exit 2 ;;
            *) world+=(--bin "$1"); shift ;;
        esac
    done
    logs=$here/../../target/tools/cri/logs
    mkdir -p "$logs"
    CRI_KEEP_LOGS=$logs exec "$here/world.sh" "${world[@]}" "$0"
fi

cd "$CRI_WORK"
mkdir -p manifests pod-logs plugins
cat >kubelet.yaml <<YAML
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
staticPodPath: $PWD/manifests
podLogsDir: $PWD/pod-logs
volumePluginDir: $PWD/plugins
containerRuntimeEndpoint: $CONTAINER_RUNTIME_ENDPOINT
imageServiceEndpoint: $IMAGE_SERVICE_ENDPOINT
address: 127.0.0.1
readOnlyPort: 0
authentication: {anonymous: {enabled: true}, webhook: {enabled: false}}
authorization: {mode: AlwaysAllow}
cgroupDriver: cgroupfs
failCgroupV1: false
failSwapOn: false
enforceNodeAllocatable: []
localStorageCapacityIsolation: false
makeIPTablesUtilChains: false
resolvConf: ""
clusterDNS: [10.0.0.10]
clusterDomain: cluster.test
fileCheckFrequency: 1s
evictionHard: {memory.available: 1Mi, nodefs.available: 1Mi, imagefs.available: 1Mi}
imageGCHighThresholdPercent: 100
YAML
cat >web.yaml <<'YAML'
apiVersion: v1
kind: Pod
metadata: {name: web, namespace: default, labels: {app: web}}
spec:
  terminationGracePeriodSeconds: 5
  initContainers:
  - name: prepare
    image: registry.k8s.io/e2e-test-images/busybox:1.29-2
    command: [sh, -c, "echo prepared > /data/ready; echo init ran"]
    volumeMounts: [{name: data, mountPath: /data}]
  containers:
  - name: nginx
    image: registry.k8s.io/e2e-test-images/nginx:1.14-2
    ports: [{containerPort: 80, hostPort: 12080}]
    resources: {requests: {cpu: 50m, memory: 32Mi}, limits: {cpu: 500m, memory: 128Mi}}
    readinessProbe: {httpGet: {path: /, port: 80}, periodSeconds: 1}
    livenessProbe: {exec: {command: [cat, /data/ready]}, periodSeconds: 1}
    volumeMounts: [{name: data, mountPath: /data}]
  - name: crasher
    image: registry.k8s.io/e2e-test-images/busybox:1.29-2
    command: [sh, -c, "echo going down; exit 1"]
  volumes: [{name: data, emptyDir: {}}]
YAML

fail() {
    printf 'kubelet: %s\n' "$*" >&2
    crictl ps -a >&2 || true
    grep -E '^[EF][0-9]' kubelet.log | tail -n 10 >&2 || true
    exit 1
}
soon() { # WHAT SECONDS COMMAND ...
    local what=$1 deadline=$((SECONDS + $2))
    shift 2
    until "$@" >/dev/null 2>&1; do
        [ "$SECONDS" -lt "$deadline" ] || fail "$what: not in time"
        sleep 0.2
    done
    printf 'kubelet: %s\n' "$what"
}
api=https://127.0.0.1:10250
pods() { curl -skf "$api/pods"; }
# The status of a container, by a filter of jq.
status() { pods | jq -e "[.items[] | select(.metadata.name | startswith(\"web\")) | .status] | .[0] | $1"; }

kubelet --config kubelet.yaml --root-dir "$PWD/kubelet" --cert-dir "$PWD/pki" --hostname-override node >kubelet.log 2>&1 &
kubelet=$!
trap 'kill $kubelet 2>/dev/null || true' EXIT
soon "the kubelet answers" 120 curl -skf "$api/healthz"
cp web.yaml manifests/
soon "the pod runs" 120 status '.phase == "Running"'
soon "nginx is ready" 60 status '.containerStatuses[] | select(.name == "nginx") | .ready'
soon "the init container has ended" 10 status '.initContainerStatuses[0].state.terminated.reason == "Completed"'
soon "the host port answers" 30 curl -sf http://127.0.0.1:12080/
# The status says that it waits for moments only: the kubelet looks again when the pause is over.
restarted() {
    status '.containerStatuses[] | select(.name == "crasher") | .restartCount >= 2' &&
        grep -q 'back-off 20s restarting failed container=crasher' kubelet.log
}
soon "the crashing sidecar is restarted with back-off" 120 restarted
status '.containerStatuses[] | select(.name == "nginx") | .restartCount == 0' >/dev/null || fail "nginx was restarted"

pod=$(pods | jq -r '.items[] | .metadata.name | select(startswith("web"))')
curl -skf "$api/containerLogs/default/$pod/prepare" | grep -q 'init ran' || fail "no log of the init container"
curl -skf "$api/containerLogs/default/$pod/crasher" | grep -q 'going down' || fail "no log of the sidecar"
for flags in "" -websocket; do
    # shellcheck disable=SC2086
    [ "$(stream-client $flags run "$api/exec/default/$pod/nginx?command=cat&command=/data/ready&output=1&error=1")" = prepared ] ||
        fail "exec $flags gave something else"
    code=0
    # shellcheck disable=SC2086
    stream-client $flags run "$api/exec/default/$pod/nginx?command=sh&command=-c&command=exit+7&output=1&error=1" || code=$?
    [ "$code" = 7 ] || fail "exec $flags: the status was $code"
    mkfifo forward.in
    # shellcheck disable=SC2086
    stream-client forward "$api/portForward/default/$pod" 80 <forward.in >forward.out & forwarder=$!
    exec 8>forward.in
    soon "port-forward listens" 30 test -s forward.out
    curl -sf "http://127.0.0.1:$(head -n 1 forward.out)/" | grep -q nginx || fail "port-forward brought nothing"
    exec 8>&-
    wait $forwarder || fail "port-forward ended badly"
    rm forward.in forward.out
done
printf 'kubelet: logs, exec and port-forward work\n'

if [ "$CRI_ENGINE" = isula ]; then
    engine=$(cat engine.pid)
    nginx=$(crictl ps -q --name nginx)
    mapfile -d '' -t command <"/proc/$engine/cmdline"
    kill -KILL "$engine"
    while kill -0 "$engine" 2>/dev/null; do sleep 0.05; done
    "${command[@]}" >>engine.log 2>&1 &
    soon "the engine is back after its death" 30 crictl version
    [ "$(crictl ps -q --name nginx)" = "$nginx" ] || fail "nginx is not the same any more"
    soon "the host port answers after it" 10 curl -sf http://127.0.0.1:12080/
    restarts=$(status '.containerStatuses[] | select(.name == "crasher") | .restartCount')
    soon "the sidecar is restarted after it" 400 status ".containerStatuses[] | select(.name == \"crasher\") | .restartCount > $restarts"
    status '.containerStatuses[] | select(.name == "nginx") | (.ready and .restartCount == 0)' >/dev/null || fail "nginx suffered from it"
fi

rm manifests/web.yaml
empty() { [ -z "$(crictl pods -q)" ] && [ -z "$(crictl ps -aq)" ]; }
soon "the pod is gone with its containers" 240 empty
gone() { ! find /sys/fs/cgroup -type d -path '*kubepods*/pod*' | grep -q .; }
soon "its cgroups are gone" 60 gone
[ -z "$(ls -A pod-logs)" ] || soon "its logs are gone" 60 test -z "$(ls -A pod-logs)"
[ -z "$(ip -o link show type veth)" ] || fail "a veth is left"
echo "kubelet: everything works and nothing is left"
