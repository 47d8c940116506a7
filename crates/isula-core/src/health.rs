//! What a health check is. Images and users both ask for one.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// A health check, as an image or a user asks for it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Healthcheck {
    /// `["NONE"]`, `["CMD", …]` or `["CMD-SHELL", text]`.
    pub test: Vec<String>,
    /// Pause between two checks.
    pub interval: Duration,
    /// Time limit of one check.
    pub timeout: Duration,
    /// Failures within this time after the start do not count.
    pub start_period: Duration,
    /// Failures in a row that make the container unhealthy.
    pub retries: u32,
}
