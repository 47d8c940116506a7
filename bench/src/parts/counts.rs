//! What one operation does, counted by strace: system calls, processes made, programs executed and
//! syncs, of client, daemons and helpers together.

use std::{
    fs,
    os::fd::AsFd,
    path::Path,
    slice::from_ref,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use isula_tests::trace::{self, Counts, Tracer};

use super::Bench;
use crate::{
    engines::Engine,
    measure::take_down,
    op::{Op, Program, Step, Target},
};

const OPERATIONS: [Op; 7] =
    [Op::Create, Op::Start, Op::Exec, Op::StopNow, Op::Remove, Op::RunDetached, Op::RunRemove];
/// How long nothing may be traced for an operation to be over.
const QUIET: Duration = Duration::from_millis(200);

/// Each operation once: what is counted varies little.
pub fn run(bench: &mut Bench) -> Result<()> {
    let Bench { engines, report, .. } = bench;
    for engine in &*engines {
        let engine = &**engine;
        let deaf = Target::new("counted", Program::Deaf);
        for op in OPERATIONS {
            let program = if op == Op::RunRemove { Program::Brief } else { Program::Deaf };
            match counted(engine, op, &Target::new("counted", program)) {
                Ok(None) => {}
                Ok(Some(counts)) => {
                    let figures = [
                        ("system calls", counts.calls),
                        ("processes made", counts.processes),
                        ("programs executed", counts.programs),
                        ("syncs", counts.syncs),
                    ];
                    for (what, count) in figures {
                        let row = format!("{}: {what}", op.row());
                        report.number(("counts", &row), engine.name(), (count as f64, ""));
                    }
                }
                Err(error) => {
                    let row = format!("{}: system calls", op.row());
                    report.failure(("counts", &row), engine.name(), &error);
                    drop(take_down(engine, from_ref(&deaf)));
                }
            }
            if op == Op::RunDetached {
                drop(take_down(engine, from_ref(&deaf)));
            }
        }
    }
    Ok(())
}

fn counted(engine: &dyn Engine, op: Op, target: &Target) -> Result<Option<Counts>> {
    let place = engine.place();
    let Some(steps) = engine.steps(op, target)? else { return Ok(None) };
    place.enter()?;
    let (theirs, ours) = (place.path("trace-daemons"), place.path("trace-client"));
    let running = place.processes()?;
    let tracer =
        if running.is_empty() { None } else { Some(Tracer::attach(&running, Path::new(&theirs))?) };
    let mut counts = Counts::default();
    for step in steps {
        match step {
            Step::Run(command) => {
                let file = Path::new(&ours);
                let mut client = trace::traced(&command, file).spawn().context("strace")?;
                let process = isula_sys::process::open(i32::try_from(client.id())?)?;
                let limit = Some(Duration::from_secs(120));
                if !isula_sys::process::wait_at_most(process.as_fd(), limit)? {
                    client.kill()?;
                }
                let status = client.wait()?;
                wait_for_quiet(&[&theirs, &ours]);
                counts = counts + trace::finish(file)?;
                ensure!(status.success(), "under strace: {status}");
            }
            Step::Gone(_) => wait_for_quiet(&[&theirs]),
        }
    }
    if let Some(tracer) = tracer {
        counts = counts + tracer.detach()?;
    }
    Ok(Some(counts))
}

/// Work that goes on behind the answer belongs to the operation.
fn wait_for_quiet(traces: &[&str]) {
    let sizes = || -> Vec<u64> {
        traces.iter().map(|file| fs::metadata(file).map_or(0, |found| found.len())).collect()
    };
    let began = Instant::now();
    let mut last = sizes();
    while began.elapsed() < 20 * QUIET {
        std::thread::sleep(QUIET);
        let now = sizes();
        if now == last {
            return;
        }
        last = now;
    }
}
