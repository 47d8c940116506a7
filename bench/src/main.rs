//! Measures the engine beside runc, interleaved: `make bench`.
//!
//! Every figure has two forms. Wall time is what a person waits; on a shared machine it is noisy.
//! Processor time is that of the whole group: daemon, clients, shims and containers run below one
//! cgroup whose `cpuacct.usage` is read before and after. It is stable.

#![forbid(unsafe_code)]

mod engine;
mod group;
mod runc;
mod table;

use std::time::Instant;

use anyhow::Result;

use crate::{engine::Engine, group::Group, runc::Runc, table::Table};

/// Operations measured one after the other.
const SINGLE: usize = 30;
/// Operations at once.
const CROWD: usize = 100;

/// What one operation cost, in milliseconds.
#[derive(Clone, Copy)]
pub struct Cost {
    /// From the start of the client to its end.
    pub wall: f64,
    /// Processor time of the whole group.
    pub cpu: f64,
}

/// Runs `operation`, measuring it.
pub fn measure(group: &Group, operation: impl FnOnce() -> Result<()>) -> Result<Cost> {
    let before = group.usage()?;
    let began = Instant::now();
    operation()?;
    let wall = began.elapsed().as_secs_f64() * 1e3;
    Ok(Cost { wall, cpu: (group.usage()? - before) as f64 / 1e6 })
}

fn main() -> Result<()> {
    let group = Group::new("isula-bench")?;
    group.join()?;
    let engine = Engine::start(&group)?;
    let runc = Runc::new(&group, engine.rootfs())?;
    let mut table = Table::default();

    for round in 0..SINGLE {
        let name = format!("s{round}");
        for (row, cost) in engine.life(&group, &name)? {
            table.add(row, "isula", cost);
        }
        for (row, cost) in runc.life(&group, &name)? {
            table.add(row, "runc", cost);
        }
    }
    for (row, cost) in engine.crowd(&group, CROWD)? {
        table.add(row, "isula", cost);
    }
    for (row, cost) in runc.crowd(&group, CROWD)? {
        table.add(row, "runc", cost);
    }
    println!("{table}");
    println!("{}", engine.memory(&[0, 10, 100])?);
    Ok(())
}
