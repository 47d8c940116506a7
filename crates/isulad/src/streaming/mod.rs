//! The streaming server of CRI: `exec`, `attach` and `port-forward` over SPDY/3.1 and WebSocket.
//!
//! A CRI client asks over gRPC and is given a URL with a token; whoever connects to that URL within a
//! minute, once, is joined to the process. The server knows no container: it asks its [`Backend`].
//!
//! ```text
//! Exec, Attach, PortForward ──► Server::exec_url … ──► token ──┐
//!                                                              ▼
//! TCP on loopback ──► http (one request) ──► take the token ──► upgrade ──┬─► spdy ──────┐
//!                                                                         └─► websocket ─┴─► remote, forward ──► Backend
//! ```
//!
//! Without a session there is a listening socket and nothing else: no task wakes, no timer runs.

mod activity;
mod call;
mod forward;
mod http;
mod remote;
mod request;
mod resize;
mod server;
mod spdy;
mod status;
mod tls;
mod tokens;
mod websocket;

#[cfg(test)]
mod tests;

pub use request::{
    AttachRequest, Backend, Duplex, ExecRequest, PortForwardRequest, Running, Streams,
};
pub use server::{Options, Server, StreamingError, Tls};
