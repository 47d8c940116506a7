//! One client, one container, each operation of its life in turn; the engines in turn too.

use std::slice::from_ref;

use anyhow::Result;

use super::{Bench, floor::Floor};
use crate::{
    engines::Engine,
    measure::{Cost, bring_up, measure, perform, take_down},
    op::{Op, Program, Target},
};

type Rows = Vec<(String, Cost)>;

/// Measures `options.single` lives of each engine.
pub fn run(bench: &mut Bench) -> Result<()> {
    let Bench { home, engines, options, report } = bench;
    // The kernel's floor has its turns among the engines: what they do to the caches, it meets, too.
    let floor = options.wants("floor").then(|| Floor::new(home)).transpose()?;
    for round in 0..options.single {
        for engine in &*engines {
            let mut rows = Rows::new();
            let result = life(&**engine, round, &mut rows);
            for (row, cost) in rows {
                report.time(("single", &row), engine.name(), cost);
            }
            if let Err(error) = result {
                report.failure(("single", "a whole life"), engine.name(), &error);
            }
        }
        if let Some(floor) = &floor {
            floor.turn(report)?;
            // Nothing of its place is in the way when it goes.
            home.enter()?;
        }
    }
    Ok(())
}

fn life(engine: &dyn Engine, round: usize, rows: &mut Rows) -> Result<()> {
    wake(engine, &Target::new(format!("w{round}"), Program::Deaf), rows)?;
    in_network(engine, Target::new(format!("s{round}"), Program::Deaf), rows)?;
    let polite = Target::new(format!("p{round}"), Program::Polite);
    bring_up(engine, from_ref(&polite))?;
    note(engine, Op::StopPolite, &polite, rows)?;
    perform(engine, Op::Remove, from_ref(&polite))?;
    for network in engine.networks()? {
        let name = format!("{network}{round}");
        let target = Target { network, ..Target::new(name, Program::Deaf) };
        in_network(engine, target, rows)?;
    }
    Ok(())
}

/// What it costs that nothing was asked of an engine while the others had their turns: rows of their
/// own, so that the others are of an engine at work.
fn wake(engine: &dyn Engine, target: &Target, rows: &mut Rows) -> Result<()> {
    for op in [Op::Version, Op::Create] {
        if let Some(cost) = measure(engine, op, from_ref(target))? {
            rows.push((format!("{}, after a pause", op.row()), cost));
            if op == Op::Create {
                perform(engine, Op::Remove, from_ref(target))?;
            }
        }
    }
    Ok(())
}

/// Every operation that a network could make slower.
fn in_network(engine: &dyn Engine, target: Target, rows: &mut Rows) -> Result<()> {
    let alone = target.network == "none";
    if alone {
        note(engine, Op::Version, &target, rows)?;
    }
    for op in [Op::Create, Op::Start, Op::Exec, Op::StopNow, Op::Remove] {
        if alone || op != Op::Exec {
            note(engine, op, &target, rows)?;
        }
    }
    if note(engine, Op::RunDetached, &target, rows)? {
        note(engine, Op::RemoveForce, &target, rows)?;
    }
    let brief = Target { program: Program::Brief, ..target };
    note(engine, Op::RunRemove, &brief, rows).map(drop)
}

fn note(engine: &dyn Engine, op: Op, target: &Target, rows: &mut Rows) -> Result<bool> {
    let cost = match measure(engine, op, from_ref(target)) {
        Ok(cost) => cost,
        Err(error) => {
            // The next round finds a clean place.
            drop(take_down(engine, from_ref(target)));
            return Err(error);
        }
    };
    let Some(cost) = cost else { return Ok(false) };
    let network = if target.network == "none" { "" } else { ", default network" };
    rows.push((format!("{}{network}", op.row()), cost));
    Ok(true)
}
