//! `isula image prune`: removes images that nobody uses.

use isula_api::v1::PruneImagesRequest;
use jiff::Timestamp;

use super::confirm::confirm;
use super::{Command, Context};
use crate::error::Outcome;
use crate::flags::{Arguments, Flag, Syntax};
use crate::output::{self, size};
use crate::parse::{names, time};

/// The command.
pub static IMAGES: Command = Command {
    syntax: Syntax {
        name: "image prune",
        usage: "[OPTIONS]",
        about: "Remove unused images",
        flags: &[&[
            Flag::switch("all", Some('a'), "All that no container uses, not only nameless ones"),
            Flag::list("filter", None, "key=value", "Only those that fit (until, label, label!)"),
            Flag::switch("force", Some('f'), "Do not ask"),
        ]],
        least: 0,
        most: 0,
        stops_at_argument: false,
    },
    runs_process: false,
    run: |context, arguments| Box::pin(run(context, arguments)),
};

async fn run(context: &Context, arguments: &Arguments) -> Outcome {
    let all = arguments.on("all");
    let filters = arguments.each("filter", filter)?;
    let warning = match all {
        true => {
            "WARNING! This will remove all images without at least one container associated to them."
        }
        false => "WARNING! This will remove all dangling images.",
    };
    if !arguments.on("force") && !confirm(warning)? {
        return Ok(0);
    }
    let request = PruneImagesRequest { all, filters };
    let pruned = context.client().await?.storage().prune_images(request).await?.into_inner();
    let mut text = String::new();
    if !pruned.untagged.is_empty() || !pruned.deleted.is_empty() {
        text.push_str("Deleted Images:\n");
        pruned.untagged.iter().for_each(|name| text.push_str(&format!("untagged: {name}\n")));
        pruned.deleted.iter().for_each(|id| text.push_str(&format!("deleted: {id}\n")));
        text.push('\n');
    }
    text.push_str(&format!("Total reclaimed space: {}\n", size::human(pruned.reclaimed)));
    output::print(&text)?;
    Ok(0)
}

/// `until` may be a time or a duration before now; the daemon wants seconds since 1970.
pub(super) fn filter(text: &str) -> Result<String, String> {
    let filter = names::filter(text)?;
    match filter.strip_prefix("until=") {
        None => Ok(filter),
        Some(when) => {
            let nanoseconds = time::nanoseconds(when, Timestamp::now(), &output::zone::local())?;
            let (whole, part) = (nanoseconds / 1_000_000_000, nanoseconds % 1_000_000_000);
            Ok(format!("until={whole}.{:09}", part.abs()))
        }
    }
}
