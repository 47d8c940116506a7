//! From rules to a program: the architecture, then a search by the call's number, then what is
//! asked of its arguments.

use std::collections::{BTreeMap, BTreeSet};

use super::SeccompError;
use super::architecture::{Architecture, X32_BIT};
use super::assembler::{Assembler, Piece, Target, Test};
use super::rules::{
    Call, Check, Condition, Profile, RET_ERRNO, RET_KILL_THREAD, Rule, is_permissive,
};

// struct seccomp_data of linux/seccomp.h, little-endian.
const NUMBER: u32 = 0;
const ARCHITECTURE: u32 = 4;
const ARGUMENTS: u32 = 16;
const ARGUMENT_SIZE: u32 = 8;
const HIGH_HALF: u32 = 4;

const ENOSYS: u32 = 38;
/// The number of a call that a tracer has skipped.
const SKIPPED: u32 = u32::MAX;

/// The whole program: for every architecture in `architectures` the profile, and an end of the
/// thread for all others, as libseccomp's `SCMP_FLTATR_ACT_BADARCH` has it by default.
pub(super) fn assemble(
    profile: &Profile<'_>,
    architectures: &BTreeSet<Architecture>,
) -> Result<Vec<u8>, SeccompError> {
    let mut assembler = Assembler::default();
    let mut start = Target::Return(RET_KILL_THREAD);
    // Written backwards: what comes first in the order, the native one, is tested first.
    for architecture in architectures.iter().rev() {
        let body = match architecture {
            Architecture::X32 if architectures.contains(&Architecture::X86_64) => continue,
            Architecture::X32 => {
                let x32 = by_number(&mut assembler, profile, Architecture::X32)?;
                assembler.jump(Test::AnySet, X32_BIT, x32, Target::Return(RET_KILL_THREAD))
            }
            Architecture::X86_64 => {
                let x32 = if architectures.contains(&Architecture::X32) {
                    by_number(&mut assembler, profile, Architecture::X32)?
                } else {
                    let (skipped, other) = (profile.default, RET_KILL_THREAD);
                    let (skipped, other) = (Target::Return(skipped), Target::Return(other));
                    assembler.jump(Test::Equal, SKIPPED, skipped, other)
                };
                let body = by_number(&mut assembler, profile, Architecture::X86_64)?;
                assembler.jump(Test::AnySet, X32_BIT, x32, body)
            }
            other => by_number(&mut assembler, profile, *other)?,
        };
        let body = assembler.load(NUMBER, body);
        start = assembler.jump(Test::Equal, architecture.audit(), body, start);
    }
    let start = assembler.load(ARCHITECTURE, start);
    assembler.finish(start)
}

/// The search by the call's number, which is in the accumulator.
fn by_number(
    assembler: &mut Assembler,
    profile: &Profile<'_>,
    architecture: Architecture,
) -> Result<Target, SeccompError> {
    let calls = profile.calls(architecture)?;
    let default = Target::Return(profile.default);
    let mut pieces = vec![(0, default)];
    for (number, call) in &calls.by_number {
        let target = match call.always {
            Some(answer) => Target::Return(answer),
            None => by_arguments(assembler, call, profile.default, architecture),
        };
        put(&mut pieces, *number, target);
        put(&mut pieces, number.saturating_add(1), default);
    }
    // What is newer than all the profile names, its author could not know: programs must find
    // the call missing, not forbidden, and fall back to an older one.
    if let Some(newest) = calls.newest.filter(|_| !is_permissive(profile.default)) {
        put(&mut pieces, newest.saturating_add(1), Target::Return(RET_ERRNO | ENOSYS));
    }
    Ok(assembler.search(&pieces))
}

/// Appends a piece, merged with the one before it where they are the same.
fn put(pieces: &mut Vec<Piece>, start: u32, target: Target) {
    if pieces.last().is_some_and(|(last, _)| *last == start) {
        pieces.pop();
    }
    if pieces.last().is_none_or(|(_, before)| *before != target) {
        pieces.push((start, target));
    }
}

/// The rules of one call in their order; the accumulator is free.
fn by_arguments(
    assembler: &mut Assembler,
    call: &Call,
    default: u32,
    architecture: Architecture,
) -> Target {
    let highest = if architecture.is_wide() { u64::MAX } else { u64::from(u32::MAX) };
    let mut argument = Argument { assembler, highest };
    let mut otherwise = Target::Return(default);
    let mut rules = call.rules.as_slice();
    while let Some((last, before)) = rules.split_last() {
        let Some(index) = sole(last) else {
            otherwise = argument.all(last, otherwise);
            rules = before;
            continue;
        };
        // Rules about nothing but the same argument are one function of it.
        let count = rules.iter().rev().take_while(|rule| sole(rule) == Some(index)).count();
        let (before, together) = rules.split_at(rules.len() - count);
        let mut function = Function::constant(otherwise);
        for rule in together.iter().rev() {
            for condition in &rule.conditions {
                function.set(condition.check, Target::Return(rule.answer), highest);
            }
        }
        otherwise = argument.choose(index, &function);
        rules = before;
    }
    otherwise
}

/// The argument of a rule that asks only for ranges of one.
fn sole(rule: &Rule) -> Option<u8> {
    match rule.conditions.as_slice() {
        [Condition { check: Check::Masked { .. }, .. }] => None,
        [Condition { argument, .. }] => Some(*argument),
        _ => None,
    }
}

/// A function of an argument: what to do from each start up to the next.
struct Function(BTreeMap<u64, Target>);

impl Function {
    fn constant(target: Target) -> Self {
        Self(BTreeMap::from([(0, target)]))
    }

    /// Overrides the function where `check` holds.
    fn set(&mut self, check: Check, target: Target, highest: u64) {
        match check {
            Check::Within(first, last) => self.put(first, last.min(highest), target),
            Check::Not(value) => {
                if let Some(last) = value.checked_sub(1) {
                    self.put(0, last.min(highest), target);
                }
                if let Some(first) = value.checked_add(1) {
                    self.put(first, highest, target);
                }
            }
            Check::Masked { .. } | Check::Never => {}
        }
    }

    fn put(&mut self, first: u64, last: u64, target: Target) {
        if first > last {
            return;
        }
        let Some(after) = self.at(last) else { return };
        self.0.retain(|start, _| *start < first || *start > last);
        self.0.insert(first, target);
        if let Some(next) = last.checked_add(1) {
            self.0.entry(next).or_insert(after);
        }
    }

    fn at(&self, value: u64) -> Option<Target> {
        self.0.range(..=value).next_back().map(|(_, target)| *target)
    }
}

/// Writes checks of arguments of at most `highest`.
struct Argument<'a> {
    assembler: &'a mut Assembler,
    highest: u64,
}

impl Argument<'_> {
    fn is_wide(&self) -> bool {
        self.highest > u64::from(u32::MAX)
    }

    /// All conditions of a rule, or else `otherwise`.
    fn all(&mut self, rule: &Rule, otherwise: Target) -> Target {
        rule.conditions.iter().rev().fold(Target::Return(rule.answer), |then, condition| {
            match condition.check {
                Check::Masked { mask, value } => {
                    self.masked(condition.argument, (mask, value), then, otherwise)
                }
                check => {
                    let mut function = Function::constant(otherwise);
                    function.set(check, then, self.highest);
                    self.choose(condition.argument, &function)
                }
            }
        })
    }

    fn masked(
        &mut self,
        index: u8,
        (mask, value): (u64, u64),
        then: Target,
        otherwise: Target,
    ) -> Target {
        let then = self.masked_half(offset(index), (low(mask), low(value)), then, otherwise);
        let (mask, value) = (high(mask), high(value));
        if self.is_wide() {
            self.masked_half(offset(index) + HIGH_HALF, (mask, value), then, otherwise)
        } else if value == 0 {
            then
        } else {
            otherwise
        }
    }

    fn masked_half(
        &mut self,
        at: u32,
        (mask, value): (u32, u32),
        then: Target,
        otherwise: Target,
    ) -> Target {
        if mask == 0 {
            return then;
        }
        let test = if value == 0 && mask != u32::MAX {
            self.assembler.jump(Test::AnySet, mask, otherwise, then)
        } else {
            let test = self.assembler.jump(Test::Equal, value, then, otherwise);
            self.assembler.keep(mask, test)
        };
        self.assembler.load(at, test)
    }

    /// Goes where `function` says for the argument `index`.
    fn choose(&mut self, index: u8, function: &Function) -> Target {
        let mut halves = BTreeMap::<u32, Vec<(u32, Target)>>::new();
        for (start, target) in &function.0 {
            halves.entry(high(*start)).or_default().push((low(*start), *target));
        }
        let mut upper = Vec::new();
        let mut before = Target::Return(RET_KILL_THREAD);
        for (half, starts) in halves {
            let mut pieces = Vec::new();
            if starts.first().is_none_or(|(start, _)| *start != 0) {
                pieces.push((0, before));
            }
            for (start, target) in starts {
                put(&mut pieces, start, target);
                before = target;
            }
            let target = match pieces.as_slice() {
                [(_, only)] => *only,
                _ => {
                    let search = self.assembler.search(&pieces);
                    self.assembler.load(offset(index), search)
                }
            };
            put(&mut upper, half, target);
            if let Some(next) = half.checked_add(1) {
                put(&mut upper, next, before);
            }
        }
        match upper.as_slice() {
            [(_, only)] => *only,
            [(_, lower), ..] if !self.is_wide() => *lower,
            _ => {
                let search = self.assembler.search(&upper);
                self.assembler.load(offset(index) + HIGH_HALF, search)
            }
        }
    }
}

fn offset(index: u8) -> u32 {
    ARGUMENTS + ARGUMENT_SIZE * u32::from(index)
}

fn low(value: u64) -> u32 {
    u32::try_from(value & u64::from(u32::MAX)).unwrap_or(0)
}

fn high(value: u64) -> u32 {
    u32::try_from(value >> 32).unwrap_or(0)
}
