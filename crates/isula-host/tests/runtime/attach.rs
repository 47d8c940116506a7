//! Clients of the init process.

use super::bench::*;
use futures_util::{FutureExt, StreamExt};
use isula_core::error::ErrorKind;
use isula_core::ports::{Attach, Chunk, Runtime, Session, TerminalSize};
use isula_core::signal::Signal;

#[tokio::test(flavor = "multi_thread")]
async fn the_first_client_misses_no_byte() {
    let bench = Bench::new("first");
    for number in 0..20 {
        let wish = Wish { attach: Some(ALL), ..Wish::default() };
        let launch = bench.launch(wish, &["sh", "-c", "echo out; echo err >&2"]);
        let (_, session) = bench.start(&launch).await;
        let (stdout, stderr, code) = drain(session.unwrap()).await;
        assert_eq!((&*stdout, &*stderr, code), ("out\n", "err\n", None), "{number}");
    }
    bench.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn all_of_a_long_output_arrives_at_a_client_that_reads() {
    let bench = Bench::new("long");
    let wish = Wish { attach: Some(ALL), ..Wish::default() };
    let launch = bench.launch(wish, &["seq", "300000"]);
    let (_, session) = bench.start(&launch).await;
    let (stdout, _, _) = drain(session.unwrap()).await;
    assert_eq!(stdout.lines().count(), 300_000);
    assert!(stdout.ends_with("299999\n300000\n"));
    bench.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn input_reaches_the_container_and_its_end_too() {
    let bench = Bench::new("input");
    let wish = Wish { open_stdin: true, attach: Some(ALL), ..Wish::default() };
    let launch = bench.launch(wish, &["cat"]);
    let (_, session) = bench.start(&launch).await;
    let Session { mut input, mut output } = session.unwrap();
    let data: Vec<u8> = (0..1_000_000u32).map(|number| (number % 251) as u8).collect();
    let sending = tokio::spawn({
        let data = bytes::Bytes::from(data.clone());
        async move {
            input.write(data).await.unwrap();
            input.close().await.unwrap();
            input
        }
    });
    let mut received = Vec::new();
    while let Some(chunk) = output.next().await {
        if let Chunk::Output(_, bytes) = chunk.unwrap() {
            received.extend_from_slice(&bytes);
        }
    }
    assert!(received == data);
    drop(sending.await.unwrap());
    assert_eq!(bench.runtimes.wait(&launch.id).await.unwrap().code, 0);
    bench.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn detaching_closes_the_input_only_when_asked() {
    let bench = Bench::new("detach");
    for stdin_once in [true, false] {
        let wish = Wish { open_stdin: true, stdin_once, attach: Some(ALL), ..Wish::default() };
        let launch = bench.launch(wish, &["sh", "-c", "echo ready; cat; echo end"]);
        let (_, session) = bench.start(&launch).await;
        bench.wait_for_log(&launch, "ready").await;
        drop(session);
        if stdin_once {
            assert_eq!(bench.runtimes.wait(&launch.id).await.unwrap().code, 0);
            continue;
        }
        let mut second = bench.runtimes.attach(&launch.id, ALL).await.unwrap();
        second.input.write("again\n".into()).await.unwrap();
        let chunk = second.output.next().await.unwrap().unwrap();
        assert!(matches!(chunk, Chunk::Output(_, bytes) if bytes == "again\n"));
        second.input.close().await.unwrap();
        assert_eq!(drain(second).await.0, "end\n");
        assert_eq!(bench.runtimes.wait(&launch.id).await.unwrap().code, 0);
    }
    bench.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_open_input_there_is_none() {
    let bench = Bench::new("closed");
    let wish = Wish { attach: Some(ALL), ..Wish::default() };
    let launch = bench.launch(wish, &["cat"]);
    let (_, session) = bench.start(&launch).await;
    assert_eq!(drain(session.unwrap()).await.0, "");
    assert_eq!(bench.runtimes.wait(&launch.id).await.unwrap().code, 0);
    bench.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_terminal_has_a_size_and_changes_it() {
    let bench = Bench::new("tty");
    let size = TerminalSize { rows: 33, columns: 101 };
    let attach = Attach { size: Some(size), ..ALL };
    let wish = Wish { tty: true, open_stdin: true, attach: Some(attach), ..Wish::default() };
    let script = "stty size; tty; read line; stty size; echo \"[$line]\"";
    let launch = bench.launch(wish, &["sh", "-c", script]);
    let (_, session) = bench.start(&launch).await;
    let mut session = session.unwrap();
    bench.wait_for_log(&launch, "/dev/").await;
    session.input.resize(TerminalSize { rows: 40, columns: 90 }).await.unwrap();
    session.input.write("typed\n".into()).await.unwrap();
    let (stdout, stderr, _) = drain(session).await;
    assert!(stdout.ends_with("typed\r\n40 90\r\n[typed]\r\n"), "{stdout:?}");
    assert!(stdout.contains("/dev/"), "{stdout:?}");
    assert_eq!(stderr, "");
    assert_eq!(bench.runtimes.wait(&launch.id).await.unwrap().code, 0);
    bench.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_does_not_read_is_cut_off_and_the_container_goes_on() {
    let bench = Bench::new("stuck");
    let wish = Wish { attach: Some(ALL), ..Wish::default() };
    let launch = bench.launch(wish, &["sh", "-c", "seq 200000; exit 6"]);
    let (_, stuck) = bench.start(&launch).await;
    assert_eq!(bench.runtimes.wait(&launch.id).await.unwrap().code, 6);
    assert_eq!(bench.log(&launch).await.lines().count(), 200_000);
    let mut output = stuck.unwrap().output;
    let mut last = None;
    while let Some(chunk) = output.next().await {
        last = Some(chunk);
    }
    assert_eq!(last.unwrap().unwrap_err().kind(), ErrorKind::Unavailable);
    bench.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_client_shares_the_output_and_a_late_one_is_refused() {
    let bench = Bench::new("second");
    let wish = Wish { open_stdin: true, attach: Some(ALL), ..Wish::default() };
    let launch = bench.launch(wish, &["cat"]);
    let (_, first) = bench.start(&launch).await;
    let mut first = first.unwrap();
    let watcher = Attach { stdin: false, ..ALL };
    let mut second = bench.runtimes.attach(&launch.id, watcher).await.unwrap();
    second.input.write("ignored\n".into()).await.unwrap();
    first.input.write("shared\n".into()).await.unwrap();
    first.input.close().await.unwrap();
    assert_eq!(drain(first).await.0, "shared\n");
    assert_eq!(drain(second).await.0, "shared\n");
    bench.runtimes.wait(&launch.id).await.unwrap();
    let late = bench.runtimes.attach(&launch.id, ALL).await;
    assert_eq!(late.err().unwrap().kind(), ErrorKind::WrongState);
    bench.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_without_output_waits_for_nothing() {
    let bench = Bench::new("quiet");
    let wish = Wish { attach: Some(Attach { stdout: false, ..ALL }), ..Wish::default() };
    let launch = bench.launch(wish, &["sh", "-c", "echo out; echo err >&2; sleep 1000"]);
    let (_, session) = bench.start(&launch).await;
    let mut session = session.unwrap();
    let chunk = session.output.next().await.unwrap().unwrap();
    assert!(
        matches!(chunk, Chunk::Output(isula_core::ports::Output::Stderr, bytes) if bytes == "err\n")
    );
    assert!(session.output.next().now_or_never().is_none());
    bench.runtimes.kill(&launch.id, Signal::KILL, false).await.unwrap();
    assert!(session.output.next().await.is_none());
    bench.finish().await;
}
