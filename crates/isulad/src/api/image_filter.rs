//! Which images a list or a removal is about.

use std::sync::Arc;

use isula_core::image::{Image, ImageId, Reference};
use jiff::{SignedDuration, Timestamp};
use tonic::Status;

use super::status::{self, invalid};

/// What a listed image must be.
pub(super) enum ImageFilter {
    Dangling(bool),
    Label(String, Option<String>),
    NotLabel(String, Option<String>),
    /// Created before this.
    Until(Timestamp),
    /// Position in the list, newest first: after (older) or before (newer) it.
    Before(Vec<ImageId>),
    Since(Vec<ImageId>),
    Reference(String),
}

impl ImageFilter {
    /// Reads filters; `all` is the list that they will be applied to, newest first.
    pub(super) fn parse(
        texts: &[String],
        all: &[Arc<Image>],
        engine: &isula_engine::Engine,
    ) -> Result<Vec<Self>, Status> {
        texts.iter().map(|text| Self::parse_one(text, all, engine)).collect()
    }

    fn parse_one(
        text: &str,
        all: &[Arc<Image>],
        engine: &isula_engine::Engine,
    ) -> Result<Self, Status> {
        let (key, value) = text
            .split_once('=')
            .ok_or_else(|| invalid(format!("invalid filter {text:?}: it must be KEY=VALUE")))?;
        let position = || {
            let image = engine.find_image(value).map_err(|error| status::of(&error))?;
            let position = all.iter().position(|other| other.id == image.id);
            Ok::<_, Status>(position.unwrap_or(all.len()))
        };
        let ids = |part: &[Arc<Image>]| part.iter().map(|image| image.id.clone()).collect();
        match key {
            "dangling" => match value {
                "true" | "1" => Ok(Self::Dangling(true)),
                "false" | "0" => Ok(Self::Dangling(false)),
                _ => Err(invalid(format!("invalid filter {text:?}: it must be true or false"))),
            },
            "label" | "label!" => {
                let (name, wanted) = match value.split_once('=') {
                    Some((name, wanted)) => (name.to_owned(), Some(wanted.to_owned())),
                    None => (value.to_owned(), None),
                };
                Ok(match key {
                    "label" => Self::Label(name, wanted),
                    _ => Self::NotLabel(name, wanted),
                })
            }
            "until" => until(value)
                .map(Self::Until)
                .ok_or_else(|| invalid(format!("invalid filter {text:?}: it must be a time"))),
            "before" => {
                let older = all.get(position()?.saturating_add(1)..).unwrap_or_default();
                Ok(Self::Before(ids(older)))
            }
            "since" => Ok(Self::Since(ids(all.get(..position()?).unwrap_or_default()))),
            "reference" => Ok(Self::Reference(value.to_owned())),
            _ => Err(invalid(format!("invalid filter {text:?}: there is no such key"))),
        }
    }

    /// The names of an image that are to be listed, if it is: where patterns are given, those that
    /// fit one of them.
    pub(super) fn names<'a>(filters: &[Self], image: &'a Image) -> Option<Vec<&'a Reference>> {
        let (patterns, others): (Vec<_>, Vec<_>) =
            filters.iter().partition(|filter| matches!(filter, Self::Reference(_)));
        if !others.iter().all(|filter| filter.passes(image)) {
            return None;
        }
        if patterns.is_empty() {
            return Some(image.tags.iter().collect());
        }
        let fits = |tag: &&Reference| patterns.iter().any(|pattern| pattern.fits(tag));
        let names: Vec<_> = image.tags.iter().filter(fits).collect();
        (!names.is_empty()).then_some(names)
    }

    fn fits(&self, tag: &Reference) -> bool {
        matches!(self, Self::Reference(pattern)
            if matches(pattern, &tag.familiar()) || matches(pattern, &tag.familiar_name()))
    }

    /// Whether an image is meant.
    pub(super) fn passes(&self, image: &Image) -> bool {
        match self {
            Self::Dangling(wanted) => image.tags.is_empty() == *wanted,
            Self::Label(name, value) => has_label(image, name, value.as_deref()),
            Self::NotLabel(name, value) => !has_label(image, name, value.as_deref()),
            Self::Until(time) => image.created.is_some_and(|created| created < *time),
            Self::Before(ids) | Self::Since(ids) => ids.contains(&image.id),
            Self::Reference(_) => image.tags.iter().any(|tag| self.fits(tag)),
        }
    }
}

fn has_label(image: &Image, name: &str, value: Option<&str>) -> bool {
    image.config.labels.get(name).is_some_and(|found| value.is_none_or(|value| value == found))
}

/// Seconds since 1970, or a date and time with its zone (RFC 3339).
fn until(text: &str) -> Option<Timestamp> {
    match text.parse::<f64>() {
        Ok(seconds) => {
            let since = SignedDuration::try_from_secs_f64(seconds).ok()?;
            Timestamp::from_duration(since).ok()
        }
        Err(_) => text.parse().ok(),
    }
}

/// Shell patterns, `*` and `?`, neither of which crosses a `/` (Go's path.Match).
fn matches(pattern: &str, text: &str) -> bool {
    let (pattern, text): (Vec<char>, Vec<char>) =
        (pattern.chars().collect(), text.chars().collect());
    let (mut at, mut here) = (0, 0);
    let mut star = None;
    while let Some(character) = text.get(here) {
        match pattern.get(at) {
            Some('*') => {
                star = Some((at + 1, here));
                at += 1;
            }
            Some(wanted) if wanted == character || (*wanted == '?' && *character != '/') => {
                at += 1;
                here += 1;
            }
            _ => match star {
                Some((after, from)) if text.get(from) != Some(&'/') => {
                    star = Some((after, from + 1));
                    (at, here) = (after, from + 1);
                }
                _ => return false,
            },
        }
    }
    pattern.get(at..).unwrap_or_default().iter().all(|left| *left == '*')
}

#[cfg(test)]
mod tests {
    use super::matches;

    #[test]
    fn patterns_of_references_are_those_of_a_shell() {
        for (pattern, text, wanted) in [
            ("busybox", "busybox", true),
            ("busybox", "busybox:latest", false),
            ("busy*", "busybox", true),
            ("*box*", "busybox:1.36", true),
            ("b?sybox", "busybox", true),
            ("*", "library/busybox", false),
            ("*/*", "library/busybox", true),
            ("*:latest", "busybox:latest", true),
            ("a*b*c", "aXbYbZc", true),
            ("a*b", "acd", false),
            ("", "", true),
            ("*", "", true),
            ("?", "/", false),
        ] {
            assert_eq!(matches(pattern, text), wanted, "{pattern} {text}");
        }
    }
}
