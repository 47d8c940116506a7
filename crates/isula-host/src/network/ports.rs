//! Ports of the host that nobody has.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, SocketAddr},
};

use isula_core::ports::{PortMapping, Protocol};
use rustix::{
    io::Errno,
    net::{
        AddressFamily, SocketFlags, SocketType, bind, getsockname, ipproto, socket_with, sockopt,
    },
};

use super::error::NetworkError;

/// The port of a mapping, or any free one where that is 0: whoever has it keeps others from binding a
/// socket to it. Nobody connects to this one, which does not listen.
pub(super) fn free(mapping: &PortMapping) -> Result<u16, NetworkError> {
    let ip = mapping.host_ip.unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED));
    let wanted = SocketAddr::new(ip, mapping.host_port);
    try_bind(wanted, mapping.protocol).map_err(|error| match Errno::from_io_error(&error) {
        Some(Errno::ADDRINUSE) => NetworkError::PortTaken(wanted),
        _ => NetworkError::Port(wanted, error),
    })
}

fn try_bind(wanted: SocketAddr, protocol: Protocol) -> io::Result<u16> {
    let family = if wanted.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let (kind, protocol) = match protocol {
        Protocol::Tcp => (SocketType::STREAM, ipproto::TCP),
        Protocol::Udp => (SocketType::DGRAM, ipproto::UDP),
        Protocol::Sctp => (SocketType::STREAM, ipproto::SCTP),
    };
    let socket = match socket_with(family, kind, SocketFlags::CLOEXEC, Some(protocol)) {
        // A kernel without SCTP has no socket that could have the port.
        Err(Errno::PROTONOSUPPORT) if wanted.port() != 0 => return Ok(wanted.port()),
        other => other?,
    };
    if kind == SocketType::STREAM {
        // Former connections that only wait for their end do not matter.
        sockopt::set_socket_reuseaddr(&socket, true)?;
    }
    bind(&socket, &wanted)?;
    let bound = SocketAddr::try_from(getsockname(&socket)?).map_err(io::Error::from)?;
    Ok(bound.port())
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, UdpSocket};

    use super::*;

    fn mapping(host_port: u16, protocol: Protocol) -> PortMapping {
        let host_ip = Some(IpAddr::V4(Ipv4Addr::LOCALHOST));
        PortMapping { host_port, container_port: 80, protocol, host_ip }
    }

    #[test]
    fn a_port_that_somebody_has_is_refused_and_another_one_is_found() {
        let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
        let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
        for (address, protocol) in
            [(tcp.local_addr().unwrap(), Protocol::Tcp), (udp.local_addr().unwrap(), Protocol::Udp)]
        {
            let taken = free(&mapping(address.port(), protocol)).unwrap_err().to_string();
            assert_eq!(taken, format!("port {address} of the host is in use"));
            let found = free(&mapping(0, protocol)).unwrap();
            assert!(found != 0 && found != address.port());
            assert_eq!(free(&mapping(found, protocol)).unwrap(), found);
        }
    }

    #[test]
    fn an_address_that_the_host_does_not_have_is_named() {
        let elsewhere = Some("192.0.2.7".parse().unwrap());
        let wanted = PortMapping { host_ip: elsewhere, ..mapping(80, Protocol::Tcp) };
        let message = free(&wanted).unwrap_err().to_string();
        assert!(message.contains("192.0.2.7:80"), "{message}");
    }
}
