//! One line of a json-file log.

use std::borrow::Cow;

use isula_core::ports::{LogRecord, Output};
use serde::Deserialize;

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
pub fn parse(line: &[u8]) -> Option<LogRecord> {
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
