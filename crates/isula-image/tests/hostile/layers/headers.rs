//! Headers that lie, are cut off or have no measure.

use std::fs;

use super::{case, new};
use crate::tarball::Tar;
use crate::world::{
    Attack, Case,
    Wanted::{Refused, Safe, Tree},
};

pub fn headers() -> Vec<Case> {
    let put = |at: usize, bytes: &'static [u8]| {
        new().entry((b"f", b'0', b""), b"x", move |block| {
            block[at..at + bytes.len()].copy_from_slice(bytes)
        })
    };
    let many = (0..40).fold(new(), |tar, _| tar.pax(&[("comment", b"x")]));
    let open = |tar: Tar, cut: usize| {
        let mut bytes = tar.open();
        bytes.truncate(bytes.len() - cut);
        Attack::Import(bytes)
    };
    let lone = [new().file("a", b"x").open(), vec![0; 512], new().file("b", b"x").end()].concat();
    let smuggled = new()
        .pax(&[("size", b"1024")])
        .entry((b"f", b'0', b""), &new().file("smuggled", b"").open(), |_| {})
        .raw(b"z", b'0', b"", b"");
    let mut list = vec![
        case("a checksum that is wrong", put(148, b"0012345\0"), Refused("checksum")),
        case("a checksum that is none", put(148, b"x"), Refused("checksum")),
        case("a size that is none", put(124, b"xxxxxxxxxxx"), Refused("size is no number")),
        case("a negative size", put(124, &[0xff; 12]), Refused("size is no number")),
        case(
            "a size of 2^63",
            put(124, &[0x80, 0, 0, 0, 0x80, 0, 0, 0, 0, 0, 0, 0]),
            Refused("size is no number"),
        ),
        case("a size beyond the end", put(124, b"77777777777\0"), Refused("cut off")),
        case(
            "a size beyond the end in base 256",
            put(124, &[0x80, 0, 0, 0, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]),
            Refused(""),
        ),
        case("two sizes", smuggled, Tree(|path| assert!(!path.join("smuggled").exists()))),
        case(
            "an extended size beyond all",
            new().pax(&[("size", b"9223372036854775807")]).file("f", b"x"),
            Refused(""),
        ),
        case(
            "an extended size beyond numbers",
            new().pax(&[("size", b"99999999999999999999")]).file("f", b"x"),
            Refused("malformed value"),
        ),
        case(
            "an extended header of 2 MiB",
            new().raw(b"p", b'x', b"", &vec![b'x'; 2 << 20]).file("f", b"x"),
            Refused("larger than 1 MiB"),
        ),
        case(
            "an extended header of 8 GiB",
            new().entry((b"p", b'x', b""), b"x", |b| b[124..135].copy_from_slice(b"77777777777")),
            Refused("larger than 1 MiB"),
        ),
        case(
            "a long name of 2 MiB",
            new().raw(b"L", b'L', b"", &vec![b'x'; 2 << 20]).file("f", b"x"),
            Refused("larger than 1 MiB"),
        ),
        case(
            "a long link of 8 GiB",
            new().entry((b"K", b'K', b""), b"x", |b| b[124..135].copy_from_slice(b"77777777777")),
            Refused("larger than 1 MiB"),
        ),
        case(
            "an empty long name",
            new().raw(b"L", b'L', b"", b"\0").file("f", b"x"),
            Refused("long name is empty"),
        ),
        case("forty extended headers", many.file("f", b"x"), Refused("too many extended headers")),
        case(
            "a record of the wrong length",
            new().raw(b"p", b'x', b"", b"99 path=a\n").file("f", b"x"),
            Refused("malformed record"),
        ),
        case(
            "a record without a key",
            new().raw(b"p", b'x', b"", b"5 =a\n").file("f", b"x"),
            Refused("malformed record"),
        ),
        case(
            "an extended path that leads out",
            new().named(b"../new", b'0', b"x"),
            Refused("leads out"),
        ),
        case(
            "a global header with a path",
            new().extended(b'g', &[("path", b"../new")]).file("f", b"x"),
            Refused("global header"),
        ),
        case(
            "a global header with a size",
            new().extended(b'g', &[("size", b"512")]).file("f", b"x"),
            Refused("global header"),
        ),
        case("an extended header at the end", new().pax(&[("path", b"a")]), Refused("cut off")),
        case("a kind that is unknown", new().raw(b"f", b'Z', b"", b""), Refused("unknown type")),
        case("a mode that is none", put(100, b"rwxrwxr"), Refused("mode is no number")),
        case(
            "the user id -1",
            put(108, b"\xff\xff\xff\xff\xff\xff\xff\xff"),
            Refused("user id is out of range"),
        ),
        case(
            "the user id 2^32",
            new().pax(&[("uid", b"4294967296")]).file("f", b"x"),
            Refused("user id is out of range"),
        ),
        case(
            "the group id 2^32-1",
            new().pax(&[("gid", b"4294967295")]).file("f", b"x"),
            Refused("group id is out of range"),
        ),
        case(
            "a time of no calendar",
            new().pax(&[("mtime", b"9223372036854775807")]).file("f", b"x"),
            Safe,
        ),
        case(
            "a time that is none",
            new().pax(&[("mtime", b"today")]).file("f", b"x"),
            Refused("malformed value"),
        ),
        case(
            "one name for everything",
            new()
                .dir("a")
                .file("a", b"x")
                .symlink("a", "b")
                .raw(b"a", b'6', b"", b"")
                .dir("a")
                .file("a", b"y"),
            Tree(|path| assert_eq!(fs::read(path.join("a")).unwrap(), b"y")),
        ),
    ];
    for (name, attack) in [
        ("an archive cut in a header", open(new().file("f", b"x"), 700)),
        ("an archive cut in its data", open(new().file("f", &[b'x'; 2000]), 1000)),
        ("an archive without its end", open(new().file("f", b"x"), 0)),
        ("an empty archive", Attack::Import(Vec::new())),
    ] {
        list.push(Case { name, attack, wanted: Refused("cut off") });
    }
    let wanted = Refused("lone block of zeros");
    list.push(Case {
        name: "entries after a lone block of zeros",
        attack: Attack::Import(lone),
        wanted,
    });
    list
}
