//! The inverses of the steps that succeeded.

use std::{future::Future, pin::Pin};

use isula_core::{error::chain, ports};

type Inverse<'a> = Pin<Box<dyn Future<Output = ports::Result<()>> + Send + 'a>>;

/// Inverses, to be run in reverse when a later step fails. Dropped without effect when all is well.
#[derive(Default)]
pub(crate) struct Undo<'a>(Vec<(&'static str, Inverse<'a>)>);

impl<'a> Undo<'a> {
    /// Remembers how to undo `step`; the inverse must be idempotent.
    pub fn push(
        &mut self,
        step: &'static str,
        inverse: impl Future<Output = ports::Result<()>> + Send + 'a,
    ) {
        self.0.push((step, Box::pin(inverse)));
    }

    /// Runs all inverses, the last one first. A failure is logged and stops nothing.
    pub async fn run(mut self) {
        while let Some((step, inverse)) = self.0.pop() {
            if let Err(error) = inverse.await {
                tracing::error!("cannot undo {step}: {}", chain(&error));
            }
        }
    }
}
