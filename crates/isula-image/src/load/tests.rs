//! Archives of images, whole and broken.

use std::sync::{Arc, Mutex};

use isula_core::{
    error::ErrorKind,
    image::Image,
    ports::{Images, Progress, Result},
};

use crate::{
    Store, hash,
    testing::{
        ArchiveImage, Scratch, Tar, config, digest, docker_archive, gzip, reference, settle,
        silent, stream, text,
    },
};

async fn load(store: &Store, archive: &[u8]) -> Result<Vec<Arc<Image>>> {
    store.load(stream(archive), None, silent()).await
}

fn layer(name: &str, content: &[u8]) -> Vec<u8> {
    Tar::default().dir("./").file(name, content).end()
}

/// The blobs and the index of an OCI layout under construction.
#[derive(Default, Clone)]
struct Oci {
    tar: Tar,
    index: Vec<serde_json::Value>,
}

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const INDEX: &str = "application/vnd.oci.image.index.v1+json";

impl Oci {
    fn blob(&mut self, media_type: &str, bytes: &[u8]) -> serde_json::Value {
        let digest = hash::digest(bytes);
        self.tar = self.tar.clone().file(&format!("blobs/sha256/{}", digest.hex()), bytes);
        serde_json::json!({"mediaType": media_type, "digest": digest.as_str(), "size": bytes.len()})
    }

    fn manifest(&mut self, config: &[u8], layers: &[&[u8]]) -> serde_json::Value {
        let config = self.blob("application/vnd.oci.image.config.v1+json", config);
        let media_type = "application/vnd.oci.image.layer.v1.tar+gzip";
        let layers: Vec<_> = layers.iter().map(|layer| self.blob(media_type, layer)).collect();
        let manifest = serde_json::json!({"schemaVersion": 2, "config": config, "layers": layers});
        self.blob(MANIFEST, &serde_json::to_vec(&manifest).unwrap())
    }

    fn end(self) -> Vec<u8> {
        let index = serde_json::json!({"schemaVersion": 2, "manifests": self.index});
        self.tar
            .file("index.json", &serde_json::to_vec(&index).unwrap())
            .file("oci-layout", br#"{"imageLayoutVersion":"1.0.0"}"#)
            .end()
    }
}

fn named(mut descriptor: serde_json::Value, name: &str) -> serde_json::Value {
    descriptor["annotations"] = serde_json::json!({"io.containerd.image.name": name});
    descriptor
}

#[tokio::test]
async fn a_docker_archive_brings_all_its_images_and_shared_layers_once() {
    let scratch = Scratch::new();
    let store = scratch.store();
    let (base, top) = (layer("base", b"12345"), layer("top", b"678"));
    let (one, two) = (config(&[&base], "one"), config(&[&base, &top], "two"));
    let images: [ArchiveImage<'_>; 2] =
        [(one.clone(), &["a:1", "a:2"], &[&base]), (two.clone(), &["b"], &[&base, &top])];
    let archive = gzip(&docker_archive(&images).end());
    let seen = Arc::new(Mutex::new(Vec::new()));
    let sink = Arc::clone(&seen);
    let progress = Arc::new(move |event| {
        if let Progress::Layer { step, .. } = event {
            sink.lock().unwrap().push(step);
        }
    });
    let loaded = store.load(stream(&archive), None, progress).await.unwrap();
    let tags = |image: &Image| image.tags.iter().map(|tag| tag.familiar()).collect::<Vec<_>>();
    assert_eq!(
        loaded.iter().map(|image| tags(image)).collect::<Vec<_>>(),
        [vec!["a:1", "a:2"], vec!["b:latest"]]
    );
    assert_eq!(loaded[1].id.0, hash::digest(&two));
    assert_eq!((loaded[0].size, loaded[1].size), (5, 8));
    assert_eq!(loaded[1].config.cmd, ["sh"]);
    assert_eq!(*seen.lock().unwrap(), ["Done", "Exists", "Done"]);
    // The same again changes nothing; and it is all there after a restart.
    assert_eq!(load(&store, &archive).await.unwrap(), loaded);
    settle(&store);
    let again = scratch.store();
    assert_eq!(again.damage(), Vec::<String>::new());
    assert_eq!(again.find("b").unwrap(), loaded[1]);
    assert_eq!(again.list().len(), 2);
    assert_eq!(scratch.files("tmp"), Vec::<String>::new());
}

#[tokio::test]
async fn layers_may_be_links_within_the_archive_but_not_out_of_it() {
    let base = layer("f", b"x");
    let id = hash::digest(&base).hex().to_owned();
    let image = config(&[&base], "");
    let name = hash::digest(&image).hex().to_owned();
    let manifest = |layer: &str| {
        format!(r#"[{{"Config":"{name}.json","RepoTags":null,"Layers":["{layer}"]}}]"#).into_bytes()
    };
    let start = || {
        Tar::default().file(&format!("{name}.json"), &image).file(&format!("{id}/layer.tar"), &base)
    };
    for (archive, outcome) in [
        (
            start()
                .symlink("v2/layer.tar", &format!("../{id}/layer.tar"))
                .file("manifest.json", &manifest("v2/layer.tar")),
            "",
        ),
        (
            start()
                .hardlink("v2.tar", &format!("{id}/layer.tar"))
                .file("manifest.json", &manifest("./v2.tar")),
            "",
        ),
        (
            start()
                .symlink("v2.tar", "../../../etc/passwd")
                .file("manifest.json", &manifest("v2.tar")),
            "leads out of the archive",
        ),
        (start().file("manifest.json", &manifest("../../etc/passwd")), "lacks"),
        (start().symlink("l", "l").file("manifest.json", &manifest("l")), "lacks"),
        (
            start().file("../x", b"").file("manifest.json", &manifest("x")),
            "leads out of the archive",
        ),
        (
            start().raw(b"pipe", b'6', b"", b"").file("manifest.json", &manifest("x")),
            "unexpected type",
        ),
    ] {
        let scratch = Scratch::new();
        let store = scratch.store();
        let got = load(&store, &archive.end()).await;
        let shown = got.as_ref().err().map(text).unwrap_or_default();
        assert!(
            shown.contains(outcome) && shown.is_empty() == outcome.is_empty(),
            "{outcome}: {shown}"
        );
    }
}

#[tokio::test]
async fn an_oci_archive_is_loaded_for_this_platform_and_by_its_names() {
    let scratch = Scratch::new();
    let store = scratch.store();
    let base = layer("base", b"12345");
    let packed = gzip(&base);
    let mut oci = Oci::default();
    let mut candidates = Vec::new();
    for (architecture, extra) in
        [("s390x", "x"), (crate::platform::Platform::host().architecture.as_str(), "ours")]
    {
        let mut manifest = oci.manifest(&config(&[&base], extra), &[&packed]);
        manifest["platform"] = serde_json::json!({"os": "linux", "architecture": architecture});
        candidates.push(manifest);
    }
    let mut attestation = oci.blob(MANIFEST, b"{}");
    attestation["annotations"] =
        serde_json::json!({"vnd.docker.reference.type": "attestation-manifest"});
    candidates.push(attestation);
    let nested = serde_json::json!({"schemaVersion": 2, "manifests": candidates});
    let nested =
        oci.blob("application/vnd.oci.image.index.v1+json", &serde_json::to_vec(&nested).unwrap());
    let plain = oci.manifest(&config(&[&base], "plain"), &[&base]);
    let mut lone = oci.manifest(&config(&[], "lone"), &[]);
    lone["annotations"] = serde_json::json!({"org.opencontainers.image.ref.name": "latest"});
    let first = named(nested, "docker.io/library/multi:1");
    oci.index = vec![first.clone(), first, named(plain, "plain:2"), lone];
    let loaded = load(&store, &oci.end()).await.unwrap();
    assert_eq!(loaded.len(), 3);
    assert_eq!(store.find("multi:1").unwrap().id.0, hash::digest(&config(&[&base], "ours")));
    assert_eq!(store.find("plain:2").unwrap().size, 5);
    let dangling = loaded.iter().find(|image| image.tags.is_empty()).unwrap();
    assert_eq!(dangling.layers, []);
}

/// Loads what must be refused, and finds the store as empty as before.
async fn assert_refused(archive: &[u8], why: &str) {
    let scratch = Scratch::new();
    let store = scratch.store();
    let error = load(&store, archive).await.expect_err(why);
    assert!(text(&error).contains(why), "{why}: {}", text(&error));
    let kind = error.kind();
    assert!(matches!(kind, ErrorKind::Corrupt | ErrorKind::Unsupported), "{why}: {error:?}");
    settle(&store);
    for dir in ["blobs/sha256", "layers", "images", "refs", "tmp", "trash", "quarantine"] {
        assert_eq!(scratch.files(dir), Vec::<String>::new(), "{why}: {dir}");
    }
}

#[tokio::test]
async fn a_docker_archive_that_contradicts_itself_is_refused_and_leaves_nothing() {
    let (base, other) = (layer("base", b"12345"), layer("base", b"54321"));
    let image = config(&[&base], "");
    let docker = |config: &[u8], layers: &[&[u8]]| {
        docker_archive(&[(config.to_vec(), &["x"], layers)]).end()
    };
    let good = docker(&image, &[&base]);
    let manifest = |text: &str| Tar::default().file("manifest.json", text.as_bytes()).end();
    let name = format!("{}.json", digest("x").hex());
    let renamed = format!(r#"[{{"Config":"{name}","Layers":[]}}]"#);
    let renamed = Tar::default().file(&name, &image).file("manifest.json", renamed.as_bytes());
    let many: Vec<&[u8]> = vec![&base; 128];
    let no_tar: [&[u8]; 1] = [b"no tar at all"];
    for (archive, why) in [
        (docker(&image, &[&other]), "and not to"),
        (docker(&image, &[&base, &other]), "the manifest has 2 layers and the configuration 1"),
        (docker(&config(&many, ""), &many), "128 layers"),
        (docker(&config(&no_tar, ""), &no_tar), "cut off"),
        (renamed.end(), "has the digest"),
        (manifest("[]"), "names no image"),
        (manifest(r#"[{"Config":"a","Config":"b"}]"#), "twice"),
        (manifest(&" ".repeat(5 << 20)), "larger than 4194304 bytes"),
        (Tar::default().file("repositories", b"{}").end(), "before 1.10"),
        (Tar::default().file("hello", b"").end(), "holds no image"),
        (Tar::default().end(), "holds no image"),
        (good[..good.len() - 1024].to_vec(), "cut off"),
        (good[..good.len() / 2].to_vec(), "cut off"),
        (gzip(&good)[..200].to_vec(), "cannot read the archive"),
        (b"#!/bin/sh\necho".to_vec(), "cut off"),
        (Vec::new(), "the archive is empty"),
    ] {
        assert_refused(&archive, why).await;
    }
}

#[tokio::test]
async fn an_oci_archive_that_contradicts_itself_is_refused_and_leaves_nothing() {
    let (base, other) = (layer("base", b"12345"), layer("base", b"54321"));
    let image = config(&[&base], "");
    let of = |layer: &[u8], change: fn(&mut serde_json::Value)| {
        let mut oci = Oci::default();
        let mut manifest = oci.manifest(&image, &[layer]);
        change(&mut manifest);
        oci.index = vec![manifest];
        oci.end()
    };
    let mut both = Oci::default();
    both.index = vec![both.blob(MANIFEST, br#"{"manifests":[],"layers":[]}"#)];
    let packed = gzip(&base);
    for (archive, why) in [
        (of(&packed, |manifest| manifest["size"] = 7.into()), "bytes and not 7"),
        (of(&packed, |manifest| manifest["digest"] = digest("x").as_str().into()), "lacks"),
        (of(&packed, |manifest| manifest["mediaType"] = INDEX.into()), "lacks the members"),
        (of(&gzip(&other), |_| {}), "and not to"),
        (of(&packed[..100], |_| {}), "incomplete deflate stream"),
        (both.end(), "both a manifest and an index"),
    ] {
        assert_refused(&archive, why).await;
    }
}

#[tokio::test]
async fn a_blob_under_a_false_digest_is_named_by_it() {
    let base = layer("base", b"12345");
    let (image, packed) = (config(&[&base], ""), gzip(&base));
    let mut flipped = packed.clone();
    flipped[40] ^= 1;
    let (right, wrong) = (hash::digest(&packed), hash::digest(&flipped));
    let mut oci = Oci::default();
    oci.index = vec![oci.manifest(&image, &[&packed])];
    // The same archive with other bytes where the layer is.
    let archive = oci.end();
    let at = archive.windows(packed.len()).position(|window| window == packed).unwrap();
    let mut archive = archive.clone();
    archive[at..at + packed.len()].copy_from_slice(&flipped);
    let scratch = Scratch::new();
    let error = load(&scratch.store(), &archive).await.unwrap_err();
    let diff_id = hash::digest(&base);
    let expected = format!("cannot load layer {diff_id}: the layer {right} has the digest {wrong}");
    assert_eq!(text(&error), expected);
}

#[tokio::test]
async fn the_tag_names_the_one_image_and_only_one() {
    let scratch = Scratch::new();
    let store = scratch.store();
    let base = layer("f", b"x");
    let images: [ArchiveImage<'_>; 2] =
        [(config(&[&base], "1"), &["old"], &[&base]), (config(&[], "2"), &[], &[])];
    let one = docker_archive(&images[..1]).end();
    let loaded = store.load(stream(&one), Some(reference("new:7")), silent()).await.unwrap();
    assert_eq!(loaded[0].tags, [reference("new:7")]);
    let two = docker_archive(&images).end();
    let error = store.load(stream(&two), Some(reference("x")), silent()).await.unwrap_err();
    assert_eq!(
        (error.kind(), error.to_string().as_str()),
        (ErrorKind::InvalidInput, "cannot name 2 images x:latest")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn concurrent_loads_unpack_a_shared_layer_once() {
    let scratch = Scratch::new();
    let store = scratch.store();
    let base = layer("big", &vec![7; 3_000_000]);
    let unpacked = Arc::new(Mutex::new(0));
    let loads = (0..4).map(|number| {
        let image = config(&[&base], &number.to_string());
        let archive = docker_archive(&[(image, &[], &[&base])]).end();
        let (store, unpacked) = (store.clone(), Arc::clone(&unpacked));
        tokio::spawn(async move {
            let progress = Arc::new(move |event| {
                if matches!(event, Progress::Layer { step, .. } if step == "Done") {
                    *unpacked.lock().unwrap() += 1;
                }
            });
            store.load(stream(&archive), None, progress).await.unwrap();
        })
    });
    futures_util::future::try_join_all(loads).await.unwrap();
    assert_eq!(*unpacked.lock().unwrap(), 1);
    assert_eq!(store.list().len(), 4);
}

#[tokio::test]
async fn a_load_that_is_dropped_leaves_nothing() {
    use futures_util::StreamExt;
    let scratch = Scratch::new();
    let store = scratch.store();
    let base = layer("f", &vec![1; 100_000]);
    let archive = docker_archive(&[(config(&[&base], ""), &["x"], &[&base])]).end();
    // All but the end arrives; then the client goes.
    let pieces = stream(&archive[..archive.len() - 600]);
    let endless = Box::pin(pieces.chain(futures_util::stream::pending()));
    let load = store.load(endless, None, silent());
    assert!(futures_util::future::poll_immediate(load).await.is_none());
    let broken = Box::pin(stream(&archive[..5000]).chain(futures_util::stream::iter([Err(
        std::io::Error::from(std::io::ErrorKind::ConnectionReset),
    )])));
    let error = store.load(broken, None, silent()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    settle(&store);
    assert_eq!(store.list().len(), 0);
    for dir in ["layers", "images", "refs", "tmp"] {
        assert_eq!(scratch.files(dir), Vec::<String>::new(), "{dir}");
    }
}
