//! The parts of the comparison, each of which fills its own tables.

mod counts;
mod crowd;
mod daemon;
mod floor;
mod images;
mod pictures;
mod scale;
mod single;
mod sizes;

pub use floor::ratios;

use anyhow::Result;

use crate::{engines::Engine, options::Options, place::Home, report::Report};

/// What every part works on.
pub struct Bench {
    /// The host.
    pub home: Home,
    /// The engines, all running.
    pub engines: Vec<Box<dyn Engine>>,
    /// What is asked for.
    pub options: Options,
    /// What was found.
    pub report: Report,
}

/// Measures the parts that are asked for, in their order.
pub fn run(bench: &mut Bench) -> Result<()> {
    type Part = fn(&mut Bench) -> Result<()>;
    let parts: [(&str, Part); 8] = [
        ("single", single::run),
        ("crowd", crowd::run),
        ("floor", floor::run),
        ("scale", scale::run),
        ("images", images::run),
        ("daemon", daemon::run),
        ("counts", counts::run),
        ("sizes", sizes::run),
    ];
    for (name, part) in parts {
        if bench.options.wants(name) {
            eprintln!("bench: {name}");
            part(bench)?;
            bench.home.enter()?;
            // What was measured so far is not lost with what comes.
            bench.report.write(&bench.options.output)?;
        }
    }
    Ok(())
}
