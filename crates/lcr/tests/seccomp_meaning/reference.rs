//! What a profile means, evaluated rule by rule without any cleverness.

use lcr::seccomp::{Architecture, Numbers};
use oci_spec::runtime::{
    LinuxSeccomp, LinuxSeccompAction as Action, LinuxSeccompArg, LinuxSeccompOperator as Operator,
    LinuxSyscall,
};

use crate::interpreter::Call;

const X32_BIT: u32 = 0x4000_0000;
const KILL: u32 = 0;
const ENOSYS: u32 = 0x0005_0000 | 38;

/// Calls that i386 can also make through another one: its name, a mask and a number for the first
/// argument there.
fn carrier(name: &str) -> Option<(&'static str, u64, u64)> {
    let socket = "socket bind connect listen accept getsockname getpeername socketpair send recv \
                  sendto recvfrom shutdown setsockopt getsockopt sendmsg recvmsg accept4 recvmmsg \
                  sendmmsg";
    let ipc = [
        ("semop", 1), ("semget", 2), ("semctl", 3), ("semtimedop", 4), ("msgsnd", 11),
        ("msgrcv", 12), ("msgget", 13), ("msgctl", 14), ("shmat", 21), ("shmdt", 22),
        ("shmget", 23), ("shmctl", 24),
    ];
    let number = socket.split_ascii_whitespace().position(|call| call == name);
    let number = number.map(|at| ("socketcall", 0xffff_ffff, at as u64 + 1));
    number.or_else(|| {
        ipc.iter().find(|(call, _)| *call == name).map(|(_, n)| ("ipc", 0xffff, *n))
    })
}

pub fn answer(action: Action, errno: Option<u32>) -> u32 {
    action.as_u32(errno)
}

pub fn allows(answer: u32) -> bool {
    answer >= 0x7ff0_0000 && answer < 0x8000_0000
}

fn holds(arg: &LinuxSeccompArg, value: u64) -> bool {
    let (first, second) = (arg.value(), arg.value_two().unwrap_or(0));
    match arg.op() {
        Operator::ScmpCmpNe => value != first,
        Operator::ScmpCmpLt => value < first,
        Operator::ScmpCmpLe => value <= first,
        Operator::ScmpCmpEq => value == first,
        Operator::ScmpCmpGe => value >= first,
        Operator::ScmpCmpGt => value > first,
        Operator::ScmpCmpMaskedEq => value & first == second,
    }
}

/// Conditions on one argument twice are alternatives, else all must hold.
fn all_hold(syscall: &LinuxSyscall, args: &[u64; 6]) -> bool {
    let conditions = syscall.args().as_deref().unwrap_or_default();
    let mut holding = conditions.iter().map(|arg| holds(arg, args[arg.index()]));
    let mut seen = std::collections::HashSet::new();
    if conditions.iter().all(|arg| seen.insert(arg.index())) {
        holding.all(|holds| holds)
    } else {
        holding.any(|holds| holds)
    }
}

/// A profile on a machine.
pub struct Reference<'a> {
    profile: &'a LinuxSeccomp,
    default: u32,
    tables: Vec<(Architecture, Numbers)>,
}

impl<'a> Reference<'a> {
    pub fn new(profile: &'a LinuxSeccomp, native: Architecture) -> Self {
        let listed = profile.architectures().iter().flatten();
        let listed = listed.filter_map(|arch| Architecture::from_spec(*arch, native));
        let mut all: Vec<_> = listed.filter(|one| one.shares_machine(native)).collect();
        all.push(native);
        Self {
            profile,
            default: answer(profile.default_action(), profile.default_errno_ret()),
            tables: all.into_iter().map(|one| (one, Numbers::of(one))).collect(),
        }
    }

    pub fn answer(&self, call: &Call) -> u32 {
        let x32 = call.architecture == Architecture::X32.audit() && call.number & X32_BIT != 0;
        let table = self.tables.iter().find(|(one, _)| {
            one.audit() == call.architecture && x32 == (*one == Architecture::X32)
        });
        let Some((architecture, numbers)) = table else {
            let native = self.tables.iter().any(|(one, _)| *one == Architecture::X86_64);
            let skipped = native && x32 && call.number == u32::MAX;
            return if skipped { self.default } else { KILL };
        };
        let mut call = *call;
        if !architecture.is_wide() {
            call.args = call.args.map(|arg| arg & 0xffff_ffff);
        }
        self.on(*architecture, numbers, &call)
    }

    fn on(&self, architecture: Architecture, numbers: &Numbers, call: &Call) -> u32 {
        let syscalls = self.profile.syscalls().as_deref().unwrap_or_default();
        let names = syscalls.iter().flat_map(|syscall| syscall.names());
        let newest = names.filter_map(|name| numbers.get(name)).max();
        if newest.is_some_and(|newest| call.number > newest) && !allows(self.default) {
            return ENOSYS;
        }
        let mut conditional = None;
        for syscall in syscalls {
            let answer = answer(syscall.action(), syscall.errno_ret());
            if answer == self.default {
                continue;
            }
            let bare = syscall.args().as_ref().is_none_or(Vec::is_empty);
            for name in syscall.names() {
                if numbers.get(name) == Some(call.number) {
                    if bare {
                        return answer;
                    }
                    if all_hold(syscall, &call.args) {
                        conditional.get_or_insert(answer);
                    }
                }
                let Some((carrier, mask, number)) = carrier(name) else { continue };
                let carried = architecture == Architecture::X86
                    && numbers.get(carrier) == Some(call.number)
                    && call.args[0] & mask == number;
                if carried && (bare || !allows(answer)) {
                    conditional.get_or_insert(answer);
                }
            }
        }
        conditional.unwrap_or(self.default)
    }
}
