//! Asking before something is removed.

use std::io::{BufRead, Write};

use crate::error::Failure;

/// Whether the user says yes; no is the answer of an empty line and of the end of stdin.
///
/// # Errors
/// The terminal can't be used.
pub fn confirm(warning: &str) -> Result<bool, Failure> {
    let mut err = std::io::stderr().lock();
    let asked =
        err.write_all(format!("{warning}\nAre you sure you want to continue? [y/N] ").as_bytes());
    asked.and_then(|()| err.flush())?;
    let mut line = String::new();
    std::io::stdin().lock().read_line(&mut line)?;
    Ok(matches!(line.trim(), "y" | "Y" | "yes" | "Yes" | "YES"))
}
