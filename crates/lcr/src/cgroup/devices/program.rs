//! Device rules as a program of type `BPF_PROG_TYPE_CGROUP_DEVICE` (linux/bpf.h).
//!
//! Rules are looked at from the last to the first. Each takes the kinds of access that it decides
//! away from those that are asked for; the first that denies one ends the program, and once none
//! is left the access is allowed.

use super::{ALL_ACCESS, Rule, Rules};

// Operation codes of the instruction set: 64-bit arithmetic and jumps with a constant.
const LOAD_WORD: u8 = 0x61;
const SHIFT_RIGHT: u8 = 0x77;
const AND: u8 = 0x57;
const MOVE: u8 = 0xb7;
const COPY: u8 = 0xbf;
const JUMP_IF_EQUAL: u8 = 0x15;
const JUMP_IF_NOT: u8 = 0x55;
const EXIT: u8 = 0x95;

// Registers.
const ANSWER: u8 = 0;
const CONTEXT: u8 = 1;
const KIND: u8 = 2;
const ASKED: u8 = 3;
const MAJOR: u8 = 4;
const MINOR: u8 = 5;
/// The context is not needed any more once it is loaded.
const SCRATCH: u8 = 1;

#[derive(Clone, Copy)]
struct Instruction {
    code: u8,
    to: u8,
    from: u8,
    offset: i16,
    constant: i32,
}

const fn constant(code: u8, to: u8, constant: i32) -> Instruction {
    Instruction { code, to, from: 0, offset: 0, constant }
}

const fn load(to: u8, offset: i16) -> Instruction {
    Instruction { code: LOAD_WORD, to, from: CONTEXT, offset, constant: 0 }
}

fn answer(allow: bool) -> [Instruction; 2] {
    [constant(MOVE, ANSWER, i32::from(allow)), constant(EXIT, 0, 0)]
}

/// `None` where everything is allowed.
pub(super) fn compile(rules: &Rules) -> Option<Vec<u8>> {
    if rules.allow && rules.list.iter().all(|rule| rule.allow) {
        return None;
    }
    // struct bpf_cgroup_dev_ctx: access in the upper half of the first word, kind in the lower.
    let mut program = vec![
        load(KIND, 0),
        Instruction { code: COPY, to: ASKED, from: KIND, offset: 0, constant: 0 },
        constant(SHIFT_RIGHT, ASKED, 16),
        constant(AND, KIND, 0xffff),
        load(MAJOR, 4),
        load(MINOR, 8),
    ];
    for rule in rules.list.iter().rev() {
        program.extend(one(rule));
    }
    program.extend(answer(rules.allow));
    Some(program.into_iter().flat_map(encode).collect())
}

/// Decides, or goes on behind itself.
fn one(rule: &Rule) -> Vec<Instruction> {
    let mut body = Vec::new();
    if rule.access == ALL_ACCESS {
        body.extend(answer(rule.allow));
    } else if rule.allow {
        body.push(constant(AND, ASKED, !i32::from(rule.access)));
        body.push(skip(JUMP_IF_NOT, ASKED, 0, 2));
        body.extend(answer(true));
    } else {
        body.push(Instruction { code: COPY, to: SCRATCH, from: ASKED, offset: 0, constant: 0 });
        body.push(constant(AND, SCRATCH, i32::from(rule.access)));
        body.push(skip(JUMP_IF_EQUAL, SCRATCH, 0, 2));
        body.extend(answer(false));
    }
    let which = rule.which;
    let tests = [(KIND, Some(u32::from(which.kind))), (MAJOR, which.major), (MINOR, which.minor)];
    for (register, value) in tests.into_iter().rev() {
        if let Some(value) = value {
            body.insert(0, skip(JUMP_IF_NOT, register, value.cast_signed(), body.len()));
        }
    }
    body
}

/// Jumps over `count` instructions; the body of a rule has few.
fn skip(code: u8, register: u8, constant: i32, count: usize) -> Instruction {
    let offset = i16::try_from(count).unwrap_or(i16::MAX);
    Instruction { code, to: register, from: 0, offset, constant }
}

fn encode(instruction: Instruction) -> [u8; 8] {
    let Instruction { code, to, from, offset, constant } = instruction;
    let [o0, o1] = offset.to_ne_bytes();
    let [c0, c1, c2, c3] = constant.to_ne_bytes();
    // Two bit fields of four; the target is the lower one on little-endian machines, which the
    // supported ones are.
    [code, from << 4 | to, o0, o1, c0, c1, c2, c3]
}
