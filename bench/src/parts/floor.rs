//! How far above the kernel's own floor each engine is.

use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use isula_tests::{images, programs::program};
use serde_json::Value;

use super::Bench;
use crate::{
    measure::Cost,
    place::{Home, Host, Place},
    report::Report,
};

/// What is compared: the floor's own row, and the row of an engine in another part.
const ROWS: [(&str, &str, (&str, &str)); 8] = [
    ("create", "create, one", ("single", "create")),
    ("rm", "rm, one", ("single", "rm")),
    ("start", "start, one", ("single", "start")),
    ("life", "whole life, one", ("single", "run --rm")),
    ("start", "start, 100 at once", ("crowd", "start")),
    ("life", "whole life, 100 at once", ("crowd", "run --rm")),
    ("asked", "start by a client, one", ("single", "start")),
    ("asked", "start by a client, 100 at once", ("crowd", "start")),
];

/// A place in which the floor is measured.
pub struct Floor(Place);

impl Floor {
    /// Makes it.
    pub fn new(home: &Home) -> Result<Self> {
        let place = home.place("floor", Host::AsIs)?;
        images::busybox_rootfs(place.path("rootfs").as_ref())?;
        Ok(Self(place))
    }

    /// One turn among those of the engines, with caches as they leave them. As theirs it begins with
    /// something that is not what is compared.
    pub fn turn(&self, report: &mut Report) -> Result<()> {
        self.0.enter()?;
        measure(&self.0, 1, (&[], &["/bin/true"]))?;
        self.round(1, report)
    }

    /// Starts and lives of so many at once.
    fn round(&self, count: usize, report: &mut Report) -> Result<()> {
        let row = |kind: &str| {
            let shown = if count == 1 { "one" } else { "100 at once" };
            let found = ROWS.iter().find(|row| row.0 == kind && row.1.ends_with(shown));
            found.map_or("", |row| row.1)
        };
        // A start is that of a program that stays; a whole life that of one that ends.
        let sleeper = ["--kill", "/bin/sleep", "1000"];
        let (start, _) = measure(&self.0, count, (&[], &sleeper))?;
        report.time(("floor", row("start")), "floor", start);
        let (asked, _) = measure(&self.0, count, (&["--asked"], &sleeper))?;
        report.time(("floor", row("asked")), "floor", asked);
        let (_, life) = measure(&self.0, count, (&[], &["/bin/true"]))?;
        report.time(("floor", row("life")), "floor", life);
        Ok(())
    }
}

/// Measures the floor, but for what had its turns among the engines, then puts beside it what the
/// parts before have found.
pub fn run(bench: &mut Bench) -> Result<()> {
    let floor = Floor::new(&bench.home)?;
    floor.0.enter()?;
    let Bench { options, report, .. } = bench;
    if !options.wants("single") {
        for _ in 0..options.single {
            floor.round(1, report)?;
        }
    }
    for _ in 0..options.crowd.0 {
        floor.round(options.clients, report)?;
    }
    for _ in 0..options.single {
        let (create, remove) = record(&floor.0)?;
        report.time(("floor", "create, one"), "floor", create);
        report.time(("floor", "rm, one"), "floor", remove);
    }
    ratios(report);
    Ok(())
}

/// The costs of what `create` and `rm` do to the disk.
fn record(place: &Place) -> Result<(Cost, Cost)> {
    let output = Command::new(program("isula-floor")?)
        .args(["--record".to_owned(), place.path("records"), place.account().containers()])
        .arg("1")
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()?;
    ensure!(output.status.success(), "isula-floor: {}", output.status);
    read(&output.stdout, ["create", "rm"])
}

fn read(text: &[u8], [one, two]: [&str; 2]) -> Result<(Cost, Cost)> {
    let found: Value = serde_json::from_slice(text)?;
    let number = |name: &str| found.get(name).and_then(Value::as_f64).context("no figure");
    let cost = |name: &str| -> Result<Cost> {
        Ok(Cost { wall: number(name)?, cpu: number(&format!("{name}_cpu"))? })
    };
    Ok((cost(one)?, cost(two)?))
}

/// The costs until all programs are reached, and until all is gone.
fn measure(
    place: &Place,
    count: usize,
    (flags, program_arguments): (&[&str], &[&str]),
) -> Result<(Cost, Cost)> {
    let output = Command::new(program("isula-floor")?)
        .args(flags)
        .args([place.path("rootfs"), place.path("work"), place.account().containers()])
        .arg(count.to_string())
        .args(program_arguments)
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()?;
    ensure!(output.status.success(), "isula-floor: {}", output.status);
    read(&output.stdout, ["start", "life"])
}

/// Rows that say how many times the floor each engine takes.
pub fn ratios(report: &mut Report) {
    let mut found = Vec::new();
    for (_, name, (part, row)) in ROWS {
        let cells = |part: &str, row: &str| {
            report.rows.iter().find(|one| one.part == part && one.name == row).map(|one| &one.cells)
        };
        let floor = cells("floor", name).and_then(|cells| cells.get("floor")?.times());
        let (Some(floor), Some(engines)) = (floor, cells(part, row)) else { continue };
        for (engine, figure) in engines {
            let Some(cost) = figure.times() else { continue };
            found.push((format!("{name}: wall"), engine.clone(), cost.wall / floor.wall));
            found.push((format!("{name}: processor"), engine.clone(), cost.cpu / floor.cpu));
        }
    }
    for (row, engine, ratio) in found {
        report.number(("floor", &row), &engine, (ratio, "x"));
    }
}
