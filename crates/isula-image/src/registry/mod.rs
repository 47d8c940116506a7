//! The registry client: OCI distribution-spec v2 over HTTP/1.1, with authentication, mirrors,
//! proxies, TLS, retries and resumption. It fetches and verifies; it stores nothing.
//!
//! ```text
//! Client (settings) ─► Session (one pull: endpoints, credentials, connections)
//!                         ├─► manifest: bytes whose digest is known
//!                         └─► Blob: pieces in order, resumed by Range after a cut
//! ```
//!
//! The parsers of what a registry sends ([`challenge`], `Retry-After`, the URLs of
//! redirects) are pure functions that take any input.

mod authorization;
mod blob;
pub mod challenge;
mod connect;
mod endpoint;
mod error;
mod exchange;
mod hosts;
mod login;
mod origin;
mod proxy;
mod request;
mod retry;
mod session;
mod settings;
mod tls;

pub use blob::Blob;
pub use error::{Error, ExchangeError};
pub use proxy::Proxies;
pub use retry::Retry;
pub use session::{Client, Fetched, Session};
pub use settings::{Settings, TimeLimits};
