//! The network of a container: what is asked for, and what a run of it was given.

use std::{fmt, net::IpAddr};

use serde::{Deserialize, Serialize};

use crate::{
    id::{ContainerId, Name},
    ports::{Attachment, PortMapping},
};

/// The network of a container.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum NetworkMode {
    /// A namespace of its own with the loopback device alone.
    #[default]
    None,
    /// The host's.
    Host,
    /// That of another container.
    Container(ContainerId),
    /// A namespace of its own that is attached to a network.
    Network(Box<Connection>),
}

impl NetworkMode {
    /// How it is connected to a network by name.
    #[must_use]
    pub fn connection(&self) -> Option<&Connection> {
        match self {
            Self::Network(connection) => Some(connection),
            Self::None | Self::Host | Self::Container(_) => None,
        }
    }
}

/// Docker's text.
impl fmt::Display for NetworkMode {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => formatter.write_str("none"),
            Self::Host => formatter.write_str("host"),
            Self::Container(id) => write!(formatter, "container:{id}"),
            Self::Network(connection) => connection.network.fmt(formatter),
        }
    }
}

/// How a container is connected to a network.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Connection {
    /// The network's name.
    pub network: Name,
    /// Ports of the host that lead to the container's. One of 0 is chosen anew at each start.
    pub ports: Vec<PortMapping>,
    /// Exposed ports without a mapping get one to a port that is chosen at each start.
    pub publish_all: bool,
    /// The address it wants.
    pub ip: Option<IpAddr>,
    /// The hardware address it wants.
    pub mac: Option<String>,
}

impl Connection {
    /// A connection that asks for nothing else.
    #[must_use]
    pub fn to(network: Name) -> Self {
        Self { network, ports: Vec::new(), publish_all: false, ip: None, mac: None }
    }
}

/// What a network gave a run of a container.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Endpoint {
    /// Interface, addresses, name resolution.
    pub attachment: Attachment,
    /// The ports of the host that lead to the container's, none of them 0.
    pub ports: Vec<PortMapping>,
}
