//! Where an engine lives: a mount and a network namespace of its own, with the peers' programs
//! laid over `/usr` and nothing in `/run`, so that no engine sees another one or the host's.
//!
//! The bench enters a place before it measures there: what it starts then is born in it, and no
//! helper program (`ip netns exec`, `nsenter`) costs time.

use std::{
    fs,
    os::{
        fd::{AsFd, OwnedFd},
        unix::fs::MetadataExt,
    },
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use isula_sys::{
    mount::{self, Depth, Filesystem},
    namespace,
};
use isula_tests::programs::repository;
use rustix::fs::{Mode, OFlags};

use crate::group::{Account, Group};

const NEW_MOUNTS: u32 = 0x0002_0000;
const NEW_NETWORK: u32 = 0x4000_0000;

/// Descriptors of the namespaces of a place.
struct Namespaces {
    mounts: OwnedFd,
    network: OwnedFd,
}

impl Namespaces {
    fn now() -> Result<Self> {
        let open = |kind: &str| {
            let path = format!("/proc/thread-self/ns/{kind}");
            rustix::fs::open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
        };
        Ok(Self { mounts: open("mnt")?, network: open("net")? })
    }

    fn enter(&self) -> Result<()> {
        namespace::join(self.mounts.as_fd(), NEW_MOUNTS).context("enter a mount namespace")?;
        Ok(namespace::join(self.network.as_fd(), NEW_NETWORK)?)
    }
}

/// What is different in a place.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Host {
    /// As the machine is.
    AsIs,
    /// The v2 hierarchy beside those of v1 is out of sight, for programs that refuse to see both.
    WithoutUnified,
}

/// The host itself, to come back to.
pub struct Home {
    namespaces: Namespaces,
    group: Group,
}

impl Home {
    /// Where this process is now.
    pub fn new(group: Group) -> Result<Self> {
        Ok(Self { namespaces: Namespaces::now()?, group })
    }

    /// Leaves any place.
    pub fn enter(&self) -> Result<()> {
        self.namespaces.enter()?;
        self.group.leave()
    }

    /// Makes a place for an engine, and comes back.
    pub fn place(&self, name: &str, host: Host) -> Result<Place> {
        self.furnished(name, host, self.group.engine(name)?)
    }

    /// One whose engine puts its containers into a cgroup at the root.
    pub fn place_beside(&self, name: &str) -> Result<Place> {
        self.furnished(name, Host::AsIs, self.group.engine_beside(name)?)
    }

    fn furnished(&self, name: &str, host: Host, account: Account) -> Result<Place> {
        let root = self.group.directory().join(name);
        fs::create_dir(&root)?;
        self.enter()?;
        namespace::unshare(NEW_MOUNTS | NEW_NETWORK)?;
        let state = root.join(STATE);
        let made = furnish(host, &state).and_then(|()| Namespaces::now());
        self.enter()?;
        Ok(Place { account, root, namespaces: made? })
    }
}

/// Below the directory of an engine: its run-time state, in memory as `/run` is.
const STATE: &str = "state";

/// Sets up the namespaces this process is in.
fn furnish(host: Host, state: &Path) -> Result<()> {
    mount::change_propagation(c"/", Depth::Tree, mount::PRIVATE)?;
    namespace::loopback_up()?;
    if host == Host::WithoutUnified && Path::new("/sys/fs/cgroup/unified").exists() {
        mount::detach(c"/sys/fs/cgroup/unified")?;
    }
    fs::create_dir(state)?;
    for directory in [Path::new("/run"), Path::new("/dev/shm"), state] {
        let empty = Filesystem::open("tmpfs")?;
        empty.set("mode", "0755")?;
        attach(empty.mount(0)?, directory)?;
    }
    let peers = peers();
    if peers.join("usr").exists() {
        let both = Filesystem::open("overlay")?;
        both.set("lowerdir+", &peers.join("usr").display().to_string())?;
        both.set("lowerdir+", "/usr")?;
        attach(both.mount(0)?, "/usr").context("lay the peers over /usr")?;
    }
    Ok(())
}

fn attach(tree: OwnedFd, place: impl AsRef<Path>) -> Result<()> {
    let flags = OFlags::PATH | OFlags::CLOEXEC;
    let place = rustix::fs::open(place.as_ref(), flags, Mode::empty())?;
    Ok(mount::attach(tree.as_fd(), place.as_fd())?)
}

/// Where `tools/setup.sh bench` unpacks the peers.
pub fn peers() -> PathBuf {
    let path = repository().join("target/tools/peers");
    path.canonicalize().unwrap_or(path)
}

/// Where one engine lives.
pub struct Place {
    account: Account,
    root: PathBuf,
    namespaces: Namespaces,
}

impl Place {
    /// Its cgroup.
    pub const fn account(&self) -> &Account {
        &self.account
    }

    /// A path below its own directory.
    pub fn path(&self, name: &str) -> String {
        self.root.join(name).display().to_string()
    }

    /// Moves this process, and so all it starts from now on, into the place.
    pub fn enter(&self) -> Result<()> {
        self.namespaces.enter()?;
        self.account.join()
    }

    /// Moves this process here, but what it starts is not counted.
    pub fn visit(&self, home: &Home) -> Result<()> {
        self.namespaces.enter()?;
        home.group.leave()
    }

    /// Processes in the place's network namespace, but for this one: daemons and helpers.
    pub fn processes(&self) -> Result<Vec<u32>> {
        let own = std::process::id();
        let network = rustix::fs::fstat(&self.namespaces.network)?.st_ino;
        let mut found = Vec::new();
        for entry in fs::read_dir("/proc")? {
            let path = entry?.path();
            let pid = path.file_name().and_then(|name| name.to_str()?.parse::<u32>().ok());
            let Some(pid) = pid.filter(|pid| *pid != own) else { continue };
            if fs::metadata(path.join("ns/net")).is_ok_and(|here| here.ino() == network) {
                found.push(pid);
            }
        }
        Ok(found)
    }

    /// Mounts below its directory that an engine left in the place go with its namespace; what
    /// helpers hold open must end first.
    pub fn kill_the_rest(&self) -> Result<()> {
        let mut rest = self.processes()?;
        rest.extend(self.account.contained()?);
        for pid in rest {
            let Ok(pid) = i32::try_from(pid) else { continue };
            let Ok(process) = isula_sys::process::open(pid) else { continue };
            drop(isula_sys::process::send_signal(process.as_fd(), 9));
            let limit = std::time::Duration::from_secs(10);
            isula_sys::process::wait_at_most(process.as_fd(), Some(limit))?;
        }
        Ok(())
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        // What is left is removed with the directory of all.
        drop(fs::remove_dir_all(&self.root));
    }
}
