//! Every field of `linux.resources`, as values for files of one version or the other. A field
//! that a version cannot honour is refused by its name.

mod v1;
mod v2;

use oci_spec::runtime::{LinuxMemory, LinuxResources, LinuxThrottleDevice};

use super::directory;
use super::plan::{Tolerance, Write};
use super::{Cgroup, CgroupError, Controller, Controllers, Version};

/// What limits come to.
#[derive(Default)]
pub(super) struct Limits {
    pub(super) writes: Vec<Write>,
    pub(super) warnings: Vec<String>,
    /// Controllers that the writes need.
    pub(super) required: Controllers,
}

/// The writes for `resources`, without the devices. On a `fresh` group what it has anyway is not
/// written.
pub(super) fn compile(
    cgroup: &Cgroup,
    resources: &LinuxResources,
    fresh: bool,
) -> Result<Limits, CgroupError> {
    let available = cgroup.hierarchies.controllers();
    let mut limits = Collector { available, fresh, limits: Limits::default() };
    match cgroup.version() {
        Version::V1 => v1::compile(&mut limits, resources)?,
        Version::V2 => v2::compile(&mut limits, resources)?,
    }
    Ok(limits.limits)
}

/// `memory.checkBeforeUpdate`: version 1 refuses a limit below usage by itself, version 2 would
/// reclaim and then kill.
pub(super) fn check_usage(cgroup: &Cgroup, resources: &LinuxResources) -> Result<(), CgroupError> {
    let memory = resources.memory().as_ref();
    let Some(memory) = memory.filter(|memory| memory.check_before_update() == Some(true)) else {
        return Ok(());
    };
    let limit = memory.limit().and_then(|limit| u64::try_from(limit).ok()).filter(|it| *it > 0);
    let (Some(limit), Version::V2) = (limit, cgroup.version()) else { return Ok(()) };
    let Some(directory) = cgroup.directory(Controller::Memory) else { return Ok(()) };
    let used = directory::read_if_present(&directory.join("memory.current"))?;
    match used.and_then(|used| used.trim().parse::<u64>().ok()) {
        Some(used) if used > limit => {
            Err(CgroupError::field("linux.resources.memory.limit", format!("{used} are in use")))
        }
        _ => Ok(()),
    }
}

/// Collects writes.
struct Collector {
    available: Controllers,
    fresh: bool,
    limits: Limits,
}

/// A field of `linux.resources` and the controller that honours it.
#[derive(Clone, Copy)]
struct Field(Controller, &'static str);

impl Collector {
    fn set(&mut self, field: Field, file: &str, value: impl ToString) -> Result<(), CgroupError> {
        self.set_with(field, (file, value.to_string()), None, Tolerance::None)
    }

    /// A value that a new group has anyway.
    fn reset(&mut self, field: Field, file: &str, value: &str) -> Result<(), CgroupError> {
        if self.fresh { Ok(()) } else { self.set(field, file, value) }
    }

    /// `value`, or where the file is absent the alternative.
    fn set_either(
        &mut self,
        field: Field,
        first: (&str, String),
        second: (&str, String),
    ) -> Result<(), CgroupError> {
        let second = (second.0.to_owned(), second.1);
        self.set_with(field, first, Some(second), Tolerance::None)
    }

    fn set_with(
        &mut self,
        Field(controller, name): Field,
        (file, value): (&str, String),
        alternative: Option<(String, String)>,
        tolerance: Tolerance,
    ) -> Result<(), CgroupError> {
        let field = format!("linux.resources.{name}");
        if !self.available.has(controller) {
            return Err(CgroupError::NoController { field, controller: controller.name() });
        }
        let (file, controller) = (file.to_owned(), Controllers::from_iter([controller]));
        self.limits.required = self.limits.required.or(controller);
        let write = Write { controller, file, value, alternative, tolerance, field };
        self.limits.writes.push(write);
        Ok(())
    }

    /// Limits of huge pages; the kubelet sends them to machines that have none.
    fn huge_pages(
        &mut self,
        resources: &LinuxResources,
        suffix: &str,
        unlimited: &str,
    ) -> Result<(), CgroupError> {
        for limit in resources.hugepage_limits().iter().flatten() {
            let size = limit.page_size();
            if !is_page_size(size) {
                return refuse("hugepageLimits.pageSize", "must be a number and KB, MB or GB");
            }
            if !self.available.has(Controller::Hugetlb) {
                let warning = format!(
                    "linux.resources.hugepageLimits: {size} pages are not limited: this machine \
                     does not have the cgroup controller hugetlb"
                );
                self.limits.warnings.push(warning);
                continue;
            }
            let field = Field(Controller::Hugetlb, "hugepageLimits");
            let value = match limit.limit() {
                -1 => unlimited.to_owned(),
                limit if limit < 0 => return refuse("hugepageLimits.limit", "is negative"),
                limit => limit.to_string(),
            };
            let file = format!("hugetlb.{size}.{suffix}");
            self.set(field, &file, &value)?;
            // Reservations count apart since Linux 5.7.
            let file = format!("hugetlb.{size}.rsvd.{suffix}");
            self.set_with(field, (&file, value), None, Tolerance::Absent)?;
        }
        Ok(())
    }

    /// The same file in both versions.
    fn rdma(&mut self, resources: &LinuxResources) -> Result<(), CgroupError> {
        let mut devices: Vec<_> = resources.rdma().iter().flatten().collect();
        devices.sort_by_key(|(name, _)| *name);
        for (name, limit) in devices {
            if name.is_empty() || name.contains(char::is_whitespace) {
                return refuse("rdma", "a device has a name without blanks");
            }
            let mut value = name.clone();
            for (key, limit) in
                [("hca_handle", limit.hca_handles()), ("hca_object", limit.hca_objects())]
            {
                value.extend(limit.map(|limit| format!(" {key}={limit}")));
            }
            if value != *name {
                self.set(Field(Controller::Rdma, "rdma"), "rdma.max", value)?;
            }
        }
        Ok(())
    }

    fn pids(&mut self, resources: &LinuxResources) -> Result<(), CgroupError> {
        let field = Field(Controller::Pids, "pids.limit");
        match resources.pids().as_ref().map_or(0, |pids| pids.limit()) {
            0 => Ok(()),
            limit if limit < 0 => self.reset(field, "pids.max", "max"),
            limit => self.set(field, "pids.max", limit),
        }
    }

    /// The same files in both versions.
    fn cpuset(&mut self, resources: &LinuxResources) -> Result<(), CgroupError> {
        let Some(cpu) = resources.cpu() else { return Ok(()) };
        let lists = [
            (Field(Controller::Cpuset, "cpu.cpus"), "cpuset.cpus", cpu.cpus()),
            (Field(Controller::Cpuset, "cpu.mems"), "cpuset.mems", cpu.mems()),
        ];
        for (field, file, list) in lists {
            let Some(list) = list.as_deref().filter(|list| !list.is_empty()) else { continue };
            if !list.bytes().all(|byte| byte.is_ascii_digit() || b",-".contains(&byte)) {
                return refuse(field.1, "must be a list like 0-3,7");
            }
            self.set(field, file, list)?;
        }
        Ok(())
    }
}

fn refuse<T>(field: &str, why: &str) -> Result<T, CgroupError> {
    Err(CgroupError::field(format!("linux.resources.{field}"), why))
}

/// Refuses a field that is set to anything but nothing.
fn refuse_if(set: bool, field: &str, why: &str) -> Result<(), CgroupError> {
    if set { refuse(field, why) } else { Ok(()) }
}

fn is_page_size(text: &str) -> bool {
    let units = ["KB", "MB", "GB"];
    let number = units.iter().find_map(|unit| text.strip_suffix(unit)).unwrap_or("");
    !number.starts_with('0')
        && !number.is_empty()
        && number.bytes().all(|byte| byte.is_ascii_digit())
}

/// A size in bytes as the runtime-spec has it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Size {
    /// Absent, or 0.
    Unset,
    /// -1.
    Unlimited,
    Bytes(u64),
}

fn size(value: Option<i64>, field: &str) -> Result<Size, CgroupError> {
    match value {
        None | Some(0) => Ok(Size::Unset),
        Some(-1) => Ok(Size::Unlimited),
        Some(value) => match u64::try_from(value) {
            Ok(bytes) => Ok(Size::Bytes(bytes)),
            Err(_) => refuse(field, "is negative"),
        },
    }
}

/// The memory limit, and the limit of memory and swap together.
fn memory_and_swap(memory: &LinuxMemory) -> Result<(Size, Size), CgroupError> {
    let limit = size(memory.limit(), "memory.limit")?;
    let swap = size(memory.swap(), "memory.swap")?;
    if let (Size::Bytes(limit), Size::Bytes(swap)) = (limit, swap)
        && swap < limit
    {
        return refuse("memory.swap", "includes memory and cannot be less than memory.limit");
    }
    Ok((limit, swap))
}

/// Limits of kernel memory are gone from the kernel; asking for none is fine.
fn refuse_kernel_memory(memory: &LinuxMemory) -> Result<(), CgroupError> {
    let set = matches!(size(memory.kernel(), "memory.kernel")?, Size::Bytes(_));
    refuse_if(set, "memory.kernel", "limits of kernel memory are not supported")
}

/// `major:minor` of a block device.
fn block_device(major: i64, minor: i64, field: &str) -> Result<String, CgroupError> {
    refuse_if(major < 0 || minor < 0, field, "a device number is negative")?;
    Ok(format!("{major}:{minor}"))
}

/// A rate of one block device.
struct Throttle<'a> {
    /// The field of `blockIO`.
    field: &'static str,
    /// Its name in the files of version 1.
    v1: &'static str,
    /// Its name in the file of version 2.
    v2: &'static str,
    device: &'a LinuxThrottleDevice,
}

fn throttles(resources: &LinuxResources) -> Vec<Throttle<'_>> {
    let Some(block) = resources.block_io() else { return Vec::new() };
    let fields = [
        ("blockIO.throttleReadBpsDevice", "read_bps", "rbps", block.throttle_read_bps_device()),
        ("blockIO.throttleWriteBpsDevice", "write_bps", "wbps", block.throttle_write_bps_device()),
        ("blockIO.throttleReadIOPSDevice", "read_iops", "riops", block.throttle_read_iops_device()),
        (
            "blockIO.throttleWriteIOPSDevice",
            "write_iops",
            "wiops",
            block.throttle_write_iops_device(),
        ),
    ];
    let each = fields.into_iter().flat_map(|(field, v1, v2, devices)| {
        let devices = devices.iter().flatten();
        devices.map(move |device| Throttle { field, v1, v2, device })
    });
    each.collect()
}

/// Leaf weights were a thing of the CFQ scheduler, which Linux 5.0 dropped.
fn refuse_leaf_weights(resources: &LinuxResources) -> Result<(), CgroupError> {
    let Some(block) = resources.block_io() else { return Ok(()) };
    let why = "the kernel has no leaf weights any more";
    refuse_if(block.leaf_weight().unwrap_or(0) != 0, "blockIO.leafWeight", why)?;
    let devices = block.weight_device().iter().flatten();
    let mut weights = devices.map(|device| device.leaf_weight().unwrap_or(0));
    refuse_if(weights.any(|weight| weight != 0), "blockIO.weightDevice.leafWeight", why)
}

#[cfg(test)]
mod tests;
