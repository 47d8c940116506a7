//! One line of a json-file log: `{"log":"text\n","stream":"stdout","time":"…"}`.

use isula_sys::clock::{Timespec, write_rfc3339};

use crate::protocol::stream::Output;

/// Appends a record. Every byte of `line` that could end the string or the line is escaped, as
/// Docker does it: controls, quotes, what HTML and JavaScript would misread; a byte that is not
/// UTF-8 becomes U+FFFD.
pub fn encode(out: &mut Vec<u8>, output: Output, line: &[u8], time: Timespec) {
    out.extend_from_slice(b"{\"log\":\"");
    for chunk in line.utf8_chunks() {
        escape(out, chunk.valid());
        // Docker writes one for each byte.
        for _ in chunk.invalid() {
            out.extend_from_slice(b"\\ufffd");
        }
    }
    out.extend_from_slice(match output {
        Output::Stdout => b"\",\"stream\":\"stdout\",\"time\":\"",
        Output::Stderr => b"\",\"stream\":\"stderr\",\"time\":\"",
    });
    out.extend_from_slice(&write_rfc3339(time));
    out.extend_from_slice(b"\"}\n");
}

/// U+2028 and U+2029, which end a line in JavaScript, begin with this byte.
const LINE_SEPARATOR_LEAD: u8 = 0xe2;

fn escape(out: &mut Vec<u8>, text: &str) {
    let mut rest = text.as_bytes();
    while let Some(plain) = rest.iter().position(|byte| is_special(*byte)) {
        let (before, from) = rest.split_at_checked(plain).unwrap_or((rest, &[]));
        out.extend_from_slice(before);
        rest = escape_first(out, from);
    }
    out.extend_from_slice(rest);
}

fn is_special(byte: u8) -> bool {
    byte < 0x20 || matches!(byte, b'"' | b'\\' | b'<' | b'>' | b'&' | LINE_SEPARATOR_LEAD)
}

/// Escapes what `bytes` begin with, and returns the rest.
fn escape_first<'a>(out: &mut Vec<u8>, bytes: &'a [u8]) -> &'a [u8] {
    let (first, rest) = match bytes {
        [LINE_SEPARATOR_LEAD, 0x80, last @ (0xa8 | 0xa9), rest @ ..] => {
            out.extend_from_slice(b"\\u202");
            out.push(if *last == 0xa8 { b'8' } else { b'9' });
            return rest;
        }
        [first, rest @ ..] => (*first, rest),
        [] => return bytes,
    };
    match first {
        b'\n' => out.extend_from_slice(b"\\n"),
        b'\r' => out.extend_from_slice(b"\\r"),
        b'\t' => out.extend_from_slice(b"\\t"),
        b'"' | b'\\' => out.extend_from_slice(&[b'\\', first]),
        LINE_SEPARATOR_LEAD => out.push(first),
        _ => {
            let digit = |nibble: u8| if nibble < 10 { b'0' + nibble } else { b'a' + nibble - 10 };
            out.extend_from_slice(&[b'\\', b'u', b'0', b'0', digit(first >> 4), digit(first & 15)]);
        }
    }
    rest
}

/// How many of the bytes to put in a record that can't take more, so that no character is cut in
/// two. Bytes that are not UTF-8 anyway are cut anywhere.
pub fn whole_characters(bytes: &[u8]) -> usize {
    let length = bytes.len();
    for back in 1..=length.min(3) {
        let Some(byte) = length.checked_sub(back).and_then(|position| bytes.get(position)) else {
            break;
        };
        let needed = match byte {
            0x80..=0xbf => continue,
            0xc2..=0xdf => 2,
            0xe0..=0xef => 3,
            0xf0..=0xf4 => 4,
            _ => break,
        };
        return if needed > back { length - back } else { length };
    }
    length
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIME: Timespec = Timespec { tv_sec: 1_795_452_787, tv_nsec: 123_456_789 };

    fn encoded(line: &[u8]) -> String {
        let mut out = Vec::new();
        encode(&mut out, Output::Stdout, line, TIME);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_record_is_as_docker_writes_it() {
        for (line, text) in [
            (b"hello\n".as_slice(), "hello\\n"),
            (b"", ""),
            (b"\t\"a\\b\"\r\n", "\\t\\\"a\\\\b\\\"\\r\\n"),
            (b"<a&b>", "\\u003ca\\u0026b\\u003e"),
            (b"\x00\x1b[0m\x7f", "\\u0000\\u001b[0m\x7f"),
            ("äß✓🦀\u{2028}\u{2029}\u{2030}".as_bytes(), "äß✓🦀\\u2028\\u2029\u{2030}"),
            (b"a\xffb\xe2\x82", "a\\ufffdb\\ufffd\\ufffd"),
        ] {
            let time = "2026-11-23T16:53:07.123456789Z";
            let wanted =
                format!("{{\"log\":\"{text}\",\"stream\":\"stdout\",\"time\":\"{time}\"}}\n");
            assert_eq!(encoded(line), wanted);
        }
    }

    #[test]
    fn no_byte_forges_a_record() {
        for byte in 0..=255u8 {
            for line in [vec![byte], vec![byte, b'"', b'}', b'\n', b'{'], vec![0xe2, 0x80, byte]] {
                let text = encoded(&line);
                assert_eq!(text.matches('\n').count(), 1, "{line:?}");
                let inside = &text[8..text.rfind("\",\"stream\"").unwrap()];
                let mut escaped = false;
                for character in inside.chars() {
                    assert!(character >= ' ' && (escaped || character != '"'), "{line:?}");
                    escaped = character == '\\' && !escaped;
                }
                assert!(!escaped, "{line:?}");
            }
        }
    }

    #[test]
    fn a_cut_keeps_characters_whole() {
        for (bytes, length) in [
            (b"abc".as_slice(), 3),
            ("ab✓".as_bytes(), 5),
            (&"ab✓".as_bytes()[..4], 2),
            (&"ab✓".as_bytes()[..3], 2),
            (&"a🦀".as_bytes()[..4], 1),
            (&"a🦀".as_bytes()[..2], 1),
            (b"a\x80\x80\x80\x80", 5),
            (b"a\xff", 2),
            (b"\xf0", 0),
            (b"", 0),
        ] {
            assert_eq!(whole_characters(bytes), length, "{bytes:?}");
        }
    }
}
