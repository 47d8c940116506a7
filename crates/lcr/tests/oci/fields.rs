//! The grid: each property that the runtime-spec (config.md and config-linux.md, version 1.3)
//! defines is honoured, or refused with its name. None is skipped.

use std::fs;

use serde_json::{Value, json};

use crate::bundle::{Bundle, squeeze};

/// A property; what to set, if anything; and what has to come of it: what a script prints, the
/// text it is refused with, or the test of its own that shows it.
const GRID: &str = r#"
ociVersion | - | test refused::what_means_nothing_is_refused_with_its_name_in_one_line
root.path | /root/path = "rootfs/.." | refused: cannot run sh
root.readonly | /root/readonly = true | touch /x 2>&1 -> touch: /x: Read-only file system
mounts.destination | - | test mounts::files_and_directories_are_bound_and_missing_mount_points_made
mounts.source | - | test mounts::files_and_directories_are_bound_and_missing_mount_points_made
mounts.type | - | test mounts::attributes_are_set_on_every_kind_of_mount
mounts.options | - | test mounts::attributes_are_set_on_every_kind_of_mount
mounts.uidMappings | - | test mounts::an_idmapped_mount_shows_other_owners
mounts.gidMappings | - | test mounts::an_idmapped_mount_shows_other_owners
hostname | /hostname = "grid" | hostname -> grid
domainname | /domainname = "grid" | cat /proc/sys/kernel/domainname -> grid
hooks.prestart | - | test hooks::hooks_run_in_their_order_and_namespaces_with_the_state
hooks.createRuntime | - | test hooks::hooks_run_in_their_order_and_namespaces_with_the_state
hooks.createContainer | - | test hooks::hooks_run_in_their_order_and_namespaces_with_the_state
hooks.startContainer | - | test hooks::hooks_run_in_their_order_and_namespaces_with_the_state
hooks.poststart | - | test hooks::hooks_run_in_their_order_and_namespaces_with_the_state
hooks.poststop | - | test hooks::hooks_run_in_their_order_and_namespaces_with_the_state
hooks.*.path, args, env | - | test hooks::hooks_run_in_their_order_and_namespaces_with_the_state
hooks.*.timeout | - | test hooks::a_hook_that_does_not_end_in_time_is_killed
annotations | - | test hooks::hooks_run_in_their_order_and_namespaces_with_the_state
solaris | /solaris = {} | refused: solaris is not supported
windows | /windows = {"layerFolders": []} | refused: windows is not supported
vm | /vm = {"kernel": {"path": "/x"}} | refused: vm is not supported
zos | /zos = {} | refused: zos is not supported
process.terminal | - | test terminal::a_terminal_is_handed_over_with_its_size_and_is_the_console
process.consoleSize | - | test terminal::a_terminal_is_handed_over_with_its_size_and_is_the_console
process.cwd | /process/cwd = "/tmp" | pwd -> /tmp
process.env | /process/env = ["PATH=/bin", "GRID=yes"] | echo $GRID -> yes
process.args | - | echo args -> args
process.commandLine | /process/commandLine = "cmd" | refused: process.commandLine is not supported
process.user.uid | /process/user/uid = 7 | id -u -> 7
process.user.gid | /process/user/gid = 8 | id -g -> 8
process.user.umask | /process/user/umask = 63 | umask -> 0077
process.user.additionalGids | /process/user/additionalGids = [9] | id -G -> 0 9
process.user.username | /process/user/username = "x" | refused: process.user.username is not supported
process.capabilities.bounding | - | test inside::capabilities_are_those_that_are_asked_for
process.capabilities.effective | - | test inside::capabilities_are_those_that_are_asked_for
process.capabilities.permitted | - | test inside::capabilities_are_those_that_are_asked_for
process.capabilities.inheritable | - | test inside::ambient_capabilities_survive_a_change_of_user
process.capabilities.ambient | - | test inside::ambient_capabilities_survive_a_change_of_user
process.noNewPrivileges | /process/noNewPrivileges = false | grep NoNewPrivs /proc/self/status -> NoNewPrivs: 0
process.rlimits | /process/rlimits = [{"type": "RLIMIT_NOFILE", "soft": 77, "hard": 77}] | ulimit -n -> 77
process.apparmorProfile | - | test fields::a_label_without_its_security_module_is_refused
process.selinuxLabel | - | test fields::a_label_without_its_security_module_is_refused
process.oomScoreAdj | /process/oomScoreAdj = 444 | cat /proc/self/oom_score_adj -> 444
process.scheduler | - | test inside::scheduling_priority_and_personality_are_set
process.scheduler.flags | /process/scheduler = {"policy": "SCHED_OTHER", "flags": ["SCHED_FLAG_UTIL_CLAMP_MIN"]} | refused: process.scheduler.flags is not supported
process.ioPriority | - | test inside::scheduling_priority_and_personality_are_set
process.execCPUAffinity | - | test fields::affinity_is_for_added_processes_alone
linux.namespaces.type | - | test inside::every_namespace_is_its_own
linux.namespaces.path | - | test inside::a_namespace_that_has_a_path_is_joined
linux.namespaces.path (mount) | /linux/namespaces/4/path = "/proc/1/ns/mnt" | refused: linux.namespaces[4].path is not supported
linux.uidMappings | - | test user_namespace::root_inside_is_nobody_outside
linux.gidMappings | - | test user_namespace::root_inside_is_nobody_outside
linux.timeOffsets | - | test inside::clocks_are_offset_in_a_time_namespace
linux.devices | - | test inside::default_and_added_devices_and_links_are_there
linux.netDevices | /linux/netDevices = {"eth0": {"name": "eth1"}} | refused: linux.netDevices is not supported
linux.cgroupsPath | - | test fields::the_path_of_the_control_group_is_used
linux.resources.memory | /linux/resources/memory = {"limit": 67108864} | cat /sys/fs/cgroup/memory/memory.limit_in_bytes || cat /sys/fs/cgroup/memory.max -> 67108864
linux.resources.cpu | /linux/resources/cpu = {"quota": 50000, "period": 100000} | cat /sys/fs/cgroup/cpu/cpu.cfs_quota_us || cut -d' ' -f1 /sys/fs/cgroup/cpu.max -> 50000
linux.resources.pids | /linux/resources/pids = {"limit": 77} | cat /sys/fs/cgroup/pids/pids.max || cat /sys/fs/cgroup/pids.max -> 77
linux.resources.devices | - | test inside::a_device_that_is_not_allowed_cannot_be_opened
linux.resources.unified | /linux/resources/unified = {"../x": "1"} | refused: linux.resources.unified
linux.intelRdt | /linux/intelRdt = {"closID": "x"} | refused: linux.intelRdt is not supported
linux.memoryPolicy | /linux/memoryPolicy = {"mode": "MPOL_LOCAL"} | refused: linux.memoryPolicy is not supported
linux.sysctl | /linux/sysctl = {"net.ipv4.ip_default_ttl": "77"} | cat /proc/sys/net/ipv4/ip_default_ttl -> 77
linux.seccomp | - | test inside::a_seccomp_filter_is_in_force_with_and_without_no_new_privileges
linux.seccomp.listenerPath | /linux/seccomp = {"defaultAction": "SCMP_ACT_ALLOW", "listenerPath": "/x"} | refused: listenerPath
linux.rootfsPropagation | - | test mounts::the_propagation_of_the_root_is_set
linux.maskedPaths | /linux/maskedPaths = ["/etc/passwd"] | cat /etc/passwd -> 
linux.readonlyPaths | /linux/readonlyPaths = ["/etc"] | touch /etc/x 2>&1 -> touch: /etc/x: Read-only file system
linux.mountLabel | - | test fields::a_label_without_its_security_module_is_refused
linux.personality | - | test inside::scheduling_priority_and_personality_are_set
linux.personality.flags | /linux/personality = {"domain": "LINUX", "flags": ["X"]} | refused: linux.personality.flags is not supported
"#;

#[test]
fn each_property_is_honoured_or_refused_with_its_name() {
    for line in GRID.lines().filter(|line| !line.is_empty()) {
        let fields: Vec<&str> = line.split(" | ").collect();
        let [name, set, fate] = fields[..] else { panic!("{line}") };
        if let Some(test) = fate.strip_prefix("test ") {
            has_test(name, test);
            continue;
        }
        let (script, printed) = fate.split_once(" ->").unwrap_or(("true", ""));
        let mut bundle = Bundle::new(script);
        if let Some((pointer, value)) = set.split_once(" = ") {
            bundle.set(pointer, serde_json::from_str::<Value>(value).unwrap());
        }
        let ran = bundle.run();
        match fate.strip_prefix("refused: ") {
            Some(text) => assert!(ran.status != 0 && ran.stderr.contains(text), "{name}: {ran:?}"),
            None => assert_eq!(squeeze(&ran.stdout), printed.trim(), "{name}: {ran:?}"),
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

#[test]
fn a_label_without_its_security_module_is_refused() {
    let selinux = std::path::Path::new("/sys/fs/selinux/enforce").exists();
    let apparmor = fs::read_to_string("/sys/module/apparmor/parameters/enabled");
    let apparmor = apparmor.is_ok_and(|text| text.starts_with('Y'));
    for (pointer, name, enabled) in [
        ("/process/selinuxLabel", "process.selinuxLabel", selinux),
        ("/linux/mountLabel", "linux.mountLabel", selinux),
        ("/process/apparmorProfile", "process.apparmorProfile", apparmor),
    ] {
        let mut bundle = Bundle::new("true");
        bundle.set(pointer, json!("no-such-label"));
        let error = bundle.run().failed();
        // Where the module is there, it is the kernel that refuses a label it does not know.
        assert!(enabled || error.contains(&format!("{name} is not supported")), "{error}");
    }
    if !apparmor {
        let mut bundle = Bundle::new("true");
        bundle.set("/process/apparmorProfile", json!("unconfined"));
        bundle.run().ok();
    }
}
