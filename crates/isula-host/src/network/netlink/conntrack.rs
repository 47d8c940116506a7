//! Connections that the kernel tracks. A flow of UDP that began before its port was mapped would
//! miss the mapping for as long as packets come.

use std::io;

use super::{
    message::{ACK, Message, attributes, find},
    socket::{Socket, netfilter},
};

const CONNTRACK: u16 = 1 << 8;
const GET: u16 = CONNTRACK | 1;
const DELETE: u16 = CONNTRACK | 2;
const ORIGINAL: u16 = 1;
const ZONE: u16 = 18;
const TUPLE_PROTOCOL: u16 = 2;
const PROTOCOL_NUMBER: u16 = 1;
const DESTINATION_PORT: u16 = 3;
const UDP: u8 = 17;

/// Forgets the flows of UDP to these ports of this machine.
pub(crate) fn forget_udp(ports: &[u16], ipv6: bool) -> io::Result<()> {
    if ports.is_empty() {
        return Ok(());
    }
    netfilter(|socket| forget(socket, ports, if ipv6 { 10 } else { 2 }))
}

fn forget(socket: &Socket, ports: &[u16], family: u8) -> io::Result<()> {
    let header = [family, 0, 0, 0];
    let stale = socket.list(
        (GET, &header),
        |_| {},
        |body| {
            let original = find(body, 4, ORIGINAL)?;
            let protocol = find(original, 0, TUPLE_PROTOCOL)?;
            let number = find(protocol, 0, PROTOCOL_NUMBER)?;
            let port = find(protocol, 0, DESTINATION_PORT)?;
            let port = u16::from_be_bytes(port.try_into().ok()?);
            (number == [UDP] && ports.contains(&port))
                .then(|| (original.to_vec(), find(body, 4, ZONE).map(<[u8]>::to_vec)))
        },
    )?;
    for (original, zone) in stale {
        let mut message = Message::new(DELETE, ACK, &header);
        message.nest(ORIGINAL, |tuple| copy(tuple, &original, 2));
        if let Some(zone) = zone {
            message.put(ZONE, &zone);
        }
        match socket.change(message) {
            // It ended by itself.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            other => other?,
        }
    }
    Ok(())
}

/// Copies attributes that hold attributes themselves down to a depth; flags are set anew.
fn copy(message: &mut Message, bytes: &[u8], depth: usize) {
    for (kind, value) in attributes(bytes, 0) {
        if depth > 1 && [1, 2].contains(&kind) {
            message.nest(kind, |inner| copy(inner, value, depth - 1));
        } else {
            message.put(kind, value);
        }
    }
}
