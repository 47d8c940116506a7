//! Writable layers, mounted for real and read by hand.

use std::{
    fs,
    os::unix::fs::{MetadataExt, symlink},
    path::Path,
    process::Command,
};

use isula_core::{
    error::ErrorKind,
    image::ImageId,
    ports::{Images, Rootfs, Snapshots},
};
use isula_sys::xattr;

use crate::{
    Store, hash,
    testing::{Scratch, Tar, config, container, docker_archive, settle, silent, stream},
    unpack::OPAQUE,
};

async fn image(store: &Store, layers: &[&[u8]]) -> ImageId {
    let config = config(layers, "");
    let id = ImageId(hash::digest(&config));
    let archive = docker_archive(&[(config, &[], layers)]).end();
    store.load(stream(&archive), None, silent()).await.unwrap();
    id
}

/// What a shell in the mounted root prints. The mount is in a namespace of the shell's own.
fn in_root(rootfs: &Rootfs, script: &str) -> String {
    let Rootfs::Overlay { lower, upper, work, .. } = rootfs else { panic!("{rootfs:?}") };
    let own = |dir: &&std::path::PathBuf| lower.len() == 1 || !dir.ends_with(super::points::NAME);
    let lower: Vec<_> = lower.iter().filter(own).map(|dir| dir.display().to_string()).collect();
    let target = upper.with_file_name("mnt");
    fs::create_dir_all(&target).unwrap();
    let options = format!(
        "lowerdir={},upperdir={},workdir={}",
        lower.join(":"),
        upper.display(),
        work.display()
    );
    let script = format!("mount -t overlay overlay -o \"$0\" \"$1\" && cd \"$1\" && {script}");
    let output = Command::new("unshare")
        .args(["-m", "sh", "-c", &script, &options])
        .arg(&target)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[tokio::test]
async fn the_mounted_root_shows_what_the_layers_say() {
    let scratch = Scratch::new();
    let store = scratch.store();
    let mut base = Tar::default();
    base.header((b'5', b"./"), b"", (0o751, 0), |_| {});
    let base = base
        .file("a/gone", b"1")
        .file("a/kept", b"1")
        .file("o/old", b"1")
        .file("f", b"1")
        .dir("d")
        .file("d/x", b"")
        .end();
    let middle = Tar::default()
        .file("a/.wh.gone", b"")
        .file("o/.wh..wh..opq", b"")
        .file("o/new", b"2")
        .file(".wh.d", b"")
        .file("d", b"2")
        .end();
    let top = Tar::default().file("f", b"3").end();
    // The base once more on top: overlayfs takes no directory twice.
    for (layers, shown, f) in [
        (vec![&base[..], &middle, &top], "./a ./a/kept ./d ./f ./o ./o/new", "3"),
        (
            vec![&base, &middle, &base],
            "./a ./a/gone ./a/kept ./d ./d/x ./f ./o ./o/new ./o/old",
            "1",
        ),
    ] {
        let id = image(&store, &layers).await;
        let name = container(layers.len() as u8 + f.as_bytes()[0]);
        store.prepare(&name, &id).await.unwrap();
        let rootfs = store.rootfs(&name, &id, true).unwrap();
        assert!(matches!(&rootfs, Rootfs::Overlay { volatile: true, .. }));
        let seen = in_root(
            &rootfs,
            "find . -mindepth 1 | sort | tr '\\n' ' '; cat f; stat -c %a .; echo w > written",
        );
        let (names, rest) = seen.split_at(shown.len());
        assert_eq!((names, rest.trim()), (shown, format!("{f}751").as_str()));
        let Rootfs::Overlay { upper, .. } = rootfs else { panic!() };
        assert_eq!(fs::read(upper.join("written")).unwrap(), b"w\n");
        for path in shown.split(' ') {
            let merged = store.read(&name, &id, path, 10).await.unwrap();
            let is_dir = matches!(path, "./a" | "./o") || (path == "./d" && f == "1");
            assert_eq!(merged.is_none(), is_dir, "{path}");
        }
        assert_eq!(store.read(&name, &id, "f", 10).await.unwrap().unwrap(), f.as_bytes());
        Snapshots::remove(&store, &name).await.unwrap();
    }
}

#[tokio::test]
async fn an_image_without_layers_and_one_that_hides_all_below_can_be_mounted() {
    let scratch = Scratch::new();
    let store = scratch.store();
    let base = Tar::default().file("below", b"1").end();
    let hiding = Tar::default().file(".wh..wh..opq", b"").file("above", b"2").end();
    for (number, layers, shown) in
        [(1, vec![], "dev\netc\nproc\nsys\n"), (2, vec![&base[..], &hiding], "above\n")]
    {
        let id = image(&store, &layers).await;
        store.prepare(&container(number), &id).await.unwrap();
        let rootfs = store.rootfs(&container(number), &id, false).unwrap();
        assert_eq!(in_root(&rootfs, "ls"), shown);
        assert_eq!(store.read(&container(number), &id, "below", 9).await.unwrap(), None);
    }
}

#[tokio::test]
async fn mount_points_fill_only_the_gaps_of_an_image_and_are_mended_after_a_crash() {
    let scratch = Scratch::new();
    let store = scratch.store();
    let layer = Tar::default().file("etc/hosts", b"own").symlink("dev", "etc").end();
    let id = image(&store, &[&layer]).await;
    let name = container(1);
    store.prepare(&name, &id).await.unwrap();
    // Half of it was made when the daemon was killed.
    let points = scratch.root().join(super::points::NAME);
    fs::create_dir(&points).unwrap();
    fs::set_permissions(&points, std::os::unix::fs::PermissionsExt::from_mode(0o700)).unwrap();
    let rootfs = store.rootfs(&name, &id, false).unwrap();
    let Rootfs::Overlay { lower, upper, work, .. } = &rootfs else { panic!() };
    let (lowest, layers) = lower.split_last().unwrap();
    assert_eq!((lowest, layers.len()), (&points, 1));
    assert_eq!(fs::metadata(&points).unwrap().mode() & 0o777, 0o755);
    let both = Path::new(&layers[0]).with_file_name("both");
    symlink(lowest, &both).unwrap();
    let (upper, work) = (upper.clone(), work.clone());
    let lower = vec![layers[0].clone(), both];
    let rootfs = Rootfs::Overlay { lower, upper: upper.clone(), work, volatile: false };
    let script = "cat etc/hosts; find dev etc proc sys | sort; stat -c %a sys etc/resolv.conf";
    let seen = in_root(&rootfs, script);
    let wanted = "owndev\netc\netc/hostname\netc/hosts\netc/resolv.conf\nproc\nsys\n755\n644\n";
    assert_eq!(seen, wanted);
    assert_eq!(fs::read_dir(upper).unwrap().count(), 0, "nothing is made in the container's layer");
}

#[tokio::test]
async fn a_snapshot_is_known_after_a_restart_and_gone_after_its_removal() {
    let scratch = Scratch::new();
    let store = scratch.store();
    let id = image(&store, &[]).await;
    let (one, two) = (container(1), container(2));
    store.prepare(&one, &id).await.unwrap();
    store.prepare(&two, &id).await.unwrap();
    assert_eq!(store.prepare(&one, &id).await.unwrap_err().kind(), ErrorKind::AlreadyExists);
    let absent = ImageId(hash::digest(b"absent"));
    assert_eq!(
        store.prepare(&container(3), &absent).await.unwrap_err().kind(),
        ErrorKind::ImageNotFound
    );
    settle(&store);
    drop(store);
    // The mark of one is lost: its image is not known until the container's record says it.
    fs::remove_file(scratch.root().join(format!("snapshots/{two}/image-{}", id.hex()))).unwrap();
    let store = scratch.store();
    assert_eq!(Snapshots::list(&store).await.unwrap(), [one.clone(), two.clone()]);
    let error = Images::remove(&store, id.hex(), false).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InUse);
    assert!(store.rootfs(&two, &id, false).is_ok());
    for container in [&one, &two, &one] {
        Snapshots::remove(&store, container).await.unwrap();
        assert!(!scratch.root().join("snapshots").join(container.as_str()).exists());
    }
    assert_eq!(store.rootfs(&one, &id, false).unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(Snapshots::list(&store).await.unwrap(), []);
    Images::remove(&store, id.hex(), false).await.unwrap();
    settle(&store);
    assert_eq!(scratch.files("trash"), Vec::<String>::new());
}

/// What is read of each path in the test below.
const CONTENTS: &[(&str, Option<&str>)] = &[
    ("/etc/passwd", Some("base")),
    ("etc/../etc/./passwd", Some("base")),
    ("../../etc/passwd", Some("base")),
    ("/lib/os", Some("os")),
    ("/abs", Some("base")),
    ("/up", Some("base")),
    ("/usr/here/chain", Some("base")),
    ("/group", Some("upper")),
    ("/lib/../../etc/group", Some("upper")),
    ("/etc/hidden", None),
    ("/op/below", None),
    ("/loop", None),
    ("/host", None),
    ("/fifo", None),
    ("/dir", None),
    ("/etc/passwd/x", None),
    ("/absent/x", None),
    ("/", None),
    ("", None),
    ("/etc/passwd\0", None),
];

#[tokio::test]
async fn files_are_read_through_links_and_layers_but_never_outside() {
    let scratch = Scratch::new();
    let store = scratch.store();
    let base = Tar::default()
        .file("etc/passwd", b"base")
        .file("etc/hidden", b"x")
        .file("usr/lib/os", b"os")
        .symlink("lib", "usr/lib")
        .symlink("abs", "/etc/passwd")
        .symlink("up", "../../../../etc/passwd")
        .symlink("loop", "loop")
        .symlink("host", "/proc/self/root/etc/hostname")
        .raw(b"fifo", b'6', b"", b"")
        .dir("dir")
        .symlink("usr/here", "../etc")
        .symlink("etc/chain", "../abs")
        .file("op/below", b"b")
        .end();
    let id = image(&store, &[&base]).await;
    let name = container(1);
    store.prepare(&name, &id).await.unwrap();
    let upper = scratch.root().join(format!("snapshots/{name}/diff"));
    fs::create_dir_all(upper.join("etc")).unwrap();
    fs::create_dir_all(upper.join("op")).unwrap();
    xattr::set(fs::File::open(upper.join("op")).unwrap(), OPAQUE, b"y").unwrap();
    fs::write(upper.join("etc/group"), "upper").unwrap();
    let dir = fs::File::open(upper.join("etc")).unwrap();
    isula_sys::beneath::make_special(&dir, b"hidden", isula_sys::beneath::Special::Character(0, 0))
        .unwrap();
    symlink("/etc/group", upper.join("group")).unwrap();
    for (path, content) in CONTENTS {
        let read = store.read(&name, &id, path, 100).await;
        if path.contains('\0') {
            assert!(read.is_err());
            continue;
        }
        assert_eq!(read.unwrap().as_deref(), content.map(str::as_bytes), "{path}");
    }
    assert_eq!(store.read(&name, &id, "/etc/passwd", 4).await.unwrap().unwrap(), b"base");
    assert_eq!(store.read(&name, &id, "/etc/passwd", 3).await.unwrap(), None);
    assert!(Path::new(&upper).metadata().unwrap().mode() & 0o777 == 0o755);
}

#[tokio::test]
async fn files_of_images_are_remembered_as_long_as_the_image_is_there() {
    let scratch = Scratch::new();
    let store = scratch.store();
    let big = vec![b'x'; 17 << 10];
    let layer = Tar::default().dir("etc").file("etc/passwd", b"one").file("big", &big).end();
    let id = image(&store, &[&layer]).await;
    let read = async |path, limit| store.read_image(&id, path, limit).await;
    let count = || store.shared.remembered.count();

    assert_eq!(read("/etc/passwd", 9).await.unwrap().unwrap(), b"one");
    // Nothing else changes an image; this shows who answers.
    let digest = id.hex();
    let layers = Snapshots::layers(&store, &id).unwrap();
    fs::write(layers[0].join("etc/passwd"), "two").unwrap();
    assert_eq!(read("/etc/passwd", 9).await.unwrap().unwrap(), b"one");
    assert_eq!(read("/etc/passwd", 2).await.unwrap(), None);
    assert_eq!(read("/none", 9).await.unwrap(), None);
    assert_eq!(count(), 3);
    assert_eq!(read("/big", 1 << 20).await.unwrap().unwrap(), big);
    assert_eq!(count(), 3);
    for number in 0..20 {
        let path = format!("/none/{number}");
        assert_eq!(store.read_image(&id, &path, 9).await.unwrap(), None);
    }
    assert_eq!(count(), 8);

    Images::remove(&store, digest, false).await.unwrap();
    settle(&store);
    assert_eq!(read("/etc/passwd", 9).await.unwrap_err().kind(), ErrorKind::ImageNotFound);
    assert_eq!(image(&store, &[&layer]).await, id);
    assert_eq!(read("/etc/passwd", 9).await.unwrap().unwrap(), b"one");

    let empty = image(&store, &[]).await;
    assert_eq!(store.read_image(&empty, "/etc/passwd", 9).await.unwrap(), None);
}
