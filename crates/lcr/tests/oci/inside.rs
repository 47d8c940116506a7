//! What a process finds inside: namespaces, names, identity, limits, devices.

use std::fs;

use serde_json::json;

use crate::bundle::{Bundle, squeeze};

#[test]
fn every_namespace_is_its_own() {
    let bundle =
        Bundle::new("for n in pid net ipc uts mnt cgroup user; do readlink /proc/self/ns/$n; done");
    let inside = bundle.run().ok();
    for line in inside.lines() {
        let kind = line.split(':').next().unwrap();
        let host = fs::read_link(format!("/proc/self/ns/{kind}")).unwrap();
        assert_eq!(host.to_str() == Some(line), kind == "user", "{line}");
    }
    assert_eq!(inside.lines().count(), 7);
}

#[test]
fn the_program_is_the_first_process_and_sees_no_other() {
    let bundle = Bundle::new("echo $$; ls -d /proc/[0-9]* | wc -l");
    // The pipe has three: the shell, ls and wc.
    assert_eq!(bundle.run().ok(), "1\n3\n");
}

#[test]
fn host_and_domain_name_and_loopback_are_set() {
    let mut bundle = Bundle::new("hostname; cat /proc/sys/kernel/domainname; ip -o addr show lo");
    bundle.set("/hostname", json!("inside")).set("/domainname", json!("example"));
    let printed = bundle.run().ok();
    assert!(printed.starts_with("inside\nexample\n"), "{printed}");
    assert!(printed.contains("127.0.0.1/8"), "{printed}");
}

#[test]
fn a_namespace_that_has_a_path_is_joined() {
    let first = Bundle::new("sleep 1000");
    first.run_detached().ok();
    let pid = first.pid();
    let mut second = Bundle::new(
        "echo $$ $(ls -d /proc/[0-9]* | wc -l); for n in net uts ipc pid; do readlink /proc/self/ns/$n; done",
    );
    for (index, kind) in [(0, "pid"), (1, "net"), (2, "ipc"), (3, "uts")] {
        let path = format!("/proc/{pid}/ns/{kind}");
        second.set(&format!("/linux/namespaces/{index}/path"), json!(path));
    }
    let printed = second.run().ok();
    for kind in ["net", "uts", "ipc", "pid"] {
        let link = fs::read_link(format!("/proc/{pid}/ns/{kind}")).unwrap();
        assert!(printed.contains(link.to_str().unwrap()), "{printed}");
    }
    assert!(!printed.starts_with("1 "), "the first process is the other container's: {printed}");
}

#[test]
fn clocks_are_offset_in_a_time_namespace() {
    let mut bundle = Bundle::new("cut -d. -f1 /proc/uptime; cat /proc/self/timens_offsets");
    bundle.set("/linux/namespaces/-", json!({"type": "time"}));
    bundle.set("/linux/timeOffsets", json!({"boottime": {"secs": 1_000_000_000, "nanosecs": 5}}));
    let printed = bundle.run().ok();
    let uptime: i64 = printed.lines().next().unwrap().parse().unwrap();
    assert!(uptime > 1_000_000_000, "{printed}");
    assert!(squeeze(&printed).contains("boottime 1000000000 5"), "{printed}");
    let own = fs::read_to_string("/proc/self/timens_offsets").unwrap();
    assert!(!own.contains("1000000000"), "the offsets are not ours");
}

#[test]
fn capabilities_are_those_that_are_asked_for() {
    let mut bundle = Bundle::new("grep Cap /proc/self/status");
    let set = json!(["CAP_CHOWN", "CAP_KILL", "CAP_NET_RAW"]);
    for name in ["bounding", "effective", "permitted", "inheritable"] {
        bundle.set(&format!("/process/capabilities/{name}"), set.clone());
    }
    let ran = bundle.run();
    assert!(ran.stderr.contains("inheritable is limited"), "{ran:?}");
    let printed = squeeze(&ran.ok());
    let mask = "0000000000002021";
    let zero = "0000000000000000";
    assert_eq!(
        printed,
        format!("CapInh: {zero} CapPrm: {mask} CapEff: {mask} CapBnd: {mask} CapAmb: {zero}")
    );
}

#[test]
fn ambient_capabilities_survive_a_change_of_user() {
    let mut bundle = Bundle::new("grep -E 'Cap(Amb|Eff|Inh)' /proc/self/status; id -u");
    for name in ["bounding", "effective", "permitted", "inheritable", "ambient"] {
        bundle.set(&format!("/process/capabilities/{name}"), json!(["CAP_NET_RAW"]));
    }
    bundle.set("/process/user", json!({"uid": 1000, "gid": 1000}));
    let mask = "0000000000002000";
    assert_eq!(
        squeeze(&bundle.run().ok()),
        format!("CapInh: {mask} CapEff: {mask} CapAmb: {mask} 1000")
    );
}

#[test]
fn user_groups_umask_and_home_are_set() {
    let mut bundle =
        Bundle::new("id -u; id -g; id -G; umask; echo $HOME; grep CapEff /proc/self/status");
    fs::write(bundle.rootfs("/etc/passwd"), "u:x:1000:1001::/home/u:/bin/sh\n").unwrap();
    bundle.set(
        "/process/user",
        json!({"uid": 1000, "gid": 1001, "umask": 0o027, "additionalGids": [1001, 5, 7]}),
    );
    assert_eq!(
        squeeze(&bundle.run().ok()),
        "1000 1001 1001 5 7 0027 /home/u CapEff: 0000000000000000"
    );
}

#[test]
fn limits_are_set_and_what_is_not_permitted_is_clamped_and_said() {
    let mut bundle = Bundle::new("ulimit -n; ulimit -Hn; ulimit -c; cat /proc/self/oom_score_adj");
    let own = isula_sys::limits::limit(0, isula_sys::limits::NOFILE).unwrap();
    bundle.set(
        "/process/rlimits",
        json!([
            {"type": "RLIMIT_NOFILE", "soft": 64, "hard": 128},
            {"type": "RLIMIT_CORE", "soft": 0, "hard": 0}
        ]),
    );
    bundle.set("/process/oomScoreAdj", json!(500));
    assert_eq!(squeeze(&bundle.run().ok()), "64 128 0 500");

    bundle.set("/process/rlimits/0/hard", json!(own.hard + 1));
    let sets = isula_sys::capability::get().unwrap();
    let resource = 1 << 24;
    let ran = bundle.run();
    let warned = ran.stderr.contains("RLIMIT_NOFILE");
    let printed = ran.ok();
    let hard: u64 = printed.lines().nth(1).unwrap().parse().unwrap();
    let expected = if sets.effective & resource == 0 { own.hard } else { own.hard + 1 };
    assert_eq!((hard, warned), (expected, expected == own.hard));
}

#[test]
fn a_score_below_the_own_is_clamped_and_said_without_the_capability() {
    let mut bundle = Bundle::new("cat /proc/self/oom_score_adj");
    bundle.set("/process/oomScoreAdj", json!(-500));
    let own = fs::read_to_string("/proc/self/oom_score_adj").unwrap();
    let may = isula_sys::capability::get().unwrap().effective & (1 << 24) != 0;
    let ran = bundle.run();
    assert_eq!(ran.stderr.contains("oom_score_adj -500 is not permitted"), !may, "{ran:?}");
    assert_eq!(ran.ok().trim(), if may { "-500" } else { own.trim() });
}

#[test]
fn scheduling_priority_and_personality_are_set() {
    let mut bundle =
        Bundle::new("cut -d' ' -f19,41 /proc/self/stat; cat /proc/self/personality; uname -m");
    bundle.set("/process/scheduler", json!({"policy": "SCHED_BATCH", "nice": 7}));
    bundle.set("/process/ioPriority", json!({"class": "IOPRIO_CLASS_IDLE", "priority": 0}));
    bundle.set("/linux/personality", json!({"domain": "LINUX32"}));
    std::os::unix::fs::symlink("busybox", bundle.rootfs("/bin/uname")).unwrap();
    let printed = squeeze(&bundle.run().ok());
    let machine = if cfg!(target_arch = "x86_64") { "i686" } else { "armv8l" };
    assert_eq!(printed, format!("7 3 00000008 {machine}"));
}

#[test]
fn default_and_added_devices_and_links_are_there() {
    let mut bundle = Bundle::new(
        "stat -c '%n %F %t,%T %a %u' /dev/null /dev/tty /dev/mine /dev/deep/pipe; \
         for l in fd stdin ptmx core; do readlink /dev/$l; done; echo x > /dev/null && cat /dev/null",
    );
    bundle.set(
        "/linux/devices",
        json!([
            {"path": "/dev/mine", "type": "c", "major": 1, "minor": 5, "fileMode": 0o640, "uid": 7},
            {"path": "/dev/deep/pipe", "type": "p"}
        ]),
    );
    let printed = bundle.run().ok();
    let expected = "/dev/null character special file 1,3 666 0\n\
                    /dev/tty character special file 5,0 666 0\n\
                    /dev/mine character special file 1,5 640 7\n\
                    /dev/deep/pipe fifo 0,0 666 0\n\
                    /proc/self/fd\n/proc/self/fd/0\npts/ptmx\n/proc/kcore\n";
    assert_eq!(printed, expected);
}

#[test]
fn a_device_that_is_not_allowed_cannot_be_opened() {
    let mut bundle =
        Bundle::new("mknod /tmp/mem c 1 1 && cat /tmp/mem; cat /dev/mine | head -c 1 | wc -c");
    for name in ["bounding", "effective", "permitted"] {
        bundle.set(&format!("/process/capabilities/{name}"), json!(["CAP_MKNOD"]));
    }
    let device = json!([{"path": "/dev/mine", "type": "c", "major": 1, "minor": 5}]);
    bundle.set("/linux/devices", device);
    let ran = bundle.run();
    assert!(ran.stderr.contains("Operation not permitted"), "{ran:?}");
    assert_eq!(ran.ok().trim(), "1");
}

#[test]
fn limits_of_the_control_group_are_seen_inside() {
    let mut bundle = Bundle::new(
        "cat /sys/fs/cgroup/memory/memory.limit_in_bytes /sys/fs/cgroup/pids/pids.max \
         || cat /sys/fs/cgroup/memory.max /sys/fs/cgroup/pids.max; cat /proc/self/cgroup; \
         mkdir /sys/fs/cgroup/memory/x",
    );
    bundle.set("/linux/resources/memory", json!({"limit": 64 << 20}));
    bundle.set("/linux/resources/pids", json!({"limit": 33}));
    let ran = bundle.run();
    assert!(ran.stdout.starts_with("67108864\n33\n"), "{ran:?}");
    assert!(ran.stdout.lines().skip(2).all(|line| line.ends_with(":/")), "{ran:?}");
    assert!(ran.stderr.contains("Read-only"), "{ran:?}");
}

#[test]
fn parameters_of_its_namespaces_are_set_and_the_hosts_stay() {
    let mut bundle = Bundle::new(
        "cat /proc/sys/net/ipv4/ip_unprivileged_port_start /proc/sys/kernel/shm_rmid_forced",
    );
    let host = fs::read_to_string("/proc/sys/net/ipv4/ip_unprivileged_port_start").unwrap();
    bundle.set(
        "/linux/sysctl",
        json!({"net.ipv4.ip_unprivileged_port_start": "77", "kernel.shm_rmid_forced": "1"}),
    );
    assert_eq!(bundle.run().ok(), "77\n1\n");
    let after = fs::read_to_string("/proc/sys/net/ipv4/ip_unprivileged_port_start").unwrap();
    assert_eq!(host, after);
}

#[test]
fn a_seccomp_filter_is_in_force_with_and_without_no_new_privileges() {
    for no_new_privileges in [true, false] {
        let mut bundle = Bundle::new(
            "mkdir /tmp/made; grep -E '^(Seccomp|NoNewPrivs|CapEff):' /proc/self/status",
        );
        bundle.set("/process/noNewPrivileges", json!(no_new_privileges));
        bundle.set(
            "/linux/seccomp",
            json!({
                "defaultAction": "SCMP_ACT_ALLOW",
                "syscalls": [{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 13}]
            }),
        );
        let ran = bundle.run();
        assert!(ran.stderr.contains("Permission denied"), "{ran:?}");
        assert!(!bundle.rootfs("/tmp/made").exists());
        let expected = format!(
            "CapEff: 0000000020000420 NoNewPrivs: {} Seccomp: 2",
            u8::from(no_new_privileges)
        );
        assert_eq!(squeeze(&ran.ok()), expected);
    }
}

#[test]
fn a_missing_working_directory_is_made_for_its_user() {
    let mut bundle = Bundle::new("pwd; touch here");
    bundle.set("/process/cwd", json!("/srv/app/data"));
    bundle.set("/process/user", json!({"uid": 1000, "gid": 1000}));
    assert_eq!(bundle.run().ok(), "/srv/app/data\n");
    assert!(bundle.rootfs("/srv/app/data/here").exists());
}

#[test]
fn the_environment_is_what_is_asked_for_and_nothing_else() {
    let mut bundle = Bundle::new("env");
    bundle.set("/process/env", json!(["PATH=/bin", "A=1=2", "NAMELESS", "=x"]));
    let ran = bundle.run();
    assert!(
        ran.stderr.contains("process.env[2]") && ran.stderr.contains("process.env[3]"),
        "{ran:?}"
    );
    let mut lines: Vec<String> = ran.ok().lines().map(str::to_owned).collect();
    lines.retain(|line| !line.starts_with("PWD=") && !line.starts_with("SHLVL="));
    lines.sort();
    assert_eq!(lines, ["A=1=2", "HOME=/root", "PATH=/bin"]);
}
