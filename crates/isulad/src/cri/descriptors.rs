//! The metrics that replace cAdvisor's: their names, what they mean, their labels.

use isula_api::runtime::v1;

/// Labels of every metric: the object's id, its name (`POD` for the pod itself), its image.
const BASE: [&str; 3] = ["id", "name", "image"];

/// A metric.
#[derive(Debug)]
pub(super) struct Descriptor {
    /// Its name.
    pub name: &'static str,
    /// What it means.
    help: &'static str,
    /// Labels beside those of every metric.
    labels: &'static [&'static str],
    /// Whether it only grows.
    pub kind: v1::MetricType,
}

impl From<&Descriptor> for v1::MetricDescriptor {
    fn from(descriptor: &Descriptor) -> Self {
        let labels = BASE.iter().chain(descriptor.labels);
        Self {
            name: descriptor.name.to_owned(),
            help: descriptor.help.to_owned(),
            label_keys: labels.map(|label| (*label).to_owned()).collect(),
        }
    }
}

/// Declares metrics: how each is called in the code, its name, type, labels, and meaning.
macro_rules! metrics {
    ($($constant:ident $name:literal $kind:ident [$($label:literal)*] $help:literal)*) => {
        $(pub(super) static $constant: Descriptor = Descriptor {
            name: $name,
            help: $help,
            labels: &[$($label),*],
            kind: v1::MetricType::$kind,
        };)*

        /// All of them.
        pub(super) static ALL: &[&Descriptor] = &[$(&$constant),*];
    };
}

metrics! {
    BLKIO_USAGE "container_blkio_device_usage_total" Counter ["device" "major" "minor" "operation"]
        "Bytes read from and written to block devices"
    CPU_PERIODS "container_cpu_cfs_periods_total" Counter []
        "Periods of the processor limit that have passed"
    CPU_THROTTLED_PERIODS "container_cpu_cfs_throttled_periods_total" Counter []
        "Periods in which the processor limit was reached"
    CPU_THROTTLED "container_cpu_cfs_throttled_seconds_total" Counter []
        "Seconds for which processes waited because of the processor limit"
    CPU_SYSTEM "container_cpu_system_seconds_total" Counter []
        "Seconds of processor time in the kernel"
    CPU_USAGE "container_cpu_usage_seconds_total" Counter ["cpu"]
        "Seconds of processor time"
    CPU_USER "container_cpu_user_seconds_total" Counter []
        "Seconds of processor time in user mode"
    FILE_DESCRIPTORS "container_file_descriptors" Gauge []
        "Open file descriptors"
    FS_INODES_FREE "container_fs_inodes_free" Gauge ["device"]
        "Free inodes of the file system"
    FS_INODES "container_fs_inodes_total" Gauge ["device"]
        "Inodes of the file system"
    FS_IO_CURRENT "container_fs_io_current" Gauge ["device"]
        "Operations in progress on the file system's device"
    FS_IO_TIME "container_fs_io_time_seconds_total" Counter ["device"]
        "Seconds in which the file system's device had work"
    FS_IO_WEIGHTED "container_fs_io_time_weighted_seconds_total" Counter ["device"]
        "Seconds of work of the file system's device, weighted by the operations in progress"
    FS_LIMIT "container_fs_limit_bytes" Gauge ["device"]
        "Bytes of the file system"
    FS_READ_TIME "container_fs_read_seconds_total" Counter ["device"]
        "Seconds that reads of the file system's device took"
    FS_READ_BYTES "container_fs_reads_bytes_total" Counter ["device"]
        "Bytes read"
    FS_READS_MERGED "container_fs_reads_merged_total" Counter ["device"]
        "Reads of the file system's device that were merged"
    FS_READS "container_fs_reads_total" Counter ["device"]
        "Reads completed"
    FS_SECTOR_READS "container_fs_sector_reads_total" Counter ["device"]
        "Sectors read from the file system's device"
    FS_SECTOR_WRITES "container_fs_sector_writes_total" Counter ["device"]
        "Sectors written to the file system's device"
    FS_USAGE "container_fs_usage_bytes" Gauge ["device"]
        "Bytes of the writable layer"
    FS_WRITE_TIME "container_fs_write_seconds_total" Counter ["device"]
        "Seconds that writes of the file system's device took"
    FS_WRITE_BYTES "container_fs_writes_bytes_total" Counter ["device"]
        "Bytes written"
    FS_WRITES_MERGED "container_fs_writes_merged_total" Counter ["device"]
        "Writes of the file system's device that were merged"
    FS_WRITES "container_fs_writes_total" Counter ["device"]
        "Writes completed"
    HUGETLB_MAX "container_hugetlb_max_usage_bytes" Gauge ["pagesize"]
        "Most bytes of huge pages that were in use"
    HUGETLB_USAGE "container_hugetlb_usage_bytes" Gauge ["pagesize"]
        "Bytes of huge pages in use"
    LAST_SEEN "container_last_seen" Gauge []
        "When it was last seen, in seconds since the epoch"
    MEMORY_CACHE "container_memory_cache" Gauge []
        "Bytes of page cache"
    MEMORY_FAILCNT "container_memory_failcnt" Counter []
        "How often the memory limit was reached"
    MEMORY_FAILURES "container_memory_failures_total" Counter ["failure_type" "scope"]
        "Page faults"
    MEMORY_KERNEL "container_memory_kernel_usage" Gauge []
        "Bytes of memory of the kernel"
    MEMORY_MAPPED "container_memory_mapped_file" Gauge []
        "Bytes of files mapped into memory"
    MEMORY_MAX "container_memory_max_usage_bytes" Gauge []
        "Most bytes of memory that were in use"
    MEMORY_RSS "container_memory_rss" Gauge []
        "Bytes of memory that are not from files"
    MEMORY_SWAP "container_memory_swap" Gauge []
        "Bytes of swap in use"
    MEMORY_USAGE "container_memory_usage_bytes" Gauge []
        "Bytes of memory in use, page cache and all"
    MEMORY_WORKING_SET "container_memory_working_set_bytes" Gauge []
        "Bytes of memory in use without the inactive part of the page cache"
    NETWORK_RX_BYTES "container_network_receive_bytes_total" Counter ["interface"]
        "Bytes received"
    NETWORK_RX_ERRORS "container_network_receive_errors_total" Counter ["interface"]
        "Errors while receiving"
    NETWORK_RX_DROPPED "container_network_receive_packets_dropped_total" Counter ["interface"]
        "Packets dropped while receiving"
    NETWORK_RX_PACKETS "container_network_receive_packets_total" Counter ["interface"]
        "Packets received"
    NETWORK_TX_BYTES "container_network_transmit_bytes_total" Counter ["interface"]
        "Bytes sent"
    NETWORK_TX_ERRORS "container_network_transmit_errors_total" Counter ["interface"]
        "Errors while sending"
    NETWORK_TX_DROPPED "container_network_transmit_packets_dropped_total" Counter ["interface"]
        "Packets dropped while sending"
    NETWORK_TX_PACKETS "container_network_transmit_packets_total" Counter ["interface"]
        "Packets sent"
    OOM_EVENTS "container_oom_events_total" Counter []
        "Processes that the kernel killed for lack of memory"
    PRESSURE_CPU_STALLED "container_pressure_cpu_stalled_seconds_total" Counter []
        "Seconds in which all tasks waited for a processor"
    PRESSURE_CPU_WAITING "container_pressure_cpu_waiting_seconds_total" Counter []
        "Seconds in which some task waited for a processor"
    PRESSURE_IO_STALLED "container_pressure_io_stalled_seconds_total" Counter []
        "Seconds in which all tasks waited for input or output"
    PRESSURE_IO_WAITING "container_pressure_io_waiting_seconds_total" Counter []
        "Seconds in which some task waited for input or output"
    PRESSURE_MEMORY_STALLED "container_pressure_memory_stalled_seconds_total" Counter []
        "Seconds in which all tasks waited for memory"
    PRESSURE_MEMORY_WAITING "container_pressure_memory_waiting_seconds_total" Counter []
        "Seconds in which some task waited for memory"
    PROCESSES "container_processes" Gauge []
        "Processes"
    SOCKETS "container_sockets" Gauge []
        "Open sockets"
    SPEC_CPU_PERIOD "container_spec_cpu_period" Gauge []
        "Period of the processor limit, in microseconds"
    SPEC_CPU_QUOTA "container_spec_cpu_quota" Gauge []
        "Processor time in each period, in microseconds"
    SPEC_CPU_SHARES "container_spec_cpu_shares" Gauge []
        "Relative share of processor time"
    SPEC_MEMORY_LIMIT "container_spec_memory_limit_bytes" Gauge []
        "Limit of memory; 0 is none"
    SPEC_MEMORY_RESERVATION "container_spec_memory_reservation_limit_bytes" Gauge []
        "Memory that is kept under pressure; 0 is none"
    SPEC_MEMORY_SWAP "container_spec_memory_swap_limit_bytes" Gauge []
        "Limit of memory and swap together; 0 is none"
    START_TIME "container_start_time_seconds" Gauge []
        "When it started, in seconds since the epoch"
    THREADS "container_threads" Gauge []
        "Threads"
    THREADS_MAX "container_threads_max" Gauge []
        "Limit of threads; 0 is none"
    ULIMITS_SOFT "container_ulimits_soft" Gauge ["ulimit"]
        "Soft limits of the first process; -1 is unlimited"
}
