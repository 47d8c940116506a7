//! What commands print: results on stdout, everything else on stderr.

pub mod age;
pub mod file;
pub mod progress;
pub mod receive;
pub mod rows;
pub mod size;
pub mod table;
pub mod zone;

use std::io::Write;

use crate::error::Failure;

/// Writes to stdout and makes sure that it has arrived.
///
/// # Errors
/// The reader went away, the disk is full.
pub fn print(text: &str) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    out.write_all(text.as_bytes())?;
    Ok(out.flush()?)
}

/// Writes a line to stderr. That it can't be written is nothing we could tell anyone.
pub fn tell(line: &str) {
    let mut err = std::io::stderr().lock();
    let _ = err.write_all(format!("{line}\n").as_bytes());
}

/// The warnings of the daemon.
pub fn warn(warnings: &[String]) {
    for warning in warnings {
        tell(&format!("WARNING: {warning}"));
    }
}

/// The first twelve digits of an id.
#[must_use]
pub fn short(id: &str) -> &str {
    id.get(..12).unwrap_or(id)
}
