# What is tried on a pure cgroup-v2 system, and on file systems with project quotas. Each CHECK line is judged by run.sh.
check() {
    name=$1 wanted=$2 found=$3
    if [ "$wanted" = "$found" ]; then echo "CHECK ok $name"; else echo "CHECK failed $name: wanted '$wanted', found '$found'"; fi
}

export ISULAD_HOST=unix:///run/isulad.sock
# daemon DATA: starts it on that directory and waits until it answers.
daemon() {
    isulad --graph "$1" --state "/run/${1##*/}" -H unix:///run/isulad.sock --pidfile /run/isulad.pid --log-level warn >>/run/isulad.log 2>&1 &
    # The socket file appears when the daemon listens; nothing tells busybox of it but a look.
    tries=0
    until isula version >/dev/null 2>&1; do
        tries=$((tries + 1))
        [ $tries -gt 200 ] && { echo "CHECK failed the daemon answers"; cat /run/isulad.log; exit 1; }
        usleep 50000
    done
}
end() {
    kill -TERM "$(cat /run/isulad.pid)"
    wait
}

daemon /var/lib/isulad
check "the daemon sees cgroup v2" 2 "$(isula info --format '{{.CgroupVersion}}')"
isula load -i /image.tar >/dev/null || { echo "CHECK failed load"; exit 1; }

limits='cat /sys/fs/cgroup/memory.max /sys/fs/cgroup/cpu.max /sys/fs/cgroup/pids.max | tr "\n" " "'
check "limits are seen inside" "67108864 50000 100000 20 " \
    "$(isula run --rm -m 64m --cpus 0.5 --pids-limit 20 busybox:vm sh -c "$limits")"
check "the cgroup namespace is private" "0::/" "$(isula run --rm busybox:vm cat /proc/self/cgroup)"
check "an exit status comes through" 37 "$(isula run --rm busybox:vm sh -c 'exit 37'; echo $?)"
check "memory beyond the limit is refused by a kill" 137 \
    "$(isula run --name oom -m 16m busybox:vm sh -c 'tail /dev/zero' >/dev/null 2>&1; echo $?)"
check "the kill is told" true "$(isula inspect -f '{{.State.OOMKilled}}' oom)"
check "processes beyond the limit are refused" refused \
    "$(isula run --rm --pids-limit 4 busybox:vm sh -c 'for i in 1 2 3 4 5 6; do sleep 30 & done; wait' 2>&1 | grep -q "can't fork" && echo refused)"
check "a device that was not given can't be opened" "Operation not permitted" \
    "$(isula run --rm --cap-add MKNOD busybox:vm sh -c 'mknod /tmp/kmsg c 1 11; cat /tmp/kmsg' 2>&1 | sed -n 's/.*: //p')"
check "a device of the default set can be opened" 4 "$(isula run --rm busybox:vm sh -c 'head -c 4 /dev/urandom | wc -c')"
id=$(isula run -d --name web -m 64m busybox:vm sleep 1000)
check "exec joins the cgroup" "0::/" "$(isula exec web cat /proc/self/cgroup)"
check "pause freezes" 1 "$(isula pause web >/dev/null; cat "$(find /sys/fs/cgroup -type d -name "*$id*" | head -n 1)/cgroup.freeze")"
isula unpause web >/dev/null
check "stop ends it" 0 "$(isula stop -t 0 web >/dev/null; echo $?)"
isula rm -f web oom >/dev/null
check "no cgroup is left" "" "$(find /sys/fs/cgroup -type d -name "*$id*")"
check "no overlay is mounted on the host" "" "$(grep overlay /proc/mounts)"
check "a file system without quotas is told" told \
    "$(isula create --storage-opt size=8M busybox:vm 2>&1 | grep -q 'does not enforce project quotas' && echo told)"
check "nothing is left of what was refused" "" "$(isula ps -aq)"
end

# write NAME MEGABYTES: what dd says to that many in a file of the running container.
write() {
    isula exec "$1" sh -c "dd if=/dev/zero of=/file bs=1M count=$2 2>&1 && echo written" | sed -n 's/.*: //p; /^written$/p' | head -n 1
}
# limits TYPE OPTION WORDS: on the disk of that name, the writable layers of containers on that file system are limited.
limits() {
    mkdir -p /disk
    device=$(grep -l "$1" /sys/block/nvme*/device/serial | cut -d / -f 4)
    mount -t "$1" -o "$2" "/dev/$device" /disk || { echo "CHECK failed $1 is mounted"; return; }
    daemon /disk/data
    isula load -i /image.tar >/dev/null || { echo "CHECK failed load on $1"; exit 1; }
    isula run -d --name small --storage-opt size=8M busybox:vm sleep 1000 >/dev/null
    isula run -d --name large --storage-opt size=24M busybox:vm sleep 1000 >/dev/null
    isula run -d --name free busybox:vm sleep 1000 >/dev/null
    check "$1: a container writes up to its limit" written "$(write small 6)"
    check "$1: and not beyond" "$3" "$(write small 12)"
    check "$1: another has a limit of its own" written "$(write large 16)"
    check "$1: which holds, too" "$3" "$(write large 40)"
    isula exec large rm /file
    check "$1: one without a limit writes on" written "$(write free 16)"
    end
    daemon /disk/data
    check "$1: a new daemon changes nothing" "$3" "$(write small 12)"
    isula exec small rm /file
    check "$1: what was removed makes room" written "$(write small 6)"
    isula stop -t 0 small >/dev/null && isula start small >/dev/null
    check "$1: nor does a new start" "$3" "$(write small 12)"
    isula stop -t 0 small >/dev/null && isula start small >/dev/null
    check "$1: one that was full can be used after a start" written "$(isula exec small rm /file; write small 6)"
    check "$1: with its limit" "$3" "$(write small 12)"
    isula rm -f small large free >/dev/null
    for turn in 1 2 3; do
        isula run -d --name "again$turn" --storage-opt size=8M busybox:vm sleep 1000 >/dev/null
        check "$1: container $turn after others begins with nothing" written "$(write "again$turn" 6)"
        isula rm -f "again$turn" >/dev/null
    done
    end
    # What a container held goes in the background.
    tries=0
    until umount /disk 2>/dev/null || [ $tries -gt 100 ]; do
        tries=$((tries + 1))
        usleep 100000
    done
    check "$1: the file system can be unmounted" "" "$(grep /disk /proc/mounts)"
}
limits ext4 prjquota "Disk quota exceeded"
limits xfs prjquota "No space left on device"
