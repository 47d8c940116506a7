//! Counts what processes do, with strace: system calls, processes made, programs executed, syncs.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use anyhow::{Context, Result, ensure};
use rustix::process::{Pid, Signal, kill_process};

/// What was done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// System calls of every kind.
    pub calls: u64,
    /// Processes that were made; threads are none.
    pub processes: u64,
    /// Programs that were executed.
    pub programs: u64,
    /// Files and file systems that were forced to the disk.
    pub syncs: u64,
}

impl std::ops::Add for Counts {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            calls: self.calls + other.calls,
            processes: self.processes + other.processes,
            programs: self.programs + other.programs,
            syncs: self.syncs + other.syncs,
        }
    }
}

impl Counts {
    /// Reads the output of `strace -f`.
    #[must_use]
    pub fn of(trace: &str) -> Self {
        let mut counts = Self::default();
        // Those whose call that makes a thread is not finished yet.
        let mut threading = BTreeSet::new();
        for line in trace.lines() {
            // `PID call(arguments) = result`; a call that was interrupted comes in two parts, and
            // its result stands in the second, its flags in the first.
            let Some((pid, text)) = line.trim_start().split_once(' ') else { continue };
            let text = text.trim_start();
            if text.starts_with("---") || text.starts_with("+++") || text.starts_with("<...") {
                let born = is_resumed_birth(text) && !threading.remove(pid);
                counts.processes += u64::from(born);
                continue;
            }
            let Some((call, rest)) = text.split_once('(') else { continue };
            counts.calls += 1;
            let failed = rest.contains("= -1 ");
            match call {
                "clone" | "clone3" | "fork" | "vfork" => {
                    let unfinished = rest.contains("<unfinished");
                    let thread = rest.contains("CLONE_THREAD");
                    if unfinished && thread {
                        threading.insert(pid);
                    }
                    counts.processes += u64::from(!failed && !unfinished && !thread);
                }
                "execve" | "execveat" => counts.programs += u64::from(!failed),
                "fsync" | "fdatasync" | "sync" | "syncfs" | "sync_file_range" => counts.syncs += 1,
                _ => {}
            }
        }
        counts
    }
}

/// The second part of a call that made a process: vfork always comes in two.
fn is_resumed_birth(text: &str) -> bool {
    ["<... clone", "<... fork", "<... vfork"].iter().any(|birth| text.starts_with(birth))
        && !text.contains("= -1 ")
        && !text.contains("= ?")
}

/// strace at work on processes that run already.
pub struct Tracer {
    strace: Child,
    file: PathBuf,
}

impl Tracer {
    /// Traces these processes and all that they start from now on, into `file`.
    pub fn attach(pids: &[u32], file: &Path) -> Result<Self> {
        let mut command = Command::new("strace");
        command.args(["-f", "-qq", "-o"]).arg(file);
        for pid in pids {
            command.args(["-p", &pid.to_string()]);
        }
        let mut strace = command
            .stdin(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .context("strace is missing: run `tools/setup.sh test`")?;
        // strace has attached when the kernel names it as the tracer of every thread.
        while !pids.iter().all(|pid| is_traced(*pid)) {
            ensure!(strace.try_wait()?.is_none(), "strace ended before it had attached");
            std::thread::yield_now();
        }
        Ok(Self { strace, file: file.to_owned() })
    }

    /// Lets them go and counts.
    pub fn detach(mut self) -> Result<Counts> {
        kill_process(Pid::from_child(&self.strace), Signal::INT)?;
        self.strace.wait()?;
        Ok(Counts::of(&fs::read_to_string(&self.file)?))
    }
}

fn is_traced(pid: u32) -> bool {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    tasks.into_iter().all(|task| {
        let status = fs::read_to_string(task.path().join("status")).unwrap_or_default();
        let tracer = status.lines().find_map(|line| line.strip_prefix("TracerPid:"));
        tracer.is_none_or(|tracer| tracer.trim() != "0")
    })
}

/// `command` under strace, whose trace goes to `file`. The command is the process that is started,
/// so whoever waits for it does not wait for what it leaves running.
#[must_use]
pub fn traced(command: &Command, file: &Path) -> Command {
    let mut strace = Command::new("strace");
    // Without -I2 it lets nobody end it while what it traces runs.
    strace.args(["-D", "-I2", "-f", "-qq", "-o"]).arg(file).arg(command.get_program());
    strace.args(command.get_args());
    for (name, value) in command.get_envs() {
        if let Some(value) = value {
            strace.env(name, value);
        }
    }
    if let Some(directory) = command.get_current_dir() {
        strace.current_dir(directory);
    }
    strace.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    strace
}

/// Ends the tracer that [`traced`] started, which lets go of what still runs, and counts.
pub fn finish(file: &Path) -> Result<Counts> {
    let name = file.display().to_string();
    for pid in tracers(&name)? {
        kill_process(pid, Signal::INT)?;
        // It is nobody's child here.
        while fs::read_to_string(format!("/proc/{}/cmdline", pid.as_raw_nonzero()))
            .is_ok_and(|line| line.contains(&name))
        {
            std::thread::yield_now();
        }
    }
    Ok(Counts::of(&fs::read_to_string(file)?))
}

fn tracers(file: &str) -> Result<Vec<Pid>> {
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc")? {
        let path = entry?.path();
        let line = fs::read_to_string(path.join("cmdline")).unwrap_or_default();
        let mut words = line.split('\0');
        if words.next() == Some("strace") && words.any(|word| word == file) {
            let pid = path.file_name().and_then(|name| name.to_str()?.parse().ok());
            found.extend(pid.and_then(Pid::from_raw));
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::Counts;

    #[test]
    fn calls_births_programs_and_syncs_are_counted_once_each() {
        let trace = "\
7 openat(AT_FDCWD, \"x\", O_RDONLY) = -1 ENOENT (No such file)
7 clone(child_stack=0x7f, flags=CLONE_VM|CLONE_THREAD) = 8
7 clone3({flags=CLONE_VM|CLONE_VFORK, exit_signal=SIGCHLD}, 88 <unfinished ...>
9 execve(\"/bin/true\", [\"true\"], 0x7f) = 0
9 execve(\"/none\", [\"none\"], 0x7f) = -1 ENOENT (No such file)
7 <... clone3 resumed>) = 9
7 fsync(3 <unfinished ...>
9 +++ exited with 0 +++
7 --- SIGCHLD {si_signo=SIGCHLD} ---
7 <... fsync resumed>) = 0
7 clone3({flags=CLONE_VM|CLONE_THREAD, exit_signal=0}, 88 <unfinished ...>
7 <... clone3 resumed>) = 11
7 clone3({flags=CLONE_NEWNS|CLONE_PIDFD, exit_signal=SIGCHLD}, 88) = 10
";
        let counts = Counts::of(trace);
        assert_eq!(counts, Counts { calls: 8, processes: 2, programs: 1, syncs: 1 });
    }
}
