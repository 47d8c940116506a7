//! Terminals: the container's own, its size, its console, handing it over.

use std::fs;
use std::io::Read;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixListener;

use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags};
use serde_json::json;

use crate::bundle::Bundle;

fn receive(listener: &UnixListener) -> OwnedFd {
    let (socket, _) = listener.accept().unwrap();
    let mut name = [0u8; 64];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut slices = [std::io::IoSliceMut::new(&mut name)];
    rustix::net::recvmsg(&socket, &mut slices, &mut control, RecvFlags::CMSG_CLOEXEC).unwrap();
    let message = control.drain().next().unwrap();
    let RecvAncillaryMessage::ScmRights(mut descriptors) = message else { panic!("no descriptor") };
    descriptors.next().unwrap()
}

fn read_all(master: OwnedFd) -> String {
    let mut text = Vec::new();
    let mut file = fs::File::from(master);
    let mut part = [0u8; 4096];
    // The end of the last process that has it open is an error at this end.
    while let Ok(count) = file.read(&mut part) {
        if count == 0 {
            break;
        }
        text.extend_from_slice(&part[..count]);
    }
    String::from_utf8_lossy(&text).replace("\r\n", "\n")
}

#[test]
fn a_terminal_is_handed_over_with_its_size_and_is_the_console() {
    let mut bundle = Bundle::new(
        "tty; stty size; stat -c %t /dev/console; test -t 0 -a -t 1 -a -t 2 && echo all; \
         echo to the console > /dev/console; cut -d' ' -f5-7 /proc/1/stat",
    );
    bundle.set("/process/terminal", json!(true));
    bundle.set("/process/consoleSize", json!({"height": 33, "width": 101}));
    let path = bundle.directory.join("console.sock");
    let listener = UnixListener::bind(&path).unwrap();
    let socket = path.to_str().unwrap().to_owned();
    let args = ["run", "-d", "--console-socket", &socket, "-b", bundle.text(), &bundle.id];
    let ran = bundle.call(&args);
    ran.ok();
    let text = read_all(receive(&listener));
    assert!(text.starts_with("/dev/pts/0\n33 101\n88\nall\nto the console\n1 1 "), "{text}");
    let session: i32 = text.trim().rsplit(' ').next().unwrap().parse().unwrap();
    assert_ne!(session, 0, "it is the controlling terminal: {text}");
}

#[test]
fn exec_gets_a_terminal_of_the_same_devpts() {
    let bundle = Bundle::new("sleep 1000");
    bundle.run_detached().ok();
    let path = bundle.directory.join("console.sock");
    let listener = UnixListener::bind(&path).unwrap();
    let flags = ["-d", "-t", "--console-socket", path.to_str().unwrap()];
    bundle.exec(&flags, &["sh", "-c", "tty; ls /dev/pts"]).ok();
    let text = read_all(receive(&listener));
    assert!(text.starts_with("/dev/pts/0\n0"), "{text}");
}

#[test]
fn a_terminal_in_the_foreground_is_relayed() {
    let mut bundle = Bundle::new("read line; echo got $line; stty size; exit 9");
    bundle.set("/process/terminal", json!(true));
    let devpts = rustix::fs::open("/dev/pts", rustix::fs::OFlags::PATH, rustix::fs::Mode::empty());
    let pty = isula_sys::pty::Pty::open(devpts.unwrap().as_fd()).unwrap();
    let size = isula_sys::pty::WindowSize { rows: 12, columns: 34 };
    isula_sys::pty::resize(pty.master.as_fd(), size).unwrap();
    let mut command = bundle.lcr(&["run", "-b", bundle.text(), &bundle.id]);
    let stream = || isula_sys::process::duplicate(&pty.slave).unwrap();
    let mut child = command.stdin(stream()).stdout(stream()).stderr(stream()).spawn().unwrap();
    drop(command);
    rustix::io::write(&pty.master, b"hello\n").unwrap();
    drop(pty.slave);
    let text = read_all(pty.master);
    assert_eq!(child.wait().unwrap().code(), Some(9), "{text}");
    assert!(text.contains("got hello\n12 34\n"), "{text}");
}

#[test]
fn a_terminal_that_nobody_attends_is_refused() {
    let mut bundle = Bundle::new("true");
    bundle.set("/process/terminal", json!(true));
    let error = bundle.create().failed();
    assert!(error.contains("--console-socket is needed"), "{error}");
    assert!(!bundle.directory.join("state").join(&bundle.id).exists());
}

#[test]
fn a_console_that_is_a_link_is_not_followed() {
    // CVE-2025-52565.
    let mut bundle = Bundle::new("true");
    bundle.set("/process/terminal", json!(true));
    let mounts = bundle.config["mounts"].as_array_mut().unwrap();
    mounts.retain(|mount| {
        !matches!(mount["destination"].as_str(), Some("/dev" | "/dev/shm" | "/dev/mqueue"))
    });
    fs::create_dir(bundle.rootfs("/dev/pts")).unwrap();
    fs::write(bundle.rootfs("victim"), "").unwrap();
    std::os::unix::fs::symlink("/victim", bundle.rootfs("/dev/console")).unwrap();
    let path = bundle.directory.join("console.sock");
    let _listener = UnixListener::bind(&path).unwrap();
    let socket = path.to_str().unwrap().to_owned();
    let args = ["run", "-d", "--console-socket", &socket, "-b", bundle.text(), &bundle.id];
    let error = bundle.call(&args).failed();
    assert!(error.contains("cannot open the terminal /dev/console"), "{error}");
}
