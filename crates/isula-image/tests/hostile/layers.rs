//! Root file systems whose entries attack.

use std::{fs, os::unix::fs::MetadataExt, path::Path};

use isula_sys::xattr;

use crate::{
    tarball::Tar,
    world::{
        Attack, Case,
        Wanted::{self, Refused, Safe, Tree},
        World,
    },
};

fn case(name: &'static str, tar: Tar, wanted: Wanted) -> Case {
    Case { name, attack: Attack::Import(tar.end()), wanted }
}

fn new() -> Tar {
    Tar::default()
}

pub fn cases(world: &World) -> Vec<Case> {
    let outside = world.outside();
    [
        names(&outside),
        links(&outside),
        whiteouts(&outside),
        specials(),
        attributes(),
        headers(),
        sparse(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn names(outside: &str) -> Vec<Case> {
    let up = "../../../../../../../../../../..";
    vec![
        case("a name with ..", new().file("../new", b"x"), Refused("leads out")),
        case(
            "a name far up",
            new().named(format!("{up}{outside}/new").as_bytes(), b'0', b"x"),
            Refused("leads out"),
        ),
        case(
            "a name that goes down and further up",
            new().dir("a").file("a/../../new", b"x"),
            Refused("leads out"),
        ),
        case(
            "an absolute name",
            new().named(format!("{outside}/new").as_bytes(), b'0', b"x"),
            Safe,
        ),
        case(
            "an absolute name of a victim",
            new().named(format!("{outside}/victim").as_bytes(), b'0', b"x"),
            Safe,
        ),
        case(
            "an absolute directory",
            new().named(format!("{outside}/dir").as_bytes(), b'5', b""),
            Safe,
        ),
        case("a directory with ..", new().dir("../dir"), Refused("leads out")),
        case("a link with .. in its name", new().symlink("../link", "x"), Refused("leads out")),
        case(
            "a hard link with .. in its name",
            new().file("f", b"x").hardlink("../victim", "f"),
            Refused("leads out"),
        ),
        case("a device with ..", new().device("../null", b'3', (1, 3)), Refused("leads out")),
        case("a fifo with ..", new().raw(b"../fifo", b'6', b"", b""), Refused("leads out")),
        case("a name of ..", new().dir(".."), Refused("leads out")),
        case(
            "a root that is a file",
            new().file(".", b"x"),
            Refused("the root must be a directory"),
        ),
        case(
            "a root that is a link",
            new().symlink("/", outside),
            Refused("the root must be a directory"),
        ),
        case("an empty name", new().file("", b"x"), Refused("the root must be a directory")),
        case(
            "a name with a zero byte",
            new().named(b"a\0b", b'0', b"x"),
            Refused("malformed value"),
        ),
        case(
            "a name of 300 bytes",
            new().named(&[b'n'; 300], b'0', b"x"),
            Refused("cannot unpack"),
        ),
        case(
            "a path of 5000 bytes",
            new().named(&b"abcd/".repeat(1000), b'0', b"x"),
            Refused("cannot unpack"),
        ),
        case(
            "a path of a million bytes",
            new().named(&b"a/".repeat(500_000), b'0', b"x"),
            Refused("cannot unpack"),
        ),
        case("a name that is no UTF-8", new().raw(b"\xff\xfe\x80", b'0', b"", b"x"), Safe),
        case("a name with line ends", new().raw(b"a\nb\r\x1b[31m", b'0', b"", b"x"), Safe),
        case("a name of backslashes", new().file("..\\..\\new", b"x"), Safe),
        case(
            "a refused name with line ends",
            new().raw(b"../a\nb\r\x1b[31m", b'0', b"", b"x"),
            Refused("leads out"),
        ),
    ]
}

fn links(outside: &str) -> Vec<Case> {
    let out = || new().symlink("out", outside);
    let mut deep = new();
    for hop in 0..12 {
        let base = if hop == 0 { String::new() } else { format!("s{}/", hop - 1) };
        let path = format!("{base}{}", "d/".repeat(200));
        deep = deep.named(path.as_bytes(), b'5', b"").symlink(&format!("s{hop}"), &path);
    }
    vec![
        case("a file through a link out", out().file("out/new", b"x"), Refused("cannot unpack")),
        case(
            "a victim through a link out",
            out().file("out/victim", b"x"),
            Refused("cannot unpack"),
        ),
        case("a directory through a link out", out().dir("out/dir"), Refused("cannot unpack")),
        case("a link through a link out", out().symlink("out/new", "x"), Refused("cannot unpack")),
        case(
            "a device through a link out",
            out().device("out/new", b'3', (1, 3)),
            Refused("cannot unpack"),
        ),
        case(
            "a link out that becomes a directory",
            out().dir("out").file("out/victim", b"x"),
            Safe,
        ),
        case("a link out that becomes a file", out().file("out", b"x"), Safe),
        case(
            "a link to a victim that is written",
            new().symlink("v", &format!("{outside}/victim")).file("v", b"x"),
            Safe,
        ),
        case(
            "links that lead on",
            new().symlink("b", outside).symlink("a", "b").file("a/new", b"x"),
            Refused("cannot unpack"),
        ),
        case("a link up", new().symlink("up", "../../../../..").file("up/new", b"x"), Safe),
        case(
            "a link up and a victim",
            new().symlink("up", &format!("../../../../../..{outside}")).file("up/victim", b"x"),
            Refused("cannot unpack"),
        ),
        case(
            "a loop of links",
            new().symlink("a", "b").symlink("b", "a").file("a/x", b"x"),
            Refused("cannot unpack"),
        ),
        case(
            "a link to itself",
            new().symlink("a", "a").file("a/x", b"x"),
            Refused("cannot unpack"),
        ),
        case(
            "a link to the process",
            new().symlink("a", "/proc/self/root").file("a/new", b"x"),
            Refused("cannot unpack"),
        ),
        case(
            "a link to a descriptor",
            new().symlink("a", "/proc/self/fd/3").file("a/new", b"x"),
            Refused("cannot unpack"),
        ),
        case("a link without text", new().symlink("a", ""), Refused("a link to nothing")),
        case(
            "a link of 5000 bytes",
            new().symlink("a", &"x".repeat(5000)),
            Refused("cannot unpack"),
        ),
        case(
            "a directory that becomes a link out",
            new().dir("d").file("d/f", b"x").symlink("d", outside).file("d/victim", b"x"),
            Refused("cannot unpack"),
        ),
        case(
            "a mode for what a link leads to",
            out().entry((b"out", b'5', b""), b"", |b| b[100..107].copy_from_slice(b"0007777")),
            Safe,
        ),
        case(
            "a hard link to a victim",
            new().hardlink("h", &format!("{outside}/victim")),
            Refused("outside the layer"),
        ),
        case(
            "a hard link up",
            new().hardlink("h", &format!("../../../../..{outside}/victim")),
            Refused("outside the layer"),
        ),
        case(
            "a hard link through a link out",
            out().hardlink("h", "out/victim"),
            Refused("cannot unpack"),
        ),
        case(
            "a hard link through a link in",
            new().dir("d").file("d/f", b"x").symlink("l", "d").hardlink("h", "l/f"),
            Refused("cannot unpack"),
        ),
        case(
            "a hard link to a link out that is written",
            new().symlink("l", &format!("{outside}/victim")).hardlink("h", "l").file("h", b"x"),
            Safe,
        ),
        case(
            "a hard link to a directory",
            new().dir("d").hardlink("h", "d"),
            Refused("hard link to a directory"),
        ),
        case("a hard link to the root", new().hardlink("h", "/"), Refused("outside the layer")),
        case("a hard link to itself", new().hardlink("h", "h"), Refused("outside the layer")),
        case(
            "a hard link to what it replaces",
            new().dir("d").file("d/f", b"x").hardlink("d", "d/f"),
            Refused("outside the layer"),
        ),
        case("directories far deeper than a path is long", deep, Safe),
    ]
}

fn whiteouts(outside: &str) -> Vec<Case> {
    let out = || new().symlink("out", outside);
    let opaque = (0..2000).fold(new().dir("d"), |tar, _| tar.file("d/.wh..wh..opq", b""));
    vec![
        case("a whiteout of nothing", new().file(".wh.", b""), Refused("whiteout of nothing")),
        case("a whiteout of .", new().file(".wh..", b""), Refused("whiteout of nothing")),
        case("a whiteout of ..", new().file(".wh...", b""), Refused("whiteout of nothing")),
        case(
            "a whiteout through a link out",
            out().file("out/.wh.victim", b""),
            Refused("cannot unpack"),
        ),
        case(
            "an opaque mark through a link out",
            out().file("out/.wh..wh..opq", b""),
            Refused("cannot unpack"),
        ),
        case("a whiteout with ..", new().file("../.wh.victim", b""), Refused("leads out")),
        case(
            "a whiteout as a directory",
            new().file(".wh.d/f", b""),
            Refused("can't be a directory"),
        ),
        case("a whiteout that is a link", new().symlink(".wh.a", outside), Safe),
        case("a whiteout with content", new().file(".wh.a", &[b'x'; 5000]), Safe),
        case(
            "names of AUFS",
            new().dir(".wh..wh.plnk").file(".wh..wh.plnk/1.2", b"x").file(".wh..wh.aufs", b""),
            Safe,
        ),
        case("two thousand opaque marks", opaque, Safe),
        case("a device that looks like a whiteout", new().device("w", b'3', (0, 0)), Safe),
        case(
            "a whiteout of what is there",
            new().dir("d").file("d/f", b"x").file(".wh.d", b""),
            Safe,
        ),
    ]
}

fn specials() -> Vec<Case> {
    let fifo = || new().raw(b"f", b'6', b"", b"");
    let sda = |device| new().device("sda", b'4', device);
    vec![
        case(
            "a file below a device",
            new().device("dev", b'3', (1, 3)).file("dev/x", b"x"),
            Refused("cannot unpack"),
        ),
        case(
            "a device in place of a directory",
            new().dir("dev").file("dev/x", b"x").device("dev", b'3', (1, 3)),
            Safe,
        ),
        case("a directory in place of a device", sda((8, 0)).dir("sda").file("sda/x", b"x"), Safe),
        case("a file in place of a disk", sda((8, 0)).file("sda", b"x"), Safe),
        case(
            "a hard link to a disk that is written",
            sda((8, 0)).hardlink("h", "sda").file("h", b"x"),
            Safe,
        ),
        case(
            "a device of another universe",
            new().entry((b"d", b'3', b""), b"", |b| b[329..337].fill(0xff)),
            Refused("device number"),
        ),
        case("a file below a fifo", fifo().file("f/x", b"x"), Refused("cannot unpack")),
        case("a file in place of a fifo", fifo().file("f", b"x"), Safe),
        case(
            "attributes of a fifo",
            new().pax(&[("SCHILY.xattr.trusted.a", b"b")]).raw(b"f", b'6', b"", b""),
            Safe,
        ),
        case("a hard link to a fifo", fifo().hardlink("h", "f"), Safe),
    ]
}

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

fn attributes() -> Vec<Case> {
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

fn headers() -> Vec<Case> {
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

fn sparse() -> Vec<Case> {
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
