# What is tried on a Debian with systemd. Each CHECK line is judged by run.sh.
check() {
    local name=$1 wanted=$2 found=$3
    if [ "$wanted" = "$found" ]; then echo "CHECK ok $name"; else echo "CHECK failed $name: wanted '$wanted', found '$found'"; fi
}
# until_is WANTED COMMAND ...: the output of a command, once it is this or 10 seconds have passed.
until_is() {
    local wanted=$1 found tries
    shift
    for tries in $(seq 100); do
        found=$("$@" 2>&1)
        [ "$found" = "$wanted" ] && break
        sleep 0.1
    done
    printf '%s' "$found"
}
property() { systemctl show -P "$2" "$1"; }
limits() { # DIRECTORY: what the kernel enforces there
    (cd "$1" && cat memory.max memory.swap.max cpu.max cpu.weight pids.max cpuset.cpus | tr '\n' ' ')
}
# Units and groups that a container or pod of the engine has left.
left() {
    systemctl list-units --all --no-legend --plain 'isulad-*' 'kubepods-*-pod*.slice' | cut -d ' ' -f 1
    find /sys/fs/cgroup -type d -name 'isulad-*' -printf '%f\n'
    find /run/systemd/transient -name 'isulad-*' -printf '%f\n' 2>/dev/null
}
groups=/sys/fs/cgroup

check "the socket is there before the daemon" "active inactive" \
    "$(systemctl is-active isulad.socket) $(systemctl is-active isulad.service)"
check "the first client starts the daemon" "isulad" "$(isula version >/dev/null && cat /proc/"$(property isulad.service MainPID)"/comm)"
check "the driver is told" "systemd 2" "$(isula info --format '{{.CgroupDriver}} {{.CgroupVersion}}')"
isula load -i /root/image.tar >/dev/null 2>&1 || { echo "CHECK failed load"; exit 1; }

seen='cat /sys/fs/cgroup/memory.max /sys/fs/cgroup/cpu.max /sys/fs/cgroup/pids.max | tr "\n" " "'
check "limits are seen inside" "67108864 50000 100000 20 " \
    "$(isula run --rm -m 64m --cpus 0.5 --pids-limit 20 busybox:vm sh -c "$seen")"
check "without limits there are none" "max max 100000 max " "$(isula run --rm busybox:vm sh -c "$seen")"
check "an exit status comes through" 37 "$(isula run --rm busybox:vm sh -c 'exit 37'; echo $?)"
check "nothing is left of them" "" "$(until_is '' left)"

id=$(isula run -d --name web -m 64m --memory-swap 64m --cpus 0.33 --cpu-shares 512 --pids-limit 20 --cpuset-cpus 0 --cap-add MKNOD busybox:vm sleep 100000)
scope=isulad-$id.scope group=$groups/isulad.slice/isulad-$id.scope
check "it runs in a scope of its own" "active running isulad.slice yes" \
    "$(property "$scope" ActiveState) $(property "$scope" SubState) $(property "$scope" Slice) $(property "$scope" Delegate)"
check "its first process is the only one there" "$(isula inspect -f '{{.State.Pid}}' web)" "$(cat "$group/cgroup.procs")"
check "systemd knows the limits" "67108864 0 20 330ms 100ms 0" \
    "$(for name in MemoryMax MemorySwapMax TasksMax CPUQuotaPerSecUSec CPUQuotaPeriodUSec AllowedCPUs; do property "$scope" $name; done | tr '\n' ' ' | sed 's/ $//')"
before=$(limits "$group")
check "the kernel has what was asked for" "67108864 0 33000 100000 59 20 0 " "$before"
systemctl daemon-reload
check "a daemon-reload changes nothing" "$before" "$(limits "$group")"
systemctl set-property --runtime "$scope" CPUWeight=61 IOWeight=50
check "nor does a change of something else" "61 67108864 20" "$(until_is 61 cat "$group/cpu.weight") $(cat "$group/memory.max") $(cat "$group/pids.max" | tr '\n' ' ' | sed 's/ $//')"
check "devices stay closed" "Operation not permitted" \
    "$(isula exec web sh -c 'mknod /tmp/kmsg c 1 11; cat /tmp/kmsg' 2>&1 | sed -n 's/.*: //p')"
check "exec joins the scope" "0::/" "$(isula exec web cat /proc/self/cgroup)"
check "pause freezes the scope" "1 0" "$(isula pause web >/dev/null; frozen=$(cat "$group/cgroup.freeze"); isula unpause web >/dev/null; echo "$frozen $(cat "$group/cgroup.freeze")")"

check "memory beyond the limit is refused by a kill" "137 true" \
    "$(isula run --name oom -m 16m busybox:vm sh -c 'tail /dev/zero' >/dev/null 2>&1; echo $?) $(isula inspect -f '{{.State.OOMKilled}}' oom)"
isula rm oom >/dev/null

pid=$(isula inspect -f '{{.State.Pid}}' web)
systemctl restart isulad.service
check "a restart of the unit leaves containers running" "true $pid" "$(isula inspect -f '{{.State.Running}} {{.State.Pid}}' web)"
check "and they can be used" 7 "$(isula exec web sh -c 'exit 7'; echo $?)"
daemon=$(property isulad.service MainPID)
kill -KILL "$daemon"
check "the unit comes back after a kill" "true $pid" "$(until_is "true $pid" isula inspect -f '{{.State.Running}} {{.State.Pid}}' web)"
check "with another daemon" different "$([ "$(property isulad.service MainPID)" != "$daemon" ] && echo different)"
check "stop ends it" 0 "$(isula stop -t 0 web >/dev/null; echo $?)"
check "the scope ends with its container" "" "$(until_is '' left)"
check "it starts again with its limits" "67108864" "$(isula start web >/dev/null; cat "$group/memory.max")"
systemctl stop isulad.socket isulad.service
kill -KILL "$(cat "$group/cgroup.procs")"
check "the scope ends while there is no daemon" "" "$(until_is '' left)"
systemctl start isulad.socket
check "its end is known afterwards" "exited 137" "$(isula inspect -f '{{.State.Status}} {{.State.ExitCode}}' web)"
isula rm web >/dev/null

id=$(isula run -d --name other --runtime runc -m 32m busybox:vm sleep 100000)
scope=isulad-$id.scope group=$groups/isulad.slice/isulad-$id.scope
check "runc makes the same scope" "active isulad.slice 33554432" "$(property "$scope" ActiveState) $(property "$scope" Slice) $(cat "$group/memory.max")"
isula rm -f other >/dev/null
check "nothing is left of runc's" "" "$(until_is '' left)"
id=$(isula run -d --cgroup-parent deep-er.slice busybox:vm sleep 100000)
check "a slice can be named" "/deep.slice/deep-er.slice/isulad-$id.scope" "$(property "isulad-$id.scope" ControlGroup)"
isula rm -f "$id" >/dev/null
check "what is no slice is refused" 1 "$(isula create --cgroup-parent /deep busybox:vm true 2>&1 | grep -c 'must be a slice')"
seq 8 | xargs -P 8 -I{} isula run -d --name crowd{} -m 32m busybox:vm sleep 100000 >/dev/null
check "eight at once" 8 "$(systemctl list-units --no-legend --plain 'isulad-*.scope' | wc -l)"
seq 8 | xargs -P 8 -I{} isula rm -f crowd{} >/dev/null
check "nothing is left of the eight" "" "$(until_is '' left)"

check "kubelet is told the driver" 1 "$(crictl runtime-config 2>&1 | grep -ci systemd)"
check "crictl info, too" 1 "$(crictl info | grep -c '"cgroupDriver": "systemd"\|\\"cgroupDriver\\":\\"systemd\\"')"
pod() { # NAME CGROUP-PARENT [FLAG ...]: a pod on the host's network
    printf '{"metadata": {"name": "%s", "namespace": "n", "uid": "%s"}, "log_directory": "/tmp", "linux": {%s"security_context": {"namespace_options": {"network": 2}}}}' \
        "$1" "$1" "${2:+\"cgroup_parent\": \"$2\", }" >"/tmp/$1.json"
    crictl runp "${@:3}" "/tmp/$1.json"
}
printf '{"metadata": {"name": "c"}, "image": {"image": "busybox:vm"}, "command": ["sleep", "100000"], "log_path": "c.log", "linux": {"resources": {"memory_limit_in_bytes": 67108864, "cpu_quota": 20000, "cpu_period": 100000}}}' >/tmp/c.json
slice=kubepods-burstable-podab_cd.slice
parent=/kubepods.slice/kubepods-burstable.slice/$slice
pod=$(pod kubelet "$parent")
container=$(crictl create "$pod" /tmp/c.json /tmp/kubelet.json)
crictl start "$container" >/dev/null
check "a pod of kubelet's is in its slice" "$parent/isulad-$container.scope" "$(property "isulad-$container.scope" ControlGroup)"
check "with its container's limits" "67108864 20000 100000" "$(cat "$groups$parent/isulad-$container.scope/memory.max" "$groups$parent/isulad-$container.scope/cpu.max" | tr '\n' ' ' | sed 's/ $//')"
group=$groups$parent/isulad-$container.scope scope=isulad-$container.scope
check "an update is carried out" 0 "$(crictl update --memory 100663296 --cpu-period 100000 --cpu-quota 33000 --cpu-share 512 "$container" >/dev/null; echo $?)"
before=$(limits "$group")
check "the kernel has it" "100663296 33000 100000 59" "$(cat "$group/memory.max" "$group/cpu.max" "$group/cpu.weight" | tr '\n' ' ' | sed 's/ $//')"
check "and systemd has it" "100663296 330ms 59" "$(property "$scope" MemoryMax) $(property "$scope" CPUQuotaPerSecUSec) $(property "$scope" CPUWeight)"
systemctl daemon-reload
check "a daemon-reload does not undo the update" "$before" "$(limits "$group")"
systemctl restart isulad.service
check "it is updated after a restart of the unit" "50331648 50331648" "$(crictl update --memory 50331648 "$container" >/dev/null; property "$scope" MemoryMax) $(cat "$group/memory.max")"
check "usage is counted" 1 "$(crictl stats "$container" | grep -c "${container:0:13}")"
crictl stopp "$pod" >/dev/null
crictl rmp "$pod" >/dev/null
check "kubelet's slice is kubelet's" active "$(property "$slice" ActiveState)"
systemctl stop "$slice"
pod=$(pod runc "$parent" -r runc)
container=$(crictl create "$pod" /tmp/c.json /tmp/runc.json)
crictl start "$container" >/dev/null
group=$groups$parent/isulad-$container.scope scope=isulad-$container.scope
check "a pod of runc's, too" "$parent/$scope 67108864" "$(property "$scope" ControlGroup) $(cat "$group/memory.max")"
check "and its updates" "100663296 100663296" "$(crictl update --memory 100663296 "$container" >/dev/null; property "$scope" MemoryMax) $(cat "$group/memory.max")"
crictl rmp -f "$pod" >/dev/null 2>&1
systemctl stop "$slice"
pod=$(pod alone '')
container=$(crictl create "$pod" /tmp/c.json /tmp/alone.json)
crictl start "$container" >/dev/null
check "a pod without a parent has a slice" "/isulad.slice/isulad-pod$pod.slice/isulad-$container.scope" "$(property "isulad-$container.scope" ControlGroup)"
check "what is no slice is refused for pods" refused "$(pod wrong /kubepods/podx 2>&1 | grep -q 'must be a slice' && echo refused)"
crictl rmp -f "$pod" >/dev/null 2>&1
check "nothing is left of pods" "" "$(until_is '' left)"

. /root/checkpoint.sh

check "no unit has failed" "" "$(systemctl list-units --failed --no-legend --plain | cut -d ' ' -f 1)"
check "nothing is connected to the bus" "" "$(busctl --no-legend list | grep -w isulad)"
check "the daemon stops" inactive "$(systemctl stop isulad.socket isulad.service; systemctl is-active isulad.service)"
check "nobody is left" "" "$(pgrep -f '^isulad' -l)"
