//! The files of version 2 (Documentation/admin-guide/cgroup-v2.rst of the kernel), with the
//! conversions from values of version 1 that Docker and runc have.

use oci_spec::runtime::{LinuxCpu, LinuxMemory, LinuxResources};

use super::super::plan::Tolerance;
use super::super::{CgroupError, Controller, Controllers};
use super::{
    Collector, Field, Size, block_device, memory_and_swap, refuse, refuse_if, refuse_kernel_memory,
    refuse_leaf_weights, size, throttles,
};

const NOT_HERE: &str = "cgroup version 2 does not have it";
const DEFAULT_PERIOD: u64 = 100_000;

pub(super) fn compile(out: &mut Collector, resources: &LinuxResources) -> Result<(), CgroupError> {
    out.cpuset(resources)?;
    if let Some(memory) = resources.memory() {
        limit_memory(out, memory)?;
    }
    if let Some(cpu) = resources.cpu() {
        limit_cpu(out, cpu)?;
    }
    out.pids(resources)?;
    block_io(out, resources)?;
    out.huge_pages(resources, "max", "max")?;
    if let Some(network) = resources.network() {
        refuse_if(network.class_id().unwrap_or(0) != 0, "network.classID", NOT_HERE)?;
        let priorities = network.priorities().as_ref().is_some_and(|list| !list.is_empty());
        refuse_if(priorities, "network.priorities", NOT_HERE)?;
    }
    out.rdma(resources)?;
    unified(out, resources)
}

fn limit_memory(out: &mut Collector, memory: &LinuxMemory) -> Result<(), CgroupError> {
    let field = |name| Field(Controller::Memory, name);
    let (limit, swap) = memory_and_swap(memory)?;
    // Swap counts apart here. Where the kernel has none, no limit and no swap are what is.
    let file = "memory.swap.max";
    let name = field("memory.swap");
    let nothing = |out: &mut Collector, value: &str| {
        out.set_with(name, (file, value.to_owned()), None, Tolerance::Absent)
    };
    match (limit, swap) {
        (Size::Unlimited, Size::Unset) | (_, Size::Unlimited) if out.fresh => {}
        (Size::Unlimited, Size::Unset) | (_, Size::Unlimited) => nothing(out, "max")?,
        (_, Size::Unset) => {}
        (Size::Bytes(limit), Size::Bytes(swap)) if swap == limit => nothing(out, "0")?,
        (Size::Bytes(limit), Size::Bytes(swap)) => out.set(name, file, swap - limit)?,
        (_, Size::Bytes(_)) => return refuse("memory.swap", "needs memory.limit beside it"),
    }
    match limit {
        Size::Unset => {}
        Size::Unlimited => out.reset(field("memory.limit"), "memory.max", "max")?,
        Size::Bytes(bytes) => out.set(field("memory.limit"), "memory.max", bytes)?,
    }
    match size(memory.reservation(), "memory.reservation")? {
        Size::Unset => {}
        Size::Unlimited => out.set(field("memory.reservation"), "memory.low", "max")?,
        Size::Bytes(bytes) => out.set(field("memory.reservation"), "memory.low", bytes)?,
    }
    refuse_kernel_memory(memory)?;
    let tcp = size(memory.kernel_tcp(), "memory.kernelTCP")?;
    refuse_if(matches!(tcp, Size::Bytes(_)), "memory.kernelTCP", NOT_HERE)?;
    refuse_if(memory.swappiness().is_some(), "memory.swappiness", NOT_HERE)?;
    let oom = memory.disable_oom_killer() == Some(true);
    refuse_if(oom, "memory.disableOOMKiller", NOT_HERE)?;
    let flat = memory.use_hierarchy() == Some(false);
    refuse_if(flat, "memory.useHierarchy", "cgroup version 2 always counts hierarchically")
}

fn limit_cpu(out: &mut Collector, cpu: &LinuxCpu) -> Result<(), CgroupError> {
    let field = |name| Field(Controller::Cpu, name);
    // An idle group has no weight, so the weight comes after the end of idleness and before its
    // beginning.
    if cpu.idle() == Some(0) {
        out.reset(field("cpu.idle"), "cpu.idle", "0")?;
    }
    if let Some(shares) = cpu.shares().filter(|shares| *shares != 0) {
        out.set(field("cpu.shares"), "cpu.weight", weight(shares))?;
    }
    if let Some(idle) = cpu.idle().filter(|idle| *idle != 0) {
        out.set(field("cpu.idle"), "cpu.idle", idle)?;
    }
    let period = cpu.period().filter(|period| *period != 0);
    let quota = cpu.quota().filter(|quota| *quota != 0);
    if period.is_some() || quota.is_some() {
        let quota = quota.filter(|quota| *quota > 0);
        let max = quota.map_or("max".to_owned(), |quota| quota.to_string());
        let value = format!("{max} {}", period.unwrap_or(DEFAULT_PERIOD));
        // A burst above the new quota is refused until the burst has been lowered too.
        out.set_with(field("cpu.quota"), ("cpu.max", value), None, Tolerance::Order)?;
    }
    match cpu.burst() {
        None => {}
        Some(0) => out.reset(field("cpu.burst"), "cpu.max.burst", "0")?,
        Some(burst) => {
            let value = ("cpu.max.burst", burst.to_string());
            out.set_with(field("cpu.burst"), value, None, Tolerance::Order)?;
        }
    }
    let runtime = cpu.realtime_runtime().is_some_and(|runtime| runtime != 0);
    refuse_if(runtime, "cpu.realtimeRuntime", NOT_HERE)?;
    let period = cpu.realtime_period().is_some_and(|period| period != 0);
    refuse_if(period, "cpu.realtimePeriod", NOT_HERE)
}

/// Shares of version 1, 2 to 262144 with 1024 as default, as a weight, 1 to 10000 with 100 as
/// default: the curve through these three points that runc 1.4 and crun 1.23 use.
fn weight(shares: u64) -> u64 {
    match shares {
        0..=2 => 1,
        262_144.. => 10_000,
        _ => {
            // Exact: fewer than 53 bits.
            #[expect(clippy::cast_precision_loss, reason = "below 2^18 here")]
            let log = (shares as f64).log2();
            let exponent = (log * log + 125.0 * log) / 612.0 - 7.0 / 34.0;
            let weight = 10_f64.powf(exponent);
            // Rounded up, but not because of the last bits of a double.
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "from 1 to 10000 here"
            )]
            let weight = (weight - 1e-6).ceil() as u64;
            weight
        }
    }
}

/// Weights of the BFQ scheduler, 1 to 1000 as in version 1; or where it is not there the general
/// one, to which 10 to 1000 are stretched.
fn block_io(out: &mut Collector, resources: &LinuxResources) -> Result<(), CgroupError> {
    refuse_leaf_weights(resources)?;
    let Some(block) = resources.block_io() else { return Ok(()) };
    let general = |weight: u16| 1 + (u64::from(weight).max(10) - 10) * 9999 / 990;
    let (bfq, io) = ("io.bfq.weight", "io.weight");
    if let Some(weight) = block.weight().filter(|weight| *weight != 0) {
        let field = Field(Controller::Io, "blockIO.weight");
        out.set_either(field, (bfq, weight.to_string()), (io, general(weight).to_string()))?;
    }
    for device in block.weight_device().iter().flatten() {
        let field = "blockIO.weightDevice";
        let number = block_device(device.major(), device.minor(), field)?;
        let Some(weight) = device.weight() else { continue };
        let first = (bfq, format!("{number} {weight}"));
        let second = (io, format!("{number} {}", general(weight)));
        out.set_either(Field(Controller::Io, field), first, second)?;
    }
    for throttle in throttles(resources) {
        let (device, field) = (throttle.device, throttle.field);
        let number = block_device(device.major(), device.minor(), field)?;
        let rate = match device.rate() {
            0 => "max".to_owned(),
            rate => rate.to_string(),
        };
        let value = format!("{number} {}={rate}", throttle.v2);
        out.set(Field(Controller::Io, field), "io.max", value)?;
    }
    Ok(())
}

/// Files and values as they are.
fn unified(out: &mut Collector, resources: &LinuxResources) -> Result<(), CgroupError> {
    let mut files: Vec<_> = resources.unified().iter().flatten().collect();
    files.sort();
    for (file, value) in files {
        let name = |why: &str| refuse(&format!("unified.{file}"), why);
        let Some((controller, _)) = file.split_once('.').filter(|_| !file.contains('/')) else {
            return name("is not the name of a file of a controller");
        };
        let known = Controllers::from_names([controller]);
        let Some(controller) = [
            Controller::Cpu,
            Controller::Cpuset,
            Controller::Memory,
            Controller::Io,
            Controller::Pids,
            Controller::Hugetlb,
            Controller::Rdma,
            Controller::Misc,
        ]
        .into_iter()
        .find(|one| known.has(*one)) else {
            return name("is not the name of a file of a controller");
        };
        out.set(Field(controller, "unified"), file, value)?;
        if let Some(write) = out.limits.writes.last_mut() {
            write.field = format!("linux.resources.unified.{file}");
        }
    }
    Ok(())
}
