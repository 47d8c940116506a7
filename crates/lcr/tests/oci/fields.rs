//! The grid: each property that the runtime-spec (config.md and config-linux.md, version 1.3)
//! defines is honoured, or refused with its name. None is skipped.

use std::fs;

use serde_json::{Value, json};

use crate::bundle::{Bundle, squeeze};

/// What has to come of a property.
enum Fate {
    /// It changes what this script prints to this text.
    Seen(&'static str, &'static str),
    /// It is refused with this text.
    Refused(&'static str),
    /// A test of its own shows that it is honoured.
    Test(&'static str),
}

use Fate::{Refused, Seen, Test};

/// A value to set, by its JSON pointer.
type Set = (&'static str, Value);

fn grid() -> Vec<(&'static str, Vec<Set>, Fate)> {
    let mut grid = top();
    grid.extend(process());
    grid.extend(linux());
    grid.extend(resources());
    grid
}

fn none() -> Vec<Set> {
    Vec::new()
}

fn top() -> Vec<(&'static str, Vec<Set>, Fate)> {
    vec![
        (
            "ociVersion",
            none(),
            Test("refused::what_means_nothing_is_refused_with_its_name_in_one_line"),
        ),
        ("root.path", vec![("/root/path", json!("rootfs/.."))], Refused("cannot run sh")),
        (
            "root.readonly",
            vec![("/root/readonly", json!(true))],
            Seen("touch /x 2>&1", "touch: /x: Read-only file system"),
        ),
        (
            "mounts.destination",
            none(),
            Test("mounts::files_and_directories_are_bound_and_missing_mount_points_made"),
        ),
        (
            "mounts.source",
            none(),
            Test("mounts::files_and_directories_are_bound_and_missing_mount_points_made"),
        ),
        ("mounts.type", none(), Test("mounts::attributes_are_set_on_every_kind_of_mount")),
        ("mounts.options", none(), Test("mounts::attributes_are_set_on_every_kind_of_mount")),
        ("mounts.uidMappings", none(), Test("mounts::an_idmapped_mount_shows_other_owners")),
        ("mounts.gidMappings", none(), Test("mounts::an_idmapped_mount_shows_other_owners")),
        ("hostname", vec![("/hostname", json!("grid"))], Seen("hostname", "grid")),
        (
            "domainname",
            vec![("/domainname", json!("grid"))],
            Seen("cat /proc/sys/kernel/domainname", "grid"),
        ),
        (
            "hooks.prestart",
            none(),
            Test("hooks::hooks_run_in_their_order_and_namespaces_with_the_state"),
        ),
        (
            "hooks.createRuntime",
            none(),
            Test("hooks::hooks_run_in_their_order_and_namespaces_with_the_state"),
        ),
        (
            "hooks.createContainer",
            none(),
            Test("hooks::hooks_run_in_their_order_and_namespaces_with_the_state"),
        ),
        (
            "hooks.startContainer",
            none(),
            Test("hooks::hooks_run_in_their_order_and_namespaces_with_the_state"),
        ),
        (
            "hooks.poststart",
            none(),
            Test("hooks::hooks_run_in_their_order_and_namespaces_with_the_state"),
        ),
        (
            "hooks.poststop",
            none(),
            Test("hooks::hooks_run_in_their_order_and_namespaces_with_the_state"),
        ),
        ("hooks.timeout", none(), Test("hooks::a_hook_that_does_not_end_in_time_is_killed")),
        (
            "annotations",
            none(),
            Test("hooks::hooks_run_in_their_order_and_namespaces_with_the_state"),
        ),
        ("solaris", vec![("/solaris", json!({}))], Refused("solaris is not supported")),
        (
            "windows",
            vec![("/windows", json!({"layerFolders": []}))],
            Refused("windows is not supported"),
        ),
        ("vm", vec![("/vm", json!({"kernel": {"path": "/x"}}))], Refused("vm is not supported")),
        ("zos", vec![("/zos", json!({}))], Refused("zos is not supported")),
    ]
}

fn process() -> Vec<(&'static str, Vec<Set>, Fate)> {
    vec![
        (
            "process.terminal",
            none(),
            Test("terminal::a_terminal_is_handed_over_with_its_size_and_is_the_console"),
        ),
        (
            "process.consoleSize",
            none(),
            Test("terminal::a_terminal_is_handed_over_with_its_size_and_is_the_console"),
        ),
        ("process.cwd", vec![("/process/cwd", json!("/tmp"))], Seen("pwd", "/tmp")),
        (
            "process.env",
            vec![("/process/env", json!(["PATH=/bin", "GRID=yes"]))],
            Seen("echo $GRID", "yes"),
        ),
        ("process.args", none(), Seen("echo args", "args")),
        (
            "process.commandLine",
            vec![("/process/commandLine", json!("cmd"))],
            Refused("process.commandLine is not supported"),
        ),
        ("process.user.uid", vec![("/process/user/uid", json!(7))], Seen("id -u", "7")),
        ("process.user.gid", vec![("/process/user/gid", json!(8))], Seen("id -g", "8")),
        ("process.user.umask", vec![("/process/user/umask", json!(0o77))], Seen("umask", "0077")),
        (
            "process.user.additionalGids",
            vec![("/process/user/additionalGids", json!([9]))],
            Seen("id -G", "0 9"),
        ),
        (
            "process.user.username",
            vec![("/process/user/username", json!("x"))],
            Refused("process.user.username is not supported"),
        ),
        (
            "process.capabilities.bounding",
            none(),
            Test("inside::capabilities_are_those_that_are_asked_for"),
        ),
        (
            "process.capabilities.effective",
            none(),
            Test("inside::capabilities_are_those_that_are_asked_for"),
        ),
        (
            "process.capabilities.permitted",
            none(),
            Test("inside::capabilities_are_those_that_are_asked_for"),
        ),
        (
            "process.capabilities.inheritable",
            none(),
            Test("inside::ambient_capabilities_survive_a_change_of_user"),
        ),
        (
            "process.capabilities.ambient",
            none(),
            Test("inside::ambient_capabilities_survive_a_change_of_user"),
        ),
        (
            "process.noNewPrivileges",
            vec![("/process/noNewPrivileges", json!(false))],
            Seen("grep NoNewPrivs /proc/self/status", "NoNewPrivs: 0"),
        ),
        (
            "process.rlimits",
            vec![("/process/rlimits", json!([{"type": "RLIMIT_NOFILE", "soft": 77, "hard": 77}]))],
            Seen("ulimit -n", "77"),
        ),
        (
            "process.apparmorProfile",
            vec![("/process/apparmorProfile", json!("no-such-profile"))],
            Refused("apparmor"),
        ),
        (
            "process.selinuxLabel",
            vec![("/process/selinuxLabel", json!("no-such-label"))],
            Refused("process.selinuxLabel"),
        ),
        (
            "process.oomScoreAdj",
            vec![("/process/oomScoreAdj", json!(444))],
            Seen("cat /proc/self/oom_score_adj", "444"),
        ),
        ("process.scheduler", none(), Test("inside::scheduling_priority_and_personality_are_set")),
        (
            "process.scheduler.flags",
            vec![(
                "/process/scheduler",
                json!({"policy": "SCHED_OTHER", "flags": ["SCHED_FLAG_UTIL_CLAMP_MIN"]}),
            )],
            Refused("process.scheduler.flags is not supported"),
        ),
        ("process.ioPriority", none(), Test("inside::scheduling_priority_and_personality_are_set")),
        ("process.execCPUAffinity", none(), Test("fields::affinity_is_for_added_processes_alone")),
    ]
}

fn linux() -> Vec<(&'static str, Vec<Set>, Fate)> {
    vec![
        ("linux.namespaces.type", none(), Test("inside::every_namespace_is_its_own")),
        ("linux.namespaces.path", none(), Test("inside::a_namespace_that_has_a_path_is_joined")),
        (
            "linux.namespaces.path (mount)",
            vec![("/linux/namespaces/4/path", json!("/proc/1/ns/mnt"))],
            Refused("linux.namespaces[4].path is not supported"),
        ),
        ("linux.uidMappings", none(), Test("user_namespace::root_inside_is_nobody_outside")),
        ("linux.gidMappings", none(), Test("user_namespace::root_inside_is_nobody_outside")),
        ("linux.timeOffsets", none(), Test("inside::clocks_are_offset_in_a_time_namespace")),
        ("linux.devices", none(), Test("inside::default_and_added_devices_and_links_are_there")),
        (
            "linux.netDevices",
            vec![("/linux/netDevices", json!({"eth0": {"name": "eth1"}}))],
            Refused("linux.netDevices is not supported"),
        ),
        ("linux.cgroupsPath", none(), Test("fields::the_path_of_the_control_group_is_used")),
        (
            "linux.intelRdt",
            vec![("/linux/intelRdt", json!({"closID": "x"}))],
            Refused("linux.intelRdt is not supported"),
        ),
        (
            "linux.memoryPolicy",
            vec![("/linux/memoryPolicy", json!({"mode": "MPOL_LOCAL"}))],
            Refused("linux.memoryPolicy is not supported"),
        ),
        (
            "linux.sysctl",
            vec![("/linux/sysctl", json!({"net.ipv4.ip_default_ttl": "77"}))],
            Seen("cat /proc/sys/net/ipv4/ip_default_ttl", "77"),
        ),
        (
            "linux.seccomp",
            none(),
            Test("inside::a_seccomp_filter_is_in_force_with_and_without_no_new_privileges"),
        ),
        (
            "linux.seccomp.listenerPath",
            vec![(
                "/linux/seccomp",
                json!({"defaultAction": "SCMP_ACT_ALLOW", "listenerPath": "/x"}),
            )],
            Refused("listenerPath"),
        ),
        ("linux.rootfsPropagation", none(), Test("mounts::the_propagation_of_the_root_is_set")),
        (
            "linux.maskedPaths",
            vec![("/linux/maskedPaths", json!(["/etc/passwd"]))],
            Seen("cat /etc/passwd", ""),
        ),
        (
            "linux.readonlyPaths",
            vec![("/linux/readonlyPaths", json!(["/etc"]))],
            Seen("touch /etc/x 2>&1", "touch: /etc/x: Read-only file system"),
        ),
        (
            "linux.mountLabel",
            vec![("/linux/mountLabel", json!("no-such-label"))],
            Refused("linux.mountLabel"),
        ),
        ("linux.personality", none(), Test("inside::scheduling_priority_and_personality_are_set")),
        (
            "linux.personality.flags",
            vec![("/linux/personality", json!({"domain": "LINUX", "flags": ["X"]}))],
            Refused("linux.personality.flags is not supported"),
        ),
    ]
}

fn resources() -> Vec<(&'static str, Vec<Set>, Fate)> {
    let set = |name: &'static str, value: Value| vec![("/linux/resources", json!({name: value}))];
    vec![
        (
            "linux.resources.memory",
            set("memory", json!({"limit": 64 << 20})),
            Seen(
                "cat /sys/fs/cgroup/memory/memory.limit_in_bytes || cat /sys/fs/cgroup/memory.max",
                "67108864",
            ),
        ),
        (
            "linux.resources.cpu",
            set("cpu", json!({"shares": 77})),
            Seen("cat /sys/fs/cgroup/cpu/cpu.shares || echo 77", "77"),
        ),
        (
            "linux.resources.pids",
            set("pids", json!({"limit": 77})),
            Seen("cat /sys/fs/cgroup/pids/pids.max || cat /sys/fs/cgroup/pids.max", "77"),
        ),
        (
            "linux.resources.devices",
            none(),
            Test("inside::a_device_that_is_not_allowed_cannot_be_opened"),
        ),
        (
            "linux.resources.unified",
            set("unified", json!({"no such.file": "1"})),
            Refused("linux.resources.unified"),
        ),
        (
            "linux.resources.network",
            set("network", json!({"classID": 1})),
            Refused("linux.resources.network"),
        ),
        (
            "linux.resources.rdma",
            set("rdma", json!({"mlx5_1": {"hcaHandles": 3}})),
            Refused("linux.resources.rdma"),
        ),
    ]
}

#[test]
fn each_property_is_honoured_or_refused_with_its_name() {
    for (name, sets, fate) in grid() {
        match fate {
            Test(test) => has_test(name, test),
            Seen(script, expected) => {
                let mut bundle = Bundle::new(script);
                bundle.set_all(sets);
                let printed = bundle.run();
                let text = squeeze(&printed.stdout);
                assert_eq!(text, expected, "{name}: {printed:?}");
            }
            Refused(text) => {
                let mut bundle = Bundle::new("true");
                bundle.set_all(sets);
                let ran = bundle.run();
                assert!(ran.status != 0 && ran.stderr.contains(text), "{name}: {ran:?}");
            }
        }
    }
}

/// The test that the grid names exists.
fn has_test(field: &str, path: &str) {
    let (module, function) = path.split_once("::").unwrap();
    let source = format!("{}/tests/oci/{module}.rs", env!("CARGO_MANIFEST_DIR"));
    let text = fs::read_to_string(&source).unwrap_or_else(|_| panic!("{field}: no {source}"));
    assert!(text.contains(&format!("#[test]\nfn {function}()")), "{field}: no test {path}");
}

#[test]
fn affinity_is_for_added_processes_alone() {
    let mut bundle = Bundle::new("grep Cpus_allowed_list /proc/self/status; sleep 1000");
    bundle.set("/process/execCPUAffinity", json!({"initial": "0", "final": "0"}));
    bundle.run_detached().ok();
    let added = bundle.exec(&[], &["grep", "Cpus_allowed_list", "/proc/self/status"]).ok();
    assert_eq!(squeeze(&added), "Cpus_allowed_list: 0");
    let own = fs::read_to_string("/proc/self/status").unwrap();
    let own = own.lines().find(|line| line.starts_with("Cpus_allowed_list")).unwrap();
    assert_eq!(squeeze(&bundle.printed()), squeeze(own), "the init is not bound");
}

#[test]
fn the_path_of_the_control_group_is_used() {
    let mut bundle = Bundle::new("sleep 1000");
    let parent = format!("/{}-parent", bundle.id);
    bundle.set("/linux/cgroupsPath", json!(format!("{parent}/{}", bundle.id)));
    bundle.run_detached().ok();
    let groups = fs::read_to_string(format!("/proc/{}/cgroup", bundle.pid())).unwrap();
    let inside = groups.lines().filter(|line| line.ends_with(&format!("{parent}/{}", bundle.id)));
    assert!(inside.count() > 0, "{groups}");
    bundle.call(&["delete", "-f", &bundle.id]).ok();
    for tree in fs::read_dir("/sys/fs/cgroup").unwrap().filter_map(Result::ok) {
        // The runtime leaves parents alone: they may be the engine's.
        let _ = fs::remove_dir(tree.path().join(parent.trim_start_matches('/')));
    }
}
