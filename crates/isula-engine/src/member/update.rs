//! `update`: what a container may use. All of it, or none.

use std::collections::BTreeMap;

use isula_core::{
    container::{Container, Resources, verify_resources},
    ports::Durability,
    sandbox::verify_texts,
    spec,
};

use crate::{Engine, Error, Result};

/// What is to be changed. What is absent in it stays.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ResourceUpdate {
    /// Limits; an absent one stays as it is.
    pub resources: Resources,
    /// How soon the kernel kills it for lack of memory: only for a container that does not run.
    pub oom_score_adj: Option<i32>,
    /// Annotations that are added or replaced.
    pub annotations: BTreeMap<String, String>,
}

impl Engine {
    /// Changes the limits of a container that was created or runs.
    ///
    /// # Errors
    /// A limit is wrong or refused by the kernel: all limits are as they were.
    pub async fn update_member(&self, query: &str, update: ResourceUpdate) -> Result<()> {
        let slot = self.member_slot(query)?;
        let Some(held) = self.hold_slot(&slot).await else {
            return Err(Error::NoSuchContainer(query.to_owned()));
        };
        let before = held.container();
        if before.state.exit().is_some() {
            return Err(Error::NotRunning(query.to_owned()));
        }
        let mut next = Container::clone(&before);
        next.host.resources = merged(&before.host.resources, without_swap(update.resources));
        let facts = self.ports.host.facts();
        for warning in verify_resources(&mut next.host.resources, facts)? {
            tracing::warn!("{}: {warning}", next.name);
        }
        if let Some(score) = update.oom_score_adj
            && before.state.run().is_none()
        {
            next.host.oom_score_adj = Some(score);
        }
        if let Some(pod) = &mut next.pod {
            pod.annotations.extend(update.annotations);
            verify_texts("annotation", &pod.annotations)?;
        }
        let running = before.state.run().is_some();
        if running {
            let resources = spec::limits(&next.host, facts);
            let work = self.ports.runtime.update(&next.id, &resources);
            self.port(&next, "change its limits", work).await?;
        }
        if let Err(error) = held.save(&next, Durability::Synced).await {
            if running {
                let former = spec::limits(&before.host, facts);
                let work = self.ports.runtime.update(&next.id, &former);
                self.port(&next, "restore its limits", work).await?;
            }
            return Err(error);
        }
        // Its spec says something else now.
        held.slot().marks().fingerprint = None;
        held.show(next);
        Ok(())
    }
}

/// A limit of memory is one of memory and swap together unless that is said, as at `create`.
pub(super) fn without_swap(mut resources: Resources) -> Resources {
    if resources.memory.is_some_and(|bytes| bytes > 0) && resources.memory_swap.is_none() {
        resources.memory_swap = resources.memory.and_then(|bytes| i64::try_from(bytes).ok());
    }
    resources
}

/// What `wanted` says, and what `before` said where it says nothing.
fn merged(before: &Resources, wanted: Resources) -> Resources {
    let mut unified = before.unified.clone();
    unified.extend(wanted.unified);
    let mut hugetlb = before.hugetlb.clone();
    hugetlb.extend(wanted.hugetlb);
    let nanos = wanted.cpu_quota.is_none() && wanted.cpu_period.is_none();
    Resources {
        memory: wanted.memory.or(before.memory),
        memory_reservation: wanted.memory_reservation.or(before.memory_reservation),
        memory_swap: wanted.memory_swap.or(before.memory_swap),
        memory_swappiness: wanted.memory_swappiness.or(before.memory_swappiness),
        nano_cpus: wanted.nano_cpus.or(before.nano_cpus.filter(|_| nanos)),
        cpu_shares: wanted.cpu_shares.or(before.cpu_shares),
        cpu_period: wanted.cpu_period.or(before.cpu_period),
        cpu_quota: wanted.cpu_quota.or(before.cpu_quota),
        cpuset_cpus: wanted.cpuset_cpus.or_else(|| before.cpuset_cpus.clone()),
        cpuset_mems: wanted.cpuset_mems.or_else(|| before.cpuset_mems.clone()),
        pids_limit: wanted.pids_limit.or(before.pids_limit),
        blkio_weight: wanted.blkio_weight.or(before.blkio_weight),
        oom_kill_disable: wanted.oom_kill_disable.or(before.oom_kill_disable),
        hugetlb,
        unified,
    }
}
