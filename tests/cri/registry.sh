#!/usr/bin/env bash
# Serves the storage STORAGE as a registry on loopback in the foreground, and writes its address to
# FILE when it listens. Usage: registry.sh STORAGE FILE [PORT]
set -euo pipefail
storage=$1 file=$2 port=${3:-0}
program=$(dirname "$(realpath "$0")")/../../target/tools/usr/bin/docker-registry
[ -x "$program" ] || program=$(command -v docker-registry)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cat >"$work/config.yml" <<YAML
version: 0.1
log: {level: info, accesslog: {disabled: true}}
storage: {filesystem: {rootdirectory: "$storage"}}
http: {addr: "127.0.0.1:$port"}
YAML
mkfifo "$work/log"
"$program" serve "$work/config.yml" 2>"$work/log" >/dev/null &
registry=$!
trap 'kill $registry 2>/dev/null || true; rm -rf "$work"' EXIT
trap 'exit 0' TERM INT
while read -r line; do
    case $line in
        *"listening on "*)
            line=${line#*listening on }
            printf '%s' "${line%%\"*}" >"$file.new"
            mv "$file.new" "$file"
            ;;
        *level=fatal* | *level=error*) printf '%s\n' "$line" >&2 ;;
    esac
done <"$work/log"
