//! The ports: what the engine needs from the world, each a trait that an adaptor of `isula-host`
//! or `isula-image` fulfils, and a fake in `crate::testing`.

mod cdi;
mod checkpoints;
mod images;
mod networks;
mod pods;
mod records;
mod runtime;
mod snapshots;
mod system;

pub use cdi::{CdiDevices, CdiEdits, CdiHook, CdiMount, CdiNode};
pub use checkpoints::Checkpoints;
pub use images::{
    CheckResult, CheckSink, Checked, Credentials, ImageChange, ImageFormat, Images, ImportOptions,
    Progress, ProgressSink, PullOptions, RemovedImage, StoredLayer,
};
pub use networks::{
    Address, Attachment, BRIDGE, Bandwidth, Capabilities, Network, NetworkDns, NetworkRequest,
    Networks, PortMapping, Protocol,
};
pub use pods::{
    PodNetwork, PodPaths, PodRequest, Pods, RestoredSandboxes, SandboxFiles, SandboxRecords,
};
pub use records::{ContainerFiles, Durability, LaterFiles, Quarantined, Records, Restored, Then};
pub use runtime::{
    Attach, Chunk, ExecExit, ExecStarted, Found, Launch, LogOptions, LogRecord, LogSource, Output,
    Pressure, ProcessId, Runtime, Session, SessionInput, Stall, TerminalSize, Usage,
};
pub use snapshots::{Change, ChangeKind, Removal, Rootfs, Snapshots, Volume, Volumes};
pub use system::{Clock, DeviceNode, Entropy, Host, HostFacts};

use std::{io, pin::Pin};

use bytes::Bytes;
use futures_core::Stream;

use crate::error::PortError;

/// What a port gives back.
pub type Result<T, E = PortError> = std::result::Result<T, E>;

/// Bytes that arrive in pieces from a client (an archive to load) or go to one.
pub type ByteStream = Pin<Box<dyn Stream<Item = io::Result<Bytes>> + Send>>;

/// Items that arrive over time.
pub type ItemStream<T> = Pin<Box<dyn Stream<Item = Result<T>> + Send>>;
