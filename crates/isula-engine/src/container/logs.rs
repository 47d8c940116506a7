//! `logs`.
use isula_core::ports::{ItemStream, LogOptions, LogRecord};
use crate::{Engine, Result};
impl Engine {
    /// What a container has written; with `follow` also what it writes until it ends.
    pub async fn logs(&self, query: &str, options: LogOptions) -> Result<ItemStream<LogRecord>> { todo!() }
}
