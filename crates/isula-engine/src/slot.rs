//! One container in memory: what readers see, and the one right to change it.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use isula_core::{
    container::{Container, Event, State},
    id::ContainerId,
    ports::Durability,
    user::ResolvedUser,
};
use tokio::sync::{Mutex as Turn, OwnedMutexGuard, watch};

use crate::{Engine, Error, Result};

/// A container in memory.
pub(crate) struct Slot {
    /// Its id.
    pub id: ContainerId,
    seen: watch::Sender<Seen>,
    turn: Arc<Turn<()>>,
    marks: Mutex<Marks>,
}

/// What readers see: always a whole, saved state.
#[derive(Clone)]
pub(crate) struct Seen {
    /// The record.
    pub container: Arc<Container>,
    /// It is stopped, and its restart policy starts it again soon.
    pub restarting: bool,
    /// How many runs have ended since the daemon started.
    pub exits: u64,
    /// The exit status of the last run.
    pub last_exit: Option<i32>,
    /// It was removed.
    pub gone: bool,
}

impl Seen {
    /// Docker's name of the state.
    pub fn state_name(&self) -> &'static str {
        if self.restarting { "restarting" } else { self.container.state.name() }
    }
}

/// What is remembered of a container in memory alone.
#[derive(Default)]
pub(crate) struct Marks {
    /// Stands for the facts that the plain files on disk were made from.
    pub fingerprint: Option<u64>,
    /// Whom a container that never ran runs as: nothing can have changed its files since `create`.
    pub user: Option<Box<ResolvedUser>>,
    /// A user sent a signal that ends it: the policy must not start it again.
    pub end_wanted: bool,
}

impl Slot {
    pub fn new(container: Container) -> Arc<Self> {
        Self::of(Arc::new(container))
    }

    /// As [`Slot::new`]: a container is large, and there may be many of them.
    pub fn of(container: Arc<Container>) -> Arc<Self> {
        let id = container.id.clone();
        let last_exit = container.state.exit().map(|exit| exit.code);
        let seen = Seen { container, restarting: false, exits: 0, last_exit, gone: false };
        let marks = Mutex::default();
        Arc::new(Self { id, seen: watch::Sender::new(seen), turn: Arc::default(), marks })
    }

    /// What was shown last.
    pub fn seen(&self) -> Seen {
        self.seen.borrow().clone()
    }

    /// The record that was shown last.
    pub fn container(&self) -> Arc<Container> {
        Arc::clone(&self.seen.borrow().container)
    }

    /// Follows what is shown.
    pub fn follow(&self) -> watch::Receiver<Seen> {
        self.seen.subscribe()
    }

    pub fn marks(&self) -> MutexGuard<'_, Marks> {
        self.marks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Who starts a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Starter {
    /// A user.
    User,
    /// Its restart policy.
    Policy,
}

/// The one right to change a container; the next one gets it when this is dropped.
pub(crate) struct Held<'a> {
    engine: &'a Engine,
    slot: Arc<Slot>,
    _turn: OwnedMutexGuard<()>,
}

impl Engine {
    /// Waits for the right to change the container that `query` means. No operation holds two.
    pub(crate) async fn hold(&self, query: &str) -> Result<Held<'_>> {
        let slot = self.index.find(query)?;
        self.hold_slot(&slot).await.ok_or_else(|| Error::NoSuchContainer(query.to_owned()))
    }

    /// As [`Engine::hold`]; `None` when the container was removed meanwhile.
    pub(crate) async fn hold_slot(&self, slot: &Arc<Slot>) -> Option<Held<'_>> {
        let turn = Arc::clone(&slot.turn).lock_owned().await;
        let held = Held { engine: self, slot: Arc::clone(slot), _turn: turn };
        (!slot.seen.borrow().gone).then_some(held)
    }
}

impl Held<'_> {
    pub fn slot(&self) -> &Arc<Slot> {
        &self.slot
    }

    pub fn id(&self) -> &ContainerId {
        &self.slot.id
    }

    pub fn container(&self) -> Arc<Container> {
        self.slot.container()
    }

    /// The container after `event`; nothing is saved or shown.
    pub fn after(&self, event: Event) -> Result<Container> {
        let container = self.container();
        let error = |source| Error::Transition { name: display_name(&container), source };
        let state = container.state.clone().after(event).map_err(error)?;
        let mut next = Container::clone(&container);
        if let State::Running(run) = &state
            && container.state == State::Starting
        {
            next.started = Some(run.started);
        }
        if let State::Stopped(_) = &state {
            next.network = None;
        }
        next.state = state;
        Ok(next)
    }

    /// Lets the container enter the state after `event`: decided, then saved, then shown.
    pub async fn enter(&self, event: Event, durability: Durability) -> Result<()> {
        let next = self.after(event)?;
        self.save(&next, durability).await?;
        self.show(next);
        Ok(())
    }

    /// Saves without showing.
    pub async fn save(&self, next: &Container, durability: Durability) -> Result<()> {
        let work = self.engine.ports.records.save(next, durability);
        self.engine.port(next, "save its record", work).await
    }

    /// Shows a record that was saved.
    pub fn show(&self, next: Container) {
        self.slot.seen.send_modify(|seen| {
            seen.restarting = false;
            seen.container = Arc::new(next);
        });
    }

    /// Shows that a run ended.
    pub fn show_exit(&self, next: Container, restarting: bool) {
        self.slot.seen.send_modify(|seen| {
            seen.last_exit = next.state.exit().map(|exit| exit.code);
            seen.exits += 1;
            seen.restarting = restarting;
            seen.container = Arc::new(next);
        });
    }

    /// Says whether the policy will start it again; whoever waits for that is told.
    pub fn show_restarting(&self, restarting: bool) {
        self.slot.seen.send_if_modified(|seen| {
            let changed = seen.restarting != restarting;
            seen.restarting = restarting;
            changed
        });
    }

    /// Shows that the container is gone.
    pub fn show_gone(&self) {
        self.engine.index.forget(&self.slot.id, &self.container().name);
        self.slot.seen.send_modify(|seen| {
            seen.gone = true;
            seen.restarting = false;
        });
    }
}

impl Engine {
    /// Waits for a port on behalf of a container, no longer than the settings allow.
    pub(crate) async fn port<T>(
        &self,
        container: &Container,
        action: &'static str,
        work: impl Future<Output = isula_core::ports::Result<T>>,
    ) -> Result<T> {
        self.port_within(self.settings.port_timeout, container, action, work).await
    }

    /// As [`Engine::port`], with a limit of its own.
    pub(crate) async fn port_within<T>(
        &self,
        limit: Duration,
        container: &Container,
        action: &'static str,
        work: impl Future<Output = isula_core::ports::Result<T>>,
    ) -> Result<T> {
        let object = || display_name(container);
        match tokio::time::timeout(limit, work).await {
            Ok(Ok(value)) => Ok(value),
            Ok(Err(source)) => Err(Error::Port { object: object(), action, source }),
            Err(_) => Err(Error::Deadline { object: object(), action, seconds: limit.as_secs() }),
        }
    }
}

/// How messages call a container: by its name, or the short id where that is its name.
pub(crate) fn display_name(container: &Container) -> String {
    match container.name.as_str() == container.id.as_str() {
        true => container.id.short().to_owned(),
        false => container.name.to_string(),
    }
}
