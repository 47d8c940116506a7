//! What the fuzz targets (`fuzz/`) call, and the test that replays their corpora: each function takes
//! any bytes, and panics when a promise of the parser behind it is broken.

use std::{fs, io::BufReader, path::Path};

use isula_core::{error::PortError, image::Reference};

use crate::{
    archive::Reader,
    config, load,
    manifest::{DESCRIPTOR_LIMIT, Document, LAYER_LIMIT, OCI_INDEX, OCI_MANIFEST},
    registry::challenge,
    unpack,
};

const BLOCK: usize = 512;

/// A reference reads back as itself, and none is a path that leads anywhere.
pub fn reference(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let Ok(reference) = text.parse::<Reference>() else { return };
    for written in [reference.to_string(), reference.familiar()] {
        assert_eq!(written.parse::<Reference>().as_ref(), Ok(&reference), "{written}");
    }
    assert!(!reference.repository().split('/').any(|part| part.is_empty() || part == ".."));
    assert!(!reference.registry().contains('/') && !reference.registry().starts_with('.'));
}

/// A manifest, an index or a configuration is within the limits or refused.
pub fn documents(bytes: &[u8]) {
    for announced in [None, Some(OCI_MANIFEST), Some(OCI_INDEX)] {
        match Document::parse(bytes, announced) {
            Ok(Document::Manifest(manifest)) => assert!(manifest.layers.len() <= LAYER_LIMIT),
            Ok(Document::Index(index)) => assert!(index.manifests.len() <= DESCRIPTOR_LIMIT),
            Err(error) => one_line(&error),
        }
    }
    match config::parse(bytes) {
        Ok(parsed) => assert!(parsed.diff_ids.len() <= LAYER_LIMIT),
        Err(error) => one_line(&error),
    }
}

/// A `WWW-Authenticate` is read within bounds, and the schemes are tokens.
pub fn challenge(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let challenges = challenge::parse(text);
    assert!(challenges.len() <= 8);
    for challenge in challenges {
        assert!(!challenge.scheme.is_empty() && challenge.scheme.is_ascii());
        assert!(challenge.parameters.len() <= 16);
        for (name, value) in &challenge.parameters {
            assert!(name.is_ascii() && !value.contains(['\r', '\n', '\0']), "{name}={value}");
        }
    }
}

/// A tar is unpacked into a directory beside which nothing changes. `scratch` is an empty directory.
pub fn unpack(bytes: &[u8], scratch: &Path) {
    let bytes = repaired(bytes);
    let (root, victim) = (scratch.join("root"), scratch.join("victim"));
    fs::create_dir(&root).unwrap();
    fs::write(&victim, "untouched").unwrap();
    let before = shown(&victim);
    let mut archive = Reader::new(BufReader::new(&bytes[..]));
    if let Err(error) = unpack::unpack(&mut archive, &root) {
        one_line(&PortError::from(error));
    }
    let mut names: Vec<_> =
        fs::read_dir(scratch).unwrap().map(|e| e.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, ["root", "victim"]);
    assert_eq!(shown(&victim), before);
}

/// Content, owner, mode, links and times.
fn shown(path: &Path) -> String {
    use std::os::unix::fs::MetadataExt;
    let of = fs::symlink_metadata(path).unwrap();
    let content = fs::read(path).unwrap();
    format!("{content:?} {} {} {:o} {} {}", of.uid(), of.gid(), of.mode(), of.nlink(), of.ctime())
}

/// An archive of images is planned, or refused. `scratch` is an empty directory.
pub fn archive(bytes: &[u8], scratch: &Path) {
    match load::check(&repaired(bytes)[..], scratch) {
        Ok(images) => assert!(images > 0),
        Err(error) => one_line(&error),
    }
    assert_eq!(fs::read_dir(scratch).unwrap().count(), 0);
}

/// What a person is told is a line, whatever the bytes were.
fn one_line(error: &PortError) {
    let text = isula_core::error::chain(error);
    assert!(!text.is_empty() && !text.contains(['\n', '\r', '\0']), "{text:?}");
    assert!(text.len() < 16 << 10, "{} bytes", text.len());
}

/// The archive with the right checksum in each header, which a fuzzer does not guess.
fn repaired(bytes: &[u8]) -> Vec<u8> {
    let mut all = bytes.to_vec();
    let mut at = 0;
    while let Some(block) = all.get_mut(at..at + BLOCK) {
        if block.iter().all(|byte| *byte == 0) {
            break;
        }
        block[148..156].fill(b' ');
        let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
        block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        let digits = block[124..136].iter().take_while(|byte| byte.is_ascii_digit());
        let size = digits.fold(0_usize, |size, byte| {
            size.saturating_mul(8).saturating_add(usize::from(byte - b'0'))
        });
        let blocks = size.div_ceil(BLOCK).saturating_add(1);
        at = at.saturating_add(blocks.saturating_mul(BLOCK)).min(all.len());
    }
    all
}

#[cfg(test)]
mod tests {
    use std::{fs, path::Path};

    #[test]
    fn what_the_fuzzers_found_worth_keeping_breaks_no_promise() {
        let corpora = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus");
        type Probe = fn(&[u8], &Path);
        let targets: [(&str, Probe); 5] = [
            ("reference", |bytes, _| super::reference(bytes)),
            ("documents", |bytes, _| super::documents(bytes)),
            ("challenge", |bytes, _| super::challenge(bytes)),
            ("unpack", super::unpack),
            ("archive", super::archive),
        ];
        for (target, probe) in targets {
            let mut count = 0;
            for entry in fs::read_dir(corpora.join(target)).unwrap() {
                let scratch = tempfile::tempdir().unwrap();
                probe(&fs::read(entry.unwrap().path()).unwrap(), scratch.path());
                count += 1;
            }
            assert!(count > 0, "{target}");
        }
    }
}
