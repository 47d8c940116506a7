//! `start`: the intent is written while the runtime works, and both are awaited.

use std::{sync::Arc, time::Duration};

use isula_core::{
    container::{Container, Event, Exit, Run, State},
    error::chain,
    event::ContainerAction,
    fault,
    id::ContainerId,
    ports::{Attach, Durability, Launch, Session},
    sandbox::RunAs,
};

use crate::{
    Engine, Error, Result,
    container::Attached,
    launch::{Prepared, Stage},
    slot::{Held, Starter},
    undo::Undo,
};

/// How much longer a start is waited for than the runtime itself waits.
const GRACE: Duration = Duration::from_secs(5);

/// Bytes that a writable layer may have beyond its limit while it is mounted.
const MOUNTING: u64 = 1 << 20;

/// A container runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Started {
    /// The container.
    pub id: ContainerId,
    /// Its run.
    pub run: Run,
}

impl Engine {
    /// Starts a container that was created or has stopped; one that runs is left as it is.
    ///
    /// # Errors
    /// The state does not allow it, or the init process can't be started: the container is stopped
    /// then, and one that removes itself is gone.
    pub async fn start(self: &Arc<Self>, query: &str) -> Result<Started> {
        let held = self.hold(query).await?;
        if let State::Running(run) = &held.container().state {
            return Ok(Started { id: held.id().clone(), run: run.clone() });
        }
        self.start_held(&held, None).await.map(|(started, _)| started)
    }

    /// Starts a container with a client that misses no byte; joins the client to one that runs.
    ///
    /// # Errors
    /// As [`Engine::start`] and [`Engine::attach`].
    pub async fn start_attached(self: &Arc<Self>, query: &str, attach: Attach) -> Result<Attached> {
        let held = self.hold(query).await?;
        if let State::Running(_) = held.container().state {
            drop(held);
            return self.attach(query, attach).await;
        }
        let exit = self.exit_waiter(held.slot());
        let (started, session) = self.start_held(&held, Some(attach)).await?;
        let container = held.container();
        let session = session.ok_or_else(|| self.no_session(&container))?;
        let warnings = Vec::new();
        Ok(Attached { id: started.id, tty: container.config.tty, warnings, session, exit })
    }

    /// Starts on behalf of a user and watches the run.
    pub(crate) async fn start_held(
        self: &Arc<Self>,
        held: &Held<'_>,
        attach: Option<Attach>,
    ) -> Result<(Started, Option<Session>)> {
        match self.launch(held, Starter::User, attach).await {
            Ok((run, session)) => {
                self.supervise(Arc::clone(held.slot()), Some(run.clone()));
                Ok((Started { id: held.id().clone(), run }, session))
            }
            Err(error) => {
                let container = held.container();
                let idle = matches!(container.state, State::Created | State::Stopped(_));
                if container.host.auto_remove && idle {
                    self.remove_itself(held).await;
                }
                Err(error)
            }
        }
    }

    /// Starts the init process: the container is running afterwards, or stopped, or as it was.
    pub(crate) async fn launch(
        &self,
        held: &Held<'_>,
        starter: Starter,
        attach: Option<Attach>,
    ) -> Result<(Run, Option<Session>)> {
        let before = held.container();
        let mut starting = held.after(Event::Start)?;
        // Whoever waits to start it again gives way.
        held.show_restarting(false);
        match starter {
            Starter::User => (starting.restarts, starting.stopped_by_user) = (0, false),
            Starter::Policy => starting.restarts += 1,
        }
        held.slot().marks().end_wanted = false;
        let prepared = match self.prepare_start(held, &mut starting, attach).await {
            Ok(prepared) => prepared,
            Err(error) if starter == Starter::Policy => {
                self.never_ran(held, starting, &error).await;
                return Err(error);
            }
            Err(error) => return Err(error),
        };
        fault::point("start.prepared");
        if let Some(pod) = &mut starting.pod {
            let user = &prepared.user;
            pod.user = Some(RunAs {
                uid: user.uid,
                gid: user.gid,
                supplemental_groups: user.additional_gids.clone(),
            });
        }

        let saved = async {
            held.save(&starting, Durability::Synced).await?;
            held.show(starting.clone());
            fault::point("start.intent");
            Ok(())
        };
        let started = self.start_process(&starting, &prepared.launch);
        match tokio::join!(saved, started) {
            (Ok(()), Ok((run, session))) => {
                self.now_runs(held, &run).await?;
                if let Some(directory) = &prepared.launch.restore {
                    self.forget_checkpoint(&starting, directory).await;
                }
                Ok((run, session))
            }
            (Err(error), Ok(_)) if starter == Starter::User => {
                self.clean(&before).await;
                Err(error)
            }
            (_, Err(error)) | (Err(error), Ok(_)) => {
                self.clean(&before).await;
                self.never_ran(held, starting, &error).await;
                Err(error)
            }
        }
    }

    async fn start_process(
        &self,
        starting: &Container,
        launch: &Launch,
    ) -> Result<(Run, Option<Session>)> {
        self.make_room(starting, MOUNTING).await?;
        // The runtime has the same limit and cleans up better: it goes first.
        let limit = self.settings.start_timeout + GRACE;
        let action = "start the init process";
        let work = self.ports.runtime.start(launch);
        let started = self.port_within(limit, starting, action, work).await;
        if let Err(error) = self.make_room(starting, 0).await {
            tracing::error!("{}", chain(&error));
        }
        fault::point("start.launched");
        started
    }

    /// Lets the writable layer have so many bytes beyond its limit, if it has one: overlayfs makes
    /// a directory in it when it is mounted, and one that finds no room (XFS reserves more than it
    /// takes) leaves the container with a root file system that is read-only.
    async fn make_room(&self, container: &Container, bytes: u64) -> Result<()> {
        let Some(limit) = container.host.storage_size() else { return Ok(()) };
        let changed = self.ports.snapshots.change_limit(&container.id, limit.saturating_add(bytes));
        self.port(container, "limit its writable layer", changed).await
    }

    /// Connects the container to its network and makes everything ready for its process.
    async fn prepare_start(
        &self,
        held: &Held<'_>,
        starting: &mut Container,
        attach: Option<Attach>,
    ) -> Result<Prepared> {
        starting.network = self.connect(starting).await?;
        let prepared = self.prepare_connected(held, starting, attach).await;
        if prepared.is_err() {
            self.let_go(starting).await;
        }
        prepared
    }

    async fn prepare_connected(
        &self,
        held: &Held<'_>,
        starting: &Container,
        attach: Option<Attach>,
    ) -> Result<Prepared> {
        let joined = self.joined(starting).await?;
        // Made volumes stay: they are the container's from its creation.
        for warning in self.provide_volumes(starting, &mut Undo::default()).await? {
            tracing::warn!("{}: {warning}", starting.name);
        }
        // Only before the first start nothing can have changed the container's files.
        let user = held.slot().marks().user.take();
        // Files that its creation left for later are written meanwhile.
        let (prepared, provided) = tokio::join!(
            self.prepare(starting, Stage::Stopped(user.map(|user| *user)), joined, attach),
            self.port(starting, "write its files", self.ports.records.provide(held.id())),
        );
        let prepared = prepared?;
        provided?;
        if held.slot().marks().fingerprint != Some(prepared.fingerprint) {
            let files = prepared.files(starting)();
            let work = self.ports.records.refresh(held.id(), &starting.host.runtime, &files);
            self.port(starting, "write its files", work).await?;
            held.slot().marks().fingerprint = Some(prepared.fingerprint);
        }
        Ok(prepared)
    }

    async fn now_runs(&self, held: &Held<'_>, run: &Run) -> Result<()> {
        let running = held.after(Event::Started(run.clone()))?;
        if let Err(error) = held.save(&running, Durability::Written).await {
            // The intent is on disk: a new daemon would ask the runtime and find the run.
            tracing::warn!("{}", chain(&error));
        }
        held.show(running);
        fault::point("start.running");
        self.publish(held.id(), ContainerAction::Start);
        Ok(())
    }

    /// The container is stopped, with the reason why it never ran.
    async fn never_ran(&self, held: &Held<'_>, starting: Container, error: &Error) {
        let now = self.ports.clock.now();
        let exit = Exit::never_ran(error.start_code(), chain(error), now);
        let policy = starting.host.restart;
        // A user sees the error and decides; only the policy's own attempts are repeated.
        let again = starting.restarts > 0 && policy.after_exit(&exit, starting.restarts, false);
        let stopped = Container { state: State::Stopped(exit.clone()), network: None, ..starting };
        if let Err(error) = held.save(&stopped, Durability::Synced).await {
            tracing::error!("{}", chain(&error));
        }
        held.show_exit(stopped, again);
        self.publish(held.id(), ContainerAction::Die(exit.code));
    }

    /// Takes away whatever a run left; a failure is logged.
    pub(crate) async fn clean(&self, container: &Container) {
        let work = self.ports.runtime.clean(&container.id, &container.host.runtime);
        if let Err(error) = self.port(container, "clean up after the run", work).await {
            tracing::error!("{}", chain(&error));
        }
        self.let_go(container).await;
    }
}
