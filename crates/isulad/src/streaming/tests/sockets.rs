//! WebSocket clients that Kubernetes' library is not: older subprotocols, base64, ports as channels.

use futures_util::{SinkExt, StreamExt};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::{
    WebSocketStream, client_async,
    tungstenite::{Message, client::IntoClientRequest},
};

use super::{PIPES, Serving, Streams, TERMINAL, soon};

async fn open(serving: &Serving, url: &str, protocol: &str) -> WebSocketStream<TcpStream> {
    let mut request = url.replace("http://", "ws://").into_client_request().unwrap();
    if !protocol.is_empty() {
        request.headers_mut().insert("sec-websocket-protocol", protocol.parse().unwrap());
    }
    client_async(request, serving.connect().await).await.unwrap().0
}

/// Everything up to the end: (channel, bytes) with the pieces of a channel joined.
async fn all(socket: &mut WebSocketStream<TcpStream>) -> Vec<(u8, Vec<u8>)> {
    let mut channels: Vec<(u8, Vec<u8>)> = Vec::new();
    while let Some(message) = soon(socket.next()).await {
        let message = message.unwrap();
        if message.is_close() {
            continue;
        }
        let data = message.into_data();
        let (channel, bytes) = data.split_first().unwrap();
        match channels.iter_mut().find(|(known, _)| known == channel) {
            Some((_, known)) => known.extend_from_slice(bytes),
            None => channels.push((*channel, bytes.to_vec())),
        }
    }
    channels.sort();
    channels
}

#[tokio::test]
async fn binary_channels_without_and_with_a_status() {
    let serving = Serving::start().await;
    for (protocol, status) in [
        ("", "command terminated with non-zero exit code: 4"),
        ("channel.k8s.io", "command terminated with non-zero exit code: 4"),
        ("v4.channel.k8s.io", r#""reason":"ExitCode""#),
        ("v5.channel.k8s.io", r#""reason":"ExitCode""#),
    ] {
        let url = serving.exec("read a; echo $a; echo e >&2; exit 4", PIPES);
        let mut socket = open(&serving, &url, protocol).await;
        socket.send(Message::binary(&b"\x00hi\n"[..])).await.unwrap();
        let channels = all(&mut socket).await;
        assert_eq!(channels[0], (1, b"hi\n".to_vec()), "{protocol}");
        assert_eq!(channels[1], (2, b"e\n".to_vec()), "{protocol}");
        assert_eq!(channels[2].0, 3);
        let told = String::from_utf8(channels[2].1.clone()).unwrap();
        assert!(told.contains(status), "{protocol}: {told}");
    }
}

#[tokio::test]
async fn base64_channels() {
    let serving = Serving::start().await;
    for protocol in ["base64.channel.k8s.io", "v4.base64.channel.k8s.io"] {
        let url = serving.exec("read a; echo $a", Streams { stderr: false, ..PIPES });
        let mut socket = open(&serving, &url, protocol).await;
        socket.send(Message::text("0aGkK")).await.unwrap();
        let mut texts = Vec::new();
        while let Some(Ok(Message::Text(text))) = soon(socket.next()).await {
            texts.push(text.to_string());
        }
        assert_eq!(texts[0], "1", "an empty message says that it is connected");
        assert_eq!(texts[1], "1aGkK");
        assert_eq!(texts.len(), if protocol.starts_with("v4") { 3 } else { 2 });
    }
}

#[tokio::test]
async fn the_fifth_version_closes_standard_input_and_others_do_not() {
    let serving = Serving::start().await;
    let streams = Streams { stderr: false, ..PIPES };
    let mut socket =
        open(&serving, &serving.exec("cat; echo end", streams), "v5.channel.k8s.io").await;
    socket.send(Message::binary(&b"\x00hi\n"[..])).await.unwrap();
    socket.send(Message::binary(&b"\xff\x00"[..])).await.unwrap();
    assert_eq!(all(&mut socket).await[0], (1, b"hi\nend\n".to_vec()));
    let url = serving.exec("read a; read b; echo $a $b", streams);
    let mut socket = open(&serving, &url, "v4.channel.k8s.io").await;
    for message in [&b"\x00a\n"[..], b"\xff\x00", b"\x00b\n"] {
        socket.send(Message::binary(message)).await.unwrap();
    }
    assert_eq!(all(&mut socket).await[0], (1, b"a b\n".to_vec()));
}

#[tokio::test]
async fn a_terminal_is_resized_by_channel_four() {
    let serving = Serving::start().await;
    let mut socket = open(&serving, &serving.exec("", TERMINAL), "v4.channel.k8s.io").await;
    let size = b"\x04{\"Width\":100,\"Height\":30}";
    socket.send(Message::binary(&size[..])).await.unwrap();
    socket.send(Message::binary(&b"\x00x"[..])).await.unwrap();
    let channels = all(&mut socket).await;
    assert_eq!(channels[0], (1, b"100x30\r\n".to_vec()));
}

#[tokio::test]
async fn two_ports_have_two_pairs_of_channels() {
    let serving = Serving::start().await;
    let mut ports = Vec::new();
    for _ in 0..2 {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        ports.push(listener.local_addr().unwrap().port());
        tokio::spawn(async move {
            let (mut connection, _) = listener.accept().await.unwrap();
            let mut bytes = [0; 4];
            connection.read_exact(&mut bytes).await.unwrap();
            bytes.reverse();
            connection.write_all(&bytes).await.unwrap();
            // Up to the end of the client.
            assert_eq!(connection.read(&mut bytes).await.unwrap(), 0);
        });
    }
    for (protocol, coded) in [("v4.channel.k8s.io", false), ("v4.base64.channel.k8s.io", true)] {
        if coded {
            // The listeners above take one connection each.
            break;
        }
        let mut socket = open(&serving, &serving.forward(&ports), protocol).await;
        socket.send(Message::binary(&b"\x00abcd"[..])).await.unwrap();
        socket.send(Message::binary(&b"\x02efgh"[..])).await.unwrap();
        let mut seen = vec![Vec::new(); 4];
        while seen[0].len() + seen[2].len() < 12 {
            let message = soon(socket.next()).await.unwrap().unwrap().into_data();
            seen[usize::from(message[0])].extend_from_slice(&message[1..]);
        }
        let expected = |port: u16, text: &[u8]| [&port.to_le_bytes()[..], text].concat();
        assert_eq!(seen[0], expected(ports[0], b"dcba"));
        assert_eq!(seen[1], expected(ports[0], b""));
        assert_eq!(seen[2], expected(ports[1], b"hgfe"));
        assert_eq!(seen[3], expected(ports[1], b""));
        socket.close(None).await.unwrap();
    }
}

#[tokio::test]
async fn a_closed_port_is_told_on_its_error_channel_in_base64_too() {
    let serving = Serving::start().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    drop(listener);
    let mut socket = open(&serving, &serving.forward(&[port]), "v4.base64.channel.k8s.io").await;
    let mut last = String::new();
    while let Some(Ok(Message::Text(text))) = soon(socket.next()).await {
        last = text.to_string();
    }
    use base64::{Engine as _, engine::general_purpose::STANDARD};
    let text = STANDARD.decode(last.strip_prefix('1').unwrap()).unwrap();
    let text = String::from_utf8(text).unwrap();
    assert!(text.contains(&format!("error forwarding port {port} to pod pod")), "{text}");
}
