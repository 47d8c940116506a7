//! One line of a log: json-file's or CRI's.

use std::borrow::Cow;

use isula_core::ports::{LogRecord, Output};
use serde::Deserialize;

/// How the lines of a log are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// Docker's json-file.
    Json,
    /// `TIME STREAM P|F TEXT`.
    Cri,
}

impl Format {
    /// The record in a line; `None` when it is damaged.
    pub fn parse(self, line: &[u8]) -> Option<LogRecord> {
        match self {
            Self::Json => parse(line),
            Self::Cri => parse_cri(line),
        }
    }
}

fn parse_cri(line: &[u8]) -> Option<LogRecord> {
    let mut words = line.splitn(4, |byte| *byte == b' ');
    let mut word = || words.next();
    let at = std::str::from_utf8(word()?).ok()?.parse().ok()?;
    let stream = match word()? {
        b"stdout" => Output::Stdout,
        b"stderr" => Output::Stderr,
        _ => return None,
    };
    // Tags are separated by colons; the first is the one that counts.
    let whole = match word()?.split(|byte| *byte == b':').next()? {
        b"F" => true,
        b"P" => false,
        _ => return None,
    };
    let text = word()?;
    let text = text.strip_suffix(b"\n").unwrap_or(text);
    let mut bytes = text.to_vec();
    bytes.extend_from_slice(if whole { b"\n" } else { b"" });
    Some(LogRecord { at, stream, bytes: bytes.into() })
}

#[derive(Deserialize)]
struct Line<'a> {
    #[serde(borrow)]
    log: Cow<'a, str>,
    #[serde(borrow)]
    stream: Cow<'a, str>,
    #[serde(borrow)]
    time: Cow<'a, str>,
}

/// The record in a line; `None` when it is damaged.
fn parse(line: &[u8]) -> Option<LogRecord> {
    let line: Line<'_> = serde_json::from_slice(line).ok()?;
    let stream = match &*line.stream {
        "stdout" => Output::Stdout,
        "stderr" => Output::Stderr,
        _ => return None,
    };
    let at = line.time.parse().ok()?;
    Some(LogRecord { at, stream, bytes: line.log.into_owned().into_bytes().into() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_docker_and_the_shim_write_is_read() {
        let line = r#"{"log":"a\u003cb\n","stream":"stderr","attrs":{"k":"v"},"time":"2026-11-23T16:53:07.000000005Z"}"#;
        let record = parse(line.as_bytes()).unwrap();
        assert_eq!((&*record.bytes, record.stream), (b"a<b\n".as_slice(), Output::Stderr));
        assert_eq!(record.at.to_string(), "2026-11-23T16:53:07.000000005Z");
    }

    #[test]
    fn what_the_shim_writes_for_cri_is_read() {
        let record = |text: &str| Format::Cri.parse(text.as_bytes());
        let full = record("2026-11-23T16:53:07.000000005Z stderr F a b\n").unwrap();
        assert_eq!((&*full.bytes, full.stream), (b"a b\n".as_slice(), Output::Stderr));
        let part = record("2026-11-23T16:53:07Z stdout P x\n").unwrap();
        assert_eq!((&*part.bytes, part.stream), (b"x".as_slice(), Output::Stdout));
        assert_eq!(&*record("2026-11-23T16:53:07Z stdout F \n").unwrap().bytes, b"\n");
        for bad in
            ["", "x stdout F y", "2026-11-23T16:53:07Z stdin F y", "2026-11-23T16:53:07Z stdout"]
        {
            assert_eq!(record(bad), None, "{bad}");
        }
    }

    #[test]
    fn damaged_lines_are_no_records() {
        for line in [
            "",
            "{",
            r#"{"log":"x","stream":"stdout"}"#,
            r#"{"log":"x","stream":"stdin","time":"2026-11-23T16:53:07Z"}"#,
            r#"{"log":"x","stream":"stdout","time":"yesterday"}"#,
            r#"{"log":"x","stream":"stdout","time":"2026-11-23T16:53:07Z"}{"#,
        ] {
            assert_eq!(parse(line.as_bytes()), None, "{line}");
        }
    }
}
