//! What is saved is what was loaded, byte for byte; and what is damaged is found.

use std::{fs, sync::Arc};

use futures_util::StreamExt;
use isula_core::{
    error::{ErrorKind, PortError},
    ports::{ByteStream, Checked, ImageFormat, Images, Result, Rootfs, Snapshots},
};

use crate::{
    Store,
    archive::{Kind, Reader},
    hash,
    testing::{
        Scratch, Tar, config, container, docker_archive, gzip, reference, settle, silent, stream,
        text,
    },
};

async fn collect(mut bytes: ByteStream) -> Result<Vec<u8>> {
    let mut all = Vec::new();
    while let Some(piece) = bytes.next().await {
        match piece {
            Ok(piece) => all.extend_from_slice(&piece),
            Err(error) => return Err(error.downcast::<PortError>().unwrap()),
        }
    }
    Ok(all)
}

/// The files of a tar by name.
fn members(tar: &[u8]) -> Vec<(String, Vec<u8>)> {
    let mut archive = Reader::new(tar);
    let mut all = Vec::new();
    while let Some(entry) = archive.next_entry().unwrap() {
        let mut bytes = Vec::new();
        std::io::Read::read_to_end(&mut archive.data(), &mut bytes).unwrap();
        if let Kind::File { .. } = entry.kind {
            all.push((String::from_utf8(entry.path).unwrap(), bytes));
        }
    }
    assert!(archive.has_ended());
    all
}

/// A layer with everything that a header can say in its own way.
fn odd_layer() -> Vec<u8> {
    let mut tar = Tar::default()
        .dir("./")
        .dir("d/")
        .file("d/.wh.gone", b"a whiteout may have content")
        .file("d/.wh..wh..opq", b"")
        .file("big", &vec![7; 300_000])
        .pax(&[("path", b"d/long"), ("mtime", b"12.5"), ("SCHILY.xattr.user.x", b"y")])
        .file("short", b"content")
        .hardlink("other", "d/long")
        .symlink("link", "d")
        .file("link/through", b"below a link")
        .end();
    // More than an end mark, and garbage after it.
    tar.extend([0; 5000]);
    tar.extend(b"garbage");
    tar
}

async fn loaded(store: &Store, layers: &[&[u8]], tags: &[&str]) -> Vec<u8> {
    let bytes = config(layers, "saved");
    let archive = docker_archive(&[(bytes.clone(), tags, layers)]).end();
    store.load(stream(&gzip(&archive)), None, silent()).await.unwrap();
    bytes
}

#[tokio::test]
async fn layers_are_written_again_byte_for_byte() {
    let scratch = Scratch::new();
    let store = scratch.store();
    let (odd, plain) = (odd_layer(), Tar::default().file("x", b"1").open());
    let config = loaded(&store, &[&odd, &plain], &["a:1", "b/c:2"]).await;
    let queries = ["a:1".to_owned(), "b/c:2".to_owned(), "a:1".to_owned()];
    let save = |format| store.save(&queries, format, silent()).unwrap();
    let docker = collect(save(ImageFormat::DockerArchive)).await.unwrap();
    let found = members(&docker);
    assert_eq!(found[0].0, "manifest.json");
    let manifest: serde_json::Value = serde_json::from_slice(&found[0].1).unwrap();
    let names = serde_json::json!(["docker.io/library/a:1", "docker.io/b/c:2"]);
    assert_eq!(manifest[0]["RepoTags"], names);
    let has = |bytes: &[u8]| found.iter().any(|(_, member)| member == bytes);
    assert!(has(&config) && has(&odd) && has(&plain));
    assert_eq!(found.len(), 4);
    // The same again is the same archive.
    assert_eq!(collect(save(ImageFormat::DockerArchive)).await.unwrap(), docker);

    let oci = collect(save(ImageFormat::OciArchive)).await.unwrap();
    for archive in [docker, oci] {
        let other = Scratch::new();
        let other = other.store();
        let images = other.load(stream(&archive), None, silent()).await.unwrap();
        assert_eq!(images[0].id.0, hash::digest(&config));
        assert_eq!(images[0].tags, [reference("b/c:2"), reference("a:1")]);
    }
    let by_id =
        store.save(&[hash::digest(&config).hex().to_owned()], ImageFormat::DockerArchive, silent());
    let manifest = members(&collect(by_id.unwrap()).await.unwrap()).remove(0).1;
    assert!(String::from_utf8(manifest).unwrap().contains("\"RepoTags\":null"));
    assert!(store.save(&["none".to_owned()], ImageFormat::DockerArchive, silent()).is_err());
    assert!(store.save(&[], ImageFormat::DockerArchive, silent()).is_err());
}

#[tokio::test]
async fn a_layer_without_a_recipe_gets_another_id_that_its_image_names() {
    let scratch = Scratch::new();
    let store = scratch.store();
    // The second file takes the place of the first, whose content is gone.
    let twice = Tar::default()
        .dir("d/")
        .file("d/f", b"first")
        .file("d/f", b"second")
        .file("d/.wh.gone", b"")
        .file("d/.wh..wh..opq", b"")
        .end();
    let config = loaded(&store, &[&twice], &["a:1"]).await;
    let lines = Arc::new(std::sync::Mutex::new(Vec::new()));
    let into = Arc::clone(&lines);
    let sink = Arc::new(move |step| into.lock().unwrap().push(format!("{step:?}")));
    let saved = store.save(&["a:1".to_owned()], ImageFormat::OciArchive, sink).unwrap();
    let archive = collect(saved).await.unwrap();
    assert!(lines.lock().unwrap()[0].contains("byte for byte"));
    let other = Scratch::new();
    let other_store = other.store();
    let images = other_store.load(stream(&archive), None, silent()).await.unwrap();
    assert_ne!(images[0].id.0, hash::digest(&config));
    let diff = other.root().join("layers").join(images[0].layers[0].hex()).join("diff/d");
    assert_eq!(fs::read(diff.join("f")).unwrap(), b"second");
    let gone = fs::symlink_metadata(diff.join("gone")).unwrap();
    assert!(std::os::unix::fs::FileTypeExt::is_char_device(&gone.file_type()));
    let opaque = isula_sys::xattr::get(&diff, b"trusted.overlay.opaque").unwrap();
    assert_eq!(opaque.as_deref(), Some(&b"y"[..]));
}

#[tokio::test]
async fn damage_is_found_moved_aside_and_repaired_by_the_next_load() {
    let scratch = Scratch::new();
    let store = scratch.store();
    let (one, two) = (Tar::default().file("x", b"1").end(), Tar::default().file("y", b"2").end());
    let config = loaded(&store, &[&one, &two], &["a:1"]).await;
    let check = || async {
        let damage = Arc::new(std::sync::Mutex::new(Vec::new()));
        let into = Arc::clone(&damage);
        let found = Arc::new(move |found| {
            if let Checked::Damage(text) = found {
                into.lock().unwrap().push(text);
            }
        });
        let result = store.check(found).await.unwrap();
        (result.damaged, damage.lock().unwrap().clone())
    };
    assert_eq!(check().await, (0, Vec::new()));
    let layer = |bytes: &[u8]| scratch.root().join("layers").join(hash::digest(bytes).hex());
    fs::write(layer(&one).join("diff/x"), b"9").unwrap();
    let damaged = store.save(&["a:1".to_owned()], ImageFormat::DockerArchive, silent()).unwrap();
    let error = collect(damaged).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt, "{}", text(&error));
    fs::remove_file(layer(&two).join("diff/y")).unwrap();
    let blob = scratch.root().join("blobs/sha256").join(hash::digest(&config).hex());
    fs::write(&blob, b"{}").unwrap();
    let (damaged, texts) = check().await;
    assert_eq!((damaged, texts.len()), (3, 3), "{texts:?}");
    assert!(!layer(&one).exists() && !layer(&two).exists());
    assert_eq!(fs::read(&blob).unwrap(), config);
    assert_eq!(fs::read_dir(scratch.root().join("quarantine")).unwrap().count(), 3);
    // The image is still there, and the next load makes it whole.
    loaded(&store, &[&one, &two], &["a:1"]).await;
    assert_eq!(fs::read(layer(&one).join("diff/x")).unwrap(), b"1");
    assert_eq!(check().await, (0, Vec::new()));
    settle(&store);
    drop(store);
    let again = scratch.store();
    assert_eq!(Images::list(&again).len(), 1);
    assert_eq!(again.damage(), Vec::<String>::new());
}

#[tokio::test]
async fn an_export_shows_what_the_container_sees() {
    let scratch = Scratch::new();
    let store = scratch.store();
    let base = Tar::default()
        .dir("etc/")
        .file("etc/kept", b"k")
        .file("etc/gone", b"g")
        .dir("hidden/")
        .file("hidden/file", b"h")
        .hardlink("etc/again", "etc/kept")
        .end();
    let top = Tar::default().file("etc/.wh.gone", b"").file("hidden/.wh..wh..opq", b"").end();
    loaded(&store, &[&base, &top], &["a:1"]).await;
    let image = store.find("a:1").unwrap();
    let id = container(1);
    store.prepare(&id, &image.id).await.unwrap();
    let rootfs = store.rootfs(&id, &image.id, false).unwrap();
    let Rootfs::Overlay { upper, .. } = &rootfs else { panic!() };
    fs::create_dir(upper.join("etc")).unwrap();
    fs::write(upper.join("etc/new"), vec![3; 200_000]).unwrap();
    std::os::unix::fs::symlink("/etc/passwd", upper.join("link")).unwrap();
    // The path in the layer is too long for a socket's address.
    let short = scratch.dir.path().join("s");
    let _socket = std::os::unix::net::UnixListener::bind(&short).unwrap();
    fs::rename(short, upper.join("socket")).unwrap();
    let tar = collect(store.export(&rootfs).unwrap()).await.unwrap();
    let mut archive = Reader::new(&tar[..]);
    let mut seen = Vec::new();
    while let Some(entry) = archive.next_entry().unwrap() {
        let kind = match entry.kind {
            Kind::File { size, .. } => format!("file {size}"),
            other => format!("{other:?}"),
        };
        seen.push(format!("{} {kind}", String::from_utf8(entry.path).unwrap()));
    }
    let link = format!("{:?}", Kind::Symlink(b"/etc/passwd".to_vec()));
    let hard = format!("{:?}", Kind::Hardlink(b"etc/again".to_vec()));
    assert_eq!(
        seen,
        [
            "dev/ Directory".to_owned(),
            "etc/ Directory".to_owned(),
            "hidden/ Directory".to_owned(),
            format!("link {link}"),
            "proc/ Directory".to_owned(),
            "sys/ Directory".to_owned(),
            "etc/again file 1".to_owned(),
            "etc/hostname file 0".to_owned(),
            "etc/hosts file 0".to_owned(),
            format!("etc/kept {hard}"),
            "etc/new file 200000".to_owned(),
            "etc/resolv.conf file 0".to_owned(),
        ]
    );
    let changes = store.changes(&rootfs).await.unwrap();
    let changes: Vec<_> = changes
        .iter()
        .map(|change| format!("{:?} {}", change.kind, String::from_utf8_lossy(&change.path)))
        .collect();
    assert_eq!(changes, ["Changed /etc", "Added /etc/new", "Added /link", "Added /socket"]);
    assert!(store.disk_usage(upper).await.unwrap() >= 200_000);
    // Nobody reads it: the thread ends.
    drop(store.export(&rootfs).unwrap());
}

#[tokio::test]
async fn an_embedded_image_is_its_directories_and_copies_nothing() {
    let scratch = Scratch::new();
    let store = scratch.store();
    let base = scratch.dir.path().join("base");
    fs::create_dir_all(base.join("bin")).unwrap();
    let manifest = |layers: serde_json::Value, name: &str| {
        serde_json::json!({
            "schemaVersion": 1,
            "mediaType": "application/vnd.isula.embedded.manifest.v1+json",
            "name": name,
            "layers": layers,
            "config": {"Cmd": ["sh"], "Env": ["A=b"]},
        })
    };
    let bytes = |value: serde_json::Value| serde_json::to_vec(&value).unwrap();
    let good = bytes(manifest(serde_json::json!([{"path": base}]), "device/base:1"));
    let image = store.embed(good.clone()).await.unwrap();
    assert_eq!((image.config.cmd.as_slice(), image.size), (&["sh".to_owned()][..], 0));
    store.prepare(&container(1), &image.id).await.unwrap();
    let Rootfs::Overlay { lower, .. } = store.rootfs(&container(1), &image.id, false).unwrap()
    else {
        panic!()
    };
    // And the mount points below it.
    assert_eq!((lower.first(), lower.len()), (Some(&base), 2));
    assert!(Images::remove(&store, "device/base:1", false).await.is_err());
    assert!(store.save(&["device/base:1".into()], ImageFormat::OciArchive, silent()).is_err());
    drop(store);

    // It outlives a restart; without its record it is damage, and not an image of nothing.
    let store = scratch.store();
    assert!(store.rootfs(&container(1), &image.id, false).is_ok());
    drop(store);
    let record = scratch.root().join("images").join(format!("{}.json", image.id.hex()));
    fs::write(&record, b"").unwrap();
    let store = scratch.store();
    assert!(store.find("device/base:1").is_err());
    assert_eq!(store.damage().len(), 2, "{:?}", store.damage());
    store.embed(good).await.unwrap();

    for (layers, name) in [
        (serde_json::json!([]), "a"),
        (serde_json::json!([{"path": "relative"}]), "a"),
        (serde_json::json!([{"path": "/nonexistent/x"}]), "a"),
        (serde_json::json!([{"path": "/etc/passwd"}]), "a"),
        (serde_json::json!([{"path": "/usr/../etc"}]), "a"),
        (serde_json::json!([{"path": base}, {"path": base}]), "a"),
        (serde_json::json!([{"path": base, "digest": "x"}]), "a"),
        (serde_json::json!([{"path": base}]), "A//"),
    ] {
        let error = store.embed(bytes(manifest(layers, name))).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput, "{}", text(&error));
    }
}
