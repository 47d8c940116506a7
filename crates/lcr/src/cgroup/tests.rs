//! Control groups of the machine the tests run on. They need root.

use std::fs;
use std::os::fd::AsFd;
use std::os::unix::fs::PermissionsExt as _;
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use oci_spec::runtime::LinuxResources;

use super::*;

/// A group that is gone with all that is in it, and the one above it, when the test ends.
struct Group {
    plan: CgroupPlan,
    parent: Cgroup,
}

impl Group {
    fn new(hierarchies: &Hierarchies, resources: &str) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let parent = PathBuf::from(format!("lcr-test-{}-{count}", std::process::id()));
        let resources: LinuxResources = serde_json::from_str(resources).unwrap();
        Self {
            plan: CgroupPlan::new(hierarchies, &parent.join("box"), &resources).unwrap(),
            parent: Cgroup::new(hierarchies, &parent).unwrap(),
        }
    }

    fn created(hierarchies: &Hierarchies, resources: &str) -> Self {
        let group = Self::new(hierarchies, resources);
        group.plan.create().unwrap();
        group
    }

    fn cgroup(&self) -> &Cgroup {
        self.plan.cgroup()
    }

    /// A shell that joins the group as a container's init does and goes on with `script`.
    fn shell(&self, script: &str) -> Command {
        let file = if self.cgroup().version() == Version::V1 { "tasks" } else { "cgroup.procs" };
        let join = |directory: PathBuf| format!("echo 0 > '{}/{file}' && ", directory.display());
        let join: String = self.cgroup().directories().map(|(_, path)| join(path)).collect();
        let mut command = Command::new("sh");
        command.arg("-c").arg(format!("{join}{script}")).stdin(Stdio::null());
        command
    }

    fn run(&self, script: &str) -> Output {
        self.shell(script).output().unwrap()
    }

    /// A process that stays, once it is in the group and has said so.
    fn inhabitant(&self) -> Child {
        let mut command = self.shell("echo here && exec cat");
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let mut said = [0; 5];
        io::Read::read_exact(child.stdout.as_mut().unwrap(), &mut said).unwrap();
        child
    }

    fn exists(&self) -> bool {
        self.cgroup().directories().any(|(_, directory)| directory.exists())
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        let _ = self.cgroup().kill();
        let removed = self.plan.remove().and_then(|()| self.parent.remove());
        assert!(removed.is_ok() || std::thread::panicking(), "{removed:?}");
    }
}

/// The version 2 of this machine, even where it is not the one in use.
fn unified() -> Hierarchies {
    let mountinfo = fs::read_to_string("/proc/self/mountinfo").unwrap();
    let lines = mountinfo.lines().filter(|line| line.contains(" - cgroup2 "));
    let lines: Vec<_> = lines.collect();
    assert!(!lines.is_empty(), "this test needs a cgroup2 mount: mount -t cgroup2 none DIRECTORY");
    Hierarchies::from_mountinfo(&lines.join("\n"), |mount| {
        let names = fs::read_to_string(mount.join("cgroup.controllers")).unwrap();
        Ok(Controllers::from_names(names.split_ascii_whitespace()))
    })
    .unwrap()
}

const LIMITS: &str = r#"{"memory": {"limit": 67108864}, "pids": {"limit": 20},
    "cpu": {"quota": 50000, "period": 100000, "cpus": "0"}}"#;

#[test]
fn a_group_is_made_limited_lived_in_and_removed() {
    let hierarchies = Hierarchies::detect().unwrap();
    let group = Group::created(&hierarchies, LIMITS);
    let cgroup = group.cgroup();
    for (_, directory) in cgroup.directories() {
        assert_eq!(fs::metadata(&directory).unwrap().permissions().mode() & 0o777, 0o755);
    }
    let mut child = group.inhabitant();
    let pid = i32::try_from(child.id()).unwrap();
    assert_eq!(cgroup.pids().unwrap(), [pid]);
    let stats = cgroup.stats().unwrap();
    assert_eq!(stats.memory.limit, Some(67_108_864));
    assert_eq!((stats.pids.current, stats.pids.limit), (1, Some(20)));
    assert!(stats.cpu.usage > 0 && stats.memory.usage > 0);
    assert_eq!(stats.oom_kills, 0);
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    assert!(status.contains("Cpus_allowed_list:\t0\n"), "{status}");

    let less = r#"{"memory": {"limit": 33554432}, "pids": {"limit": -1}}"#;
    cgroup.update(&serde_json::from_str(less).unwrap()).unwrap();
    let stats = cgroup.stats().unwrap();
    assert_eq!((stats.memory.limit, stats.pids.limit), (Some(33_554_432), None));

    cgroup.freeze().unwrap();
    cgroup.thaw().unwrap();
    cgroup.kill().unwrap();
    let status = child.wait().unwrap();
    assert_eq!(std::os::unix::process::ExitStatusExt::signal(&status), Some(9));
    cgroup.remove().unwrap();
    assert!(!group.exists());
    assert!(cgroup.pids().unwrap().is_empty());
    cgroup.remove().unwrap();
    cgroup.kill().unwrap();
    assert!(matches!(cgroup.stats(), Err(CgroupError::Io { .. })));
}

#[test]
fn a_thread_joins_by_itself_with_version_1() {
    let hierarchies = Hierarchies::detect().unwrap();
    if hierarchies.version() == Version::V2 {
        // There the whole process would move: the shells of the other tests do it.
        return;
    }
    let group = Group::created(&hierarchies, "{}");
    let cgroup = group.cgroup().clone();
    let child = std::thread::spawn(move || {
        cgroup.join_self().unwrap();
        Command::new("cat").arg("/proc/self/cgroup").output().unwrap()
    });
    let listed = String::from_utf8(child.join().unwrap().stdout).unwrap();
    let path = format!(":/{}", group.cgroup().path().display());
    let inside = listed.lines().filter(|line| line.ends_with(&path)).count();
    assert_eq!(inside, hierarchies.list().len(), "{listed}");
    assert!(group.plan.open_into().unwrap().is_none());
}

#[test]
fn a_prepared_parent_hands_its_children_what_they_need() {
    let hierarchies = Hierarchies::detect().unwrap();
    let group = Group::new(&hierarchies, "{}");
    hierarchies.prepare_parent(group.parent.path()).unwrap();
    hierarchies.prepare_parent(group.parent.path()).unwrap();
    group.plan.create().unwrap();
    group.plan.create().unwrap();
    assert!(group.run("true").status.success());
    if hierarchies.version() == Version::V1 {
        let cpuset = group.cgroup().directory(Controller::Cpuset).unwrap();
        assert!(!fs::read_to_string(cpuset.join("cpuset.cpus")).unwrap().trim().is_empty());
    }
}

#[test]
fn the_kernel_kills_for_lack_of_memory_and_counts_it() {
    let hierarchies = Hierarchies::detect().unwrap();
    let group = Group::created(&hierarchies, r#"{"memory": {"limit": 8388608}}"#);
    // `tail` keeps a line until it ends.
    let output = group.run("head -c 64m /dev/zero | tail > /dev/null");
    assert!(!output.status.success());
    assert!(group.cgroup().oom_kills().unwrap() >= 1);
}

#[test]
fn a_group_of_somebody_else_is_neither_made_nor_removed() {
    let hierarchies = Hierarchies::detect().unwrap();
    let group = Group::new(&hierarchies, "{}");
    let theirs = group.cgroup().clone().made_by(Maker::Manager);
    let limits = serde_json::from_str(LIMITS).unwrap();
    let plan = CgroupPlan::of(theirs.clone(), &limits).unwrap();
    let error = plan.create().unwrap_err().to_string();
    assert!(error.starts_with("cannot find "), "{error}");
    assert!(!group.exists());

    group.plan.create().unwrap();
    plan.create().unwrap();
    assert_eq!(theirs.stats().unwrap().pids.limit, Some(20));
    let told: Vec<_> = plan.limits().filter(|(file, _)| *file == "pids.max").collect();
    assert_eq!(told, [("pids.max", "20")]);
    theirs.remove().unwrap();
    assert!(group.exists());
    assert_eq!(theirs.memory_events().is_some(), theirs.version() == Version::V2);
    assert!(group.cgroup().memory_events().is_none());
}

#[test]
fn a_group_that_cannot_be_limited_is_not_left_behind() {
    let hierarchies = Hierarchies::detect().unwrap();
    let group = Group::new(&hierarchies, r#"{"cpu": {"cpus": "4000"}}"#);
    let error = group.plan.create().unwrap_err().to_string();
    assert!(error.starts_with("cannot set linux.resources.cpu.cpus to 4000: "), "{error}");
    assert!(!group.exists());
}

#[test]
fn paths_that_are_not_below_the_roots_are_refused() {
    let hierarchies = Hierarchies::detect().unwrap();
    for path in ["", "/", "/a/../../b", ".."] {
        assert!(Cgroup::new(&hierarchies, Path::new(path)).is_err(), "{path}");
    }
    let group = Cgroup::new(&hierarchies, Path::new("/a/./b")).unwrap();
    assert_eq!(group.path(), Path::new("a/b"));
}

/// Null is always there; kmsg is a device that no container has.
fn check_devices(hierarchies: &Hierarchies) {
    let open = "head -c 0 /dev/null && echo null && head -c 0 /dev/kmsg && echo kmsg";
    let opened = |group: &Group| String::from_utf8(group.run(open).stdout).unwrap();
    let group = Group::created(hierarchies, r#"{"devices": [{"allow": false, "access": "rwm"}]}"#);
    assert_eq!(opened(&group), "null\n");
    let more = r#"{"devices": [{"allow": true, "type": "c", "major": 1, "minor": 11,
                                "access": "r"}]}"#;
    group.cgroup().update(&serde_json::from_str(more).unwrap()).unwrap();
    assert_eq!(opened(&group), "null\nkmsg\n");
    let written = group.run("echo x > /dev/kmsg");
    assert!(!written.status.success());
    let all = r#"{"devices": [{"allow": true, "access": "rwm"}]}"#;
    assert_eq!(opened(&Group::created(hierarchies, all)), "null\nkmsg\n");
    assert_eq!(opened(&Group::created(hierarchies, "{}")), "null\n");
}

#[test]
fn devices_that_are_not_allowed_cannot_be_opened() {
    check_devices(&Hierarchies::detect().unwrap());
}

#[test]
fn the_program_of_version_2_keeps_devices_closed() {
    check_devices(&unified());
}

#[test]
fn a_new_device_program_takes_the_place_of_the_old_one() {
    let group = Group::created(&unified(), "{}");
    let directory = group.cgroup().directories().next().unwrap().1;
    let programs = || {
        let directory = fs::File::open(&directory).unwrap();
        isula_sys::bpf::attached(directory.as_fd()).unwrap().len()
    };
    assert_eq!(programs(), 1);
    let update = |json: &str| group.cgroup().update(&serde_json::from_str(json).unwrap()).unwrap();
    update(r#"{"devices": [{"allow": false, "access": "rwm"}]}"#);
    assert_eq!(programs(), 1);
    update("{}");
    assert_eq!(programs(), 1);
    update(r#"{"devices": [{"allow": true, "access": "rwm"}]}"#);
    assert_eq!(programs(), 0);
}

#[test]
fn version_2_is_frozen_killed_and_removed_with_all_below_it() {
    let group = Group::created(&unified(), "{}");
    let cgroup = group.cgroup();
    let directory = cgroup.directories().next().unwrap().1;
    assert!(group.plan.open_into().unwrap().is_some());
    let mut child = group.inhabitant();
    // A container may make groups of its own below its group.
    fs::create_dir_all(directory.join("deep/deeper")).unwrap();
    let pid = child.id().to_string();
    fs::write(directory.join("deep/deeper/cgroup.procs"), &pid).unwrap();
    assert_eq!(cgroup.pids().unwrap(), [pid.parse::<i32>().unwrap()]);
    let events = || fs::read_to_string(directory.join("cgroup.events")).unwrap();
    cgroup.freeze().unwrap();
    assert!(events().contains("frozen 1"));
    cgroup.thaw().unwrap();
    assert!(events().contains("frozen 0"));
    cgroup.kill().unwrap();
    child.wait().unwrap();
    cgroup.remove().unwrap();
    assert!(!group.exists());
}

#[test]
fn a_controller_of_version_2_is_handed_down_to_the_group_that_needs_it() {
    let hierarchies = unified();
    let root = hierarchies.list()[0].mount.join("cgroup.subtree_control");
    let enabled = |path: &Path| fs::read_to_string(path).unwrap();
    let before = enabled(&root);
    let size = fs::read_dir("/sys/kernel/mm/hugepages").unwrap().next().unwrap().unwrap();
    let size = size.file_name().into_string().unwrap();
    let kilobytes = size.trim_start_matches("hugepages-").trim_end_matches("kB");
    let size = match kilobytes.parse::<u64>().unwrap() {
        gigabytes if gigabytes >= 1 << 20 => format!("{}GB", gigabytes >> 20),
        megabytes if megabytes >= 1 << 10 => format!("{}MB", megabytes >> 10),
        kilobytes => format!("{kilobytes}KB"),
    };
    let json = format!(r#"{{"hugepageLimits": [{{"pageSize": "{size}", "limit": 1073741824}}]}}"#);
    {
        let group = Group::created(&hierarchies, &json);
        let directory = group.cgroup().directories().next().unwrap().1;
        if hierarchies.controllers().has(Controller::Hugetlb) {
            let limit = directory.join(format!("hugetlb.{size}.max"));
            assert_eq!(enabled(&limit), "1073741824\n");
        } else {
            assert_eq!(group.plan.warnings().len(), 1);
        }
    }
    if !before.contains("hugetlb") && enabled(&root).contains("hugetlb") {
        fs::write(&root, "-hugetlb").unwrap();
    }
}
