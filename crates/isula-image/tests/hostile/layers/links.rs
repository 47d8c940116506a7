//! Links, whiteouts and special files that lead elsewhere.

use super::{case, new};
use crate::world::{
    Case,
    Wanted::{Refused, Safe},
};

pub fn links(outside: &str) -> Vec<Case> {
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

pub fn whiteouts(outside: &str) -> Vec<Case> {
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

pub fn specials() -> Vec<Case> {
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
