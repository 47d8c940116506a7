//! A terminal or pipes joined to a process in a container.
//!
//! ```text
//!   stdin thread ──► detach keys ──► Session RPC ──► writer thread ──► stdout, stderr
//!   SIGWINCH ──► resize ──────────►     │
//!   other signals ──► Kill RPC          └──► Exited: the exit status
//! ```
//!
//! Reading and writing of our own streams block, so each has a thread; a stuck reader of our
//! output then stops neither signals nor the terminal's size.

mod detach;
mod output;
mod pump;

use std::os::fd::AsFd;

use isula_api::v1::{SessionInput, Streams, TerminalSize, session_input::Input};
use isula_sys::terminal;

pub use pump::run;

use crate::client::Client;
use crate::error::Failure;

/// How a session is to behave.
#[derive(Debug)]
pub struct Session {
    /// What opens it.
    pub open: Input,
    /// Our streams that are joined.
    pub streams: Streams,
    /// Bytes that leave the container; empty: none do.
    pub detach_keys: Vec<u8>,
    /// Signals are passed on to the container's process, if it has no terminal.
    pub proxies_signals: bool,
}

/// How a session ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// The process ended with this status.
    Exited(u8),
    /// The user left by the detach keys; the process goes on.
    Detached,
}

impl End {
    /// The exit status of the client.
    #[must_use]
    pub fn status(self) -> u8 {
        match self {
            Self::Exited(code) => code,
            Self::Detached => 0,
        }
    }
}

/// The size of our terminal: that of stdout, else of stdin; none without a terminal.
#[must_use]
pub fn terminal_size() -> Option<TerminalSize> {
    let size = terminal::size(std::io::stdout().as_fd())
        .or_else(|_| terminal::size(std::io::stdin().as_fd()))
        .ok()?;
    Some(TerminalSize { rows: size.rows.into(), columns: size.columns.into() })
}

/// Refuses a terminal for a process whose stdin would not be one.
///
/// # Errors
/// stdin is attached, a terminal is asked for, and stdin is none.
pub fn check_terminal(stdin: bool, tty: bool) -> Result<(), Failure> {
    if stdin && tty && !terminal::is_terminal(std::io::stdin().as_fd()) {
        return Err(Failure::local("the input device is not a TTY"));
    }
    Ok(())
}

/// Joins the streams until the process ends or the user leaves.
///
/// # Errors
/// The daemon refused, the connection broke, a signal came before the process ran.
pub async fn attach(client: &Client, session: Session) -> Result<End, Failure> {
    run(client, session, |_| Ok(())).await
}

fn message(input: Input) -> SessionInput {
    SessionInput { input: Some(input) }
}
