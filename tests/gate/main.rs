//! The gate for what the engine is made for: small programs that do little. Every figure is a
//! count, none is a time, so that a busy machine changes nothing; each has a limit a tenth or so
//! above what it was when the limit was set. Who makes a figure smaller lowers its limit.

#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

mod instructions;

use std::{fs, path::Path};

use anyhow::{Context, Result, ensure};
use isula_tests::{
    World,
    census::{pss, settled_pss, shims, template},
    images,
    programs::program,
    trace::{Counts, Tracer, finish, traced},
};

/// Every limit, with its unit.
const LIMITS: [(&str, u64, &str); 22] = [
    // `run -d`, by strace. The client is one process and makes none.
    ("client of run -d: system calls", 75, "calls"),
    ("client of run -d: processes made", 0, "processes"),
    ("client of run -d: syncs", 0, "syncs"),
    // The shim is cloned from a template, the init process from the shim.
    ("daemon and shim of run -d: system calls", 1170, "calls"),
    ("daemon and shim of run -d: processes made", 2, "processes"),
    ("daemon and shim of run -d: programs executed", 1, "programs"),
    // One more than an operation waits for: the plain files of the one before may follow meanwhile.
    ("daemon and shim of run -d: syncs", 3, "syncs"),
    ("exec: system calls of all", 660, "calls"),
    ("exec: processes made by all", 1, "processes"),
    ("exec: syncs of all", 0, "syncs"),
    ("rm -f: system calls of all", 430, "calls"),
    ("rm -f: syncs of all", 3, "syncs"),
    // By valgrind, thousands.
    ("client of version: instructions", 315, "thousand"),
    ("client of run -d: instructions", 990, "thousand"),
    // Proportional set size.
    ("daemon just after work", 12288, "KiB"),
    ("daemon idle after work", 4608, "KiB"),
    ("daemon with 100 running", 4864, "KiB"),
    ("shim of 100", 72, "KiB"),
    // On the disk.
    ("isula", 2900, "KiB"),
    ("isulad", 11800, "KiB"),
    ("isulad-shim", 850, "KiB"),
    ("lcr", 3200, "KiB"),
];

/// Compares figures with their limits; all that are above are told at once.
fn within_limits(figures: &[(&str, u64)]) -> Result<()> {
    let mut above = Vec::new();
    for (name, figure) in figures {
        let limit = LIMITS.iter().find(|(known, ..)| known == name);
        let (_, limit, unit) = limit.with_context(|| format!("no limit for {name}"))?;
        println!("{name}: {figure} of {limit} {unit}");
        if figure > limit {
            above.push(format!("{name}: {figure} {unit}, {limit} at most"));
        }
    }
    ensure!(above.is_empty(), "{above:#?}");
    Ok(())
}

/// A daemon that logs as people have it: each line more is a system call.
fn world() -> Result<World> {
    let mut world = World::bare(&[])?;
    world.how().log_level = "warn";
    world.start()?;
    let archive = images::busybox_docker_archive()?;
    world.ok(&["load", "-i", &archive.display().to_string()])?;
    Ok(world)
}

/// What the client did, and what the daemon and the shims that it starts did.
fn counted(world: &mut World, shims: &[u32], arguments: &[&str]) -> Result<(Counts, Counts)> {
    let (ours, theirs) = (world.path("trace-client"), world.path("trace-daemon"));
    let daemon = world.daemon()?.pid();
    let mut pids = vec![daemon, template(daemon)?.context("no template of shims")?];
    pids.extend(shims);
    let tracer = Tracer::attach(&pids, &theirs)?;
    let status = traced(&world.isula(arguments)?, &ours).status()?;
    ensure!(status.success(), "isula {arguments:?} under strace: {status}");
    let client = finish(&ours)?;
    Ok((client, tracer.detach()?))
}

#[test]
fn an_operation_makes_few_processes_system_calls_and_syncs() -> Result<()> {
    let mut world = world()?;
    // What the first container of a daemon costs is not what each costs.
    world.ok(&["run", "--rm", "busybox", "true"])?;
    let run = ["run", "-d", "--name", "web", "busybox", "sleep", "1000"];
    let (client, daemon) = counted(&mut world, &[], &run)?;
    let shims = shims(world.daemon()?.pid())?;
    let (exec, daemon_exec) = counted(&mut world, &shims, &["exec", "web", "true"])?;
    let exec = exec + daemon_exec;
    let (removal, daemon_removal) = counted(&mut world, &shims, &["rm", "-f", "web"])?;
    let removal = removal + daemon_removal;
    within_limits(&[
        ("client of run -d: system calls", client.calls),
        ("client of run -d: processes made", client.processes),
        ("client of run -d: syncs", client.syncs),
        ("daemon and shim of run -d: system calls", daemon.calls),
        ("daemon and shim of run -d: processes made", daemon.processes),
        ("daemon and shim of run -d: programs executed", daemon.programs),
        ("daemon and shim of run -d: syncs", daemon.syncs),
        ("exec: system calls of all", exec.calls),
        ("exec: processes made by all", exec.processes),
        ("exec: syncs of all", exec.syncs),
        ("rm -f: system calls of all", removal.calls),
        ("rm -f: syncs of all", removal.syncs),
    ])?;
    world.finish()
}

#[test]
fn the_client_executes_few_instructions() -> Result<()> {
    let world = world()?;
    let run = ["run", "-d", "--name", "web", "busybox", "sleep", "1000"];
    let version = instructions::of(&world.isula(&["version"])?, &world.path("valgrind"))?;
    let run = instructions::of(&world.isula(&run)?, &world.path("valgrind"))?;
    if let (Some(version), Some(run)) = (version, run) {
        within_limits(&[
            ("client of version: instructions", version / 1000),
            ("client of run -d: instructions", run / 1000),
        ])?;
    } else {
        println!("skipped: valgrind is not here or does not run static programs");
    }
    world.finish()
}

#[test]
fn the_daemon_and_its_shims_stay_small() -> Result<()> {
    let mut world = world()?;
    for _ in 0..50 {
        world.ok(&["run", "--rm", "busybox", "true"])?;
    }
    let daemon = world.daemon()?.pid();
    let busy = pss(daemon)?;
    let idle = settled_pss(daemon)?;
    for _ in 0..100 {
        world.ok(&["run", "-d", "busybox", "sleep", "1000"])?;
    }
    let running = settled_pss(daemon)?;
    let shims = shims(daemon)?;
    ensure!(shims.len() == 100, "{} shims", shims.len());
    let all: u64 = shims.iter().map(|pid| pss(*pid)).sum::<Result<u64>>()?;
    within_limits(&[
        ("daemon just after work", busy),
        ("daemon idle after work", idle),
        ("daemon with 100 running", running),
        ("shim of 100", all / 100),
    ])?;
    world.finish()
}

#[test]
fn the_programs_stay_small() -> Result<()> {
    let size = |name: &str| -> Result<u64> {
        let path = program(name)?;
        ensure!(!is_debug_build(&path), "{} is no release build", path.display());
        Ok(fs::metadata(path)?.len() / 1024)
    };
    within_limits(&[
        ("isula", size("isula")?),
        ("isulad", size("isulad")?),
        ("isulad-shim", size("isulad-shim")?),
        ("lcr", size("lcr")?),
    ])
}

fn is_debug_build(path: &Path) -> bool {
    path.components().any(|part| part.as_os_str() == "debug")
}
