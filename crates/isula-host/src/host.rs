//! The host: its clock, its randomness, its facts, its device nodes.

use std::{
    fs::{self, File},
    io::{self, Read},
    os::unix::fs::{FileTypeExt, MetadataExt},
    path::{Path, PathBuf},
};

use isula_core::{
    error::{ErrorKind, PortError},
    ports::{Clock, DeviceNode, Entropy, Host, HostFacts, Result},
};
use jiff::Timestamp;

use crate::records::make_directory;

/// The kernel's clock and random numbers.
#[derive(Debug, Clone, Copy, Default)]
pub struct Kernel;

impl Clock for Kernel {
    fn now(&self) -> Timestamp {
        Timestamp::now()
    }
}

impl Entropy for Kernel {
    fn random(&self) -> [u8; 32] {
        let mut bytes = [0; 32];
        let flags = rustix::rand::GetRandomFlags::empty();
        // getrandom(2): up to 256 bytes are never cut short, and only a signal before the kernel's
        // generator is ready interrupts it.
        while rustix::rand::getrandom(&mut bytes, flags) != Ok(bytes.len()) {}
        bytes
    }
}

/// The machine that the daemon runs on.
#[derive(Debug, Clone)]
pub struct Machine {
    facts: HostFacts,
}

/// `/etc/resolv.conf` is read up to here.
const RESOLV_LIMIT: u64 = 64 << 10;
/// Deeper directories of devices are not looked into.
const DEVICE_DEPTH: usize = 8;
/// Below `/dev`, these are file systems or links of their own and no devices to hand on.
const NOT_DEVICES: [&str; 6] = ["pts", "shm", "fd", "mqueue", "console", ".udev"];

impl Machine {
    /// Reads the facts of this machine.
    #[must_use]
    pub fn read() -> Self {
        let name = rustix::system::uname();
        let text = |text: &std::ffi::CStr| text.to_string_lossy().into_owned();
        let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
        let effective = capabilities(&status, "CapEff");
        let facts = HostFacts {
            hostname: text(name.nodename()),
            kernel: text(name.release()),
            architecture: go_architecture(std::env::consts::ARCH).to_owned(),
            operating_system: operating_system(),
            cpus: processors(),
            memory: memory(),
            cgroup_v2: is_cgroup2(Path::new("/sys/fs/cgroup")),
            can_raise_limits: effective & (1 << CAP_SYS_RESOURCE) != 0,
            capabilities: names(effective & capabilities(&status, "CapBnd")),
            seccomp: Path::new("/proc/sys/kernel/seccomp/actions_avail").exists(),
            apparmor: text_is("/sys/module/apparmor/parameters/enabled", "Y"),
            selinux: Path::new("/sys/fs/selinux/enforce").exists(),
            oom_score_adj: number("/proc/self/oom_score_adj").unwrap_or(0),
            swap_accounting: accounts_swap(),
        };
        Self { facts }
    }
}

fn text_is(path: &str, wanted: &str) -> bool {
    fs::read_to_string(path).is_ok_and(|text| text.trim() == wanted)
}

impl Host for Machine {
    fn facts(&self) -> &HostFacts {
        &self.facts
    }

    fn resolv_conf(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        let read = File::open("/etc/resolv.conf")
            .and_then(|file| file.take(RESOLV_LIMIT).read_to_end(&mut bytes));
        if let Err(error) = read {
            // Docker goes on with its defaults too: a host may do without the file.
            tracing::debug!(%error, "cannot read /etc/resolv.conf");
        }
        bytes
    }

    fn devices(&self, path: &str) -> Result<Vec<DeviceNode>> {
        let cannot = |error| PortError::io(format!("cannot use device {path}"), error);
        let real = fs::canonicalize(path).map_err(cannot)?;
        let found = fs::metadata(&real).map_err(cannot)?;
        if let Some(node) = node(path, &found) {
            return Ok(vec![node]);
        }
        let mut nodes = Vec::new();
        if found.is_dir() {
            collect(&real, path, DEVICE_DEPTH, &mut nodes).map_err(cannot)?;
        }
        if nodes.is_empty() {
            let message = format!("{path} is no device, and there is none below it");
            return Err(PortError::new(ErrorKind::InvalidInput, message));
        }
        Ok(nodes)
    }

    fn all_devices(&self) -> Vec<DeviceNode> {
        let mut nodes = Vec::new();
        if let Err(error) = collect(Path::new("/dev"), "/dev", DEVICE_DEPTH, &mut nodes) {
            tracing::warn!(%error, "cannot list every device below /dev");
        }
        nodes
    }

    fn bind_source(&self, path: &str, create: bool) -> Result<String> {
        if !path.starts_with('/') {
            let message = format!("bind source path is not absolute: {path}");
            return Err(PortError::new(ErrorKind::InvalidInput, message));
        }
        let real = match fs::canonicalize(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound && create => {
                make_directory(Path::new(path), 0o755).and_then(|()| fs::canonicalize(path))
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let message = format!("bind source path does not exist: {path}");
                return Err(PortError::new(ErrorKind::InvalidInput, message));
            }
            other => other,
        };
        let real: PathBuf = real
            .map_err(|error| PortError::io(format!("cannot use bind source path {path}"), error))?;
        real.into_os_string().into_string().map_err(|real| {
            let message = format!("bind source path is not UTF-8: {}", real.display());
            PortError::new(ErrorKind::InvalidInput, message)
        })
    }

    fn log_directory(&self, path: &str) -> Result<String> {
        // The root itself has no parent, and no name.
        let Some((parent, name)) = path.rsplit_once('/').filter(|(_, name)| !name.is_empty())
        else {
            return Ok(path.to_owned());
        };
        let parent = self.bind_source(if parent.is_empty() { "/" } else { parent }, true)?;
        let real = format!("{}/{name}", parent.trim_end_matches('/'));
        match fs::symlink_metadata(&real) {
            Ok(found) if found.is_dir() => Ok(real),
            Ok(found) => {
                let what = if found.is_symlink() { "a symbolic link" } else { "no directory" };
                let message = format!("log_directory {path} is {what}");
                Err(PortError::new(ErrorKind::InvalidInput, message))
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(real),
            Err(error) => Err(PortError::io(format!("cannot use log_directory {path}"), error)),
        }
    }

    fn read_beneath(&self, root: &str, path: &str, limit: u64) -> Result<Option<Vec<u8>>> {
        read_beneath(root, path, limit)
            .map_err(|error| PortError::io(format!("cannot read {path} beneath {root}"), error))
    }
}

/// Reads a regular file of at most `limit` bytes; nothing that a container put there can make the
/// path lead out of `root` or the read wait.
fn read_beneath(root: &str, path: &str, limit: u64) -> io::Result<Option<Vec<u8>>> {
    use rustix::fs::{Mode, OFlags, ResolveFlags};
    let directory = File::open(root)?;
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
    let file: File = match rustix::fs::openat2(&directory, path, flags, Mode::empty(), resolve) {
        Ok(file) => file.into(),
        Err(error) => {
            // Missing, a socket, a device without a driver, a loop of links: not to be read.
            tracing::debug!(root, path, %error, "nothing to read");
            return Ok(None);
        }
    };
    let found = file.metadata()?;
    if !found.is_file() || found.len() > limit {
        return Ok(None);
    }
    let mut bytes = Vec::new();
    file.take(limit + 1).read_to_end(&mut bytes)?;
    Ok((bytes.len() as u64 <= limit).then_some(bytes))
}

/// The device node that this is, if it is one, under the path by which it was asked for.
fn node(path: &str, found: &fs::Metadata) -> Option<DeviceNode> {
    let kind = found.file_type();
    let kind = match (kind.is_block_device(), kind.is_char_device(), kind.is_fifo()) {
        (true, _, _) => 'b',
        (_, true, _) => 'c',
        (_, _, true) => 'p',
        _ => return None,
    };
    Some(DeviceNode {
        path: path.to_owned(),
        kind,
        major: rustix::fs::major(found.rdev()),
        minor: rustix::fs::minor(found.rdev()),
        mode: found.mode() & 0o7777,
        uid: found.uid(),
        gid: found.gid(),
    })
}

/// Adds every device node below a directory. Links are not followed, fifos not handed on.
fn collect(real: &Path, shown: &str, depth: usize, nodes: &mut Vec<DeviceNode>) -> io::Result<()> {
    for entry in fs::read_dir(real)? {
        let entry = entry?;
        let Ok(name) = entry.file_name().into_string() else { continue };
        if NOT_DEVICES.contains(&name.as_str()) {
            continue;
        }
        // It may have gone since it was listed.
        let Ok(found) = entry.metadata() else { continue };
        let shown = format!("{}/{name}", shown.trim_end_matches('/'));
        match node(&shown, &found) {
            Some(node) if node.kind != 'p' => nodes.push(node),
            Some(_) => {}
            None if found.is_dir() && depth > 0 => {
                collect(&entry.path(), &shown, depth - 1, nodes)?;
            }
            None => {}
        }
    }
    Ok(())
}

/// Go's name of an architecture, which images use.
fn go_architecture(rust: &str) -> &str {
    match rust {
        "x86_64" => "amd64",
        "x86" => "386",
        "aarch64" => "arm64",
        "loongarch64" => "loong64",
        "powerpc64" => "ppc64le",
        other => other,
    }
}

fn operating_system() -> String {
    let text = fs::read_to_string("/etc/os-release")
        .or_else(|_| fs::read_to_string("/usr/lib/os-release"))
        .unwrap_or_default();
    pretty_name(&text).unwrap_or_else(|| "Linux".to_owned())
}

/// `PRETTY_NAME` of os-release(5), its quotes and escapes taken off.
fn pretty_name(text: &str) -> Option<String> {
    let value = text.lines().find_map(|line| line.trim().strip_prefix("PRETTY_NAME="))?;
    let quote = |quote: char| value.strip_prefix(quote)?.strip_suffix(quote);
    let plain = quote('"').or_else(|| quote('\'')).unwrap_or(value);
    let mut name = String::with_capacity(plain.len());
    let mut characters = plain.chars();
    while let Some(character) = characters.next() {
        name.extend(if character == '\\' { characters.next() } else { Some(character) });
    }
    Some(name)
}

fn processors() -> u32 {
    match rustix::thread::sched_getaffinity(None) {
        Ok(set) => set.count(),
        Err(_) => std::thread::available_parallelism()
            .map_or(1, |count| u32::try_from(count.get()).unwrap_or(u32::MAX)),
    }
}

fn memory() -> u64 {
    let facts = rustix::system::sysinfo();
    u64::from(facts.mem_unit).saturating_mul(facts.totalram)
}

fn is_cgroup2(path: &Path) -> bool {
    // CGROUP2_SUPER_MAGIC of linux/magic.h.
    rustix::fs::statfs(path).is_ok_and(|found| found.f_type == 0x6367_7270)
}

/// Whether the kernel accounts swap to cgroups: v2 has `memory.swap.max` below the root, v1
/// `memory.memsw.limit_in_bytes` (both can be left out of a kernel or switched off at boot).
fn accounts_swap() -> bool {
    let v1 = Path::new("/sys/fs/cgroup/memory");
    if v1.is_dir() {
        return v1.join("memory.memsw.limit_in_bytes").exists();
    }
    let below = fs::read_dir("/sys/fs/cgroup").into_iter().flatten().flatten();
    below.map(|entry| entry.path()).any(|path| path.join("memory.swap.max").exists())
}

fn number(path: &str) -> Option<i32> {
    fs::read_to_string(path).ok()?.trim().parse().ok()
}

/// A set of capabilities in the text of proc_pid_status(5).
fn capabilities(status: &str, field: &str) -> u64 {
    let line = status.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
    line.and_then(|text| u64::from_str_radix(text.trim(), 16).ok()).unwrap_or(0)
}

const CAP_SYS_RESOURCE: u32 = 24;

/// The names of linux/capability.h, by number.
const CAPABILITIES: [&str; 41] = [
    "CHOWN",
    "DAC_OVERRIDE",
    "DAC_READ_SEARCH",
    "FOWNER",
    "FSETID",
    "KILL",
    "SETGID",
    "SETUID",
    "SETPCAP",
    "LINUX_IMMUTABLE",
    "NET_BIND_SERVICE",
    "NET_BROADCAST",
    "NET_ADMIN",
    "NET_RAW",
    "IPC_LOCK",
    "IPC_OWNER",
    "SYS_MODULE",
    "SYS_RAWIO",
    "SYS_CHROOT",
    "SYS_PTRACE",
    "SYS_PACCT",
    "SYS_ADMIN",
    "SYS_BOOT",
    "SYS_NICE",
    "SYS_RESOURCE",
    "SYS_TIME",
    "SYS_TTY_CONFIG",
    "MKNOD",
    "LEASE",
    "AUDIT_WRITE",
    "AUDIT_CONTROL",
    "SETFCAP",
    "MAC_OVERRIDE",
    "MAC_ADMIN",
    "SYSLOG",
    "WAKE_ALARM",
    "BLOCK_SUSPEND",
    "AUDIT_READ",
    "PERFMON",
    "BPF",
    "CHECKPOINT_RESTORE",
];

fn names(set: u64) -> Vec<String> {
    let has = |(number, _): &(u32, &&str)| set >> number & 1 == 1;
    (0..).zip(&CAPABILITIES).filter(has).map(|(_, name)| format!("CAP_{name}")).collect()
}

#[cfg(test)]
mod tests {
    use super::{CAP_SYS_RESOURCE, Kernel, Machine, names, pretty_name};
    use isula_core::{error::ErrorKind, ports::Host, testing::conformance};
    use std::{fs, os::unix::fs::PermissionsExt};

    #[test]
    fn the_facts_are_those_of_this_machine() {
        let machine = Machine::read();
        let facts = machine.facts();
        let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
        assert_eq!(facts.kernel, kernel.trim());
        assert!(facts.cpus >= 1);
        assert!(facts.memory > 1 << 20);
        assert!(!facts.operating_system.is_empty());
        let name = fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
        assert_eq!(facts.hostname, name.trim());
    }

    #[test]
    fn a_log_directory_may_lie_behind_a_link_and_be_none() {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path().canonicalize().unwrap();
        let at = |name: &str| root.join(name).to_str().unwrap().to_owned();
        fs::create_dir(at("real")).unwrap();
        std::os::unix::fs::symlink("real", at("logs")).unwrap();
        let machine = Machine::read();
        let real = |name: &str| machine.log_directory(&at(name));
        // It need not be there; what is above it is made.
        assert_eq!(real("logs/pod").unwrap(), at("real/pod"));
        assert_eq!(real("logs/new/pod").unwrap(), at("real/new/pod"));
        assert!(fs::metadata(at("real/new")).unwrap().is_dir());
        fs::create_dir(at("real/pod")).unwrap();
        assert_eq!(real("logs/pod").unwrap(), at("real/pod"));
        std::os::unix::fs::symlink("pod", at("real/link")).unwrap();
        fs::write(at("real/file"), "").unwrap();
        for name in ["logs", "logs/link", "logs/file"] {
            let error = real(name).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidInput, "{name}");
            assert!(error.to_string().contains("log_directory"), "{error}");
        }
        assert_eq!(machine.log_directory("/").unwrap(), "/");
        assert_eq!(machine.log_directory("/no-such-directory").unwrap(), "/no-such-directory");
    }

    #[test]
    fn capabilities_have_the_kernels_names() {
        assert_eq!(names(1 << CAP_SYS_RESOURCE | 1), ["CAP_CHOWN", "CAP_SYS_RESOURCE"]);
        assert_eq!(names(1 << 40 | 1 << 63), ["CAP_CHECKPOINT_RESTORE"]);
    }

    #[test]
    fn the_name_of_the_system_is_read_as_a_shell_would() {
        for (text, name) in [
            (
                "NAME=x\nPRETTY_NAME=\"Debian GNU/Linux 12 (bookworm)\"\n",
                "Debian GNU/Linux 12 (bookworm)",
            ),
            ("PRETTY_NAME='a \"b\"'", "a \"b\""),
            ("PRETTY_NAME=\"a \\\"b\\\" \\$c\"", "a \"b\" $c"),
            ("PRETTY_NAME=plain", "plain"),
        ] {
            assert_eq!(pretty_name(text).as_deref(), Some(name), "{text}");
        }
        assert_eq!(pretty_name("NAME=x"), None);
    }

    #[test]
    fn a_device_is_found_through_links_and_in_directories() {
        let machine = Machine::read();
        let null = machine.devices("/dev/null").unwrap();
        assert_eq!((null[0].kind, null[0].major, null[0].minor), ('c', 1, 3));
        let directory = tempfile::tempdir().unwrap();
        let link = directory.path().join("link");
        std::os::unix::fs::symlink("/dev/null", &link).unwrap();
        let linked = machine.devices(link.to_str().unwrap()).unwrap();
        assert_eq!((linked[0].minor, linked[0].path.as_str()), (3, link.to_str().unwrap()));
        assert!(machine.all_devices().iter().any(|node| node.path == "/dev/null"));
        let none = machine.devices(directory.path().to_str().unwrap()).unwrap_err();
        assert_eq!(none.kind(), ErrorKind::InvalidInput);
        let missing = machine.devices("/dev/no-such-device").unwrap_err();
        assert_eq!(missing.kind(), ErrorKind::NotFound);
    }

    #[test]
    fn the_source_of_a_bind_mount_is_made_only_when_asked() {
        let machine = Machine::read();
        let directory = tempfile::tempdir().unwrap();
        let real = directory.path().canonicalize().unwrap();
        let path = directory.path().join("a/b");
        let text = path.to_str().unwrap();
        let refused = machine.bind_source(text, false).unwrap_err();
        assert_eq!(refused.to_string(), format!("bind source path does not exist: {text}"));
        assert_eq!(machine.bind_source(text, true).unwrap(), real.join("a/b").to_str().unwrap());
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o755);
        let link = directory.path().join("link");
        std::os::unix::fs::symlink("a", &link).unwrap();
        let resolved = machine.bind_source(link.to_str().unwrap(), false).unwrap();
        assert_eq!(resolved, real.join("a").to_str().unwrap());
        assert!(machine.bind_source("relative", true).is_err());
    }

    #[test]
    fn a_file_beneath_a_root_never_comes_from_outside() {
        let machine = Machine::read();
        let root = tempfile::tempdir().unwrap();
        let at = |name: &str| root.path().join(name);
        fs::create_dir(at("etc")).unwrap();
        fs::write(at("etc/passwd"), b"inside").unwrap();
        let link = |target: &str, name: &str| std::os::unix::fs::symlink(target, at(name)).unwrap();
        link("/etc/passwd", "absolute");
        link("../../../etc/passwd", "upwards");
        link("/etc/hostname", "outside");
        link("loop", "loop");
        link("/proc/self/fd/0", "magic");
        let fifo = std::process::Command::new("mkfifo").arg(at("fifo")).status().unwrap();
        assert!(fifo.success());
        let read = |path: &str, limit| {
            machine.read_beneath(root.path().to_str().unwrap(), path, limit).unwrap()
        };
        for path in ["/etc/passwd", "absolute", "upwards", "../../etc/passwd"] {
            assert_eq!(read(path, 6).as_deref(), Some(&b"inside"[..]), "{path}");
        }
        for path in ["outside", "loop", "magic", "fifo", "etc", "missing"] {
            assert_eq!(read(path, 6), None, "{path}");
        }
        assert_eq!(read("/etc/passwd", 5), None);
        assert!(machine.read_beneath("/no/such/root", "x", 1).is_err());
    }

    #[test]
    fn the_kernels_clock_and_randomness_conform() {
        conformance::clock(&Kernel);
        conformance::entropy(&Kernel);
    }
}
