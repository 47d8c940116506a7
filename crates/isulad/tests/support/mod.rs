//! A daemon on a root of its own, gone with the test.

use std::{
    os::{fd::OwnedFd, unix::net::UnixDatagram},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    time::Duration,
};

use hyper_util::rt::TokioIo;
use isula_api::v1::{
    containers_client::ContainersClient, images_client::ImagesClient, system_client::SystemClient,
};
use tempfile::TempDir;
use tokio::net::UnixStream;
use tonic::{
    Status,
    transport::{Channel, Endpoint, Uri},
};

/// Directories for one daemon.
pub struct Site {
    root: TempDir,
}

impl Site {
    pub fn new() -> Self {
        Self { root: tempfile::tempdir().unwrap() }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }

    /// The control group of its containers. No two sites share one: each takes its own away.
    fn group(&self) -> String {
        let name = self.root.path().file_name().unwrap().to_string_lossy();
        format!("isulad-test-{}", name.trim_start_matches('.'))
    }

    /// The command of the daemon, with more flags.
    pub fn command(&self, flags: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_isulad"));
        self.add_flags(&mut command, flags);
        command
    }

    fn add_flags(&self, command: &mut Command, flags: &[&str]) {
        command.arg("--graph").arg(self.path("data"));
        command.arg("--state").arg(self.path("run"));
        command.args(["--shim", "/bin/true", "-l", "DEBUG"]);
        let group = format!("/{}", self.group());
        command.args(["--cgroup-parent", &group]).args(flags);
        if !flags.contains(&"--config") {
            let empty = self.path("empty.json");
            std::fs::write(&empty, "{}").unwrap();
            command.arg("--config").arg(empty);
        }
        command.stdin(Stdio::null());
    }

    /// Starts a daemon and waits until it serves.
    pub async fn start(&self, flags: &[&str]) -> Daemon {
        self.spawn(self.command(flags)).await
    }

    /// Starts a daemon with signals blocked, as by a program that reads them from a file.
    pub async fn start_with_blocked(&self, signals: &str) -> Daemon {
        // It becomes the daemon: the pid is the same.
        let mut command = Command::new("env");
        command.arg(format!("--block-signal={signals}")).arg(env!("CARGO_BIN_EXE_isulad"));
        self.add_flags(&mut command, &[]);
        self.spawn(command).await
    }

    /// Starts a daemon as systemd does that listens in its place.
    pub async fn start_with_socket(&self, socket: OwnedFd) -> Daemon {
        let mut command = Command::new("sh");
        let script = r#"exec 3<&0 0</dev/null; LISTEN_FDS=1 LISTEN_PID=$$ exec "$@""#;
        command.args(["-c", script, "sh", env!("CARGO_BIN_EXE_isulad")]);
        self.add_flags(&mut command, &[]);
        command.stdin(socket);
        self.spawn(command).await
    }

    async fn spawn(&self, mut command: Command) -> Daemon {
        let path = self.path("notify");
        let _ = std::fs::remove_file(&path);
        let notify = UnixDatagram::bind(&path).unwrap();
        notify.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        let log =
            std::fs::File::options().append(true).create(true).open(self.path("log")).unwrap();
        let child = command.env("NOTIFY_SOCKET", &path).stderr(log).spawn().unwrap();
        let daemon = Daemon { child, notify, socket: self.path("run/isulad.sock") };
        if !daemon.notified("READY=1") {
            panic!("{}", std::fs::read_to_string(self.path("log")).unwrap());
        }
        daemon
    }

    /// The tar of a directory.
    pub fn tar(&self, name: &str) -> Vec<u8> {
        let tar =
            Command::new("tar").arg("-C").arg(self.path(name)).args(["-cf", "-", "."]).output();
        tar.unwrap().stdout
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        // The cgroup of the containers, of which there were none, in each hierarchy.
        let name = self.group();
        for entry in std::fs::read_dir("/sys/fs/cgroup").into_iter().flatten().flatten() {
            let _ = std::fs::remove_dir(entry.path().join(&name));
        }
        let _ = std::fs::remove_dir(Path::new("/sys/fs/cgroup").join(&name));
    }
}

/// A daemon that runs.
pub struct Daemon {
    child: Child,
    notify: UnixDatagram,
    socket: PathBuf,
}

impl Daemon {
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Waits for a message to the service manager.
    pub fn notified(&self, wanted: &str) -> bool {
        let mut message = [0; 4096];
        while let Ok(length) = self.notify.recv(&mut message) {
            let text = String::from_utf8_lossy(&message[..length]);
            if text.lines().any(|line| line == wanted) {
                return true;
            }
        }
        false
    }

    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Sends the signal only.
    pub fn kill_at_once(&mut self) {
        self.child.kill().unwrap();
    }

    pub fn terminate(&mut self) -> ExitStatus {
        let pid = self.pid().to_string();
        assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
        self.child.wait().unwrap()
    }

    pub fn connect(&self) -> impl Future<Output = Channel> + Send + 'static {
        connect(self.socket.clone())
    }

    pub async fn containers(&self) -> ContainersClient<Channel> {
        ContainersClient::new(self.connect().await)
    }

    pub async fn images(&self) -> ImagesClient<Channel> {
        ImagesClient::new(self.connect().await)
    }

    pub async fn system(&self) -> SystemClient<Channel> {
        SystemClient::new(self.connect().await)
    }

    pub async fn system_at(&self, socket: &Path) -> SystemClient<Channel> {
        SystemClient::new(connect(socket.to_owned()).await)
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

async fn connect(path: PathBuf) -> Channel {
    Endpoint::from_static("http://isulad")
        .connect_with_connector(tower::service_fn(move |_: Uri| {
            let path = path.clone();
            async move { Ok::<_, std::io::Error>(TokioIo::new(UnixStream::connect(path).await?)) }
        }))
        .await
        .unwrap()
}

/// The kind that an error carries.
pub fn kind(status: &Status) -> &str {
    status.metadata().get("isula-error-kind").map_or("", |kind| kind.to_str().unwrap())
}
