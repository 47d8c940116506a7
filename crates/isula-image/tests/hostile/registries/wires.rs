//! Answers that are no HTTP, or too much of it.

use std::sync::Arc;

use super::{Row, Script, manifest, shelved, small};
use crate::server::{Body, noise, play};
use crate::world::Wanted::{Refused, Safe};

pub fn wires() -> Vec<Row> {
    let raw = |bytes: Vec<u8>| manifest(play(Body::Raw(bytes)));
    let head = |lines: &str| raw(format!("HTTP/1.1 200 OK\r\n{lines}\r\n\r\n{{}}").into_bytes());
    let fine = Arc::new(shelved(&small()));
    let odd: Script = Box::new(move |seen| fine.answer(seen).header("X-Odd", "\u{e9}\u{ff}"));
    vec![
        ("a header of 1 MiB", head(&format!("X: {}", "y".repeat(1 << 20))), Refused("broke off")),
        ("five thousand headers", head(&"A: b\r\n".repeat(5000)), Refused("broke off")),
        ("a header that is no UTF-8", odd, Safe),
        ("a header with a zero byte", head("X: a\0b"), Refused("broke off")),
        ("a length that is negative", head("Content-Length: -1"), Refused("broke off")),
        (
            "a length beyond numbers",
            head("Content-Length: 99999999999999999999999"),
            Refused("broke off"),
        ),
        ("two lengths", head("Content-Length: 2\r\nContent-Length: 5"), Refused("broke off")),
        (
            "a chunk that is none",
            raw(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n".to_vec()),
            Refused("broke off"),
        ),
        (
            "a chunk of 2^64 bytes",
            raw(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffffff\r\n"
                .to_vec()),
            Refused("broke off"),
        ),
        (
            "a chunk of endless extensions",
            raw([
                &b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2;"[..],
                &[b'x'; 1 << 20],
            ]
            .concat()),
            Refused("broke off"),
        ),
        ("an answer of SSH", raw(b"SSH-2.0-OpenSSH\r\n\r\n".to_vec()), Refused("broke off")),
        ("an answer of HTTP/2", raw(b"\0\0\x12\x04\0\0\0\0\0".to_vec()), Refused("broke off")),
        ("an answer of noise", raw(noise(100_000)), Refused("broke off")),
        (
            "answers to come without end",
            raw(b"HTTP/1.1 100 Continue\r\n\r\n".repeat(100_000)),
            Refused(""),
        ),
        (
            "a change of protocols",
            raw(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n"
                .to_vec()),
            Refused(""),
        ),
        (
            "a status of 999",
            raw(b"HTTP/1.1 999 X\r\nContent-Length: 0\r\n\r\n".to_vec()),
            Refused("999"),
        ),
    ]
}
