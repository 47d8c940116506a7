//! The daemon by itself: how fast it starts, and whether it stays as it is over a long time.

use std::fs;

use anyhow::{Context, Result};
use isula_tests::census::settled_pss;

use super::Bench;
use crate::{
    engines::{Engine, Isula},
    measure::{perform, timed},
    op::{Op, Program, Target},
};

/// Rounds before the memory is looked at for the first time.
const WARM: usize = 200;
/// Clients at once.
const AT_ONCE: usize = 4;

/// All of it. What fills a disk is done by daemons of their own.
pub fn run(bench: &mut Bench) -> Result<()> {
    for engine in &mut bench.engines {
        if engine.daemons().is_empty() {
            continue;
        }
        match cold_start(&mut **engine) {
            Ok(cost) => {
                let row = ("daemon", "cold start until it answers, no container");
                bench.report.time(row, engine.name(), cost);
            }
            Err(error) => {
                bench.report.failure(("daemon", "cold start"), engine.name(), &error);
            }
        }
    }
    if bench.engines.iter().any(|engine| engine.name() == "isula") {
        if let Err(error) = stopped(bench) {
            bench.report.failure(("daemon", "cold start, stopped"), "isula", &error);
        }
        if let Err(error) = flat(bench) {
            bench.report.failure(("daemon", "long run"), "isula", &error);
        }
    }
    Ok(())
}

fn cold_start(engine: &mut dyn Engine) -> Result<crate::measure::Cost> {
    engine.end()?;
    let place = engine.place();
    place.enter()?;
    let before = place.account().usage()?;
    let began = std::time::Instant::now();
    engine.restart()?;
    perform(engine, Op::Version, &[Target::new("none", Program::Brief)])?;
    let wall = began.elapsed().as_secs_f64() * 1e3;
    let cpu = (engine.place().account().usage()? - before) as f64 / 1e6;
    Ok(crate::measure::Cost { wall, cpu })
}

/// A daemon that finds many containers that have stopped.
fn stopped(bench: &mut Bench) -> Result<()> {
    let count = bench.options.stopped;
    let mut engine = Isula::new(&bench.home, "isula-cold")?;
    let targets: Vec<Target> =
        (0..count).map(|number| Target::new(format!("n{number}"), Program::Brief)).collect();
    for part in targets.chunks(50) {
        perform(&engine, Op::RunDetached, part)?;
    }
    let cost = cold_start(&mut engine)?;
    let row = format!("cold start until it answers, {count} stopped containers");
    bench.report.time(("daemon", &row), "isula", cost);
    let daemon = engine.daemons().first().copied().context("no daemon")?;
    let row = format!("PSS after that, {count} stopped containers");
    bench.report.number(("daemon", &row), "isula", (settled_pss(daemon)? as f64, "KiB"));
    bench.home.enter()
}

/// Memory, descriptors and threads before and after many lives.
fn flat(bench: &mut Bench) -> Result<()> {
    let rounds = bench.options.flat;
    let engine = Isula::new(&bench.home, "isula-flat")?;
    let live = |rounds: usize| -> Result<()> {
        let targets: Vec<Target> =
            (0..AT_ONCE).map(|number| Target::new(format!("f{number}"), Program::Deaf)).collect();
        for _ in 0..rounds.div_ceil(AT_ONCE) {
            for op in [Op::Create, Op::Start, Op::RemoveForce] {
                perform(&engine, op, &targets)?;
            }
        }
        Ok(())
    };
    let daemon = engine.daemons().first().copied().context("no daemon")?;
    live(WARM)?;
    let before = state(daemon)?;
    let cost = timed(&engine, || live(rounds))?;
    let after = state(daemon)?;
    let names = ["PSS, KiB", "descriptors", "threads"];
    for ((name, before), after) in names.into_iter().zip(before).zip(after) {
        for (when, value) in [(WARM, before), (WARM + rounds, after)] {
            let row = format!("{name} after {when} times create, start, rm -f");
            bench.report.number(("daemon", &row), "isula", (value, ""));
        }
    }
    let each = (cost.cpu / rounds as f64, "ms");
    bench.report.number(("daemon", "processor time of such a life"), "isula", each);
    bench.home.enter()
}

fn state(pid: u32) -> Result<[f64; 3]> {
    let count = |name: &str| -> Result<f64> {
        Ok(fs::read_dir(format!("/proc/{pid}/{name}"))?.count() as f64)
    };
    Ok([settled_pss(pid)? as f64, count("fd")?, count("task")?])
}
