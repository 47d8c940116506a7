//! `list`: reads what was shown last and waits for nobody.

use std::{collections::BTreeSet, sync::Arc};

use isula_core::{
    container::{Container, Filters, State},
    image::ImageId,
};

use crate::{Engine, Result};

/// Which containers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ListOptions {
    /// Also those that do not run.
    pub all: bool,
    /// `KEY=VALUE`: id, name, label, status, ancestor, before, since, exited, volume, network.
    pub filters: Vec<String>,
    /// At most so many, newest first; implies `all`.
    pub last: Option<usize>,
}

/// A container as a list shows it.
#[derive(Debug, Clone)]
pub struct Listed {
    /// The record.
    pub container: Arc<Container>,
    /// Docker's name of the state: created, starting, running, paused, restarting, exited,
    /// removing.
    pub state: &'static str,
}

impl Engine {
    /// The containers, newest first.
    ///
    /// # Errors
    /// A filter can't be used, or names a container that does not exist.
    pub fn list(&self, options: &ListOptions) -> Result<Vec<Listed>> {
        let filters = Filters::parse(&options.filters)?;
        let all = options.all || options.last.is_some() || filters.want_all();
        let bound = |key: &str| {
            let found = filters.values(key).iter().map(|query| self.index.find(query));
            found.map(|slot| slot.map(|slot| slot.container().created)).collect::<Result<Vec<_>>>()
        };
        let (before, since) = (bound("before")?, bound("since")?);
        let ancestors = self.ancestors(filters.values("ancestor"));
        let fits = |container: &Container, state: &str, running: bool| {
            (all || running)
                && before.iter().all(|limit| container.created < *limit)
                && since.iter().all(|limit| container.created > *limit)
                && filters.match_ancestor(container, &ancestors)
                && filters.match_alone(container, state)
        };
        let mut listed: Vec<Listed> = self
            .index
            .slots()
            .iter()
            .filter_map(|slot| {
                let seen = slot.seen();
                let state = seen.state_name();
                let running = seen.restarting
                    || matches!(seen.container.state, State::Running(_) | State::Paused(_));
                fits(&seen.container, state, running)
                    .then_some(Listed { container: seen.container, state })
            })
            .collect();
        listed.sort_by_key(|one| std::cmp::Reverse(one.container.created));
        listed.truncate(options.last.unwrap_or(usize::MAX));
        Ok(listed)
    }

    /// The images that were named and all that are built on them.
    fn ancestors(&self, queries: &[String]) -> Vec<ImageId> {
        let named: Vec<_> =
            queries.iter().filter_map(|query| self.ports.images.find(query).ok()).collect();
        let built_on = |layers: &[_]| named.iter().any(|image| layers.starts_with(&image.layers));
        let mut ids: BTreeSet<ImageId> = named.iter().map(|image| image.id.clone()).collect();
        if !named.is_empty() {
            let images = self.ports.images.list();
            let derived = images.iter().filter(|image| built_on(&image.layers));
            ids.extend(derived.map(|image| image.id.clone()));
        }
        ids.into_iter().collect()
    }
}
