//! Classic BPF, written from its end to its beginning.
//!
//! Jumps go forwards only, so what is jumped to exists before the jump when the last instruction
//! is written first. A conditional jump reaches 255 instructions; beyond that it takes a
//! trampoline: another copy of the return it wants, or an unconditional jump.

use super::SeccompError;

/// Most instructions in one program (`BPF_MAXINSNS`).
const MOST: usize = isula_sys::seccomp::MAX_INSTRUCTIONS;
const REACH: usize = 255;

// linux/bpf_common.h
const LOAD_WORD: u16 = 0x20;
const AND: u16 = 0x54;
const JUMP: u16 = 0x05;
const RETURN: u16 = 0x06;

/// A comparison of the accumulator with a constant.
#[derive(Clone, Copy, Debug)]
#[repr(u16)]
pub(super) enum Test {
    Equal = 0x15,
    AtLeast = 0x35,
    AnySet = 0x45,
}

/// Where a path through the program goes on.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Target {
    /// It ends with this answer.
    Return(u32),
    /// At an instruction, counted from the end of the program.
    At(usize),
}

#[derive(Clone, Copy)]
struct Instruction {
    code: u16,
    yes: u8,
    no: u8,
    k: u32,
}

/// One piece of a function of a 32-bit value: from here to the next piece's start.
pub(super) type Piece = (u32, Target);

#[derive(Default)]
pub(super) struct Assembler {
    /// The last instruction first.
    code: Vec<Instruction>,
    /// The newest return of each answer.
    returns: Vec<(u32, usize)>,
}

impl Assembler {
    /// Jumps to `yes` if the accumulator passes the test, else to `no`.
    pub(super) fn jump(&mut self, test: Test, k: u32, yes: Target, no: Target) -> Target {
        if yes == no {
            return yes;
        }
        // A trampoline for `yes` would put `no` one further away.
        let no = self.near(no, 1);
        let yes = self.near(yes, 0);
        let (yes, no) = (self.distance(yes), self.distance(no));
        self.push(Instruction { code: test as u16, yes, no, k })
    }

    /// Loads the word at `offset` of `struct seccomp_data`, then goes on at `then`.
    pub(super) fn load(&mut self, offset: u32, then: Target) -> Target {
        self.before(then, LOAD_WORD, offset)
    }

    /// Keeps the bits of `mask`, then goes on at `then`.
    pub(super) fn keep(&mut self, mask: u32, then: Target) -> Target {
        if mask == u32::MAX { then } else { self.before(then, AND, mask) }
    }

    /// Finds the accumulator's piece by binary search. `pieces` are ordered, the first starts at 0.
    pub(super) fn search(&mut self, pieces: &[Piece]) -> Target {
        let mut groups = Vec::new();
        let mut rest = pieces;
        while !rest.is_empty() {
            let (group, after) = rest.split_at(pattern(rest));
            groups.push(group);
            rest = after;
        }
        self.tree(&groups)
    }

    fn tree(&mut self, groups: &[&[Piece]]) -> Target {
        match groups {
            [] => Target::Return(0),
            [group] => self.singles(group),
            _ => {
                let (low, high) = groups.split_at(groups.len() / 2);
                let start = high.first().and_then(|group| group.first()).map_or(0, |piece| piece.0);
                let high = self.tree(high);
                let low = self.tree(low);
                self.jump(Test::AtLeast, start, high, low)
            }
        }
    }

    /// A comparison for each single value that interrupts what is else one piece.
    fn singles(&mut self, group: &[Piece]) -> Target {
        let around = group.first().map_or(Target::Return(0), |(_, target)| *target);
        let single = group.iter().skip(1).step_by(2);
        single.fold(around, |rest, (value, within)| self.jump(Test::Equal, *value, *within, rest))
    }

    /// The program in the machine's byte order.
    pub(super) fn finish(mut self, start: Target) -> Result<Vec<u8>, SeccompError> {
        self.entered_next(start);
        if self.code.len() > MOST {
            return Err(SeccompError::TooLarge { instructions: self.code.len() });
        }
        let encode = |instruction: &Instruction| {
            let [c0, c1] = instruction.code.to_ne_bytes();
            let [k0, k1, k2, k3] = instruction.k.to_ne_bytes();
            [c0, c1, instruction.yes, instruction.no, k0, k1, k2, k3]
        };
        Ok(self.code.iter().rev().flat_map(encode).collect())
    }

    /// Writes an instruction that falls through to `then`; none where the accumulator is not used.
    fn before(&mut self, then: Target, code: u16, k: u32) -> Target {
        if matches!(then, Target::Return(_)) {
            return then;
        }
        self.entered_next(then);
        self.push(Instruction { code, yes: 0, no: 0, k })
    }

    /// Makes the newest instruction the one at which `then` begins.
    fn entered_next(&mut self, then: Target) {
        if then != Target::At(self.code.len().wrapping_sub(1)) {
            match then {
                Target::Return(answer) => self.give_back(answer),
                Target::At(_) => self.trampoline(then),
            };
        }
    }

    /// An instruction that does what `target` says and can be jumped to by the one written after
    /// `more` others.
    fn near(&mut self, target: Target, more: usize) -> Target {
        let reachable = |at: &usize| self.code.len() + more - at - 1 <= REACH;
        match target {
            Target::At(at) if reachable(&at) => target,
            Target::At(_) => self.trampoline(target),
            Target::Return(answer) => {
                let known = self.returns.iter().find(|(known, _)| *known == answer);
                match known.map(|(_, at)| *at).filter(reachable) {
                    Some(at) => Target::At(at),
                    None => self.give_back(answer),
                }
            }
        }
    }

    fn trampoline(&mut self, target: Target) -> Target {
        let Target::At(at) = target else { return target };
        let distance = u32::try_from(self.code.len() - at - 1).unwrap_or(u32::MAX);
        self.push(Instruction { code: JUMP, yes: 0, no: 0, k: distance })
    }

    fn give_back(&mut self, answer: u32) -> Target {
        let at = self.code.len();
        match self.returns.iter_mut().find(|(known, _)| *known == answer) {
            Some((_, newest)) => *newest = at,
            None => self.returns.push((answer, at)),
        }
        self.push(Instruction { code: RETURN, yes: 0, no: 0, k: answer })
    }

    /// How many instructions lie between the one written next and `target`, which is near.
    fn distance(&self, target: Target) -> u8 {
        let Target::At(at) = target else { return 0 };
        u8::try_from(self.code.len() - at - 1).unwrap_or(u8::MAX)
    }

    fn push(&mut self, instruction: Instruction) -> Target {
        self.code.push(instruction);
        Target::At(self.code.len() - 1)
    }
}

/// How many of the first pieces are one target with single values in it, at most two of them:
/// more would make the search longer for everything behind them.
fn pattern(pieces: &[Piece]) -> usize {
    match pieces {
        [(_, a), (s, _), (b_start, b), (t, _), (c_start, c), ..]
            if a == b && b == c && *b_start == s + 1 && *c_start == t + 1 =>
        {
            5
        }
        [(_, a), (s, _), (b_start, b), ..] if a == b && *b_start == s + 1 => 3,
        [_, ..] => 1,
        [] => 0,
    }
}
