//! A compiled filter must mean what its profile means: for every system call and many arguments
//! it is compared with a naive evaluation of the profile, and with the filter of libseccomp.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod generate;
mod interpreter;
mod libseccomp;
mod reference;

use interpreter::{Call, Program};
use isula_core::spec::seccomp::default_profile;
use lcr::seccomp::{Architecture, SeccompError, compile, compile_for};
use oci_spec::runtime::{
    Arch, Capabilities, Capability, LinuxSeccomp, LinuxSeccompAction as Action,
    LinuxSeccompFilterFlag as Flag,
};
use reference::Reference;

const NATIVES: [(Architecture, Arch); 2] =
    [(Architecture::X86_64, Arch::ScmpArchX86_64), (Architecture::Aarch64, Arch::ScmpArchAarch64)];

/// Docker's default capabilities, and others that change the profile.
fn capability_sets() -> [Capabilities; 3] {
    use Capability::{Bpf, Chown, DacReadSearch, SysAdmin, SysChroot, SysNice, SysPtrace};
    [
        Capabilities::from([Chown, SysChroot]),
        Capabilities::from([SysAdmin, DacReadSearch]),
        Capabilities::from([SysPtrace, SysNice, Bpf]),
    ]
}

/// Every number that means something or lies beside one that does.
fn numbers() -> impl Iterator<Item = u32> {
    let private = 0xf_0000..0xf_0008;
    let x32 = 0x4000_0000..0x4000_0260;
    let odd = [0x7fff_ffff, 0x8000_0000, 0x8000_0001, u32::MAX - 1, u32::MAX];
    (0..0x260).chain(private).chain(x32).chain(odd)
}

/// Calls of every number with a few arguments, and with many where the profile looks at them.
fn calls(profile: &LinuxSeccomp) -> impl Iterator<Item = Call> {
    let all = [0xc000_003e, 0x4000_0003, 0xc000_00b7, 0x4000_0028, 0x8000_0016];
    let args = generate::arguments(profile);
    let looked_into = generate::looked_into(profile);
    let numbered = numbers()
        .flat_map(move |number| all.into_iter().map(move |architecture| (architecture, number)));
    numbered.flat_map(move |(architecture, number)| {
        let count = if looked_into.contains(&number) { args.len() } else { 2 };
        let call = move |args: &[u64; 6]| Call { architecture, number, args: *args };
        args.iter().take(count).map(call).collect::<Vec<_>>()
    })
}

fn check_against_reference(profile: &LinuxSeccomp, native: Architecture) {
    let program = Program::new(&compile_for(profile, native).unwrap().program);
    let reference = Reference::new(profile, native);
    for call in calls(profile) {
        let (answer, _) = program.run(&call);
        assert_eq!(answer, reference.answer(&call), "{call:x?} in {profile:?}");
    }
}

#[test]
fn the_default_profile_means_what_its_rules_say() {
    for (native, arch) in NATIVES {
        for capabilities in capability_sets() {
            check_against_reference(&default_profile(&capabilities, arch), native);
        }
    }
}

#[test]
fn profiles_of_any_shape_mean_what_their_rules_say() {
    for seed in 1..=60 {
        let (native, arch) = NATIVES[seed as usize % 2];
        check_against_reference(&generate::profile(seed, arch, generate::Shape::Tangled), native);
    }
}

fn check_against_libseccomp(profile: &LinuxSeccomp, native: Architecture) {
    let (theirs, unknown) = libseccomp::build(profile, native);
    let mut syscalls = profile.syscalls().clone().unwrap_or_default();
    for syscall in &mut syscalls {
        let names = syscall.names().iter().filter(|name| !unknown.contains(name));
        let names = names.cloned().collect();
        syscall.set_names(names);
    }
    let mut known = profile.clone();
    known.set_syscalls(Some(syscalls));
    let ours = Program::new(&compile_for(&known, native).unwrap().program);
    let theirs = Program::new(&theirs);
    let reference = Reference::new(&known, native);
    for call in calls(profile) {
        let (answer, _) = ours.run(&call);
        let (expected, _) = theirs.run(&call);
        // Runc answers these in front of libseccomp's program.
        if reference.is_newer(&call) {
            continue;
        }
        // Libseccomp takes these for x32; the kernel has no call of either kind there.
        if [0x8000_0000, 0x8000_0001].contains(&call.number) {
            continue;
        }
        assert_eq!(answer, expected, "{call:x?} in {known:?}");
    }
}

#[test]
fn the_default_profile_means_what_libseccomp_makes_of_it() {
    for (native, arch) in NATIVES {
        for capabilities in capability_sets() {
            check_against_libseccomp(&default_profile(&capabilities, arch), native);
        }
    }
}

#[test]
fn profiles_without_overlap_mean_what_libseccomp_makes_of_them() {
    for seed in 1..=60 {
        let (native, arch) = NATIVES[seed as usize % 2];
        check_against_libseccomp(&generate::profile(seed, arch, generate::Shape::Plain), native);
    }
}

#[test]
fn the_default_profile_is_short_and_fast() {
    let capabilities = capability_sets()[0].clone();
    let mut profile = (*default_profile(&capabilities, Arch::ScmpArchX86_64)).clone();
    let longest = |program: &Program| {
        calls(&LinuxSeccomp::default()).map(|call| program.run(&call).1).max().unwrap()
    };
    let all = Program::new(&compile_for(&profile, Architecture::X86_64).unwrap().program);
    profile.set_architectures(Some(vec![Arch::ScmpArchX86_64]));
    let main = Program::new(&compile_for(&profile, Architecture::X86_64).unwrap().program);
    println!("{} and {} instructions, {} at most run", main.len(), all.len(), longest(&all));
    assert!(main.len() <= 150 && all.len() <= 400 && longest(&all) <= 30);
}

#[test]
fn what_cannot_be_honoured_is_refused_by_name() {
    let base = || {
        let mut profile = LinuxSeccomp::default();
        profile.set_default_action(Action::ScmpActErrno);
        profile
    };
    let refused = |profile: &LinuxSeccomp| match compile(profile) {
        Err(SeccompError::Field { field, .. }) => field,
        other => panic!("{other:?}"),
    };
    let mut profile = base();
    profile.set_listener_path(Some("/run/agent".into()));
    assert_eq!(refused(&profile), "linux.seccomp.listenerPath");
    let mut profile = base();
    profile.set_listener_metadata(Some("x".into()));
    assert_eq!(refused(&profile), "linux.seccomp.listenerMetadata");
    let mut profile = base();
    profile.set_default_action(Action::ScmpActNotify);
    assert_eq!(refused(&profile), "linux.seccomp.defaultAction");
    let mut profile = base();
    profile.set_default_errno_ret(Some(4096));
    assert_eq!(refused(&profile), "linux.seccomp.defaultErrnoRet");
    let mut profile = base();
    profile.set_default_action(Action::ScmpActAllow).set_default_errno_ret(Some(1));
    assert_eq!(refused(&profile), "linux.seccomp.defaultErrnoRet");
    for (rule, field) in [
        (r#"{"names": ["x"], "action": "SCMP_ACT_NOTIFY"}"#, "action"),
        (r#"{"names": ["x"], "action": "SCMP_ACT_ALLOW", "errnoRet": 1}"#, "errnoRet"),
        (
            r#"{"names": ["x"], "action": "SCMP_ACT_ALLOW",
                "args": [{"index": 6, "value": 0, "op": "SCMP_CMP_EQ"}]}"#,
            "args[0].index",
        ),
    ] {
        let mut profile = base();
        profile.set_syscalls(Some(vec![serde_json::from_str(rule).unwrap()]));
        assert_eq!(refused(&profile), format!("linux.seccomp.syscalls[0].{field}"));
    }
}

#[test]
fn a_profile_beyond_the_kernels_limit_is_refused() {
    // Masks cannot be merged into ranges, so each takes instructions of its own.
    let rule = |name: &str| {
        let arg = |bit: u32| {
            format!(
                r#"{{"names": ["{name}"], "action": "SCMP_ACT_ALLOW", "args":
                [{{"index": 0, "value": {}, "valueTwo": 1, "op": "SCMP_CMP_MASKED_EQ"}}]}}"#,
                1 + 2 * u64::from(bit)
            )
        };
        (0..1000).map(arg).collect::<Vec<_>>().join(",")
    };
    let names = ["read", "write", "open", "close"];
    let rules = names.map(rule).join(",");
    let json = format!(r#"{{"defaultAction": "SCMP_ACT_KILL", "syscalls": [{rules}]}}"#);
    let profile: LinuxSeccomp = serde_json::from_str(&json).unwrap();
    let refused = compile_for(&profile, Architecture::X86_64);
    assert!(matches!(refused, Err(SeccompError::TooLarge { .. })), "{refused:?}");
    let mut twice = profile.syscalls().clone().unwrap();
    twice.extend(twice.clone());
    let mut profile = profile.clone();
    profile.set_syscalls(Some(twice));
    let refused = compile_for(&profile, Architecture::X86_64);
    assert!(matches!(refused, Err(SeccompError::TooManyConditions { .. })), "{refused:?}");
}

#[test]
fn flags_arrive_as_bits() {
    let mut profile = LinuxSeccomp::default();
    assert_eq!(compile(&profile).unwrap().flags, 4);
    profile.set_flags(Some(vec![]));
    assert_eq!(compile(&profile).unwrap().flags, 0);
    let all = [
        Flag::SeccompFilterFlagLog,
        Flag::SeccompFilterFlagTsync,
        Flag::SeccompFilterFlagSpecAllow,
        Flag::SeccompFilterFlagWaitKillableRecv,
    ];
    profile.set_flags(Some(all.to_vec()));
    assert_eq!(compile(&profile).unwrap().flags, 2 | 4);
}

#[test]
fn the_kernel_takes_the_default_filter_and_enforces_it() {
    use std::process::Command;
    let arch = isula_core::spec::seccomp::architecture(std::env::consts::ARCH).unwrap();
    let filter = compile(&default_profile(&Capabilities::new(), arch)).unwrap();
    // A filter belongs to a thread and what it starts: the other tests keep their freedom.
    let confined = std::thread::spawn(move || {
        isula_sys::seccomp::install_filter(&filter.program, filter.flags).unwrap();
        let run = |program: &str, args: &[&str]| Command::new(program).args(args).output().unwrap();
        (run("true", &[]), run("unshare", &["--user", "true"]), run("chroot", &["/", "true"]))
    });
    let (plain, unshare, chroot) = confined.join().unwrap();
    assert!(plain.status.success());
    for refused in [unshare, chroot] {
        let message = String::from_utf8_lossy(&refused.stderr);
        assert!(message.contains("Operation not permitted"), "{message}");
    }
}
