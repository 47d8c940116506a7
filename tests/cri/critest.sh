#!/usr/bin/env bash
# Runs critest against the engine in a private world, and prints what came of it.
#
# Usage: critest.sh [--engine isula|containerd] [--websocket] [--conformance] [DIRECTORY OF THE PROGRAMS] [-- FLAG OF CRITEST ...]
#
# The whole report is in target/tools/cri/critest.log, the daemon's log beside it.
set -euo pipefail
here=$(dirname "$(realpath "$0")")
root=$(realpath "$here/../..")
flags=() world=()
while [ $# -gt 0 ]; do
    case $1 in
        --engine) world+=(--engine "$2"); shift 2 ;;
        --websocket) flags+=(-websocket-exec -websocket-attach -websocket-portforward); shift ;;
        --conformance) flags+=('-ginkgo.focus=\[Conformance\]'); shift ;;
        --) shift; flags+=("$@"); break ;;
        -*) sed -n '2,6s/^# \{0,1\}//p' "$0" >&2; exit 2 ;;
        *) world+=(--bin "$1"); shift ;;
    esac
done
logs=$root/target/tools/cri/logs
mkdir -p "$logs"
log=$logs/critest.log
status=0
# The flags are expanded inside.
# shellcheck disable=SC2016
CRI_KEEP_LOGS=$logs "$here/world.sh" "${world[@]}" bash -c '
    cd "$CRI_WORK"
    exec critest -runtime-endpoint "$CONTAINER_RUNTIME_ENDPOINT" -image-endpoint "$IMAGE_SERVICE_ENDPOINT" \
        -ginkgo.no-color -ginkgo.v "$@"
' critest "${flags[@]}" >"$log" 2>&1 || status=$?

sed -n 's/^ *\[FAIL\] /failed: /p' "$log" | sort -u
if ! grep -qE '^(SUCCESS|FAIL)! -- ' "$log"; then
    tail -n 30 "$log" >&2
    echo "critest did not come to its end (status $status): $log" >&2
    exit 1
fi
sed -nE 's/^(SUCCESS|FAIL)! -- ([0-9]+) Passed \| ([0-9]+) Failed \| [0-9]+ Pending \| ([0-9]+) Skipped.*/critest: \2 passed, \3 failed, \4 skipped/p' "$log"
sed -nE 's/^Ran [0-9]+ of [0-9]+ Specs in ([0-9.]+) seconds.*/critest: \1 seconds/p' "$log"
exit "$status"
