//! Volumes in memory.

use std::{
    collections::BTreeSet,
    path::PathBuf,
    sync::{Arc, Mutex},
};

use async_trait::async_trait;

use super::{Failures, locked};
use crate::{
    id::Name,
    ports::{Result, Volume, Volumes},
};

/// Volumes in memory.
pub struct FakeVolumes {
    failures: Arc<Failures>,
    names: Mutex<BTreeSet<Name>>,
}

impl FakeVolumes {
    pub(super) fn new(failures: Arc<Failures>) -> Self {
        Self { failures, names: Mutex::default() }
    }

    /// The names of all volumes.
    #[must_use]
    pub fn names(&self) -> Vec<Name> {
        locked(&self.names).iter().cloned().collect()
    }
}

#[async_trait]
impl Volumes for FakeVolumes {
    async fn ensure(&self, name: &Name) -> Result<(Volume, bool)> {
        self.failures.pass("volumes.ensure").await?;
        let new = locked(&self.names).insert(name.clone());
        Ok((Volume { name: name.clone(), path: self.path(name) }, new))
    }

    fn path(&self, name: &Name) -> PathBuf {
        PathBuf::from(format!("/data/volumes/{name}/_data"))
    }

    async fn list(&self) -> Result<Vec<Volume>> {
        self.failures.pass("volumes.list").await?;
        let volume = |name: &Name| Volume { name: name.clone(), path: self.path(name) };
        Ok(locked(&self.names).iter().map(volume).collect())
    }

    async fn remove(&self, name: &Name) -> Result<()> {
        self.failures.pass("volumes.remove").await?;
        locked(&self.names).remove(name);
        Ok(())
    }
}
