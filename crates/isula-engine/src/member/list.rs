//! `list` and `status` of the containers of sandboxes: read what was shown last.

use std::{cmp::Reverse, sync::Arc};

use isula_core::{
    container::Container,
    sandbox::{MemberFilter, SandboxId},
};

use crate::{Engine, Error, Result, slot::Slot};

impl Engine {
    /// The container of a sandbox with this id, or prefix of an id; its record is its status.
    ///
    /// # Errors
    /// There is none, or it is in no sandbox.
    pub fn member(&self, query: &str) -> Result<Arc<Container>> {
        self.member_slot(query).map(|slot| slot.container())
    }

    /// The containers of sandboxes that a filter shows, newest first.
    #[must_use]
    pub fn list_members(&self, filter: &MemberFilter) -> Vec<Arc<Container>> {
        let all = self.index.slots().into_iter().map(|slot| slot.container());
        let mut found: Vec<_> = all.filter(|container| filter.shows(container)).collect();
        found.sort_by_key(|container| Reverse(container.created));
        found
    }

    pub(crate) fn member_slot(&self, query: &str) -> Result<Arc<Slot>> {
        let slot = self.index.find(query)?;
        match slot.container().pod {
            Some(_) => Ok(slot),
            None => Err(Error::NoSuchContainer(query.to_owned())),
        }
    }

    /// All containers of a sandbox.
    pub(crate) fn members_of(&self, id: &SandboxId) -> Vec<Arc<Slot>> {
        let mut slots = self.index.slots();
        slots.retain(|slot| slot.container().pod.as_ref().is_some_and(|pod| pod.sandbox == *id));
        slots
    }
}
