//! Start, end, signals, logs.

use super::bench::*;
use futures_util::StreamExt;
use isula_core::container::{LogConfig, LogDriver};
use isula_core::error::ErrorKind;
use isula_core::ports::{Attach, Chunk, LogOptions, Runtime};
use isula_core::signal::Signal;

#[tokio::test(flavor = "multi_thread")]
async fn a_container_runs_and_its_exit_status_is_told() {
    let bench = Bench::new("status");
    for (args, code) in [
        (vec!["true"], 0),
        (vec!["false"], 1),
        (vec!["/bin/sh", "-c", "exit 37"], 37),
        (vec!["sh", "-c", "kill -9 $$"], 137),
        (vec!["sh", "-c", "exit 255"], 255),
    ] {
        for overlay in [false, true] {
            let launch =
                bench.launch(Wish { overlay, share_pids: code == 137, ..Wish::default() }, &args);
            let exit = bench.run(&launch).await;
            assert_eq!((exit.code, exit.oom_killed, exit.error), (code, false, None), "{args:?}");
        }
    }
    bench.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn output_is_in_the_log_as_it_was_written() {
    let bench = Bench::new("log");
    let script = "echo one; echo two >&2; printf 'no end'";
    let launch = bench.launch(Wish { overlay: true, ..Wish::default() }, &["sh", "-c", script]);
    bench.run(&launch).await;
    let text = std::fs::read_to_string(launch.bundle.join("console.log")).unwrap();
    assert_eq!(text.matches("\"stream\":\"stderr\"").count(), 1);
    let log = bench.log(&launch).await.replace("two\n", "");
    assert_eq!(log, "one\nno end");
    assert!(text.contains("{\"log\":\"two\\n\",\"stream\":\"stderr\""), "{text}");
    bench.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_is_rotated_and_no_line_is_lost_or_doubled() {
    let bench = Bench::new("rotation");
    let log = LogConfig { driver: LogDriver::JsonFile, max_size: 20_000, max_files: 1000 };
    let launch = bench.launch(Wish { log, ..Wish::default() }, &["seq", "20000"]);
    bench.start(&launch).await;
    let options = LogOptions { follow: true, ..LogOptions::default() };
    let followed = bench.log_of(&bench.runtimes, &launch, options).await;
    bench.runtimes.wait(&launch.id).await.unwrap();
    let wanted: String = (1..=20_000).map(|number| format!("{number}\n")).collect();
    assert!(followed == wanted, "the followed log differs");
    assert!(bench.log(&launch).await == wanted, "the log differs");
    assert!(launch.bundle.join("console.log.50").exists());
    bench.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_output_is_bounded_on_disk_and_in_memory() {
    let bench = Bench::new("flood");
    let log = LogConfig { driver: LogDriver::JsonFile, max_size: 1 << 20, max_files: 2 };
    let only_errors = Attach { stdin: false, stdout: false, stderr: true, size: None };
    let wish = Wish { log, attach: Some(only_errors), ..Wish::default() };
    let script = "yes | head -c 5000000; echo done >&2; sleep 1000";
    let launch = bench.launch(wish, &["sh", "-c", script]);
    let (run, session) = bench.start(&launch).await;
    let chunk = session.unwrap().output.next().await.unwrap().unwrap();
    assert!(matches!(chunk, Chunk::Output(_, bytes) if bytes == "done\n"));
    let status = std::fs::read_to_string(format!("/proc/{}/status", run.shim_pid)).unwrap();
    let anonymous = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).unwrap();
    let anonymous: u64 = anonymous.trim().trim_end_matches(" kB").parse().unwrap();
    assert!(anonymous < 1024, "the shim keeps {anonymous} KiB");
    let size: u64 = ["console.log", "console.log.1"]
        .iter()
        .map(|name| launch.bundle.join(name).metadata().unwrap().len())
        .sum();
    assert!(size <= 2 << 20 && !launch.bundle.join("console.log.2").exists());
    bench.runtimes.kill(&launch.id, Signal::KILL, false).await.unwrap();
    assert_eq!(bench.runtimes.wait(&launch.id).await.unwrap().code, 137);
    bench.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_that_cannot_run_fails_with_its_kind_and_leaves_nothing() {
    let bench = Bench::new("missing");
    for (command, kind) in [
        ("/bin/nosuch", ErrorKind::CommandNotFound),
        ("nosuch", ErrorKind::CommandNotFound),
        ("/etc/plain", ErrorKind::NotExecutable),
        ("/etc", ErrorKind::NotExecutable),
    ] {
        for tty in [false, true] {
            let launch = bench.launch(Wish { tty, ..Wish::default() }, &[command]);
            let error = bench.runtimes.start(&launch).await.err().unwrap();
            assert_eq!(error.kind(), kind, "{command}: {error}");
            assert!(error.to_string().contains(command), "{error}");
            assert!(!bench.state(&launch.id).exists());
        }
    }
    bench.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signal_reaches_the_init_process_or_all() {
    let bench = Bench::new("signals");
    let script = "trap 'echo got it; exit 5' TERM; echo ready; while :; do sleep 1000 & wait; done";
    let launch = bench.launch(Wish::default(), &["sh", "-c", script]);
    bench.start(&launch).await;
    bench.wait_for_log(&launch, "ready").await;
    bench.runtimes.kill(&launch.id, Signal::TERM, false).await.unwrap();
    assert_eq!(bench.runtimes.wait(&launch.id).await.unwrap().code, 5);
    bench.runtimes.kill(&launch.id, Signal::TERM, false).await.unwrap();
    assert!(bench.log(&launch).await.contains("got it"));

    // Without a pid namespace of its own the end of the init process ends nobody else by itself.
    let script = "trap 'echo child' USR1; (trap 'echo grandchild; exit' USR1; echo ready; \
                  while :; do sleep 0.1; done) & while :; do wait; done";
    let launch = bench.launch(Wish { share_pids: true, ..Wish::default() }, &["sh", "-c", script]);
    bench.start(&launch).await;
    bench.wait_for_log(&launch, "ready").await;
    bench.runtimes.kill(&launch.id, "USR1".parse().unwrap(), true).await.unwrap();
    bench.wait_for_log(&launch, "grandchild").await;
    bench.runtimes.kill(&launch.id, Signal::KILL, true).await.unwrap();
    assert_eq!(bench.runtimes.wait(&launch.id).await.unwrap().code, 137);
    bench.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_container_with_shared_pids_leaves_is_killed() {
    let bench = Bench::new("shared");
    let script = "nohup setsid sleep 1000 >/dev/null 2>&1 & echo started; exit 3";
    let launch = bench.launch(Wish { share_pids: true, ..Wish::default() }, &["sh", "-c", script]);
    assert_eq!(bench.run(&launch).await.code, 3);
    bench.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_paused_container_stands_still_and_goes_on() {
    let bench = Bench::new("pause");
    let script = "echo ready; read line; echo after";
    let wish = Wish { open_stdin: true, attach: Some(ALL), ..Wish::default() };
    let launch = bench.launch(wish, &["sh", "-c", script]);
    let (_, session) = bench.start(&launch).await;
    let mut session = session.unwrap();
    bench.wait_for_log(&launch, "ready").await;
    bench.runtimes.pause(&launch.id).await.unwrap();
    session.input.write("go\n".into()).await.unwrap();
    let usage = bench.runtimes.usage(&launch.id).await.unwrap();
    let again = bench.runtimes.usage(&launch.id).await.unwrap();
    assert_eq!(usage.cpu, again.cpu, "it uses no processor");
    assert!(usage.pids > 0 && usage.memory > 0);
    assert!(!bench.log(&launch).await.contains("after"));
    bench.runtimes.resume(&launch.id).await.unwrap();
    assert_eq!(bench.runtimes.wait(&launch.id).await.unwrap().code, 0);
    assert!(bench.log(&launch).await.contains("after"));
    bench.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn twenty_containers_run_at_once_and_again() {
    let bench = Bench::new("twenty");
    let launches: Vec<_> = (0..20)
        .map(|number| {
            let wish = Wish { overlay: true, ..Wish::default() };
            bench.launch(wish, &["sh", "-c", &format!("echo {number}; exit {number}")])
        })
        .collect();
    for _ in 0..2 {
        let runs = launches.iter().map(|launch| bench.run(launch));
        let exits = futures_util::future::join_all(runs).await;
        for (number, exit) in exits.iter().enumerate() {
            assert_eq!(exit.code, i32::try_from(number).unwrap());
        }
    }
    assert_eq!(bench.log(&launches[7]).await, "7\n7\n");
    bench.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn files_are_read_beneath_the_containers_root() {
    let bench = Bench::new("read");
    let script = "echo inside > /tmp/file; ln -s /tmp/file /tmp/link; \
                  ln -s /../../../../etc/hostname /tmp/out; mkfifo /tmp/fifo; echo ready; sleep 1000";
    let script = script.replace("ln ", "busybox ln ").replace("mkfifo", "busybox mkfifo");
    let launch = bench.launch(Wish { overlay: true, ..Wish::default() }, &["sh", "-c", &script]);
    bench.start(&launch).await;
    bench.wait_for_log(&launch, "ready").await;
    let read = async |path: &'static str, limit| {
        let paths = ["/none", path];
        let mut files = bench.runtimes.read(&launch.id, &paths, limit).await.unwrap();
        assert_eq!((files.len(), files.remove(0)), (2, None));
        files.remove(0)
    };
    assert_eq!(read("/tmp/file", 100).await.unwrap(), b"inside\n");
    assert_eq!(read("tmp/link", 7).await.unwrap(), b"inside\n");
    assert_eq!(read("/etc/passwd", 1000).await.unwrap(), b"root:x:0:0:root:/:/bin/sh\n");
    for path in ["/tmp/file", "/tmp/out", "/tmp/fifo", "/tmp", "/none", "/proc/self/root/etc/hosts"]
    {
        assert_eq!(read(path, 6).await, None, "{path}");
    }
    bench.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_tiny_init_reaps_forwards_and_ends_as_its_command_does() {
    let bench = Bench::new("init");
    let wish = || Wish { init: true, overlay: true, ..Wish::default() };
    let script = "echo pid $$; trap 'exit 9' TERM; (sleep 0.01 & exit) ; echo ready; \
                  while :; do sleep 0.05; done";
    let launch = bench.launch(wish(), &["sh", "-c", script]);
    let (run, _) = bench.start(&launch).await;
    bench.wait_for_log(&launch, "ready").await;
    assert!(!bench.log(&launch).await.contains("pid 1\n"));
    let name = std::fs::read(format!("/proc/{}/cmdline", run.pid)).unwrap();
    assert!(name.starts_with(b"/dev/init\0"));
    bench.runtimes.kill(&launch.id, Signal::TERM, false).await.unwrap();
    assert_eq!(bench.runtimes.wait(&launch.id).await.unwrap().code, 9);
    for (args, code) in
        [(["sh", "-c", "exit 4"], 4), (["nosuch", "", ""], 127), (["/etc/plain", "", ""], 126)]
    {
        let launch = bench.launch(wish(), &args);
        assert_eq!(bench.run(&launch).await.code, code, "{args:?}");
    }
    bench.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn hooks_are_called_before_and_after_and_the_cgroup_is_gone_for_the_last() {
    let bench = Bench::new("hooks");
    let file = bench.root.path().join("hooks.log");
    let hook = |name: &str| {
        let script = format!("cat > /dev/null; echo {name} >> {}", file.display());
        serde_json::json!([{"path": "/bin/sh", "args": ["sh", "-c", script], "env": ["PATH=/bin"]}])
    };
    let hooks = serde_json::json!({
        "createRuntime": hook("createRuntime"), "poststart": hook("poststart"),
        "poststop": hook("poststop"),
    });
    let wish = Wish { hooks: Some(hooks), ..Wish::default() };
    let launch = bench.launch(wish, &["true"]);
    assert_eq!(bench.run(&launch).await.code, 0);
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "createRuntime\npoststart\npoststop\n");
    bench.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_container_that_takes_too_much_memory_is_killed_and_that_is_told() {
    let bench = Bench::new("oom");
    let wish = Wish { memory: Some(8 << 20), ..Wish::default() };
    let script = "a=xxxxxxxxxxxxxxxx; while :; do a=$a$a; done";
    let launch = bench.launch(wish, &["sh", "-c", script]);
    let exit = bench.run(&launch).await;
    assert_eq!((exit.code, exit.oom_killed), (137, true));
    bench.finish().await;
}
