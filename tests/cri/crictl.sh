#!/usr/bin/env bash
# A tour of every sub-command of crictl against the engine, in a private world.
#
# Usage: crictl.sh [--engine isula|containerd] [DIRECTORY OF THE PROGRAMS]
set -euo pipefail
here=$(dirname "$(realpath "$0")")
if [ -z "${CRI_SOCKET:-}" ]; then
    world=()
    while [ $# -gt 0 ]; do
        case $1 in
            --engine) world+=(--engine "$2"); shift 2 ;;
            -*) sed -n '2,4s/^# \{0,1\}//p' "$0" >&2; exit 2 ;;
            *) world+=(--bin "$1"); shift ;;
        esac
    done
    logs=$here/../../target/tools/cri/logs
    mkdir -p "$logs"
    CRI_KEEP_LOGS=$logs exec "$here/world.sh" "${world[@]}" "$0"
fi

cd "$CRI_WORK"
mkdir -p logs
steps=0 failed=0

# step NAME: what follows belongs to it.
step() { name=$1; steps=$((steps + 1)); }
fault() { printf 'crictl: %s: %s\n' "$name" "$*" >&2; failed=$((failed + 1)); }
# run WANTED COMMAND ...: it succeeds and its output matches the regular expression.
run() {
    local wanted=$1 output status=0
    shift
    output=$(timeout 120 "$@" 2>&1) || status=$?
    if [ "$status" != 0 ]; then fault "status $status: $output"; return; fi
    grep -qE -- "$wanted" <<<"$output" || fault "no /$wanted/ in: $output"
}
refused() { # WANTED COMMAND ...: it fails, and says why
    local wanted=$1 output
    shift
    if output=$(timeout 120 "$@" 2>&1); then fault "it succeeded"; return; fi
    grep -qE -- "$wanted" <<<"$output" || fault "no /$wanted/ in: $output"
}
soon() { # WANTED COMMAND ...: within a while
    local wanted=$1 deadline=$((SECONDS + 60))
    shift
    until timeout 30 "$@" 2>&1 | grep -qE -- "$wanted"; do
        [ "$SECONDS" -lt "$deadline" ] || { fault "no /$wanted/ from $*"; return; }
        sleep 0.1
    done
}

image=registry.k8s.io/e2e-test-images/busybox:1.29-2
nginx=registry.k8s.io/e2e-test-images/nginx:1.14-2
cat >pod.json <<JSON
{"metadata": {"name": "tour", "namespace": "default", "uid": "tour-1", "attempt": 1}, "hostname": "tour",
 "log_directory": "$PWD/logs", "labels": {"app": "tour"}, "annotations": {"note": "kept"},
 "dns_config": {"servers": ["10.0.0.10"], "searches": ["svc.local"]},
 "port_mappings": [{"container_port": 80, "host_port": 12080}], "linux": {"cgroup_parent": "/tour"}}
JSON
container() { # NAME IMAGE COMMAND (JSON array) [MORE FIELDS]
    printf '{"metadata": {"name": "%s"}, "image": {"image": "%s"}, "command": %s, "log_path": "%s.log", "labels": {"app": "%s"}, "linux": {"resources": {"memory_limit_in_bytes": 67108864}}%s}' \
        "$1" "$2" "$3" "$1" "$1" "${4:-}" >"$1.json"
}
container main "$image" '["sh", "-c", "echo to stdout; echo to stderr >&2; trap \"exit 3\" TERM; while :; do sleep 0.1; done"]'
container talk "$image" '["sh", "-c", "while read line; do echo \"heard $line\"; done"]' ', "stdin": true, "stdin_once": true'
container web "$nginx" '["nginx", "-g", "daemon off;"]'

step version; run 'RuntimeApiVersion: +v1' crictl version
step info; run '"RuntimeReady"' crictl info; soon '"type": "NetworkReady"|"NetworkReady"' crictl info
step runtime-config; run 'cgroup' crictl runtime-config
step config; : >crictl.yaml; run '' crictl --config "$PWD/crictl.yaml" config --set timeout=30; run '30' crictl --config "$PWD/crictl.yaml" config --get timeout
step completion; run 'complete' crictl completion bash
step update-runtime-config; run '' crictl update-runtime-config --pod-cidr 10.88.0.0/16
step events; timeout 300 crictl events >events.json 2>events.err & events=$!

step pull; run 'up to date|sha256' crictl pull "$image"; run '' crictl pull "$nginx"; refused 'not found|NotFound|unknown|failed' crictl pull registry.k8s.io/no/such:image
step images; run 'busybox +1.29-2' crictl images; run 'sha256:' crictl images --digests -q
step inspecti; run '"repoTags"' crictl inspecti "$image"; refused 'no such image|not found|NotFound' crictl inspecti no.such/image:1
step imagefsinfo; run '"mountpoint"' crictl imagefsinfo

step runp; pod=$(crictl runp pod.json) || fault "no pod"
step pods; run 'Ready +tour +default' crictl pods --label app=tour; run "^$pod$" crictl pods -q --no-trunc
step inspectp; run '"state": "SANDBOX_READY"' crictl inspectp "$pod"; run '"ip": "10\.88\.' crictl inspectp "$pod"; run '"note": "kept"' crictl inspectp "$pod"
step create; main=$(crictl create "$pod" main.json pod.json) || fault "no container"
step 'ps (created)'; run 'Created +main' crictl ps -a
step start; run "$main" crictl start "$main"
step ps; soon 'Running +main' crictl ps; run "^$main$" crictl ps -q --no-trunc --name main
step inspect; run '"state": "CONTAINER_RUNNING"' crictl inspect "$main"; run '"pid": [0-9]+' crictl inspect "$main"
step logs; soon 'to stdout' crictl logs "$main"; soon 'to stderr' crictl logs --stream stderr "$main"; run '^[0-9-]+T[0-9:.]+(Z|[+-][0-9:]+) ' crictl logs --timestamps "$main"
step 'logs --reopen'; mv logs/main.log logs/main.old; run '' crictl logs --reopen "$main"; [ -e logs/main.log ] || fault "no new log"
step exec; run '^tour$' crictl exec "$main" hostname; run '10.0.0.10' crictl exec "$main" cat /etc/resolv.conf
step 'exec --sync'; run '^out$' crictl exec --sync "$main" echo out; refused 'exited with 4' crictl exec --sync "$main" sh -c 'exit 4'
step 'exec -i'; [ "$(echo through | crictl exec -i "$main" cat)" = through ] || fault "input did not come back"
# containerd's server does not know the newer protocols of crictl.
step 'exec --transport websocket'; [ "$CRI_ENGINE" = containerd ] || run '^out$' crictl exec --transport websocket "$main" echo out
step 'exec (status)'; refused 'exit code 4' crictl exec "$main" sh -c 'exit 4'
step 'exec (no command)'; refused 'no such|not found|executable' crictl exec "$main" /no/such/command
step attach
talk=$(crictl create "$pod" talk.json pod.json); crictl start "$talk" >/dev/null
answer=$(printf 'you\n' | timeout 60 crictl attach -i "$talk" 2>&1) || true
[ "$answer" = 'heard you' ] || fault "the answer was: $answer"
step run; once=$(crictl run --no-pull web.json pod.json 2>&1) && fault "the pod exists already: $once"
sed 's/tour/tour2/g; s/12080/12081/' pod.json >pod2.json
web=$(crictl run --no-pull web.json pod2.json) || fault "no container"
pod2=$(crictl pods -q --no-trunc --name tour2)
step 'hostPort'; soon 'nginx' curl -sf http://127.0.0.1:12081/
step port-forward
timeout 120 crictl port-forward "$pod2" 12090:80 >forward.log 2>&1 & forward=$!
soon 'nginx' curl -sf http://127.0.0.1:12090/; kill "$forward" 2>/dev/null || true
step 'port-forward --transport websocket'
if [ "$CRI_ENGINE" != containerd ]; then
    timeout 120 crictl port-forward --transport websocket "$pod2" 12091:80 >forward.log 2>&1 & forward=$!
    soon 'nginx' curl -sf http://127.0.0.1:12091/; kill "$forward" 2>/dev/null || true
fi
step stats; run "${main:0:13}" crictl stats; run '"workingSetBytes"' crictl stats -o json "$main"
step statsp; run "${pod:0:13}" crictl statsp; run '"workingSetBytes"' crictl statsp -o json --id "$pod"
step metricdescs; run 'container_memory' crictl metricdescs
step metricsp; run 'container_memory|podSandboxId' crictl metricsp
step update; run "$main" crictl update --memory 134217728 --cpu-share 512 "$main"; run '134217728' crictl inspect "$main"
step checkpoint
if command -v criu >/dev/null; then
    run '' crictl checkpoint --export "$PWD/checkpoint.tar" "$main"
    [ -s checkpoint.tar ] || fault "no archive"
else
    refused 'criu|CRIU|Unimplemented' crictl checkpoint --export "$PWD/checkpoint.tar" "$main"
fi
step stop; run "$main" crictl stop --timeout 20 "$main"; run '"exitCode": 3' crictl inspect "$main"; run 'Exited +main' crictl ps -a; run "$main" crictl stop "$main"
step rm; run "$main" crictl rm "$main"; refused 'running|force' crictl rm "$web"; run "$web" crictl rm -f "$web"; run "$talk" crictl rm -f "$talk"
step stopp; run "$pod" crictl stopp "$pod"; run 'NotReady +tour ' crictl pods
step rmp; run "$pod" crictl rmp "$pod"; run "$pod2" crictl rmp -f "$pod2"
[ -z "$(crictl pods -q)" ] && [ -z "$(crictl ps -aq)" ] || fault "something is left"
step rmi; run "Deleted: .*nginx" crictl rmi "$nginx"; run '' crictl rmi --prune; [ "$(crictl images -o json | jq '[.images[] | select(.pinned | not)] | length')" = 0 ] || fault "images are left"
step 'events (seen)'; kill "$events" 2>/dev/null || true
for event in CREATED STARTED STOPPED DELETED; do grep -q "CONTAINER_${event}_EVENT" events.json || fault "no $event event"; done
step 'unknown ids'; refused 'not found|NotFound|no such' crictl inspect 0123456789ab; refused 'not found|NotFound|no such' crictl inspectp 0123456789ab

echo "crictl: $steps steps, $failed faults"
[ "$failed" = 0 ]
