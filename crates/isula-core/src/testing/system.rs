//! A host of two processors, a clock that moves when it is told to, and reproducible randomness.

use std::sync::{
    Mutex,
    atomic::{AtomicU64, Ordering},
};

use jiff::{SignedDuration, Timestamp};

use super::locked;
use crate::{
    cdi::CdiName,
    container::capability,
    error::{ErrorKind, PortError},
    ports::{CdiDevices, CdiEdits, Clock, DeviceNode, Entropy, Host, HostFacts, Result},
};

/// A clock that goes one nanosecond further at each look, so that no two moments are equal.
pub struct FakeClock(Mutex<Timestamp>);

impl Default for FakeClock {
    fn default() -> Self {
        Self(Mutex::new(Timestamp::UNIX_EPOCH))
    }
}

impl FakeClock {
    /// Moves on.
    pub fn advance(&self, by: SignedDuration) {
        let mut now = locked(&self.0);
        *now = now.saturating_add(by).unwrap_or(*now);
    }
}

impl Clock for FakeClock {
    fn now(&self) -> Timestamp {
        self.advance(SignedDuration::from_nanos(1));
        *locked(&self.0)
    }
}

/// 1, 2, 3, …: each value begins with another digit, as random ones mostly do.
#[derive(Default)]
pub struct FakeEntropy(AtomicU64);

impl Entropy for FakeEntropy {
    fn random(&self) -> [u8; 32] {
        let n = self.0.fetch_add(1, Ordering::Relaxed) + 1;
        let mut bytes = [0; 32];
        for (byte, value) in bytes.iter_mut().zip(n.to_le_bytes()) {
            *byte = value.reverse_bits();
        }
        bytes
    }
}

/// A host.
pub struct FakeHost {
    facts: HostFacts,
    resolv_conf: Mutex<Vec<u8>>,
}

impl Default for FakeHost {
    fn default() -> Self {
        let facts = HostFacts {
            hostname: "thehost".to_owned(),
            kernel: "6.18.0".to_owned(),
            architecture: "amd64".to_owned(),
            operating_system: "Fake Linux".to_owned(),
            cpus: 2,
            memory: 8 << 30,
            capabilities: capability::NAMES.map(str::to_owned).to_vec(),
            seccomp: true,
            can_raise_limits: true,
            swap_accounting: true,
            ..HostFacts::default()
        };
        Self { facts, resolv_conf: Mutex::new(b"nameserver 10.0.0.2\n".to_vec()) }
    }
}

impl FakeHost {
    /// Changes `/etc/resolv.conf`.
    pub fn set_resolv_conf(&self, text: &str) {
        *locked(&self.resolv_conf) = text.as_bytes().to_vec();
    }

    fn node(path: &str) -> DeviceNode {
        let (kind, path) = ('c', path.to_owned());
        DeviceNode { path, kind, major: 10, minor: 229, mode: 0o666, uid: 0, gid: 0 }
    }
}

impl Host for FakeHost {
    fn facts(&self) -> &HostFacts {
        &self.facts
    }

    fn resolv_conf(&self) -> Vec<u8> {
        locked(&self.resolv_conf).clone()
    }

    /// There is `/dev/fuse`, and `/dev/dir` with two nodes.
    fn devices(&self, path: &str) -> Result<Vec<DeviceNode>> {
        match path {
            "/dev/fuse" => Ok(vec![Self::node(path)]),
            "/dev/dir" => Ok(vec![Self::node("/dev/dir/a"), Self::node("/dev/dir/sub/b")]),
            _ => Err(PortError::new(ErrorKind::NotFound, format!("{path} is no device"))),
        }
    }

    fn all_devices(&self) -> Vec<DeviceNode> {
        vec![Self::node("/dev/fuse")]
    }

    /// Everything below `/missing` does not exist.
    fn bind_source(&self, path: &str, create: bool) -> Result<String> {
        if path.starts_with("/missing") && !create {
            let message = format!("bind source path does not exist: {path}");
            return Err(PortError::new(ErrorKind::InvalidInput, message));
        }
        Ok(path.to_owned())
    }

    /// `/link` is a symbolic link.
    fn log_directory(&self, path: &str) -> Result<String> {
        match path {
            "/link" => Err(PortError::new(ErrorKind::InvalidInput, format!("{path} is a link"))),
            _ => Ok(path.to_owned()),
        }
    }

    /// `/rootfs` has a passwd file with the user `dir`; nothing below `/missing` can be opened.
    fn read_beneath(&self, root: &str, path: &str, _: u64) -> Result<Option<Vec<u8>>> {
        match (root, path) {
            (root, _) if root.starts_with("/missing") => {
                Err(PortError::new(ErrorKind::NotFound, format!("cannot open {root}")))
            }
            ("/rootfs", "/etc/passwd") => Ok(Some(b"dir:x:70:71::/home/dir:/bin/sh\n".to_vec())),
            ("/", "/etc/hosts") => Ok(Some(b"127.0.0.1 localhost thehost\n".to_vec())),
            _ => Ok(None),
        }
    }
}

/// Devices of the Container Device Interface: there is `vendor.com/class=one`, which sets a variable.
#[derive(Debug, Default)]
pub struct FakeCdi;

impl CdiDevices for FakeCdi {
    fn edits(&self, names: &[CdiName]) -> Result<CdiEdits> {
        let mut edits = CdiEdits::default();
        for name in names {
            if name.to_string() != "vendor.com/class=one" {
                let message = format!("unknown CDI device {name}");
                return Err(PortError::new(ErrorKind::InvalidInput, message));
            }
            edits.env.push("DEVICE=one".to_owned());
        }
        Ok(edits)
    }
}
