//! Names of entries that lead elsewhere, or are none.

use super::{case, new};
use crate::world::{
    Case,
    Wanted::{Refused, Safe},
};

pub fn names(outside: &str) -> Vec<Case> {
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
        case(
            "thirty thousand empty files",
            (0..30_000).fold(new(), |tar, n| tar.file(&format!("f{n}"), b"")),
            Refused("larger than the limit"),
        ),
        case("a name of backslashes", new().file("..\\..\\new", b"x"), Safe),
        case(
            "a refused name with line ends",
            new().raw(b"../a\nb\r\x1b[31m", b'0', b"", b"x"),
            Refused("leads out"),
        ),
    ]
}
