//! Messages of the Container Runtime Interface into the domain, where they are refused if they mean
//! nothing, and the domain into messages.

pub(super) mod container;
pub(super) mod image;
mod mounts;
pub(super) mod pod;
mod resources;
mod security;
pub(super) mod stats;
#[cfg(test)]
mod tests;

pub(super) use resources::{limits, oom_score_adj};

use std::collections::{BTreeMap, HashMap};

use isula_api::runtime::v1;
use isula_core::ports::HostFacts;
use jiff::Timestamp;
use tonic::Status;

use crate::api::status::invalid;

/// proto3 has no absent text; the domain has no empty one.
pub(super) fn some(text: String) -> Option<String> {
    (!text.is_empty()).then_some(text)
}

/// Nanoseconds since the epoch, as far as they reach (1677 to 2262).
pub(super) fn nanoseconds(time: Timestamp) -> i64 {
    let exact = time.as_nanosecond();
    i64::try_from(exact).unwrap_or(if exact < 0 { i64::MIN } else { i64::MAX })
}

fn sorted(map: HashMap<String, String>) -> BTreeMap<String, String> {
    map.into_iter().collect()
}

fn unsorted(map: &BTreeMap<String, String>) -> HashMap<String, String> {
    map.iter().map(|(key, value)| (key.clone(), value.clone())).collect()
}

/// A number that can be a user or group id.
fn id(field: &str, value: i64) -> Result<u32, Status> {
    // The highest one means "leave it as it is" to the kernel.
    match u32::try_from(value) {
        Ok(id) if id != u32::MAX => Ok(id),
        _ => Err(invalid(format!("{field}: {value} is no id"))),
    }
}

/// The value of an enumeration that this version knows.
fn known<E: TryFrom<i32>>(field: &str, value: i32) -> Result<E, Status> {
    E::try_from(value).map_err(|_| invalid(format!("{field}: there is no value {value}")))
}

/// A number that was counted.
pub(super) fn counted(value: u64) -> Option<v1::UInt64Value> {
    Some(v1::UInt64Value { value })
}

/// What a runtime can do beyond what every one can. Only our own is known well enough to promise,
/// and what it can depends on the kernel: `mount_setattr(2)` is there since 5.12, layers of an
/// overlay that are idmapped one by one since 6.15.
pub(super) fn features(runtime: &str, host: &HostFacts) -> v1::RuntimeHandlerFeatures {
    let since = |version| runtime == "lcr" && host.kernel_version() >= version;
    v1::RuntimeHandlerFeatures {
        recursive_read_only_mounts: since((5, 12)),
        user_namespaces: since((6, 15)),
    }
}
