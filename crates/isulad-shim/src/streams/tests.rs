//! Tests of the streams of a process, with pipes in the place of the process.

use std::fs::File;
use std::io::{Read, Write};
use std::time::Duration;

use super::*;
use crate::log::tests::Directory;
use crate::protocol::stream;
use isula_sys::{fd_passing, packet};

const ALL: protocol::Streams =
    protocol::Streams { stdin: true, stdout: true, stderr: true, size: None };

/// A process' side of its streams, the shim's side, and what drives it.
struct Bench {
    poll: Poll,
    streams: Streams,
    stdin: Option<File>,
    stdout: Option<File>,
    stderr: Option<File>,
    buffer: Vec<u8>,
}

impl Bench {
    fn new(manners: Manners, log: Option<Log>) -> Self {
        let poll = Poll::new().unwrap();
        let (stdin, to_stdin) = rustix::pipe::pipe().unwrap();
        let (from_stdout, stdout) = rustix::pipe::pipe().unwrap();
        let (from_stderr, stderr) = rustix::pipe::pipe().unwrap();
        let ends = Ends {
            stdin: Some(to_stdin),
            stdout: Some(from_stdout),
            stderr: Some(from_stderr),
            terminal: false,
        };
        let streams = Streams::new(&poll, 0, ends, manners, log).unwrap();
        let files = [stdin, stdout, stderr].map(|file| Some(File::from(file)));
        let [stdin, stdout, stderr] = files;
        Self { poll, streams, stdin, stdout, stderr, buffer: Vec::with_capacity(stream::LIMIT) }
    }

    fn attach(&mut self, wants: protocol::Streams) -> OwnedFd {
        let (here, there) = packet::pair().unwrap();
        self.streams.attach(&self.poll, here, wants).unwrap();
        there
    }

    /// Handles events until there are none; returns how many there were.
    fn settle(&mut self) -> usize {
        let mut count = 0;
        loop {
            let events: Vec<_> = self.poll.wait(Some(Instant::now())).unwrap().collect();
            if events.is_empty() {
                return count;
            }
            for (token, flags) in events {
                let Token::Stream(0, part) = token else { panic!("{token:?}") };
                self.streams.handle(&self.poll, part, flags, &mut self.buffer);
                count += 1;
                assert!(count < 100_000, "an event is told for ever");
            }
        }
    }

    fn say(&mut self, bytes: &[u8]) {
        self.stdout.as_mut().unwrap().write_all(bytes).unwrap();
        self.settle();
    }
}

const RELAXED: Manners = Manners { waits: false, stdin_once: false };

fn packets(socket: &OwnedFd) -> Vec<Vec<u8>> {
    let mut found = Vec::new();
    let mut buffer = vec![0; 20_000];
    while let Ok(length) = fd_passing::receive(socket.as_fd(), &mut buffer, &mut Vec::new()) {
        found.push(buffer[..length].to_vec());
        if length == 0 {
            break;
        }
    }
    found
}

fn send(socket: &OwnedFd, bytes: &[u8]) {
    fd_passing::send(socket.as_fd(), &[io::IoSlice::new(bytes)], &[]).unwrap();
}

#[test]
fn output_goes_to_every_client_that_wants_it() {
    let mut bench = Bench::new(RELAXED, None);
    let both = bench.attach(ALL);
    let errors = bench.attach(protocol::Streams { stdout: false, ..ALL });
    bench.say(b"out");
    bench.stderr.as_mut().unwrap().write_all(b"err").unwrap();
    bench.settle();
    assert_eq!(packets(&both), [b"\x01out".to_vec(), b"\x02err".to_vec()]);
    assert_eq!(packets(&errors), [b"\x02err".to_vec()]);
}

#[test]
fn the_last_packet_comes_after_all_output_and_for_late_clients_too() {
    let mut bench = Bench::new(RELAXED, None);
    let client = bench.attach(ALL);
    bench.stdout.as_mut().unwrap().write_all(b"bye").unwrap();
    bench.stdout = None;
    bench.stderr = None;
    bench.settle();
    assert!(!bench.streams.open());
    bench.streams.finish(&bench.poll, &stream::exited(3));
    assert_eq!(packets(&client), [b"\x01bye".to_vec(), stream::exited(3).to_vec()]);
    let late = bench.attach(ALL);
    assert_eq!(packets(&late), [stream::exited(3).to_vec()]);
}

#[test]
fn a_client_that_does_not_read_stops_the_output_until_it_is_cut_off() {
    let directory = Directory::new("slow");
    let rotation = protocol::Rotation { max_size: 0, max_files: 1 };
    let log = Log::open(directory.open(), rotation).unwrap();
    let mut bench = Bench::new(RELAXED, Some(log));
    let slow = bench.attach(ALL);
    let line = [b'x'; 4095];
    let mut written = 0;
    while !bench.streams.lags() {
        bench.say(&line);
        bench.say(b"\n");
        written += 1;
    }
    let until = bench.streams.deadline().expect("its time is limited");
    bench.stdout.as_mut().unwrap().write_all(b"more\n").unwrap();
    assert_eq!(bench.settle(), 0, "nothing is read while it lags");
    bench.streams.expire(&bench.poll, until - Duration::from_millis(1));
    assert!(bench.streams.lags());
    bench.streams.expire(&bench.poll, until);
    assert!(!bench.streams.lags());
    bench.settle();
    let text = std::fs::read_to_string(directory.path.join("console.log")).unwrap();
    assert_eq!(text.lines().count(), written + 1, "the log has everything");
    let packets = packets(&slow);
    assert_eq!(packets.last().unwrap(), b"", "it was cut off");
    assert_ne!(packets[packets.len() - 2], stream::end(), "and can tell");
}

#[test]
fn a_process_waits_for_its_only_client_as_long_as_it_takes() {
    let mut bench = Bench::new(Manners { waits: true, stdin_once: true }, None);
    let slow = bench.attach(ALL);
    while !bench.streams.lags() {
        bench.say(&[b'x'; 4096]);
    }
    assert_eq!(bench.streams.deadline(), None);
    bench.streams.expire(&bench.poll, Instant::now() + Duration::from_hours(1));
    assert!(bench.streams.lags());
    bench.stdout.as_mut().unwrap().write_all(b"next").unwrap();
    packets(&slow);
    bench.settle();
    assert_eq!(packets(&slow).last().unwrap(), b"\x01next");
}

#[test]
fn input_arrives_and_waits_while_the_process_does_not_read() {
    let mut bench = Bench::new(RELAXED, None);
    let client = bench.attach(ALL);
    let data: Vec<u8> = (0..400_000u32).flat_map(u32::to_le_bytes).collect();
    let mut packets = data.chunks(stream::LIMIT).map(|chunk| [&[0], chunk].concat()).peekable();
    let mut stdin = bench.stdin.take().unwrap();
    rustix::io::ioctl_fionbio(&stdin, true).unwrap();
    let mut received = Vec::new();
    let mut stalls = 0;
    while received.len() < data.len() {
        while let Some(packet) = packets.peek() {
            let parts = [io::IoSlice::new(packet)];
            if fd_passing::send(client.as_fd(), &parts, &[]).is_err() {
                stalls += 1;
                break;
            }
            packets.next();
        }
        bench.settle();
        let mut piece = [0; 5000];
        while let Ok(length) = stdin.read(&mut piece) {
            received.extend_from_slice(&piece[..length]);
            bench.settle();
        }
    }
    assert!(received == data && stalls > 0);
    send(&client, &stream::close_stdin());
    bench.settle();
    assert_eq!(stdin.read(&mut [0; 8]).unwrap(), 0);
}

#[test]
fn input_closes_after_what_was_sent_before() {
    let mut bench = Bench::new(RELAXED, None);
    let client = bench.attach(ALL);
    for _ in 0..8 {
        send(&client, &[[0].as_slice(), &[7; 16_000]].concat());
    }
    send(&client, &stream::close_stdin());
    bench.settle();
    let mut stdin = bench.stdin.take().unwrap();
    rustix::io::ioctl_fionbio(&stdin, true).unwrap();
    let (mut length, mut piece) = (0, [0; 3000]);
    loop {
        match stdin.read(&mut piece) {
            Ok(0) => break,
            Ok(count) => length += count,
            Err(error) => assert_eq!(error.kind(), io::ErrorKind::WouldBlock),
        }
        bench.settle();
    }
    assert_eq!(length, 8 * 16_000);
}

#[test]
fn leaving_closes_the_input_only_if_that_was_asked() {
    for (stdin_once, wants_stdin, closed) in
        [(false, true, false), (true, false, false), (true, true, true)]
    {
        for hangs_up in [false, true] {
            let mut bench = Bench::new(Manners { waits: false, stdin_once }, None);
            let client = bench.attach(protocol::Streams { stdin: wants_stdin, ..ALL });
            if hangs_up {
                drop(client);
                bench.settle();
            } else {
                rustix::net::shutdown(&client, rustix::net::Shutdown::Write).unwrap();
                bench.settle();
                bench.say(b"still there");
                assert_eq!(packets(&client), [b"\x01still there"]);
            }
            let mut stdin = bench.stdin.take().unwrap();
            rustix::io::ioctl_fionbio(&stdin, true).unwrap();
            assert_eq!(stdin.read(&mut [0; 8]).is_ok(), closed, "{stdin_once} {wants_stdin}");
        }
    }
}

#[test]
fn a_client_that_goes_away_with_its_input_pending_is_forgotten() {
    let mut bench = Bench::new(RELAXED, None);
    let client = bench.attach(ALL);
    for _ in 0..10 {
        send(&client, &[[0].as_slice(), &[7; 16_000]].concat());
    }
    bench.settle();
    assert_eq!(bench.streams.clients.len(), 1);
    drop(client);
    bench.settle();
    assert_eq!(bench.streams.clients.len(), 0);
}

#[test]
fn what_is_no_packet_of_a_client_ends_its_session() {
    for packet in [&[9u8][..], &[5, 1], &[4, 4]] {
        let mut bench = Bench::new(RELAXED, None);
        let client = bench.attach(ALL);
        send(&client, packet);
        bench.settle();
        assert_eq!(packets(&client), [b""]);
    }
}

#[test]
fn input_for_a_process_that_closed_it_is_dropped() {
    let mut bench = Bench::new(RELAXED, None);
    let client = bench.attach(ALL);
    bench.stdin = None;
    for _ in 0..3 {
        send(&client, b"\x00lost");
        bench.settle();
    }
    bench.say(b"alive");
    assert_eq!(packets(&client), [b"\x01alive"]);
}

#[test]
fn draining_reads_what_is_there_without_waiting_for_clients() {
    let directory = Directory::new("drain");
    let rotation = protocol::Rotation { max_size: 0, max_files: 1 };
    let log = Log::open(directory.open(), rotation).unwrap();
    let mut bench = Bench::new(RELAXED, Some(log));
    let slow = bench.attach(ALL);
    while !bench.streams.lags() {
        bench.say(&[b'\n'; 256]);
    }
    let before = std::fs::read_to_string(directory.path.join("console.log")).unwrap();
    bench.stdout.as_mut().unwrap().write_all(&[b'\n'; 60_000]).unwrap();
    let mut buffer = Vec::with_capacity(stream::LIMIT);
    bench.streams.drain(&bench.poll, &mut buffer);
    let after = std::fs::read_to_string(directory.path.join("console.log")).unwrap();
    assert_eq!(after.lines().count() - before.lines().count(), 60_000);
    assert!(bench.streams.open(), "another process may have it open");
    bench.streams.finish(&bench.poll, &stream::end());
    // The slow client gets all of it when it reads at last.
    let mut total = 0;
    loop {
        let packets = packets(&slow);
        total += packets.iter().filter(|p| p[0] == 1).map(|p| p.len() - 1).sum::<usize>();
        if packets.last().is_some_and(|packet| *packet == stream::end()) {
            break;
        }
        bench.settle();
    }
    assert_eq!(total, after.lines().count());
}

#[test]
fn too_many_clients_are_refused() {
    let mut bench = Bench::new(RELAXED, None);
    let clients: Vec<_> = (0..CLIENTS_LIMIT).map(|_| bench.attach(ALL)).collect();
    let (here, _there) = packet::pair().unwrap();
    assert_eq!(bench.streams.attach(&bench.poll, here, ALL), Err(TooMany));
    drop(clients);
    bench.settle();
    bench.attach(ALL);
}

#[test]
fn a_terminal_is_read_to_its_end_and_gets_its_end_of_file_character() {
    let devpts =
        rustix::fs::open("/dev/pts", rustix::fs::OFlags::PATH, rustix::fs::Mode::empty()).unwrap();
    let pty = isula_sys::pty::Pty::open(devpts.as_fd()).unwrap();
    let poll = Poll::new().unwrap();
    let ends = Ends {
        stdin: Some(isula_sys::process::duplicate(&pty.master).unwrap()),
        stdout: Some(pty.master),
        stderr: None,
        terminal: true,
    };
    let streams = Streams::new(&poll, 0, ends, RELAXED, None).unwrap();
    let buffer = Vec::with_capacity(stream::LIMIT);
    let mut bench = Bench { poll, streams, stdin: None, stdout: None, stderr: None, buffer };
    let client = bench.attach(protocol::Streams { size: Some((7, 70)), ..ALL });
    let mut slave = File::from(pty.slave);
    let size = isula_sys::pty::size(slave.as_fd()).unwrap();
    assert_eq!((size.rows, size.columns), (7, 70));
    send(&client, b"\x00line\n");
    send(&client, &stream::close_stdin());
    send(&client, &stream::resize(8, 80));
    bench.settle();
    let mut text = String::new();
    slave.read_to_string(&mut text).unwrap();
    assert_eq!(text, "line\n");
    assert_eq!(isula_sys::pty::size(slave.as_fd()).unwrap().columns, 80);
    slave.write_all(b"shown\n").unwrap();
    drop(slave);
    bench.settle();
    assert!(!bench.streams.open());
    let shown: Vec<u8> = packets(&client).iter().flat_map(|packet| packet[1..].to_vec()).collect();
    assert!(String::from_utf8_lossy(&shown).ends_with("shown\r\n"));
}
