//! A host of its own for a test, and a look into what is on it.

use std::{
    fs::{self, File},
    os::{fd::AsFd, unix::fs::PermissionsExt},
    path::{Path, PathBuf},
    process::Command,
    thread,
    time::Duration,
};

use isula_core::{
    id::ContainerId,
    ports::{Attachment, Capabilities, NetworkRequest, Networks},
};
use isula_host::network::{CniNetworks, Settings};
use isula_sys::{mount, namespace};
use serde_json::Value;

const NEW_NETWORK: u32 = 0x4000_0000;
const NEW_MOUNTS: u32 = 0x0002_0000;

/// The default network of most tests.
pub const BRIDGE: &str = r#"{"cniVersion": "1.0.0", "name": "pods", "plugins": [
    {"type": "bridge", "bridge": "cni0", "isDefaultGateway": true, "ipMasq": true, "hairpinMode": true,
     "ipam": {"type": "host-local", "dataDir": "DATA", "ranges": [
        [{"subnet": "10.77.0.0/16"}], [{"subnet": "fd77::/64"}]]}},
    {"type": "portmap", "capabilities": {"portMappings": true}}]}"#;

/// A host.
pub struct World {
    pub root: PathBuf,
    pub networks: CniNetworks,
}

/// Runs a test on a host of its own, with one conflist.
pub fn on_a_host<F: Future<Output = ()>>(conflist: &str, test: impl FnOnce(World) -> F + Send) {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path().to_owned();
    thread::scope(|scope| {
        let host = scope.spawn(|| {
            leave_the_machine();
            let world = World::at(&root);
            world.configure("10-test.conflist", conflist);
            let runtime =
                tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
            runtime.unwrap().block_on(test(world));
        });
        if let Err(panic) = host.join() {
            std::panic::resume_unwind(panic);
        }
    });
}

/// Puts this thread, and those that it starts, on a host of their own.
fn leave_the_machine() {
    namespace::unshare(NEW_NETWORK | NEW_MOUNTS).unwrap();
    mount::change_propagation(c"/", mount::Depth::Tree, mount::PRIVATE).unwrap();
    namespace::loopback_up().unwrap();
}

impl World {
    /// The networks below a directory, as a daemon there would have them.
    pub fn at(root: &Path) -> Self {
        let settings = Settings {
            state_dir: root.join("run"),
            data_root: root.join("data"),
            conf_dir: root.join("net.d"),
            bin_dirs: vec![root.join("bin")],
            bridge: None,
            native: true,
            timeout: Duration::from_secs(20),
        };
        fs::create_dir_all(root.join("net.d")).unwrap();
        fs::create_dir_all(root.join("bin")).unwrap();
        Self { root: root.to_owned(), networks: CniNetworks::new(settings) }
    }

    /// The same host with other settings.
    pub fn with(&self, change: impl FnOnce(&mut Settings)) -> Self {
        let mut settings = Settings {
            state_dir: self.root.join("run"),
            data_root: self.root.join("data"),
            conf_dir: self.root.join("net.d"),
            bin_dirs: vec![self.root.join("bin")],
            bridge: None,
            native: true,
            timeout: Duration::from_secs(20),
        };
        change(&mut settings);
        Self { root: self.root.clone(), networks: CniNetworks::new(settings) }
    }

    /// Writes a conflist; `DATA` in it is where addresses are kept.
    pub fn configure(&self, name: &str, conflist: &str) {
        let data = self.root.join("addresses");
        let text = conflist.replace("DATA", data.to_str().unwrap());
        fs::write(self.root.join("net.d").join(name), text).unwrap();
    }

    /// Writes a plugin that is a shell script.
    pub fn plugin(&self, name: &str, script: &str) {
        let path = self.root.join("bin").join(name);
        fs::write(&path, format!("#!/bin/sh\n{script}")).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    }

    /// A pod with a pinned namespace.
    pub async fn pod(&self, number: u8) -> Pod {
        let id = ContainerId::from_random([number; 32]);
        let path = self.networks.make_namespace(&id).await.unwrap();
        Pod { id, path }
    }

    /// Names of the addresses that are reserved.
    pub fn reserved(&self) -> Vec<String> {
        let mut found = Vec::new();
        for network in fs::read_dir(self.root.join("addresses")).into_iter().flatten().flatten() {
            for entry in fs::read_dir(network.path()).unwrap().flatten() {
                let name = entry.file_name().into_string().unwrap();
                if name.parse::<std::net::IpAddr>().is_ok() {
                    found.push(name);
                }
            }
        }
        found.sort();
        found
    }

    /// What the cache holds.
    pub fn kept(&self) -> Vec<String> {
        names(&self.root.join("data/cni/results"))
    }

    /// Asserts that nothing of any pod is left: no address, device, rule, record or namespace.
    pub fn assert_nothing_left(&self) {
        assert_eq!(self.reserved(), [""; 0], "addresses");
        assert_eq!(self.kept(), [""; 0], "records");
        assert_eq!(names(&self.root.join("run/netns")), [""; 0], "namespaces");
        let mounts = fs::read_to_string("/proc/thread-self/mountinfo").unwrap();
        let root = self.root.to_str().unwrap();
        assert_eq!(mounts.lines().find(|line| line.contains(root)), None, "mounts");
        assert_eq!(veths(), [""; 0], "devices");
        let rules = rules();
        let of_pods = rules.lines().filter(|line| line.contains("comment"));
        assert_eq!(of_pods.collect::<Vec<_>>(), [""; 0], "rules");
    }
}

fn names(directory: &Path) -> Vec<String> {
    let listed = fs::read_dir(directory).into_iter().flatten().flatten();
    listed.map(|entry| entry.file_name().into_string().unwrap()).collect()
}

/// The devices of pods that the host sees. A namespace dies in its own time: it is waited for.
pub fn veths() -> Vec<String> {
    let look = || {
        let links = run(Command::new("ip").args(["-j", "link", "show", "type", "veth"]));
        let links: Value = serde_json::from_str(&links).unwrap_or_default();
        let names = links.as_array().cloned().unwrap_or_default().into_iter();
        names.filter_map(|link| link["ifname"].as_str().map(str::to_owned)).collect::<Vec<_>>()
    };
    for _ in 0..100 {
        let found = look();
        if found.is_empty() {
            return found;
        }
        // No event tells a process of another namespace that this one is gone.
        thread::sleep(Duration::from_millis(20));
    }
    look()
}

/// All rules of the host, as the `nft` command shows them.
pub fn rules() -> String {
    run(Command::new("nft").args(["list", "ruleset"]))
}

/// Runs a program on this host; gives back what it printed.
pub fn run(command: &mut Command) -> String {
    let done = command.output().unwrap();
    let complaint = String::from_utf8_lossy(&done.stderr);
    assert!(done.status.success(), "{command:?}: {complaint}");
    String::from_utf8(done.stdout).unwrap()
}

/// A pod.
#[derive(Clone)]
pub struct Pod {
    pub id: ContainerId,
    pub path: PathBuf,
}

impl Pod {
    pub fn request(&self) -> NetworkRequest {
        NetworkRequest {
            id: self.id.clone(),
            namespace: Some(self.path.clone()),
            network: None,
            interface: "eth0".to_owned(),
            args: vec![("IgnoreUnknown".to_owned(), "1".to_owned())],
            capabilities: Capabilities::default(),
        }
    }

    pub async fn attach(&self, world: &World) -> Attachment {
        world.networks.attach(&self.request()).await.unwrap()
    }

    /// Detached, and its namespace gone.
    pub async fn end(&self, world: &World) {
        world.networks.detach(&self.request()).await.unwrap();
        world.networks.remove_namespace(&self.id).await.unwrap();
    }

    /// Does something inside.
    pub fn inside<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        inside(&self.path, work)
    }
}

/// Does something inside a namespace.
pub fn inside<T: Send>(path: &Path, work: impl FnOnce() -> T + Send) -> T {
    let file = File::open(path).unwrap();
    thread::scope(|scope| {
        let thread = scope.spawn(move || {
            namespace::join(file.as_fd(), NEW_NETWORK).unwrap();
            work()
        });
        thread.join().unwrap()
    })
}
