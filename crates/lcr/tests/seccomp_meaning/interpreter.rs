//! Runs a classic BPF program on a system call, as the kernel would.

/// One system call as a filter sees it (`struct seccomp_data`).
#[derive(Clone, Copy, Debug)]
pub struct Call {
    pub architecture: u32,
    pub number: u32,
    pub args: [u64; 6],
}

impl Call {
    fn word(&self, offset: u32) -> u32 {
        match offset {
            0 => self.number,
            4 => self.architecture,
            16..64 if offset.is_multiple_of(4) => {
                let arg = self.args[(offset as usize - 16) / 8];
                if offset.is_multiple_of(8) { arg as u32 } else { (arg >> 32) as u32 }
            }
            _ => panic!("a load at {offset}"),
        }
    }
}

/// A program, taken apart once.
pub struct Program(Vec<(u16, usize, usize, u32)>);

impl Program {
    pub fn new(bytes: &[u8]) -> Self {
        assert_eq!(bytes.len() % 8, 0);
        let instruction = |b: &[u8]| {
            let code = u16::from_ne_bytes([b[0], b[1]]);
            let k = u32::from_ne_bytes([b[4], b[5], b[6], b[7]]);
            (code, usize::from(b[2]), usize::from(b[3]), k)
        };
        Self(bytes.chunks(8).map(instruction).collect())
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// The answer, and how many instructions it took.
    pub fn run(&self, call: &Call) -> (u32, usize) {
        let (mut at, mut accumulator, mut steps) = (0_usize, 0_u32, 0);
        loop {
            let (code, yes, no, k) = self.0[at];
            at += 1;
            steps += 1;
            let mut branch = |taken: bool| at += if taken { yes } else { no };
            match code {
                0x20 => accumulator = call.word(k),
                0x54 => accumulator &= k,
                0x05 => at += k as usize,
                0x15 => branch(accumulator == k),
                0x25 => branch(accumulator > k),
                0x35 => branch(accumulator >= k),
                0x45 => branch(accumulator & k != 0),
                0x06 => return (k, steps),
                other => panic!("instruction {other:#x}"),
            }
        }
    }
}
