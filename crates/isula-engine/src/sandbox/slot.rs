//! One sandbox in memory, and the index of all of them.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock},
    time::Duration,
};

use isula_core::{
    id::ContainerId,
    ports::{self, Durability},
    sandbox::{Metadata, Sandbox, SandboxEvent, SandboxId},
};
use tokio::sync::{OwnedRwLockReadGuard, OwnedRwLockWriteGuard, RwLock as Turn};

use crate::{Engine, Error, Result};

/// A sandbox in memory.
pub(crate) struct SandboxSlot {
    /// Its id.
    pub id: SandboxId,
    /// The record that was saved last; `None` when it is gone.
    seen: RwLock<Option<Arc<Sandbox>>>,
    turn: Arc<Turn<()>>,
}

impl SandboxSlot {
    pub fn new(sandbox: Sandbox) -> Arc<Self> {
        let id = sandbox.id.clone();
        let seen = RwLock::new(Some(Arc::new(sandbox)));
        Arc::new(Self { id, seen, turn: Arc::default() })
    }

    /// What was shown last; `None` when it is gone.
    pub fn sandbox(&self) -> Option<Arc<Sandbox>> {
        self.seen.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn show(&self, sandbox: Option<Sandbox>) {
        let next = sandbox.map(Arc::new);
        *self.seen.write().unwrap_or_else(PoisonError::into_inner) = next;
    }
}

/// All sandboxes by id and by who they are. The lock is never held across a wait.
#[derive(Default)]
pub(crate) struct SandboxIndex(Mutex<Tables>);

#[derive(Default)]
struct Tables {
    by_id: BTreeMap<SandboxId, Arc<SandboxSlot>>,
    by_metadata: HashMap<Metadata, SandboxId>,
}

impl SandboxIndex {
    fn tables(&self) -> MutexGuard<'_, Tables> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a sandbox; the four parts of its metadata are taken from now on.
    pub fn add(&self, sandbox: Sandbox) -> Result<Arc<SandboxSlot>> {
        let mut tables = self.tables();
        let metadata = &sandbox.config.metadata;
        if let Some(holder) = tables.by_metadata.get(metadata) {
            let Metadata { name, namespace, attempt, .. } = metadata;
            let name = format!("{namespace}/{name}, attempt {attempt}");
            return Err(Error::SandboxTaken { name, holder: holder.clone() });
        }
        tables.by_metadata.insert(metadata.clone(), sandbox.id.clone());
        let slot = SandboxSlot::new(sandbox);
        tables.by_id.insert(slot.id.clone(), Arc::clone(&slot));
        Ok(slot)
    }

    /// Every sandbox, in the order of the ids.
    pub fn slots(&self) -> Vec<Arc<SandboxSlot>> {
        self.tables().by_id.values().cloned().collect()
    }

    /// The sandbox with this id or prefix of an id.
    pub fn find(&self, query: &str) -> Result<Arc<SandboxSlot>> {
        let none = || Error::NoSuchSandbox(query.to_owned());
        let hex = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        if query.is_empty() || query.len() > 64 || !query.bytes().all(hex) {
            return Err(none());
        }
        let first = ContainerId::try_from(format!("{query:0<64}")).map_err(|_| none())?;
        let tables = self.tables();
        let mut fitting =
            tables.by_id.range(first..).take_while(|(id, _)| id.as_str().starts_with(query));
        match (fitting.next(), fitting.next()) {
            (None, _) => Err(none()),
            (Some((_, slot)), None) => Ok(Arc::clone(slot)),
            (Some(_), Some(_)) => Err(Error::Ambiguous(query.to_owned())),
        }
    }

    fn forget(&self, sandbox: &Sandbox) {
        let mut tables = self.tables();
        tables.by_id.remove(&sandbox.id);
        if tables.by_metadata.get(&sandbox.config.metadata) == Some(&sandbox.id) {
            tables.by_metadata.remove(&sandbox.config.metadata);
        }
    }
}

/// The one right to change a sandbox; nobody makes or starts containers in it meanwhile.
pub(crate) struct HeldSandbox<'a> {
    engine: &'a Engine,
    slot: Arc<SandboxSlot>,
    _turn: OwnedRwLockWriteGuard<()>,
}

/// The right to make or start a container in a sandbox that is ready: it stays so meanwhile.
pub(crate) struct SharedSandbox {
    /// Its record.
    pub sandbox: Arc<Sandbox>,
    _turn: OwnedRwLockReadGuard<()>,
}

impl Engine {
    /// Waits for the right to change a sandbox; `None` when it was removed meanwhile.
    pub(super) async fn hold_sandbox(&self, slot: &Arc<SandboxSlot>) -> Option<HeldSandbox<'_>> {
        let turn = Arc::clone(&slot.turn).write_owned().await;
        let held = HeldSandbox { engine: self, slot: Arc::clone(slot), _turn: turn };
        slot.sandbox().is_some().then_some(held)
    }

    /// Waits for the right to use a sandbox.
    ///
    /// # Errors
    /// There is none, or it is not ready.
    pub(crate) async fn share_sandbox(&self, query: &str) -> Result<SharedSandbox> {
        let slot = self.sandboxes.find(query)?;
        let turn = Arc::clone(&slot.turn).read_owned().await;
        let sandbox = slot.sandbox().ok_or_else(|| Error::NoSuchSandbox(query.to_owned()))?;
        if !sandbox.is_ready() {
            return Err(Error::SandboxNotReady(query.to_owned(), sandbox.state.name()));
        }
        Ok(SharedSandbox { sandbox, _turn: turn })
    }

    /// Waits for a port on behalf of a sandbox, no longer than the settings allow.
    pub(crate) async fn port_of<T>(
        &self,
        id: &SandboxId,
        action: &'static str,
        work: impl Future<Output = ports::Result<T>>,
    ) -> Result<T> {
        self.port_of_within(self.settings.port_timeout, id, action, work).await
    }

    /// As [`Engine::port_of`], with a limit of its own.
    pub(crate) async fn port_of_within<T>(
        &self,
        limit: Duration,
        id: &SandboxId,
        action: &'static str,
        work: impl Future<Output = ports::Result<T>>,
    ) -> Result<T> {
        let object = || format!("sandbox {}", id.short());
        match tokio::time::timeout(limit, work).await {
            Ok(Ok(value)) => Ok(value),
            Ok(Err(source)) => Err(Error::Port { object: object(), action, source }),
            Err(_) => Err(Error::Deadline { object: object(), action, seconds: limit.as_secs() }),
        }
    }
}

impl HeldSandbox<'_> {
    pub fn id(&self) -> &SandboxId {
        &self.slot.id
    }

    /// The record.
    pub fn sandbox(&self) -> Result<Arc<Sandbox>> {
        self.slot.sandbox().ok_or_else(|| Error::NoSuchSandbox(self.slot.id.to_string()))
    }

    /// The sandbox after `event`; nothing is saved or shown.
    pub fn after(&self, event: SandboxEvent) -> Result<Sandbox> {
        let sandbox = self.sandbox()?;
        let error = |source| Error::SandboxTransition { id: self.slot.id.clone(), source };
        let state = sandbox.state.clone().after(event).map_err(error)?;
        Ok(Sandbox { state, ..Sandbox::clone(&sandbox) })
    }

    /// Lets it enter the state after `event`: decided, then saved, then shown.
    pub async fn enter(&self, event: SandboxEvent, durability: Durability) -> Result<()> {
        let next = self.after(event)?;
        self.put(next, durability).await
    }

    /// Saves a record, then shows it.
    pub async fn put(&self, next: Sandbox, durability: Durability) -> Result<()> {
        let work = self.engine.ports.sandboxes.save_sandbox(&next, durability);
        self.engine.port_of(self.id(), "save its record", work).await?;
        self.slot.show(Some(next));
        Ok(())
    }

    /// Shows that it is gone.
    pub fn show_gone(&self) {
        if let Some(sandbox) = self.slot.sandbox() {
            self.engine.sandboxes.forget(&sandbox);
        }
        self.slot.show(None);
    }
}
