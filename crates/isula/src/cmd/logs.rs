//! `isula logs`: what a container has written.

use std::io::{self, BufWriter, Write};

use futures_util::{FutureExt, StreamExt};
use isula_api::v1::{LogRecord, LogsRequest, log_record::Stream};
use isula_sys::clock::{Timespec, rfc3339};
use jiff::Timestamp;

use super::{Command, Context};
use crate::error::{Failure, Outcome};
use crate::flags::{Arguments, Flag, Syntax};
use crate::output::zone;
use crate::parse::{names, time};

/// The command.
pub static COMMAND: Command = Command {
    syntax: Syntax {
        name: "logs",
        usage: "[OPTIONS] CONTAINER",
        about: "Fetch the logs of a container",
        flags: &[&[
            Flag::unsupported("details", None),
            Flag::switch("follow", Some('f'), "Go on with what it writes next"),
            Flag::value("since", None, "time", "Only what is newer (RFC 3339, seconds, 10m)"),
            Flag::value("tail", Some('n'), "lines", "Only so many lines at the end, or all"),
            Flag::switch("timestamps", Some('t'), "Show when each line was written"),
            Flag::value("until", None, "time", "Only what is older (RFC 3339, seconds, 10m)"),
        ]],
        least: 1,
        most: 1,
        stops_at_argument: false,
    },
    runs_process: false,
    run: |context, arguments| Box::pin(run(context, arguments)),
};

async fn run(context: &Context, arguments: &Arguments) -> Outcome {
    let moment = |text: &str| time::nanoseconds(text, Timestamp::now(), &zone::local());
    let request = LogsRequest {
        id: arguments.rest.first().cloned().unwrap_or_default(),
        follow: arguments.on("follow"),
        tail: arguments.parsed("tail", names::tail)?.flatten(),
        since_ns: arguments.parsed("since", moment)?,
        until_ns: arguments.parsed("until", moment)?,
    };
    let mut containers = context.client().await?.containers();
    let mut records = containers.logs(request).await?.into_inner();
    let mut printer = Printer::new(
        BufWriter::new(io::stdout().lock()),
        BufWriter::new(io::stderr().lock()),
        arguments.on("timestamps"),
    );
    loop {
        // What is there already is written at once; before a wait all of it must be out.
        let record = match records.next().now_or_never() {
            Some(record) => record,
            None => {
                printer.flush()?;
                records.next().await
            }
        };
        match record {
            Some(record) => printer.print(&record?)?,
            None => break,
        }
    }
    printer.flush()?;
    Ok(0)
}

/// Writes records to the stream they came from.
struct Printer<O: Write, E: Write> {
    out: O,
    err: E,
    timestamps: bool,
    /// A record may be a part of a line: the next one of its stream has no time of its own then.
    out_begins: bool,
    err_begins: bool,
}

impl<O: Write, E: Write> Printer<O, E> {
    fn new(out: O, err: E, timestamps: bool) -> Self {
        Self { out, err, timestamps, out_begins: true, err_begins: true }
    }

    fn print(&mut self, record: &LogRecord) -> Result<(), Failure> {
        let (stream, begins): (&mut dyn Write, &mut bool) = match record.stream() {
            Stream::Stdout => (&mut self.out, &mut self.out_begins),
            Stream::Stderr => (&mut self.err, &mut self.err_begins),
        };
        if self.timestamps && *begins {
            let time = Timespec {
                tv_sec: record.time_ns.div_euclid(1_000_000_000),
                tv_nsec: record.time_ns.rem_euclid(1_000_000_000),
            };
            stream.write_all(rfc3339(time).as_bytes())?;
            stream.write_all(b" ")?;
        }
        stream.write_all(&record.bytes)?;
        *begins = record.bytes.ends_with(b"\n");
        Ok(())
    }

    fn flush(&mut self) -> Result<(), Failure> {
        self.out.flush()?;
        Ok(self.err.flush()?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_stands_before_each_line_and_not_before_its_parts() {
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let mut printer = Printer::new(&mut out, &mut err, true);
        let records = [
            (Stream::Stdout, &b"one\n"[..]),
            (Stream::Stdout, b"two "),
            (Stream::Stderr, b"bad\n"),
            (Stream::Stdout, b"parts\n"),
        ];
        for (index, (stream, bytes)) in records.into_iter().enumerate() {
            let time_ns = 1_000_000_000 * index as i64 + 5;
            let bytes = bytes::Bytes::from_static(bytes);
            printer.print(&LogRecord { time_ns, stream: stream.into(), bytes }).unwrap();
        }
        assert_eq!(
            String::from_utf8(out).unwrap(),
            "1970-01-01T00:00:00.000000005Z one\n1970-01-01T00:00:01.000000005Z two parts\n"
        );
        assert_eq!(String::from_utf8(err).unwrap(), "1970-01-01T00:00:02.000000005Z bad\n");
    }
}
