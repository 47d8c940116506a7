//! The library as a shim uses it: a process with one thread, an overlay that the host never sees,
//! exec, terminals. There is no test harness, as that has threads.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by a panic"
)]

use std::fs;
use std::io::Read;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use isula_sys::process::{self, Ending};
use lcr::cgroup::Hierarchies;
use lcr::init::{Init, Stdio, WindowSize};
use lcr::{Plan, ProcessPlan, Rootfs, Setting, Step};
use oci_spec::runtime::Spec;
use serde_json::{Value, json};

struct Directory(PathBuf);

impl Drop for Directory {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).unwrap();
    }
}

fn layers(top: &Path) -> Rootfs {
    for directory in ["base/bin", "base/proc", "base/dev", "base/sys", "app/etc", "upper", "work"] {
        fs::create_dir_all(top.join(directory)).unwrap();
    }
    fs::copy("/bin/busybox", top.join("base/bin/busybox"))
        .expect("these tests need a static /bin/busybox: install busybox-static");
    for applet in ["sh", "cat", "echo", "sleep", "tty", "stty", "id", "pwd"] {
        std::os::unix::fs::symlink("busybox", top.join("base/bin").join(applet)).unwrap();
    }
    fs::write(top.join("base/same"), "base").unwrap();
    fs::write(top.join("app/same"), "app").unwrap();
    Rootfs::Overlay {
        lower: vec![top.join("app"), top.join("base")],
        upper: top.join("upper"),
        work: top.join("work"),
        volatile: true,
    }
}

fn config(script: &str) -> Value {
    json!({
        "ociVersion": "1.2.0",
        "process": {
            "user": {"uid": 0, "gid": 0}, "cwd": "/", "args": ["sh", "-c", script],
            "env": ["PATH=/bin"]
        },
        "root": {"path": "ignored"},
        "mounts": [
            {"destination": "/proc", "type": "proc"},
            {"destination": "/dev", "type": "tmpfs", "options": ["mode=755"]},
            {"destination": "/dev/pts", "type": "devpts", "options": ["newinstance", "ptmxmode=0666"]}
        ],
        "linux": {
            "namespaces": [
                {"type": "pid"}, {"type": "mount"}, {"type": "network"}, {"type": "ipc"},
                {"type": "uts"}, {"type": "cgroup"}
            ]
        }
    })
}

fn plan(top: &Path, config: Value) -> Plan {
    let spec: Spec = serde_json::from_value(config).unwrap();
    let rootfs = layers(top);
    let id = top.file_name().unwrap().to_str().unwrap();
    let setting = Setting {
        id,
        bundle: top,
        rootfs_idmapped: false,
        rootfs: Some(&rootfs),
        hierarchies: &Hierarchies::detect().unwrap(),
        cgroup: None,
        cgroup_parent: "/lcr-library-test",
        seccomp: None,
        filters: None,
    };
    let plan = lcr::compile(&spec, &setting).unwrap();
    // What runs is what another process would decode.
    Plan::decode(&plan.encode().unwrap()).unwrap()
}

fn streams() -> (Stdio, OwnedFd) {
    let (reader, writer) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).unwrap();
    let null = fs::File::open("/dev/null").unwrap();
    let stderr = process::duplicate(&writer).unwrap();
    (Stdio::Streams { stdin: null.into(), stdout: writer, stderr }, reader)
}

fn finish(init: Init, reader: OwnedFd) -> (String, Ending) {
    let mut text = Vec::new();
    let mut file = fs::File::from(reader);
    let mut part = [0u8; 4096];
    while let Ok(count) = file.read(&mut part) {
        if count == 0 {
            break;
        }
        text.extend_from_slice(&part[..count]);
    }
    let ending = process::wait(init.pidfd.as_fd()).unwrap();
    (String::from_utf8(text).unwrap().replace("\r\n", "\n"), ending)
}

fn an_overlay_is_the_containers_alone(top: &Path) {
    let plan = plan(top, config("cat /same; echo new > /written; exit 5"));
    let (stdio, reader) = streams();
    let init = lcr::init::spawn(&plan, stdio).unwrap();
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
    assert!(!mounts.contains(top.to_str().unwrap()), "{mounts}");
    let (text, ending) = finish(init, reader);
    assert_eq!((text.as_str(), ending), ("app", Ending::Exited(5)));
    assert_eq!(fs::read_to_string(top.join("upper/written")).unwrap(), "new\n");
    plan.cgroup.remove().unwrap();
}

fn processes_are_added_and_reaped_by_their_creator(top: &Path) {
    let plan = plan(top, config("sleep 1000"));
    let (stdio, _reader) = streams();
    let init = lcr::init::spawn(&plan, stdio).unwrap();
    let process = ProcessPlan {
        args: vec!["sh".into(), "-c".into(), "id -u; pwd; cat /proc/self/cgroup; exit 6".into()],
        cwd: "/made".into(),
        uid: 7,
        cgroup: Some(plan.cgroup.clone()),
        ..plan.process.clone()
    };
    for _ in 0..20 {
        let (stdio, reader) = streams();
        let added = lcr::exec::exec(&init.pidfd, init.pid, &process, stdio).unwrap();
        let (text, ending) = finish(added, reader);
        assert!(text.starts_with("7\n/made\n"), "{text}");
        assert!(
            text.lines().filter(|line| line.contains("memory")).all(|line| line.ends_with(":/")),
            "{text}"
        );
        assert_eq!(ending, Ending::Exited(6));
    }
    // This process is where it was.
    let own = fs::read_link("/proc/self/ns/pid").unwrap();
    assert_eq!(fs::read_link("/proc/self/ns/pid_for_children").unwrap(), own);

    let missing = ProcessPlan { args: vec!["missing".into()], ..process.clone() };
    let (stdio, _) = streams();
    let error = lcr::exec::exec(&init.pidfd, init.pid, &missing, stdio).unwrap_err();
    assert_eq!((error.step, error.exit_code()), (Step::Exec, 127));

    let terminal = ProcessPlan {
        args: vec!["sh".into(), "-c".into(), "tty; stty size".into()],
        terminal: true,
        ..process
    };
    let size = WindowSize { rows: 5, columns: 6 };
    let mut added =
        lcr::exec::exec(&init.pidfd, init.pid, &terminal, Stdio::Terminal(Some(size))).unwrap();
    let master = added.console.take().unwrap();
    assert_eq!(finish(added, master).0, "/dev/pts/0\n5 6\n");

    plan.cgroup.cgroup().kill().unwrap();
    assert_eq!(process::wait(init.pidfd.as_fd()).unwrap(), Ending::Killed(9));
    let (stdio, _) = streams();
    let error = lcr::exec::exec(&init.pidfd, init.pid, &plan.process, stdio).unwrap_err();
    assert_eq!(error.step, Step::Namespace, "{error}");
    plan.cgroup.remove().unwrap();
}

fn what_cannot_start_leaves_nothing(top: &Path) {
    let mut config = config("true");
    config["process"]["args"] = json!(["missing"]);
    let plan = plan(top, config);
    let (stdio, reader) = streams();
    let error = lcr::init::spawn(&plan, stdio).unwrap_err();
    assert_eq!((error.step, error.exit_code()), (Step::Exec, 127));
    assert_eq!(error.to_string(), "cannot run missing: no such file or directory");
    for (_, directory) in plan.cgroup.cgroup().directories() {
        assert!(!directory.exists(), "{}", directory.display());
    }
    let mut text = String::new();
    fs::File::from(reader).read_to_string(&mut text).unwrap();
    assert_eq!(text, "", "nobody holds the pipe");
    let (terminal, error) = (Stdio::Terminal(None), "cannot open the terminal");
    assert!(lcr::init::spawn(&plan, terminal).unwrap_err().to_string().starts_with(error));
}

/// A group that cannot be limited, and a root that cannot be mounted once the group is there.
fn a_group_or_a_root_that_cannot_be_had_leaves_nothing(top: &Path) {
    let mut limited = config("true");
    limited["linux"]["resources"]["cpu"] = json!({"cpus": "4095"});
    let limited = plan(&top.join(format!("limited-{}", std::process::id())), limited);
    let mut without_root = plan(top, config("true"));
    without_root.rootfs = Rootfs::Overlay {
        lower: vec![top.join("missing"), top.join("base")],
        upper: top.join("upper"),
        work: top.join("work"),
        volatile: true,
    };
    for (plan, step) in [(&limited, Step::Cgroup), (&without_root, Step::Rootfs)] {
        let (stdio, _reader) = streams();
        let error = lcr::init::spawn(plan, stdio).unwrap_err();
        assert_eq!(error.step, step, "{error}");
        for (_, directory) in plan.cgroup.cgroup().directories() {
            assert!(!directory.exists(), "{}", directory.display());
        }
    }
}

/// Descriptors that are open, but for the one that looks.
fn open_descriptors() -> usize {
    fs::read_dir("/proc/self/fd").unwrap().count()
}

fn no_child_and_no_descriptor_is_left(open_before: usize) {
    let children = fs::read_to_string("/proc/thread-self/children").unwrap();
    assert_eq!(children, "");
    assert_eq!(open_descriptors(), open_before);
}

fn main() {
    let open = open_descriptors();
    type Test = fn(&Path);
    let tests: [(&str, Test); 4] = [
        ("an overlay is the container's alone", an_overlay_is_the_containers_alone),
        ("processes are added and reaped", processes_are_added_and_reaped_by_their_creator),
        ("what cannot start leaves nothing", what_cannot_start_leaves_nothing),
        (
            "a group or a root that cannot be had leaves nothing",
            a_group_or_a_root_that_cannot_be_had_leaves_nothing,
        ),
    ];
    for (index, (name, test)) in tests.into_iter().enumerate() {
        let id = format!("lcr-library-{}-{index}", std::process::id());
        let directory = Directory(std::env::temp_dir().join(id));
        fs::create_dir_all(&directory.0).unwrap();
        test(&directory.0);
        println!("test {name} ... ok");
    }
    no_child_and_no_descriptor_is_left(open);
    for tree in fs::read_dir("/sys/fs/cgroup").unwrap().filter_map(Result::ok) {
        // Parents stay when a group is removed.
        let _ = fs::remove_dir(tree.path().join("lcr-library-test"));
    }
    let _ = fs::remove_dir("/sys/fs/cgroup/lcr-library-test");
}
