//! Tests of reading logs: files are written here as the shim writes them.

use super::*;
use futures_util::{FutureExt, StreamExt};
use isula_core::container::LogConfig;
use isula_core::id::ContainerId;
use std::fmt::Write as _;
use std::io::Write as _;
use std::path::Path;

fn source(bundle: &Path) -> LogSource {
    LogSource {
        id: ContainerId::from_random([7; 32]),
        bundle: bundle.to_owned(),
        log: LogConfig::default(),
        cri_log: None,
    }
}

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

/// Records whose text and second are the number.
fn lines(numbers: impl IntoIterator<Item = i64>) -> String {
    numbers.into_iter().fold(String::new(), |mut text, number| {
        let time = at(number);
        writeln!(text, r#"{{"log":"{number}\n","stream":"stdout","time":"{time}"}}"#).unwrap();
        text
    })
}

async fn numbers(stream: ItemStream<LogRecord>) -> Vec<i64> {
    stream.map(|record| number(record.unwrap())).collect().await
}

fn number(record: LogRecord) -> i64 {
    let number: i64 = std::str::from_utf8(&record.bytes).unwrap().trim().parse().unwrap();
    assert_eq!(record.at, at(number));
    number
}

/// Three files of 1000 records: 0 to 2999.
fn three_files() -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    for (name, range) in
        [("console.log.2", 0..1000), ("console.log.1", 1000..2000), ("console.log", 2000..3000)]
    {
        std::fs::write(directory.path().join(name), lines(range)).unwrap();
    }
    directory
}

#[tokio::test]
async fn all_files_are_read_in_order() {
    let directory = three_files();
    let stream = read(source(directory.path()), LogOptions::default(), None).await.unwrap();
    assert_eq!(numbers(stream).await, (0..3000).collect::<Vec<_>>());
}

#[tokio::test]
async fn options_choose_a_part() {
    let directory = three_files();
    let options = |tail, since: Option<i64>, until: Option<i64>| LogOptions {
        tail,
        since: since.map(at),
        until: until.map(at),
        follow: false,
    };
    for (options, wanted) in [
        (options(Some(0), None, None), 0..0),
        (options(Some(5), None, None), 2995..3000),
        (options(Some(1000), None, None), 2000..3000),
        (options(Some(1001), None, None), 1999..3000),
        (options(Some(2500), None, None), 500..3000),
        (options(Some(u64::MAX), None, None), 0..3000),
        (options(None, Some(2990), None), 2990..3000),
        (options(None, None, Some(3)), 0..4),
        (options(None, Some(1500), Some(1502)), 1500..1503),
        (options(Some(10), Some(2995), None), 2995..3000),
        (options(None, Some(5000), None), 0..0),
    ] {
        let text = format!("{options:?}");
        let stream = read(source(directory.path()), options, None).await.unwrap();
        assert_eq!(numbers(stream).await, wanted.collect::<Vec<_>>(), "{text}");
    }
}

#[tokio::test]
async fn damaged_and_endless_lines_are_left_out() {
    let directory = tempfile::tempdir().unwrap();
    let mut text = lines([1]);
    text += "{\"log\":\"torn\n\n\u{0}\u{0}\u{0}\n";
    text += &lines([2]);
    text += &"x".repeat(3 << 20);
    text.push('\n');
    text += &lines([3]);
    text += "{\"log\":\"not yet";
    std::fs::write(directory.path().join("console.log"), text).unwrap();
    let stream = read(source(directory.path()), LogOptions::default(), None).await.unwrap();
    assert_eq!(numbers(stream).await, [1, 2, 3]);
}

#[tokio::test]
async fn no_file_is_an_empty_log_and_no_driver_is_an_error() {
    let directory = tempfile::tempdir().unwrap();
    let stream = read(source(directory.path()), LogOptions::default(), None).await.unwrap();
    assert_eq!(numbers(stream).await, [0i64; 0]);
    let mut without = source(directory.path());
    without.log.driver = LogDriver::None;
    let error = read(without, LogOptions::default(), None).await.err().unwrap();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
}

struct Writer {
    directory: tempfile::TempDir,
    file: std::fs::File,
}

impl Writer {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let file = std::fs::File::create(directory.path().join("console.log")).unwrap();
        Self { directory, file }
    }

    fn write(&mut self, number: i64) {
        self.file.write_all(lines([number]).as_bytes()).unwrap();
    }

    fn rotate(&mut self, kept: u32) {
        let path = |number: u32| match number {
            0 => self.directory.path().join("console.log"),
            number => self.directory.path().join(format!("console.log.{number}")),
        };
        for number in (0..kept).rev() {
            let _ = std::fs::rename(path(number), path(number + 1));
        }
        if kept == 0 {
            std::fs::remove_file(path(0)).unwrap();
        }
        self.file = std::fs::File::create(path(0)).unwrap();
    }
}

const FOLLOW: LogOptions = LogOptions { follow: true, tail: None, since: None, until: None };

#[tokio::test]
async fn a_followed_log_goes_on_across_rotations_until_the_container_ends() {
    let mut writer = Writer::new();
    let ended = watch::Sender::new(None);
    writer.write(0);
    let source = source(writer.directory.path());
    let mut stream = read(source, FOLLOW, Some(ended.subscribe())).await.unwrap();
    assert_eq!(number(stream.next().await.unwrap().unwrap()), 0);
    assert!(stream.next().now_or_never().is_none());
    writer.write(1);
    assert_eq!(number(stream.next().await.unwrap().unwrap()), 1);
    // Written, put aside twice, and written again before anybody looks.
    writer.write(2);
    writer.rotate(3);
    writer.write(3);
    writer.rotate(3);
    writer.write(4);
    for wanted in [2, 3, 4] {
        assert_eq!(number(stream.next().await.unwrap().unwrap()), wanted);
    }
    writer.write(5);
    ended.send_replace(Some(Exit::unknown(at(0))));
    assert_eq!(numbers(stream).await, [5]);
}

#[tokio::test]
async fn a_log_of_one_file_is_followed_to_the_next_one() {
    let mut writer = Writer::new();
    let ended = watch::Sender::new(None);
    writer.write(0);
    let source = source(writer.directory.path());
    let mut stream = read(source, FOLLOW, Some(ended.subscribe())).await.unwrap();
    assert_eq!(number(stream.next().await.unwrap().unwrap()), 0);
    writer.write(1);
    writer.rotate(0);
    writer.write(2);
    assert_eq!(number(stream.next().await.unwrap().unwrap()), 1);
    assert_eq!(number(stream.next().await.unwrap().unwrap()), 2);
}

#[tokio::test]
async fn a_follower_ends_with_a_container_that_is_cleaned_up_or_does_not_run() {
    let mut writer = Writer::new();
    writer.write(0);
    let ended = watch::Sender::new(None);
    let source = source(writer.directory.path());
    let stream = read(source.clone(), FOLLOW, Some(ended.subscribe())).await.unwrap();
    drop(ended);
    assert_eq!(numbers(stream).await, [0]);
    let stream = read(source, FOLLOW, None).await.unwrap();
    assert_eq!(numbers(stream).await, [0]);
}

#[tokio::test(start_paused = true)]
async fn a_follower_stops_at_the_time_that_was_asked_for() {
    let writer = Writer::new();
    let ended = watch::Sender::new(None);
    let until = Timestamp::now() + std::time::Duration::from_hours(1);
    let options = LogOptions { until: Some(until), ..FOLLOW };
    let stream = read(source(writer.directory.path()), options, Some(ended.subscribe())).await;
    // The clock of the test leaps to the only thing that it waits for.
    assert_eq!(numbers(stream.unwrap()).await, [0i64; 0]);
}

#[tokio::test]
async fn a_line_that_is_written_in_parts_comes_once_and_whole() {
    let mut writer = Writer::new();
    let ended = watch::Sender::new(None);
    let source = source(writer.directory.path());
    let mut stream = read(source, FOLLOW, Some(ended.subscribe())).await.unwrap();
    let text = lines([8]);
    let (begin, end) = text.split_at(20);
    writer.file.write_all(begin.as_bytes()).unwrap();
    assert!(stream.next().now_or_never().is_none());
    writer.file.write_all(end.as_bytes()).unwrap();
    assert_eq!(number(stream.next().await.unwrap().unwrap()), 8);
}
