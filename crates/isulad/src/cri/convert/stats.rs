//! What sandboxes and containers use.

use isula_api::runtime::v1;
use isula_core::{
    ports::{Pressure, Stall, Usage},
    sandbox::{FilesystemUsage, InterfaceUsage},
};

use super::counted;

/// The interface that a sandbox's default network made.
const DEFAULT_INTERFACE: &str = "eth0";
const NANOSECONDS_A_MICROSECOND: u64 = 1000;

/// A moment, in nanoseconds since the epoch, and what was used up to then.
pub(in crate::cri) struct At<'a>(pub i64, pub &'a Usage);

impl From<At<'_>> for v1::CpuUsage {
    fn from(At(timestamp, usage): At<'_>) -> Self {
        Self {
            timestamp,
            usage_core_nano_seconds: counted(usage.cpu),
            // Whoever has asked twice can tell the rate; nothing here wakes up to measure it.
            usage_nano_cores: None,
            psi: usage.pressure.map(|[cpu, _, _]| psi(cpu)),
        }
    }
}

impl From<At<'_>> for v1::MemoryUsage {
    fn from(At(timestamp, usage): At<'_>) -> Self {
        let available = usage.memory_limit.map(|limit| limit.saturating_sub(usage.working_set));
        Self {
            timestamp,
            working_set_bytes: counted(usage.working_set),
            available_bytes: counted(available.unwrap_or(0)),
            usage_bytes: counted(usage.memory_total),
            rss_bytes: counted(usage.rss),
            page_faults: counted(usage.page_faults),
            major_page_faults: counted(usage.major_page_faults),
            psi: usage.pressure.map(|[_, memory, _]| psi(memory)),
        }
    }
}

impl From<At<'_>> for v1::IoUsage {
    fn from(At(timestamp, usage): At<'_>) -> Self {
        Self { timestamp, psi: usage.pressure.map(|[_, _, io]| psi(io)) }
    }
}

impl From<At<'_>> for v1::SwapUsage {
    fn from(At(timestamp, usage): At<'_>) -> Self {
        let used = usage.swap.unwrap_or(0);
        Self {
            timestamp,
            swap_available_bytes: counted(
                usage.swap_limit.map_or(0, |limit| limit.saturating_sub(used)),
            ),
            swap_usage_bytes: counted(used),
        }
    }
}

fn psi(pressure: Pressure) -> v1::PsiStats {
    v1::PsiStats { full: Some(stall(pressure.full)), some: Some(stall(pressure.some)) }
}

fn stall(stall: Stall) -> v1::PsiData {
    let [avg10, avg60, avg300] = stall.averages.map(|hundredths| f64::from(hundredths) / 100.0);
    let total = stall.total.saturating_mul(NANOSECONDS_A_MICROSECOND);
    v1::PsiData { total, avg10, avg60, avg300 }
}

/// What something takes on disk.
pub(in crate::cri) fn filesystem(timestamp: i64, usage: &FilesystemUsage) -> v1::FilesystemUsage {
    let mountpoint = usage.mountpoint.clone();
    v1::FilesystemUsage {
        timestamp,
        fs_id: Some(v1::FilesystemIdentifier { mountpoint }),
        used_bytes: counted(usage.bytes),
        inodes_used: counted(usage.inodes),
    }
}

/// What went over the network.
pub(in crate::cri) fn network(timestamp: i64, all: &[InterfaceUsage]) -> v1::NetworkUsage {
    let (default, others): (Vec<_>, Vec<_>) =
        all.iter().partition(|interface| interface.name == DEFAULT_INTERFACE);
    v1::NetworkUsage {
        timestamp,
        default_interface: default.first().map(|one| interface(one)),
        interfaces: others.into_iter().map(interface).collect(),
    }
}

fn interface(usage: &InterfaceUsage) -> v1::NetworkInterfaceUsage {
    v1::NetworkInterfaceUsage {
        name: usage.name.clone(),
        rx_bytes: counted(usage.rx_bytes),
        rx_errors: counted(usage.rx_errors),
        tx_bytes: counted(usage.tx_bytes),
        tx_errors: counted(usage.tx_errors),
    }
}
