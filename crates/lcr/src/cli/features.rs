//! features: what this runtime can do (runtime-spec features.md).

use lcr::capability;
use serde_json::json;

use super::Outcome;
use super::list::print;

pub(super) fn features() -> Outcome {
    let mut options: Vec<&str> = lcr::compile::KNOWN_OPTIONS.to_vec();
    options.sort_unstable();
    let capabilities: Vec<_> = (0..64).map_while(capability::name).collect();
    let features = json!({
        "ociVersionMin": "1.0.0",
        "ociVersionMax": "1.3.0",
        "hooks": [
            "prestart", "createRuntime", "createContainer", "startContainer", "poststart",
            "poststop"
        ],
        "mountOptions": options,
        "linux": {
            "namespaces": [
                "cgroup", "ipc", "mount", "network", "pid", "time", "user", "uts"
            ],
            "capabilities": capabilities,
            "cgroup": { "v1": true, "v2": true, "systemd": false, "systemdUser": false, "rdma": true },
            "seccomp": {
                "enabled": true,
                "actions": [
                    "SCMP_ACT_ALLOW", "SCMP_ACT_ERRNO", "SCMP_ACT_KILL", "SCMP_ACT_KILL_PROCESS",
                    "SCMP_ACT_KILL_THREAD", "SCMP_ACT_LOG", "SCMP_ACT_TRACE", "SCMP_ACT_TRAP"
                ],
                "operators": [
                    "SCMP_CMP_EQ", "SCMP_CMP_GE", "SCMP_CMP_GT", "SCMP_CMP_LE", "SCMP_CMP_LT",
                    "SCMP_CMP_MASKED_EQ", "SCMP_CMP_NE"
                ],
                "archs": [
                    "SCMP_ARCH_AARCH64", "SCMP_ARCH_ARM", "SCMP_ARCH_X32", "SCMP_ARCH_X86",
                    "SCMP_ARCH_X86_64"
                ]
            },
            "apparmor": { "enabled": true },
            "selinux": { "enabled": true },
            "intelRdt": { "enabled": false },
            "memoryPolicy": { "modes": [], "flags": [] },
            "mountExtensions": { "idmap": { "enabled": true } },
            "netDevices": { "enabled": false }
        },
        "annotations": { "org.isula.lcr.version": env!("CARGO_PKG_VERSION") }
    });
    print(&format!("{features:#}\n"))
}
