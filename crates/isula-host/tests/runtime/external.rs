//! External runtimes: `runc` and `crun`, those that are installed. One of them has to be. `crun`
//! refuses control groups of version 1 beside a version 2 that has controllers.

use super::bench::*;
use isula_core::error::ErrorKind;
use isula_core::ports::{Attach, ProcessId, Runtime, TerminalSize};
use isula_core::signal::Signal;
use isula_host::runtime::ExternalRuntime;
use lcr::cgroup::{Hierarchies, Version};
use std::collections::BTreeMap;
use std::time::Duration;

fn installed() -> BTreeMap<String, ExternalRuntime> {
    let directories = ["/usr/sbin", "/usr/bin", "/usr/local/sbin", "/usr/local/bin"];
    let unified = Hierarchies::detect().unwrap().version() == Version::V2;
    let found: BTreeMap<_, _> = ["runc", "crun"]
        .iter()
        .filter(|name| unified || **name == "runc")
        .flat_map(|name| {
            directories.iter().map(move |directory| (name, format!("{directory}/{name}")))
        })
        .filter(|(_, path)| std::path::Path::new(path).exists())
        .map(|(name, path)| ((*name).to_owned(), ExternalRuntime { path, args: Vec::new() }))
        .collect();
    assert!(!found.is_empty(), "install runc or crun: apt-get install runc crun");
    found
}

#[tokio::test(flavor = "multi_thread")]
async fn an_external_runtime_does_all_that_ours_does() {
    let runtimes = installed();
    for name in runtimes.keys() {
        let bench = Bench::with(&format!("ext{name}"), runtimes.clone(), Duration::from_secs(60));
        let wish = |overlay| Wish { runtime: name.clone(), overlay, ..Wish::default() };
        for overlay in [false, true] {
            let launch = bench.launch(wish(overlay), &["sh", "-c", "echo hello; exit 23"]);
            assert_eq!(bench.run(&launch).await.code, 23, "{name}");
            assert_eq!(bench.log(&launch).await, "hello\n");
        }
        for (command, kind) in
            [("nosuch", ErrorKind::CommandNotFound), ("/etc/plain", ErrorKind::NotExecutable)]
        {
            let launch = bench.launch(wish(true), &[command]);
            let error = bench.runtimes.start(&launch).await.err().unwrap();
            assert_eq!(error.kind(), kind, "{name}: {error}");
            assert!(!bench.state(&launch.id).exists());
        }
        processes(&bench, wish(true)).await;
        terminal(&bench, wish(true)).await;
        bench.finish().await;
    }
}

async fn processes(bench: &Bench, wish: Wish) {
    let script = "trap 'exit 9' TERM; echo up; while :; do sleep 0.05; done";
    let launch = bench.launch(wish, &["sh", "-c", script]);
    let (run, _) = bench.start(&launch).await;
    bench.wait_for_log(&launch, "up").await;
    let exec = ProcessId("one".into());
    let added = process(false, &["sh", "-c", "cat; exit 5"]);
    let started = bench.runtimes.exec(&launch.id, &exec, &added, Some(ALL)).await.unwrap();
    let mut session = started.session.unwrap();
    session.input.write("through\n".into()).await.unwrap();
    session.input.close().await.unwrap();
    assert_eq!(drain(session).await, ("through\n".into(), String::new(), Some(5)));
    assert_eq!(started.exit.await.unwrap(), 5);
    let missing = process(false, &["nosuch"]);
    let error = bench.runtimes.exec(&launch.id, &exec, &missing, None).await.err().unwrap();
    assert_eq!(error.kind(), ErrorKind::CommandNotFound, "{error}");
    bench.runtimes.pause(&launch.id).await.unwrap();
    bench.runtimes.resume(&launch.id).await.unwrap();
    bench.runtimes.kill(&launch.id, Signal::TERM, false).await.unwrap();
    assert_eq!(bench.runtimes.wait(&launch.id).await.unwrap().code, 9);
    bench.runtimes.clean(&launch.id, &launch.runtime).await.unwrap();
    gone(run.shim_pid, run.shim_start).await;
}

async fn terminal(bench: &Bench, wish: Wish) {
    let attach = Attach { size: Some(TerminalSize { rows: 12, columns: 34 }), ..ALL };
    let wish = Wish { tty: true, open_stdin: true, attach: Some(attach), ..wish };
    let launch = bench.launch(wish, &["sh", "-c", "read line; stty size; exit 4"]);
    let (_, session) = bench.start(&launch).await;
    let mut session = session.unwrap();
    session.input.write("x\n".into()).await.unwrap();
    assert!(drain(session).await.0.ends_with("12 34\r\n"));
    assert_eq!(bench.runtimes.wait(&launch.id).await.unwrap().code, 4);
    bench.runtimes.clean(&launch.id, &launch.runtime).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_container_of_an_external_runtime_whose_shim_was_killed_is_cleaned_up() {
    let runtimes = installed();
    for name in runtimes.keys() {
        let bench =
            Bench::with(&format!("extkill{name}"), runtimes.clone(), Duration::from_secs(60));
        let wish = Wish { runtime: name.clone(), overlay: true, ..Wish::default() };
        let launch = bench.launch(wish, &["sleep", "1000"]);
        let (run, _) = bench.start(&launch).await;
        let pidfd = isula_sys::process::open(run.shim_pid).unwrap();
        isula_sys::process::send_signal(std::os::fd::AsFd::as_fd(&pidfd), 9).unwrap();
        assert_eq!(bench.runtimes.wait(&launch.id).await.unwrap().code, 255);
        gone(run.pid, run.pid_start).await;
        bench.runtimes.clean(&launch.id, name).await.unwrap();
        let state = bench.settings.state_dir.join("runtimes").join(name).join(launch.id.as_str());
        assert!(!state.exists());
        bench.finish().await;
    }
}
