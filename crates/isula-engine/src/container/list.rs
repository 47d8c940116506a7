//! `list`.
use std::sync::Arc;
use isula_core::container::{Container};
use crate::{Engine, Result};
/// Which containers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ListOptions {
    /// Also those that do not run.
    pub all: bool,
    /// `KEY=VALUE`: id, name, label, status, ancestor, before, since, exited, volume, network.
    pub filters: Vec<String>,
    /// At most so many, newest first; implies `all`.
    pub last: Option<usize>,
}
/// A container as a list shows it.
#[derive(Debug, Clone)]
pub struct Listed {
    /// The record.
    pub container: Arc<Container>,
    /// Docker's name of the state: created, running, paused, restarting, exited, removing.
    pub state: &'static str,
}
impl Engine {
    /// The containers, newest first.
    pub fn list(&self, options: &ListOptions) -> Result<Vec<Listed>> { todo!() }
}
