//! Images: pulls, archives, and containers of images that are not there yet.

use std::io::{BufRead, BufReader, Read};
use std::process::Stdio;

use super::daemon::{Daemon, Ran};
use super::script::ID;

const IMAGE: &str = "8c788f4bfb7290e434b2384340a5f9811db6ed302f9247c5fc095d6ec4fc8f32";

#[test]
fn a_missing_image_is_pulled_with_the_seeds_lines_on_stderr() {
    let daemon = Daemon::start();
    let pulled = format!("Image \"x/y:1\" pulling\nImage \"{IMAGE}\" pulled\n");
    let unable = "Unable to find image 'x/y:1' locally\n";
    let found = daemon.run("create x/y:1");
    assert_eq!(found.out, format!("{ID}\n"));
    assert_eq!(found.err, format!("{unable}{pulled}WARNING: no swap\n"));
    assert_eq!(daemon.asked(), ["create x/y:1", "pull x/y:1 ", "create x/y:1"]);

    let daemon = Daemon::start();
    let found = daemon.run("run -d x/y:1");
    assert_eq!((found.status, found.out), (0, format!("{ID}\n")));
    assert_eq!(found.err, format!("{unable}{pulled}"));

    let daemon = Daemon::start();
    let found = daemon.run("run x/y:1 exit 4");
    assert_eq!((found.status, found.err), (4, format!("{unable}{pulled}")));

    let daemon = Daemon::start();
    assert_eq!(daemon.run("run -q x/y:1 exit 4").err, "");
    assert_eq!(daemon.run("pull x/y:1").err, pulled);
    let quiet = daemon.run("pull -q --platform linux/arm64 x");
    assert_eq!((quiet.out.as_str(), quiet.err.as_str()), ("full/x\n", ""));
    assert!(daemon.asked().contains(&"pull x linux/arm64".to_owned()));
}

#[test]
fn the_pull_policy_is_followed() {
    let daemon = Daemon::start();
    let never = daemon.run("run --pull never x exit 0");
    assert_eq!(never.status, 125);
    assert_eq!(never.err, "Error response from daemon: no such image: x\n");
    assert_eq!(daemon.asked(), ["create x"]);
    assert_eq!(daemon.run("run --pull always busybox exit 0").status, 0);
    assert_eq!(daemon.asked(), ["pull busybox ", "create busybox"]);
    assert_eq!(daemon.run("run --pull sometimes busybox exit 0").status, 125);
    let denied = daemon.run("create forbidden");
    assert_eq!(denied.status, 125);
    assert!(denied.err.ends_with("Error response from daemon: pull access denied\n"));
}

#[test]
fn an_interrupted_pull_is_cancelled() {
    let daemon = Daemon::start();
    for signal in [rustix::process::Signal::INT, rustix::process::Signal::TERM] {
        let mut child = daemon.command(["pull", "endless"]).stderr(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap());
        let mut line = String::new();
        lines.read_line(&mut line).unwrap();
        assert_eq!(line, "Image \"endless\" pulling\n");
        // The handlers are set once the request is under way.
        while !daemon.state.asked.lock().unwrap().contains(&"pull endless ".to_owned()) {
            std::thread::yield_now();
        }
        let pid = rustix::process::Pid::from_child(&child);
        rustix::process::kill_process(pid, signal).unwrap();
        let status = child.wait().unwrap().code();
        assert_eq!(status, Some(128 + signal.as_raw()));
        let mut rest = String::new();
        lines.read_to_string(&mut rest).unwrap();
        assert_eq!(rest, "");
        while !daemon.state.asked.lock().unwrap().contains(&"pull was dropped".to_owned()) {
            std::thread::yield_now();
        }
        daemon.asked();
    }
}

#[test]
fn archives_are_sent_whole() {
    let daemon = Daemon::start();
    let archive = daemon.directory().join("a.tar");
    std::fs::write(&archive, vec![7; 700_000]).unwrap();
    let path = archive.to_str().unwrap();
    let found = daemon.run(&format!("load -i {path} --tag x:1"));
    let success = format!("Load image from \"{path}\" success\n");
    assert_eq!(found, Ran { status: 0, out: success, err: String::new() });
    assert_eq!(daemon.asked(), ["load \"x:1\" 700000"]);

    let stdin = std::fs::File::open(&archive).unwrap();
    let found = Ran::from(daemon.command(["load"]).stdin(stdin).output().unwrap());
    assert_eq!(found.out, "Load image from \"stdin\" success\n");
    assert_eq!(daemon.asked(), ["load \"\" 700000"]);

    let line = format!("import -c CMD=sh -m note {path} y:2");
    assert_eq!(daemon.run(&line).out, format!("sha256:{IMAGE}\n"));
    assert_eq!(daemon.asked(), ["import y:2 [\"CMD=sh\"] \"note\" 700000"]);
}

#[test]
fn what_cannot_be_read_is_named() {
    let daemon = Daemon::start();
    let missing = daemon.run("load -i /nonexistent.tar");
    assert_eq!(missing.status, 1);
    assert!(missing.err.starts_with("cannot open /nonexistent.tar: "), "{}", missing.err);
    let directory = daemon.run("import /tmp");
    assert_eq!(directory.status, 1);
    assert!(
        directory.err.starts_with("cannot import /tmp: it is a directory"),
        "{}",
        directory.err
    );
    // Reading the memory of address 0 fails after the file was opened.
    let broken = daemon.run("import /proc/self/mem x");
    assert_eq!(broken.status, 1);
    assert!(broken.err.starts_with("cannot read /proc/self/mem: "), "{}", broken.err);
    assert_eq!(daemon.asked(), [""; 0], "a broken upload is never taken for a whole one");
    let empty = daemon.run("load -i /dev/null");
    assert_eq!(empty.err, "Error response from daemon: the archive is empty\n");
    assert!(daemon.run("import https://x/y").err.contains("https is not supported"));
}

#[test]
fn images_are_removed_and_listed_with_the_seeds_lines() {
    let daemon = Daemon::start();
    let found = daemon.run("rmi a b");
    assert_eq!(found.out, "Image \"a\" removed\nImage \"b\" removed\n");
    let list = daemon.run("images").out;
    let mut lines = list.lines();
    assert_eq!(lines.next(), Some("REPOSITORY   TAG       IMAGE ID       CREATED   SIZE"));
    assert_eq!(lines.next(), Some("busybox      latest    8c788f4bfb72   N/A       4.27MB"));
}
