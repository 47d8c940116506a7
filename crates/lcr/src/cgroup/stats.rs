//! What a control group has used.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use super::directory;
use super::{Cgroup, CgroupError, Controller, Maker, Version};

/// Use of one group. What its controllers do not tell is zero, or absent.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Stats {
    /// Processor time.
    pub cpu: CpuStats,
    /// Memory.
    pub memory: MemoryStats,
    /// Processes and threads.
    pub pids: PidsStats,
    /// Block devices.
    pub io: IoStats,
    /// Processes that the kernel has killed for lack of memory in the group.
    pub oom_kills: u64,
}

/// Processor time, in nanoseconds.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct CpuStats {
    /// All of it.
    pub usage: u64,
    /// In user mode.
    pub user: u64,
    /// In the kernel.
    pub system: u64,
    /// Periods of the bandwidth limit that have passed.
    pub periods: u64,
    /// Periods in which the limit was reached.
    pub throttled_periods: u64,
    /// Time for which processes had to wait because of it.
    pub throttled: u64,
}

/// Memory, in bytes.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct MemoryStats {
    /// All that counts, the page cache too.
    pub usage: u64,
    /// The limit; `None` without one.
    pub limit: Option<u64>,
    /// Usage without the part of the page cache that is not in use.
    pub working_set: u64,
    /// Memory that is not from files.
    pub rss: u64,
    /// The page cache.
    pub cache: u64,
    /// Swap in use.
    pub swap: u64,
    /// The highest usage; `None` where the kernel does not tell (version 2 before Linux 5.19).
    pub peak: Option<u64>,
    /// Page faults.
    pub faults: u64,
    /// Page faults that read from a disk.
    pub major_faults: u64,
}

/// Processes and threads.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct PidsStats {
    /// How many there are.
    pub current: u64,
    /// The limit; `None` without one.
    pub limit: Option<u64>,
}

/// Block devices, all together.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct IoStats {
    /// Bytes read.
    pub read_bytes: u64,
    /// Bytes written.
    pub write_bytes: u64,
    /// Read operations.
    pub read_operations: u64,
    /// Write operations.
    pub write_operations: u64,
}

/// Version 1 shows no limit as the highest number of whole pages.
const UNLIMITED: u64 = 1 << 62;
const NANOSECONDS_A_MICROSECOND: u64 = 1000;
/// Unit of `cpuacct.stat`: `USER_HZ`, which is 100 on every architecture that is supported.
const NANOSECONDS_A_TICK: u64 = 10_000_000;

/// `memory.events` of a group. An event of the kind `PRI` tells that something in it has changed.
#[derive(Debug)]
pub struct MemoryEvents(File);

impl MemoryEvents {
    /// How often the kernel has killed a process of the group for lack of memory.
    ///
    /// # Errors
    /// `ENODEV` when the group has gone.
    pub fn oom_kills(&self) -> io::Result<u64> {
        let mut text = [0; 1024];
        let length = self.0.read_at(&mut text, 0)?;
        let text = String::from_utf8_lossy(text.get(..length).unwrap_or_default());
        let kills = text.lines().find_map(|line| line.strip_prefix("oom_kill "));
        Ok(kills.and_then(|kills| kills.parse().ok()).unwrap_or(0))
    }
}

impl AsFd for MemoryEvents {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl Cgroup {
    /// What the group has used so far.
    ///
    /// # Errors
    /// Names the file that cannot be read; `Io` with `ENOENT` when there is no such group.
    pub fn stats(&self) -> Result<Stats, CgroupError> {
        let main = self.main_directory().ok_or(CgroupError::NotMounted)?;
        if let Err(cause) = std::fs::metadata(&main) {
            return Err(CgroupError::io("read", main, cause));
        }
        let (cpu, memory, io) = match self.version() {
            Version::V1 => (self.cpu_v1()?, self.memory_v1()?, self.io_v1()?),
            Version::V2 => (cpu_v2(&main)?, memory_v2(&main)?, io_v2(&main)?),
        };
        let pids = self.in_directory(Controller::Pids, |directory| {
            let current = number(directory, "pids.current")?.unwrap_or(0);
            Ok(PidsStats { current, limit: number(directory, "pids.max")? })
        })?;
        Ok(Stats { cpu, memory, pids, io, oom_kills: self.oom_kills()? })
    }

    /// How often the kernel has killed a process of the group for lack of memory.
    ///
    /// # Errors
    /// Names the file that cannot be read; a group that does not exist has had none.
    pub fn oom_kills(&self) -> Result<u64, CgroupError> {
        let file = match self.version() {
            Version::V1 => "memory.oom_control",
            Version::V2 => "memory.events",
        };
        self.in_directory(Controller::Memory, |directory| {
            Ok(Table::read(directory, file)?.get("oom_kill"))
        })
    }

    /// Opens what tells of kills for lack of memory, where another process may remove the group before
    /// anybody has looked; `None` where nobody does, or nothing is counted.
    #[must_use]
    pub fn memory_events(&self) -> Option<MemoryEvents> {
        let directory = self.directory(Controller::Memory)?;
        let foreign = self.maker() == Maker::Manager && self.version() == Version::V2;
        let file = foreign.then(|| File::open(directory.join("memory.events")))?;
        file.ok().map(MemoryEvents)
    }

    /// What `read` finds in the directory of a controller; nothing without the controller.
    fn in_directory<T: Default>(
        &self,
        controller: Controller,
        read: impl FnOnce(&Path) -> Result<T, CgroupError>,
    ) -> Result<T, CgroupError> {
        self.directory(controller).map_or_else(|| Ok(T::default()), |directory| read(&directory))
    }

    fn cpu_v1(&self) -> Result<CpuStats, CgroupError> {
        let mut stats = self.in_directory(Controller::Cpuacct, |directory| {
            let ticks = Table::read(directory, "cpuacct.stat")?;
            Ok(CpuStats {
                usage: number(directory, "cpuacct.usage")?.unwrap_or(0),
                user: ticks.get("user").saturating_mul(NANOSECONDS_A_TICK),
                system: ticks.get("system").saturating_mul(NANOSECONDS_A_TICK),
                ..CpuStats::default()
            })
        })?;
        let limit = self.in_directory(Controller::Cpu, |path| Table::read(path, "cpu.stat"))?;
        stats.periods = limit.get("nr_periods");
        stats.throttled_periods = limit.get("nr_throttled");
        stats.throttled = limit.get("throttled_time");
        Ok(stats)
    }

    fn memory_v1(&self) -> Result<MemoryStats, CgroupError> {
        self.in_directory(Controller::Memory, |directory| {
            let table = Table::read(directory, "memory.stat")?;
            let usage = number(directory, "memory.usage_in_bytes")?.unwrap_or(0);
            let limit = number(directory, "memory.limit_in_bytes")?;
            Ok(MemoryStats {
                usage,
                limit: limit.filter(|limit| *limit < UNLIMITED),
                working_set: usage.saturating_sub(table.get("total_inactive_file")),
                rss: table.get("total_rss"),
                cache: table.get("total_cache"),
                swap: table.get("total_swap"),
                peak: number(directory, "memory.max_usage_in_bytes")?,
                faults: table.get("total_pgfault"),
                major_faults: table.get("total_pgmajfault"),
            })
        })
    }

    fn io_v1(&self) -> Result<IoStats, CgroupError> {
        self.in_directory(Controller::Io, |directory| {
            let (read_bytes, write_bytes) = sums(directory, "blkio.throttle.io_service_bytes")?;
            let (read_operations, write_operations) =
                sums(directory, "blkio.throttle.io_serviced")?;
            Ok(IoStats { read_bytes, write_bytes, read_operations, write_operations })
        })
    }
}

fn cpu_v2(directory: &Path) -> Result<CpuStats, CgroupError> {
    let table = Table::read(directory, "cpu.stat")?;
    let time = |name: &str| table.get(name).saturating_mul(NANOSECONDS_A_MICROSECOND);
    Ok(CpuStats {
        usage: time("usage_usec"),
        user: time("user_usec"),
        system: time("system_usec"),
        periods: table.get("nr_periods"),
        throttled_periods: table.get("nr_throttled"),
        throttled: time("throttled_usec"),
    })
}

fn memory_v2(directory: &Path) -> Result<MemoryStats, CgroupError> {
    let table = Table::read(directory, "memory.stat")?;
    let usage = number(directory, "memory.current")?.unwrap_or(0);
    Ok(MemoryStats {
        usage,
        limit: number(directory, "memory.max")?,
        working_set: usage.saturating_sub(table.get("inactive_file")),
        rss: table.get("anon"),
        cache: table.get("file"),
        swap: number(directory, "memory.swap.current")?.unwrap_or(0),
        peak: number(directory, "memory.peak")?,
        faults: table.get("pgfault"),
        major_faults: table.get("pgmajfault"),
    })
}

/// `io.stat`: a device, then `key=value` for each count.
fn io_v2(directory: &Path) -> Result<IoStats, CgroupError> {
    let text = directory::read_if_present(&directory.join("io.stat"))?.unwrap_or_default();
    let sum = |key: &str| {
        let pairs = text.split_ascii_whitespace().filter_map(|word| word.split_once('='));
        let values = pairs.filter(|(name, _)| *name == key);
        values.filter_map(|(_, value)| value.parse::<u64>().ok()).fold(0, u64::saturating_add)
    };
    Ok(IoStats {
        read_bytes: sum("rbytes"),
        write_bytes: sum("wbytes"),
        read_operations: sum("rios"),
        write_operations: sum("wios"),
    })
}

/// Reads and writes in a file of `blkio`: a device, a kind of operation, a count. The variant of
/// the file that counts groups below is preferred.
fn sums(directory: &Path, file: &str) -> Result<(u64, u64), CgroupError> {
    let recursive = directory::read_if_present(&directory.join(format!("{file}_recursive")))?;
    let text = match recursive {
        Some(text) => text,
        None => directory::read_if_present(&directory.join(file))?.unwrap_or_default(),
    };
    let sum = |kind: &str| {
        let values = text.lines().filter_map(|line| {
            let mut words = line.split_ascii_whitespace().skip(1);
            words.next().filter(|word| *word == kind)?;
            words.next()?.parse::<u64>().ok()
        });
        values.fold(0, u64::saturating_add)
    };
    Ok((sum("Read"), sum("Write")))
}

/// The number that is all a file has; `None` for `max`, and where there is no such file.
fn number(directory: &Path, file: &str) -> Result<Option<u64>, CgroupError> {
    let text = directory::read_if_present(&directory.join(file))?;
    Ok(text.and_then(|text| text.trim().parse().ok()))
}

/// A file with a name and a number on each line.
#[derive(Default)]
struct Table(String);

impl Table {
    fn read(directory: &Path, file: &str) -> Result<Self, CgroupError> {
        Ok(Self(directory::read_if_present(&directory.join(file))?.unwrap_or_default()))
    }

    /// The number beside `name`; 0 without such a line.
    fn get(&self, name: &str) -> u64 {
        let mut rows = self.0.lines().filter_map(|line| line.split_once(' '));
        let found = rows.find(|(known, _)| *known == name);
        found.and_then(|(_, value)| value.trim().parse().ok()).unwrap_or(0)
    }
}
