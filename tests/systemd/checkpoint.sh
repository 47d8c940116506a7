# Checkpoints by CRIU. Each CHECK line is judged by run.sh; `check`, `until_is`, `pod` and `left` are scenario.sh's.
socket=/run/isulad/isulad.sock
count='i=0; while true; do i=$((i + 1)); echo $i >/tmp/count; echo $i >/dev/shm/count; echo line $i; sleep 0.2; done'
mkdir -p /data /root/saved
echo here >/data/file
printf '{"metadata": {"name": "count"}, "image": {"image": "busybox:vm"}, "command": ["sh", "-c", "%s"], "log_path": "count.log", "mounts": [{"host_path": "/data", "container_path": "/data"}], "linux": {"security_context": {"namespace_options": {"pid": 1, "network": 2}, "seccomp": {"profile_type": 0}}}}' "$count" >/tmp/count.json
printf '{"metadata": {"name": "idle"}, "image": {"image": "busybox:vm"}, "command": ["sleep", "100000"], "linux": {"security_context": {"namespace_options": {"pid": 1, "network": 2}, "seccomp": {"profile_type": 0}}}}' >/tmp/idle.json
counted() { crictl exec "$1" cat /tmp/count 2>&1; }
# beyond CONTAINER NUMBER: whether it has counted further, once it has or 10 seconds have passed.
beyond() {
    local tries
    for tries in $(seq 100); do
        [ "$(counted "$1")" -gt "$2" ] 2>/dev/null && { echo yes; return; }
        sleep 0.1
    done
    counted "$1"
}

pod=$(pod saved '')
one=$(crictl create "$pod" /tmp/count.json /tmp/saved.json)
two=$(crictl create "$pod" /tmp/idle.json /tmp/saved.json)
crictl start "$one" >/dev/null
crictl start "$two" >/dev/null
check "the first counts" yes "$(beyond "$one" 3)"
check "a container is written to an archive" 0 "$(crictl checkpoint --export=/root/one.tar "$one" >/tmp/out 2>&1; echo $?; )"
cat /tmp/out
before=$(counted "$one")
check "it runs on" yes "$(beyond "$one" "$before")"
check "the archive is as checkpointctl wants it" "checkpoint/inventory.img config.dump rootfs-diff.tar spec.dump" \
    "$(tar -tf /root/one.tar | grep -E '^(checkpoint/inventory.img|config.dump|rootfs-diff.tar|spec.dump)$' | sort | tr '\n' ' ' | sed 's/ $//')"
check "and root's alone" 600 "$(stat -c %a /root/one.tar)"
ln -s /etc /root/link
check "a link on the way is refused" 1 "$(crictl checkpoint --export=/root/link/x "$one" >/dev/null 2>&1; echo $?)"
check "and nothing is written through it" "" "$(ls /etc/x /etc/.x.new 2>/dev/null)"
check "a directory with something in it is refused" refused "$(cri-call checkpoint-pod "$socket" "$pod" /root "$one" 2>&1 | grep -q 'not empty' && echo refused)"
check "a container twice is refused" refused "$(cri-call checkpoint-pod "$socket" "$pod" /root/saved "$one" "$one" 2>&1 | grep -q 'twice' && echo refused)"
check "a pod is written to a directory" 0 "$(cri-call checkpoint-pod "$socket" "$pod" /root/saved "$one" "$two" >/tmp/out 2>&1; echo $?)"
cat /tmp/out
before=$(counted "$one")
check "all of it runs on" yes "$(beyond "$one" "$before")"
crictl rmp -f "$pod" >/dev/null 2>&1

check "nothing is left before" "" "$(until_is '' left)"
chmod 777 /root/saved
check "what others may change is not restored" refused "$(cri-call restore-pod "$socket" /root/saved /tmp/saved.json /tmp/count.json /tmp/idle.json 2>&1 | grep -q 'others than root' && echo refused)"
chmod 700 /root/saved
check "other containers are not restored" refused "$(cri-call restore-pod "$socket" /root/saved /tmp/saved.json /tmp/count.json 2>&1 | grep -q 'the request has not' && echo refused)"
sed 's/100000/99999/' /tmp/idle.json >/tmp/other.json
check "nor those with another command" refused "$(cri-call restore-pod "$socket" /root/saved /tmp/saved.json /tmp/count.json /tmp/other.json 2>&1 | grep -q 'another command' && echo refused)"
check "nothing is left of those" "0 " "$(crictl pods -q | wc -l) $(until_is '' left)"
rm /tmp/count.log
restored=$(cri-call restore-pod "$socket" /root/saved /tmp/saved.json /tmp/count.json /tmp/idle.json 2>&1)
echo "$restored"
pod=$(echo "$restored" | sed -n 1p) one=$(echo "$restored" | sed -n 2p) two=$(echo "$restored" | sed -n 3p)
check "a pod is restored, and waits" "Created Created" "$(crictl ps -a -o json | sed -n 's/.*"state": "CONTAINER_\(.\)\([A-Z]*\)".*/\1\2/p' | sed 's/CREATED/Created/' | tr '\n' ' ' | sed 's/ $//')"
rm -rf /root/saved
started=$(crictl start "$one" >/tmp/out 2>&1; echo -n "$? "; crictl start "$two" >>/tmp/out 2>&1; echo $?)
check "its containers start" "0 0" "$started"
cat /tmp/out
[ "$started" = "0 0" ] || return
check "the first counts on where it was" yes "$(beyond "$one" "$before")"
check "not from the beginning" "" "$(crictl logs "$one" 2>/dev/null | grep -x 'line 1')"
check "in its sandbox's shared memory" "" "$(crictl exec "$one" sh -c '[ -s /dev/shm/count ]' 2>&1)"
check "with its mounts from outside" here "$(crictl exec "$one" cat /data/file)"
check "masked paths are masked" "0" "$(crictl exec "$one" sh -c 'cat /proc/kcore 2>/dev/null | head -c 10 | wc -c')"
check "in its own control group" 1 "$(crictl exec "$one" cat /proc/1/cgroup | grep -c '^0::/$')"
check "with the rights of a container" "00000000a80425fb 2" "$(crictl exec "$one" sed -n 's/^\(CapBnd\|Seccomp\):\t//p' /proc/1/status | tr '\n' ' ' | sed 's/ $//')"
check "nothing of the checkpoint is kept" "" "$(find /var/lib/isulad/engines -name restore; ls /var/lib/isulad/checkpoints)"
check "it is written to an archive again" 0 "$(crictl checkpoint --export=/root/two.tar "$one" >/tmp/out 2>&1; echo $?)"
cat /tmp/out
check "and runs on" yes "$(beyond "$one" "$(counted "$one")")"
before=$(counted "$one")
kill -KILL "$(property isulad.service MainPID)"
check "another daemon finds it" yes "$(beyond "$one" "$before")"
check "it stops" 0 "$(crictl stop --timeout 2 "$one" >/dev/null; echo $?)"
crictl rmp -f "$pod" >/dev/null 2>&1
check "nothing is left of what was restored" "" "$(until_is '' left)"
