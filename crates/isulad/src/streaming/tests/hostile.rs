//! Clients that want what they must not have.

use std::{sync::atomic::Ordering, time::Duration};

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::{Options, PIPES, Serving, Streams, soon};

const SPDY: &str = "Upgrade: SPDY/3.1\r\nX-Stream-Protocol-Version: v4.channel.k8s.io\r\n";

#[tokio::test]
async fn a_url_is_good_once_and_a_guess_never() {
    let serving = Serving::start().await;
    let url = serving.exec("true", PIPES);
    let (_first, head) = serving.upgrade(&url, SPDY).await;
    assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
    assert!(head.contains("x-stream-protocol-version: v4.channel.k8s.io"), "{head}");
    let (_, head) = serving.upgrade(&url, SPDY).await;
    assert!(head.starts_with("HTTP/1.1 404 "), "{head}");
    let other = serving.exec("true", PIPES);
    for guess in [
        other.replace("/exec/", "/attach/"),
        other.replace("/exec/", "/portforward/"),
        other.replace("/exec/", "/"),
        format!("{other}x"),
        other[..other.len() - 1].to_owned(),
        "http://x/".to_owned(),
        "http://x/exec/".to_owned(),
    ] {
        let (_, head) = serving.upgrade(&guess, SPDY).await;
        assert!(!head.starts_with("HTTP/1.1 101 "), "{guess}: {head}");
    }
    let (_, head) = serving.upgrade(&other, SPDY).await;
    assert!(head.starts_with("HTTP/1.1 101 "), "guesses did not spend it: {head}");
    assert_eq!(serving.host.asked.load(Ordering::SeqCst), 0, "no stream was opened");
}

#[tokio::test]
async fn a_request_that_is_not_understood_does_not_spend_the_url() {
    let serving = Serving::start().await;
    let url = serving.exec("true", PIPES);
    let unknown = "Upgrade: SPDY/3.1\r\nX-Stream-Protocol-Version: v9.channel.k8s.io\r\n";
    for (headers, status) in [
        ("", "400"),
        ("Upgrade: h2c\r\n", "400"),
        (unknown, "403"),
        ("Upgrade: websocket\r\n", "400"),
        ("Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n", "400"),
        (
            "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: eA==\r\n\
             Sec-WebSocket-Protocol: chat\r\n",
            "403",
        ),
    ] {
        let (_, head) = serving.upgrade(&url, headers).await;
        assert!(head.starts_with(&format!("HTTP/1.1 {status} ")), "{headers}: {head}");
    }
    let (_, head) = serving.upgrade(&url, SPDY).await;
    assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
}

#[tokio::test]
async fn those_who_say_nothing_keep_nobody_out() {
    let serving = Serving::start().await;
    let mut silent = Vec::new();
    for _ in 0..300 {
        silent.push(serving.connect().await);
    }
    let (_session, head) = serving.upgrade(&serving.exec("true", PIPES), SPDY).await;
    assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
    // The oldest have been closed to make room.
    assert_eq!(soon(silent[0].read(&mut [0])).await.unwrap(), 0);
}

#[tokio::test]
async fn headers_without_end_are_cut_off() {
    let serving = Serving::start().await;
    let mut connection = serving.connect().await;
    connection.write_all(b"GET /exec/x HTTP/1.1\r\n").await.unwrap();
    let mut sent = 0_usize;
    while connection.write_all(&[b'a'; 1024]).await.is_ok() {
        sent += 1024;
        assert!(sent < 64 << 20, "it takes whatever comes");
    }
}

/// Every kind of garbage ends the session, and the server goes on.
#[tokio::test]
async fn garbage_after_the_upgrade_ends_only_its_own_session() {
    let serving = Serving::start().await;
    let mut seed = 0x9e37_79b9_7f4a_7c15_u64;
    for round in 0..60 {
        let url = if round % 2 == 0 { serving.exec("cat", PIPES) } else { serving.forward(&[]) };
        let protocol = if round % 2 == 0 { "v4.channel.k8s.io" } else { "portforward.k8s.io" };
        let headers = format!("Upgrade: SPDY/3.1\r\nX-Stream-Protocol-Version: {protocol}\r\n");
        let (mut connection, head) = serving.upgrade(&url, &headers).await;
        assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
        let mut bytes = Vec::new();
        for _ in 0..4096 {
            seed ^= seed << 13;
            seed ^= seed >> 7;
            seed ^= seed << 17;
            bytes.push(seed.to_le_bytes()[0]);
        }
        // Begin like a control frame of some kind, so that its reader is reached.
        bytes[..8].copy_from_slice(&[0x80, 3, 0, (round % 11) as u8, 0, 0, 4, 0]);
        // It may be closed before everything is sent.
        let _ = connection.write_all(&bytes).await;
        let _ = connection.shutdown().await;
        let mut rest = Vec::new();
        let _ = soon(connection.read_to_end(&mut rest)).await;
    }
    let (_session, head) = serving.upgrade(&serving.exec("true", PIPES), SPDY).await;
    assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
}

#[tokio::test]
async fn a_session_in_which_nothing_moves_is_ended() {
    let options = Options { idle: Duration::from_millis(200), ..Options::default() };
    let serving = Serving::with(options).await;
    let headers = "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: eA==\r\n";
    let streams = Streams { stdin: false, ..PIPES };
    let (mut connection, head) =
        serving.upgrade(&serving.exec("sleep 1000", streams), headers).await;
    assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
    let mut seen = [0; 7];
    // The greeting, then the end: a close frame.
    soon(connection.read_exact(&mut seen)).await.unwrap();
    assert_eq!(seen[..3], [0x82, 1, 1]);
    assert_eq!(seen[3] & 0x0f, 8, "{seen:?}");
}

/// A client that reads slowly slows the process, and fills no memory of the daemon's.
#[tokio::test]
async fn output_that_nobody_reads_waits() {
    // What the buffers of two sockets may hold.
    const BUFFERS: usize = 16 << 20;
    let web = "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: eA==\r\n";
    let serving = Serving::start().await;
    let streams = Streams { stdin: false, stderr: false, ..PIPES };
    let url = serving.command(vec!["flood".to_owned()], streams);
    let (mut connection, _) = serving.upgrade(&url, web).await;
    let mut read = 0;
    let mut piece = vec![0; 64 << 10];
    while read < 4 * BUFFERS {
        read += soon(connection.read(&mut piece)).await.unwrap();
        let made = serving.host.flooded.load(Ordering::SeqCst);
        assert!(made < read + BUFFERS, "{made} bytes were made, {read} read");
    }
    drop(connection);
    soon(serving.host.left.notified()).await;
}
