//! Gives memory back when nothing is asked of the daemon.
//!
//! Most of what an idle daemon would hold on to are pages of its own program: the kernel maps
//! sixteen around each one that is touched, and a pull, a start and a removal touch most of them. The
//! rest is memory that many requests at once have taken and freed. No timer runs while nothing is
//! asked.

use std::time::Duration;

use tokio::sync::watch;
use tonic::{Request, Status, service::Interceptor};

/// How long nothing may have been asked; it is looked at that often, so that it can be twice as long.
const QUIET: Duration = Duration::from_secs(15);

/// Hears that something was asked.
#[derive(Debug, Clone)]
pub struct Asked(watch::Sender<()>);

impl Asked {
    /// With the task that gives the memory back.
    pub fn new() -> (Self, impl Future<Output = ()> + Send) {
        let (asked, seen) = watch::channel(());
        (Self(asked), give_back(seen))
    }
}

impl Interceptor for Asked {
    fn call(&mut self, request: Request<()>) -> Result<Request<()>, Status> {
        self.0.send_replace(());
        Ok(request)
    }
}

/// Ends with the last [`Asked`].
async fn give_back(mut asked: watch::Receiver<()>) {
    loop {
        tokio::time::sleep(QUIET).await;
        match asked.has_changed() {
            Err(_) => return,
            Ok(true) => asked.mark_unchanged(),
            Ok(false) => {
                isula_sys::heap::give_back();
                if let Err(error) = isula_sys::memory::release_program() {
                    tracing::warn!(%error, "the pages of the program cannot be given back");
                    return;
                }
                if asked.changed().await.is_err() {
                    return;
                }
            }
        }
    }
}
