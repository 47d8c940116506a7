//! The promises of [`Runtime`].

use std::{future::poll_fn, sync::Arc};

use bytes::Bytes;
use oci_spec::runtime::Process;

use super::id;
use crate::{
    error::ErrorKind,
    id::ContainerId,
    ports::{Attach, Chunk, Found, Launch, ProcessId, Runtime, Session},
    signal::Signal,
};

const ALL: Attach = Attach { stdin: true, stdout: true, stderr: true, size: None };

/// The runtime passes in an empty state directory. `launch` gives a start of `args` in a root file
/// system with busybox (its standard input open, its container's directory made), `process` a
/// further process in it.
///
/// # Panics
/// A promise is broken.
pub async fn runtime(
    runtime: Arc<dyn Runtime>,
    launch: impl Fn(&ContainerId, &[&str]) -> Launch,
    process: impl Fn(&[&str]) -> Process,
) {
    ends(&*runtime, &launch).await;
    fails(&*runtime, &launch).await;
    lives(&*runtime, &launch, &process).await;
    talks(&*runtime, &launch).await;
}

/// Exit statuses reach everyone who waits, early and late.
async fn ends(runtime: &dyn Runtime, launch: &impl Fn(&ContainerId, &[&str]) -> Launch) {
    let container = id(1);
    let launch = launch(&container, &["/bin/sh", "-c", "exit 7"]);
    runtime.verify(&launch).expect("the spec can be honoured");
    let (run, session) = runtime.start(&launch).await.expect("it starts");
    assert!(run.pid > 0 && run.shim_pid > 0 && session.is_none());
    for _ in 0..2 {
        assert_eq!(runtime.wait(&container).await.expect("it ends").code, 7);
    }
    runtime.kill(&container, Signal::KILL, true).await.expect("a process that is gone is no error");
    runtime.clean(&container, "lcr").await.expect("it is cleaned up");
    runtime.clean(&container, "lcr").await.expect("cleaning up again is no error");
}

/// A start that fails says why and leaves nothing.
async fn fails(runtime: &dyn Runtime, launch: &impl Fn(&ContainerId, &[&str]) -> Launch) {
    for (command, kind) in [
        ("/no/such/command", ErrorKind::CommandNotFound),
        ("/etc/passwd", ErrorKind::NotExecutable),
    ] {
        let container = id(2);
        let launch = launch(&container, &[command]);
        let Err(error) = runtime.start(&launch).await else { panic!("{command} started") };
        assert_eq!(error.kind(), kind, "{error}");
        let bundle = launch.bundle.clone();
        let found = runtime.recover(&container, "lcr", bundle).await.expect("it can tell");
        assert_eq!(found, Found::Nothing);
    }
    let swept = runtime.sweep(&[]).await.expect("there is nothing to sweep");
    assert!(swept.is_empty(), "{swept:?}");
}

/// A process that runs can be found, frozen, entered and killed.
async fn lives(
    runtime: &dyn Runtime,
    launch: &impl Fn(&ContainerId, &[&str]) -> Launch,
    process: &impl Fn(&[&str]) -> Process,
) {
    let container = id(3);
    let launch = launch(&container, &["/bin/sleep", "1000"]);
    let (run, _) = runtime.start(&launch).await.expect("it starts");
    assert!(runtime.pids(&container).await.expect("pids").contains(&run.pid));
    assert!(runtime.usage(&container).await.expect("usage").pids >= 1);
    runtime.pause(&container).await.expect("it freezes");
    let found = runtime.recover(&container, "lcr", launch.bundle.clone()).await.expect("found");
    assert_eq!(found, Found::Running { run: run.clone(), paused: true });
    runtime.resume(&container).await.expect("it thaws");
    let found = runtime.recover(&container, "lcr", launch.bundle.clone()).await.expect("found");
    assert_eq!(found, Found::Running { run, paused: false });

    let name = ProcessId("e1".to_owned());
    let again = process(&["/bin/sh", "-c", "echo hi; exit 3"]);
    let started = runtime.exec(&container, &name, &again, Some(ALL)).await.expect("it is entered");
    let mut session = started.session.expect("a client was wanted");
    assert_eq!(read_all(&mut session).await, (b"hi\n".to_vec(), Some(3)));
    assert_eq!(started.exit.await.expect("its end"), 3);
    let missing = process(&["/no/such/command"]);
    let name = ProcessId("e2".to_owned());
    let error = runtime.exec(&container, &name, &missing, None).await.err().expect("no command");
    assert_eq!(error.kind(), ErrorKind::CommandNotFound);

    let swept = runtime.sweep(std::slice::from_ref(&container)).await.expect("a sweep");
    assert!(swept.is_empty(), "what is known stays");
    runtime.kill(&container, Signal::KILL, false).await.expect("it is killed");
    let exit = runtime.wait(&container).await.expect("it ends");
    assert_eq!((exit.code, exit.oom_killed), (137, false));
    let found = runtime.recover(&container, "lcr", launch.bundle.clone()).await.expect("found");
    assert_eq!(found, Found::Exited(exit));
    runtime.clean(&container, "lcr").await.expect("it is cleaned up");
    let name = ProcessId("e3".to_owned());
    assert!(runtime.exec(&container, &name, &again, None).await.is_err(), "it does not run");
}

/// A client that attaches with the start misses nothing, and input arrives.
async fn talks(runtime: &dyn Runtime, launch: &impl Fn(&ContainerId, &[&str]) -> Launch) {
    let container = id(4);
    let mut launch = launch(&container, &["/bin/sh", "-c", "echo first; cat"]);
    launch.attach = Some(ALL);
    let (_, session) = runtime.start(&launch).await.expect("it starts");
    let mut session = session.expect("a client was wanted");
    assert_eq!(read(&mut session, 6).await, b"first\n");
    session.input.write(Bytes::from_static(b"ping\n")).await.expect("it is written");
    assert_eq!(read(&mut session, 5).await, b"ping\n");
    runtime.kill(&container, Signal::KILL, true).await.expect("it is killed");
    assert_eq!(read_all(&mut session).await.0, b"", "the streams end with the process");
    assert_eq!(runtime.wait(&container).await.expect("it ends").code, 137);
    runtime.clean(&container, "lcr").await.expect("it is cleaned up");
}

async fn next(session: &mut Session) -> Option<Chunk> {
    let chunk = poll_fn(|context| session.output.as_mut().poll_next(context)).await;
    chunk.map(|chunk| chunk.expect("the stream does not break"))
}

/// So many bytes of output.
async fn read(session: &mut Session, count: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    while bytes.len() < count {
        match next(session).await {
            Some(Chunk::Output(_, more)) => bytes.extend_from_slice(&more),
            other => panic!("after {bytes:?} came {other:?}"),
        }
    }
    bytes
}

/// All that is left of the output, and the exit status if one was told.
async fn read_all(session: &mut Session) -> (Vec<u8>, Option<i32>) {
    let (mut bytes, mut code) = (Vec::new(), None);
    while let Some(chunk) = next(session).await {
        match chunk {
            Chunk::Output(_, more) => bytes.extend_from_slice(&more),
            Chunk::Exited(status) => code = Some(status),
        }
    }
    (bytes, code)
}
