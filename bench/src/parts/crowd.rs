//! Many clients at once, each with a container of its own, until the last ends.

use std::collections::BTreeSet;

use anyhow::Result;

use super::Bench;
use crate::{
    engines::Engine,
    measure::{Cost, clear, measure},
    op::{Op, Program, Target},
};

/// Measures as many rounds as are asked for; fewer of engines that take long.
pub fn run(bench: &mut Bench) -> Result<()> {
    let Bench { engines, options, report, .. } = bench;
    let (fast, slow) = options.crowd;
    // What an engine could not do once stands in the table; another round would only take time.
    let mut failed = BTreeSet::new();
    for round in 0..fast.max(slow) {
        for engine in &*engines {
            let mut networks = vec!["none"];
            // One more network doubles the time, so the slow have it in one round.
            if round == 0 || !engine.is_slow() {
                networks.extend(engine.networks()?);
            }
            if round >= if engine.is_slow() { slow } else { fast } {
                continue;
            }
            for network in networks {
                if failed.contains(&(engine.name(), network)) {
                    continue;
                }
                let mut rows = Vec::new();
                let result = lives(&**engine, network, options.clients, &mut rows);
                for (op, cost) in rows {
                    let row = row(op, network);
                    report.time(("crowd", &row), engine.name(), cost);
                }
                if let Err((op, error)) = result {
                    report.failure(("crowd", &row(op, network)), engine.name(), &error);
                    failed.insert((engine.name(), network));
                }
            }
        }
    }
    Ok(())
}

fn row(op: Op, network: &str) -> String {
    format!("{}{}", op.row(), if network == "none" { "" } else { ", default network" })
}

fn lives(
    engine: &dyn Engine,
    network: &'static str,
    clients: usize,
    rows: &mut Vec<(Op, Cost)>,
) -> Result<(), (Op, anyhow::Error)> {
    let make = |program| -> Vec<Target> {
        (0..clients)
            .map(|number| Target { network, ..Target::new(format!("c{number}"), program) })
            .collect()
    };
    let (deaf, brief) = (make(Program::Deaf), make(Program::Brief));
    let operations: &[Op] = if network == "none" {
        &[
            Op::Create,
            Op::Start,
            Op::Exec,
            Op::StopNow,
            Op::Remove,
            Op::RunDetached,
            Op::RemoveForce,
            Op::RunRemove,
        ]
    } else {
        &[Op::RunDetached, Op::RemoveForce]
    };
    for op in operations {
        let targets = if *op == Op::RunRemove { &brief } else { &deaf };
        match measure(engine, *op, targets) {
            Ok(Some(cost)) => rows.push((*op, cost)),
            Ok(None) => {}
            Err(error) => {
                clear(engine, targets);
                return Err((*op, error));
            }
        }
    }
    Ok(())
}
