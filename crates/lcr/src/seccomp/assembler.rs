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
        match pieces {
            [] => Target::Return(0),
            [(_, only)] => *only,
            [(_, low), (start, high)] => self.jump(Test::AtLeast, *start, *high, *low),
            // Single values within one piece: a comparison each, where a search takes two.
            [(_, around), (value, within), (next, rest @ ..)]
                if *around == next_target(rest, pieces) && Some(*next) == value.checked_add(1) =>
            {
                self.jump(Test::Equal, *value, *within, *around)
            }
            _ => {
                let (low, high) = pieces.split_at(middle(pieces));
                let start = high.first().map_or(0, |(start, _)| *start);
                let high = self.search(high);
                let low = self.search(low);
                self.jump(Test::AtLeast, start, high, low)
            }
        }
    }
}
