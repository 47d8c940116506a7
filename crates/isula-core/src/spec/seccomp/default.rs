//! The default profile: Docker's, as of 2026 (github.com/moby/profiles, `seccomp/default.json`),
//! as a table of our own.
//!
//! Everything is refused with `EPERM` but what is listed. Left out on purpose: io_uring, keyctl,
//! userfaultfd, kexec, swap, the module calls and new user namespaces; the socket families `AF_ALG`
//! and `AF_VSOCK`. socketcall(2), by which i386 programs make sockets, hides the family behind a
//! pointer where no filter can look; it is allowed, as it is by Docker, or no such program would
//! reach a network.

use std::sync::Arc;

use oci_spec::runtime::{
    Arch, Capabilities, Capability, LinuxSeccomp, LinuxSeccompAction as Action,
    LinuxSeccompOperator as Operator, LinuxSyscall,
};

use super::argument;
use crate::spec::recent::Recent;

const EPERM: u32 = 1;
const ENOSYS: u32 = 38;

/// The bits of clone(2) that make namespaces: `CLONE_NEWNS`, `CGROUP`, `UTS`, `IPC`, `USER`,
/// `PID` and `NET` (linux/sched.h).
const NEW_NAMESPACES: u64 = 0x7e02_0000;

/// Socket families from `AF_UNIX` to this one, exclusive, are allowed.
const FIRST_REFUSED_FAMILY: u64 = 12;

/// Families above it that are allowed (linux/socket.h): `NETBEUI`, `SECURITY`, `KEY`, `NETLINK`,
/// `PACKET`, `ASH`, `RDS`, `SNA`, `PPPOX`, `LLC`, `IB`, `MPLS`, `CAN`, `TIPC`, `BLUETOOTH`, `IUCV`,
/// `RXRPC`, `PHONET`, `IEEE802154`, `NFC`, `KCM`, `QIPCRTR`, `SMC`, `XDP`, `MCTP`. Not among them
/// are `ALG` (38), `VSOCK` (40) and what the kernel has dropped.
const OTHER_FAMILIES: [u64; 25] = [
    13, 14, 15, 16, 17, 18, 21, 22, 24, 26, 27, 28, 29, 30, 31, 32, 33, 35, 36, 39, 41, 42, 43, 44,
    45,
];

/// Arguments of personality(2): `PER_LINUX`, `PER_LINUX32`, each also with `UNAME26`, and the
/// question for the present one.
const PERSONALITIES: [u64; 5] = [0, 0x8, 0x2_0000, 0x2_0008, 0xffff_ffff];

/// Calls that need a capability to be of any use, or are dangerous without it.
const BY_CAPABILITY: [(Capability, &[&str]); 14] = [
    (Capability::DacReadSearch, &["open_by_handle_at"]),
    (
        Capability::SysAdmin,
        &[
            "bpf",
            "clone",
            "clone3",
            "fanotify_init",
            "fsconfig",
            "fsmount",
            "fsopen",
            "fspick",
            "lookup_dcookie",
            "lsm_get_self_attr",
            "lsm_list_modules",
            "lsm_set_self_attr",
            "mount",
            "mount_setattr",
            "move_mount",
            "open_tree",
            "perf_event_open",
            "quotactl",
            "quotactl_fd",
            "setdomainname",
            "sethostname",
            "setns",
            "syslog",
            "umount",
            "umount2",
            "unshare",
        ],
    ),
    (Capability::SysBoot, &["reboot"]),
    (Capability::SysChroot, &["chroot"]),
    (Capability::SysModule, &["delete_module", "init_module", "finit_module"]),
    (Capability::SysPacct, &["acct"]),
    (Capability::SysPtrace, &["kcmp", "pidfd_getfd", "process_madvise"]),
    (Capability::SysRawio, &["iopl", "ioperm"]),
    (Capability::SysTime, &["settimeofday", "stime", "clock_settime", "clock_settime64"]),
    (Capability::SysTtyConfig, &["vhangup"]),
    (Capability::SysNice, &["get_mempolicy", "mbind", "set_mempolicy", "set_mempolicy_home_node"]),
    (Capability::Syslog, &["syslog"]),
    (Capability::Bpf, &["bpf"]),
    (Capability::Perfmon, &["perf_event_open"]),
];

/// Safe since Linux 4.8, which checks the tracer's filter again after it has changed a call.
const TRACING: [&str; 3] = ["process_vm_readv", "process_vm_writev", "ptrace"];

/// Calls of one machine, for its 32-bit programs too.
const X86: [&str; 2] = ["arch_prctl", "modify_ldt"];
const ARM: [&str; 6] = [
    "arm_fadvise64_64",
    "arm_sync_file_range",
    "sync_file_range2",
    "breakpoint",
    "cacheflush",
    "set_tls",
];

/// By the bounding set and the architecture; one is some 400 strings.
static PROFILES: Recent<(Capabilities, Arch), Arc<LinuxSeccomp>> = Recent::new();

/// The profile of a container that asks for none, whose bounding set is `capabilities`, on a
/// machine whose own architecture is `architecture`. Nearly all containers have the same one.
#[must_use]
pub fn default_profile(capabilities: &Capabilities, architecture: Arch) -> Arc<LinuxSeccomp> {
    PROFILES.get(
        |(known, arch)| *arch == architecture && known == capabilities,
        || ((capabilities.clone(), architecture), Arc::new(made(capabilities, architecture))),
    )
}

fn made(capabilities: &Capabilities, architecture: Arch) -> LinuxSeccomp {
    let (architectures, own) = machine(architecture);
    let mut syscalls = vec![allow(allowed()), allow(TRACING)];
    syscalls.push(allow_if("socket", Operator::ScmpCmpLt, FIRST_REFUSED_FAMILY));
    let equal = |name: &'static str| move |value: &u64| allow_if(name, Operator::ScmpCmpEq, *value);
    syscalls.extend(OTHER_FAMILIES.iter().map(equal("socket")));
    syscalls.extend(PERSONALITIES.iter().map(equal("personality")));
    syscalls.extend((!own.is_empty()).then(|| allow(own.iter().copied())));
    for (capability, names) in BY_CAPABILITY {
        if capabilities.contains(&capability) {
            syscalls.push(allow(names.iter().copied()));
        }
    }
    if !capabilities.contains(&Capability::SysAdmin) {
        syscalls.push(allow_if("clone", Operator::ScmpCmpMaskedEq, NEW_NAMESPACES));
        // Its flags lie in memory, where no filter can look. ENOSYS sends the C library back to
        // clone(2).
        let mut clone3 = LinuxSyscall::default();
        clone3.set_names(vec!["clone3".to_owned()]);
        clone3.set_action(Action::ScmpActErrno).set_errno_ret(Some(ENOSYS));
        syscalls.push(clone3);
    }
    let mut profile = LinuxSeccomp::default();
    profile.set_default_action(Action::ScmpActErrno).set_default_errno_ret(Some(EPERM));
    profile.set_architectures(Some(architectures)).set_syscalls(Some(syscalls));
    profile
}

/// Architectures of the programs that a machine runs, and its own system calls.
fn machine(architecture: Arch) -> (Vec<Arch>, &'static [&'static str]) {
    match architecture {
        Arch::ScmpArchX86_64 => (vec![architecture, Arch::ScmpArchX86, Arch::ScmpArchX32], &X86),
        Arch::ScmpArchAarch64 => (vec![architecture, Arch::ScmpArchArm], &ARM),
        other => (vec![other], &[]),
    }
}

/// The names in `allowed.txt`.
fn allowed() -> impl Iterator<Item = &'static str> {
    let lines = include_str!("allowed.txt").lines().filter(|line| !line.starts_with('#'));
    lines.flat_map(str::split_ascii_whitespace)
}

fn allow(names: impl IntoIterator<Item = &'static str>) -> LinuxSyscall {
    let mut syscall = LinuxSyscall::default();
    syscall.set_names(names.into_iter().map(str::to_owned).collect());
    syscall.set_action(Action::ScmpActAllow);
    syscall
}

/// Allows a call by its first argument. For `ScmpCmpMaskedEq` the bits of `value` must be clear.
fn allow_if(name: &'static str, op: Operator, value: u64) -> LinuxSyscall {
    let second = (op == Operator::ScmpCmpMaskedEq).then_some(0);
    let mut syscall = allow([name]);
    syscall.set_args(Some(vec![argument(0, op, value, second)]));
    syscall
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    fn named(profile: &LinuxSeccomp) -> HashSet<&str> {
        let syscalls = profile.syscalls().iter().flatten();
        syscalls.flat_map(|syscall| syscall.names().iter().map(String::as_str)).collect()
    }

    #[test]
    fn dangerous_calls_are_allowed_with_their_capability_alone() {
        let none = default_profile(&Capabilities::new(), Arch::ScmpArchX86_64);
        let names = named(&none);
        for name in [
            "io_uring_setup",
            "keyctl",
            "add_key",
            "request_key",
            "userfaultfd",
            "bpf",
            "mount",
            "unshare",
            "setns",
            "kexec_load",
            "swapon",
            "reboot",
            "chroot",
            "process_madvise",
            "perf_event_open",
            "init_module",
            "open_by_handle_at",
            "settimeofday",
            "syslog",
        ] {
            assert!(!names.contains(name), "{name}");
        }
        for (capability, calls) in BY_CAPABILITY {
            let some = default_profile(&Capabilities::from([capability]), Arch::ScmpArchX86_64);
            let names = named(&some);
            assert!(calls.iter().all(|name| names.contains(name)), "{capability}");
        }
    }

    #[test]
    fn namespaces_need_cap_sys_admin() {
        let rules = |capabilities| {
            let profile = default_profile(&capabilities, Arch::ScmpArchX86_64);
            let syscalls = profile.syscalls().clone().unwrap();
            let about = |name: &str| {
                let named = |syscall: &&LinuxSyscall| syscall.names().iter().any(|n| n == name);
                syscalls.iter().filter(named).cloned().collect::<Vec<_>>()
            };
            (about("clone"), about("clone3"))
        };
        let (clone, clone3) = rules(Capabilities::new());
        let arg = *clone[0].args().as_ref().unwrap().first().unwrap();
        assert_eq!((clone.len(), arg.value(), arg.value_two()), (1, 0x7e02_0000, Some(0)));
        assert_eq!((clone3.len(), clone3[0].errno_ret()), (1, Some(38)));
        let (clone, clone3) = rules(Capabilities::from([Capability::SysAdmin]));
        assert_eq!((clone[0].args(), clone3[0].action()), (&None, Action::ScmpActAllow));
    }

    #[test]
    fn crypto_and_virtual_machine_sockets_are_refused() {
        let profile = default_profile(&Capabilities::new(), Arch::ScmpArchX86_64);
        let rules = profile.syscalls().iter().flatten().filter(|it| it.names() == &["socket"]);
        let args: Vec<_> = rules.flat_map(|rule| rule.args().iter().flatten()).collect();
        let allowed = |family: u64| {
            args.iter().any(|arg| match arg.op() {
                Operator::ScmpCmpLt => family < arg.value(),
                Operator::ScmpCmpEq => family == arg.value(),
                other => panic!("{other:?}"),
            })
        };
        let (unix, inet6, netlink, packet) = (1, 10, 16, 17);
        assert!([unix, inet6, netlink, packet].into_iter().all(allowed));
        let (alg, vsock) = (38, 40);
        assert!(!allowed(alg) && !allowed(vsock) && !allowed(1000));
    }

    #[test]
    fn each_machine_brings_its_32_bit_programs_and_its_own_calls() {
        let x86 = default_profile(&Capabilities::new(), Arch::ScmpArchX86_64);
        let arm = default_profile(&Capabilities::new(), Arch::ScmpArchAarch64);
        assert_eq!(x86.architectures().as_ref().unwrap().len(), 3);
        assert_eq!(arm.architectures().as_ref().unwrap().len(), 2);
        assert!(named(&x86).contains("arch_prctl") && !named(&x86).contains("set_tls"));
        assert!(named(&arm).contains("set_tls") && !named(&arm).contains("arch_prctl"));
    }
}
