//! The Container Runtime Interface of Kubernetes: each handler parses, acts and renders.
//!
//! The services are served on the same socket as the native API. What changes something runs as a
//! task of its own: a kubelet that restarts leaves nothing half done.

mod backend;
mod checkpoint;
mod containers;
mod convert;
mod descriptors;
mod events;
mod exec;
mod images;
mod metrics;
mod node;
mod pods;
mod runtime;
mod stats;

pub use backend::Joiner;

use std::{collections::BTreeMap, path::PathBuf, pin::Pin, sync::Arc};

use futures_util::{Stream, stream};
use isula_core::image::{Image, Reference};
use isula_engine::Engine;
use tonic::{Response, Status};

use crate::{
    api::status::{self, invalid},
    streaming::Server,
};

/// What a handler answers.
type Answer<T> = Result<Response<T>, Status>;
/// What a handler answers piece by piece.
type Pages<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

/// Objects in one message of a streamed list.
const PAGE: usize = 256;

/// What the services need beside the engine.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Where containers and images are; the file system that kubelet watches.
    pub data_root: PathBuf,
    /// Images that kubelet must not remove: references, which may end with `*`.
    pub pinned: Vec<String>,
    /// Whether `GetContainerEvents` tells anything.
    pub pod_events: bool,
}

/// The services on an engine.
#[derive(Clone)]
pub struct Cri {
    engine: Arc<Engine>,
    settings: Arc<Settings>,
    streaming: Arc<Server>,
}

impl Cri {
    /// The services on this engine.
    pub fn new(engine: Arc<Engine>, settings: Settings, streaming: Arc<Server>) -> Self {
        Self { engine, settings: Arc::new(settings), streaming }
    }

    /// Runs a use case as a task of its own, so that a client that hangs up leaves nothing half
    /// done.
    async fn carry_out<T, F>(&self, work: impl FnOnce(Arc<Engine>) -> F) -> Result<T, Status>
    where
        T: Send + 'static,
        F: Future<Output = isula_engine::Result<T>> + Send + 'static,
    {
        match tokio::spawn(work(Arc::clone(&self.engine))).await {
            Ok(outcome) => outcome.map_err(|error| status::of(&error)),
            Err(error) => Err(Status::internal(format!("the request was broken off: {error}"))),
        }
    }

    /// Now, in nanoseconds since the epoch.
    fn now(&self) -> i64 {
        convert::nanoseconds(self.engine.ports().clock.now())
    }

    /// Refuses a runtime handler that nobody knows. Images are the same for all.
    fn check_handler(&self, handler: &str) -> Result<(), Status> {
        let known = self.handler_names();
        match known.contains_key(handler) {
            true => Ok(()),
            false => Err(invalid(format!("there is no runtime handler {handler:?}"))),
        }
    }

    /// The handlers, the default one without a name among them, and the runtimes they mean.
    fn handler_names(&self) -> BTreeMap<String, String> {
        let settings = self.engine.settings();
        let runtimes = self.engine.ports().runtime.runtimes();
        let mut all: BTreeMap<_, _> =
            runtimes.into_iter().map(|runtime| (runtime.clone(), runtime)).collect();
        all.extend(settings.runtime_handlers.clone());
        all.insert(String::new(), settings.default_runtime.clone());
        all
    }

    /// kubelet must not collect it.
    fn is_pinned(&self, image: &Image) -> bool {
        let names = || image.tags.iter().chain(&image.digests).map(Reference::to_string);
        self.settings.pinned.iter().any(|pinned| match pinned.strip_suffix('*') {
            Some(beginning) => names().any(|name| name.starts_with(beginning)),
            None => names().any(|name| name == *pinned),
        })
    }
}

/// A list in messages of a bounded size.
fn pages<T, M>(items: Vec<T>, message: fn(Vec<T>) -> M) -> Pages<M>
where
    T: Send + 'static,
    M: Send + 'static,
{
    let mut rest = items.into_iter();
    Box::pin(stream::iter(std::iter::from_fn(move || {
        let page: Vec<T> = rest.by_ref().take(PAGE).collect();
        (!page.is_empty()).then(|| Ok(message(page)))
    })))
}

#[cfg(test)]
mod tests {
    use super::{PAGE, pages};
    use futures_util::StreamExt;

    #[tokio::test]
    async fn a_streamed_list_comes_in_pages_and_an_empty_one_in_none() {
        for (items, wanted) in [(0, vec![]), (1, vec![1]), (PAGE + 1, vec![PAGE, 1])] {
            let pages: Vec<_> = pages((0..items).collect(), |page| page).collect().await;
            let lengths: Vec<_> = pages.into_iter().map(|page| page.unwrap().len()).collect();
            assert_eq!(lengths, wanted);
        }
    }
}
