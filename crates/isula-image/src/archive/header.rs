//! The fixed header block of tar (POSIX pax "ustar Interchange Format"; GNU tar "Basic Format").

use super::{BLOCK, Error};

/// A header block whose checksum is right.
pub(super) struct Header([u8; BLOCK]);

impl Header {
    /// # Errors
    /// The checksum is wrong.
    pub(super) fn new(block: [u8; BLOCK]) -> Result<Self, Error> {
        let header = Self(block);
        let stored = octal(header.field(148, 8)).ok_or(Error::Header("a checksum is no number"))?;
        let in_sum = |(at, byte): (usize, &u8)| {
            if (148..156).contains(&at) { b' ' } else { *byte }
        };
        let bytes = || header.0.iter().enumerate().map(in_sum);
        let unsigned: i64 = bytes().map(i64::from).sum();
        // Some old programs took char for signed.
        let signed: i64 = bytes().map(|byte| i64::from(byte.cast_signed())).sum();
        match stored == unsigned || stored == signed {
            true => Ok(header),
            false => Err(Error::Header("a checksum is wrong")),
        }
    }

    fn field(&self, at: usize, length: usize) -> &[u8] {
        self.0.get(at..at + length).unwrap_or_default()
    }

    /// A part of the block, for the sparse maps.
    pub(super) fn bytes(&self) -> &[u8; BLOCK] {
        &self.0
    }

    pub(super) fn type_flag(&self) -> u8 {
        self.field(156, 1).first().copied().unwrap_or(0)
    }

    /// The name, joined with ustar's prefix where there is one.
    pub(super) fn path(&self) -> Vec<u8> {
        let name = text(self.field(0, 100));
        // GNU tar uses the prefix's place for other things and says "ustar ", not "ustar\0".
        if self.field(257, 6) != b"ustar\0" {
            return name.to_vec();
        }
        let star = self.field(508, 4) == b"tar\0";
        let prefix = text(self.field(345, if star { 131 } else { 155 }));
        match prefix.is_empty() {
            true => name.to_vec(),
            false => [prefix, b"/", name].concat(),
        }
    }

    pub(super) fn link(&self) -> Vec<u8> {
        text(self.field(157, 100)).to_vec()
    }

    pub(super) fn mode(&self) -> Option<i64> {
        number(self.field(100, 8))
    }

    pub(super) fn uid(&self) -> Option<i64> {
        number(self.field(108, 8))
    }

    pub(super) fn gid(&self) -> Option<i64> {
        number(self.field(116, 8))
    }

    pub(super) fn size(&self) -> Option<u64> {
        number(self.field(124, 12)).and_then(|size| u64::try_from(size).ok())
    }

    pub(super) fn modified(&self) -> Option<i64> {
        number(self.field(136, 12))
    }

    /// Major and minor number.
    pub(super) fn device(&self) -> Option<(u32, u32)> {
        let part = |at| number(self.field(at, 8)).and_then(|part| u32::try_from(part).ok());
        Some((part(329)?, part(337)?))
    }
}

/// The bytes before the first NUL.
pub(super) fn text(field: &[u8]) -> &[u8] {
    field.split(|byte| *byte == 0).next().unwrap_or_default()
}

/// Octal digits, or GNU's base 256 where the first bit is set.
pub(super) fn number(field: &[u8]) -> Option<i64> {
    let (first, rest) = field.split_first()?;
    if first & 0x80 == 0 {
        return octal(field);
    }
    // Two's complement of which the first bit is the mark and the second the sign.
    let start = i128::from(first & 0x3f) - if first & 0x40 == 0 { 0 } else { 64 };
    let value = rest.iter().fold(start, |value, byte| (value << 8) | i128::from(*byte));
    i64::try_from(value).ok()
}

fn octal(field: &[u8]) -> Option<i64> {
    let digits = text(field.trim_ascii_start()).trim_ascii();
    digits.iter().try_fold(0_i64, |value, byte| match byte {
        b'0'..=b'7' => value.checked_mul(8)?.checked_add(i64::from(byte - b'0')),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::number;

    #[test]
    fn numbers_are_octal_or_base_256() {
        for (field, value) in [
            (&b"0000644\0"[..], Some(0o644)),
            (b"   644 \0", Some(0o644)),
            (b"\0\0\0\0\0\0\0\0", Some(0)),
            (b"77777777777\0", Some(0o77_777_777_777)),
            (b"0000648\0", None),
            (b"-000001\0", None),
            (&[0x80, 0, 0, 0, 0, 0, 1, 0], Some(256)),
            (&[0xff; 12], Some(-1)),
            (&[0x80, 0, 0, 0, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff], Some(i64::MAX)),
            (&[0x80, 0, 0, 0, 0x80, 0, 0, 0, 0, 0, 0, 0], None),
        ] {
            assert_eq!(number(field), value, "{field:?}");
        }
    }
}
