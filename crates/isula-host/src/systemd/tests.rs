//! systemd is played by a thread that answers on a socket.

use std::io::{Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::thread::JoinHandle;

use super::wire::answers;
use super::*;

/// An answer to each method that is called, in their order.
type Script = Vec<(&'static str, fn(u32) -> Vec<Vec<u8>>)>;

struct Fake {
    systemd: Systemd,
    thread: JoinHandle<Vec<Vec<u8>>>,
    _directory: tempfile::TempDir,
}

/// Where the socket is that the fake listens at.
#[derive(Clone, Copy, PartialEq)]
enum Place {
    Bus,
    Private,
}

impl Fake {
    fn new(place: Place, connections: Vec<Script>) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        let sockets = Sockets { bus: path("bus"), private: path("private") };
        let at = if place == Place::Bus { &sockets.bus } else { &sockets.private };
        let listener = UnixListener::bind(at).unwrap();
        let thread = std::thread::spawn(move || {
            let serve = |script| serve(listener.accept().unwrap().0, script);
            connections.into_iter().flat_map(serve).collect()
        });
        // Whatever waits until its input ends is as good as a shim.
        let program = Arc::new(Program::open(&PathBuf::from("/bin/busybox")).unwrap());
        Self { systemd: Systemd { sockets, program }, thread, _directory: directory }
    }

    /// The calls that came.
    fn calls(self) -> Vec<Vec<u8>> {
        self.thread.join().unwrap()
    }
}

fn serve(mut stream: UnixStream, script: Script) -> Vec<Vec<u8>> {
    let line = read_line(&mut stream);
    assert!(line.starts_with("\0AUTH EXTERNAL 3"), "{line}");
    stream.write_all(b"OK 1234\r\n").unwrap();
    assert_eq!(read_line(&mut stream), "BEGIN\r\n");
    let mut calls = Vec::new();
    for (serial, (member, answer)) in (1..).zip(script) {
        let mut fixed = [0; wire::FIXED];
        stream.read_exact(&mut fixed).unwrap();
        let mut message = fixed.to_vec();
        message.resize(wire::size(&fixed).unwrap(), 0);
        stream.read_exact(&mut message[wire::FIXED..]).unwrap();
        assert!(contains(&message, member), "{member} was to be called");
        for bytes in answer(serial) {
            stream.write_all(&bytes).unwrap();
        }
        calls.push(message);
    }
    // Nothing more is asked.
    assert_eq!(stream.read(&mut [0]).unwrap(), 0);
    calls
}

fn read_line(stream: &mut UnixStream) -> String {
    let mut line = Vec::new();
    while !line.ends_with(b"\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).unwrap();
        line.extend(byte);
    }
    String::from_utf8(line).unwrap()
}

fn contains(message: &[u8], text: &str) -> bool {
    message.windows(text.len()).any(|window| window == text.as_bytes())
}

fn scope() -> ContainerScope {
    ContainerScope::parse("a-b.slice:isulad:0f").unwrap()
}

fn limits() -> Vec<(String, String)> {
    vec![("memory.max".to_owned(), "64".to_owned())]
}

fn answered(serial: u32) -> Vec<Vec<u8>> {
    vec![answers::returned(serial, "/x")]
}

fn ended(serial: u32, result: &str) -> Vec<Vec<u8>> {
    vec![
        answers::job_removed("/job/7", "other.scope", "failed"),
        answers::returned(serial, "/job/8"),
        answers::job_removed("/job/8", "isulad-0f.scope", result),
    ]
}

#[test]
fn a_scope_has_its_limits_and_is_waited_for_on_the_bus() {
    let start: Script = vec![
        ("Hello", answered),
        ("AddMatch", answered),
        ("Subscribe", answered),
        ("StartTransientUnit", |serial| ended(serial, "done")),
    ];
    let fake = Fake::new(Place::Bus, vec![start]);
    drop(fake.systemd.start_scope(&scope(), &limits()).unwrap());
    let calls = fake.calls();
    assert!(contains(&calls[1], "member='JobRemoved',arg2='isulad-0f.scope'"));
    for word in ["isulad-0f.scope", "a-b.slice", "Delegate", "MemoryMax", "TasksMax", "PIDs"] {
        assert!(contains(&calls[3], word), "{word}");
    }
}

#[test]
fn without_a_bus_systemds_own_socket_is_used() {
    let start: Script = vec![("StartTransientUnit", |serial| {
        let [other, returned, removed]: [Vec<u8>; 3] = ended(serial, "done").try_into().unwrap();
        // The end of a job may be told before its beginning.
        vec![other, removed, returned]
    })];
    let fake = Fake::new(Place::Private, vec![start]);
    fake.systemd.start_slice(&Slice::parse("x", "a-b.slice").unwrap(), &[]).unwrap();
    assert_eq!(fake.calls().len(), 1);
}

#[test]
fn a_scope_of_a_former_run_is_ended_first() {
    let exists: Script = vec![("StartTransientUnit", |serial| {
        vec![answers::failed(serial, UNIT_EXISTS, "Unit isulad-0f.scope already exists.")]
    })];
    let stop: Script = vec![("StopUnit", |serial| ended(serial, "done"))];
    let again: Script = vec![("StartTransientUnit", |serial| ended(serial, "done"))];
    let fake = Fake::new(Place::Private, vec![exists, stop, again]);
    drop(fake.systemd.start_scope(&scope(), &[]).unwrap());
    fake.calls();
}

#[test]
fn what_systemd_says_is_told() {
    let refuse: Script = vec![("StartTransientUnit", |serial| {
        vec![answers::failed(serial, "org.x.No", "Unknown property")]
    })];
    let fail: Script = vec![("StartTransientUnit", |serial| ended(serial, "timeout"))];
    let fake = Fake::new(Place::Private, vec![refuse, fail]);
    for wanted in ["Unknown property", "ended with \"timeout\""] {
        let error = fake.systemd.start_scope(&scope(), &[]).unwrap_err();
        let text = isula_core::error::chain(&error);
        assert!(text.contains("cannot make the scope isulad-0f.scope"), "{text}");
        assert!(text.contains(wanted), "{text}");
    }
    fake.calls();
}

#[test]
fn limits_are_changed_for_the_time_of_the_unit_and_in_force_on_return() {
    let set: Script = vec![("SetUnitProperties", answered), ("GetUnit", answered)];
    let fake = Fake::new(Place::Private, vec![set]);
    fake.systemd.set("isulad-0f.scope", &limits()).unwrap();
    // What systemd has no name for is not its business.
    fake.systemd.set("isulad-0f.scope", &[("hugetlb.2MB.max".to_owned(), "0".to_owned())]).unwrap();
    assert!(contains(&fake.calls()[0], "MemoryMax"));
}

#[test]
fn a_unit_that_is_gone_is_ended() {
    let gone: Script =
        vec![("StopUnit", |serial| vec![answers::failed(serial, NO_SUCH_UNIT, "not loaded")])];
    let fake = Fake::new(Place::Private, vec![gone]);
    fake.systemd.stop("isulad-0f.scope").unwrap();
    fake.calls();
}

#[test]
fn where_nobody_listens_the_error_says_where() {
    let fake = Fake::new(Place::Private, vec![]);
    std::fs::remove_file(&fake.systemd.sockets.private).unwrap();
    let error = isula_core::error::chain(&fake.systemd.stop("x.scope").unwrap_err());
    assert!(error.contains("cannot reach systemd over D-Bus at"), "{error}");
}

#[test]
fn a_machine_without_systemd_is_refused_in_words() {
    // Tests run in containers, or beside a systemd: then the driver is there.
    if Path::new(BOOTED).exists() {
        return;
    }
    let program = Arc::new(Program::open(Path::new("/bin/busybox")).unwrap());
    let error = Systemd::open(&Hierarchies::detect().unwrap(), program).unwrap_err();
    let text = error.to_string();
    assert!(text.contains("needs systemd as the first process of the machine"), "{text}");
}
