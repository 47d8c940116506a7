//! `isula system df`: how much room everything takes.

use isula_api::v1::{ContainerUsage, DiskUsageRequest, DiskUsageResponse, ImageUsage};
use jiff::Timestamp;

use super::{Command, Context};
use crate::error::{Failure, Outcome};
use crate::flags::{Arguments, Flag, Syntax};
use crate::json::Value;
use crate::output::{self, age, rows, rows::Titles, size};

/// The command.
pub static COMMAND: Command = Command {
    syntax: Syntax {
        name: "system df",
        usage: "[OPTIONS]",
        about: "Show disk usage",
        flags: &[&[
            Flag::value("format", None, "template", "Go template, \"table ...\" or \"json\""),
            Flag::switch("verbose", Some('v'), "Show each image, container and volume"),
        ]],
        least: 0,
        most: 0,
        stops_at_argument: false,
    },
    runs_process: false,
    run: |context, arguments| Box::pin(run(context, arguments)),
};

const TABLE: &str = "table {{.Type}}\t{{.TotalCount}}\t{{.Active}}\t{{.Size}}\t{{.Reclaimable}}";
const IMAGES: &str = "table {{.Repository}}\t{{.Tag}}\t{{.ID}}\t{{.CreatedSince}}\t{{.Size}}\t\
                      {{.SharedSize}}\t{{.UniqueSize}}\t{{.Containers}}";
const CONTAINERS: &str = "table {{.ID}}\t{{.Image}}\t{{.Command}}\t{{.LocalVolumes}}\t{{.Size}}\t\
                          {{.CreatedSince}}\t{{.Status}}\t{{.Names}}";
const VOLUMES: &str = "table {{.Name}}\t{{.Links}}\t{{.Size}}";

const TITLES: Titles = &[
    ("Active", "ACTIVE"),
    ("Command", "COMMAND"),
    ("Containers", "CONTAINERS"),
    ("CreatedSince", "CREATED"),
    ("ID", "ID"),
    ("Image", "IMAGE"),
    ("Links", "LINKS"),
    ("LocalVolumes", "LOCAL VOLUMES"),
    ("Name", "VOLUME NAME"),
    ("Names", "NAMES"),
    ("Reclaimable", "RECLAIMABLE"),
    ("Repository", "REPOSITORY"),
    ("SharedSize", "SHARED SIZE"),
    ("Size", "SIZE"),
    ("Status", "STATUS"),
    ("Tag", "TAG"),
    ("TotalCount", "TOTAL"),
    ("Type", "TYPE"),
    ("UniqueSize", "UNIQUE SIZE"),
];

async fn run(context: &Context, arguments: &Arguments) -> Outcome {
    let client = context.client().await?;
    let usage = client.storage().disk_usage(DiskUsageRequest {}).await?.into_inner();
    match (arguments.on("verbose"), arguments.text("format")) {
        (true, Some(_)) => return Err(arguments.fault("--verbose has no --format")),
        (true, None) => output::print(&verbose(&usage)?)?,
        (false, format) => {
            output::print(&rows::render(format.unwrap_or(TABLE), TITLES, &summary(&usage))?)?;
        }
    }
    Ok(0)
}

fn summary(usage: &DiskUsageResponse) -> [Value; 3] {
    let row = |kind: &str, (total, active): (usize, usize), (bytes, free): (u64, u64)| {
        let share = free.saturating_mul(100).checked_div(bytes).unwrap_or(0);
        let free = match bytes {
            0 => size::human(free),
            _ => format!("{} ({share}%)", size::human(free)),
        };
        Value::map([
            ("Active", active.to_string().into()),
            ("Reclaimable", free.into()),
            ("Size", size::human(bytes).into()),
            ("TotalCount", total.to_string().into()),
            ("Type", kind.into()),
        ])
    };
    let used = usage.images.iter().filter(|image| image.containers > 0).count();
    let runs = |one: &&ContainerUsage| {
        matches!(one.state.as_str(), "running" | "paused" | "restarting" | "starting")
    };
    let stopped = usage.containers.iter().filter(|one| !runs(one)).map(|one| one.size).sum();
    let containers = usage.containers.iter().map(|one| one.size).sum();
    let linked = usage.volumes.iter().filter(|volume| volume.containers > 0).count();
    let unlinked = usage.volumes.iter().filter(|volume| volume.containers == 0);
    let unlinked = unlinked.map(|volume| volume.size).sum();
    let volumes = usage.volumes.iter().map(|volume| volume.size).sum();
    let running = usage.containers.iter().filter(runs).count();
    [
        row("Images", (usage.images.len(), used), (usage.layers_size, usage.reclaimable)),
        row("Containers", (usage.containers.len(), running), (containers, stopped)),
        row("Local Volumes", (usage.volumes.len(), linked), (volumes, unlinked)),
    ]
}

fn verbose(usage: &DiskUsageResponse) -> Result<String, Failure> {
    let now = i64::try_from(Timestamp::now().as_nanosecond()).unwrap_or(i64::MAX);
    let images: Vec<Value> = usage.images.iter().map(|image| image_row(image, now)).collect();
    let containers = usage.containers.iter().map(|one| {
        Value::map([
            ("Command", one.command.as_str().into()),
            ("CreatedSince", age::ago(one.created_ns, now).into()),
            ("ID", output::short(&one.id).into()),
            ("Image", one.image.as_str().into()),
            ("LocalVolumes", i64::from(one.volumes).into()),
            ("Names", one.name.as_str().into()),
            ("Size", size::human(one.size).into()),
            ("Status", one.state.as_str().into()),
        ])
    });
    let volumes = usage.volumes.iter().map(|volume| {
        Value::map([
            ("Links", Value::from(i64::from(volume.containers))),
            ("Name", volume.name.as_str().into()),
            ("Size", size::human(volume.size).into()),
        ])
    });
    Ok(format!(
        "Images space usage:\n\n{}\nContainers space usage:\n\n{}\nLocal Volumes space usage:\n\n{}",
        rows::render(IMAGES, TITLES, &images)?,
        rows::render(CONTAINERS, TITLES, &containers.collect::<Vec<_>>())?,
        rows::render(VOLUMES, TITLES, &volumes.collect::<Vec<_>>())?,
    ))
}

fn image_row(image: &ImageUsage, now: i64) -> Value {
    let name = image.tags.first().map_or("<none>:<none>", String::as_str);
    let (repository, tag) = name.rsplit_once(':').unwrap_or((name, "<none>"));
    Value::map([
        ("Containers", i64::from(image.containers).into()),
        ("CreatedSince", age::ago(image.created_ns, now).into()),
        ("ID", output::short(&image.id).into()),
        ("Repository", repository.into()),
        ("SharedSize", size::human(image.shared).into()),
        ("Size", size::human(image.size).into()),
        ("Tag", tag.into()),
        ("UniqueSize", size::human(image.size.saturating_sub(image.shared)).into()),
    ])
}

#[cfg(test)]
mod tests {
    use isula_api::v1::{ContainerUsage, DiskUsageResponse, ImageUsage, VolumeUsage};

    use super::*;

    #[test]
    fn what_nobody_uses_is_reclaimable() {
        let usage = DiskUsageResponse {
            images: vec![
                ImageUsage { containers: 1, size: 3000, ..Default::default() },
                ImageUsage { size: 2000, ..Default::default() },
            ],
            containers: vec![
                ContainerUsage { state: "running".to_owned(), size: 30, ..Default::default() },
                ContainerUsage { state: "exited".to_owned(), size: 10, ..Default::default() },
            ],
            volumes: vec![VolumeUsage::default()],
            layers_size: 4000,
            reclaimable: 1000,
        };
        let expected = "\
TYPE            TOTAL     ACTIVE    SIZE      RECLAIMABLE
Images          2         1         4kB       1kB (25%)
Containers      2         1         40B       10B (25%)
Local Volumes   1         0         0B        0B
";
        assert_eq!(rows::render(TABLE, TITLES, &summary(&usage)).unwrap(), expected);
        let all = verbose(&usage).unwrap();
        assert!(all.contains("<none>") && all.contains("Containers space usage:"), "{all}");
    }
}
