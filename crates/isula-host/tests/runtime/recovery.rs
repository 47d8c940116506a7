//! Containers that outlive a daemon.

use super::bench::*;
use isula_core::container::Exit;
use isula_core::ports::{Found, Launch, Runtime};
use isula_core::signal::Signal;
use isulad_shim::protocol::EXIT;
use std::sync::Arc;

/// A daemon of its own, which can die: all of its connections and tasks end with its runtime.
struct Daemon {
    runtime: tokio::runtime::Runtime,
    runtimes: Arc<isula_host::runtime::Runtimes>,
}

impl Daemon {
    fn new(bench: &Bench) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
        Self { runtime, runtimes: bench.successor() }
    }

    async fn start(&self, launch: &Launch) -> isula_core::container::Run {
        let (runtimes, launch) = (Arc::clone(&self.runtimes), launch.clone());
        let started = self.runtime.spawn(async move { runtimes.start(&launch).await });
        started.await.unwrap().unwrap().0
    }

    async fn die(self) {
        let Self { runtime, runtimes } = self;
        drop(runtimes);
        tokio::task::spawn_blocking(move || drop(runtime)).await.unwrap();
    }
}

async fn recover(bench: &Bench, launch: &Launch) -> Found {
    bench.runtimes.recover(&launch.id, "lcr", launch.bundle.clone()).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_container_goes_on_without_a_daemon_and_is_found_again() {
    let bench = Bench::new("reconnect");
    let first = Daemon::new(&bench);
    let script = "trap 'echo bye; exit 7' TERM; while :; do echo tick; sleep 0.02; done";
    let launch = bench
        .launch(Wish { overlay: true, seccomp: true, ..Wish::default() }, &["sh", "-c", script]);
    let run = first.start(&launch).await;
    first.die().await;
    let Found::Running { run: found, paused } = recover(&bench, &launch).await else {
        panic!("not found running")
    };
    assert_eq!((found, paused), (run.clone(), false));
    bench.runtimes.pause(&launch.id).await.unwrap();
    let second = Daemon::new(&bench);
    let (runtimes, id, bundle) =
        (Arc::clone(&second.runtimes), launch.id.clone(), launch.bundle.clone());
    let found = second.runtime.spawn(async move { runtimes.recover(&id, "lcr", bundle).await });
    assert_eq!(found.await.unwrap().unwrap(), Found::Running { run, paused: true });
    second.die().await;
    // The first of them was replaced, and connects once more.
    let third = bench.successor();
    assert!(matches!(
        third.recover(&launch.id, "lcr", launch.bundle.clone()).await.unwrap(),
        Found::Running { .. }
    ));
    third.resume(&launch.id).await.unwrap();
    let confined = process(false, &["sh", "-c", "busybox mkdir /tmp/x || exit 44"]);
    let name = isula_core::ports::ProcessId("after".into());
    let exec = third.exec(&launch.id, &name, &confined, None).await.unwrap();
    assert_eq!(exec.exit.await.unwrap(), 44, "the filter was found again");
    third.kill(&launch.id, Signal::TERM, false).await.unwrap();
    assert_eq!(third.wait(&launch.id).await.unwrap().code, 7);
    assert!(bench.log_of(&third, &launch, Default::default()).await.ends_with("bye\n"));
    third.clean(&launch.id, "lcr").await.unwrap();
    bench.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_end_that_nobody_saw_is_recorded() {
    let bench = Bench::new("unseen");
    let daemon = Daemon::new(&bench);
    let script = "read line; echo last words; exit 37";
    let launch = bench.launch(Wish { open_stdin: true, ..Wish::default() }, &["sh", "-c", script]);
    let run = daemon.start(&launch).await;
    daemon.die().await;
    let pid = isula_sys::process::open(run.pid).unwrap();
    std::fs::write(format!("/proc/{}/fd/0", run.pid), "go\n").unwrap();
    gone(run.pid, run.pid_start).await;
    drop(pid);
    gone_or_zombie(run.shim_pid, run.shim_start).await;
    let record = std::fs::read_to_string(launch.bundle.join(EXIT)).unwrap();
    assert!(record.contains("\"exit_code\":37"), "{record}");
    let Found::Exited(Exit { code, error, .. }) = recover(&bench, &launch).await else {
        panic!("not found exited")
    };
    assert_eq!((code, error), (37, None));
    assert_eq!(bench.log(&launch).await, "last words\n");
    bench.runtimes.clean(&launch.id, "lcr").await.unwrap();
    assert!(!launch.bundle.join(EXIT).exists());
    assert_eq!(recover(&bench, &launch).await, Found::Nothing);
    bench.finish().await;
}

/// The dead daemon of these tests is this process: it does not reap what is a zombie for ever.
async fn gone_or_zombie(pid: i32, start: u64) {
    let pidfd = isula_sys::process::open(pid);
    if let (Ok(pidfd), Ok(found)) = (pidfd, isula_sys::process::start_time(pid))
        && found == start
    {
        let time = Some(std::time::Duration::from_secs(30));
        let waited = tokio::task::spawn_blocking(move || {
            isula_sys::process::wait_at_most(std::os::fd::AsFd::as_fd(&pidfd), time)
        });
        assert!(waited.await.unwrap().unwrap());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_shim_ends_its_container_without_a_record() {
    let bench = Bench::new("shimkill");
    let launch = bench.launch(Wish::default(), &["sleep", "1000"]);
    let (run, _) = bench.start(&launch).await;
    kill(run.shim_pid);
    let exit = bench.runtimes.wait(&launch.id).await.unwrap();
    assert_eq!((exit.code, exit.error.is_some()), (255, true));
    gone(run.pid, run.pid_start).await;
    bench.runtimes.clean(&launch.id, "lcr").await.unwrap();

    // The same while no daemon looks.
    let daemon = Daemon::new(&bench);
    let run = daemon.start(&launch).await;
    daemon.die().await;
    kill(run.shim_pid);
    gone_or_zombie(run.shim_pid, run.shim_start).await;
    let Found::Exited(exit) = recover(&bench, &launch).await else { panic!("not found exited") };
    assert_eq!((exit.code, exit.error.is_some()), (255, true));
    bench.runtimes.clean(&launch.id, "lcr").await.unwrap();
    assert_eq!(recover(&bench, &launch).await, Found::Nothing);
    bench.finish().await;
}

fn kill(pid: i32) {
    let pidfd = isula_sys::process::open(pid).unwrap();
    isula_sys::process::send_signal(std::os::fd::AsFd::as_fd(&pidfd), 9).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_container_whose_shim_does_not_answer_is_left_alone() {
    let bench = Bench::new("mute");
    let daemon = Daemon::new(&bench);
    let launch = bench.launch(Wish::default(), &["sleep", "1000"]);
    let run = daemon.start(&launch).await;
    daemon.die().await;
    // A shim of another version would listen and say nothing that is understood.
    let socket = bench.state(&launch.id).join(isulad_shim::protocol::SOCKET);
    std::fs::remove_file(&socket).unwrap();
    let result = bench.runtimes.recover(&launch.id, "lcr", launch.bundle.clone()).await;
    assert_eq!(result.unwrap_err().kind(), isula_core::error::ErrorKind::Unavailable);
    assert_eq!(isula_sys::process::start_time(run.pid).unwrap(), run.pid_start);
    bench.runtimes.clean(&launch.id, "lcr").await.unwrap();
    gone(run.pid, run.pid_start).await;
    bench.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn signals_for_a_group_of_processes_do_not_end_a_shim() {
    let bench = Bench::new("shimsignals");
    let launch = bench.launch(Wish::default(), &["sh", "-c", "echo up; sleep 1000"]);
    let (run, _) = bench.start(&launch).await;
    for signal in [1, 2, 3, 13, 15] {
        let pidfd = isula_sys::process::open(run.shim_pid).unwrap();
        isula_sys::process::send_signal(std::os::fd::AsFd::as_fd(&pidfd), signal).unwrap();
    }
    bench.wait_for_log(&launch, "up").await;
    let process = process(false, &["true"]);
    let name = isula_core::ports::ProcessId("x".into());
    let exec = bench.runtimes.exec(&launch.id, &name, &process, None).await.unwrap();
    assert_eq!(exec.exit.await.unwrap(), 0);
    bench.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_nobody_knows_is_swept_up() {
    let bench = Bench::new("sweep");
    let daemon = Daemon::new(&bench);
    let unknown = bench.launch(Wish::default(), &["sleep", "1000"]);
    let run = daemon.start(&unknown).await;
    let known = bench.launch(Wish::default(), &["sleep", "1000"]);
    let kept = daemon.start(&known).await;
    daemon.die().await;
    let swept = bench.runtimes.sweep(std::slice::from_ref(&known.id)).await.unwrap();
    assert_eq!(swept, std::slice::from_ref(&unknown.id));
    assert!(isula_sys::process::start_time(run.pid).is_err());
    assert!(!bench.state(&unknown.id).exists());
    assert_eq!(isula_sys::process::start_time(kept.pid).unwrap(), kept.pid_start);
    assert!(matches!(recover(&bench, &known).await, Found::Running { .. }));
    bench.runtimes.clean(&known.id, "lcr").await.unwrap();
    gone(kept.pid, kept.pid_start).await;
    bench.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn cleaning_is_idempotent_and_needs_no_container() {
    let bench = Bench::new("clean");
    let launch = bench.launch(Wish::default(), &["sleep", "1000"]);
    bench.runtimes.clean(&launch.id, "lcr").await.unwrap();
    let (run, _) = bench.start(&launch).await;
    bench.runtimes.clean(&launch.id, "lcr").await.unwrap();
    gone(run.pid, run.pid_start).await;
    bench.runtimes.clean(&launch.id, "lcr").await.unwrap();
    assert!(bench.runtimes.wait(&launch.id).await.is_err());
    bench.finish().await;
}
