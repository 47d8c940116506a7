//! The run directory of a sandbox: pinning namespaces and finding them.

use std::ffi::CString;
use std::fs::{self, File};
use std::io;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::thread;

use isula_core::ports::{PodNetwork, PodPaths, PodRequest};
use isula_core::sandbox::InterfaceUsage;
use isula_sys::mount::{self, Depth, Filesystem};
use isula_sys::namespace;

use crate::records::make_directory;
use crate::runtime::Named;

/// A kind of namespace: its name below `/proc/PID/ns`, which is that of its pin, and its bit.
#[derive(Debug, Clone, Copy)]
pub(super) struct Kind {
    pub name: &'static str,
    /// `CLONE_NEW*` of linux/sched.h.
    pub bit: u32,
}

pub(super) const UTS: Kind = Kind { name: "uts", bit: 0x0400_0000 };
pub(super) const IPC: Kind = Kind { name: "ipc", bit: 0x0800_0000 };
pub(super) const USER: Kind = Kind { name: "user", bit: 0x1000_0000 };
pub(super) const PID: Kind = Kind { name: "pid", bit: 0x2000_0000 };
pub(super) const NETWORK: Kind = Kind { name: "net", bit: 0x4000_0000 };
/// All of them.
pub(super) const KINDS: [Kind; 5] = [UTS, IPC, USER, PID, NETWORK];

/// `NSFS_MAGIC` of linux/magic.h.
const NSFS: u64 = 0x6e73_6673;
/// Stack of a thread that enters a namespace; it makes a few system calls.
const STACK: usize = 128 << 10;

const BOOT: &str = "boot";
const INIT: &str = "init";
/// The directory for `/dev/shm`.
pub(super) const SHM: &str = "shm";

/// `STATE/pods/<id>`.
#[derive(Debug)]
pub(super) struct Directory(PathBuf);

impl Directory {
    pub fn new(path: PathBuf) -> Self {
        Self(path)
    }

    pub fn path(&self) -> &Path {
        &self.0
    }

    pub fn exists(&self) -> bool {
        self.0.exists()
    }

    /// Makes it, for this boot.
    pub fn make(&self, boot: &str) -> io::Result<()> {
        make_directory(&self.0, 0o711)?;
        fs::write(self.0.join(BOOT), boot)
    }

    /// Whether it was made since the machine started.
    pub fn is_of(&self, boot: &str) -> bool {
        fs::read_to_string(self.0.join(BOOT)).is_ok_and(|found| found == boot)
    }

    pub fn pin(&self, kind: Kind) -> PathBuf {
        self.0.join(kind.name)
    }

    pub fn is_pinned(&self, kind: Kind) -> bool {
        let found = rustix::fs::statfs(self.pin(kind));
        found.is_ok_and(|found| u64::try_from(found.f_type) == Ok(NSFS))
    }

    /// What is pinned.
    ///
    /// # Errors
    /// `NotFound` when something was to be pinned and is not.
    pub fn paths(&self) -> io::Result<PodPaths> {
        let path = |kind: Kind| match (self.pin(kind).exists(), self.is_pinned(kind)) {
            (false, _) => Ok(None),
            (true, true) => Ok(Some(self.pin(kind))),
            (true, false) => Err(io::Error::from(io::ErrorKind::NotFound)),
        };
        let shm = self.0.join(SHM);
        Ok(PodPaths {
            uts: path(UTS)?,
            ipc: path(IPC)?,
            network: path(NETWORK)?,
            user: path(USER)?,
            shm: shm.exists().then_some(shm),
        })
    }

    /// A tmpfs for `/dev/shm`, of this owner.
    pub fn make_shm(&self, size: u64, owner: u32) -> io::Result<()> {
        let path = self.0.join(SHM);
        make_directory(&path, 0o711)?;
        let shm = Filesystem::open("tmpfs")?;
        shm.set("source", "shm")?;
        shm.set("size", &size.to_string())?;
        shm.set("mode", "1777")?;
        if owner != 0 {
            shm.set("uid", &owner.to_string())?;
            shm.set("gid", &owner.to_string())?;
        }
        let shm = shm.mount(mount::NOSUID | mount::NODEV | mount::NOEXEC)?;
        mount::attach(shm.as_fd(), File::open(&path)?.as_fd())
    }

    /// The init of the sandbox, if there was one.
    pub fn init(&self) -> Option<Named> {
        let text = fs::read_to_string(self.0.join(INIT)).ok()?;
        let (pid, start) = text.trim().split_once(' ')?;
        Some(Named { pid: pid.parse().ok()?, start: start.parse().ok()? })
    }

    pub fn keep_init(&self, pid: i32) -> io::Result<()> {
        let start = isula_sys::process::start_time(pid)?;
        fs::write(self.0.join(INIT), format!("{pid} {start}\n"))
    }

    fn mount_on(&self, source: &Path, kind: Kind) -> io::Result<()> {
        let copy = mount::clone(&CString::new(source.as_os_str().as_bytes())?, Depth::One)?;
        let target = File::create(self.pin(kind))?;
        mount::attach(copy.as_fd(), target.as_fd())
    }
}

/// Makes and pins the namespaces that the host owns, on a thread that ends with it.
pub(super) fn make(directory: &Directory, request: &PodRequest) -> io::Result<()> {
    let mut kinds = Vec::new();
    kinds.extend(request.hostname.is_some().then_some(UTS));
    kinds.extend(request.shm_size.is_some().then_some(IPC));
    let network = match &request.network {
        PodNetwork::At(path) => Some(File::open(path)?),
        PodNetwork::None | PodNetwork::Make => None,
    };
    if kinds.is_empty() && network.is_none() {
        return Ok(());
    }
    in_thread(|| {
        namespace::unshare(kinds.iter().fold(0, |bits, kind| bits | kind.bit))?;
        if let Some(network) = &network {
            namespace::join(network.as_fd(), NETWORK.bit)?;
        }
        configure(request)?;
        kinds.iter().try_for_each(|kind| {
            let source = format!("/proc/thread-self/ns/{}", kind.name);
            directory.mount_on(Path::new(&source), *kind)
        })
    })
}

/// Pins namespaces of a process.
pub(super) fn pin_of(directory: &Directory, pid: i32, kinds: u32) -> io::Result<()> {
    KINDS.iter().filter(|kind| kinds & kind.bit != 0).try_for_each(|kind| {
        let source = format!("/proc/{pid}/ns/{}", kind.name);
        directory.mount_on(Path::new(&source), *kind)
    })
}

/// Sets host name and parameters in pinned namespaces.
pub(super) fn set_up(directory: &Directory, request: &PodRequest) -> io::Result<()> {
    let pinned = [UTS, IPC, NETWORK].into_iter().filter(|kind| directory.is_pinned(*kind));
    let opened: Vec<(Kind, File)> = pinned
        .map(|kind| Ok((kind, File::open(directory.pin(kind))?)))
        .collect::<io::Result<_>>()?;
    in_thread(|| {
        for (kind, file) in &opened {
            namespace::join(file.as_fd(), kind.bit)?;
        }
        configure(request)
    })
}

/// In the namespaces of this thread.
fn configure(request: &PodRequest) -> io::Result<()> {
    if let Some(name) = &request.hostname {
        rustix::system::sethostname(name.as_bytes())?;
    }
    for (key, value) in &request.sysctls {
        // With a slash in it, a dot is part of a name (sysctl(8)).
        let file = if key.contains('/') { key.clone() } else { key.replace('.', "/") };
        // procfs shows the parameters of the namespaces of whoever opens the file.
        let path = format!("/proc/sys/{file}");
        let root =
            request.user.as_ref().and_then(|user| user.uids.iter().find(|id| id.container == 0));
        let written = match (fs::write(&path, value), root) {
            (Err(error), Some(root)) if error.kind() == io::ErrorKind::PermissionDenied => {
                as_user(root.host, || fs::write(&path, value))
            }
            (written, _) => written,
        };
        written.map_err(|error| {
            let text = format!("sysctl {key}={value}: {}", isula_sys::errno::describe(&error));
            io::Error::new(error.kind(), text)
        })?;
    }
    Ok(())
}

/// Works with the effective user id of this thread alone changed: those parameters that have no
/// capability of their own only the root of the namespace's user namespace may change
/// (`ipc_permissions` of ipc/ipc_sysctl.c).
fn as_user<T>(user: u32, work: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
    use rustix::{process::Uid, thread::set_thread_res_uid};
    let root = Uid::ROOT;
    set_thread_res_uid(root, Uid::from_raw(user), root)?;
    let done = work();
    set_thread_res_uid(root, root, root)?;
    done
}

/// The counters of the interfaces of a network namespace, but the loopback device.
pub(super) fn interfaces(namespace: &Path) -> io::Result<Vec<InterfaceUsage>> {
    let file = File::open(namespace)?;
    let text = in_thread(|| {
        namespace::join(file.as_fd(), NETWORK.bit)?;
        fs::read_to_string("/proc/thread-self/net/dev")
    })?;
    Ok(text.lines().filter_map(interface).filter(|one| one.name != "lo").collect())
}

/// A line of `/proc/net/dev`, proc_pid_net(5).
fn interface(line: &str) -> Option<InterfaceUsage> {
    let (name, counters) = line.split_once(':')?;
    let counters: Vec<u64> =
        counters.split_ascii_whitespace().map(str::parse).collect::<Result<_, _>>().ok()?;
    let [rx_bytes, rx_packets, rx_errors, rx_dropped, _, _, _, _, rest @ ..] = &*counters else {
        return None;
    };
    let [tx_bytes, tx_packets, tx_errors, tx_dropped, ..] = rest else { return None };
    Some(InterfaceUsage {
        name: name.trim().to_owned(),
        rx_bytes: *rx_bytes,
        rx_packets: *rx_packets,
        rx_errors: *rx_errors,
        rx_dropped: *rx_dropped,
        tx_bytes: *tx_bytes,
        tx_packets: *tx_packets,
        tx_errors: *tx_errors,
        tx_dropped: *tx_dropped,
    })
}

/// Runs `work` on a thread of its own that ends with it: whatever namespaces it enters, none of the
/// daemon's threads ever has to find its way back.
fn in_thread<T: Send>(work: impl FnOnce() -> io::Result<T> + Send) -> io::Result<T> {
    thread::scope(|scope| {
        let builder = thread::Builder::new().name("pod".to_owned()).stack_size(STACK);
        let thread = builder.spawn_scoped(scope, work)?;
        thread.join().unwrap_or_else(|_| Err(io::Error::other("the thread ended early")))
    })
}

#[cfg(test)]
mod tests {
    use super::interface;

    #[test]
    fn the_counters_of_an_interface_are_read() {
        let text = "  eth0: 10 1 2 3 0 0 0 0 20 4 5 6 0 0 0 0";
        let found = interface(text).unwrap();
        assert_eq!(found.name, "eth0");
        assert_eq!((found.rx_bytes, found.rx_packets, found.rx_dropped), (10, 1, 3));
        assert_eq!((found.tx_bytes, found.tx_packets, found.tx_errors), (20, 4, 5));
        assert!(interface("Inter-|   Receive                |  Transmit").is_none());
    }
}
