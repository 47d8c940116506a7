//! Clients made of Kubernetes' own library: `tools/cri-setup.sh` builds the program.

use std::{
    path::{Path, PathBuf},
    process::Stdio,
};

use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::{TcpListener, TcpStream},
    process::{Child, Command},
};

use super::{Options, PIPES, Serving, Streams, TERMINAL, soon};
use crate::streaming::Tls;

/// Flags that choose a protocol, and whether it closes standard input.
const PROTOCOLS: [(&[&str], bool); 8] = [
    (&[], true),
    (&["-protocols", "v4.channel.k8s.io"], true),
    (&["-protocols", "v3.channel.k8s.io"], true),
    (&["-protocols", "v2.channel.k8s.io"], true),
    (&["-protocols", "channel.k8s.io"], false),
    (&["-websocket"], true),
    (&["-websocket", "-protocols", "v5.channel.k8s.io"], true),
    (&["-websocket", "-protocols", "v4.channel.k8s.io"], false),
];

fn program() -> PathBuf {
    let target = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target");
    let program = target.join("tools/go/bin/stream-client");
    assert!(program.exists(), "the stream client is missing: run tools/cri-setup.sh");
    program
}

fn client(arguments: &[&str]) -> Child {
    Command::new(program())
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap()
}

struct Ended {
    status: i32,
    stdout: Vec<u8>,
    stderr: String,
}

async fn run(flags: &[&str], url: &str, input: &[u8]) -> Ended {
    let mut child = client(&[flags, &["run", url]].concat());
    let mut stdin = child.stdin.take().unwrap();
    let input = input.to_vec();
    tokio::spawn(async move {
        // The command need not read it all.
        let _ = stdin.write_all(&input).await;
    });
    let output = soon(child.wait_with_output()).await.unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    Ended { status: output.status.code().unwrap(), stdout: output.stdout, stderr }
}

#[tokio::test]
async fn output_errors_and_exit_status_arrive_in_every_protocol() {
    let serving = Serving::start().await;
    let streams = Streams { stdin: false, ..PIPES };
    for (flags, _) in PROTOCOLS {
        let ended = run(flags, &serving.exec("echo out; echo err >&2; exit 3", streams), b"").await;
        assert_eq!(ended.stdout, b"out\n", "{flags:?}");
        if flags.contains(&"channel.k8s.io") {
            // This client does not wait for the error channel.
            continue;
        }
        if flags.iter().any(|flag| flag.contains("v3.") || flag.contains("v2.")) {
            // They carry no status, only text.
            assert_eq!(ended.status, 250, "{flags:?}");
            assert!(ended.stderr.contains("non-zero exit code: 3"), "{}", ended.stderr);
        } else {
            assert_eq!((ended.stderr.as_str(), ended.status), ("err\n", 3), "{flags:?}");
        }
        let ended = run(flags, &serving.exec("true", streams), b"").await;
        assert_eq!((ended.stdout.len(), ended.status), (0, 0), "{flags:?}: {}", ended.stderr);
    }
}

#[tokio::test]
async fn input_goes_through_whole_and_its_end_is_seen() {
    let serving = Serving::start().await;
    let input: Vec<u8> = (0..3_000_000_u32).map(|n| n.to_le_bytes()[(n % 3) as usize]).collect();
    for (flags, closes) in PROTOCOLS {
        let script = if closes { "cat" } else { "head -c 3000000" };
        let flags = [flags, &["-stdin"]].concat();
        let ended = run(&flags, &serving.exec(script, PIPES), &input).await;
        assert_eq!(ended.status, 0, "{flags:?}: {}", ended.stderr);
        assert!(ended.stdout == input, "{flags:?}: {} bytes", ended.stdout.len());
    }
}

#[tokio::test]
async fn much_output_is_whole_when_the_process_ends_at_once() {
    let serving = Serving::start().await;
    let streams = Streams { stdin: false, stderr: false, ..PIPES };
    for flags in [&["-stderr=false"][..], &["-stderr=false", "-websocket"]] {
        let url = serving.exec("head -c 20000000 /dev/zero; exit 5", streams);
        let ended = run(flags, &url, b"").await;
        assert_eq!((ended.stdout.len(), ended.status), (20_000_000, 5), "{flags:?}");
    }
}

#[tokio::test]
async fn a_terminal_gets_its_size() {
    let serving = Serving::start().await;
    for flags in [
        &["-tty", "-stdin", "-size", "132x43"][..],
        &["-tty", "-stdin", "-size", "132x43", "-websocket"],
    ] {
        let url = serving.exec("ignored", TERMINAL);
        let mut child = client(&[flags, &["run", &url]].concat());
        let mut lines = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        soon(lines.read_line(&mut line)).await.unwrap();
        assert_eq!(line, "132x43\r\n");
        child.stdin.take().unwrap().write_all(b"x").await.unwrap();
        assert_eq!(soon(child.wait()).await.unwrap().code(), Some(7));
    }
}

#[tokio::test]
async fn an_attached_client_sees_success_at_the_end_of_the_streams() {
    let serving = Serving::start().await;
    for flags in [&["-stdin"][..], &["-stdin", "-websocket"]] {
        let ended = run(flags, &serving.attach(PIPES), b"hello").await;
        assert_eq!(ended.stdout, b"attached to c\nhello", "{flags:?}");
        assert_eq!(ended.status, 0, "{flags:?}: {}", ended.stderr);
    }
}

#[tokio::test]
async fn a_command_that_cannot_start_is_told() {
    let serving = Serving::start().await;
    for (flags, _) in PROTOCOLS {
        let streams = Streams { stdin: false, ..PIPES };
        let url = serving.command(vec!["/no/such/program".to_owned()], streams);
        let ended = run(flags, &url, b"").await;
        if flags.contains(&"channel.k8s.io") {
            continue;
        }
        assert_eq!(ended.status, 250, "{flags:?}");
        assert!(ended.stderr.contains("no start: No such file"), "{flags:?}: {}", ended.stderr);
    }
}

/// Echoes whatever comes, until its end.
async fn echo() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        loop {
            let (mut connection, _) = listener.accept().await.unwrap();
            tokio::spawn(async move {
                let (mut from, mut to) = connection.split();
                // A client may leave at any time.
                let _ = tokio::io::copy(&mut from, &mut to).await;
            });
        }
    });
    port
}

/// Sends and reads at once, and compares.
async fn talk(port: u16, bytes: usize) {
    let mut connection = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    let sent: Vec<u8> = (0..bytes).map(|n| (n % 251) as u8).collect();
    let mut back = vec![0; bytes];
    let (mut from, mut to) = connection.split();
    let (wrote, read) = tokio::join!(to.write_all(&sent), from.read_exact(&mut back));
    wrote.unwrap();
    read.unwrap();
    assert!(sent == back);
}

#[tokio::test]
async fn ports_are_forwarded_for_many_connections_at_once() {
    let serving = Serving::start().await;
    let target = echo().await;
    for flags in [&[][..], &["-websocket"]] {
        let mut forwarder =
            client(&[flags, &["forward", &serving.forward(&[]), &target.to_string()]].concat());
        let mut lines = BufReader::new(forwarder.stdout.take().unwrap());
        let mut line = String::new();
        soon(lines.read_line(&mut line)).await.unwrap();
        let port: u16 = line.trim().parse().unwrap();
        talk(port, 5_000_000).await;
        let talks = (0..30).map(|n| talk(port, 1 + n * 10_000));
        soon(futures_util::future::join_all(talks)).await;
        drop(forwarder.stdin.take());
        assert!(soon(forwarder.wait()).await.unwrap().success());
    }
}

#[tokio::test]
async fn a_closed_port_is_told_and_spoils_no_other_connection() {
    let serving = Serving::start().await;
    let closed = {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        listener.local_addr().unwrap().port()
    };
    let mut forwarder = client(&["forward", &serving.forward(&[]), &closed.to_string()]);
    let mut lines = BufReader::new(forwarder.stdout.take().unwrap());
    let mut line = String::new();
    soon(lines.read_line(&mut line)).await.unwrap();
    let port: u16 = line.trim().parse().unwrap();
    let mut connection = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    let mut rest = Vec::new();
    // Reset or closed, as the client likes.
    let _ = soon(connection.read_to_end(&mut rest)).await;
    assert_eq!(rest, b"");
    let mut errors = BufReader::new(forwarder.stderr.take().unwrap());
    line.clear();
    while !line.contains("error forwarding port") {
        assert!(soon(errors.read_line(&mut line)).await.unwrap() > 0, "{line}");
    }
    assert!(line.contains("Connection refused"), "{line}");
}

#[tokio::test]
async fn everything_works_over_tls() {
    let directory = tempfile::tempdir().unwrap();
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let tls = Tls {
        certificate: directory.path().join("cert.pem"),
        key: directory.path().join("key.pem"),
    };
    std::fs::write(&tls.certificate, made.cert.pem()).unwrap();
    std::fs::write(&tls.key, made.signing_key.serialize_pem()).unwrap();
    let serving = Serving::with(Options { tls: Some(tls), ..Options::default() }).await;
    for flags in [&["-stdin"][..], &["-stdin", "-websocket"]] {
        let url = serving.exec("cat; exit 9", PIPES);
        assert!(url.starts_with("https://127.0.0.1:"), "{url}");
        let ended = run(flags, &url, b"secret").await;
        assert_eq!((&ended.stdout[..], ended.status), (&b"secret"[..], 9), "{}", ended.stderr);
    }
}
