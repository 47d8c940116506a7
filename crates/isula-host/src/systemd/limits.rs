//! Limits as systemd's properties (systemd.resource-control(5)): it sets its own idea of them again
//! whenever it has a reason to, so it has to know every one that it has a name for.

use super::wire::{Property, Value};

/// systemd keeps quotas in percent of a processor: in steps of this many microseconds a second.
const QUOTA_STEP: u64 = 10_000;
const SECOND: u64 = 1_000_000;
/// No limit.
pub const INFINITY: u64 = u64::MAX;

/// The properties that say the same as these files of a control group of version 2 and their values.
/// What systemd has no name for is left out: it does not touch that either.
pub fn properties<'a>(limits: impl IntoIterator<Item = (&'a str, &'a str)>) -> Vec<Property> {
    limits.into_iter().flat_map(|(file, value)| property(file, value.trim())).collect()
}

fn property(file: &str, value: &str) -> Vec<Property> {
    let size = |name: &'static str| {
        number(value).map(|number| (name, Value::Number(number))).into_iter().collect()
    };
    match file {
        "memory.max" => size("MemoryMax"),
        "memory.high" => size("MemoryHigh"),
        "memory.low" => size("MemoryLow"),
        "memory.min" => size("MemoryMin"),
        "memory.swap.max" => size("MemorySwapMax"),
        "pids.max" => size("TasksMax"),
        "cpu.weight" => size("CPUWeight"),
        // A weight of 0 is that of an idle group.
        "cpu.idle" if value == "1" => vec![("CPUWeight", Value::Number(0))],
        "cpu.max" => quota(value).unwrap_or_default(),
        "cpuset.cpus" => vec![("AllowedCPUs", Value::Bytes(set(value)))],
        "cpuset.mems" => vec![("AllowedMemoryNodes", Value::Bytes(set(value)))],
        "io.weight" => io_weight(value).into_iter().collect(),
        "io.max" => value.lines().flat_map(throttles).collect(),
        _ => Vec::new(),
    }
}

fn number(text: &str) -> Option<u64> {
    if text == "max" { Some(INFINITY) } else { text.parse().ok() }
}

/// `QUOTA PERIOD`, in microseconds.
fn quota(text: &str) -> Option<Vec<Property>> {
    let (quota, period) = text.split_once(' ')?;
    let (quota, period) = (number(quota)?, period.parse::<u64>().ok().filter(|it| *it > 0)?);
    let in_second = match quota {
        INFINITY => INFINITY,
        // What it writes down is cut to whole steps, and nothing would be no quota at all.
        quota => quota.saturating_mul(SECOND).div_ceil(period).next_multiple_of(QUOTA_STEP),
    };
    Some(vec![
        ("CPUQuotaPeriodUSec", Value::Number(period)),
        ("CPUQuotaPerSecUSec", Value::Number(in_second)),
    ])
}

/// `0-3,7` as bits, the lowest first.
fn set(text: &str) -> Vec<u8> {
    let mut bits = Vec::new();
    for part in text.split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (Ok(first), Ok(last)) = (first.parse::<u16>(), last.parse::<u16>()) else { continue };
        for number in first..=last {
            let (byte, bit) = (usize::from(number / 8), number % 8);
            if bits.len() <= byte {
                bits.resize(byte + 1, 0);
            }
            if let Some(byte) = bits.get_mut(byte) {
                *byte |= 1u8 << bit;
            }
        }
    }
    bits
}

/// `100`, `default 100` or `8:0 100`.
fn io_weight(text: &str) -> Option<Property> {
    match text.split_once(' ') {
        None => Some(("IOWeight", Value::Number(text.parse().ok()?))),
        Some(("default", weight)) => Some(("IOWeight", Value::Number(weight.parse().ok()?))),
        Some((device, weight)) => {
            Some(("IODeviceWeight", Value::Device(path(device), weight.parse().ok()?)))
        }
    }
}

/// `8:0 rbps=1048576 wiops=max`.
fn throttles(line: &str) -> Vec<Property> {
    let Some((device, rates)) = line.split_once(' ') else { return Vec::new() };
    let rate = |rate: &str| {
        let (key, value) = rate.split_once('=')?;
        let name = match key {
            "rbps" => "IOReadBandwidthMax",
            "wbps" => "IOWriteBandwidthMax",
            "riops" => "IOReadIOPSMax",
            "wiops" => "IOWriteIOPSMax",
            _ => return None,
        };
        Some((name, Value::Device(path(device), number(value)?)))
    };
    rates.split(' ').filter_map(rate).collect()
}

/// systemd reads the number in this name, without looking whether there is such a file.
fn path(device: &str) -> String {
    format!("/dev/block/{device}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_limit_has_its_property() {
        let number = |name, number| vec![(name, Value::Number(number))];
        let disk = |name, number| (name, Value::Device("/dev/block/8:0".to_owned(), number));
        for (file, value, wanted) in [
            ("memory.max", "67108864", number("MemoryMax", 67_108_864)),
            ("memory.max", "max\n", number("MemoryMax", INFINITY)),
            ("memory.low", "5", number("MemoryLow", 5)),
            ("memory.swap.max", "0", number("MemorySwapMax", 0)),
            ("pids.max", "20", number("TasksMax", 20)),
            ("cpu.weight", "79", number("CPUWeight", 79)),
            ("cpu.idle", "1", number("CPUWeight", 0)),
            ("cpu.idle", "0", vec![]),
            ("cpuset.cpus", "0-2,8", vec![("AllowedCPUs", Value::Bytes(vec![0b111, 1]))]),
            ("cpuset.cpus", "", vec![("AllowedCPUs", Value::Bytes(vec![]))]),
            ("cpuset.mems", "0", vec![("AllowedMemoryNodes", Value::Bytes(vec![1]))]),
            ("io.weight", "default 100", number("IOWeight", 100)),
            ("io.weight", "8:0 200", vec![disk("IODeviceWeight", 200)]),
            (
                "io.max",
                "8:0 rbps=9 wiops=max",
                vec![disk("IOReadBandwidthMax", 9), disk("IOWriteIOPSMax", INFINITY)],
            ),
            ("hugetlb.2MB.max", "0", vec![]),
            ("memory.max", "much", vec![]),
        ] {
            assert_eq!(properties([(file, value)]), wanted, "{file} {value}");
        }
    }

    #[test]
    fn a_quota_is_kept_in_whole_percents_and_never_becomes_none() {
        for (value, in_second, period) in [
            ("50000 100000", 500_000, 100_000),
            ("1500 100000", 20_000, 100_000),
            ("1 1000000", 10_000, 1_000_000),
            ("max 50000", INFINITY, 50_000),
        ] {
            let wanted = [
                ("CPUQuotaPeriodUSec", Value::Number(period)),
                ("CPUQuotaPerSecUSec", Value::Number(in_second)),
            ];
            assert_eq!(properties([("cpu.max", value)]), wanted, "{value}");
        }
        assert_eq!(properties([("cpu.max", "max 0")]), []);
    }
}
