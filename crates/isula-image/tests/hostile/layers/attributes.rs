//! Extended attributes and sparse files.

use std::{fs, os::unix::fs::MetadataExt, path::Path};

use isula_sys::xattr;

use super::{case, new};
use crate::world::{
    Case,
    Wanted::{Refused, Safe, Tree},
};

fn lost(path: &Path) {
    for name in [
        "trusted.overlay.opaque",
        "trusted.overlay.redirect",
        "trusted.overlay.metacopy",
        "user.overlay.opaque",
    ] {
        assert_eq!(xattr::get(&path.join("d"), name.as_bytes()).unwrap(), None, "{name}");
    }
    assert_eq!(xattr::get(&path.join("d"), b"trusted.other").unwrap().unwrap(), b"y");
}

pub fn attributes() -> Vec<Case> {
    let one = |key: &str, value: &[u8]| {
        new().pax(&[(&format!("SCHILY.xattr.{key}"), value)]).file("f", b"x")
    };
    let overlay: Vec<(&str, &[u8])> = vec![
        ("SCHILY.xattr.trusted.overlay.opaque", b"y"),
        ("SCHILY.xattr.trusted.overlay.redirect", b"/../../etc"),
        ("SCHILY.xattr.trusted.overlay.metacopy", b""),
        ("SCHILY.xattr.user.overlay.opaque", b"y"),
        ("SCHILY.xattr.trusted.other", b"y"),
    ];
    let many: Vec<String> = (0..5000).map(|n| format!("SCHILY.xattr.trusted.a{n}")).collect();
    let many: Vec<(&str, &[u8])> = many.iter().map(|key| (key.as_str(), &b"v"[..])).collect();
    vec![
        case("attributes that steer overlayfs", new().pax(&overlay).dir("d"), Tree(lost)),
        case("an attribute of no name space", one("odd", b"v"), Safe),
        case(
            "an attribute with a long name",
            one(&format!("trusted.{}", "n".repeat(300)), b"v"),
            Refused("cannot unpack"),
        ),
        case(
            "an attribute with a large value",
            one("trusted.a", &[b'v'; 70_000]),
            Refused("cannot unpack"),
        ),
        case(
            "capabilities that are none",
            one("security.capability", b"xxxx"),
            Refused("cannot unpack"),
        ),
        case(
            "five thousand attributes",
            new().pax(&many).file("f", b"x"),
            Refused("cannot unpack"),
        ),
        case(
            "the root as a disk's owner likes it",
            new().entry((b"./", b'5', b""), b"", |b| b[100..107].copy_from_slice(b"0007777")),
            Safe,
        ),
    ]
}

pub fn sparse() -> Vec<Case> {
    let map = |map: &[u8], size: &[u8], data: &[u8]| {
        new()
            .pax(&[("GNU.sparse.map", map), ("GNU.sparse.size", size), ("GNU.sparse.name", b"s")])
            .raw(b"x", b'0', b"", data)
    };
    let inner = |text: &[u8]| {
        let records: [(&str, &[u8]); 4] = [
            ("GNU.sparse.major", b"1"),
            ("GNU.sparse.minor", b"0"),
            ("GNU.sparse.name", b"s"),
            ("GNU.sparse.realsize", b"1048576"),
        ];
        new().pax(&records).raw(b"x", b'0', b"", text)
    };
    let mut old = new().entry((b"s", b'S', b""), b"", |block| {
        block[482] = 1;
        block[483..494].copy_from_slice(b"00000001000");
    });
    let mut more = [0; 512];
    more[504] = 1;
    for _ in 0..8000 {
        old = old.open_with(&more);
    }
    vec![
        case(
            "a sparse map that overlaps",
            map(b"0,10,5,10", b"100", &[b'x'; 20]),
            Refused("malformed map"),
        ),
        case(
            "a sparse map beyond its file",
            map(b"90,20", b"100", &[b'x'; 20]),
            Refused("malformed map"),
        ),
        case(
            "a sparse map that overflows",
            map(b"18446744073709551615,10", b"100", &[b'x'; 10]),
            Refused("malformed map"),
        ),
        case(
            "a sparse map of more than is stored",
            map(b"0,50", b"100", &[b'x'; 20]),
            Refused("malformed map"),
        ),
        case(
            "a sparse map of odd length",
            map(b"0,10,20", b"100", &[b'x'; 10]),
            Refused("malformed map"),
        ),
        case(
            "a sparse file of 2^62 bytes",
            map(b"0,1", b"4611686018427387904", b"x"),
            Refused("cannot unpack"),
        ),
        case(
            "a sparse file of a terabyte",
            map(b"0,1", b"1099511627776", b"x"),
            Tree(|path| {
                let meta = fs::metadata(path.join("s")).unwrap();
                assert!(meta.len() == 1 << 40 && meta.blocks() < 100);
            }),
        ),
        case("a sparse map of 2^40 lines", inner(b"1099511627776\n"), Refused("malformed map")),
        case("a sparse map of endless digits", inner(&[b'1'; 4096]), Refused("malformed map")),
        case("a sparse map without an end", inner(b"3\n0\n1\n"), Refused("")),
        case("an old sparse map that goes on", old, Refused("malformed map")),
        case(
            "a sparse name that leads out",
            new()
                .pax(&[
                    ("GNU.sparse.map", b"0,1"),
                    ("GNU.sparse.size", b"1"),
                    ("GNU.sparse.name", b"../s"),
                ])
                .raw(b"x", b'0', b"", b"x"),
            Refused("leads out"),
        ),
        case(
            "a sparse file of version 9",
            new().pax(&[("GNU.sparse.major", b"9"), ("GNU.sparse.realsize", b"1")]).file("x", b"x"),
            Refused("unknown version"),
        ),
    ]
}
