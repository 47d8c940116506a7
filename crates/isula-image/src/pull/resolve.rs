//! From a reference to the one manifest for a platform.

use isula_core::{
    error::{ErrorKind, PortError},
    image::{Digest, ImageConfig, Reference},
};

use super::naming;
use crate::{
    error::corrupt,
    manifest::{DESCRIPTOR_LIMIT, DOCUMENT_LIMIT, Descriptor, Document, Index, Manifest},
    platform::{self, Platform},
    registry::{Fetched, Session},
};

/// How deep indexes may lie in indexes.
const DEPTH_LIMIT: usize = 4;
/// Platforms that an error lists.
const LISTED: usize = 12;

/// What was found.
pub(super) struct Resolved {
    /// The manifest and the indexes that led to it, as they came, outermost first.
    pub(super) documents: Vec<Vec<u8>>,
    /// The digest of the outermost.
    pub(super) digest: Digest,
    pub(super) manifest: Manifest,
}

/// The platforms that will do, best first.
pub(super) struct Wanted {
    platforms: Vec<Platform>,
    is_explicit: bool,
}

impl Wanted {
    /// What was asked for, or what this machine runs.
    pub(super) fn new(asked: Option<&str>) -> Result<Self, PortError> {
        if let Some(asked) = asked {
            return Ok(Self { platforms: vec![Platform::parse(asked)?], is_explicit: true });
        }
        let mut platforms = vec![Platform::host()];
        if cfg!(target_arch = "x86_64") {
            // The plain architecture comes first, as Docker chooses; a level that the processor
            // has is taken when the index offers nothing else.
            let level = processor_level();
            if level > 1 {
                platforms.push(Platform::parse(&format!("linux/amd64/v{level}"))?);
            }
            platforms.push(Platform::parse("linux/386")?);
        }
        Ok(Self { platforms, is_explicit: false })
    }

    /// The entry that fits best; one without a platform only if no other does.
    fn choose<'a>(&self, index: &'a Index) -> Option<&'a Descriptor> {
        let entries = &index.manifests;
        let by_platform = |wanted| {
            platform::choose(wanted, entries, |entry: &Descriptor| entry.platform.as_ref())
        };
        let chosen = self.platforms.iter().find_map(by_platform);
        chosen.or_else(|| entries.iter().find(|entry| entry.platform.is_none()))
    }

    /// Compares with what the configuration says: another platform than one that was asked for
    /// is an error; another than the host's deserves a remark.
    pub(super) fn check(&self, config: &ImageConfig) -> Result<Option<String>, PortError> {
        if config.os.is_empty() || config.architecture.is_empty() {
            return Ok(None);
        }
        let (os, architecture) = (config.os.clone(), config.architecture.clone());
        let found = Platform { os, architecture, variant: config.variant.clone() };
        if self.platforms.iter().any(|wanted| wanted.rank(&found).is_some()) {
            return Ok(None);
        }
        let text = format!("the image is for {found}, not for {}", self.name());
        match self.is_explicit {
            true => Err(PortError::new(ErrorKind::NotFound, text)),
            false => Ok(Some(text)),
        }
    }

    fn name(&self) -> String {
        self.platforms.first().map(ToString::to_string).unwrap_or_default()
    }
}

/// The x86-64 micro-architecture level (psABI section 3.1.1); 1 elsewhere.
fn processor_level() -> u8 {
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::is_x86_feature_detected as has;
        let v2 = has!("cmpxchg16b") && has!("popcnt") && has!("sse4.2") && has!("ssse3");
        let v3 = v2 && has!("avx2") && has!("bmi1") && has!("bmi2") && has!("f16c");
        let v3 = v3 && has!("fma") && has!("lzcnt") && has!("movbe");
        let v4 = v3 && has!("avx512f") && has!("avx512bw") && has!("avx512cd");
        let v4 = v4 && has!("avx512dq") && has!("avx512vl");
        1 + u8::from(v2) + u8::from(v3) + u8::from(v4)
    }
    #[cfg(not(target_arch = "x86_64"))]
    1
}

/// Follows the reference to a manifest. Everything but what a tag names is verified by digest and
/// size.
pub(super) async fn resolve(
    session: &Session,
    reference: &Reference,
    wanted: &Wanted,
) -> Result<Resolved, PortError> {
    let limit = DOCUMENT_LIMIT as u64;
    let mut fetched = match (reference.digest(), reference.tag()) {
        (Some(digest), _) => session.by_digest(digest, limit).await?,
        (None, tag) => session.by_tag(tag.unwrap_or("latest"), limit).await?,
    };
    let digest = fetched.digest.clone();
    let mut announced: Option<String> = None;
    let mut documents = Vec::new();
    let mut descriptors = 1;
    for _ in 0..=DEPTH_LIMIT {
        let document = read(&fetched, announced.as_deref());
        let index = match document.map_err(|error| naming(reference, error))? {
            Document::Manifest(manifest) => {
                documents.push(fetched.bytes.to_vec());
                return Ok(Resolved { documents, digest, manifest });
            }
            Document::Index(index) => index,
        };
        documents.push(fetched.bytes.to_vec());
        let next = step(&index, wanted, &mut descriptors);
        let next = next.map_err(|error| naming(reference, error))?;
        fetched = session.by_digest(&next.digest, next.size).await?;
        if fetched.bytes.len() as u64 != next.size {
            let (found, size) = (fetched.bytes.len(), next.size);
            let text = format!("{} has {found} bytes, not {size} as its index says", next.digest);
            return Err(naming(reference, corrupt(text)));
        }
        announced = Some(next.media_type.clone());
    }
    let text = format!("the indexes of the image lie more than {DEPTH_LIMIT} deep");
    Err(naming(reference, corrupt(text)))
}

fn read(fetched: &Fetched, announced: Option<&str>) -> Result<Document, PortError> {
    let header = fetched.media_type.as_deref().filter(|header| is_telling(header));
    let document = Document::parse(&fetched.bytes, header.or(announced))?;
    let found = match &document {
        Document::Manifest(manifest) => &manifest.media_type,
        Document::Index(index) => &index.media_type,
    };
    match announced {
        Some(announced) if !announced.is_empty() && announced != found => {
            Err(corrupt(format!("the manifest was announced as {announced} but is {found}")))
        }
        _ => Ok(document),
    }
}

/// False for a `Content-Type` that registries made of plain files send, and that says nothing.
fn is_telling(header: &str) -> bool {
    let plain = header.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    let silent =
        ["application/json", "application/octet-stream", "binary/octet-stream", "text/plain"];
    !silent.contains(&plain.as_str())
}

fn step<'a>(
    index: &'a Index,
    wanted: &Wanted,
    descriptors: &mut usize,
) -> Result<&'a Descriptor, PortError> {
    *descriptors += index.manifests.len();
    if *descriptors > DESCRIPTOR_LIMIT {
        let text = format!("the indexes of the image have more than {DESCRIPTOR_LIMIT} entries");
        return Err(corrupt(text));
    }
    let next = wanted.choose(index).ok_or_else(|| nothing(index, wanted))?;
    if next.size > DOCUMENT_LIMIT as u64 {
        let text = format!("the manifest {} is larger than {DOCUMENT_LIMIT} bytes", next.digest);
        return Err(corrupt(text));
    }
    Ok(next)
}

fn nothing(index: &Index, wanted: &Wanted) -> PortError {
    let offered = index.manifests.iter().filter_map(|entry| entry.platform.as_ref());
    let offered: Vec<_> = offered.take(LISTED).map(ToString::to_string).collect();
    let text = match offered.is_empty() {
        true => format!("there is no image for {} in an empty index", wanted.name()),
        false => {
            format!("there is no image for {}, only for {}", wanted.name(), offered.join(", "))
        }
    };
    PortError::new(ErrorKind::NotFound, text)
}

#[cfg(test)]
mod tests {
    use super::{Index, Wanted, is_telling};

    fn index(platforms: &[Option<&str>]) -> Index {
        let entry = |(place, platform): (usize, &Option<&str>)| {
            let platform = platform.map_or("null".to_owned(), |text| {
                let parts: Vec<_> = text.split('/').collect();
                let variant =
                    parts.get(2).map_or(String::new(), |v| format!(r#","variant":"{v}""#));
                format!(r#"{{"os":"{}","architecture":"{}"{variant}}}"#, parts[0], parts[1])
            });
            format!(
                r#"{{"digest":"sha256:{}","size":{place},"platform":{platform}}}"#,
                "0".repeat(64)
            )
        };
        let entries: Vec<_> = platforms.iter().enumerate().map(entry).collect();
        let text = format!("[{}]", entries.join(","));
        Index { media_type: String::new(), manifests: serde_json::from_str(&text).unwrap() }
    }

    #[test]
    fn the_entry_for_the_platform_is_chosen() {
        for (asked, platforms, wanted) in [
            (Some("linux/arm64"), &[Some("linux/amd64"), Some("linux/arm64/v8")][..], Some(1)),
            (Some("linux/amd64"), &[Some("linux/386")], None),
            (Some("linux/amd64"), &[None, Some("linux/amd64")], Some(1)),
            (Some("linux/amd64"), &[Some("unknown/unknown"), None], Some(1)),
            (Some("linux/amd64"), &[], None),
            #[cfg(target_arch = "x86_64")]
            (None, &[Some("linux/386"), Some("linux/amd64/v4"), Some("linux/amd64")], Some(2)),
            #[cfg(target_arch = "x86_64")]
            (None, &[Some("linux/386"), Some("windows/amd64")], Some(0)),
        ] {
            let index = index(platforms);
            let chosen = Wanted::new(asked).unwrap().choose(&index).map(|entry| entry.size);
            assert_eq!(chosen, wanted, "{asked:?} of {platforms:?}");
        }
    }

    #[test]
    fn a_content_type_that_says_nothing_is_told() {
        assert!(!is_telling("application/json; charset=utf-8"));
        assert!(is_telling("application/vnd.oci.image.index.v1+json"));
        assert!(is_telling("image/png"));
    }
}
