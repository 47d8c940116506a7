//! Limits of resources as the runtime-spec writes them.

use oci_spec::runtime::{
    LinuxBlockIo, LinuxCpu, LinuxHugepageLimit, LinuxMemory, LinuxPids, LinuxResources,
};

use super::{Device, Facts, SpecError, devices};
use crate::{
    container::{HostConfig, Resources},
    ports::HostFacts,
};

/// Microseconds; the kernel's default and what `--cpus` is a share of.
const PERIOD: u64 = 100_000;

pub(super) fn build(
    host: &HostConfig,
    facts: &Facts<'_>,
    all: &[Device],
) -> Result<LinuxResources, SpecError> {
    let mut resources = limits(host, facts.host);
    resources.set_devices(Some(devices::rules(host, all)?));
    Ok(resources)
}

/// Without the rules for devices, which can't change.
pub(super) fn limits(host: &HostConfig, facts: &HostFacts) -> LinuxResources {
    let wanted = &host.resources;
    let mut resources = LinuxResources::default();
    resources
        .set_devices(None)
        .set_memory(memory(wanted, facts.swap_accounting))
        .set_cpu(cpu(wanted))
        .set_pids(pids(wanted))
        .set_block_io(wanted.blkio_weight.map(|weight| {
            let mut block_io = LinuxBlockIo::default();
            block_io.set_weight(Some(weight));
            block_io
        }))
        .set_hugepage_limits(hugepages(wanted));
    if !wanted.unified.is_empty() {
        resources.set_unified(Some(wanted.unified.clone().into_iter().collect()));
    }
    resources
}

/// Swap that is not mentioned is as large as the memory (Docker).
fn memory(wanted: &Resources, swap_accounting: bool) -> Option<LinuxMemory> {
    let bytes = |value: Option<u64>| value.and_then(|bytes| i64::try_from(bytes).ok());
    let double = || bytes(wanted.memory).map(|memory| memory.saturating_mul(2));
    let mut memory = LinuxMemory::default();
    memory
        .set_limit(bytes(wanted.memory))
        .set_reservation(bytes(wanted.memory_reservation))
        .set_swap(wanted.memory_swap.or_else(double).filter(|_| swap_accounting))
        .set_swappiness(wanted.memory_swappiness)
        .set_disable_oom_killer(wanted.oom_kill_disable);
    (memory != LinuxMemory::default()).then_some(memory)
}

fn cpu(wanted: &Resources) -> Option<LinuxCpu> {
    let from_nanos = wanted.nano_cpus.map(|nanos| nanos.saturating_mul(PERIOD) / 1_000_000_000);
    let quota = from_nanos.and_then(|quota| i64::try_from(quota).ok());
    let mut cpu = LinuxCpu::default();
    cpu.set_shares(wanted.cpu_shares)
        .set_quota(quota.or(wanted.cpu_quota))
        .set_period(quota.map(|_| PERIOD).or(wanted.cpu_period))
        .set_cpus(wanted.cpuset_cpus.clone())
        .set_mems(wanted.cpuset_mems.clone());
    (cpu != LinuxCpu::default()).then_some(cpu)
}

fn pids(wanted: &Resources) -> Option<LinuxPids> {
    let limit = wanted.pids_limit.filter(|limit| *limit > 0)?;
    let mut pids = LinuxPids::default();
    pids.set_limit(limit);
    Some(pids)
}

fn hugepages(wanted: &Resources) -> Option<Vec<LinuxHugepageLimit>> {
    let limits: Vec<LinuxHugepageLimit> = wanted
        .hugetlb
        .iter()
        .filter_map(|(size, bytes)| {
            let mut limit = LinuxHugepageLimit::default();
            limit.set_page_size(size.clone()).set_limit(i64::try_from(*bytes).ok()?);
            Some(limit)
        })
        .collect();
    (!limits.is_empty()).then_some(limits)
}
