//! Headers that our own reader and GNU tar read alike.

use std::process::Command;

use super::header;
use crate::archive::{Entry, Kind, Reader};

fn entry(path: &str, kind: Kind) -> Entry {
    let (modified, xattrs) = ((1_700_000_000, 0), Vec::new());
    Entry { path: path.into(), kind, mode: 0o4755, uid: 1, gid: 2, modified, xattrs }
}

#[test]
fn what_does_not_fit_a_header_is_in_a_pax_header() {
    let long = "d/".repeat(80) + "name";
    let file = |size| Kind::File { size, sparse: None };
    let mut big_ids = entry("ids", file(0));
    (big_ids.uid, big_ids.gid) = (3_000_000, 4_000_000_000);
    let mut times = entry("times", file(0));
    times.modified = (12, 345_000_000);
    let mut before = entry("before", file(0));
    before.modified = (-2, 250_000_000);
    let mut attributes = entry("attributes", file(0));
    attributes.xattrs = vec![(b"user.a".to_vec(), b"=\n\0".to_vec())];
    let entries = [
        entry(&long, file(0)),
        entry("link", Kind::Symlink(long.clone().into())),
        entry("hard", Kind::Hardlink(long.clone().into())),
        entry("null", Kind::Character(1, 3)),
        entry("disk", Kind::Block(259, 70_000)),
        entry("fifo", Kind::Fifo),
        entry("dir/", Kind::Directory),
        big_ids,
        times,
        before,
        attributes,
    ];
    let mut tar = Vec::new();
    for entry in &entries {
        header::write(entry, &mut tar).unwrap();
    }
    tar.extend(header::ZEROS);
    let mut reader = Reader::new(&tar[..]);
    for expected in &entries {
        assert_eq!(reader.next_entry().unwrap().as_ref(), Some(expected));
    }
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("a.tar"), &tar).unwrap();
    let output = Command::new("tar")
        .args(["--numeric-owner", "-tvf"])
        .arg(dir.path().join("a.tar"))
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(text.lines().count(), entries.len(), "{text}");
    for wanted in ["3000000/4000000000", &long, "1,3", "link to"] {
        assert!(text.contains(wanted), "{wanted}: {text}");
    }
}

#[test]
fn a_file_of_more_than_eight_gibibytes_has_its_size_in_a_pax_header() {
    let size = 9 << 30;
    let mut tar = Vec::new();
    header::write(&entry("large", Kind::File { size, sparse: None }), &mut tar).unwrap();
    let found = Reader::new(&tar[..]).next_entry().unwrap().unwrap();
    assert_eq!(found.kind, Kind::File { size, sparse: None });
}
