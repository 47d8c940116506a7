//! A place to run containers in: a root file system of busybox, directories, and at the end the
//! proof that nothing is left.

use std::collections::BTreeMap;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, LazyLock, Mutex};
use std::time::Duration;

use futures_util::StreamExt;
use isula_core::cgroup::CgroupDriver;
use isula_core::container::{Exit, LogConfig, Run};
use isula_core::id::ContainerId;
use isula_core::ports::{
    Attach, Chunk, Launch, LogOptions, LogSource, Output, Rootfs, Runtime, Session,
};
use isula_host::runtime::{ExternalRuntime, Runtimes, Settings};
use lcr::cgroup::{Cgroup, Hierarchies};
use oci_spec::runtime::{Process, Spec};
use serde_json::{Value, json};

/// The shim's program, built as it is shipped: static, or it could not be a container's init.
static SHIM: LazyLock<PathBuf> = LazyLock::new(|| {
    let test = std::env::current_exe().unwrap();
    let profile = test.parent().and_then(Path::parent).unwrap();
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["build", "--quiet", "--package", "isulad-shim", "--bin", "isulad-shim"]);
    let target = format!("{}-unknown-linux-musl", std::env::consts::ARCH);
    cargo.args(["--message-format", "json-render-diagnostics", "--target", &target]);
    if profile.ends_with("release") {
        cargo.arg("--release");
    }
    let output = cargo.output().unwrap();
    assert!(output.status.success(), "cannot build the shim");
    let lines = String::from_utf8(output.stdout).unwrap();
    let program = lines
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok())
        .find_map(|line| line["executable"].as_str().map(PathBuf::from));
    program.expect("cargo names the program")
});

/// A root file system: busybox and nothing else. Made once for each test, as tests write to it.
fn make_rootfs(path: &Path) {
    for directory in ["bin", "proc", "dev", "sys", "tmp", "etc"] {
        std::fs::create_dir_all(path.join(directory)).unwrap();
    }
    let busybox = ["/bin/busybox", "/usr/bin/busybox"].iter().find(|path| Path::new(path).exists());
    std::fs::copy(busybox.expect("busybox-static is installed"), path.join("bin/busybox")).unwrap();
    for applet in [
        "sh", "cat", "echo", "sleep", "true", "false", "yes", "head", "kill", "ls", "id", "stty",
        "cut", "grep", "ps", "sed", "seq", "sort", "dd", "tty", "env", "touch", "trap", "test",
        "printf", "nohup", "setsid",
    ] {
        symlink("busybox", path.join("bin").join(applet)).unwrap();
    }
    std::fs::write(path.join("etc/passwd"), "root:x:0:0:root:/:/bin/sh\n").unwrap();
    std::fs::write(path.join("etc/plain"), "no program").unwrap();
}

pub struct Bench {
    pub runtimes: Arc<Runtimes>,
    pub root: tempfile::TempDir,
    pub settings: Settings,
    started: Mutex<Vec<(ContainerId, Run)>>,
}

pub struct Wish {
    pub runtime: String,
    pub overlay: bool,
    pub tty: bool,
    pub open_stdin: bool,
    pub stdin_once: bool,
    pub init: bool,
    pub share_pids: bool,
    pub attach: Option<Attach>,
    pub log: LogConfig,
    pub seccomp: bool,
    pub hooks: Option<Value>,
    pub memory: Option<u64>,
}

impl Default for Wish {
    fn default() -> Self {
        Self {
            runtime: "lcr".into(),
            overlay: false,
            tty: false,
            open_stdin: false,
            stdin_once: false,
            init: false,
            share_pids: false,
            attach: None,
            log: LogConfig::default(),
            seccomp: false,
            hooks: None,
            memory: None,
        }
    }
}

pub const ALL: Attach = Attach { stdin: true, stdout: true, stderr: true, size: None };

impl Bench {
    pub fn new(name: &str) -> Self {
        Self::with(name, BTreeMap::new(), Settings::START_TIMEOUT)
    }

    pub fn with(
        name: &str,
        runtimes: BTreeMap<String, ExternalRuntime>,
        start_timeout: Duration,
    ) -> Self {
        // The run directory's path is longer than the address of a socket may be.
        let root = tempfile::Builder::new()
            .prefix(&format!("isula-host-{name}-{}-", "x".repeat(60)))
            .tempdir()
            .unwrap();
        make_rootfs(&root.path().join("rootfs"));
        let settings = Settings {
            state_dir: root.path().join("state"),
            shim_path: SHIM.clone(),
            runtimes,
            cgroup_driver: CgroupDriver::Cgroupfs,
            cgroup_parent: format!("/isula-host-test-{name}-{}", std::process::id()),
            start_timeout,
        };
        let runtimes = Arc::new(Runtimes::new(settings.clone()).unwrap());
        Self { runtimes, root, settings, started: Mutex::default() }
    }

    /// Another daemon on the same directories. The one before is gone, as far as shims can see,
    /// when its runtime is dropped.
    pub fn successor(&self) -> Arc<Runtimes> {
        Arc::new(Runtimes::new(self.settings.clone()).unwrap())
    }

    pub fn bundle(&self, id: &ContainerId) -> PathBuf {
        self.root.path().join("engines").join(id.as_str())
    }

    pub fn state(&self, id: &ContainerId) -> PathBuf {
        self.settings.state_dir.join(id.as_str())
    }

    pub fn launch(&self, wish: Wish, args: &[&str]) -> Launch {
        static NEXT: AtomicU8 = AtomicU8::new(1);
        let mut bytes = [NEXT.fetch_add(1, Ordering::Relaxed); 32];
        bytes[..4].copy_from_slice(&std::process::id().to_le_bytes());
        let id = ContainerId::from_random(bytes);
        let bundle = self.bundle(&id);
        std::fs::create_dir_all(&bundle).unwrap();
        let rootfs = self.root.path().join("rootfs");
        let rootfs = if wish.overlay {
            let (upper, work) = (bundle.join("upper"), bundle.join("work"));
            std::fs::create_dir(&upper).unwrap();
            std::fs::create_dir(&work).unwrap();
            Rootfs::Overlay { lower: vec![rootfs], upper, work, volatile: false }
        } else {
            Rootfs::Directory(rootfs)
        };
        let spec = self.spec(&wish, &id, args);
        std::fs::write(bundle.join("config.json"), serde_json::to_vec(&spec).unwrap()).unwrap();
        Launch {
            id,
            runtime: wish.runtime,
            bundle,
            rootfs,
            spec: Arc::new(spec),
            seccomp: None,
            cri_log: None,
            log: wish.log,
            open_stdin: wish.open_stdin,
            stdin_once: wish.stdin_once,
            init: wish.init,
            attach: wish.attach,
            restore: None,
        }
    }

    fn spec(&self, wish: &Wish, id: &ContainerId, args: &[&str]) -> Spec {
        let mut namespaces = vec!["mount", "ipc", "uts", "network", "pid"];
        namespaces.retain(|kind| !(wish.share_pids && *kind == "pid"));
        let namespaces: Vec<_> = namespaces.iter().map(|kind| json!({"type": kind})).collect();
        let mut spec = json!({
            "ociVersion": "1.0.2",
            "process": process(wish.tty, args),
            "root": {"path": self.root.path().join("rootfs"), "readonly": false},
            "hostname": "bench",
            "mounts": [
                {"destination": "/proc", "type": "proc", "source": "proc",
                 "options": ["nosuid", "noexec", "nodev"]},
                {"destination": "/dev", "type": "tmpfs", "source": "tmpfs",
                 "options": ["nosuid", "strictatime", "mode=755", "size=65536k"]},
                {"destination": "/dev/pts", "type": "devpts", "source": "devpts",
                 "options": ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620"]},
            ],
            "linux": {
                "cgroupsPath": format!("{}/{id}", self.settings.cgroup_parent),
                "namespaces": namespaces,
                "resources": {"devices": [{"allow": false, "access": "rwm"}]},
            },
        });
        if wish.seccomp {
            spec["linux"]["seccomp"] = json!({
                "defaultAction": "SCMP_ACT_ALLOW",
                "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_AARCH64"],
                "syscalls": [{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO",
                              "errnoRet": 1}],
            });
        }
        if let Some(memory) = wish.memory {
            spec["linux"]["resources"]["memory"] = json!({"limit": memory});
        }
        if let Some(hooks) = &wish.hooks {
            spec["hooks"] = hooks.clone();
        }
        serde_json::from_value(spec).unwrap()
    }

    pub async fn start(&self, launch: &Launch) -> (Run, Option<Session>) {
        let (run, session) = self.runtimes.start(launch).await.unwrap();
        self.started.lock().unwrap().push((launch.id.clone(), run.clone()));
        (run, session)
    }

    /// Starts, waits for the end, and cleans up.
    pub async fn run(&self, launch: &Launch) -> Exit {
        self.start(launch).await;
        let exit = self.runtimes.wait(&launch.id).await.unwrap();
        self.runtimes.clean(&launch.id, &launch.runtime).await.unwrap();
        exit
    }

    pub async fn log(&self, launch: &Launch) -> String {
        self.log_of(&self.runtimes, launch, LogOptions::default()).await
    }

    pub async fn log_of(
        &self,
        runtimes: &Runtimes,
        launch: &Launch,
        options: LogOptions,
    ) -> String {
        let stream = runtimes.logs(source(launch), options).await.unwrap();
        let records: Vec<_> = stream.map(|record| record.unwrap().bytes).collect().await;
        String::from_utf8(records.concat()).unwrap()
    }

    /// Waits until the log holds this text, then returns.
    pub async fn wait_for_log(&self, launch: &Launch, text: &str) {
        let options = LogOptions { follow: true, ..LogOptions::default() };
        let mut stream = self.runtimes.logs(source(launch), options).await.unwrap();
        let mut found = String::new();
        while !found.contains(text) {
            let record = stream.next().await.expect("the container ended").unwrap();
            found.push_str(std::str::from_utf8(&record.bytes).unwrap());
        }
    }

    /// Proves that nothing is left.
    pub async fn finish(self) {
        let started = std::mem::take(&mut *self.started.lock().unwrap());
        for (id, run) in &started {
            self.runtimes.clean(id, "lcr").await.unwrap();
            for (pid, start) in [(run.shim_pid, run.shim_start), (run.pid, run.pid_start)] {
                gone(pid, start).await;
            }
        }
        let left = std::fs::read_dir(&self.settings.state_dir).unwrap();
        let left: Vec<_> = left.map(|entry| entry.unwrap().file_name()).collect();
        assert!(left.iter().all(|name| name == "runtimes" || name == "pods"), "{left:?}");
        let pods = std::fs::read_dir(self.settings.state_dir.join("pods"));
        assert_eq!(pods.into_iter().flatten().count(), 0, "a sandbox is left");
        for directory in self.cgroups() {
            let entries = std::fs::read_dir(directory).unwrap();
            let groups = entries.filter(|entry| entry.as_ref().unwrap().path().is_dir()).count();
            assert_eq!(groups, 0, "a control group is left");
        }
    }

    fn cgroups(&self) -> Vec<PathBuf> {
        let hierarchies = Hierarchies::detect().unwrap();
        let cgroup = Cgroup::new(&hierarchies, Path::new(&self.settings.cgroup_parent)).unwrap();
        cgroup.directories().map(|(_, directory)| directory).collect()
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        // After a failed test there may be shims; those of a good one are gone.
        for entry in std::fs::read_dir(&self.settings.state_dir).into_iter().flatten().flatten() {
            let facts = std::fs::read_to_string(entry.path().join("shim.pid")).unwrap_or_default();
            for line in facts.lines() {
                let Some((pid, start)) = line.split_once(' ') else { continue };
                let (pid, start) = (pid.parse().unwrap_or(0), start.parse::<u64>().unwrap_or(0));
                if isula_sys::process::start_time(pid).is_ok_and(|found| found == start) {
                    let _ = Command::new("kill").args(["-9", &pid.to_string()]).status();
                }
            }
        }
        // And what its sandboxes pinned.
        let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
        let points = mounts.lines().filter_map(|line| line.split(' ').nth(4));
        for point in points.filter(|point| Path::new(point).starts_with(&self.settings.state_dir)) {
            let _ = Command::new("umount").args(["--lazy", point]).status();
        }
        let hierarchies = Hierarchies::detect().unwrap();
        let cgroup = Cgroup::new(&hierarchies, Path::new(&self.settings.cgroup_parent)).unwrap();
        let _ = cgroup.kill();
        let _ = cgroup.remove();
        // runc makes the parent in a version 2 beside version 1, too, and leaves it.
        let unified = Path::new("/sys/fs/cgroup/unified");
        let _ = std::fs::remove_dir(unified.join(cgroup.path()));
    }
}

/// Waits until a process is gone and reaped.
pub async fn gone(pid: i32, start: u64) {
    while isula_sys::process::start_time(pid).is_ok_and(|found| found == start) {
        tokio::task::spawn_blocking(move || {
            if let Ok(pidfd) = isula_sys::process::open(pid) {
                let pidfd = std::os::fd::AsFd::as_fd(&pidfd);
                let time = Some(Duration::from_secs(30));
                assert!(isula_sys::process::wait_at_most(pidfd, time).unwrap(), "{pid} lives");
            }
            std::thread::yield_now();
        })
        .await
        .unwrap();
    }
}

pub fn source(launch: &Launch) -> LogSource {
    LogSource {
        id: launch.id.clone(),
        bundle: launch.bundle.clone(),
        log: launch.log.clone(),
        cri_log: launch.cri_log.clone(),
    }
}

pub fn process(tty: bool, args: &[&str]) -> Process {
    let process = json!({
        "terminal": tty,
        "user": {"uid": 0, "gid": 0},
        "args": args,
        "env": ["PATH=/bin", "TERM=xterm", "HOME=/"],
        "cwd": "/",
        "capabilities": {
            "bounding": ["CAP_KILL", "CAP_SETUID", "CAP_DAC_OVERRIDE"],
            "effective": ["CAP_KILL", "CAP_SETUID", "CAP_DAC_OVERRIDE"],
            "permitted": ["CAP_KILL", "CAP_SETUID", "CAP_DAC_OVERRIDE"],
        },
    });
    serde_json::from_value(process).unwrap()
}

/// Everything that a session says to its end: standard output, standard error, exit status.
pub async fn drain(session: Session) -> (String, String, Option<i32>) {
    let Session { input, mut output } = session;
    let (mut stdout, mut stderr, mut code) = (Vec::new(), Vec::new(), None);
    while let Some(chunk) = output.next().await {
        match chunk.unwrap() {
            Chunk::Output(Output::Stdout, bytes) => stdout.extend_from_slice(&bytes),
            Chunk::Output(Output::Stderr, bytes) => stderr.extend_from_slice(&bytes),
            Chunk::Exited(status) => code = Some(status),
        }
    }
    drop(input);
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (text(stdout), text(stderr), code)
}
