//! Names and ids of containers, in memory; who a user means.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard},
};

use isula_core::id::{ContainerId, Name};

use crate::{Error, Result, slot::Slot};

/// All containers by id and by name. The lock is held for look-ups alone, never across a wait.
#[derive(Default)]
pub(crate) struct Index(RwLock<Tables>);

#[derive(Default)]
struct Tables {
    by_id: BTreeMap<ContainerId, Arc<Slot>>,
    /// A name is taken before its container is made.
    by_name: HashMap<Name, ContainerId>,
}

impl Index {
    fn read(&self) -> RwLockReadGuard<'_, Tables> {
        // Nothing panics while it holds the lock; if it did, the tables would still be whole.
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Tables> {
        self.0.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Every container, in the order of the ids.
    pub fn slots(&self) -> Vec<Arc<Slot>> {
        self.read().by_id.values().cloned().collect()
    }

    /// The container with this id.
    pub fn get(&self, id: &ContainerId) -> Option<Arc<Slot>> {
        self.read().by_id.get(id).cloned()
    }

    /// The container that a user means: its full id, its name, or a prefix of its id that no other
    /// has. A name comes before a prefix.
    pub fn find(&self, query: &str) -> Result<Arc<Slot>> {
        let none = || Error::NoSuchContainer(query.to_owned());
        let tables = self.read();
        if let Ok(id) = ContainerId::try_from(query.to_owned())
            && let Some(slot) = tables.by_id.get(&id)
        {
            return Ok(Arc::clone(slot));
        }
        let bare = query.strip_prefix('/').unwrap_or(query);
        if let Ok(name) = Name::try_from(bare.to_owned())
            && let Some(slot) = tables.by_name.get(&name).and_then(|id| tables.by_id.get(id))
        {
            return Ok(Arc::clone(slot));
        }
        let hex = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        if query.is_empty() || query.len() >= 64 || !query.bytes().all(hex) {
            return Err(none());
        }
        // The smallest id that begins so; ids are ordered as texts.
        let first = ContainerId::try_from(format!("{query:0<64}")).map_err(|_| none())?;
        let mut fitting =
            tables.by_id.range(first..).take_while(|(id, _)| id.as_str().starts_with(query));
        match (fitting.next(), fitting.next()) {
            (None, _) => Err(none()),
            (Some((_, slot)), None) => Ok(Arc::clone(slot)),
            (Some(_), Some(_)) => Err(Error::Ambiguous(query.to_owned())),
        }
    }

    /// Takes a name for a container that is being made or renamed.
    pub fn reserve(&self, name: &Name, id: &ContainerId) -> Result<Reservation<'_>> {
        let mut tables = self.write();
        if let Some(holder) = tables.by_name.get(name) {
            return Err(Error::NameTaken { name: name.to_string(), holder: holder.clone() });
        }
        tables.by_name.insert(name.clone(), id.clone());
        Ok(Reservation { index: self, name: Some(name.clone()) })
    }

    /// Adds a container whose name is reserved.
    pub fn add(&self, slot: Arc<Slot>) {
        self.write().by_id.insert(slot.id.clone(), slot);
    }

    /// Frees a name that is no longer used.
    pub fn release(&self, name: &Name) {
        self.write().by_name.remove(name);
    }

    /// Forgets a container and its name.
    pub fn forget(&self, id: &ContainerId, name: &Name) {
        let mut tables = self.write();
        tables.by_id.remove(id);
        if tables.by_name.get(name) == Some(id) {
            tables.by_name.remove(name);
        }
    }
}

/// A name that was taken; it is free again when this is dropped before it was kept.
pub(crate) struct Reservation<'a> {
    index: &'a Index,
    name: Option<Name>,
}

impl Reservation<'_> {
    /// The name stays taken.
    pub fn keep(mut self) {
        self.name = None;
    }
}

impl Drop for Reservation<'_> {
    fn drop(&mut self) {
        if let Some(name) = &self.name {
            self.index.release(name);
        }
    }
}
