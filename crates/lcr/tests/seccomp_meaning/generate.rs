//! Profiles and arguments for the comparisons, from a fixed seed.

use std::collections::HashSet;

use lcr::seccomp::{Architecture, Numbers};
use oci_spec::runtime::{
    Arch, LinuxSeccomp, LinuxSeccompAction as Action, LinuxSeccompArg, LinuxSeccompArgBuilder,
    LinuxSeccompOperator as Operator, LinuxSyscall,
};

/// How tangled a profile is.
#[derive(Clone, Copy, Eq, PartialEq)]
pub enum Shape {
    /// Rules for the same call and conditions on the same argument overlap in every way.
    Tangled,
    /// One rule a call and one condition an argument. Libseccomp 2.5 merges what overlaps into a
    /// tree that does not always mean what its rules say (an EQ and a NE of one value, say).
    Plain,
}

const NAMES: [&str; 22] = [
    "read",
    "write",
    "open",
    "openat",
    "clone",
    "clone3",
    "socketcall",
    "ipc",
    "mmap",
    "ioctl",
    "personality",
    "dup3",
    "getpid",
    "futex_time64",
    "fstatat64",
    "newfstatat",
    "set_tls",
    "arch_prctl",
    "openat2",
    "execveat",
    "process_madvise",
    "no_such_call",
];
/// Calls that i386 also makes through another one; libseccomp differs where they have conditions.
const CARRIED: [&str; 7] = ["socket", "recv", "msgget", "shmat", "accept4", "bind", "semop"];
const VALUES: [u64; 12] = [
    0,
    1,
    2,
    12,
    255,
    0x7e02_0000,
    0xffff_fffe,
    0xffff_ffff,
    0x1_0000_0000,
    0x1_0000_0001,
    0x8000_0000_0000_0000,
    u64::MAX,
];

/// Numbers without a pattern (xorshift64).
struct Dice(u64);

impl Dice {
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 16) as usize % end
    }

    fn one_of<T: Copy>(&mut self, list: &[T]) -> T {
        list[self.below(list.len())]
    }
}

fn arg(dice: &mut Dice, index: usize, shape: Shape) -> LinuxSeccompArg {
    let operators = [
        Operator::ScmpCmpNe,
        Operator::ScmpCmpLt,
        Operator::ScmpCmpLe,
        Operator::ScmpCmpEq,
        Operator::ScmpCmpGe,
        Operator::ScmpCmpGt,
        Operator::ScmpCmpMaskedEq,
    ];
    let op = dice.one_of(&operators);
    let mut value = dice.one_of(&VALUES);
    let mut second = value & dice.one_of(&VALUES);
    if shape == Shape::Plain {
        // Libseccomp drops the upper half of a value for a 32-bit architecture, and compares
        // with numbers below 0 and above the highest as if there were some.
        value = value.clamp(1, 0xffff_fffe);
        second &= value;
    } else if dice.below(4) == 0 {
        second = dice.one_of(&VALUES);
    }
    let arg = LinuxSeccompArgBuilder::default().index(index).op(op).value(value).value_two(second);
    arg.build().unwrap()
}

/// A profile for a machine of `arch`, always the same for a `seed`.
pub fn profile(seed: u64, arch: Arch, shape: Shape) -> LinuxSeccomp {
    let dice = &mut Dice(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    let actions = [
        (Action::ScmpActAllow, None),
        (Action::ScmpActErrno, None),
        (Action::ScmpActErrno, Some(38)),
        (Action::ScmpActKill, None),
        (Action::ScmpActKillProcess, None),
        (Action::ScmpActTrap, None),
        (Action::ScmpActLog, None),
        (Action::ScmpActTrace, Some(7)),
    ];
    let (default, errno) = dice.one_of(&actions);
    let mut profile = LinuxSeccomp::default();
    profile.set_default_action(default).set_default_errno_ret(errno);
    let others = match arch {
        Arch::ScmpArchAarch64 => vec![Arch::ScmpArchArm],
        _ => vec![Arch::ScmpArchX86, Arch::ScmpArchX32],
    };
    let mut architectures = vec![arch];
    architectures.extend(others.into_iter().filter(|_| dice.below(3) > 0));
    profile.set_architectures(Some(architectures));
    let rules = if shape == Shape::Plain { NAMES.len() } else { 1 + dice.below(40) };
    let syscalls = (0..rules).map(|rule| {
        let (action, errno) = dice.one_of(&actions);
        let mut syscall = LinuxSyscall::default();
        let mut names = vec![NAMES[rule % NAMES.len()].to_owned()];
        let mut indexes = vec![0, 1, 2];
        if shape == Shape::Tangled {
            names.extend((0..dice.below(3)).map(|_| dice.one_of(&NAMES).to_owned()));
            names.push(dice.one_of(&CARRIED).to_owned());
            indexes = (0..3).map(|_| dice.below(3)).collect();
        }
        indexes.truncate(dice.below(4));
        let args: Vec<_> = indexes.into_iter().map(|index| arg(dice, index, shape)).collect();
        syscall.set_names(names).set_action(action).set_errno_ret(errno);
        syscall.set_args((!args.is_empty()).then_some(args));
        syscall
    });
    profile.set_syscalls(Some(syscalls.collect()));
    profile
}

/// The numbers, on any architecture, of the calls whose arguments the profile looks at.
pub fn looked_into(profile: &LinuxSeccomp) -> HashSet<u32> {
    use Architecture::{Aarch64, Arm, X32, X86, X86_64};
    let tables = [X86_64, X86, X32, Aarch64, Arm].map(Numbers::of);
    let rules = profile.syscalls().iter().flatten().filter(|rule| rule.args().is_some());
    let names = rules.flat_map(|rule| rule.names().iter().map(String::as_str));
    let names: Vec<_> = names.chain(["socketcall", "ipc"]).collect();
    let numbers = tables.iter().flat_map(|table| names.iter().filter_map(|name| table.get(name)));
    numbers.collect()
}

/// Arguments on, beside and far from all values of the profile.
pub fn arguments(profile: &LinuxSeccomp) -> Vec<[u64; 6]> {
    let mut values = vec![0, 1, 3, 38, 40, u64::MAX, 0x1_0000, 0x1_000b];
    let syscalls = profile.syscalls().iter().flatten();
    for arg in syscalls.flat_map(|syscall| syscall.args().iter().flatten()) {
        for value in [arg.value(), arg.value_two().unwrap_or(0)] {
            values.extend([value.wrapping_sub(1), value, value.wrapping_add(1)]);
            values.extend([value ^ 1 << 32, value ^ 1 << 63]);
        }
    }
    values.sort_unstable();
    values.dedup();
    let count = values.len();
    let shifted = |at: usize, by: usize| values[(at * by + by) % count];
    let set = |at| [shifted(at, 1), shifted(at, 3), shifted(at, 7), 0, 1, u64::MAX];
    let mut sets: Vec<_> = (0..count).map(set).collect();
    sets.extend((0..count).map(|at| [values[at]; 6]));
    sets
}
