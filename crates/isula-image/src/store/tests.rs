//! The store across removals, restarts, crashes and damage.

use std::{fs, path::PathBuf};

use isula_core::{
    error::ErrorKind,
    image::ImageId,
    ports::{Images, ImportOptions, RemovedImage, Rootfs, Snapshots},
};

use crate::{
    Store, hash,
    testing::{
        ArchiveImage, Scratch, Tar, config, container, docker_archive, gzip, reference, settle,
        silent, stream, text,
    },
};

/// Two images on one base: `one:1`, and `two:1` with `other/two:1`.
async fn filled(scratch: &Scratch) -> (Store, [ImageId; 2]) {
    let store = scratch.store();
    let base = Tar::default().dir("./").file("base", b"base").end();
    let top = Tar::default().file("top", b"top").end();
    let images: [ArchiveImage<'_>; 2] = [
        (config(&[&base], "one"), &["one:1"], &[&base]),
        (config(&[&base, &top], "two"), &["two:1", "other/two:1"], &[&base, &top]),
    ];
    store.load(stream(&docker_archive(&images).end()), None, silent()).await.unwrap();
    let ids = images.map(|(config, ..)| ImageId(hash::digest(&config)));
    (store, ids)
}

#[tokio::test]
async fn images_are_found_by_every_way_to_name_them() {
    let scratch = Scratch::new();
    let (store, [one, two]) = filled(&scratch).await;
    let found = |query: &str| store.find(query).map(|image| image.id.clone());
    let short: String = one.hex().chars().take(12).collect();
    let digest = format!("two@sha256:{}", "d".repeat(64));
    store.tag(&one, &reference("deadbeef")).await.unwrap();
    for (query, id) in [
        ("one:1", &one),
        ("docker.io/library/one:1", &one),
        ("two:1", &two),
        ("other/two:1", &two),
        (one.hex(), &one),
        (&one.to_string(), &one),
        (&short, &one),
        (&format!("sha256:{short}"), &one),
        ("deadbeef", &one),
    ] {
        assert_eq!(&found(query).unwrap(), id, "{query}");
    }
    for (query, kind) in [
        ("one", ErrorKind::ImageNotFound),
        ("three", ErrorKind::ImageNotFound),
        (&digest, ErrorKind::ImageNotFound),
        (&"0".repeat(64), ErrorKind::ImageNotFound),
        ("sha256:00000000000", ErrorKind::ImageNotFound),
        ("", ErrorKind::InvalidInput),
        ("UPPER", ErrorKind::InvalidInput),
        ("a b", ErrorKind::InvalidInput),
        ("sha256:", ErrorKind::InvalidInput),
        ("../x", ErrorKind::InvalidInput),
    ] {
        assert_eq!(found(query).unwrap_err().kind(), kind, "{query}");
    }
    assert_eq!(found("one").unwrap_err().to_string(), "no such image: one");
}

#[tokio::test]
async fn a_prefix_of_several_ids_is_ambiguous() {
    let scratch = Scratch::new();
    let store = scratch.store();
    for number in 0..17 {
        let archive = docker_archive(&[(config(&[], &number.to_string()), &[], &[])]).end();
        store.load(stream(&archive), None, silent()).await.unwrap();
    }
    let ids: Vec<_> = Images::list(&store).iter().map(|image| image.id.hex().to_owned()).collect();
    let shared =
        ids.iter().find(|id| ids.iter().filter(|other| other[..1] == id[..1]).count() > 1).unwrap();
    assert_eq!(store.find(&shared[..1]).unwrap_err().kind(), ErrorKind::InvalidInput);
}

#[tokio::test]
async fn names_are_taken_one_by_one_and_the_image_goes_with_the_last() {
    let scratch = Scratch::new();
    let (store, [one, two]) = filled(&scratch).await;
    let untagged = |name: &str| RemovedImage::Untagged(name.to_owned());
    let error = Images::remove(&store, two.hex(), false).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InUse, "{error}");
    assert_eq!(Images::remove(&store, "two:1", false).await.unwrap(), [untagged("two:1")]);
    assert_eq!(store.find("other/two:1").unwrap().id, two);
    let removed = Images::remove(&store, "other/two:1", false).await.unwrap();
    assert_eq!(removed, [untagged("other/two:1"), RemovedImage::Deleted(two.clone())]);
    settle(&store);
    assert!(store.get(&two).is_none());
    // The shared layer stays, the other one's own is gone.
    assert_eq!(fs::read_dir(scratch.root().join("layers")).unwrap().count(), 1);
    assert_eq!(scratch.files("blobs").len(), 2);
    let removed = Images::remove(&store, &one.hex()[..10], false).await.unwrap();
    assert_eq!(removed, [untagged("one:1"), RemovedImage::Deleted(one)]);
    settle(&store);
    for dir in ["blobs/sha256", "layers", "images", "refs", "tmp", "trash"] {
        assert_eq!(scratch.files(dir), Vec::<String>::new(), "{dir}");
    }
    assert_eq!(
        Images::remove(&store, "one:1", false).await.unwrap_err().kind(),
        ErrorKind::ImageNotFound
    );
}

#[tokio::test]
async fn an_image_that_a_container_needs_stays() {
    let scratch = Scratch::new();
    let (store, [one, _]) = filled(&scratch).await;
    let id = container(1);
    store.prepare(&id, &one).await.unwrap();
    for query in ["one:1", one.hex()] {
        let error = Images::remove(&store, query, false).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InUse, "{query}: {error}");
        assert!(error.to_string().contains(id.short()), "{error}");
    }
    let removed = Images::remove(&store, "one:1", true).await.unwrap();
    assert_eq!(removed, [RemovedImage::Untagged("one:1".into())]);
    assert!(store.get(&one).unwrap().tags.is_empty());
    assert!(store.rootfs(&id, &one, false).is_ok());
    Snapshots::remove(&store, &id).await.unwrap();
    assert_eq!(
        Images::remove(&store, one.hex(), false).await.unwrap(),
        [RemovedImage::Deleted(one)]
    );
}

#[tokio::test]
async fn a_name_moves_and_the_digest_of_a_repository_goes_with_its_last_tag() {
    let scratch = Scratch::new();
    let (store, [one, two]) = filled(&scratch).await;
    store.tag(&two, &reference("one:1")).await.unwrap();
    assert_eq!(store.find("one:1").unwrap().id, two);
    assert!(store.get(&one).unwrap().tags.is_empty());
    let digest = format!("one@sha256:{}", "d".repeat(64));
    let error = store.tag(&two, &reference(&digest)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    // As a pull makes it.
    let image = store.get(&two).unwrap();
    let holds = {
        let mut holds = Vec::new();
        for layer in &image.layers {
            let crate::layer::Claim::Present(hold) = store.claim_layer(layer).await else {
                panic!()
            };
            holds.push(hold);
        }
        holds
    };
    let new = crate::NewImage {
        config: image.raw_config.to_vec(),
        manifests: vec![b"the manifest".to_vec()],
        layers: holds,
        names: vec![reference("one:1"), reference(&digest)],
        origin: crate::layer::Origin::Pull,
    };
    store.commit_image(new).await.unwrap();
    assert_eq!(store.find(&digest).unwrap().digests, [reference(&digest)]);
    assert!(scratch.root().join("blobs/sha256").join(hash::digest(b"the manifest").hex()).exists());
    let removed = Images::remove(&store, "one:1", false).await.unwrap();
    let expected = ["one:1".to_owned(), digest.clone()].map(RemovedImage::Untagged);
    assert_eq!(removed, expected);
    assert_eq!(store.find("two:1").unwrap().digests, []);
}

#[tokio::test]
async fn what_a_crash_left_is_finished_or_undone_at_the_next_start() {
    let scratch = Scratch::new();
    let (store, [one, two]) = filled(&scratch).await;
    settle(&store);
    drop(store);
    let root = scratch.root();
    let file = |name: &str| hash::digest(name.as_bytes()).hex().to_owned() + ".json";
    let record = |name: &str, id: &ImageId| format!(r#"{{"reference":"{name}","image":"{id}"}}"#);
    let absent = ImageId(hash::digest(b"never committed"));
    // A pull that was cut off before, and one after the image's record.
    fs::create_dir_all(root.join("tmp/1-2/diff/x")).unwrap();
    fs::write(root.join("tmp/1-3"), "half").unwrap();
    fs::create_dir_all(root.join("trash/old/x")).unwrap();
    let before = "docker.io/library/before:1";
    fs::write(root.join("refs").join(file(before) + ".new"), record(before, &absent)).unwrap();
    fs::write(root.join("refs").join(file("x") + ".new"), "").unwrap();
    let after = "docker.io/library/after:1";
    fs::write(root.join("refs").join(file(after) + ".new"), record(after, &one)).unwrap();
    // A removal that was cut off after the record.
    fs::remove_file(root.join(format!("images/{}.json", two.hex()))).unwrap();

    let store = scratch.store();
    settle(&store);
    assert_eq!(store.damage(), Vec::<String>::new());
    let names: Vec<_> = Images::list(&store).iter().flat_map(|image| image.tags.clone()).collect();
    assert_eq!(names, [reference("after:1"), reference("one:1")]);
    assert_eq!(fs::read_dir(root.join("layers")).unwrap().count(), 1);
    assert_eq!(scratch.files("blobs/sha256").len(), 1);
    assert_eq!(scratch.files("refs").len(), 2);
    for dir in ["tmp", "trash", "quarantine"] {
        assert_eq!(scratch.files(dir), Vec::<String>::new(), "{dir}");
    }
}

#[tokio::test]
async fn a_layer_that_was_unpacked_for_nothing_is_removed() {
    let scratch = Scratch::new();
    let store = scratch.store();
    let layer = Tar::default().file("f", b"x").end();
    let packed = gzip(&layer);
    let claim = store.claim_layer(&hash::digest(&layer)).await;
    let crate::layer::Claim::Missing(claim) = claim else { panic!("{claim:?}") };
    let blob = hash::digest(&packed);
    let blob = crate::layer::Blob { digest: &blob, size: packed.len() as u64 };
    let hold = claim.unpack(&packed[..], Some(blob), crate::layer::Origin::Pull).unwrap();
    for (size, why) in [
        (blob.size + 1, "bytes and not"),
        (blob.size - 1, "cannot read the layer: the layer is longer"),
    ] {
        let wrong = crate::layer::Blob { size, ..blob };
        let error = claim.unpack(&packed[..], Some(wrong), crate::layer::Origin::Pull).unwrap_err();
        assert!(text(&error).contains(why), "{}", text(&error));
    }
    drop(claim);
    settle(&store);
    assert_eq!(fs::read_dir(scratch.root().join("layers")).unwrap().count(), 1);
    drop(hold);
    settle(&store);
    assert_eq!(fs::read_dir(scratch.root().join("layers")).unwrap().count(), 0);
}

/// Damages one thing; gives what the damage report must name, and whether image `two` survives.
type Damage = fn(&std::path::Path, &ImageId) -> (PathBuf, bool);

const DAMAGES: [(&str, Damage); 8] = [
    ("an empty image record", |root, two| {
        let path = root.join(format!("images/{}.json", two.hex()));
        fs::write(&path, "").unwrap();
        (path, true)
    }),
    ("a stray image record", |root, _| {
        let path = root.join("images/notes.txt");
        fs::write(&path, "x").unwrap();
        (path, true)
    }),
    ("a configuration with other bytes", |root, two| {
        let path = root.join("blobs/sha256").join(two.hex());
        let mut bytes = fs::read(&path).unwrap();
        bytes[0] = b' ';
        fs::write(&path, bytes).unwrap();
        (root.join(format!("images/{}.json", two.hex())), false)
    }),
    ("a configuration cut off", |root, two| {
        fs::write(root.join("blobs/sha256").join(two.hex()), "{").unwrap();
        (root.join(format!("images/{}.json", two.hex())), false)
    }),
    ("a layer record of garbage", |root, _| {
        let path = top_layer(root);
        fs::write(path.join("layer.json"), "\0\0\0").unwrap();
        (path, false)
    }),
    ("a layer without its tree", |root, _| {
        let path = top_layer(root);
        fs::remove_dir_all(path.join("diff")).unwrap();
        (path, false)
    }),
    ("a name of garbage", |root, _| {
        let path = root
            .join("refs")
            .join(hash::digest(b"docker.io/library/two:1").hex().to_owned() + ".json");
        fs::write(&path, "{\"reference\":7}").unwrap();
        (path, true)
    }),
    ("a name in the wrong file", |root, _| {
        let path = root
            .join("refs")
            .join(hash::digest(b"docker.io/library/two:1").hex().to_owned() + ".json");
        let moved = root.join("refs").join("0".repeat(64) + ".json");
        fs::rename(path, &moved).unwrap();
        (moved, true)
    }),
];

#[tokio::test]
async fn a_damaged_file_is_quarantined_and_named_and_the_rest_is_served() {
    for (name, damage) in DAMAGES {
        let scratch = Scratch::new();
        let (store, [one, two]) = filled(&scratch).await;
        settle(&store);
        store.prepare(&container(1), &two).await.unwrap();
        drop(store);
        let (path, survives) = damage(&scratch.root(), &two);

        let store = scratch.store();
        let report = store.damage();
        let named = |line: &String| line.contains(path.to_str().unwrap());
        assert!(report.iter().any(named), "{name}: {report:?}");
        assert_eq!(store.find("one:1").unwrap().id, one, "{name}");
        assert_eq!(store.get(&two).is_some(), survives, "{name}");
        let Rootfs::Overlay { .. } = (match store.rootfs(&container(1), &two, false) {
            Ok(rootfs) => rootfs,
            Err(error) => {
                assert!(!survives && error.kind() == ErrorKind::ImageNotFound, "{name}: {error}");
                store.rootfs(&container(1), &one, false).unwrap()
            }
        }) else {
            panic!()
        };
        assert!(!scratch.files("quarantine").is_empty(), "{name}");
        // It is not reported twice.
        settle(&store);
        drop(store);
        assert_eq!(scratch.store().damage(), Vec::<String>::new(), "{name}");
    }
}

fn top_layer(root: &std::path::Path) -> PathBuf {
    let top = hash::digest(&Tar::default().file("top", b"top").end());
    root.join("layers").join(top.hex())
}

#[tokio::test]
async fn damage_to_an_image_removes_no_layer_that_it_may_have_named() {
    let scratch = Scratch::new();
    let (store, [_, two]) = filled(&scratch).await;
    store.prepare(&container(1), &two).await.unwrap();
    drop(store);
    fs::remove_file(scratch.root().join("blobs/sha256").join(two.hex())).unwrap();
    for _ in 0..2 {
        let store = scratch.store();
        settle(&store);
        assert!(top_layer(&scratch.root()).join("diff/top").exists());
    }
}

#[tokio::test]
async fn an_import_is_an_image_of_one_layer_in_any_compression() {
    let root = Tar::default().dir("./").file("etc/hostname", b"x").end();
    let zstd = zstd::encode_all(&root[..], 3).unwrap();
    let mut writer =
        lzma_rust2::XzWriter::new(Vec::new(), lzma_rust2::XzOptions::with_preset(1)).unwrap();
    std::io::Write::write_all(&mut writer, &root).unwrap();
    let xz = writer.finish().unwrap();
    for bytes in [&root, &gzip(&root), &zstd, &xz] {
        let scratch = Scratch::new();
        let store = scratch.store();
        let options = ImportOptions {
            reference: Some(reference("mine:1")),
            changes: vec!["CMD [\"/bin/sh\"]".into(), "ENV A=b".into()],
            message: "by hand".into(),
        };
        let image = store.import(stream(bytes), options).await.unwrap();
        assert_eq!(image.tags, [reference("mine:1")]);
        assert_eq!(image.id.0, hash::digest(&image.raw_config));
        assert_eq!(image.layers, [hash::digest(&root)]);
        assert_eq!(
            (image.config.cmd.as_slice(), image.config.env.as_slice()),
            (&["/bin/sh".to_owned()][..], &["A=b".to_owned()][..])
        );
        assert!(String::from_utf8_lossy(&image.raw_config).contains("by hand"));
    }
    let scratch = Scratch::new();
    let store = scratch.store();
    for (bytes, why) in [
        (&root[..root.len() - 1024], "end mark"),
        (&root[..700], "cut off"),
        (&gzip(&root)[..60], "cannot read"),
        (b"", "end mark"),
        (b"hello", "cut off"),
    ] {
        let error = store.import(stream(bytes), ImportOptions::default()).await.unwrap_err();
        assert!(
            error.kind() == ErrorKind::Corrupt && text(&error).contains(why),
            "{}",
            text(&error)
        );
    }
    let bad = ImportOptions { changes: vec!["RUN x".into()], ..ImportOptions::default() };
    assert_eq!(store.import(stream(&root), bad).await.unwrap_err().kind(), ErrorKind::InvalidInput);
    settle(&store);
    assert_eq!(scratch.files("layers"), Vec::<String>::new());
}

#[tokio::test]
async fn a_bomb_stops_at_the_limit() {
    let scratch = Scratch::new();
    let store =
        Store::open(crate::Settings { unpacked_limit: Some(1 << 20), ..scratch.settings() })
            .unwrap();
    let bomb = gzip(&Tar::default().file("zeros", &vec![0; 8 << 20]).end());
    let error = store.import(stream(&bomb), ImportOptions::default()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ResourceExhausted, "{}", text(&error));
    // Not later: who is told that something is too large tries something smaller at once.
    assert_eq!([scratch.files("tmp"), scratch.files("trash")], [const { Vec::<String>::new() }; 2]);
}

#[tokio::test]
async fn everything_below_the_root_is_roots_alone() {
    use std::os::unix::fs::PermissionsExt;
    let scratch = Scratch::new();
    fs::create_dir(scratch.root()).unwrap();
    fs::set_permissions(scratch.root(), PermissionsExt::from_mode(0o755)).unwrap();
    let _store = scratch.store();
    for dir in
        ["", "layers", "images", "refs", "snapshots", "tmp", "trash", "blobs/sha256", "quarantine"]
    {
        let mode = fs::metadata(scratch.root().join(dir)).unwrap().permissions().mode();
        assert_eq!(mode & 0o7777, 0o700, "{dir}");
    }
}
