//! Platforms: what an image was built for, and which of several images this machine runs best.

use isula_core::error::{ErrorKind, PortError};
use serde::{Deserialize, Serialize};

/// Operating system, architecture and variant as Go names them (image-spec image-index.md).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Platform {
    /// `linux`.
    #[serde(default)]
    pub os: String,
    /// `amd64`.
    #[serde(default)]
    pub architecture: String,
    /// `v8`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub variant: Option<String>,
}

impl Platform {
    /// This machine's.
    #[must_use]
    pub fn host() -> Self {
        normal("linux", std::env::consts::ARCH, None)
    }

    /// Reads `os/arch[/variant]`, or an architecture alone; other spellings (`x86_64`,
    /// `aarch64`) are understood.
    ///
    /// # Errors
    /// `InvalidInput` names the text.
    pub fn parse(text: &str) -> Result<Self, PortError> {
        let parts: Vec<&str> = text.split('/').collect();
        let word = |part: &&str| {
            !part.is_empty()
                && part.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-.".contains(&b))
        };
        if !parts.iter().all(word) {
            return Err(invalid(text));
        }
        match parts.as_slice() {
            ["linux"] => Ok(Self::host()),
            [architecture] => Ok(normal("linux", architecture, None)),
            [os, architecture] => Ok(normal(os, architecture, None)),
            [os, architecture, variant] => Ok(normal(os, architecture, Some(variant))),
            _ => Err(invalid(text)),
        }
    }

    /// How well this platform can run what was built for `offered`: 0 is best, `None` not at all.
    #[must_use]
    pub fn rank(&self, offered: &Self) -> Option<usize> {
        let offered = normal(&offered.os, &offered.architecture, offered.variant.as_deref());
        let wanted = normal(&self.os, &self.architecture, self.variant.as_deref());
        if wanted.os != offered.os {
            return None;
        }
        wanted.runs().iter().position(|(architecture, variant)| {
            offered.architecture == *architecture && offered.variant == *variant
        })
    }

    /// What a machine of this platform runs, best first: later variants run earlier ones, and
    /// 64-bit ARM runs 32-bit ARM.
    fn runs(&self) -> Vec<(&str, Option<String>)> {
        let level = |variant: &str| variant.strip_prefix('v').and_then(|n| n.parse::<u8>().ok());
        let own = self.variant.as_deref().and_then(level);
        let down = |architecture, from: u8, to: u8| {
            (to..=from).rev().map(move |n| (architecture, Some(format!("v{n}"))))
        };
        match (self.architecture.as_str(), own) {
            ("amd64", Some(n @ 2..=9)) => down("amd64", n, 2).chain([("amd64", None)]).collect(),
            ("arm", Some(n @ 5..=9)) => down("arm", n, 5).collect(),
            ("arm64", None) => [("arm64", None)].into_iter().chain(down("arm", 8, 5)).collect(),
            ("arm64", Some(n @ 9)) => {
                down("arm64", n, 9).chain([("arm64", None)]).chain(down("arm", 8, 5)).collect()
            }
            (architecture, _) => vec![(architecture, self.variant.clone())],
        }
    }
}

impl std::fmt::Display for Platform {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{}/{}", self.os, self.architecture)?;
        match &self.variant {
            Some(variant) => write!(formatter, "/{variant}"),
            None => Ok(()),
        }
    }
}

/// The item that `wanted` runs best; the first of equals. Items without a platform never match.
pub fn choose<'a, T>(
    wanted: &Platform,
    items: &'a [T],
    platform: impl Fn(&T) -> Option<&Platform>,
) -> Option<&'a T> {
    let ranked = items.iter().filter_map(|item| Some((wanted.rank(platform(item)?)?, item)));
    ranked.min_by_key(|(rank, _)| *rank).map(|(_, item)| item)
}

/// One spelling for each platform: variants that every machine of the architecture has are left
/// out, as `amd64/v1` and `arm64/v8`; 32-bit ARM is `v7` where nothing is said.
fn normal(os: &str, architecture: &str, variant: Option<&str>) -> Platform {
    let lower = |text: &str| text.to_ascii_lowercase();
    let (architecture, variant) = (lower(architecture), variant.map(lower));
    let variant = variant.filter(|variant| !variant.is_empty());
    let (architecture, variant) = match (architecture.as_str(), variant.as_deref()) {
        ("x86_64" | "x86-64" | "amd64", None | Some("v1")) => ("amd64", None),
        ("x86_64" | "x86-64" | "amd64", Some(variant)) => ("amd64", Some(variant)),
        ("aarch64" | "arm64", None | Some("8" | "v8")) => ("arm64", None),
        ("aarch64" | "arm64", Some(variant)) => ("arm64", Some(variant)),
        ("armhf", _) | ("arm", None | Some("7")) => ("arm", Some("v7")),
        ("armel", _) | ("arm", Some("6")) => ("arm", Some("v6")),
        ("arm", Some("5")) => ("arm", Some("v5")),
        ("arm", Some("8")) => ("arm", Some("v8")),
        ("i386" | "i686" | "x86" | "386", _) => ("386", None),
        ("powerpc64le" | "powerpc64", variant) => ("ppc64le", variant),
        (architecture, variant) => (architecture, variant),
    };
    Platform {
        os: lower(os),
        architecture: architecture.to_owned(),
        variant: variant.map(str::to_owned),
    }
}

fn invalid(text: &str) -> PortError {
    PortError::new(
        ErrorKind::InvalidInput,
        format!("invalid platform {text:?}: it must be os/arch[/variant]"),
    )
}

#[cfg(test)]
mod tests {
    use super::{Platform, choose};

    #[test]
    fn the_best_platform_that_the_machine_runs_is_chosen() {
        for (wanted, offered, best) in [
            ("linux/amd64", "linux/arm64 linux/amd64 linux/amd64/v2", Some("linux/amd64")),
            ("linux/amd64/v3", "linux/amd64 linux/amd64/v2 linux/amd64/v4", Some("linux/amd64/v2")),
            ("x86_64", "linux/amd64/v1", Some("linux/amd64/v1")),
            ("linux/arm64", "linux/arm/v7 linux/arm64/v8", Some("linux/arm64/v8")),
            ("linux/arm64", "linux/arm/v6 linux/arm/v7", Some("linux/arm/v7")),
            ("linux/arm", "linux/arm/v8 linux/arm/v6", Some("linux/arm/v6")),
            ("linux/amd64", "windows/amd64 linux/s390x unknown/unknown", None),
            ("linux/riscv64", "linux/riscv64", Some("linux/riscv64")),
        ] {
            let offered: Vec<_> = offered
                .split(' ')
                .map(|text| {
                    let mut parts = text.split('/').map(str::to_owned);
                    (
                        text,
                        Platform {
                            os: parts.next().unwrap(),
                            architecture: parts.next().unwrap(),
                            variant: parts.next(),
                        },
                    )
                })
                .collect();
            let wanted = Platform::parse(wanted).unwrap();
            let chosen = choose(&wanted, &offered, |(_, platform)| Some(platform));
            assert_eq!(chosen.map(|(text, _)| *text), best, "{wanted}");
        }
        for bad in ["", "linux/", "a/b/c/d", "li nux/amd64"] {
            assert!(Platform::parse(bad).is_err(), "{bad}");
        }
    }
}
