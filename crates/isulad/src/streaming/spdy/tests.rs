//! Sessions over a pipe, with frames as clients sent them and as they never should.

use std::sync::Arc;

use async_trait::async_trait;
use isula_core::{
    error::{ErrorKind, PortError},
    ports::{Result, TerminalSize},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex},
    sync::{mpsc, oneshot},
};

use super::{
    connection::Event,
    forward, open,
    remote::{Reader, Version},
};
use crate::streaming::{
    AttachRequest, Backend, Duplex, ExecRequest, PortForwardRequest, Running, Streams,
    call::Call,
    remote::{Channel, Incoming},
};

/// What client-go 0.36 sends for an exec with a terminal of 132 columns and the input `hi`: the
/// streams error, stdin, stdout and resize, a size, input, its end.
const CAPTURED: [&str; 7] = [
    "80030001000000290000000100000000000078f9e3c6a7c26260606004a7b392a2d4c45c6851c29a0a0a6800000000ffff",
    "800300010000001700000003000000000000c22e555c92929907000000ffff",
    "800300010000001900000005000000000000c22ac5565c92925f5a02000000ffff",
    "800300010000001800000007000000000000c22e57945a9c59950a000000ffff",
    "000000070000001a7b225769647468223a3133322c22486569676874223a34337d0a",
    "000000030000000368690a",
    "0000000301000000",
];

fn bytes(hex: &str) -> Vec<u8> {
    (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect()
}

fn captured() -> Vec<u8> {
    CAPTURED.iter().flat_map(|frame| bytes(frame)).collect()
}

/// Everything that the server sends from now on.
async fn rest(mut client: DuplexStream) -> Vec<u8> {
    let mut all = Vec::new();
    client.read_to_end(&mut all).await.unwrap();
    all
}

#[tokio::test]
async fn a_captured_session_is_understood_however_it_is_cut() {
    for piece in [1, 7, 4096] {
        let (mut client, server) = duplex(1 << 16);
        let (mut connection, writer) = open(Box::new(server));
        let (incoming, mut from_client) = mpsc::channel(16);
        let (complete, completed) = oneshot::channel();
        let streams = Streams { stdin: true, stdout: true, stderr: false, tty: true };
        let reader = Reader::new(Version::V4.expected(streams), complete, incoming);
        tokio::spawn(async move {
            for piece in captured().chunks(piece) {
                client.write_all(piece).await.unwrap();
                tokio::task::yield_now().await;
            }
            client.shutdown().await.unwrap();
            rest(client).await
        });
        reader.run(&mut connection, &writer).await.unwrap();
        let roles: Vec<_> = completed.await.unwrap().into_iter().collect();
        assert_eq!(
            roles,
            [(Channel::Error, 1), (Channel::Stdin, 3), (Channel::Stdout, 5), (Channel::Resize, 7)]
        );
        let size = TerminalSize { rows: 43, columns: 132 };
        assert_eq!(from_client.recv().await, Some(Incoming::Resize(size)));
        assert_eq!(from_client.recv().await, Some(Incoming::Input("hi\n".into())));
        assert_eq!(from_client.recv().await, Some(Incoming::InputEnd));
        assert_eq!(from_client.recv().await, None);
    }
}

#[tokio::test]
async fn pings_are_answered_and_strange_frames_passed_over() {
    let (mut client, server) = duplex(1 << 16);
    let (mut connection, _writer) = open(Box::new(server));
    for frame in [
        // A ping of the client's, one of ours, a kind that does not exist, settings, an update for
        // a stream that does not exist, the end.
        "800300060000000400000001",
        "800300060000000400000002",
        "8003004200000003aabbcc",
        "80030004000000080000000000000000",
        "80030009000000080000000900000001",
        "80030007000000080000000000000000",
    ] {
        client.write_all(&bytes(frame)).await.unwrap();
    }
    assert!(connection.next().await.unwrap().is_none());
    drop((connection, _writer));
    assert_eq!(rest(client).await, bytes("800300060000000400000001"));
}

#[tokio::test]
async fn what_breaks_the_protocol_ends_the_session() {
    for frame in [
        // Another version; data of a stream that was never opened, of none; an even stream; a
        // control frame too long; headers that are no zlib; cut-short frames; a window too wide.
        "8002000100000000",
        "0000000100000000",
        "0000000000000000",
        "8003000100000012000000020000000000007801000400fbff00000000",
        "8003000100ffffff",
        "8003000100000012000000010000000000000000000000000000000000",
        "80030001000000020000",
        "800300030000000100",
        "8003000400000004ffffffff",
        "80030009000000087fffffff",
    ] {
        let (mut client, server) = duplex(1 << 16);
        let (mut connection, _writer) = open(Box::new(server));
        client.write_all(&bytes(frame)).await.unwrap();
        client.shutdown().await.unwrap();
        let event = connection.next().await;
        assert!(event.is_err(), "{frame}: {event:?}");
    }
}

/// A header block that unpacks to far more than it is.
#[tokio::test]
async fn a_bomb_of_headers_is_refused() {
    use flate2::{Compress, Compression, FlushCompress};
    let mut zlib = Compress::new(Compression::best(), true);
    zlib.set_dictionary(&super::dictionary::dictionary()).unwrap();
    let mut block = Vec::with_capacity(1 << 20);
    let mut pairs = vec![0, 0, 0, 1, 0, 0x40, 0, 0];
    pairs.resize(8 << 20, 0);
    zlib.compress_vec(&pairs, &mut block, FlushCompress::Sync).unwrap();
    assert!(block.len() < 16 << 10, "{}", block.len());
    let mut unpacker = super::headers::Unpacker::new();
    assert!(unpacker.read(&block).is_err());
}

#[tokio::test]
async fn a_frame_of_many_bytes_comes_in_pieces_with_windows_renewed() {
    let (mut client, server) = duplex(1 << 20);
    let (mut connection, _writer) = open(Box::new(server));
    client.write_all(&bytes(CAPTURED[0])).await.unwrap();
    let length = 100_000_usize;
    client.write_all(&bytes("0000000101")).await.unwrap();
    client.write_all(&length.to_be_bytes()[5..]).await.unwrap();
    client.write_all(&vec![7; length]).await.unwrap();
    assert!(matches!(connection.next().await.unwrap(), Some(Event::Open { stream: 1, .. })));
    let mut seen = 0;
    loop {
        let Some(Event::Data { stream: 1, bytes, fin }) = connection.next().await.unwrap() else {
            panic!("no data");
        };
        assert!(bytes.len() <= 16 << 10);
        seen += bytes.len();
        connection.taken(1, bytes.len()).await.unwrap();
        if fin {
            break;
        }
    }
    assert_eq!(seen, length);
    drop((connection, _writer));
    let updates = rest(client).await;
    // Three times 32 KiB for the session and for the stream.
    assert_eq!(updates.len(), 6 * 16);
    assert_eq!(updates[..16], bytes("80030009000000080000000000008000"));
    assert_eq!(updates[16..32], bytes("80030009000000080000000100008000"));
}

#[tokio::test]
async fn a_client_with_windows_is_sent_no_more_than_it_allows() {
    let (mut client, server) = duplex(1 << 20);
    let (mut connection, writer) = open(Box::new(server));
    // Settings: the initial window is ten bytes.
    client.write_all(&bytes("800300040000000c00000001000000070000000a")).await.unwrap();
    client.write_all(&bytes("800300060000000400000001")).await.unwrap();
    let reading = tokio::spawn(async move { while let Ok(Some(_)) = connection.next().await {} });
    let mut pong = [0; 12];
    client.read_exact(&mut pong).await.unwrap();
    writer.accept(1).await.unwrap();
    let sending = tokio::spawn({
        let writer = Arc::clone(&writer);
        async move { writer.data(1, vec![5; 25].into()).await }
    });
    let mut reply = [0; 8];
    client.read_exact(&mut reply).await.unwrap();
    let mut block = vec![0; usize::from(reply[7])];
    client.read_exact(&mut block).await.unwrap();
    for wanted in [10, 9, 6] {
        let mut head = [0; 8];
        client.read_exact(&mut head).await.unwrap();
        assert_eq!(head, [0, 0, 0, 1, 0, 0, 0, wanted]);
        let mut data = vec![0; usize::from(wanted)];
        client.read_exact(&mut data).await.unwrap();
        client.write_all(&bytes("80030009000000080000000100000009")).await.unwrap();
    }
    sending.await.unwrap().unwrap();
    drop(client);
    reading.await.unwrap();
}

/// Nothing runs and no port answers.
struct Nothing;

#[async_trait]
impl Backend for Nothing {
    async fn exec(&self, _: &ExecRequest) -> Result<Running> {
        Err(PortError::new(ErrorKind::Unsupported, "no"))
    }

    async fn attach(&self, _: &AttachRequest) -> Result<Running> {
        Err(PortError::new(ErrorKind::Unsupported, "no"))
    }

    async fn port_forward(&self, _: &str, _: u16) -> Result<Box<dyn Duplex>> {
        Err(PortError::new(ErrorKind::Unsupported, "no"))
    }
}

/// Mutations of a real session: whatever comes, the session ends and nothing panics.
#[tokio::test]
async fn no_frames_harm_the_server() {
    let call = Arc::new(Call::new(Arc::new(Nothing), std::time::Duration::from_secs(60)));
    let request = PortForwardRequest { sandbox: "pod".to_owned(), ports: Vec::new() };
    let mut seed = 0x2545_f491_4f6c_dd1d_u64;
    let mut next = move || {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        usize::try_from(seed >> 16).unwrap()
    };
    let original = captured();
    for _ in 0..2000 {
        let mut frames = original.clone();
        for _ in 0..=next() % 8 {
            let at = next() % frames.len();
            match next() % 4 {
                0 => frames[at] = next().to_le_bytes()[0],
                1 => frames.truncate(at.max(1)),
                2 => frames.insert(at, next().to_le_bytes()[0]),
                _ => frames[at] ^= 1 << (next() % 8),
            }
        }
        let (mut client, server) = duplex(1 << 16);
        client.write_all(&frames).await.unwrap();
        client.shutdown().await.unwrap();
        tokio::join!(forward(Box::new(server), &request, Arc::clone(&call)), rest(client));
    }
}
