//! Measures the engine beside its peers, interleaved, in one run: `make bench`.
//!
//! Every engine runs in a mount and a network namespace of its own, with roots of its own, below a
//! cgroup of its own. Every figure of time has two forms. Wall time is what a person waits; on a
//! shared machine it is noisy. Processor time is that of the whole group: daemons, clients,
//! helpers and containers, by the `cpuacct.usage` of their cgroup. It is stable.

#![forbid(unsafe_code)]

mod engines;
mod group;
mod measure;
mod op;
mod options;
mod parts;
mod place;
mod report;

use std::process::ExitCode;

use anyhow::Result;

use crate::{group::Group, options::Options, parts::Bench, place::Home, report::Report};

fn main() -> ExitCode {
    match run() {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// False if a figure of ours could not be had.
fn run() -> Result<bool> {
    let mut arguments = std::env::args().skip(1);
    if std::env::args().nth(1).as_deref() == Some(group::SWEEP) {
        return group::sweep_after(&arguments.nth(1).unwrap_or_default()).map(|()| true);
    }
    let options = Options::parse(arguments)?;
    if !options.merge.is_empty() {
        let mut report = Report::default();
        options.merge.iter().try_for_each(|file| report.merge(file))?;
        parts::ratios(&mut report);
        report.arrange();
        return report.write(&options.output).map(|()| true);
    }
    let home = Home::new(Group::new()?)?;
    let engines = engines::start(&home, &options.engines)?;
    let mut report = Report::default();
    for engine in &engines {
        report.versions.push((engine.name().to_owned(), engine.version()?));
    }
    home.enter()?;
    let mut bench = Bench { home, engines, options, report };
    let result = parts::run(&mut bench);
    bench.home.enter()?;
    let Bench { home, engines, options, report } = bench;
    for engine in engines {
        // From inside, so that what is mounted there is not in the way.
        drop(engine);
    }
    home.enter()?;
    result?;
    println!("{}", report.markdown());
    println!("Written to {}: bench.md, bench.json, bench.svg", options.output.display());
    Ok(!report.failed)
}
