//! Maps of sparse files: which parts of a file are stored.

use std::io::{BufRead, Read};

use super::{BLOCK, Error, header, pax};

/// The most segments of one file.
const SEGMENT_LIMIT: usize = 1 << 16;

/// A part of a sparse file that is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Segment {
    /// Where it begins in the file.
    pub(crate) offset: u64,
    /// Its length.
    pub(crate) length: u64,
}

const MALFORMED: Error = Error::Header("a sparse file has a malformed map");

/// Checks that the segments are in order, within the file, and exactly what is stored.
///
/// # Errors
/// They are not.
pub(super) fn check(map: Vec<u64>, real_size: u64, stored: u64) -> Result<Vec<Segment>, Error> {
    let (mut end, mut sum) = (0_u64, 0_u64);
    let mut segments = Vec::with_capacity(map.len() / 2);
    for pair in map.chunks(2) {
        let &[offset, length] = pair else { return Err(MALFORMED) };
        if offset < end {
            return Err(MALFORMED);
        }
        end = offset.checked_add(length).ok_or(MALFORMED)?;
        sum = sum.checked_add(length).ok_or(MALFORMED)?;
        segments.push(Segment { offset, length });
    }
    match end <= real_size && sum == stored && segments.len() <= SEGMENT_LIMIT {
        true => Ok(segments),
        false => Err(MALFORMED),
    }
}

/// The map of GNU's old format: four pairs in the header, more in the blocks after it.
///
/// # Errors
/// It is malformed or cut off.
pub(super) fn old(
    block: &[u8; BLOCK],
    input: &mut impl Read,
) -> Result<(Vec<u64>, u64, u64), Error> {
    let field = |bytes: &[u8], at: usize| {
        let number = header::number(bytes.get(at..at + 12).unwrap_or_default());
        number.and_then(|number| u64::try_from(number).ok()).ok_or(MALFORMED)
    };
    let mut map = Vec::new();
    let mut pairs = |bytes: &[u8], from: usize, count: usize| {
        for at in (from..).step_by(24).take(count) {
            // An unused pair is blank; one of length 0 at the end of the file counts.
            if bytes.get(at).is_some_and(|byte| *byte != 0) {
                map.extend([field(bytes, at)?, field(bytes, at + 12)?]);
            }
        }
        match map.len() <= 2 * SEGMENT_LIMIT {
            true => Ok(()),
            false => Err(MALFORMED),
        }
    };
    pairs(block, 386, 4)?;
    let real_size = field(block, 483)?;
    let (mut more, mut blocks) = (block.get(482) == Some(&1), 0);
    while more {
        let mut extension = [0; BLOCK];
        input.read_exact(&mut extension)?;
        blocks += 1;
        if blocks > SEGMENT_LIMIT as u64 / 21 + 1 {
            return Err(MALFORMED);
        }
        pairs(&extension, 0, 21)?;
        more = extension.get(504) == Some(&1);
    }
    Ok((map, real_size, blocks * BLOCK as u64))
}

/// The map of version 1.0: decimal lines at the start of the data, padded to whole blocks. Gives
/// the pairs and how many bytes they took.
///
/// # Errors
/// It is malformed or cut off.
pub(super) fn in_data(input: &mut impl BufRead) -> Result<(Vec<u64>, u64), Error> {
    let mut read = 0_u64;
    let mut line = || {
        let mut text = Vec::new();
        input.by_ref().take(24).read_until(b'\n', &mut text)?;
        read += text.len() as u64;
        text.strip_suffix(b"\n").and_then(pax::unsigned).ok_or(MALFORMED)
    };
    let count = usize::try_from(line()?).ok().filter(|count| *count <= SEGMENT_LIMIT);
    let count = count.ok_or(MALFORMED)?;
    let map = (0..2 * count).map(|_| line()).collect::<Result<Vec<_>, Error>>()?;
    let padding = read.next_multiple_of(BLOCK as u64) - read;
    let mut rest = [0; BLOCK];
    let rest = usize::try_from(padding).ok().and_then(|length| rest.get_mut(..length));
    input.read_exact(rest.unwrap_or_default())?;
    Ok((map, read + padding))
}
