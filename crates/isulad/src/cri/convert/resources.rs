//! Limits of resources. In messages 0 means that nothing was said.

use std::collections::HashMap;

use isula_api::runtime::v1;
use isula_core::container::Resources;
use tonic::Status;

use super::some;
use crate::api::status::invalid;

/// What a container or sandbox may use.
pub(in crate::cri) fn limits(wire: v1::LinuxContainerResources) -> Result<Resources, Status> {
    let positive = |field: &str, value: i64| match value {
        0 => Ok(None),
        value => u64::try_from(value)
            .map(Some)
            .map_err(|_| invalid(format!("{field}: {value} is below 0"))),
    };
    let said = |value: i64| (value != 0).then_some(value);
    Ok(Resources {
        memory: positive("memory_limit_in_bytes", wire.memory_limit_in_bytes)?,
        memory_swap: said(wire.memory_swap_limit_in_bytes),
        cpu_shares: positive("cpu_shares", wire.cpu_shares)?,
        cpu_period: positive("cpu_period", wire.cpu_period)?,
        cpu_quota: said(wire.cpu_quota),
        cpuset_cpus: some(wire.cpuset_cpus),
        cpuset_mems: some(wire.cpuset_mems),
        hugetlb: wire
            .hugepage_limits
            .into_iter()
            .map(|limit| (limit.page_size, limit.limit))
            .collect(),
        unified: wire.unified.into_iter().collect(),
        ..Resources::default()
    })
}

/// How soon the kernel kills it for lack of memory.
pub(in crate::cri) fn oom_score_adj(wire: &v1::LinuxContainerResources) -> Result<i32, Status> {
    let value = wire.oom_score_adj;
    match i32::try_from(value) {
        Ok(score @ -1000..=1000) => Ok(score),
        _ => Err(invalid(format!("oom_score_adj: {value} is not between -1000 and 1000"))),
    }
}

/// The limits in force.
pub(super) fn message(
    resources: &Resources,
    oom_score_adj: Option<i32>,
) -> v1::LinuxContainerResources {
    let number =
        |value: Option<u64>| value.map_or(0, |value| i64::try_from(value).unwrap_or(i64::MAX));
    let hugepage = |(page_size, limit): (&String, &u64)| v1::HugepageLimit {
        page_size: page_size.clone(),
        limit: *limit,
    };
    v1::LinuxContainerResources {
        cpu_period: number(resources.cpu_period),
        cpu_quota: resources.cpu_quota.unwrap_or_default(),
        cpu_shares: number(resources.cpu_shares),
        memory_limit_in_bytes: number(resources.memory),
        oom_score_adj: oom_score_adj.map_or(0, i64::from),
        cpuset_cpus: resources.cpuset_cpus.clone().unwrap_or_default(),
        cpuset_mems: resources.cpuset_mems.clone().unwrap_or_default(),
        hugepage_limits: resources.hugetlb.iter().map(hugepage).collect(),
        unified: resources.unified.clone().into_iter().collect::<HashMap<_, _>>(),
        memory_swap_limit_in_bytes: resources.memory_swap.unwrap_or_default(),
    }
}
