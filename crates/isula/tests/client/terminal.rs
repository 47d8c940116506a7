//! Sessions on a real pseudo terminal.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::process::{Child, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use rustix::pty::{OpenptFlags, grantpt, ioctl_tiocgptpeer, openpt, unlockpt};
use rustix::termios::{LocalModes, Winsize, tcgetattr, tcsetwinsize};

use super::daemon::Daemon;

/// A terminal with the client on it.
struct Terminal {
    master: File,
    /// Kept open, so that what the client wrote can be read after its end.
    slave: OwnedFd,
    child: Child,
    seen: String,
}

impl Terminal {
    fn open(daemon: &Daemon, line: &str) -> Self {
        let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
        let master = openpt(flags).unwrap();
        grantpt(&master).unwrap();
        unlockpt(&master).unwrap();
        let slave = ioctl_tiocgptpeer(&master, flags).unwrap();
        let size = Winsize { ws_row: 30, ws_col: 100, ws_xpixel: 0, ws_ypixel: 0 };
        tcsetwinsize(&slave, size).unwrap();
        let end = || Stdio::from(slave.try_clone().unwrap());
        let child = daemon
            .command(line.split_whitespace())
            .stdin(end())
            .stdout(end())
            .stderr(end())
            .spawn()
            .unwrap();
        Self { master: File::from(master), slave, child, seen: String::new() }
    }

    /// Reads until the terminal has shown a text.
    fn wait_for(&mut self, text: &str) {
        while !self.seen.contains(text) {
            let mut piece = [0; 1024];
            let length = self.master.read(&mut piece).unwrap();
            self.seen.push_str(std::str::from_utf8(&piece[..length]).unwrap());
        }
    }

    fn types(&mut self, keys: &[u8]) {
        self.master.write_all(keys).unwrap();
    }

    /// Lines are edited and shown by the terminal: nobody has it in raw mode.
    fn is_cooked(&self) -> bool {
        let modes = tcgetattr(&self.slave).unwrap().local_modes;
        modes.contains(LocalModes::ICANON | LocalModes::ECHO | LocalModes::ISIG)
    }

    fn status(&mut self) -> i32 {
        self.child.wait().unwrap().code().unwrap()
    }
}

const COMMANDS: [&str; 4] =
    ["run -it busybox cat", "exec -it a cat", "attach tty-cat", "start -ai tty-cat"];

#[test]
fn keys_go_through_in_raw_mode_and_the_terminal_is_given_back() {
    let daemon = Daemon::start();
    for line in COMMANDS {
        let mut terminal = Terminal::open(&daemon, line);
        terminal.wait_for("ready");
        terminal.types(b"a\x03b\x04");
        // The terminal itself shows ^C otherwise.
        terminal.wait_for("a\x03b\x04");
        assert!(!terminal.is_cooked(), "{line}");
        terminal.types(b"\x10\x11");
        assert_eq!(terminal.status(), 0, "{line}");
        assert!(terminal.is_cooked(), "{line}");
        terminal.wait_for("read escape sequence");
        assert!(!terminal.seen.contains('\x10'), "the keys are not sent: {line}");
    }
}

#[test]
fn the_keys_that_leave_can_be_chosen() {
    let daemon = Daemon::start();
    let mut terminal = Terminal::open(&daemon, "run -it --detach-keys ctrl-x,y busybox cat");
    terminal.wait_for("ready");
    terminal.types(b"\x10\x11\x18z");
    terminal.wait_for("\x10\x11\x18z");
    terminal.types(b"\x18");
    terminal.types(b"y");
    assert_eq!(terminal.status(), 0);
    assert!(terminal.is_cooked());
}

#[test]
fn the_terminal_is_given_back_after_every_end() {
    let daemon = Daemon::start();
    let mut terminal = Terminal::open(&daemon, "run -it busybox size");
    terminal.wait_for("size 30 100");
    terminal.types(b"q");
    assert_eq!(terminal.status(), 7);
    assert!(terminal.is_cooked());

    for signal in [Signal::TERM, Signal::HUP, Signal::INT, Signal::QUIT] {
        let mut terminal = Terminal::open(&daemon, "run -it busybox cat");
        terminal.wait_for("ready");
        kill_process(Pid::from_child(&terminal.child), signal).unwrap();
        assert_eq!(terminal.status(), 128 + signal.as_raw());
        assert!(terminal.is_cooked(), "{signal:?}");
    }

    let mut terminal = Terminal::open(&daemon, "run -it busybox breaks");
    terminal.wait_for("connection to the isulad daemon was lost");
    assert_eq!(terminal.status(), 125);
    assert!(terminal.is_cooked());
}

#[test]
fn a_change_of_size_is_told() {
    let daemon = Daemon::start();
    for line in ["run -it busybox size", "exec -it a size", "attach tty-size"] {
        let mut terminal = Terminal::open(&daemon, line);
        terminal.wait_for("size 30 100");
        let size = Winsize { ws_row: 44, ws_col: 132, ws_xpixel: 0, ws_ypixel: 0 };
        tcsetwinsize(&terminal.slave, size).unwrap();
        // The terminal is not the controlling one of the client, so the kernel does not tell it.
        kill_process(Pid::from_child(&terminal.child), Signal::WINCH).unwrap();
        terminal.wait_for("size 44 132");
        terminal.types(b"q");
        assert_eq!(terminal.status(), 7, "{line}");
    }
}

#[test]
fn without_input_the_terminal_stays_as_it_is() {
    let daemon = Daemon::start();
    let mut terminal = Terminal::open(&daemon, "run -t busybox size");
    terminal.wait_for("size 30 100");
    assert!(terminal.is_cooked());
    kill_process(Pid::from_child(&terminal.child), Signal::TERM).unwrap();
    assert_eq!(terminal.status(), 143);
}

#[test]
fn a_pull_on_a_terminal_leaves_nothing_but_its_lines() {
    let daemon = Daemon::start();
    let mut terminal = Terminal::open(&daemon, "pull x");
    terminal.wait_for("pulled");
    assert_eq!(terminal.status(), 0);
    assert!(terminal.seen.starts_with("Image \"x\" pulling\r\n"), "{:?}", terminal.seen);
}
