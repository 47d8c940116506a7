//! What others that run cost: memory of the daemon and of each helper, wake-ups of all while
//! nothing happens, and the time of an operation beside them.

use std::{fs, slice::from_ref, time::Duration};

use anyhow::Result;
use isula_tests::census::{pss, settled_pss};

use super::Bench;
use crate::{
    engines::Engine,
    measure::{bring_up, measure, take_down},
    op::{Op, Program, Target},
    options::Options,
    report::Report,
};

/// Operations that are measured beside the others.
const OPERATIONS: [Op; 6] =
    [Op::Create, Op::Start, Op::Exec, Op::StopNow, Op::Remove, Op::RunRemove];
/// Rounds of each.
const ROUNDS: usize = 3;
/// Containers beside which wake-ups are counted.
const IDLE: usize = 100;

/// One engine after the other: their containers together would not fit into the machine.
pub fn run(bench: &mut Bench) -> Result<()> {
    let Bench { engines, options, report, .. } = bench;
    for engine in &*engines {
        let mut running = Vec::new();
        let result = grow(&**engine, options, report, &mut running);
        if let Err(error) = result {
            report.failure(("memory", "helpers, each"), engine.name(), &error);
        }
        if let Err(error) = take_down(&**engine, &running) {
            report.failure(("scale", "removing them"), engine.name(), &error);
        }
    }
    Ok(())
}

fn grow(
    engine: &dyn Engine,
    options: &Options,
    report: &mut Report,
    running: &mut Vec<Target>,
) -> Result<()> {
    for &others in options.others.iter().filter(|count| **count <= engine.most()) {
        let more: Vec<Target> = (running.len()..others)
            .map(|number| Target::new(format!("o{number}"), Program::Deaf))
            .collect();
        running.extend(more.iter().cloned());
        bring_up(engine, &more)?;
        memory(engine, others, report)?;
        if others == IDLE {
            let seconds = if engine.is_slow() { options.idle.min(10) } else { options.idle };
            idle(engine, seconds, report)?;
        }
        for round in 0..ROUNDS {
            let name = format!("beside{others}x{round}");
            for op in OPERATIONS {
                let program = if op == Op::RunRemove { Program::Brief } else { Program::Deaf };
                let target = Target::new(name.clone(), program);
                if let Some(cost) = measure(engine, op, from_ref(&target))? {
                    let row = format!("{}, {others} others", op.row());
                    report.time(("scale", &row), engine.name(), cost);
                }
            }
        }
    }
    Ok(())
}

/// Proportional set sizes: what is shared between helpers is not counted twice.
fn memory(engine: &dyn Engine, running: usize, report: &mut Report) -> Result<()> {
    let daemons = engine.daemons();
    // What an engine keeps, not what it has just needed.
    for pid in &daemons {
        settled_pss(*pid)?;
    }
    let mut sums = (0, 0);
    for pid in engine.place().processes()? {
        // One that ended since has no memory.
        let size = pss(pid).unwrap_or_default();
        if daemons.contains(&pid) { sums.0 += size } else { sums.1 += size }
    }
    let row = format!("daemons, {running} running");
    report.number(("memory", &row), engine.name(), (sums.0 as f64, ""));
    if running > 0 {
        let row = format!("helpers of each, {running} running");
        let each = sums.1 as f64 / running as f64;
        report.number(("memory", &row), engine.name(), (each, ""));
    }
    Ok(())
}

/// How often daemons and helpers run while nobody asks for anything.
fn idle(engine: &dyn Engine, seconds: u64, report: &mut Report) -> Result<()> {
    let processes = engine.place().processes()?;
    let switches = || processes.iter().map(|pid| switches(*pid)).sum::<u64>();
    // What a burst of work started has to come to rest first.
    let mut before = switches();
    for _ in 0..20 {
        std::thread::sleep(Duration::from_secs(1));
        let now = switches();
        // A thread that has ended takes its count along.
        let resting = now.abs_diff(before) <= 2;
        before = now;
        if resting || engine.is_slow() {
            break;
        }
    }
    let used = engine.place().account().usage()?;
    std::thread::sleep(Duration::from_secs(seconds));
    let minute = 60.0 / seconds as f64;
    let used = (engine.place().account().usage()? - used) as f64 / 1e6 * minute;
    let woken = switches().saturating_sub(before) as f64 * minute;
    let row = format!("wake-ups a minute, idle with {IDLE} running");
    report.number(("daemon", &row), engine.name(), (woken, ""));
    let row = format!("processor time a minute, idle with {IDLE} running");
    report.number(("daemon", &row), engine.name(), (used, "ms"));
    Ok(())
}

/// Context switches of all threads of a process.
fn switches(pid: u32) -> u64 {
    let mut sum = 0;
    for task in fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten() {
        let text = fs::read_to_string(task.path().join("status")).unwrap_or_default();
        let lines = text.lines().filter(|line| line.contains("ctxt_switches"));
        sum += lines
            .filter_map(|line| line.split_whitespace().nth(1)?.parse::<u64>().ok())
            .sum::<u64>();
    }
    sum
}
