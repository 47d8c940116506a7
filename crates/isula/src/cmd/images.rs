//! `isula images`: the list of images.

use isula_api::v1::{ImageSummary, ListImagesRequest};
use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::ps::date;
use super::{Command, Context};
use crate::error::Outcome;
use crate::flags::{Arguments, Flag, Syntax};
use crate::json::Value;
use crate::output::{self, age, rows, rows::Titles, size};

/// The command.
pub static COMMAND: Command = Command {
    syntax: Syntax {
        name: "images",
        usage: "[OPTIONS] [REPOSITORY[:TAG]]",
        about: "List images",
        flags: &[&[
            Flag::switch("all", Some('a'), "As without: there are no intermediate images"),
            Flag::switch("digests", None, "Show digests"),
            Flag::list("filter", Some('f'), "key=value", "Only those that fit"),
            Flag::value("format", None, "template", "Go template, \"table ...\" or \"json\""),
            Flag::switch("no-trunc", None, "Do not shorten"),
            Flag::switch("quiet", Some('q'), "Only the ids"),
            Flag::unsupported("tree", None),
        ]],
        least: 0,
        most: 1,
        stops_at_argument: false,
    },
    runs_process: false,
    run: |context, arguments| Box::pin(run(context, arguments)),
};

const TABLE: &str = "table {{.Repository}}\t{{.Tag}}\t{{.ID}}\t{{.CreatedSince}}\t{{.Size}}";
const TABLE_WITH_DIGESTS: &str =
    "table {{.Repository}}\t{{.Tag}}\t{{.Digest}}\t{{.ID}}\t{{.CreatedSince}}\t{{.Size}}";

const TITLES: Titles = &[
    ("CreatedAt", "CREATED AT"),
    ("CreatedSince", "CREATED"),
    ("Digest", "DIGEST"),
    ("ID", "IMAGE ID"),
    ("Repository", "REPOSITORY"),
    ("Size", "SIZE"),
    ("Tag", "TAG"),
];

const NONE: &str = "<none>";

async fn run(context: &Context, arguments: &Arguments) -> Outcome {
    let mut filters = arguments.each("filter", super::prune::filter)?;
    filters.extend(arguments.rest.first().map(|name| format!("reference={name}")));
    let request = ListImagesRequest { filters };
    let answer = context.client().await?.images().list_images(request).await?.into_inner();
    let digests = arguments.on("digests");
    let format = match arguments.text("format") {
        Some(format) => format,
        None if arguments.on("quiet") => "{{.ID}}",
        None if digests => TABLE_WITH_DIGESTS,
        None => TABLE,
    };
    let now = i64::try_from(Timestamp::now().as_nanosecond()).unwrap_or(i64::MAX);
    let zone = output::zone::local();
    let each_digest = digests || format.contains(".Digest");
    let mut list = Vec::new();
    for image in &answer.images {
        for name in names_of(image, each_digest) {
            list.push(row(image, &name, arguments.on("no-trunc"), now, &zone));
        }
    }
    output::print(&rows::render(format, TITLES, &list)?)?;
    Ok(0)
}

/// One way to name an image.
#[derive(Debug, PartialEq, Eq)]
struct Name {
    repository: String,
    tag: String,
    digest: String,
}

/// A line for each tag, and if digests are shown for each digest of the tag's repository; images
/// without a tag have a line too.
fn names_of(image: &ImageSummary, each_digest: bool) -> Vec<Name> {
    let digests: Vec<(&str, &str)> =
        image.digests.iter().filter_map(|digest| digest.split_once('@')).collect();
    let name = |repository: &str, tag: &str, digest: &str| Name {
        repository: repository.to_owned(),
        tag: tag.to_owned(),
        digest: digest.to_owned(),
    };
    let mut names = Vec::new();
    for reference in &image.tags {
        let (repository, tag) = split(reference);
        let mut of_repository = digests.iter().filter(|(other, _)| *other == repository).peekable();
        if !each_digest || of_repository.peek().is_none() {
            names.push(name(repository, tag, NONE));
        } else {
            names.extend(of_repository.map(|(_, digest)| name(repository, tag, digest)));
        }
    }
    if names.is_empty() {
        match each_digest {
            true => names.extend(digests.iter().map(|(from, digest)| name(from, NONE, digest))),
            false => names.extend(digests.first().map(|(from, _)| name(from, NONE, NONE))),
        }
    }
    if names.is_empty() {
        names.push(name(NONE, NONE, NONE));
    }
    names
}

/// The colon before a port is no tag's.
fn split(reference: &str) -> (&str, &str) {
    match reference.rsplit_once(':') {
        Some((repository, tag)) if !tag.contains('/') => (repository, tag),
        _ => (reference, NONE),
    }
}

fn row(image: &ImageSummary, name: &Name, whole: bool, now: i64, zone: &TimeZone) -> Value {
    let hex = image.id.strip_prefix("sha256:").unwrap_or(&image.id);
    let id = if whole { format!("sha256:{hex}") } else { output::short(hex).to_owned() };
    Value::map([
        ("CreatedAt", date(image.created_ns, zone).into()),
        ("CreatedSince", age::ago(image.created_ns, now).into()),
        ("Digest", name.digest.as_str().into()),
        ("ID", id.into()),
        ("Repository", name.repository.as_str().into()),
        ("Size", size::human(image.size).into()),
        ("Tag", name.tag.as_str().into()),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(format: &str, whole: bool, each_digest: bool) -> String {
        let hex = "8c788f4bfb7290e434b2384340a5f9811db6ed302f9247c5fc095d6ec4fc8f32";
        let image = ImageSummary {
            id: hex.to_owned(),
            tags: vec!["openeuler/openeuler:20.09".to_owned(), "localhost:5000/x:1".to_owned()],
            digests: vec!["openeuler/openeuler@sha256:aa".to_owned()],
            created_ns: 1,
            size: 498_000_000,
            ..ImageSummary::default()
        };
        let bare = ImageSummary { id: hex.to_owned(), created_ns: 1, ..ImageSummary::default() };
        let mut rows = Vec::new();
        for image in [image, bare] {
            for name in names_of(&image, each_digest) {
                rows.push(row(&image, &name, whole, 7_200_000_000_001, &TimeZone::UTC));
            }
        }
        rows::render(format, TITLES, &rows).unwrap()
    }

    #[test]
    fn each_tag_is_a_line() {
        let expected = "\
REPOSITORY            TAG       IMAGE ID       CREATED       SIZE
openeuler/openeuler   20.09     8c788f4bfb72   2 hours ago   498MB
localhost:5000/x      1         8c788f4bfb72   2 hours ago   498MB
<none>                <none>    8c788f4bfb72   2 hours ago   0B
";
        assert_eq!(list(TABLE, false, false), expected);
    }

    #[test]
    fn digests_belong_to_their_repository() {
        let found = list("{{.Repository}} {{.Tag}} {{.Digest}}", true, true);
        let expected = "openeuler/openeuler 20.09 sha256:aa\nlocalhost:5000/x 1 <none>\n<none> <none> <none>\n";
        assert_eq!(found, expected);
        assert!(list("{{.ID}}", true, false).starts_with("sha256:8c788f4bfb7290e4"));
    }

    #[test]
    fn an_untagged_image_keeps_the_repository_of_its_digest() {
        let image = ImageSummary { digests: vec!["a/b@sha256:x".to_owned()], ..Default::default() };
        let named = |digest: &str| Name {
            repository: "a/b".to_owned(),
            tag: NONE.to_owned(),
            digest: digest.to_owned(),
        };
        assert_eq!(names_of(&image, false), [named(NONE)]);
        assert_eq!(names_of(&image, true), [named("sha256:x")]);
    }
}
