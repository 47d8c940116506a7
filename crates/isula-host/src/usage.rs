//! What a control group counts, as the port has it.

use std::path::Path;

use isula_core::error::{ErrorKind, PortError};
use isula_core::ports::{Pressure, Result, Stall, Usage};
use lcr::cgroup::{Cgroup, Controller, Version};

/// What the processes of a group use.
pub(crate) fn usage(cgroup: &Cgroup) -> Result<Usage> {
    let stats = cgroup.stats().map_err(|error| {
        PortError::with_source(ErrorKind::Internal, "cannot read what is used", error)
    })?;
    let (cpu, memory, pids, io) = (stats.cpu, stats.memory, stats.pids, stats.io);
    let more = Memory::read(cgroup);
    Ok(Usage {
        cpu: cpu.usage,
        cpu_user: cpu.user,
        cpu_system: cpu.system,
        cpu_periods: cpu.periods,
        cpu_throttled_periods: cpu.throttled_periods,
        cpu_throttled: cpu.throttled,
        memory: memory.working_set,
        memory_limit: memory.limit,
        memory_total: memory.usage,
        memory_peak: memory.peak,
        working_set: memory.working_set,
        rss: memory.rss,
        cache: memory.cache,
        mapped_file: more.mapped_file,
        kernel: more.kernel,
        memory_failures: more.failures,
        oom_kills: stats.oom_kills,
        page_faults: memory.faults,
        major_page_faults: memory.major_faults,
        swap: more.swap_counted.then_some(memory.swap),
        swap_limit: more.swap_limit,
        pids: pids.current,
        pids_limit: pids.limit,
        read: io.read_bytes,
        written: io.write_bytes,
        reads: io.read_operations,
        writes: io.write_operations,
        pressure: pressure(cgroup),
    })
}

/// What lcr does not tell of memory.
#[derive(Default)]
struct Memory {
    mapped_file: u64,
    kernel: u64,
    failures: u64,
    swap_counted: bool,
    swap_limit: Option<u64>,
}

/// Version 1 shows no limit as the highest number of whole pages.
const UNLIMITED: u64 = 1 << 62;

impl Memory {
    fn read(cgroup: &Cgroup) -> Self {
        let Some(directory) = cgroup.directory(Controller::Memory) else { return Self::default() };
        let number = |name: &str| text(&directory, name).trim().parse::<u64>().ok();
        let stat = text(&directory, "memory.stat");
        match cgroup.version() {
            Version::V1 => {
                let both = number("memory.memsw.limit_in_bytes").filter(|limit| *limit < UNLIMITED);
                let memory = number("memory.limit_in_bytes").unwrap_or(0);
                Self {
                    mapped_file: entry(&stat, "total_mapped_file"),
                    kernel: number("memory.kmem.usage_in_bytes").unwrap_or(0),
                    failures: number("memory.failcnt").unwrap_or(0),
                    swap_counted: directory.join("memory.memsw.usage_in_bytes").exists(),
                    swap_limit: both.map(|both| both.saturating_sub(memory)),
                }
            }
            Version::V2 => Self {
                mapped_file: entry(&stat, "file_mapped"),
                kernel: entry(&stat, "kernel"),
                failures: entry(&text(&directory, "memory.events"), "max"),
                swap_counted: directory.join("memory.swap.current").exists(),
                swap_limit: number("memory.swap.max"),
            },
        }
    }
}

fn text(directory: &Path, name: &str) -> String {
    std::fs::read_to_string(directory.join(name)).unwrap_or_default()
}

/// The value of a `key value` line.
fn entry(text: &str, key: &str) -> u64 {
    let line = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(' '));
    line.and_then(|value| value.trim().parse().ok()).unwrap_or(0)
}

/// Only version 2 has it for each group.
fn pressure(cgroup: &Cgroup) -> Option<[Pressure; 3]> {
    if cgroup.version() == Version::V1 {
        return None;
    }
    let (_, directory) = cgroup.directories().next()?;
    let one = |name: &str| {
        let text = std::fs::read_to_string(directory.join(name)).ok()?;
        Some(parse_pressure(&text))
    };
    Some([one("cpu.pressure")?, one("memory.pressure")?, one("io.pressure")?])
}

/// `some avg10=0.00 avg60=0.00 avg300=0.00 total=0`, and a line for `full`.
fn parse_pressure(text: &str) -> Pressure {
    let stall = |word: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(word)).unwrap_or_default();
        let field = |key: &str| {
            let mut fields = line.split_ascii_whitespace();
            fields.find_map(|field| field.strip_prefix(key)).unwrap_or_default()
        };
        let average = |key: &str| {
            let digits: String = field(key).chars().filter(char::is_ascii_digit).collect();
            digits.parse().unwrap_or(0)
        };
        let averages = [average("avg10="), average("avg60="), average("avg300=")];
        Stall { total: field("total=").parse().unwrap_or(0), averages }
    };
    Pressure { some: stall("some"), full: stall("full") }
}

#[cfg(test)]
mod tests {
    use super::{entry, parse_pressure};

    #[test]
    fn pressure_is_read_in_hundredths() {
        let text = "some avg10=1.25 avg60=0.10 avg300=0.00 total=77\n\
                    full avg10=0.00 avg60=0.00 avg300=0.00 total=5\n";
        let found = parse_pressure(text);
        assert_eq!((found.some.total, found.some.averages), (77, [125, 10, 0]));
        assert_eq!(found.full.total, 5);
    }

    #[test]
    fn an_entry_is_found_by_its_whole_name() {
        assert_eq!(entry("file_mapped_x 1\nfile_mapped 2\n", "file_mapped"), 2);
        assert_eq!(entry("", "file_mapped"), 0);
    }
}
