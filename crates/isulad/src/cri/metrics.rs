//! The metrics of sandboxes and their containers, in the place of cAdvisor's.

mod process;

use std::path::Path;

use isula_api::runtime::v1;
use isula_core::{
    container::{Container, Resources},
    ports::Usage,
    sandbox::{ContainerStats, InterfaceUsage, SandboxFilter, SandboxStats},
};

use self::process::Processes;
use super::{
    Cri, convert,
    descriptors::{self as all, Descriptor},
};

const NANOSECONDS: u64 = 1_000_000_000;
const MICROSECONDS: u64 = 1_000_000;
/// The kernel's period where none was set, in microseconds.
const DEFAULT_PERIOD: u64 = 100_000;
/// The devices are counted together.
const ALL_DEVICES: &str = "all";

impl Cri {
    /// The metrics of every sandbox that is ready.
    pub(super) async fn metrics(&self) -> Vec<v1::PodSandboxMetrics> {
        let filter = SandboxFilter { ready: Some(true), ..SandboxFilter::default() };
        let disk = Disk::of(&self.settings.data_root);
        let mut found = Vec::new();
        for stats in self.engine.list_sandbox_stats(&filter).await {
            found.push(self.metrics_of(&stats, &disk).await);
        }
        found
    }

    async fn metrics_of(&self, stats: &SandboxStats, disk: &Disk) -> v1::PodSandboxMetrics {
        let at = convert::nanoseconds(stats.at);
        let mut pod = Gathered::new(at, [stats.id.as_str(), "POD", ""]);
        pod.add(&all::LAST_SEEN, seconds(at));
        if let Some(usage) = &stats.usage {
            pod.usage(usage);
        }
        stats.network.iter().for_each(|interface| pod.interface(interface));
        let mut container_metrics = Vec::new();
        for one in &stats.containers {
            if let Ok(container) = self.engine.member(one.id.as_str())
                && container.state.run().is_some()
            {
                container_metrics.push(self.container_metrics(&container, one, disk).await);
            }
        }
        v1::PodSandboxMetrics {
            pod_sandbox_id: stats.id.to_string(),
            metrics: pod.metrics,
            container_metrics,
        }
    }

    async fn container_metrics(
        &self,
        container: &Container,
        stats: &ContainerStats,
        disk: &Disk,
    ) -> v1::ContainerMetrics {
        let at = convert::nanoseconds(stats.at);
        let names =
            self.shown(container, |shown| (shown.member.metadata.name.clone(), shown.image_name()));
        let (name, image) = names.unwrap_or_default();
        let mut found = Gathered::new(at, [container.id.as_str(), &name, &image]);
        found.add(&all::LAST_SEEN, seconds(at));
        if let Some(run) = container.state.run() {
            found.add(&all::START_TIME, seconds(convert::nanoseconds(run.started)));
        }
        if let Some(usage) = &stats.usage {
            found.usage(usage);
        }
        found.limits(&container.host.resources);
        found.disk(disk, stats.filesystem.as_ref().map_or(0, |layer| layer.bytes));
        let pids = self.engine.top(container.id.as_str()).await.unwrap_or_default();
        let init = container.state.run().map(|run| run.pid);
        found.processes(&Processes::read(pids, init).await);
        v1::ContainerMetrics { container_id: container.id.to_string(), metrics: found.metrics }
    }
}

fn seconds(nanoseconds: i64) -> u64 {
    u64::try_from(nanoseconds).unwrap_or(0) / NANOSECONDS
}

/// The file system that the writable layers are on.
struct Disk {
    device: String,
    bytes: u64,
    inodes: u64,
    inodes_free: u64,
}

impl Disk {
    fn of(path: &Path) -> Self {
        let (Ok(file), Ok(system)) = (rustix::fs::stat(path), rustix::fs::statvfs(path)) else {
            return Self { device: String::new(), bytes: 0, inodes: 0, inodes_free: 0 };
        };
        let device = file.st_dev;
        Self {
            device: format!("{}:{}", rustix::fs::major(device), rustix::fs::minor(device)),
            bytes: system.f_blocks.saturating_mul(system.f_frsize),
            inodes: system.f_files,
            inodes_free: system.f_ffree,
        }
    }
}

/// The metrics of one object.
struct Gathered<'a> {
    at: i64,
    labels: [&'a str; 3],
    metrics: Vec<v1::Metric>,
}

impl<'a> Gathered<'a> {
    fn new(at: i64, labels: [&'a str; 3]) -> Self {
        Self { at, labels, metrics: Vec::new() }
    }

    fn add(&mut self, descriptor: &Descriptor, value: u64) {
        self.labelled(descriptor, &[], value);
    }

    fn labelled(&mut self, descriptor: &Descriptor, labels: &[&str], value: u64) {
        let labels = self.labels.iter().chain(labels);
        self.metrics.push(v1::Metric {
            name: descriptor.name.to_owned(),
            timestamp: self.at,
            metric_type: descriptor.kind.into(),
            label_values: labels.map(|label| (*label).to_owned()).collect(),
            value: convert::counted(value),
        });
    }

    fn usage(&mut self, usage: &Usage) {
        self.labelled(&all::CPU_USAGE, &["total"], usage.cpu / NANOSECONDS);
        self.labelled(&all::BLKIO_USAGE, &[ALL_DEVICES, "", "", "read"], usage.read);
        self.labelled(&all::BLKIO_USAGE, &[ALL_DEVICES, "", "", "write"], usage.written);
        for (descriptor, value) in [
            (&all::CPU_USER, usage.cpu_user / NANOSECONDS),
            (&all::CPU_SYSTEM, usage.cpu_system / NANOSECONDS),
            (&all::CPU_PERIODS, usage.cpu_periods),
            (&all::CPU_THROTTLED_PERIODS, usage.cpu_throttled_periods),
            (&all::CPU_THROTTLED, usage.cpu_throttled / NANOSECONDS),
            (&all::MEMORY_CACHE, usage.cache),
            (&all::MEMORY_FAILCNT, usage.memory_failures),
            (&all::MEMORY_KERNEL, usage.kernel),
            (&all::MEMORY_MAPPED, usage.mapped_file),
            (&all::MEMORY_MAX, usage.memory_peak.unwrap_or(usage.memory_total)),
            (&all::MEMORY_RSS, usage.rss),
            (&all::MEMORY_SWAP, usage.swap.unwrap_or(0)),
            (&all::MEMORY_USAGE, usage.memory_total),
            (&all::MEMORY_WORKING_SET, usage.working_set),
            (&all::OOM_EVENTS, usage.oom_kills),
            (&all::THREADS, usage.pids),
            (&all::THREADS_MAX, usage.pids_limit.unwrap_or(0)),
        ] {
            self.add(descriptor, value);
        }
        let faults = [("pgfault", usage.page_faults), ("pgmajfault", usage.major_page_faults)];
        for (kind, count) in faults {
            // A container has no groups below its own that were not its own.
            self.labelled(&all::MEMORY_FAILURES, &[kind, "container"], count);
            self.labelled(&all::MEMORY_FAILURES, &[kind, "hierarchy"], count);
        }
        if let Some([cpu, memory, io]) = usage.pressure {
            for (descriptor, stall) in [
                (&all::PRESSURE_CPU_WAITING, cpu.some),
                (&all::PRESSURE_CPU_STALLED, cpu.full),
                (&all::PRESSURE_MEMORY_WAITING, memory.some),
                (&all::PRESSURE_MEMORY_STALLED, memory.full),
                (&all::PRESSURE_IO_WAITING, io.some),
                (&all::PRESSURE_IO_STALLED, io.full),
            ] {
                self.add(descriptor, stall.total / MICROSECONDS);
            }
        }
        for (descriptor, value) in [
            (&all::FS_READ_BYTES, usage.read),
            (&all::FS_READS, usage.reads),
            (&all::FS_WRITE_BYTES, usage.written),
            (&all::FS_WRITES, usage.writes),
        ] {
            self.labelled(descriptor, &[ALL_DEVICES], value);
        }
    }

    fn limits(&mut self, limits: &Resources) {
        let swap = limits.memory_swap.and_then(|limit| u64::try_from(limit).ok());
        for (descriptor, value) in [
            (&all::SPEC_CPU_PERIOD, limits.cpu_period.unwrap_or(DEFAULT_PERIOD)),
            (&all::SPEC_CPU_SHARES, limits.cpu_shares.unwrap_or(0)),
            (&all::SPEC_MEMORY_LIMIT, limits.memory.unwrap_or(0)),
            (&all::SPEC_MEMORY_RESERVATION, limits.memory_reservation.unwrap_or(0)),
            (&all::SPEC_MEMORY_SWAP, swap.unwrap_or(0)),
        ] {
            self.add(descriptor, value);
        }
        if let Some(quota) = limits.cpu_quota.and_then(|quota| u64::try_from(quota).ok()) {
            self.add(&all::SPEC_CPU_QUOTA, quota);
        }
    }

    /// The file system, and what the writable layer takes of it. What only a whole device has is
    /// not a container's: it stays 0, as cAdvisor has it.
    fn disk(&mut self, disk: &Disk, used: u64) {
        for (descriptor, value) in [
            (&all::FS_USAGE, used),
            (&all::FS_LIMIT, disk.bytes),
            (&all::FS_INODES, disk.inodes),
            (&all::FS_INODES_FREE, disk.inodes_free),
            (&all::FS_IO_CURRENT, 0),
            (&all::FS_IO_TIME, 0),
            (&all::FS_IO_WEIGHTED, 0),
            (&all::FS_READ_TIME, 0),
            (&all::FS_READS_MERGED, 0),
            (&all::FS_SECTOR_READS, 0),
            (&all::FS_SECTOR_WRITES, 0),
            (&all::FS_WRITE_TIME, 0),
            (&all::FS_WRITES_MERGED, 0),
        ] {
            self.labelled(descriptor, &[&disk.device], value);
        }
    }

    fn processes(&mut self, processes: &Processes) {
        self.add(&all::PROCESSES, processes.count);
        self.add(&all::FILE_DESCRIPTORS, processes.descriptors);
        self.add(&all::SOCKETS, processes.sockets);
        for (name, soft) in &processes.limits {
            self.labelled(&all::ULIMITS_SOFT, &[name], *soft);
        }
    }

    fn interface(&mut self, interface: &InterfaceUsage) {
        for (descriptor, value) in [
            (&all::NETWORK_RX_BYTES, interface.rx_bytes),
            (&all::NETWORK_RX_PACKETS, interface.rx_packets),
            (&all::NETWORK_RX_ERRORS, interface.rx_errors),
            (&all::NETWORK_RX_DROPPED, interface.rx_dropped),
            (&all::NETWORK_TX_BYTES, interface.tx_bytes),
            (&all::NETWORK_TX_PACKETS, interface.tx_packets),
            (&all::NETWORK_TX_ERRORS, interface.tx_errors),
            (&all::NETWORK_TX_DROPPED, interface.tx_dropped),
        ] {
            self.labelled(descriptor, &[&interface.name], value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Disk, Gathered, Processes, all};
    use isula_api::runtime::v1;
    use isula_core::{
        container::Resources,
        ports::{Pressure, Usage},
        sandbox::InterfaceUsage,
    };
    use std::collections::BTreeSet;

    /// Needs huge pages, which this engine does not count.
    const NOT_TOLD: [&str; 2] =
        ["container_hugetlb_max_usage_bytes", "container_hugetlb_usage_bytes"];

    #[test]
    fn every_metric_that_is_declared_is_told_with_a_value_for_each_label() {
        let mut found = Gathered::new(7_000_000_000, ["0", "web", "nginx"]);
        found.usage(&Usage { pressure: Some([Pressure::default(); 3]), ..Usage::default() });
        found.limits(&Resources { cpu_quota: Some(1), ..Resources::default() });
        found.disk(&Disk::of("/".as_ref()), 1);
        found.interface(&InterfaceUsage::default());
        let limits = vec![("max_open_files".to_owned(), 1)];
        found.processes(&Processes { limits, ..Processes::default() });
        found.add(&all::LAST_SEEN, 1);
        found.add(&all::START_TIME, 1);
        let told: BTreeSet<_> = found.metrics.iter().map(|metric| metric.name.as_str()).collect();
        let declared = all::ALL.iter().map(|one| v1::MetricDescriptor::from(*one));
        for descriptor in declared {
            let name = descriptor.name.as_str();
            assert_eq!(told.contains(name), !NOT_TOLD.contains(&name), "{name}");
            for metric in found.metrics.iter().filter(|metric| metric.name == name) {
                assert_eq!(metric.label_values.len(), descriptor.label_keys.len(), "{name}");
                assert_eq!(metric.timestamp, 7_000_000_000);
            }
        }
    }
}
