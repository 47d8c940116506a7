//! What a profile means, without its form: for each system call of an architecture one answer, or
//! conditions on its arguments with an answer each.
//!
//! Where the runtime-spec leaves the meaning open it is that of runc with libseccomp:
//! - a rule with the default action is no rule;
//! - the first rule without conditions decides its call, whatever other rules say of it;
//! - conditions of one rule must all hold, unless two of them are about the same argument: then
//!   each is a rule of its own;
//! - else the first rule whose conditions hold decides.

use std::collections::BTreeMap;

use oci_spec::runtime::{
    LinuxSeccomp, LinuxSeccompAction, LinuxSeccompArg, LinuxSeccompOperator, LinuxSyscall,
};

use super::SeccompError;
use super::architecture::{Architecture, Numbers};

/// More conditions on one call than this are refused: they could not fit a program anyway.
const MOST_CONDITIONS: usize = 1024;
/// System calls have no more arguments.
const ARGUMENTS: usize = 6;
const EPERM: u32 = 1;
/// Highest error number that the kernel returns for a call (`MAX_ERRNO`); it clamps others.
const HIGHEST_ERRNO: u32 = 4095;

/// What is asked of one argument.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Check {
    /// It lies between these two, inclusive.
    Within(u64, u64),
    /// It is not this.
    Not(u64),
    /// The bits of `mask` are those of `value`.
    Masked { mask: u64, value: u64 },
    /// Nothing fulfils it.
    Never,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Condition {
    pub(super) argument: u8,
    pub(super) check: Check,
}

/// Conditions that must all hold, and the answer then.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Rule {
    pub(super) conditions: Vec<Condition>,
    pub(super) answer: u32,
}

/// All rules for one system call.
#[derive(Debug, Default)]
pub(super) struct Call {
    /// The answer of the first rule without conditions.
    pub(super) always: Option<u32>,
    /// The rules with conditions, in their order; without effect beside `always`.
    pub(super) rules: Vec<Rule>,
}

/// One element of `linux.seccomp.syscalls`, checked.
struct Named<'a> {
    names: &'a [String],
    answer: u32,
    /// The conditions, a list for each rule that the element stands for; empty: no condition.
    alternatives: Vec<Vec<Condition>>,
}

/// The rules of one architecture.
pub(super) struct Calls {
    /// By number.
    pub(super) by_number: BTreeMap<u32, Call>,
    /// The highest number of a call that the profile names, be it with the default action.
    pub(super) newest: Option<u32>,
}

/// A profile that has been read and checked, for any architecture.
pub(super) struct Profile<'a> {
    /// The answer to what no rule is about.
    pub(super) default: u32,
    named: Vec<Named<'a>>,
}

impl<'a> Profile<'a> {
    /// Reads all but architectures and flags.
    pub(super) fn read(profile: &'a LinuxSeccomp) -> Result<Self, SeccompError> {
        let (action, errno) = (profile.default_action(), profile.default_errno_ret());
        let default = answer(action, errno)
            .map_err(|problem| problem.of("defaultAction", "defaultErrnoRet"))?;
        let mut named = Vec::new();
        for (index, syscall) in profile.syscalls().iter().flatten().enumerate() {
            named.push(read_rule(index, syscall)?);
        }
        Ok(Self { default, named })
    }

    /// The rules for each call of `architecture`. A name that it does not have is passed over: a
    /// profile is written for many kernels.
    pub(super) fn calls(&self, architecture: Architecture) -> Result<Calls, SeccompError> {
        let numbers = Numbers::of(architecture);
        let mut by_number = BTreeMap::<u32, Call>::new();
        let mut newest = None;
        for rule in &self.named {
            for name in rule.names {
                let number = numbers.get(name);
                newest = newest.max(number);
                if rule.answer == self.default {
                    continue;
                }
                if let Some(number) = number {
                    by_number.entry(number).or_default().add(rule, name)?;
                }
                let Some(carried) = architecture.multiplexed(name) else { continue };
                let Some(number) = numbers.get(carried.carrier) else { continue };
                let first = Check::Masked { mask: carried.mask, value: carried.number };
                by_number.entry(number).or_default().add_carried(rule, first, name)?;
            }
        }
        Ok(Calls { by_number, newest })
    }
}

impl Call {
    fn add(&mut self, rule: &Named<'_>, name: &str) -> Result<(), SeccompError> {
        if rule.alternatives.is_empty() {
            self.always.get_or_insert(rule.answer);
        }
        rule.alternatives.iter().try_for_each(|conditions| {
            self.push(Rule { conditions: conditions.clone(), answer: rule.answer }, name)
        })
    }

    /// The arguments of a carried call lie in memory, where no filter can look. So conditions
    /// drop away where the answer forbids, and the rule does where it allows.
    fn add_carried(
        &mut self,
        rule: &Named<'_>,
        first: Check,
        name: &str,
    ) -> Result<(), SeccompError> {
        if !rule.alternatives.is_empty() && is_permissive(rule.answer) {
            return Ok(());
        }
        let condition = Condition { argument: 0, check: first };
        self.push(Rule { conditions: vec![condition], answer: rule.answer }, name)
    }

    fn push(&mut self, rule: Rule, name: &str) -> Result<(), SeccompError> {
        if self.rules.len() >= MOST_CONDITIONS {
            return Err(SeccompError::TooManyConditions { call: name.to_owned() });
        }
        // What the rule before says already is not said twice.
        if self.rules.last() != Some(&rule) {
            self.rules.push(rule);
        }
        Ok(())
    }
}

/// Whether the call is made: runc's distinction. A tracer is meant to know new calls by itself.
pub(super) fn is_permissive(answer: u32) -> bool {
    matches!(answer & SECCOMP_RET_ACTION_FULL, RET_ALLOW | RET_LOG | RET_TRACE)
}

// linux/seccomp.h
const SECCOMP_RET_ACTION_FULL: u32 = 0xffff_0000;
const RET_KILL_PROCESS: u32 = 0x8000_0000;
pub(super) const RET_KILL_THREAD: u32 = 0;
const RET_TRAP: u32 = 0x0003_0000;
pub(super) const RET_ERRNO: u32 = 0x0005_0000;
const RET_TRACE: u32 = 0x7ff0_0000;
const RET_LOG: u32 = 0x7ffc_0000;
const RET_ALLOW: u32 = 0x7fff_0000;

/// What is wrong with an action and its error number.
enum Problem {
    Notify,
    NoErrno,
    Range(u32),
}

impl Problem {
    fn of(self, action: &str, errno: &str) -> SeccompError {
        let (field, why) = match self {
            Self::Notify => (action, "SCMP_ACT_NOTIFY is not supported".to_owned()),
            Self::NoErrno => (errno, "the action takes no error number".to_owned()),
            Self::Range(most) => (errno, format!("must not be above {most}")),
        };
        SeccompError::Field { field: format!("linux.seccomp.{field}"), why }
    }
}

fn answer(action: LinuxSeccompAction, errno: Option<u32>) -> Result<u32, Problem> {
    use LinuxSeccompAction as Action;
    let (base, most) = match action {
        Action::ScmpActKill | Action::ScmpActKillThread => (RET_KILL_THREAD, None),
        Action::ScmpActKillProcess => (RET_KILL_PROCESS, None),
        Action::ScmpActTrap => (RET_TRAP, None),
        Action::ScmpActErrno => (RET_ERRNO, Some(HIGHEST_ERRNO)),
        Action::ScmpActTrace => (RET_TRACE, Some(u32::from(u16::MAX))),
        Action::ScmpActLog => (RET_LOG, None),
        Action::ScmpActAllow => (RET_ALLOW, None),
        Action::ScmpActNotify => return Err(Problem::Notify),
    };
    match (most, errno) {
        (None, None) => Ok(base),
        // The runtime-spec: an error where the action has no room for it must fail.
        (None, Some(_)) => Err(Problem::NoErrno),
        (Some(most), Some(errno)) if errno > most => Err(Problem::Range(most)),
        (Some(_), errno) => Ok(base | errno.unwrap_or(EPERM)),
    }
}

fn read_rule(index: usize, syscall: &LinuxSyscall) -> Result<Named<'_>, SeccompError> {
    let field = |name: &str| format!("syscalls[{index}].{name}");
    let answer = answer(syscall.action(), syscall.errno_ret())
        .map_err(|problem| problem.of(&field("action"), &field("errnoRet")))?;
    let mut conditions = Vec::new();
    let mut seen = [0_u8; ARGUMENTS];
    for (position, arg) in syscall.args().iter().flatten().enumerate() {
        let Some(count) = seen.get_mut(arg.index()) else {
            return Err(SeccompError::Field {
                field: format!("linux.seccomp.syscalls[{index}].args[{position}].index"),
                why: format!("must be below {ARGUMENTS}"),
            });
        };
        *count = count.saturating_add(1);
        conditions.push(condition(arg));
    }
    let alternatives = if conditions.is_empty() {
        Vec::new()
    } else if seen.iter().any(|count| *count > 1) {
        conditions.into_iter().map(|condition| vec![condition]).collect()
    } else {
        vec![conditions]
    };
    Ok(Named { names: syscall.names(), answer, alternatives })
}

fn condition(arg: &LinuxSeccompArg) -> Condition {
    use LinuxSeccompOperator as Operator;
    let (value, second) = (arg.value(), arg.value_two().unwrap_or(0));
    let check = match arg.op() {
        Operator::ScmpCmpEq => Check::Within(value, value),
        Operator::ScmpCmpNe => Check::Not(value),
        Operator::ScmpCmpLt => {
            value.checked_sub(1).map_or(Check::Never, |last| Check::Within(0, last))
        }
        Operator::ScmpCmpLe => Check::Within(0, value),
        Operator::ScmpCmpGe => Check::Within(value, u64::MAX),
        Operator::ScmpCmpGt => {
            value.checked_add(1).map_or(Check::Never, |first| Check::Within(first, u64::MAX))
        }
        Operator::ScmpCmpMaskedEq if second & !value != 0 => Check::Never,
        Operator::ScmpCmpMaskedEq => Check::Masked { mask: value, value: second },
    };
    // The index has been checked to be below six.
    Condition { argument: u8::try_from(arg.index()).unwrap_or(0), check }
}
