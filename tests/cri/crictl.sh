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
ctl() { crictl --timeout 60s "$@"; }
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
    until timeout 30 "$@" 2>/dev/null | grep -qE -- "$wanted"; do
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
 "port_mappings": [{"container_port": 80, "host_port": 12080}], "linux": {}}
JSON
container() { # NAME IMAGE COMMAND (JSON array) [MORE FIELDS]
    printf '{"metadata": {"name": "%s"}, "image": {"image": "%s"}, "command": %s, "log_path": "%s.log", "labels": {"app": "%s"}, "linux": {"resources": {"memory_limit_in_bytes": 67108864}}%s}' \
        "$1" "$2" "$3" "$1" "$1" "${4:-}" >"$1.json"
}
container main "$image" '["sh", "-c", "echo to stdout; echo to stderr >&2; trap \"exit 3\" TERM; while :; do sleep 0.1; done"]'
container talk "$image" '["sh", "-c", "while read line; do echo \"heard $line\"; done"]' ', "stdin": true, "stdin_once": true'
container web "$nginx" '["nginx", "-g", "daemon off;"]'

step version; run 'RuntimeApiVersion: +v1' ctl version
step info; run '"RuntimeReady"' ctl info; soon '"type": "NetworkReady"|"NetworkReady"' ctl info
step runtime-config; run 'cgroup' ctl runtime-config
step config; run '' ctl --config "$PWD/crictl.yaml" config --set timeout=30; run '30' ctl --config "$PWD/crictl.yaml" config --get timeout
step completion; run 'complete' ctl completion bash
step update-runtime-config; run '' ctl update-runtime-config --pod-cidr 10.88.0.0/16
step events; timeout 300 crictl events >events.json 2>events.err & events=$!

step pull; run 'up to date|sha256' ctl pull "$image"; run '' ctl pull "$nginx"; refused 'not found|NotFound|unknown|failed' ctl pull registry.k8s.io/no/such:image
step images; run 'busybox +1.29-2' ctl images; run 'sha256:' ctl images --digests -q
step inspecti; run '"repoTags"' ctl inspecti "$image"; refused 'no such image|not found|NotFound' ctl inspecti no.such/image:1
step imagefsinfo; run '"mountpoint"' ctl imagefsinfo

step runp; pod=$(ctl runp pod.json) || fault "no pod"
step pods; run 'Ready +tour +default' ctl pods --label app=tour; run "^$pod$" ctl pods -q --no-trunc
step inspectp; run '"state": "SANDBOX_READY"' ctl inspectp "$pod"; run '"ip": "10\.88\.' ctl inspectp "$pod"; run '"note": "kept"' ctl inspectp "$pod"
step create; main=$(ctl create "$pod" main.json pod.json) || fault "no container"
step 'ps (created)'; run 'Created +main' ctl ps -a
step start; run "$main" ctl start "$main"
step ps; soon 'Running +main' ctl ps; run "^$main$" ctl ps -q --no-trunc --name main
step inspect; run '"state": "CONTAINER_RUNNING"' ctl inspect "$main"; run '"pid": [0-9]+' ctl inspect "$main"
step logs; soon 'to stdout' ctl logs "$main"; soon 'to stderr' ctl logs --stream stderr "$main"; run '^[0-9-]+T[0-9:.]+(Z|[+-][0-9:]+) ' ctl logs --timestamps "$main"
step 'logs --reopen'; mv logs/main.log logs/main.old; run '' ctl logs --reopen "$main"; [ -e logs/main.log ] || fault "no new log"
step exec; run '^tour$' ctl exec "$main" hostname; run '10.0.0.10' ctl exec "$main" cat /etc/resolv.conf
step 'exec --sync'; run '^out$' ctl exec --sync "$main" echo out; refused 'exit (code|status) 4' ctl exec --sync "$main" sh -c 'exit 4'
step 'exec -i'; [ "$(echo through | ctl exec -i "$main" cat)" = through ] || fault "input did not come back"
step 'exec --transport websocket'; run '^out$' ctl exec --transport websocket "$main" echo out
step 'exec (status)'; refused 'exit code 4' ctl exec "$main" sh -c 'exit 4'
step 'exec (no command)'; refused 'no such|not found|executable' ctl exec "$main" /no/such/command
step attach
talk=$(ctl create "$pod" talk.json pod.json); ctl start "$talk" >/dev/null
[ "$(printf 'you\n' | timeout 60 crictl attach -i "$talk" 2>&1)" = 'heard you' ] || fault "no answer"
step run; once=$(ctl run --no-pull web.json pod.json 2>&1) && fault "the pod exists already: $once"
sed 's/tour/tour2/g; s/12080/12081/' pod.json >pod2.json
web=$(ctl run --no-pull web.json pod2.json) || fault "no container"
pod2=$(ctl pods -q --no-trunc --name tour2)
step 'hostPort'; soon 'nginx' curl -sf http://127.0.0.1:12081/
step port-forward
timeout 120 crictl port-forward "$pod2" 12090:80 >forward.log 2>&1 & forward=$!
soon 'nginx' curl -sf http://127.0.0.1:12090/; kill "$forward" 2>/dev/null || true
step 'port-forward --transport websocket'
timeout 120 crictl port-forward --transport websocket "$pod2" 12091:80 >forward.log 2>&1 & forward=$!
soon 'nginx' curl -sf http://127.0.0.1:12091/; kill "$forward" 2>/dev/null || true
step stats; run "${main:0:13}" ctl stats; run '"workingSetBytes"' ctl stats -o json "$main"
step statsp; run "${pod:0:13}" ctl statsp; run '"workingSetBytes"' ctl statsp -o json --id "$pod"
step metricdescs; run 'container_memory' ctl metricdescs
step metricsp; run 'container_memory|podSandboxId' ctl metricsp
step update; run "$main" ctl update --memory 134217728 --cpu-share 512 "$main"; run '134217728' ctl inspect "$main"
step checkpoint
if command -v criu >/dev/null; then
    run '' ctl checkpoint --export "$PWD/checkpoint.tar" "$main"
    [ -s checkpoint.tar ] || fault "no archive"
else
    refused 'criu|CRIU|Unimplemented' ctl checkpoint --export "$PWD/checkpoint.tar" "$main"
fi
step stop; run "$main" ctl stop --timeout 20 "$main"; run '"exitCode": 3' ctl inspect "$main"; run 'Exited +main' ctl ps -a; run "$main" ctl stop "$main"
step rm; run "$main" ctl rm "$main"; refused 'running|force' ctl rm "$web"; run "$web" ctl rm -f "$web"; run "$talk" ctl rm -f "$talk"
step stopp; run "$pod" ctl stopp "$pod"; run 'NotReady +tour ' ctl pods
step rmp; run "$pod" ctl rmp "$pod"; run "$pod2" ctl rmp -f "$pod2"
[ -z "$(ctl pods -q)" ] && [ -z "$(ctl ps -aq)" ] || fault "something is left"
step rmi; run "Deleted: .*nginx" ctl rmi "$nginx"; run '' ctl rmi --prune; [ -z "$(ctl images -q)" ] || fault "images are left"
step 'events (seen)'; kill "$events" 2>/dev/null || true
for event in CREATED STARTED STOPPED DELETED; do grep -q "CONTAINER_${event}_EVENT" events.json || fault "no $event event"; done
step 'unknown ids'; refused 'not found|NotFound|no such' ctl inspect 0123456789ab; refused 'not found|NotFound|no such' ctl inspectp 0123456789ab

echo "crictl: $steps steps, $failed faults"
[ "$failed" = 0 ]
