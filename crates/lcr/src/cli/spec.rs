//! spec, and reading a configuration.

use std::path::{Path, PathBuf};

use clap::Args;
use oci_spec::runtime::Spec;
use serde_json::{Value, json};

use super::Outcome;
use super::report::Failure;

/// Flags of spec.
#[derive(Debug, Args)]
pub(super) struct SpecArgs {
    /// Directory of the bundle
    #[arg(short, long, default_value = ".", value_name = "DIR")]
    bundle: PathBuf,
}

/// Reads a configuration.
pub(super) fn read(path: &Path) -> Result<Spec, Failure> {
    let bytes = std::fs::read(path).map_err(|error| Failure::file("read", path, error))?;
    parse(path, &bytes)
}

/// Understands a configuration; errors name the file.
pub(super) fn parse(path: &Path, bytes: &[u8]) -> Result<Spec, Failure> {
    serde_json::from_slice(bytes)
        .map_err(|error| Failure::text(format!("cannot read {}: {error}", path.display())))
}

pub(super) fn spec(args: &SpecArgs) -> Outcome {
    let path = args.bundle.join("config.json");
    let mut options = std::fs::OpenOptions::new();
    let file = options.write(true).create_new(true).open(&path);
    let file = file.map_err(|error| Failure::file("create", &path, error))?;
    serde_json::to_writer_pretty(file, &template())
        .map_err(|error| Failure::text(format!("cannot write {}: {error}", path.display())))?;
    Ok(0)
}

/// A container with a shell on a terminal, nothing of the host's in it.
fn template() -> Value {
    let capabilities = json!(["CAP_AUDIT_WRITE", "CAP_KILL", "CAP_NET_BIND_SERVICE"]);
    json!({
        "ociVersion": "1.2.0",
        "process": {
            "terminal": true,
            "user": { "uid": 0, "gid": 0 },
            "args": ["sh"],
            "env": [
                "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
                "TERM=xterm"
            ],
            "cwd": "/",
            "capabilities": {
                "bounding": capabilities, "effective": capabilities, "permitted": capabilities
            },
            "rlimits": [{ "type": "RLIMIT_NOFILE", "hard": 1024, "soft": 1024 }],
            "noNewPrivileges": true
        },
        "root": { "path": "rootfs", "readonly": true },
        "hostname": "lcr",
        "mounts": mounts(),
        "linux": {
            "resources": { "devices": [{ "allow": false, "access": "rwm" }] },
            "namespaces": [
                { "type": "pid" }, { "type": "network" }, { "type": "ipc" }, { "type": "uts" },
                { "type": "mount" }, { "type": "cgroup" }
            ],
            "maskedPaths": [
                "/proc/acpi", "/proc/asound", "/proc/interrupts", "/proc/kcore", "/proc/keys",
                "/proc/latency_stats", "/proc/timer_list", "/proc/timer_stats",
                "/proc/sched_debug", "/proc/scsi", "/sys/firmware",
                "/sys/devices/virtual/powercap"
            ],
            "readonlyPaths": [
                "/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"
            ]
        }
    })
}

fn mounts() -> Value {
    json!([
        { "destination": "/proc", "type": "proc", "source": "proc" },
        { "destination": "/dev", "type": "tmpfs", "source": "tmpfs",
          "options": ["nosuid", "strictatime", "mode=755", "size=65536k"] },
        { "destination": "/dev/pts", "type": "devpts", "source": "devpts",
          "options": ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"] },
        { "destination": "/dev/shm", "type": "tmpfs", "source": "shm",
          "options": ["nosuid", "noexec", "nodev", "mode=1777", "size=65536k"] },
        { "destination": "/dev/mqueue", "type": "mqueue", "source": "mqueue",
          "options": ["nosuid", "noexec", "nodev"] },
        { "destination": "/sys", "type": "sysfs", "source": "sysfs",
          "options": ["nosuid", "noexec", "nodev", "ro"] },
        { "destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup",
          "options": ["nosuid", "noexec", "nodev", "relatime", "ro"] }
    ])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_template_is_a_configuration() {
        let spec: Spec = serde_json::from_value(template()).unwrap();
        assert_eq!(spec.mounts().as_ref().unwrap().len(), 7);
    }
}
