//! Sessions over pipes: streams, statuses, signals.

use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, Stdio};

use rustix::process::{Pid, Signal, kill_process};

use super::daemon::{Daemon, Ran};
use super::script::ID;

#[test]
fn the_status_of_the_process_is_the_clients() {
    let daemon = Daemon::start();
    for code in [0, 1, 37, 125, 126, 127, 137, 143, 255] {
        assert_eq!(daemon.run(&format!("run --rm busybox exit {code}")).status, code);
        assert_eq!(daemon.run(&format!("exec a exit {code}")).status, code);
    }
}

#[test]
fn the_kind_of_error_decides_the_status() {
    let daemon = Daemon::start();
    let table = [
        ("run busybox notfound", 127, "Error response from daemon: no such file\n"),
        ("run busybox noexec", 126, "Error response from daemon: permission denied\n"),
        ("exec a notfound", 127, "Error response from daemon: no such file\n"),
        ("exec a noexec", 126, "Error response from daemon: permission denied\n"),
        ("exec nosuch true", 125, "Error response from daemon: no such container: nosuch\n"),
        ("exec -d nosuch true", 125, "Error response from daemon: no such container: nosuch\n"),
        ("attach nosuch", 1, "Error response from daemon: no such container: nosuch\n"),
        ("start -a nosuch", 1, "Error response from daemon: no such container: nosuch\n"),
        ("run busybox breaks", 125, "the connection to the isulad daemon was lost\n"),
    ];
    for (line, status, err) in table {
        let found = daemon.run(line);
        assert_eq!((found.status, found.err.as_str()), (status, err), "{line}");
    }
}

#[test]
fn streams_stay_apart() {
    let daemon = Daemon::start();
    let expected = Ran { status: 3, out: "out\n".to_owned(), err: "err\n".to_owned() };
    for line in ["run busybox both", "exec a both", "attach both", "start -a both"] {
        assert_eq!(daemon.run(line), expected, "{line}");
    }
    assert!(daemon.asked().contains(&"attach both start=true".to_owned()));
    let table = [
        ("run busybox streams", "false true true\n"),
        ("run -i busybox streams", "true true true\n"),
        ("run -a stdout busybox streams", "false true false\n"),
        ("run -i -a stderr -a stdout busybox streams", "true true true\n"),
        ("attach --no-stdin streams", "false true true\n"),
        ("start -i streams", "true true true\n"),
    ];
    for (line, expected) in table {
        assert_eq!(daemon.run(line).out, expected, "{line}");
    }
    let only = daemon.run("run -a stdin busybox exit 0").out;
    assert_eq!(only, format!("{ID}\n"));
}

#[test]
fn stdin_is_passed_on_to_its_end() {
    let daemon = Daemon::start();
    let text: Vec<u8> = (0..300_000_u32).flat_map(u32::to_le_bytes).collect();
    for line in [&["run", "-i", "busybox", "cat"][..], &["exec", "-i", "a", "cat"]] {
        let mut child =
            daemon.command(line).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let mut stdin = child.stdin.take().unwrap();
        let sent = text.clone();
        let writer = std::thread::spawn(move || stdin.write_all(&sent));
        let output = child.wait_with_output().unwrap();
        writer.join().unwrap().unwrap();
        assert!(output.status.success());
        let expected = [&b"ready\n"[..], &text, b"<end>"].concat();
        assert!(output.stdout == expected, "{} bytes", output.stdout.len());
    }
    // Without -i nothing of it is read.
    let created = daemon.run("run busybox exit 0");
    assert_eq!(created.status, 0);
}

#[test]
fn much_output_arrives_whole() {
    let daemon = Daemon::start();
    assert_eq!(daemon.run("run busybox flood 400").out.len(), 400 << 16);
}

#[test]
fn a_reader_that_goes_away_ends_the_client() {
    let daemon = Daemon::start();
    let mut child = daemon
        .command(["run", "busybox", "flood", "100000"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut some = [0; 100];
    child.stdout.take().unwrap().read_exact(&mut some).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(141));
}

fn ready(child: &mut Child) -> BufReader<std::process::ChildStdout> {
    let mut lines = BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    lines.read_line(&mut line).unwrap();
    assert_eq!(line, "ready\n");
    lines
}

#[test]
fn signals_are_passed_on_to_the_process() {
    let daemon = Daemon::start();
    for signal in [Signal::TERM, Signal::INT, Signal::HUP, Signal::USR1, Signal::TSTP] {
        for line in [
            &["run", "busybox", "wait-signal"][..],
            &["attach", "--no-stdin", "wait-signal"],
            &["start", "-a", "wait-signal"],
        ] {
            let mut child = daemon.command(line).stdout(Stdio::piped()).spawn().unwrap();
            let mut lines = ready(&mut child);
            kill_process(Pid::from_child(&child), signal).unwrap();
            let mut rest = String::new();
            lines.read_to_string(&mut rest).unwrap();
            assert_eq!(rest, format!("got {}\n", signal.as_raw()), "{line:?}");
            assert_eq!(child.wait().unwrap().code(), Some(128 + signal.as_raw()), "{line:?}");
            let kill = format!("kill {ID} \"{}\"", signal.as_raw());
            assert!(daemon.asked().contains(&kill));
        }
    }
}

#[test]
fn without_a_proxy_a_signal_ends_the_client_alone() {
    let daemon = Daemon::start();
    let lines = [
        &["run", "--sig-proxy=false", "busybox", "wait-signal"][..],
        &["exec", "a", "wait-signal"],
        &["attach", "--no-stdin", "--sig-proxy=false", "wait-signal"],
    ];
    for line in lines {
        let mut child = daemon.command(line).stdout(Stdio::piped()).spawn().unwrap();
        let _lines = ready(&mut child);
        kill_process(Pid::from_child(&child), Signal::TERM).unwrap();
        assert_eq!(child.wait().unwrap().code(), Some(143), "{line:?}");
        assert!(daemon.asked().iter().all(|asked| !asked.starts_with("kill")), "{line:?}");
    }
}

#[test]
fn a_daemon_that_never_answers_can_be_left() {
    let daemon = Daemon::start();
    let line = ["exec", "a", "never-opens"];
    let mut child = daemon.command(line).spawn().unwrap();
    while !daemon.state.asked.lock().unwrap().iter().any(|asked| asked.starts_with("exec")) {
        std::thread::yield_now();
    }
    kill_process(Pid::from_child(&child), Signal::INT).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(130));
}

#[test]
fn a_daemon_that_dies_is_told() {
    for line in [&["run", "busybox", "wait-signal"][..], &["exec", "a", "wait-signal"]] {
        let mut daemon = Daemon::start();
        let mut command = daemon.command(line);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let _lines = ready(&mut child);
        daemon.crash();
        let found = Ran::from(child.wait_with_output().unwrap());
        assert_eq!(found.err, "the connection to the isulad daemon was lost\n");
        assert_eq!(found.status, 125);
    }
}

#[test]
fn the_id_is_written_to_its_file_and_only_there_is_one() {
    let daemon = Daemon::start();
    for (index, line) in ["create", "run -d", "run"].into_iter().enumerate() {
        let path = daemon.directory().join(format!("cid{index}"));
        let shown = path.display();
        assert_eq!(daemon.run(&format!("{line} --cidfile {shown} busybox exit 0")).status, 0);
        assert_eq!(std::fs::read_to_string(&path).unwrap(), ID);
        daemon.asked();
        let again = daemon.run(&format!("{line} --cidfile {shown} busybox exit 0"));
        assert_eq!(again.status, 125);
        assert!(again.err.contains("container ID file found"), "{}", again.err);
        assert_eq!(daemon.asked(), [""; 0]);
        let failed = daemon.directory().join("failed");
        let line = format!("{line} --pull never --cidfile {} missing", failed.display());
        assert_eq!(daemon.run(&line).status, 125);
        assert!(!failed.exists());
    }
}

#[test]
fn wrong_combinations_are_refused_before_anything_happens() {
    let daemon = Daemon::start();
    let table = [
        ("run -it busybox sh", 125, "the input device is not a TTY\n"),
        ("exec -it a sh", 125, "the input device is not a TTY\n"),
        (
            "run -d -a stdout busybox",
            125,
            "conflicting options: cannot specify both --attach and --detach\nSee 'isula run --help'.\n",
        ),
        (
            "run -a nothing busybox",
            125,
            "valid streams are STDIN, STDOUT and STDERR\nSee 'isula run --help'.\n",
        ),
        (
            "start -a x y",
            125,
            "you cannot start and attach multiple containers at once\nSee 'isula start --help'.\n",
        ),
        (
            "run --detach-keys x,,y busybox",
            125,
            "invalid argument \"x,,y\" for \"--detach-keys\" flag: Unknown character: ''\nSee 'isula run --help'.\n",
        ),
    ];
    for (line, status, err) in table {
        let found = daemon.run(line);
        assert_eq!((found.status, found.err.as_str()), (status, err), "{line}");
    }
    assert_eq!(daemon.asked(), [""; 0]);
    // A terminal of its own needs none of ours.
    assert_eq!(daemon.run("run -itd busybox sh").out, format!("{ID}\n"));
    let config = daemon.state.created.lock().unwrap().take().unwrap().config.unwrap();
    assert!(config.tty && config.open_stdin && !config.stdin_once);
}

#[test]
fn exec_has_its_own_environment_and_user() {
    let daemon = Daemon::start();
    let file = daemon.directory().join("env");
    std::fs::write(&file, "B=2\n").unwrap();
    let line = format!("exec -e A=1 --env-file {} -u 5:6 a exit 0", file.display());
    assert_eq!(daemon.run(&line).status, 0);
    assert_eq!(daemon.asked(), ["exec env=[\"B=2\", \"A=1\"] user=5:6"]);
}
