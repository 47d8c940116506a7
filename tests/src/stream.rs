//! A client of the streaming server that does only what a test tells it: no library reads ahead.

use std::{
    io::{self, Read, Write},
    net::TcpStream,
    time::Duration,
};

use anyhow::{Context, Result};

/// No answer takes so long.
const LIMIT: Duration = Duration::from_secs(60);

/// Asks for an upgrade to WebSocket at a URL; gives back the connection and the status of the answer.
pub fn upgrade(url: &str) -> Result<(TcpStream, u16)> {
    let (address, path) = parts(url)?;
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(LIMIT))?;
    write!(
        stream,
        "GET /{path} HTTP/1.1\r\nHost: {address}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\
         Sec-WebSocket-Protocol: v5.channel.k8s.io\r\n\r\n"
    )?;
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        match stream.read(&mut byte) {
            Ok(0) => break,
            Ok(_) => head.extend_from_slice(&byte),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error.into()),
        }
    }
    let head = String::from_utf8_lossy(&head);
    let status = head.split(' ').nth(1).and_then(|text| text.parse().ok());
    Ok((stream, status.with_context(|| format!("no answer: {head:?}"))?))
}

/// Address and path of a URL.
pub fn parts(url: &str) -> Result<(&str, &str)> {
    let rest = url.split_once("://").context("no scheme")?.1;
    rest.split_once('/').context("no path")
}
