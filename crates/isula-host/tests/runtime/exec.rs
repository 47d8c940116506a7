//! Exec processes.

use super::bench::*;
use futures_util::StreamExt;
use isula_core::error::ErrorKind;
use isula_core::ports::{Attach, Launch, ProcessId, Runtime, TerminalSize};
use isula_core::signal::Signal;

fn name(text: &str) -> ProcessId {
    ProcessId(text.to_owned())
}

async fn sleeper(bench: &Bench, wish: Wish) -> Launch {
    let launch = bench.launch(wish, &["sleep", "1000"]);
    bench.start(&launch).await;
    launch
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_is_added_with_its_own_streams_and_status() {
    let bench = Bench::new("exec");
    let launch = sleeper(&bench, Wish { overlay: true, ..Wish::default() }).await;
    for number in 0..10 {
        let script = "echo out $(cat); echo err >&2; exit 12";
        let process = process(false, &["sh", "-c", script]);
        let id = name(&format!("e{number}"));
        let started = bench.runtimes.exec(&launch.id, &id, &process, Some(ALL)).await.unwrap();
        assert!(started.pid > 0);
        let mut session = started.session.unwrap();
        session.input.write("in".into()).await.unwrap();
        session.input.close().await.unwrap();
        let told = drain(session).await;
        assert_eq!(told, ("out in\n".to_owned(), "err\n".to_owned(), Some(12)));
        assert_eq!(started.exit.await.unwrap(), 12);
    }
    assert_eq!(bench.log(&launch).await, "", "its output is not the container's");
    bench.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_has_a_terminal_of_its_own() {
    let bench = Bench::new("exectty");
    let launch = sleeper(&bench, Wish::default()).await;
    let attach = Attach { size: Some(TerminalSize { rows: 21, columns: 61 }), ..ALL };
    let process = process(true, &["sh", "-c", "read line; stty size; exit 3"]);
    let started =
        bench.runtimes.exec(&launch.id, &name("t"), &process, Some(attach)).await.unwrap();
    let mut session = started.session.unwrap();
    session.input.write("x\n".into()).await.unwrap();
    let (stdout, stderr, code) = drain(session).await;
    assert_eq!((&*stdout, &*stderr, code), ("x\r\n21 61\r\n", "", Some(3)));
    bench.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_detached_process_is_reaped_and_its_status_is_told() {
    let bench = Bench::new("detached");
    let launch = sleeper(&bench, Wish::default()).await;
    for tty in [false, true] {
        let process = process(tty, &["sh", "-c", "seq 100000; exit 21"]);
        let started = bench.runtimes.exec(&launch.id, &name("d"), &process, None).await.unwrap();
        assert!(started.session.is_none());
        assert_eq!(started.exit.await.unwrap(), 21);
    }
    let pids = bench.runtimes.pids(&launch.id).await.unwrap();
    assert_eq!(pids.len(), 1, "{pids:?}");
    bench.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_cannot_be_started_has_its_kind() {
    let bench = Bench::new("execmissing");
    let launch = sleeper(&bench, Wish::default()).await;
    for (command, kind) in
        [("nosuch", ErrorKind::CommandNotFound), ("/etc/plain", ErrorKind::NotExecutable)]
    {
        let process = process(false, &[command]);
        let error = bench.runtimes.exec(&launch.id, &name("m"), &process, Some(ALL)).await;
        assert_eq!(error.err().unwrap().kind(), kind);
    }
    bench.runtimes.kill(&launch.id, Signal::KILL, false).await.unwrap();
    bench.runtimes.wait(&launch.id).await.unwrap();
    let process = process(false, &["true"]);
    let error = bench.runtimes.exec(&launch.id, &name("m"), &process, None).await;
    assert_eq!(error.err().unwrap().kind(), ErrorKind::WrongState);
    bench.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn many_processes_run_at_once_and_end_with_their_container() {
    let bench = Bench::new("many");
    let launch = sleeper(&bench, Wish::default()).await;
    let process = process(false, &["sh", "-c", "sleep 1000 & echo up; wait"]);
    let mut sessions = Vec::new();
    for number in 0..30 {
        let id = name(&format!("p{number}"));
        let started = bench.runtimes.exec(&launch.id, &id, &process, Some(ALL)).await.unwrap();
        let mut session = started.session.unwrap();
        session.output.next().await.unwrap().unwrap();
        sessions.push((session, started.exit));
    }
    assert_eq!(bench.runtimes.pids(&launch.id).await.unwrap().len(), 61);
    bench.runtimes.kill(&launch.id, Signal::KILL, false).await.unwrap();
    for (session, exit) in sessions {
        assert_eq!(drain(session).await.2, Some(137));
        assert_eq!(exit.await.unwrap(), 137);
    }
    bench.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_waits_for_a_slow_client_and_nobody_else_does() {
    let bench = Bench::new("execslow");
    let wish = Wish::default();
    let launch = bench.launch(wish, &["sh", "-c", "while :; do echo tick; sleep 0.05; done"]);
    bench.start(&launch).await;
    let process = process(false, &["seq", "400000"]);
    let slow = bench.runtimes.exec(&launch.id, &name("s"), &process, Some(ALL)).await.unwrap();
    bench.wait_for_log(&launch, "tick\ntick\ntick\n").await;
    let (stdout, _, code) = drain(slow.session.unwrap()).await;
    assert_eq!((stdout.lines().count(), code), (400_000, Some(0)));
    bench.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_added_process_is_confined_as_the_container_is() {
    let bench = Bench::new("execseccomp");
    let launch = sleeper(&bench, Wish { seccomp: true, ..Wish::default() }).await;
    let script = "busybox mkdir /tmp/x; echo $?; busybox grep Seccomp: /proc/self/status";
    let process = process(false, &["sh", "-c", script]);
    let started = bench.runtimes.exec(&launch.id, &name("c"), &process, Some(ALL)).await.unwrap();
    let (stdout, stderr, _) = drain(started.session.unwrap()).await;
    assert_eq!(stdout, "1\nSeccomp:\t2\n", "{stderr}");
    bench.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_leaves_a_child_ends_for_its_client() {
    let bench = Bench::new("execchild");
    let launch = sleeper(&bench, Wish::default()).await;
    let process = process(false, &["sh", "-c", "sleep 1000 & echo parent; exit 2"]);
    let started = bench.runtimes.exec(&launch.id, &name("b"), &process, Some(ALL)).await.unwrap();
    let (stdout, _, code) = drain(started.session.unwrap()).await;
    assert_eq!((&*stdout, code), ("parent\n", Some(2)));
    bench.finish().await;
}
