//! The port `Images`.

use std::sync::Arc;

use async_trait::async_trait;
use isula_core::{
    image::{Image, ImageId, Reference},
    ports::{
        ByteStream, CheckResult, CheckSink, Credentials, ImageFormat, Images, ImportOptions,
        ProgressSink, PullOptions, RemovedImage, Result, StoredLayer,
    },
    sandbox::FilesystemUsage,
};
use tokio::task::spawn_blocking;

use super::{Shared, Store};
use crate::{check, embed, import, load, pull, save, stream};

#[async_trait]
impl Images for Store {
    fn list(&self) -> Vec<Arc<Image>> {
        self.shared.index().list()
    }

    fn get(&self, id: &ImageId) -> Option<Arc<Image>> {
        self.shared.index().get(id).cloned()
    }

    fn find(&self, query: &str) -> Result<Arc<Image>> {
        self.shared.index().find(query).map(|meant| Arc::clone(meant.image()))
    }

    async fn pull(
        &self,
        reference: &Reference,
        options: PullOptions,
        progress: ProgressSink,
    ) -> Result<Arc<Image>> {
        pull::pull(self, reference, options, progress).await
    }

    async fn load(
        &self,
        archive: ByteStream,
        tag: Option<Reference>,
        progress: ProgressSink,
    ) -> Result<Vec<Arc<Image>>> {
        load::load(self, archive, tag, progress).await
    }

    async fn import(&self, archive: ByteStream, options: ImportOptions) -> Result<Arc<Image>> {
        import::import(self, archive, options).await
    }

    async fn tag(&self, id: &ImageId, reference: &Reference) -> Result<()> {
        let (id, reference) = (id.clone(), reference.clone());
        self.blocking(move |shared| shared.tag(&id, &reference)).await
    }

    async fn remove(&self, query: &str, force: bool) -> Result<Vec<RemovedImage>> {
        let query = query.to_owned();
        self.blocking(move |shared| shared.remove(&query, force)).await
    }

    fn usage(&self) -> FilesystemUsage {
        let (bytes, inodes) = self.shared.layers().usage();
        let mountpoint = self.shared.layout.root().display().to_string();
        FilesystemUsage { mountpoint, bytes, inodes }
    }

    fn save(
        &self,
        queries: &[String],
        format: ImageFormat,
        progress: ProgressSink,
    ) -> Result<ByteStream> {
        save::save(self, queries, format, progress)
    }

    fn layers(&self) -> Vec<StoredLayer> {
        self.shared.layers().sizes()
    }

    async fn check(&self, found: CheckSink) -> Result<CheckResult> {
        check::check(self, found).await
    }

    async fn log_in(&self, registry: &str, credentials: Credentials) -> Result<Option<String>> {
        self.client().log_in(registry, credentials).await
    }

    async fn embed(&self, manifest: Vec<u8>) -> Result<Arc<Image>> {
        let shared = Arc::clone(&self.shared);
        self.blocking(move |_| embed::embed(&shared, &manifest)).await
    }

    fn damage(&self) -> Vec<String> {
        self.shared.damage().to_vec()
    }
}

impl Store {
    /// Runs what waits for the disk on a thread that may.
    pub(crate) async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(Arc<Shared>) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let shared = Arc::clone(&self.shared);
        stream::join(spawn_blocking(move || work(shared)).await)
    }
}
