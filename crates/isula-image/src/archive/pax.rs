//! PAX extended headers: `LENGTH KEY=VALUE\n` (POSIX pax "pax Extended Header"), with the vendors'
//! keys for extended attributes and sparse files.

use super::{Error, shown};

/// What an extended header says of the entry after it.
#[derive(Debug, Default)]
pub(super) struct Extended {
    pub(super) path: Option<Vec<u8>>,
    pub(super) link: Option<Vec<u8>>,
    pub(super) size: Option<u64>,
    pub(super) uid: Option<i64>,
    pub(super) gid: Option<i64>,
    pub(super) modified: Option<(i64, u32)>,
    pub(super) xattrs: Vec<(Vec<u8>, Vec<u8>)>,
    pub(super) sparse: SparseRecords,
}

/// GNU's keys for sparse files (GNU tar manual, "Storing Sparse Files").
#[derive(Debug, Default)]
pub(super) struct SparseRecords {
    pub(super) major: Option<u64>,
    pub(super) minor: Option<u64>,
    pub(super) name: Option<Vec<u8>>,
    pub(super) real_size: Option<u64>,
    /// Offsets and lengths in turn (versions 0.0 and 0.1).
    pub(super) map: Option<Vec<u64>>,
}

impl SparseRecords {
    pub(super) fn is_used(&self) -> bool {
        self.major.is_some() || self.map.is_some() || self.real_size.is_some()
    }
}

impl Extended {
    /// # Errors
    /// A record is malformed.
    pub(super) fn parse(bytes: &[u8]) -> Result<Self, Error> {
        let mut all = Self::default();
        for record in Records(bytes) {
            let (key, value) = record?;
            // An empty value takes back what an earlier header said; there is none.
            if !value.is_empty() || key.starts_with(XATTR) {
                all.apply(key, value).ok_or_else(|| Error::Entry {
                    name: shown(key),
                    why: "the extended header has a malformed value",
                })?;
            }
        }
        Ok(all)
    }

    fn apply(&mut self, key: &[u8], value: &[u8]) -> Option<()> {
        let sparse = &mut self.sparse;
        match key {
            b"path" => self.path = Some(name(value)?),
            b"linkpath" => self.link = Some(name(value)?),
            b"size" => {
                self.size = Some(unsigned(value).filter(|size| i64::try_from(*size).is_ok())?)
            }
            b"uid" => self.uid = Some(unsigned(value)?.try_into().ok()?),
            b"gid" => self.gid = Some(unsigned(value)?.try_into().ok()?),
            b"mtime" => self.modified = Some(time(value)?),
            b"GNU.sparse.major" => sparse.major = Some(unsigned(value)?),
            b"GNU.sparse.minor" => sparse.minor = Some(unsigned(value)?),
            b"GNU.sparse.name" => sparse.name = Some(name(value)?),
            b"GNU.sparse.realsize" | b"GNU.sparse.size" => {
                sparse.real_size = Some(unsigned(value)?);
            }
            b"GNU.sparse.map" => {
                sparse.map =
                    Some(value.split(|b| *b == b',').map(unsigned).collect::<Option<_>>()?);
            }
            b"GNU.sparse.offset" | b"GNU.sparse.numbytes" => {
                sparse.map.get_or_insert_default().push(unsigned(value)?);
            }
            _ => {
                if let Some(attribute) = key.strip_prefix(XATTR) {
                    self.xattrs.push((name(attribute)?, value.to_vec()));
                }
            }
        }
        Some(())
    }
}

const XATTR: &[u8] = b"SCHILY.xattr.";

/// Refuses a global header that says anything about entries: some programs apply it, others do
/// not. Comments (as `git archive` writes) are skipped.
///
/// # Errors
/// A record is malformed or not a mere remark.
pub(super) fn check_global(bytes: &[u8]) -> Result<(), Error> {
    for record in Records(bytes) {
        let (key, _) = record?;
        if matches!(key, b"path" | b"linkpath" | b"size" | b"uid" | b"gid")
            || key.starts_with(XATTR)
            || key.starts_with(b"GNU.")
        {
            return Err(Error::Entry {
                name: shown(key),
                why: "a global header must not set this for all entries",
            });
        }
    }
    Ok(())
}

struct Records<'a>(&'a [u8]);

impl<'a> Iterator for Records<'a> {
    type Item = Result<(&'a [u8], &'a [u8]), Error>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let split = split_record(self.0);
        let malformed = Error::Header("an extended header has a malformed record");
        let Some((key, value, rest)) = split else {
            self.0 = &[];
            return Some(Err(malformed));
        };
        self.0 = rest;
        Some(Ok((key, value)))
    }
}

fn split_record(bytes: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let space = bytes.iter().take(8).position(|byte| *byte == b' ')?;
    let length = usize::try_from(unsigned(bytes.get(..space)?)?).ok()?;
    let (record, rest) = (bytes.get(space + 1..length)?, bytes.get(length..)?);
    let record = record.strip_suffix(b"\n")?;
    let equals = record.iter().position(|byte| *byte == b'=')?;
    let (key, value) = (record.get(..equals)?, record.get(equals + 1..)?);
    (!key.is_empty()).then_some((key, value, rest))
}

fn name(value: &[u8]) -> Option<Vec<u8>> {
    (!value.is_empty() && !value.contains(&0)).then(|| value.to_vec())
}

/// Decimal digits only: no sign, no blank.
pub(super) fn unsigned(value: &[u8]) -> Option<u64> {
    if value.is_empty() {
        return None;
    }
    value.iter().try_fold(0_u64, |number, byte| match byte {
        b'0'..=b'9' => number.checked_mul(10)?.checked_add(u64::from(byte - b'0')),
        _ => None,
    })
}

/// `SECONDS[.FRACTION]`, perhaps negative, rounded down to nanoseconds.
fn time(value: &[u8]) -> Option<(i64, u32)> {
    let (negative, digits) = match value.strip_prefix(b"-") {
        Some(digits) => (true, digits),
        None => (false, value),
    };
    let mut parts = digits.splitn(2, |byte| *byte == b'.');
    let seconds = i64::try_from(unsigned(parts.next()?)?).ok()?;
    let mut nanoseconds = 0_u32;
    if let Some(fraction) = parts.next() {
        let padded = fraction.iter().copied().chain(std::iter::repeat(b'0')).take(9);
        nanoseconds = u32::try_from(unsigned(&padded.collect::<Vec<_>>())?).ok()?;
        if !fraction.iter().all(u8::is_ascii_digit) {
            return None;
        }
    }
    match (negative, nanoseconds) {
        (false, _) => Some((seconds, nanoseconds)),
        (true, 0) => Some((-seconds, 0)),
        (true, _) => Some((-seconds - 1, 1_000_000_000 - nanoseconds)),
    }
}

#[cfg(test)]
mod tests {
    use super::{Extended, check_global, time};

    #[test]
    fn times_keep_their_nanoseconds() {
        for (text, value) in [
            ("1700000000.123456789", Some((1_700_000_000, 123_456_789))),
            ("1700000000.5", Some((1_700_000_000, 500_000_000))),
            ("0.1234567899", Some((0, 123_456_789))),
            ("7", Some((7, 0))),
            ("-1.5", Some((-2, 500_000_000))),
            ("-3", Some((-3, 0))),
            ("", None),
            ("+1", None),
            ("1.x", None),
            ("99999999999999999999", None),
        ] {
            assert_eq!(time(text.as_bytes()), value, "{text}");
        }
    }

    #[test]
    fn malformed_records_are_refused() {
        let bad = Extended::parse(b"14 path=a/b c\n30 SCHILY.xattr.user.x=a\n=b\0\n").unwrap_err();
        assert!(bad.to_string().contains("malformed record"));
        let good = Extended::parse(b"14 path=a/b c\n29 SCHILY.xattr.user.x=a\n=b\0\n").unwrap();
        assert_eq!(good.path.unwrap(), b"a/b c");
        assert_eq!(good.xattrs, [(b"user.x".to_vec(), b"a\n=b\0".to_vec())]);
        for bad in [
            "6 path=a\n",
            "99 path=a\n",
            "9 path=a\nx",
            "9 patha=\n ",
            "0 path=a\n",
            " 9 path=a\n",
            "9 path=a ",
            "-9 path=a\n",
            "12 size=+1234\n",
            "9 path=\0\n",
            "4 =\n",
            "18446744073709551617 a=b\n",
        ] {
            assert!(Extended::parse(bad.as_bytes()).is_err(), "{bad:?}");
        }
        check_global(b"14 comment=ab\n").unwrap();
        assert!(check_global(b"11 size=12\n").is_err());
    }
}
