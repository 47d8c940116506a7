//! Reading the logs that shims write, json-file's or CRI's: from the end or a point in time, across files that
//! were put aside, and on as the container writes.
//!
//! What is in memory is one piece of a file and the records in it. A line that is no record is left
//! out; times and bytes are those of the shim.

mod files;
mod follow;
mod line;
mod reader;

use std::collections::VecDeque;
use std::path::PathBuf;

use futures_util::stream;
use isula_core::container::{Exit, LogDriver};
use isula_core::error::{ErrorKind, PortError};
use isula_core::ports::{ItemStream, LogOptions, LogRecord, LogSource, Result};
use isulad_shim::protocol::LOG;
use jiff::Timestamp;
use tokio::sync::watch;

use follow::Changes;
use line::Format;
use reader::{Progress, Reader};

/// Opens a log. `ended` tells the end of the container, if it runs: then, with `options.follow`,
/// the log ends.
///
/// # Errors
/// `Unsupported` when the container keeps no log; those of the file system.
pub async fn read(
    source: LogSource,
    options: LogOptions,
    ended: Option<watch::Receiver<Option<Exit>>>,
) -> Result<ItemStream<LogRecord>> {
    let (log, format) = match &source.cri_log {
        Some(log) => (PathBuf::from(log.full()), Format::Cri),
        None => (source.bundle.join(LOG), Format::Json),
    };
    if source.log.driver == LogDriver::None && format == Format::Json {
        let text = format!("container {} keeps no log (log driver none)", source.id.short());
        return Err(PortError::new(ErrorKind::Unsupported, text));
    }
    let failed = |error| {
        let text = format!("cannot read the log of container {}", source.id.short());
        PortError::io(text, error)
    };
    // Before the first look, so that nothing comes unseen between the two.
    let changes = match (&ended, options.follow) {
        (Some(_), true) => {
            Some(Changes::of(log.parent().unwrap_or(&source.bundle)).map_err(failed)?)
        }
        _ => None,
    };
    let tail = options.tail;
    let reader = tokio::task::spawn_blocking(move || Reader::open((&log, format), tail)).await;
    let reader = reader.map_err(broken)?.map_err(failed)?;
    let log = Log {
        reader: Some(reader),
        records: VecDeque::new(),
        since: options.since,
        until: options.until,
        changes,
        ended,
    };
    Ok(Box::pin(stream::unfold(log, next)))
}

fn broken(error: tokio::task::JoinError) -> PortError {
    PortError::with_source(ErrorKind::Internal, "a task of the daemon broke off", error)
}

/// A log that is being read.
struct Log {
    /// Gone once there is nothing more to come.
    reader: Option<Reader>,
    records: VecDeque<LogRecord>,
    since: Option<Timestamp>,
    until: Option<Timestamp>,
    changes: Option<Changes>,
    ended: Option<watch::Receiver<Option<Exit>>>,
}

async fn next(mut log: Log) -> Option<(Result<LogRecord>, Log)> {
    loop {
        while let Some(record) = log.records.pop_front() {
            if log.until.is_some_and(|until| record.at > until) {
                // Later ones are younger still.
                return None;
            }
            if log.since.is_none_or(|since| record.at >= since) {
                return Some((Ok(record), log));
            }
        }
        // What the container wrote before its end is there once the end is known.
        let last = log.has_ended();
        match log.fill().await? {
            Ok(Progress::Some) => {}
            Ok(Progress::UpToDate) if last || !log.wait().await => log.reader = None,
            Ok(Progress::UpToDate) => {}
            Err(error) => return Some((Err(error), log)),
        }
    }
}

impl Log {
    fn has_ended(&self) -> bool {
        // A sender that is gone belongs to a container that was cleaned up.
        self.ended
            .as_ref()
            .is_none_or(|ended| ended.borrow().is_some() || ended.has_changed().is_err())
    }

    /// Reads the next piece; `None` at the end.
    async fn fill(&mut self) -> Option<Result<Progress>> {
        let mut reader = self.reader.take()?;
        let filled = tokio::task::spawn_blocking(move || {
            let mut records = VecDeque::new();
            let progress = reader.fill(&mut records);
            (reader, records, progress)
        });
        match filled.await {
            Ok((reader, records, Ok(progress))) => {
                (self.reader, self.records) = (Some(reader), records);
                Some(Ok(progress))
            }
            Ok((_, _, Err(error))) => Some(Err(PortError::io("cannot read the log", error))),
            Err(error) => Some(Err(broken(error))),
        }
    }

    /// Waits until there may be more; false when there will be nothing that is wanted.
    async fn wait(&mut self) -> bool {
        let (Some(changes), Some(ended)) = (&self.changes, &mut self.ended) else { return false };
        let time = async {
            match self.until {
                None => std::future::pending().await,
                Some(until) => {
                    let left = until.duration_since(Timestamp::now());
                    // One in the past is over at once.
                    tokio::time::sleep(left.try_into().unwrap_or_default()).await;
                }
            }
        };
        let end = ended.wait_for(Option::is_some);
        let (change, end, time) =
            (std::pin::pin!(changes.next()), std::pin::pin!(end), std::pin::pin!(time));
        let either = futures_util::future::select(change, end);
        match futures_util::future::select(either, time).await {
            futures_util::future::Either::Left(_) => true,
            futures_util::future::Either::Right(_) => false,
        }
    }
}

#[cfg(test)]
mod tests;
