//! Finds the detach keys among what is typed.

/// Looks for the keys in a stream of bytes. Keys that may be the beginning of the sequence are
/// held back until the next one shows whether they are.
#[derive(Debug)]
pub struct Detach {
    keys: Vec<u8>,
    matched: usize,
}

impl Detach {
    /// Looks for these keys; none are never found.
    #[must_use]
    pub fn new(keys: Vec<u8>) -> Self {
        Self { keys, matched: 0 }
    }

    /// What of the typed bytes is to be sent on, and whether the sequence is complete. Bytes after
    /// the sequence are dropped: the user has left.
    pub fn feed(&mut self, typed: &[u8]) -> (Vec<u8>, bool) {
        if self.keys.is_empty() {
            return (typed.to_vec(), false);
        }
        let mut out = Vec::with_capacity(typed.len());
        for byte in typed {
            // The longest beginning of the keys that the held bytes and this one end with.
            loop {
                if self.keys.get(self.matched) == Some(byte) {
                    self.matched += 1;
                    break;
                }
                if self.matched == 0 {
                    out.push(*byte);
                    break;
                }
                let shorter = self.fall_back();
                out.extend_from_slice(self.keys.get(..self.matched - shorter).unwrap_or_default());
                self.matched = shorter;
            }
            if self.matched == self.keys.len() {
                return (out, true);
            }
        }
        (out, false)
    }

    /// Length of the longest proper beginning of the keys that the matched ones end with.
    fn fall_back(&self) -> usize {
        let matched = self.keys.get(..self.matched).unwrap_or_default();
        let fits = |length: &usize| {
            matched.get(..*length) == matched.get(matched.len().saturating_sub(*length)..)
        };
        (0..self.matched).rev().find(fits).unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::Detach;

    /// Each piece is fed by itself; the result is what was sent and whether the user left.
    fn typed(keys: &[u8], pieces: &[&[u8]]) -> (Vec<u8>, bool) {
        let mut detach = Detach::new(keys.to_vec());
        let mut sent = Vec::new();
        for piece in pieces {
            let (out, left) = detach.feed(piece);
            sent.extend(out);
            if left {
                return (sent, true);
            }
        }
        (sent, false)
    }

    #[test]
    fn the_keys_leave_and_are_not_sent() {
        type Case<'a> = (&'a [u8], &'a [&'a [u8]], &'a [u8], bool);
        let table: [Case<'_>; 10] = [
            (&[16, 17], &[b"ab\x10\x11cd"], b"ab", true),
            (&[16, 17], &[b"ab\x10", b"\x11"], b"ab", true),
            (&[16, 17], &[b"\x10", b"x"], b"\x10x", false),
            (&[16, 17], &[b"\x10\x10\x11"], b"\x10", true),
            (&[16, 17], &[b"\x11\x10"], b"\x11", false),
            (b"aab", &[b"aaab"], b"a", true),
            (b"abac", &[b"ababac"], b"ab", true),
            (b"q", &[b"xq"], b"x", true),
            (b"", &[b"x\x10\x11"], b"x\x10\x11", false),
            (b"aa", &[b"a", b"a"], b"", true),
        ];
        for (keys, pieces, sent, left) in table {
            assert_eq!(typed(keys, pieces), (sent.to_vec(), left), "{keys:?} {pieces:?}");
        }
    }
}
