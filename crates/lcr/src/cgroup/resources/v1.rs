//! The files of version 1 (Documentation/admin-guide/cgroup-v1 of the kernel).

use oci_spec::runtime::LinuxResources;

use super::super::plan::Tolerance;
use super::super::{CgroupError, Controller};
use super::{
    Collector, Field, Size, block_device, memory_and_swap, refuse_if, refuse_kernel_memory,
    refuse_leaf_weights, size, throttles,
};

pub(super) fn compile(out: &mut Collector, resources: &LinuxResources) -> Result<(), CgroupError> {
    let unified = resources.unified().as_ref().is_some_and(|unified| !unified.is_empty());
    refuse_if(unified, "unified", "needs cgroup version 2")?;
    // First, because nothing may join a group without processors.
    out.cpuset(resources)?;
    memory(out, resources)?;
    cpu(out, resources)?;
    out.pids(resources)?;
    block_io(out, resources)?;
    out.huge_pages(resources, "limit_in_bytes", "-1")?;
    network(out, resources)?;
    out.rdma(resources)
}

fn memory(out: &mut Collector, resources: &LinuxResources) -> Result<(), CgroupError> {
    let Some(memory) = resources.memory() else { return Ok(()) };
    let field = |name| Field(Controller::Memory, name);
    let (limit, mut swap) = memory_and_swap(memory)?;
    // No limit of memory is possible below one of both.
    if limit == Size::Unlimited && swap == Size::Unset {
        swap = Size::Unlimited;
    }
    let file = "memory.limit_in_bytes";
    let name = field("memory.limit");
    match limit {
        Size::Unset => {}
        Size::Unlimited if out.fresh => {}
        Size::Unlimited => out.set_with(name, (file, "-1".into()), None, Tolerance::Order)?,
        Size::Bytes(n) => out.set_with(name, (file, n.to_string()), None, Tolerance::Order)?,
    }
    let file = "memory.memsw.limit_in_bytes";
    let name = field("memory.swap");
    match swap {
        Size::Unset => {}
        Size::Unlimited if out.fresh => {}
        Size::Unlimited => out.set_with(name, (file, "-1".into()), None, Tolerance::Absent)?,
        Size::Bytes(bytes) => {
            out.set_with(name, (file, bytes.to_string()), None, Tolerance::Order)?;
        }
    }
    let file = "memory.soft_limit_in_bytes";
    match size(memory.reservation(), "memory.reservation")? {
        Size::Unset => {}
        Size::Unlimited => out.reset(field("memory.reservation"), file, "-1")?,
        Size::Bytes(bytes) => out.set(field("memory.reservation"), file, bytes)?,
    }
    refuse_kernel_memory(memory)?;
    let file = "memory.kmem.tcp.limit_in_bytes";
    match size(memory.kernel_tcp(), "memory.kernelTCP")? {
        Size::Unset => {}
        Size::Unlimited => out.reset(field("memory.kernelTCP"), file, "-1")?,
        Size::Bytes(bytes) => out.set(field("memory.kernelTCP"), file, bytes)?,
    }
    if let Some(swappiness) = memory.swappiness() {
        refuse_if(swappiness > 100, "memory.swappiness", "must be from 0 to 100")?;
        out.set(field("memory.swappiness"), "memory.swappiness", swappiness)?;
    }
    match memory.disable_oom_killer() {
        None => {}
        Some(false) => out.reset(field("memory.disableOOMKiller"), "memory.oom_control", "0")?,
        Some(true) => out.set(field("memory.disableOOMKiller"), "memory.oom_control", "1")?,
    }
    if let Some(hierarchy) = memory.use_hierarchy() {
        let value = u8::from(hierarchy);
        out.set(field("memory.useHierarchy"), "memory.use_hierarchy", value)?;
    }
    Ok(())
}

fn cpu(out: &mut Collector, resources: &LinuxResources) -> Result<(), CgroupError> {
    let Some(cpu) = resources.cpu() else { return Ok(()) };
    let field = |name| Field(Controller::Cpu, name);
    if let Some(shares) = cpu.shares().filter(|shares| *shares != 0) {
        out.set(field("cpu.shares"), "cpu.shares", shares)?;
    }
    // Period and quota bound each other through the limits of the group above.
    let order = Tolerance::Order;
    if let Some(period) = cpu.period().filter(|period| *period != 0) {
        out.set_with(field("cpu.period"), ("cpu.cfs_period_us", period.to_string()), None, order)?;
    }
    match cpu.quota().unwrap_or(0) {
        0 => {}
        quota if quota < 0 => out.reset(field("cpu.quota"), "cpu.cfs_quota_us", "-1")?,
        quota => {
            let value = ("cpu.cfs_quota_us", quota.to_string());
            out.set_with(field("cpu.quota"), value, None, order)?;
        }
    }
    match cpu.burst() {
        None => {}
        Some(0) => out.reset(field("cpu.burst"), "cpu.cfs_burst_us", "0")?,
        Some(burst) => {
            let value = ("cpu.cfs_burst_us", burst.to_string());
            out.set_with(field("cpu.burst"), value, None, order)?;
        }
    }
    match cpu.idle() {
        None => {}
        Some(0) => out.reset(field("cpu.idle"), "cpu.idle", "0")?,
        Some(idle) => out.set(field("cpu.idle"), "cpu.idle", idle)?,
    }
    if let Some(period) = cpu.realtime_period().filter(|period| *period != 0) {
        let value = ("cpu.rt_period_us", period.to_string());
        out.set_with(field("cpu.realtimePeriod"), value, None, order)?;
    }
    if let Some(runtime) = cpu.realtime_runtime().filter(|runtime| *runtime != 0) {
        let value = ("cpu.rt_runtime_us", runtime.to_string());
        out.set_with(field("cpu.realtimeRuntime"), value, None, order)?;
    }
    Ok(())
}

fn block_io(out: &mut Collector, resources: &LinuxResources) -> Result<(), CgroupError> {
    refuse_leaf_weights(resources)?;
    let Some(block) = resources.block_io() else { return Ok(()) };
    // The weight is that of the BFQ scheduler, whose file has its own name in some kernels.
    if let Some(weight) = block.weight().filter(|weight| *weight != 0) {
        let value = weight.to_string();
        let (first, second) = ("blkio.bfq.weight", "blkio.weight");
        let field = Field(Controller::Io, "blockIO.weight");
        out.set_either(field, (first, value.clone()), (second, value))?;
    }
    for device in block.weight_device().iter().flatten() {
        let field = "blockIO.weightDevice";
        let number = block_device(device.major(), device.minor(), field)?;
        let Some(weight) = device.weight() else { continue };
        let value = format!("{number} {weight}");
        let (first, second) = ("blkio.bfq.weight_device", "blkio.weight_device");
        out.set_either(Field(Controller::Io, field), (first, value.clone()), (second, value))?;
    }
    for throttle in throttles(resources) {
        let (device, field) = (throttle.device, throttle.field);
        let number = block_device(device.major(), device.minor(), field)?;
        let file = format!("blkio.throttle.{}_device", throttle.v1);
        out.set(Field(Controller::Io, field), &file, format!("{number} {}", device.rate()))?;
    }
    Ok(())
}

fn network(out: &mut Collector, resources: &LinuxResources) -> Result<(), CgroupError> {
    let Some(network) = resources.network() else { return Ok(()) };
    if let Some(class) = network.class_id().filter(|class| *class != 0) {
        out.set(Field(Controller::NetCls, "network.classID"), "net_cls.classid", class)?;
    }
    for priority in network.priorities().iter().flatten() {
        let (name, field) = (priority.name(), "network.priorities");
        let blank = name.is_empty() || name.contains(char::is_whitespace);
        refuse_if(blank, field, "an interface has a name without blanks")?;
        let value = format!("{name} {}", priority.priority());
        out.set(Field(Controller::NetPrio, field), "net_prio.ifpriomap", value)?;
    }
    Ok(())
}
