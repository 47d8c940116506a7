//! update.

use std::io::Read;
use std::path::PathBuf;

use clap::Args;
use oci_spec::runtime::{LinuxBlockIo, LinuxCpu, LinuxMemory, LinuxPids, LinuxResources};

use super::Outcome;
use super::report::Failure;
use super::store::{Status, Store};

/// Flags of update.
#[derive(Debug, Args)]
pub(super) struct UpdateArgs {
    /// File with linux.resources, - for the standard input; flags are applied on top of it
    #[arg(short, long, value_name = "FILE")]
    resources: Option<PathBuf>,
    /// Memory limit in bytes, with or without a unit (k, m, g); -1 for none
    #[arg(long, value_name = "BYTES", allow_hyphen_values = true)]
    memory: Option<String>,
    /// Memory and swap together; -1 for none
    #[arg(long, value_name = "BYTES", allow_hyphen_values = true)]
    memory_swap: Option<String>,
    /// Memory that reclaim leaves alone
    #[arg(long, value_name = "BYTES", allow_hyphen_values = true)]
    memory_reservation: Option<String>,
    /// Weight against other groups
    #[arg(long = "cpu-share", visible_alias = "cpu-shares", value_name = "SHARES")]
    cpu_shares: Option<u64>,
    /// Microseconds of processor time in each period; -1 for no limit
    #[arg(long, value_name = "US", allow_hyphen_values = true)]
    cpu_quota: Option<i64>,
    /// Length of the period in microseconds
    #[arg(long, value_name = "US")]
    cpu_period: Option<u64>,
    /// Microseconds that may be saved up
    #[arg(long, value_name = "US")]
    cpu_burst: Option<u64>,
    /// 1 to run only when nothing else does
    #[arg(long, value_name = "0|1")]
    cpu_idle: Option<i64>,
    /// Processors it may use
    #[arg(long, value_name = "LIST")]
    cpuset_cpus: Option<String>,
    /// Memory nodes it may use
    #[arg(long, value_name = "LIST")]
    cpuset_mems: Option<String>,
    /// Number of processes; -1 for no limit
    #[arg(long, value_name = "N", allow_hyphen_values = true)]
    pids_limit: Option<i64>,
    /// Weight of its input and output
    #[arg(long, value_name = "WEIGHT")]
    blkio_weight: Option<u16>,
    /// Id of the container
    id: String,
}

pub(super) fn update(store: &Store, args: &UpdateArgs) -> Outcome {
    let container = store.open(&args.id)?;
    if container.status()? == Status::Stopped {
        return Err(Failure::text(format!("container not running: {}", args.id)));
    }
    let resources = resources(args)?;
    container.plan()?.cgroup.cgroup().update(&resources)?;
    Ok(0)
}

fn resources(args: &UpdateArgs) -> Result<LinuxResources, Failure> {
    let mut resources = match &args.resources {
        Some(path) => read(path)?,
        None => LinuxResources::default(),
    };
    let mut memory: LinuxMemory = resources.memory().unwrap_or_default();
    let before = memory;
    if let Some(limit) = bytes("--memory", args.memory.as_deref())? {
        memory.set_limit(Some(limit));
    }
    if let Some(swap) = bytes("--memory-swap", args.memory_swap.as_deref())? {
        memory.set_swap(Some(swap));
    }
    if let Some(limit) = bytes("--memory-reservation", args.memory_reservation.as_deref())? {
        memory.set_reservation(Some(limit));
    }
    if memory != before {
        resources.set_memory(Some(memory));
    }
    set_cpu(args, &mut resources);
    if let Some(limit) = args.pids_limit {
        let mut pids = LinuxPids::default();
        pids.set_limit(limit);
        resources.set_pids(Some(pids));
    }
    if let Some(weight) = args.blkio_weight {
        let mut io: LinuxBlockIo = resources.block_io().clone().unwrap_or_default();
        io.set_weight(Some(weight));
        resources.set_block_io(Some(io));
    }
    Ok(resources)
}

fn set_cpu(args: &UpdateArgs, resources: &mut LinuxResources) {
    let mut cpu: LinuxCpu = resources.cpu().clone().unwrap_or_default();
    let before = cpu.clone();
    cpu.set_shares(args.cpu_shares.or(before.shares()))
        .set_quota(args.cpu_quota.or(before.quota()))
        .set_period(args.cpu_period.or(before.period()))
        .set_burst(args.cpu_burst.or(before.burst()))
        .set_idle(args.cpu_idle.or(before.idle()));
    if args.cpuset_cpus.is_some() {
        cpu.set_cpus(args.cpuset_cpus.clone());
    }
    if args.cpuset_mems.is_some() {
        cpu.set_mems(args.cpuset_mems.clone());
    }
    if cpu != before {
        resources.set_cpu(Some(cpu));
    }
}

fn read(path: &PathBuf) -> Result<LinuxResources, Failure> {
    let mut text = Vec::new();
    let result = if path.as_os_str() == "-" {
        std::io::stdin().lock().read_to_end(&mut text).map(drop)
    } else {
        std::fs::read(path).map(|bytes| text = bytes)
    };
    result.map_err(|error| Failure::file("read", path, error))?;
    serde_json::from_slice(&text)
        .map_err(|error| Failure::text(format!("cannot read {}: {error}", path.display())))
}

/// A number of bytes, with a unit of 1024 or without.
fn bytes(flag: &str, text: Option<&str>) -> Result<Option<i64>, Failure> {
    let Some(text) = text else { return Ok(None) };
    parse_bytes(text)
        .map(Some)
        .ok_or_else(|| Failure::text(format!("{flag}: {text:?} is no number of bytes")))
}

fn parse_bytes(text: &str) -> Option<i64> {
    let lower = text.to_ascii_lowercase();
    let lower = lower.strip_suffix("ib").or_else(|| lower.strip_suffix('b')).unwrap_or(&lower);
    let (number, factor) = match lower.strip_suffix(['k', 'm', 'g', 't']) {
        Some(number) => match lower.chars().last() {
            Some('k') => (number, 1i64 << 10),
            Some('m') => (number, 1 << 20),
            Some('g') => (number, 1 << 30),
            _ => (number, 1 << 40),
        },
        None => (lower, 1),
    };
    let number: i64 = number.parse().ok()?;
    if number < -1 || (number < 0 && factor != 1) {
        return None;
    }
    number.checked_mul(factor)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_of_bytes_may_have_a_unit() {
        for (text, number) in [
            ("1024", Some(1024)),
            ("64m", Some(64 << 20)),
            ("1GiB", Some(1 << 30)),
            ("2kb", Some(2048)),
            ("-1", Some(-1)),
            ("-2", None),
            ("-1k", None),
            ("", None),
            ("m", None),
            ("9999999t", None),
        ] {
            assert_eq!(parse_bytes(text), number, "{text}");
        }
    }
}
