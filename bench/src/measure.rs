//! Doing an operation to one container or to many at once, and what it cost.

use std::{
    os::fd::AsFd,
    process::{Child, Command},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use isula_sys::process;

use crate::{
    engines::{Engine, tail},
    group::processes,
    op::{Op, Program, Step, Target},
};

/// How long the clients of one operation may take together. Only an engine that hangs takes so long.
const LIMIT: Duration = Duration::from_secs(120);

/// What an operation cost, in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Cost {
    /// From the start of the first client to the end of the last.
    pub wall: f64,
    /// Processor time of the whole group.
    pub cpu: f64,
}

/// Does `op` to all of the targets at once; `None` when the engine has no such operation.
pub fn measure(engine: &dyn Engine, op: Op, targets: &[Target]) -> Result<Option<Cost>> {
    let Some(mut phases) = phases(engine, op, targets)? else { return Ok(None) };
    let cost = timed(engine, || {
        for phase in &mut phases {
            carry_out(phase)
                .with_context(|| format!("{} {}: {}", engine.name(), op.row(), errors(engine)))?;
        }
        Ok(())
    })?;
    Ok(Some(cost))
}

/// Runs one command of an engine.
pub fn measure_command(engine: &dyn Engine, command: Command) -> Result<Cost> {
    let mut step = [Step::Run(Box::new(command))];
    timed(engine, || {
        carry_out(&mut step).with_context(|| format!("{}: {}", engine.name(), errors(engine)))
    })
}

/// What `work` costs in the place of the engine.
pub fn timed(engine: &dyn Engine, work: impl FnOnce() -> Result<()>) -> Result<Cost> {
    let place = engine.place();
    place.enter()?;
    let before = place.account().usage()?;
    let began = Instant::now();
    work()?;
    let wall = began.elapsed().as_secs_f64() * 1e3;
    Ok(Cost { wall, cpu: (place.account().usage()? - before) as f64 / 1e6 })
}

/// Does `op` without caring what it costs. False when the engine has no such operation.
pub fn perform(engine: &dyn Engine, op: Op, targets: &[Target]) -> Result<bool> {
    Ok(measure(engine, op, targets)?.is_some())
}

/// Has all targets running, in whatever way the engine can.
pub fn bring_up(engine: &dyn Engine, targets: &[Target]) -> Result<()> {
    let before = engine.place().account().contained()?.len();
    for part in targets.chunks(20) {
        if !perform(engine, Op::RunDetached, part)? {
            perform(engine, Op::Create, part)?;
            perform(engine, Op::Start, part)?;
        }
    }
    // A polite program has a process beside it once it listens for the signal.
    let each = |target: &Target| if target.program == Program::Polite { 2 } else { 1 };
    let wanted = before + targets.iter().map(each).sum::<usize>();
    let began = Instant::now();
    while engine.place().account().contained()?.len() < wanted {
        ensure!(began.elapsed() < LIMIT, "{}: containers do not come up", engine.name());
        std::thread::sleep(Duration::from_millis(2));
    }
    Ok(())
}

/// Takes away what an operation that failed has left, as far as the engine can: all at once, so that
/// one that hangs is waited for once.
pub fn clear(engine: &dyn Engine, targets: &[Target]) {
    // A client whose target is not there fails, as it should.
    if matches!(perform(engine, Op::RemoveForce, targets), Ok(false)) {
        drop(perform(engine, Op::StopNow, targets));
        drop(perform(engine, Op::Remove, targets));
    }
}

/// Takes all targets away, in whatever way the engine can.
pub fn take_down(engine: &dyn Engine, targets: &[Target]) -> Result<()> {
    for part in targets.chunks(20) {
        if !perform(engine, Op::RemoveForce, part)? {
            perform(engine, Op::StopNow, part)?;
            perform(engine, Op::Remove, part)?;
        }
    }
    Ok(())
}

/// The first steps of all targets, then all second ones, and so on.
fn phases(engine: &dyn Engine, op: Op, targets: &[Target]) -> Result<Option<Vec<Vec<Step>>>> {
    let mut phases: Vec<Vec<Step>> = Vec::new();
    for target in targets {
        let Some(steps) = engine.steps(op, target)? else { return Ok(None) };
        for (number, step) in steps.into_iter().enumerate() {
            match phases.get_mut(number) {
                Some(phase) => phase.push(step),
                None => phases.push(vec![step]),
            }
        }
    }
    Ok(Some(phases))
}

/// All steps at once; every client must succeed.
fn carry_out(steps: &mut [Step]) -> Result<()> {
    let mut clients = Vec::new();
    for step in &mut *steps {
        if let Step::Run(command) = step {
            clients.push(command.spawn().with_context(|| format!("{:?}", command.get_program()))?);
        }
    }
    let mut failed = None;
    let deadline = Instant::now() + LIMIT;
    for client in clients {
        let ended = wait(client, deadline);
        failed = failed.or(ended.err());
    }
    for step in &*steps {
        if let Step::Gone(group) = step {
            for pid in processes(group)? {
                gone(pid)?;
            }
        }
    }
    failed.map_or(Ok(()), Err)
}

fn wait(mut client: Child, deadline: Instant) -> Result<()> {
    let descriptor = process::open(i32::try_from(client.id())?)?;
    let left = deadline.saturating_duration_since(Instant::now());
    if !process::wait_at_most(descriptor.as_fd(), Some(left))? {
        client.kill()?;
        client.wait()?;
        bail!("a client hangs");
    }
    let status = client.wait()?;
    ensure!(status.success(), "a client failed ({status})");
    Ok(())
}

/// Waits until a process of a container has ended.
fn gone(pid: u32) -> Result<()> {
    // None is left to wait for when it cannot be opened.
    let Ok(descriptor) = process::open(i32::try_from(pid)?) else { return Ok(()) };
    ensure!(process::wait_at_most(descriptor.as_fd(), Some(LIMIT))?, "process {pid} does not end");
    Ok(())
}

fn errors(engine: &dyn Engine) -> String {
    tail(&engine.place().path("errors"))
}
