//! What a profile means, evaluated rule by rule without any cleverness.

use std::collections::HashMap;

use lcr::seccomp::{Architecture, Numbers};
use oci_spec::runtime::{
    LinuxSeccomp, LinuxSeccompAction as Action, LinuxSeccompArg, LinuxSeccompOperator as Operator,
    LinuxSyscall,
};

use crate::interpreter::Call;

const X86_64: u32 = 0xc000_003e;
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
        ("semop", 1),
        ("semget", 2),
        ("semctl", 3),
        ("semtimedop", 4),
        ("msgsnd", 11),
        ("msgrcv", 12),
        ("msgget", 13),
        ("msgctl", 14),
        ("shmat", 21),
        ("shmdt", 22),
        ("shmget", 23),
        ("shmctl", 24),
    ];
    let number = socket.split_ascii_whitespace().position(|call| call == name);
    let number = number.map(|at| ("socketcall", 0xffff_ffff, at as u64 + 1));
    number.or_else(|| ipc.iter().find(|(call, _)| *call == name).map(|(_, n)| ("ipc", 0xffff, *n)))
}

pub fn answer(action: Action, errno: Option<u32>) -> u32 {
    action.as_u32(errno)
}

pub fn allows(answer: u32) -> bool {
    (0x7ff0_0000..0x8000_0000).contains(&answer)
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

/// A rule of a profile for one call.
struct Rule<'a> {
    syscall: &'a LinuxSyscall,
    /// What the first argument must be where another call carries this one.
    carried: Option<(u64, u64)>,
}

/// The rules of one architecture, by the number of the call, in their order.
struct Table<'a> {
    architecture: Architecture,
    newest: Option<u32>,
    rules: HashMap<u32, Vec<Rule<'a>>>,
}

impl<'a> Table<'a> {
    fn new(profile: &'a LinuxSeccomp, architecture: Architecture) -> Self {
        let numbers = Numbers::of(architecture);
        let mut table = Self { architecture, newest: None, rules: HashMap::new() };
        for syscall in profile.syscalls().iter().flatten() {
            for name in syscall.names() {
                let number = numbers.get(name);
                table.newest = table.newest.max(number);
                if let Some(number) = number {
                    let rule = Rule { syscall, carried: None };
                    table.rules.entry(number).or_default().push(rule);
                }
                let carrier = carrier(name).filter(|_| architecture == Architecture::X86);
                if let Some((carrier, mask, value)) = carrier {
                    let rule = Rule { syscall, carried: Some((mask, value)) };
                    let number = numbers.get(carrier).unwrap();
                    table.rules.entry(number).or_default().push(rule);
                }
            }
        }
        table
    }
}

/// A profile on a machine.
pub struct Reference<'a> {
    default: u32,
    tables: Vec<Table<'a>>,
}

impl<'a> Reference<'a> {
    pub fn new(profile: &'a LinuxSeccomp, native: Architecture) -> Self {
        let listed = profile.architectures().iter().flatten();
        let listed = listed.filter_map(|arch| Architecture::from_spec(*arch, native));
        let mut all: Vec<_> = listed.filter(|one| one.shares_machine(native)).collect();
        all.push(native);
        Self {
            default: answer(profile.default_action(), profile.default_errno_ret()),
            tables: all.into_iter().map(|one| Table::new(profile, one)).collect(),
        }
    }

    /// Whether the profile's author could not know the call.
    pub fn is_newer(&self, call: &Call) -> bool {
        let newest = self.table(call).and_then(|table| table.newest);
        newest.is_some_and(|newest| call.number > newest) && !allows(self.default)
    }

    pub fn answer(&self, call: &Call) -> u32 {
        let Some(table) = self.table(call) else {
            let native = self.tables.iter().any(|table| {
                table.architecture == Architecture::X86_64 && call.architecture == X86_64
            });
            return if native && call.number == u32::MAX { self.default } else { KILL };
        };
        if self.is_newer(call) {
            return ENOSYS;
        }
        let narrow = !table.architecture.is_wide();
        let args = call.args.map(|arg| if narrow { arg & 0xffff_ffff } else { arg });
        let mut conditional = None;
        for rule in table.rules.get(&call.number).into_iter().flatten() {
            let answer = answer(rule.syscall.action(), rule.syscall.errno_ret());
            let bare = rule.syscall.args().as_ref().is_none_or(Vec::is_empty);
            let holds = match rule.carried {
                _ if answer == self.default => false,
                None if bare => return answer,
                None => all_hold(rule.syscall, &args),
                Some((mask, value)) => args[0] & mask == value && (bare || !allows(answer)),
            };
            if holds {
                conditional.get_or_insert(answer);
            }
        }
        conditional.unwrap_or(self.default)
    }

    fn table(&self, call: &Call) -> Option<&Table<'a>> {
        let x32 = call.architecture == X86_64 && call.number & X32_BIT != 0;
        self.tables.iter().find(|table| {
            let is_x32 = table.architecture == Architecture::X32;
            table.architecture.audit() == call.architecture && x32 == is_x32
        })
    }
}
