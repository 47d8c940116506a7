//! `inspect`.
use std::{path::PathBuf, sync::Arc};
use isula_core::{container::Container, image::Image, ports::Rootfs};
use crate::{Engine, Result};
/// The facts of one container; how they are written is the edge's business.
#[derive(Debug, Clone)]
pub struct Inspection {
    /// The record.
    pub container: Arc<Container>,
    /// Docker's name of the state, `restarting` among them.
    pub state: &'static str,
    /// `DATA/engines/<runtime>/<id>`.
    pub directory: PathBuf,
    /// Its image, if it still is in the store.
    pub image: Option<Arc<Image>>,
    /// Where its root file system comes from, if that is intact.
    pub rootfs: Option<Rootfs>,
    /// Volumes it uses: name and directory on the host.
    pub volumes: Vec<(String, PathBuf)>,
}
impl Engine {
    /// Everything about one container.
    pub async fn inspect(&self, query: &str) -> Result<Inspection> { todo!() }
}
