//! A bundle with a busybox root file system, and the runtime's commands on it.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use serde_json::{Value, json};

static NEXT: AtomicU32 = AtomicU32::new(0);

/// A bundle in a directory of its own, with a container that is removed when it is dropped.
pub struct Bundle {
    pub directory: PathBuf,
    pub id: String,
    pub config: Value,
}

/// What a command printed and how it ended.
#[derive(Debug)]
pub struct Ran {
    pub stdout: String,
    pub stderr: String,
    pub status: i32,
}

impl From<Output> for Ran {
    fn from(output: Output) -> Self {
        use std::os::unix::process::ExitStatusExt;
        let status = output.status.code().unwrap_or(128 + output.status.signal().unwrap_or(0));
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        Self { stdout: text(output.stdout), stderr: text(output.stderr), status }
    }
}

impl Ran {
    /// What it printed, after it has succeeded.
    #[track_caller]
    pub fn ok(self) -> String {
        assert_eq!(self.status, 0, "{self:?}");
        self.stdout
    }

    /// What it complained about, after it has failed.
    #[track_caller]
    pub fn failed(self) -> String {
        assert_ne!(self.status, 0, "{self:?}");
        self.stderr
    }
}

impl Bundle {
    /// With the configuration that `lcr spec` writes, without a terminal, running `script`.
    pub fn new(script: &str) -> Self {
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let id = format!("lcr-test-{}-{number}", std::process::id());
        let directory = std::env::temp_dir().join(&id);
        make_rootfs(&directory.join("rootfs"));
        let mut bundle = Self { directory, id, config: Value::Null };
        Ran::from(bundle.lcr(&["spec", "--bundle", bundle.text()]).output().unwrap()).ok();
        let text = fs::read(bundle.directory.join("config.json")).unwrap();
        bundle.config = serde_json::from_slice(&text).unwrap();
        bundle.set("/process/terminal", json!(false));
        bundle.set("/root/readonly", json!(false));
        bundle.set("/process/args", json!(["sh", "-c", script]));
        bundle
    }

    pub fn text(&self) -> &str {
        self.directory.to_str().unwrap()
    }

    pub fn rootfs(&self, path: &str) -> PathBuf {
        self.directory.join("rootfs").join(path.trim_start_matches('/'))
    }

    /// Sets a value of the configuration by its JSON pointer; its parent must exist.
    pub fn set(&mut self, pointer: &str, value: Value) -> &mut Self {
        let (parent, name) = pointer.rsplit_once('/').unwrap();
        let parent = self.config.pointer_mut(parent).unwrap_or_else(|| panic!("no {parent}"));
        match parent {
            Value::Array(list) if name == "-" => list.push(value),
            Value::Array(list) => list[name.parse::<usize>().unwrap()] = value,
            parent => parent[name] = value,
        }
        self
    }

    /// Adds a mount.
    pub fn mount(
        &mut self,
        destination: &str,
        kind: &str,
        source: &str,
        options: &[&str],
    ) -> &mut Self {
        let mount = json!({
            "destination": destination, "type": kind, "source": source, "options": options
        });
        self.set("/mounts/-", mount)
    }

    /// Takes a namespace out, so that the container has the host's.
    pub fn without_namespace(&mut self, kind: &str) -> &mut Self {
        let list = self.config.pointer_mut("/linux/namespaces").unwrap().as_array_mut().unwrap();
        list.retain(|one| one["type"] != kind);
        self
    }

    /// The runtime with its own root; the configuration is written first.
    pub fn lcr(&self, args: &[&str]) -> Command {
        if !self.config.is_null() {
            let config = self.directory.join("config.json");
            fs::write(config, serde_json::to_vec(&self.config).unwrap()).unwrap();
        }
        let mut command = Command::new(env!("CARGO_BIN_EXE_lcr"));
        command.arg("--root").arg(self.directory.join("state")).args(args).stdin(Stdio::null());
        command
    }

    /// Runs a command to its end.
    pub fn call(&self, args: &[&str]) -> Ran {
        self.lcr(args).output().unwrap().into()
    }

    /// Runs the container in the foreground.
    pub fn run(&self) -> Ran {
        self.call(&["run", "--bundle", self.text(), &self.id])
    }

    /// Runs the container in the background; its streams are not ours, which it would keep open.
    pub fn run_detached(&self) -> Ran {
        self.in_background(&["run", "--detach", "--bundle", self.text(), &self.id])
    }

    /// Creates the container.
    pub fn create(&self) -> Ran {
        self.in_background(&["create", "--bundle", self.text(), &self.id])
    }

    fn in_background(&self, args: &[&str]) -> Ran {
        let open = |name: &str| {
            let mut options = fs::File::options();
            options.create(true).append(true).read(true).open(self.directory.join(name)).unwrap()
        };
        let mut command = self.lcr(args);
        let status = command.stdout(open("stdout")).stderr(open("stderr")).status().unwrap();
        let read = |name: &str| fs::read_to_string(self.directory.join(name)).unwrap();
        let status = status.code().unwrap();
        Ran { stdout: read("stdout"), stderr: read("stderr"), status }
    }

    /// Runs a program in the container without waiting for it.
    pub fn exec_detached(&self, flags: &[&str], program: &[&str]) -> Ran {
        let mut args = vec!["exec", "--detach"];
        args.extend(flags);
        args.push(&self.id);
        args.extend(program);
        self.in_background(&args)
    }

    /// What a container in the background has printed.
    pub fn printed(&self) -> String {
        fs::read_to_string(self.directory.join("stdout")).unwrap()
    }

    /// Runs a program in the container.
    pub fn exec(&self, flags: &[&str], program: &[&str]) -> Ran {
        let mut args = vec!["exec"];
        args.extend(flags);
        args.push(&self.id);
        args.extend(program);
        self.call(&args)
    }

    /// The state as JSON.
    pub fn state(&self) -> Value {
        serde_json::from_str(&self.call(&["state", &self.id]).ok()).unwrap()
    }

    /// The id of the init.
    pub fn pid(&self) -> i32 {
        self.state()["pid"].as_i64().unwrap().try_into().unwrap()
    }

    /// Waits until the init has ended.
    pub fn wait(&self, pid: i32) {
        use std::os::fd::AsFd;
        let Ok(pidfd) = isula_sys::process::open(pid) else { return };
        let time = std::time::Duration::from_secs(20);
        assert!(isula_sys::process::wait_at_most(pidfd.as_fd(), Some(time)).unwrap(), "it runs on");
    }

    /// Writes a program into the root file system.
    pub fn add_program(&self, path: &str, contents: &str) {
        use std::os::unix::fs::PermissionsExt;
        let path = self.rootfs(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        let mut file = fs::File::create(&path).unwrap();
        file.write_all(contents.as_bytes()).unwrap();
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
    }

    /// Paths of the control groups that exist for this container.
    pub fn cgroups(&self) -> Vec<PathBuf> {
        let trees = fs::read_dir("/sys/fs/cgroup").unwrap().filter_map(Result::ok);
        let mut groups: Vec<PathBuf> = trees.map(|tree| tree.path().join(&self.id)).collect();
        groups.push(Path::new("/sys/fs/cgroup").join(&self.id));
        groups.retain(|group| group.is_dir());
        groups
    }
}

impl Drop for Bundle {
    fn drop(&mut self) {
        let deleted = self.call(&["delete", "--force", &self.id]);
        let left = self.cgroups();
        let removed = fs::remove_dir_all(&self.directory);
        if !std::thread::panicking() {
            assert_eq!(deleted.status, 0, "{deleted:?}");
            assert!(left.is_empty(), "{left:?}");
            removed.unwrap();
        }
    }
}

fn make_rootfs(rootfs: &Path) {
    for directory in ["bin", "etc", "proc", "sys", "dev", "tmp", "root"] {
        fs::create_dir_all(rootfs.join(directory)).unwrap();
    }
    fs::copy("/bin/busybox", rootfs.join("bin/busybox"))
        .expect("these tests need a static /bin/busybox: install busybox-static");
    let applets = "sh true false ls cat mount id hostname ps sleep echo env stat readlink touch \
                   mkdir grep kill nproc ulimit head tr wc tty stty test rm chmod dd ip mknod pwd \
                   find ln umount sed cut";
    for applet in applets.split_whitespace() {
        std::os::unix::fs::symlink("busybox", rootfs.join("bin").join(applet)).unwrap();
    }
    fs::write(rootfs.join("etc/passwd"), "root:x:0:0:root:/root:/bin/sh\n").unwrap();
}

/// A text without its doubled blanks.
pub fn squeeze(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}
