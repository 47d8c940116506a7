//! Layers, good and hostile, unpacked for real.

use std::{
    fs,
    io::BufReader,
    os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, symlink},
    path::{Path, PathBuf},
};

use isula_core::error::{ErrorKind, PortError};
use isula_sys::xattr;

use super::{Contents, OPAQUE, unpack, unpack_at_most};
use crate::{archive::Reader, testing::Tar};

/// A layer's root, and files beside it that must stay as they are.
struct Layer {
    dir: tempfile::TempDir,
}

impl Layer {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("root")).unwrap();
        fs::create_dir(dir.path().join("outside")).unwrap();
        fs::write(dir.path().join("outside/secret"), "secret").unwrap();
        fs::set_permissions(dir.path().join("outside/secret"), PermissionsExt::from_mode(0o600))
            .unwrap();
        Self { dir }
    }

    fn root(&self) -> PathBuf {
        self.dir.path().join("root")
    }

    fn outside(&self) -> String {
        self.dir.path().join("outside").display().to_string()
    }

    fn at(&self, path: &str) -> PathBuf {
        self.root().join(path)
    }

    fn unpack(&self, tar: Tar) -> Result<Contents, PortError> {
        let bytes = tar.end();
        let mut archive = Reader::new(BufReader::with_capacity(300, &bytes[..]));
        Ok(unpack(&mut archive, &self.root())?)
    }

    /// Nothing outside was made, changed or removed.
    fn assert_outside_untouched(&self) {
        let outside = self.dir.path().join("outside");
        let meta = fs::metadata(outside.join("secret")).unwrap();
        assert_eq!((meta.mode() & 0o7777, meta.nlink(), meta.uid()), (0o600, 1, 0));
        assert_eq!(fs::read(outside.join("secret")).unwrap(), b"secret");
        assert_eq!(fs::read_dir(&outside).unwrap().count(), 1);
        assert_eq!(fs::read_dir(self.dir.path()).unwrap().count(), 2);
    }
}

fn is_opaque(path: &Path) -> bool {
    xattr::get(path, OPAQUE).unwrap().as_deref() == Some(b"y")
}

fn is_whiteout(path: &Path) -> bool {
    let meta = fs::symlink_metadata(path).unwrap();
    meta.file_type().is_char_device() && meta.rdev() == 0
}

#[test]
fn everything_a_layer_may_hold_is_made_as_it_says() {
    let layer = Layer::new();
    let mut tar = Tar::default().dir("./");
    tar.header((b'5', b"bin"), b"", (0o1777, 0), |_| {});
    let capability = [1, 0, 0, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    let records: [(&str, &[u8]); 7] = [
        ("mtime", b"1234567890.987654321"),
        ("uid", b"70000"),
        ("gid", b"80000"),
        ("SCHILY.xattr.security.capability", &capability),
        ("SCHILY.xattr.user.note", b"v"),
        ("SCHILY.xattr.trusted.overlay.opaque", b"y"),
        ("SCHILY.xattr.user.overlay.redirect", b"/x"),
    ];
    tar = tar.pax(&records);
    tar.header((b'0', b"bin/su"), b"", (0o4755, 3), |_| {});
    tar = tar.data(b"ELF").hardlink("bin/su2", "./bin/su").symlink("link", "/nowhere/../x");
    tar = tar.raw(b"fifo", b'6', b"", b"").dir("empty");
    tar.header((b'3', b"null"), b"", (0o666, 0), |block| {
        block[329..345].copy_from_slice(b"0000001\x000000003\0");
    });
    tar = tar.file("implied/dir/file", b"");
    let contents = layer.unpack(tar).unwrap();
    assert_eq!((contents.size, contents.entries, contents.hides_all), (3, 9, false));
    assert_eq!(contents.root.unwrap().mode, 0o755);

    let su = fs::metadata(layer.at("bin/su")).unwrap();
    assert_eq!((su.mode() & 0o7777, su.uid(), su.gid(), su.nlink()), (0o4755, 70000, 80000, 2));
    assert_eq!((su.mtime(), su.mtime_nsec()), (1_234_567_890, 987_654_321));
    let attribute = |name: &[u8]| xattr::get(&layer.at("bin/su"), name).unwrap();
    assert_eq!(attribute(b"security.capability").unwrap(), capability);
    assert_eq!(attribute(b"user.note").unwrap(), b"v");
    assert_eq!(attribute(b"trusted.overlay.opaque"), None);
    assert_eq!(attribute(b"user.overlay.redirect"), None);
    // Directories keep their times although something was made in them later.
    for dir in ["", "bin"] {
        let meta = fs::metadata(layer.at(dir)).unwrap();
        assert_eq!((meta.mtime(), meta.mtime_nsec()), (0o14_000_000_000, 0), "{dir:?}");
    }
    assert_eq!(fs::metadata(layer.at("bin")).unwrap().mode() & 0o7777, 0o1777);
    assert_eq!(fs::metadata(layer.at("implied/dir")).unwrap().mode() & 0o7777, 0o755);
    assert_eq!(fs::read_link(layer.at("link")).unwrap(), Path::new("/nowhere/../x"));
    let null = fs::metadata(layer.at("null")).unwrap();
    assert_eq!((null.mode() & 0o7777, null.rdev()), (0o666, 0x103));
    assert!(fs::metadata(layer.at("fifo")).unwrap().file_type().is_fifo());
}

/// What is built, given the path of the directory outside.
type Case = (&'static str, fn(Tar, &str) -> Tar);

const REFUSED: &[Case] = &[
    ("a name that leads out", |tar, _| tar.file("../outside/new", b"x")),
    ("a name that leads out later", |tar, _| tar.dir("a").file("a/../../outside/new", b"x")),
    ("a hard link to the outside", |tar, _| tar.hardlink("h", "../outside/secret")),
    ("a hard link to the host", |tar, out| tar.hardlink("h", &format!("{out}/secret"))),
    ("a hard link through a link", |tar, out| tar.symlink("d", out).hardlink("h", "d/secret")),
    ("a hard link to a directory", |tar, _| tar.dir("d").hardlink("h", "d")),
    ("a hard link to what is not there", |tar, _| tar.hardlink("h", "absent")),
    ("a file below a file", |tar, _| tar.file("f", b"").file("f/g", b"")),
    ("a file below a loop", |tar, _| tar.symlink("l", "l").file("l/f", b"")),
    ("a file below a dangling link", |tar, out| {
        tar.symlink("l", &format!("{out}/new")).file("l/f", b"")
    }),
    ("a magic link", |tar, _| tar.symlink("l", "/proc/self/fd/0").file("l/f", b"")),
    ("a whiteout of the directory itself", |tar, _| tar.file("d/.wh..", b"")),
    ("a whiteout of its parent", |tar, _| tar.file("d/.wh...", b"")),
    ("a whiteout of nothing", |tar, _| tar.file("d/.wh.", b"")),
    ("a whiteout that leads out", |tar, _| tar.file("../.wh.outside", b"")),
    ("a whiteout as a directory", |tar, _| tar.file(".wh.d/f", b"")),
    ("the root as a link", |tar, out| tar.symlink("./", out)),
    ("the root as a file", |tar, _| tar.file(".", b"x")),
    ("a name too long for any file system", |tar, _| {
        tar.file(&"n".repeat(99), b"").pax(&[("path", &[b'n'; 300])]).file("f", b"")
    }),
    ("a path too long", |tar, _| tar.pax(&[("path", "d/".repeat(4000).as_bytes())]).file("f", b"")),
];

const CONTAINED: &[Case] = &[
    ("a file through a link to the outside", |tar, out| {
        tar.dir("x").symlink("l", out).file("l", b"x")
    }),
    ("a file over a link to the outside", |tar, out| {
        tar.symlink("l", &format!("{out}/secret")).file("l", b"x")
    }),
    ("a mode through a link", |tar, out| {
        let mut tar = tar.symlink("l", &format!("{out}/secret"));
        tar.header((b'5', b"l"), b"", (0o777, 0), |_| {});
        tar
    }),
    ("an owner of a link", |tar, out| {
        tar.pax(&[("uid", b"5")]).symlink("l", &format!("{out}/secret"))
    }),
    ("an attribute of a link", |tar, out| {
        tar.pax(&[("SCHILY.xattr.trusted.x", b"1")]).symlink("l", &format!("{out}/secret"))
    }),
    ("a directory that becomes a link", |tar, out| tar.file("d/f", b"").symlink("d", out)),
    ("an absolute name", |tar, _| tar.file("/etc/passwd", b"x")),
    ("a whiteout through a link", |tar, _| {
        tar.dir("d").symlink("l", "d").file("l/.wh.secret", b"")
    }),
    ("a whiteout through a link upwards", |tar, _| {
        tar.dir("outside").symlink("l", "../outside").file("l/.wh.secret", b"")
    }),
    ("a hard link to a link", |tar, out| {
        tar.symlink("l", &format!("{out}/secret")).hardlink("h", "l")
    }),
    ("a hard link to itself", |tar, _| tar.file("f", b"x").hardlink("f", "f")),
];

#[test]
fn names_and_links_that_lead_out_are_refused() {
    for (name, build) in REFUSED {
        let layer = Layer::new();
        let error = layer.unpack(build(Tar::default(), &layer.outside())).expect_err(name);
        assert_eq!(error.kind(), ErrorKind::Corrupt, "{name}: {error}");
        layer.assert_outside_untouched();
    }
}

#[test]
fn links_to_the_outside_stay_mere_texts() {
    for (name, build) in CONTAINED {
        let layer = Layer::new();
        layer.unpack(build(Tar::default(), &layer.outside())).expect(name);
        layer.assert_outside_untouched();
    }
}

#[test]
fn links_on_the_way_are_followed_within_the_layer() {
    let layer = Layer::new();
    let tar = Tar::default()
        .dir("usr")
        .dir("usr/lib")
        .symlink("lib", "/usr/lib")
        .symlink("up", "../../../usr");
    layer.unpack(tar.file("lib/a", b"1").file("up/lib/b", b"2").file("lib/c", b"3")).unwrap();
    for name in ["a", "b", "c"] {
        assert!(layer.at("usr/lib").join(name).is_file(), "{name}");
    }
    assert!(fs::symlink_metadata(layer.at("lib")).unwrap().is_symlink());
}

#[test]
fn whiteouts_become_overlays_marks_and_hide_only_what_is_below() {
    let layer = Layer::new();
    let tar = Tar::default()
        .file("a/.wh.gone", b"")
        .file("a/.wh.gone", b"")
        .file("kept", b"k")
        .file(".wh.kept", b"")
        .file(".wh.back", b"")
        .file("back", b"b")
        .dir("new")
        .file("new/f", b"")
        .file(".wh.new", b"")
        .file(".wh.again", b"")
        .dir("again")
        .dir("opaque")
        .file("opaque/own", b"o")
        .file("opaque/.wh..wh..opq", b"")
        .file(".wh..wh.plnk/1.2", b"")
        .file(".wh..wh.aufs", b"");
    let contents = layer.unpack(tar).unwrap();
    assert!(!contents.hides_all);
    assert!(is_whiteout(&layer.at("a/gone")));
    assert!(!is_opaque(&layer.at("a")));
    assert_eq!(fs::read(layer.at("kept")).unwrap(), b"k");
    assert_eq!(fs::read(layer.at("back")).unwrap(), b"b");
    for dir in ["new", "again", "opaque"] {
        assert!(is_opaque(&layer.at(dir)), "{dir}");
    }
    assert!(layer.at("opaque/own").is_file() && layer.at("new/f").is_file());
    let mut names: Vec<_> =
        fs::read_dir(layer.root()).unwrap().map(|e| e.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, ["a", "again", "back", "kept", "new", "opaque"]);

    let layer = Layer::new();
    assert!(layer.unpack(Tar::default().file(".wh..wh..opq", b"")).unwrap().hides_all);
}

#[test]
fn twenty_thousand_opaque_marks_cost_no_more_than_as_many_files() {
    let layer = Layer::new();
    let mut tar = Tar::default();
    for _ in 0..20_000 {
        tar = tar.file("d/.wh..wh..opq", b"");
    }
    assert_eq!(layer.unpack(tar).unwrap().entries, 20_000);
    assert!(is_opaque(&layer.at("d")));
}

#[test]
fn later_entries_replace_earlier_ones_of_any_kind() {
    let layer = Layer::new();
    symlink("../outside", layer.at("old")).unwrap();
    let tar = Tar::default()
        .file("x", b"1")
        .dir("x")
        .file("x/y", b"2")
        .file("x", b"3")
        .dir("d")
        .file("d/f", b"")
        .dir("d")
        .file("a", b"a")
        .file("b", b"b")
        .hardlink("b", "a")
        .hardlink("b", "a");
    layer.unpack(tar).unwrap();
    assert_eq!(fs::read(layer.at("x")).unwrap(), b"3");
    assert!(layer.at("d/f").is_file());
    assert_eq!(
        fs::metadata(layer.at("a")).unwrap().ino(),
        fs::metadata(layer.at("b")).unwrap().ino()
    );
    layer.assert_outside_untouched();
}

#[test]
fn one_entry_beyond_the_limit_is_refused() {
    let bytes = Tar::default().file("a", b"x").dir("d").file("b", b"y").end();
    let unpacked = |entries| {
        let layer = Layer::new();
        let mut archive = Reader::new(&bytes[..]);
        let contents = unpack_at_most(entries, &mut archive, &layer.root(), |_, _| {});
        contents.map(|contents| contents.entries).map_err(|error| error.to_string())
    };
    assert_eq!(unpacked(3).unwrap(), 3);
    let refused = unpacked(2).unwrap_err();
    assert_eq!(refused, "entry \"b\" is refused: the layer has too many entries");
}

#[test]
fn sparse_files_have_their_holes() {
    let layer = Layer::new();
    let records: [(&str, &[u8]); 2] =
        [("GNU.sparse.size", b"10000000"), ("GNU.sparse.map", b"5000000,3,10000000,0")];
    let contents = layer.unpack(Tar::default().pax(&records).file("s", b"abc")).unwrap();
    let meta = fs::metadata(layer.at("s")).unwrap();
    assert_eq!((meta.len(), contents.size), (10_000_000, 3));
    assert!(meta.blocks() < 100);
    assert_eq!(&fs::read(layer.at("s")).unwrap()[5_000_000..5_000_003], b"abc");
}
