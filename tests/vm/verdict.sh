#!/usr/bin/env bash
# What came of the scenario that a virtual machine has written to this console. Usage: verdict.sh CONSOLE
set -euo pipefail
lines() { tr -d '\r' <"$1" | grep -a"$2" "$3" || true; }
lines "$1" E '^(CHECK|SCENARIO)'
passed=$(lines "$1" cE '^CHECK ok')
failed=$(lines "$1" cE '^CHECK failed')
ended=$(lines "$1" cE '^SCENARIO ENDED WITH 0$')
echo "$passed passed, $failed failed"
if [ "$failed" != 0 ] || [ "$ended" != 1 ] || [ "$passed" = 0 ]; then
    echo "the console of the virtual machine:" >&2
    tail -n 60 "$1" >&2
    exit 1
fi
