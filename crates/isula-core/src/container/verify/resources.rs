//! Limits of resources: Docker's ranges and their relations.

use super::super::{Invalid, Resources};
use crate::ports::HostFacts;

/// The smallest limit of memory: less does not hold the init process's own start.
const MEMORY_MINIMUM: u64 = 6 << 20;
/// More processors than any kernel is built for (`NR_CPUS`), and more memory nodes.
const INDEX_LIMIT: u32 = 8192;

pub(super) fn verify(
    resources: &mut Resources,
    facts: &HostFacts,
    warnings: &mut Vec<String>,
) -> Result<(), Invalid> {
    drop_zeros(resources);
    memory(resources, facts, warnings)?;
    processors(resources, facts)?;
    rest(resources, facts)
}

/// Docker's clients send 0 for "not set".
fn drop_zeros(resources: &mut Resources) {
    let Resources { memory, memory_reservation, nano_cpus, cpu_shares, cpu_period, .. } = resources;
    for value in [memory, memory_reservation, nano_cpus, cpu_shares, cpu_period] {
        value.take_if(|value| *value == 0);
    }
    let Resources { memory_swap, cpu_quota, pids_limit, .. } = resources;
    for value in [memory_swap, cpu_quota, pids_limit] {
        value.take_if(|value| *value == 0);
    }
    resources.blkio_weight.take_if(|weight| *weight == 0);
    for set in [&mut resources.cpuset_cpus, &mut resources.cpuset_mems] {
        set.take_if(|set| set.is_empty());
    }
}

fn memory(
    resources: &mut Resources,
    facts: &HostFacts,
    warnings: &mut Vec<String>,
) -> Result<(), Invalid> {
    for (field, value) in
        [("memory", resources.memory), ("memory-reservation", resources.memory_reservation)]
    {
        if let Some(value) = value.filter(|value| *value < MEMORY_MINIMUM) {
            return Err(Invalid::value(field, value, "the minimum is 6 MiB"));
        }
        if let Some(value) = value.filter(|value| i64::try_from(*value).is_err()) {
            return Err(Invalid::value(field, value, "it is too large"));
        }
    }
    if let (Some(limit), Some(kept)) = (resources.memory, resources.memory_reservation)
        && kept > limit
    {
        return Err(Invalid::value("memory-reservation", kept, "it exceeds the memory limit"));
    }
    if let Some(swap) = resources.memory_swap {
        let error = |why: &str| Err(Invalid::value("memory-swap", swap, why));
        match (u64::try_from(swap), resources.memory) {
            (Err(_), _) if swap != -1 => return error("it must be a size or -1"),
            (Ok(_), None) => return error("it needs a memory limit"),
            (Ok(swap), Some(memory)) if swap < memory => {
                return error("it is memory and swap together: not less than the memory limit");
            }
            _ => {}
        }
        if !facts.swap_accounting {
            resources.memory_swap = None;
            warnings.push("the kernel does not account swap: it is not limited".to_owned());
        }
    }
    if let Some(value) = resources.memory_swappiness {
        if value > 100 {
            return Err(Invalid::value("memory-swappiness", value, "it must be 0 to 100"));
        }
        if facts.cgroup_v2 {
            resources.memory_swappiness = None;
            warnings.push("cgroup v2 has no memory-swappiness: it is left out".to_owned());
        }
    }
    if resources.oom_kill_disable == Some(true) {
        if facts.cgroup_v2 {
            resources.oom_kill_disable = None;
            warnings.push("cgroup v2 has no oom-kill-disable: it is left out".to_owned());
        } else if resources.memory.is_none() {
            let text = "oom-kill-disable without a memory limit can starve the host";
            warnings.push(text.to_owned());
        }
    }
    Ok(())
}

fn processors(resources: &Resources, facts: &HostFacts) -> Result<(), Invalid> {
    if let Some(nanos) = resources.nano_cpus {
        if resources.cpu_period.is_some() {
            return Err(Invalid::Conflict("cpus", "cpu-period"));
        }
        if resources.cpu_quota.is_some() {
            return Err(Invalid::Conflict("cpus", "cpu-quota"));
        }
        let available = facts.cpus;
        if !(10_000_000..=u64::from(available) * 1_000_000_000).contains(&nanos) {
            let cpus = format!("{}.{:09}", nanos / 1_000_000_000, nanos % 1_000_000_000);
            let why = format!("the range is 0.01 to {available}.00, as {available} are available");
            return Err(Invalid::value("cpus", cpus, why));
        }
    }
    if let Some(period) = resources.cpu_period.filter(|us| !(1000..=1_000_000).contains(us)) {
        return Err(Invalid::value("cpu-period", period, "it must be 1000 to 1000000 µs"));
    }
    if let Some(quota) = resources.cpu_quota.filter(|us| *us != -1 && *us < 1000) {
        return Err(Invalid::value("cpu-quota", quota, "it must be at least 1000 µs, or -1"));
    }
    if let Some(shares) = resources.cpu_shares.filter(|n| !(2..=262_144).contains(n)) {
        return Err(Invalid::value("cpu-shares", shares, "it must be 2 to 262144"));
    }
    for (field, set) in
        [("cpuset-cpus", &resources.cpuset_cpus), ("cpuset-mems", &resources.cpuset_mems)]
    {
        if let Some(set) = set.as_deref().filter(|set| !is_set(set)) {
            let why = "it must be like 0-3,5 with numbers below 8192";
            return Err(Invalid::value(field, set, why));
        }
    }
    Ok(())
}

/// `0-3,5`. Never expanded, so a huge range costs nothing (CVE-2018-20699).
fn is_set(text: &str) -> bool {
    let number = |text: &str| {
        let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        digits.then(|| text.parse::<u32>().ok())?.filter(|index| *index < INDEX_LIMIT)
    };
    text.split(',').all(|part| {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        matches!((number(first), number(last)), (Some(first), Some(last)) if first <= last)
    })
}

fn rest(resources: &Resources, facts: &HostFacts) -> Result<(), Invalid> {
    if let Some(limit) = resources.pids_limit.filter(|limit| *limit < -1) {
        return Err(Invalid::value("pids-limit", limit, "it must be a number or -1"));
    }
    if let Some(weight) = resources.blkio_weight.filter(|n| !(10..=1000).contains(n)) {
        return Err(Invalid::value("blkio-weight", weight, "it must be 10 to 1000"));
    }
    for size in resources.hugetlb.keys() {
        let digits = size.trim_end_matches(|char: char| char.is_ascii_alphabetic());
        let unit = size.get(digits.len()..).unwrap_or_default();
        let number = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
        if !number || !["KB", "MB", "GB"].contains(&unit) {
            return Err(Invalid::value("hugetlb-limit", size, "a page size is like 2MB"));
        }
    }
    if let Some((_, bytes)) = resources.hugetlb.iter().find(|(_, n)| i64::try_from(**n).is_err()) {
        return Err(Invalid::value("hugetlb-limit", bytes, "it is too large"));
    }
    for (key, value) in &resources.unified {
        if !facts.cgroup_v2 {
            let value = format!("{key}={value}");
            let why = "it needs cgroup v2";
            return Err(Invalid::Unsupported { field: "cgroup-conf", value, why });
        }
        let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte);
        let file = key.contains('.') && !key.starts_with('.') && key.bytes().all(fits);
        if !file || key.starts_with("cgroup.") || value.contains('\0') {
            let why = "the key must be a file of a controller, such as memory.high";
            return Err(Invalid::value("cgroup-conf", key, why));
        }
    }
    Ok(())
}
