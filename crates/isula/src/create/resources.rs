//! Limits of memory, processors, processes and block input and output.

use isula_api::v1::Resources;

use crate::error::Failure;
use crate::flags::Arguments;
use crate::parse::{device, environment, number, size};

/// The limits that the flags set.
///
/// # Errors
/// Malformed values; `--cpus` together with a period or quota of its own.
pub(super) fn resources(arguments: &Arguments) -> Result<Resources, Failure> {
    let resources = Resources {
        memory: arguments.parsed("memory", size::bytes)?.filter(|bytes| *bytes > 0),
        memory_reservation: arguments
            .parsed("memory-reservation", size::bytes)?
            .filter(|bytes| *bytes > 0),
        memory_swap: arguments
            .parsed("memory-swap", size::bytes_or_unlimited)?
            .filter(|bytes| *bytes != 0),
        memory_swappiness: arguments.parsed("memory-swappiness", number::swappiness)?.flatten(),
        nano_cpus: arguments.parsed("cpus", number::nano_cpus)?.filter(|cpus| *cpus > 0),
        cpu_shares: arguments.parsed("cpu-shares", number::number)?,
        cpu_period: arguments.parsed("cpu-period", number::number)?,
        cpu_quota: arguments.parsed("cpu-quota", number::number)?,
        cpuset_cpus: arguments.value("cpuset-cpus").unwrap_or_default().to_owned(),
        cpuset_mems: arguments.value("cpuset-mems").unwrap_or_default().to_owned(),
        pids_limit: arguments.parsed("pids-limit", number::number)?,
        blkio_weight: arguments.parsed("blkio-weight", number::blkio_weight)?.flatten(),
        oom_kill_disable: arguments
            .value("oom-kill-disable")
            .map(|_| arguments.on("oom-kill-disable")),
        hugetlb: arguments.each("hugetlb-limit", device::hugetlb)?.into_iter().collect(),
        unified: arguments.each("cgroup-conf", environment::pair)?.into_iter().collect(),
    };
    if resources.nano_cpus.is_some()
        && (resources.cpu_period.is_some() || resources.cpu_quota.is_some())
    {
        let message = "conflicting options: --cpus and --cpu-period or --cpu-quota";
        return Err(arguments.fault(message));
    }
    Ok(resources)
}
