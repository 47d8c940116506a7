# What is tried on a pure cgroup-v2 system. Each CHECK line is judged by run.sh.
check() {
    name=$1 wanted=$2 found=$3
    if [ "$wanted" = "$found" ]; then echo "CHECK ok $name"; else echo "CHECK failed $name: wanted '$wanted', found '$found'"; fi
}

mkfifo /run/ready
isulad --graph /var/lib/isulad --state /run/isulad -H unix:///run/isulad.sock --pidfile /run/isulad.pid --log-level warn >/run/isulad.log 2>&1 &
export ISULAD_HOST=unix:///run/isulad.sock
# The socket file appears when the daemon listens; nothing tells busybox of it but a look.
tries=0
until isula version >/dev/null 2>&1; do
    tries=$((tries + 1))
    [ $tries -gt 200 ] && { echo "CHECK failed the daemon answers"; cat /run/isulad.log; exit 1; }
    usleep 50000
done
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
kill -TERM "$(cat /run/isulad.pid)"
wait
