//! The socket between a client and a process: each packet is one byte that says what follows.
//!
//! The socket's own buffer is the only one there is. The shim makes a process wait for a client
//! that does not read, within bounds; the client finds the end by [`FromProcess::End`] or
//! [`FromProcess::Exited`], and a socket that closes without either was cut off.

/// Bytes of input or output in one packet at most.
pub const LIMIT: usize = 16 << 10;

const STDIN: u8 = 0;
const STDOUT: u8 = 1;
const STDERR: u8 = 2;
const EXITED: u8 = 3;
const CLOSE_STDIN: u8 = 4;
const RESIZE: u8 = 5;
const END: u8 = 6;

/// An output of a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Output {
    /// Standard output, and all that a terminal shows.
    Stdout,
    /// Standard error.
    Stderr,
}

impl Output {
    /// The first byte of its packets; the bytes of output follow.
    #[must_use]
    pub const fn tag(self) -> u8 {
        match self {
            Self::Stdout => STDOUT,
            Self::Stderr => STDERR,
        }
    }
}

/// What a client gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FromProcess<'a> {
    /// Output.
    Output(Output, &'a [u8]),
    /// The process has ended with this status, and its output was sent. The last packet.
    Exited(i32),
    /// The outputs were closed. The last packet, of an init process.
    End,
}

impl<'a> FromProcess<'a> {
    /// Reads a packet; `None` when it is none of these.
    #[must_use]
    pub fn parse(packet: &'a [u8]) -> Option<Self> {
        match packet.split_first()? {
            (&STDOUT, bytes) => Some(Self::Output(Output::Stdout, bytes)),
            (&STDERR, bytes) => Some(Self::Output(Output::Stderr, bytes)),
            (&EXITED, bytes) => Some(Self::Exited(i32::from_le_bytes(bytes.try_into().ok()?))),
            (&END, []) => Some(Self::End),
            _ => None,
        }
    }
}

/// The packet of [`FromProcess::Exited`].
#[must_use]
pub fn exited(code: i32) -> [u8; 5] {
    let [a, b, c, d] = code.to_le_bytes();
    [EXITED, a, b, c, d]
}

/// The packet of [`FromProcess::End`].
#[must_use]
pub fn end() -> [u8; 1] {
    [END]
}

/// What a client sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ToProcess<'a> {
    /// Input.
    Input(&'a [u8]),
    /// No more input.
    CloseStdin,
    /// Rows and columns.
    Resize(u16, u16),
}

impl<'a> ToProcess<'a> {
    /// The first byte of [`ToProcess::Input`]; the bytes of input follow.
    pub const INPUT: u8 = STDIN;

    /// Reads a packet; `None` when it is none of these.
    #[must_use]
    pub fn parse(packet: &'a [u8]) -> Option<Self> {
        match packet {
            [STDIN, bytes @ ..] => Some(Self::Input(bytes)),
            [CLOSE_STDIN] => Some(Self::CloseStdin),
            [RESIZE, r0, r1, c0, c1] => {
                Some(Self::Resize(u16::from_le_bytes([*r0, *r1]), u16::from_le_bytes([*c0, *c1])))
            }
            _ => None,
        }
    }
}

/// The packet of [`ToProcess::CloseStdin`].
#[must_use]
pub fn close_stdin() -> [u8; 1] {
    [CLOSE_STDIN]
}

/// The packet of [`ToProcess::Resize`].
#[must_use]
pub fn resize(rows: u16, columns: u16) -> [u8; 5] {
    let ([r0, r1], [c0, c1]) = (rows.to_le_bytes(), columns.to_le_bytes());
    [RESIZE, r0, r1, c0, c1]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        assert_eq!(FromProcess::parse(&exited(-3)), Some(FromProcess::Exited(-3)));
        assert_eq!(FromProcess::parse(&end()), Some(FromProcess::End));
        assert_eq!(
            FromProcess::parse(&[Output::Stderr.tag(), 7, 8]),
            Some(FromProcess::Output(Output::Stderr, &[7, 8]))
        );
        assert_eq!(ToProcess::parse(&close_stdin()), Some(ToProcess::CloseStdin));
        assert_eq!(ToProcess::parse(&resize(50, 300)), Some(ToProcess::Resize(50, 300)));
        assert_eq!(ToProcess::parse(&[ToProcess::INPUT, 1]), Some(ToProcess::Input(&[1])));
    }

    #[test]
    fn anything_else_is_refused() {
        for packet in [&[][..], &[9], &[3], &[3, 1, 2, 3], &[3, 1, 2, 3, 4, 5], &[6, 0]] {
            assert_eq!(FromProcess::parse(packet), None, "{packet:?}");
        }
        for packet in [&[][..], &[4, 1], &[5], &[5, 1, 2, 3], &[5, 1, 2, 3, 4, 5], &[6]] {
            assert_eq!(ToProcess::parse(packet), None, "{packet:?}");
        }
    }
}
