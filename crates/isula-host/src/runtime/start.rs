//! Starting a container: one process creation here, one in the shim.

use std::os::fd::AsFd;
use std::sync::Arc;

use isula_core::container::Run;
use isula_core::error::{ErrorKind, PortError};
use isula_core::fault;
use isula_core::ports::{Launch, Result, Session};
use isulad_shim::protocol::{EXIT, Message, Request, Started, packet::Outgoing};
use lcr::cgroup::Cgroup;

use super::compile::{Compiled, Scope};
use super::directory::{Record, RunDirectory};
use super::keeper::{self, Keeper, Parts, reap};
use super::link::{Link, late, unusable};
use super::shims::{First, Shim};
use super::{Runtimes, blocking, failure, session};
use crate::systemd::Held;

/// A shim that runs while its container is being started. Unless it is kept, it is undone.
struct Attempt {
    directory: RunDirectory,
    cgroup: Option<Cgroup>,
    shim: Option<Shim>,
    /// It is kept, or undone.
    over: bool,
}

impl Runtimes {
    pub(super) async fn start_container(&self, launch: &Launch) -> Result<(Run, Option<Session>)> {
        let directory = self.directory(&launch.id);
        let external = self.external(&launch.runtime)?;
        let roots = (directory.path(), self.runtime_root(&launch.runtime));
        let mut compiled = self.compiler.compile(launch, external, (roots.0, &roots.1))?;
        if let Some(checkpoint) = &launch.restore {
            compiled.start.restore = Some(Box::new(self.restore_from(launch, checkpoint)?));
        }
        if self.find(&launch.id).is_some() || directory.exists() {
            // The engine cleans up after every end; a crash may have come between.
            self.clean_container(&launch.id, &launch.runtime).await?;
        }
        self.roots.released(&launch.id).await;
        self.make_directory(launch, &compiled, &directory)?;
        fault::point("start.directory");
        let mut attempt =
            Attempt { directory, cgroup: compiled.cgroup.clone(), shim: None, over: false };
        match self.launch(launch, compiled, &mut attempt).await {
            Ok(started) => Ok(started),
            Err(error) => {
                attempt.undo().await;
                Err(error)
            }
        }
    }

    /// The record of a former run goes before the directory comes: while the directory is there,
    /// an exit record is of this run.
    fn make_directory(
        &self,
        launch: &Launch,
        compiled: &Compiled,
        directory: &RunDirectory,
    ) -> Result<()> {
        let exit = launch.bundle.join(EXIT);
        match std::fs::remove_file(&exit) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                let text = format!("cannot remove the old exit record {}", exit.display());
                return Err(PortError::io(text, error));
            }
            _ => {}
        }
        let record = Record {
            bundle: launch.bundle.clone(),
            runtime: launch.runtime.clone(),
            cgroup: compiled.cgroup.clone(),
        };
        let made = directory.create(&record).and_then(|()| match &compiled.config {
            Some(config) => std::fs::write(directory.path().join("config.json"), config),
            None => Ok(()),
        });
        made.map_err(|error| {
            let _ = directory.remove();
            let text = format!("cannot make the run directory {}", directory.path().display());
            PortError::io(text, error)
        })
    }

    async fn launch(
        &self,
        launch: &Launch,
        compiled: Compiled,
        attempt: &mut Attempt,
    ) -> Result<(Run, Option<Session>)> {
        let held = self.begin_scope(compiled.scope).await?;
        let opened = launch.attach.map(|_| session::open()).transpose();
        let (ours, theirs) =
            opened.map_err(|error| PortError::io("cannot open a session", error))?.unzip();
        let external = compiled.start.external.is_some();
        let request = Request::Start(Box::new(compiled.start));
        let packet = Outgoing::new(0, &request, &compiled.payload).map_err(unusable)?;
        let session = theirs.as_ref().map(AsFd::as_fd);
        let first = First { id: launch.id.as_str(), packet, descriptors: session.as_slice() };
        let started = self.ask_to_start(&first, attempt);
        let (shim, link, started) =
            tokio::time::timeout(self.patience, started).await.unwrap_or_else(|_| {
                if attempt.shim.is_none() {
                    self.shims.distrust();
                }
                Err(late())
            })?;
        if let Some(held) = held {
            // The scope is the container's now.
            let release = move || {
                drop(held);
                Ok(())
            };
            blocking(release).await?;
        }
        fault::point("start.started");
        for warning in &started.warnings {
            tracing::warn!(container = %launch.id, "{warning}");
        }
        let run = keeper::run(&started, shim.0);
        let parts = Parts {
            id: launch.id.clone(),
            bundle: launch.bundle.clone(),
            run: run.clone(),
            link,
            cgroup: compiled.cgroup,
            filter: compiled.filter,
            external,
            exit: None,
        };
        let keeper = Keeper::keep(parts, Some(shim));
        attempt.over = true;
        self.containers().insert(launch.id.clone(), Arc::clone(&keeper));
        Ok((run, ours))
    }

    /// The scope of a container, where systemd makes control groups.
    async fn begin_scope(&self, scope: Option<Scope>) -> Result<Option<Held>> {
        let (Some(systemd), Some(Scope { scope, limits })) = (self.systemd.clone(), scope) else {
            return Ok(None);
        };
        let held = blocking(move || systemd.start_scope(&scope, &limits)).await?;
        fault::point("start.scope");
        Ok(Some(held))
    }

    async fn ask_to_start(
        &self,
        first: &First<'_>,
        attempt: &mut Attempt,
    ) -> Result<(Shim, Link, Started)> {
        let (shim, link) = self.shims.start(first).await?;
        attempt.shim = Some(shim);
        fault::point("start.shim_spawned");
        match link.next().await? {
            Message::Started(started) => Ok((shim, link, started)),
            other => Err(failure::unexpected(other)),
        }
    }
}

impl Attempt {
    /// Takes away whatever there is of it.
    async fn undo(mut self) {
        if let Some(shim) = self.shim.take() {
            // Its end is that of the init process, if there is one, and of what it is doing now.
            shim.0.kill();
            reap(shim).await;
        }
        let (cgroup, directory) = (self.cgroup.take(), self.directory.clone());
        self.over = true;
        let undone = blocking(move || {
            remove(cgroup.as_ref(), &directory);
            Ok(())
        });
        if let Err(error) = undone.await {
            tracing::warn!(%error, "a failed start was not undone");
        }
    }
}

/// When the caller gave up in the middle, nobody waits: it is undone on the spot.
impl Drop for Attempt {
    fn drop(&mut self) {
        if self.over {
            return;
        }
        if let Some(Shim(shim)) = self.shim.take() {
            shim.kill();
            shim.collect();
        }
        remove(self.cgroup.as_ref(), &self.directory);
    }
}

fn remove(cgroup: Option<&Cgroup>, directory: &RunDirectory) {
    if let (_, Some(init)) = directory.processes() {
        init.kill();
    }
    if let Some(cgroup) = cgroup {
        // The start failed for a reason of its own, which is the one to tell.
        let _ = cgroup.kill();
        let _ = cgroup.remove();
    }
    let _ = directory.remove();
}

/// The state of a container does not allow it.
pub(super) fn not_running(id: &isula_core::id::ContainerId) -> PortError {
    PortError::new(ErrorKind::WrongState, format!("container {} is not running", id.short()))
}
