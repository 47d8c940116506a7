//! What every adaptor of a port must do, as tests: the fakes and the real adaptors run the same.
//!
//! Each suite panics where a promise is broken, so it is called from a test. None needs an executor
//! of its own.

#![expect(
    clippy::expect_used,
    clippy::panic,
    reason = "a conformance suite is a test: it fails by panicking"
)]

mod records;
mod runtime;
mod sandboxes;
mod store;
mod system;

pub use records::records;
pub use runtime::runtime;
pub use sandboxes::{sandbox, sandbox_records};
pub use store::{images, snapshots, volumes};
pub use system::{clock, entropy};

use jiff::Timestamp;

use crate::{
    container::{Config, Container, HostConfig, Source, State},
    id::{ContainerId, Name},
};

/// An id made of one byte.
#[must_use]
pub fn id(byte: u8) -> ContainerId {
    ContainerId::from_random([byte; 32])
}

/// A container that asks for nothing special.
#[must_use]
pub fn container(id: &ContainerId) -> Container {
    Container {
        id: id.clone(),
        name: Name::from(id),
        created: Timestamp::UNIX_EPOCH,
        source: Source::Directory("/rootfs".to_owned()),
        config: Config {
            hostname: "box".to_owned(),
            cmd: vec!["sh".to_owned()],
            ..Config::default()
        },
        host: HostConfig { runtime: "lcr".to_owned(), ..HostConfig::default() },
        state: State::Created,
        pod: None,
        network: None,
        restarts: 0,
        started: None,
        stopped_by_user: false,
    }
}
