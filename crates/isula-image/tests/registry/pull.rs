//! Pulling into the store: what becomes visible, what is fetched once, and what leaves nothing.

use std::sync::{Arc, Condvar, Mutex};

use crate::image::{
    ARCHITECTURE, Layer, OCI_INDEX, OCI_MANIFEST, Shelf, TestImage, TestStore, config, index,
    unseen,
};
use crate::server::{Body, Reply, Seen, Server, digest, noise, reply, settings};
use isula_core::{
    error::{ErrorKind, chain},
    image::Reference,
    ports::{Images, Progress, PullOptions},
};

fn serve(shelf: Shelf) -> Server {
    Server::start(move |seen| shelf.answer(seen))
}

fn shelf(image: &TestImage) -> Shelf {
    let mut shelf = Shelf::default();
    image.shelve(&mut shelf, "1");
    shelf
}

fn small() -> TestImage {
    TestImage::new(&[Layer::new(&[("etc/a", b"one")]), Layer::new(&[("etc/b", &noise(300_000))])])
}

/// The error of a pull that must leave nothing behind.
async fn refusal(server: &Server, name: &str, platform: Option<&str>) -> (ErrorKind, String) {
    let test = TestStore::new(settings());
    let reference = server.reference(name);
    let options = PullOptions { platform: platform.map(str::to_owned), credentials: None };
    let error = test.store.pull(&reference, options, unseen()).await.unwrap_err();
    assert!(test.store.list().is_empty());
    for empty in ["images", "refs", "blobs/sha256", "tmp"] {
        assert!(test.entries(empty).is_empty(), "{empty}: {:?}", test.entries(empty));
    }
    let text = chain(&error);
    assert_eq!(text.matches(&reference.to_string()).count(), 1, "{text}");
    (error.kind(), text)
}

#[tokio::test]
async fn a_pulled_image_is_listed_with_its_names_and_its_files_are_there() {
    let image = small();
    let server = serve(shelf(&image));
    let test = TestStore::new(settings());
    let reference = server.reference("a/b:1");
    let pulled = test.store.pull(&reference, PullOptions::default(), unseen()).await.unwrap();
    assert_eq!(pulled.id.0, digest(&image.config));
    assert_eq!(pulled.tags, std::slice::from_ref(&reference));
    assert_eq!(pulled.digests, [reference.with_digest(digest(&image.manifest))]);
    assert_eq!(std::fs::read(test.layer(&image.layers[0]).join("etc/a")).unwrap(), b"one");
    assert_eq!(std::fs::read(test.layer(&image.layers[1]).join("etc/b")).unwrap(), noise(300_000));
    assert!(test.entries("tmp").is_empty());

    // Again: nothing but manifest and configuration is fetched.
    let before = server.count("/blobs/");
    test.store.pull(&reference, PullOptions::default(), unseen()).await.unwrap();
    assert_eq!(server.count("/blobs/"), before + 1);

    // By digest: verified, and no tag.
    let by_digest = reference.with_digest(digest(&image.manifest));
    let test = TestStore::new(settings());
    let pulled = test.store.pull(&by_digest, PullOptions::default(), unseen()).await.unwrap();
    assert_eq!((pulled.tags.len(), &pulled.digests[..]), (0, std::slice::from_ref(&by_digest)));
}

#[tokio::test]
async fn progress_tells_the_steps_of_each_layer() {
    let image = small();
    let server = serve(shelf(&image));
    let test = TestStore::new(settings());
    let steps = Arc::new(Mutex::new(Vec::new()));
    for wanted in ["Downloading Unpacking Done", "Exists"] {
        let log = Arc::clone(&steps);
        let sink = Arc::new(move |progress| log.lock().unwrap().push(progress));
        test.store.pull(&server.reference("x:1"), PullOptions::default(), sink).await.unwrap();
        for layer in &image.layers {
            let short = digest(&layer.blob).hex()[..12].to_owned();
            let mut seen: Vec<String> = Vec::new();
            for progress in &*steps.lock().unwrap() {
                let Progress::Layer { id, step, current, total } = progress else {
                    panic!("{progress:?}")
                };
                assert!(total.is_some_and(|total| *current <= total));
                if *id == short && seen.last() != Some(step) {
                    seen.push(step.clone());
                }
            }
            assert_eq!(seen.join(" "), wanted);
        }
        steps.lock().unwrap().clear();
    }
}

#[tokio::test]
async fn two_pulls_at_once_fetch_each_layer_once() {
    let shared = Layer::new(&[("shared", &noise(200_000))]);
    let one = TestImage::new(&[shared.clone(), Layer::new(&[("one", b"1")])]);
    let two = TestImage::new(&[shared.clone(), Layer::new(&[("two", b"2")]), shared.clone()]);
    let mut both = Shelf::default();
    one.shelve(&mut both, "one");
    two.shelve(&mut both, "two");
    let server = serve(both);
    let test = TestStore::new(settings());
    let pull = async |tag: &str| {
        let reference = server.reference(&format!("x:{tag}"));
        test.store.pull(&reference, PullOptions::default(), unseen()).await.unwrap()
    };
    let (first, second, third) = tokio::join!(pull("one"), pull("two"), pull("one"));
    assert_eq!(first.id, third.id);
    assert_eq!((first.layers.len(), second.layers.len()), (2, 3));
    assert_eq!(server.count(digest(&shared.blob).as_str()), 1);
    assert_eq!(test.entries("layers").len(), 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pull_that_waits_for_a_layer_takes_over_when_the_other_fails() {
    let image = TestImage::new(&[Layer::new(&[("a", &noise(100_000))])]);
    let shelf = shelf(&image);
    let blob = digest(&image.layers[0].blob).to_string();
    let (asked, wait) = tokio::sync::mpsc::unbounded_channel();
    let turn = Mutex::new(0);
    let server = Server::start(move |seen| {
        let good = shelf.answer(seen);
        if !seen.target.ends_with(&blob) {
            return good;
        }
        let mut turn = turn.lock().unwrap();
        *turn += 1;
        asked.send(*turn).unwrap();
        match (*turn, good.body) {
            (1, Body::Whole(bytes)) => {
                Reply { body: Body::Stall(bytes.len(), bytes[..500].to_vec()), ..good }
            }
            (_, body) => Reply { body, ..good },
        }
    });
    let mut patient = settings();
    patient.limits.stall = std::time::Duration::from_secs(3600);
    let test = TestStore::new(patient);
    let reference = server.reference("x:1");
    let start = || {
        let (store, reference) = (test.store.clone(), reference.clone());
        tokio::spawn(async move { store.pull(&reference, PullOptions::default(), unseen()).await })
    };
    let mut wait = wait;
    let first = start();
    assert_eq!(wait.recv().await, Some(1));
    let second = start();
    first.abort();
    assert!(first.await.unwrap_err().is_cancelled());
    let image = second.await.unwrap().unwrap();
    assert_eq!(image.layers.len(), 1);
    assert_eq!(wait.recv().await, Some(2));
    assert!(test.entries("tmp").is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn not_more_layers_are_fetched_at_once_than_allowed() {
    let layers: Vec<_> = (0..6_u8).map(|n| Layer::new(&[("a", &[n; 1000])])).collect();
    let image = TestImage::new(&layers);
    let (shelf, config) = (shelf(&image), digest(&image.config).to_string());
    // How many are being answered, how many have come, and the most at once.
    let counts = Arc::new((Mutex::new((0, 0, 0)), Condvar::new()));
    let shared = Arc::clone(&counts);
    let server = Server::start(move |seen| {
        if seen.target.contains("/blobs/") && !seen.target.ends_with(&config) {
            let (lock, changed) = &*shared;
            let mut now = lock.lock().unwrap();
            now.0 += 1;
            now.1 += 1;
            now.2 = now.0.max(now.2);
            changed.notify_all();
            // Each waits for a companion, of which the last two must be each other's.
            let place = now.1;
            drop(
                changed
                    .wait_while(now, |now| now.0 < 2 && now.1 == place && place % 2 == 1)
                    .unwrap(),
            );
            let mut now = lock.lock().unwrap();
            now.0 -= 1;
            changed.notify_all();
        }
        shelf.answer(seen)
    });
    let mut two = settings();
    two.max_concurrent_downloads = 2;
    two.limits.stall = std::time::Duration::from_secs(60);
    let test = TestStore::new(two);
    test.store.pull(&server.reference("x:1"), PullOptions::default(), unseen()).await.unwrap();
    assert_eq!(counts.0.lock().unwrap().2, 2);
}

#[tokio::test]
async fn bytes_that_are_not_what_was_promised_leave_nothing() {
    let image = small();
    let blob = digest(&image.layers[1].blob).to_string();
    let broken = |change: fn(&mut Vec<u8>)| {
        let mut shelf = shelf(&image);
        change(shelf.blobs.get_mut(&blob).unwrap());
        shelf
    };
    for (shelf, said) in [
        (broken(|bytes| bytes[5000] ^= 1), blob.as_str()),
        (broken(|bytes| *bytes.last_mut().unwrap() ^= 1), blob.as_str()),
        (broken(|bytes| bytes.truncate(bytes.len() - 1)), "shorter than"),
        (broken(|bytes| bytes.push(0)), "longer than"),
    ] {
        let (kind, text) = refusal(&serve(shelf), "x:1", None).await;
        assert_eq!(kind, ErrorKind::Corrupt, "{text}");
        assert!(text.contains(said), "{text}");
    }

    let liar = config(ARCHITECTURE, &[image.layers[1].clone(), image.layers[0].clone()]);
    let (kind, text) =
        refusal(&serve(shelf(&TestImage::with_config(&image.layers, &liar))), "x:1", None).await;
    assert_eq!(kind, ErrorKind::Corrupt);
    assert!(text.contains(image.layers[0].diff_id.as_str()), "{text}");

    let short = config(ARCHITECTURE, &image.layers[..1]);
    let (kind, text) =
        refusal(&serve(shelf(&TestImage::with_config(&image.layers, &short))), "x:1", None).await;
    assert_eq!(kind, ErrorKind::Corrupt);
    assert!(text.contains("names 1 layers, the manifest 2"), "{text}");
}

#[tokio::test]
async fn a_layer_that_a_mirror_spoiled_comes_from_the_next() {
    let image = small();
    let mut spoiled = shelf(&image);
    for bytes in spoiled.blobs.values_mut() {
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
    }
    let (bad, good) = (serve(spoiled), serve(shelf(&image)));
    let mut settings = settings();
    settings.mirrors = vec![bad.address.to_string(), good.address.to_string()];
    let test = TestStore::new(settings);
    let reference: Reference = "x:1".parse().unwrap();
    let pulled = test.store.pull(&reference, PullOptions::default(), unseen()).await.unwrap();
    assert_eq!(pulled.id.0, digest(&image.config));
    assert_eq!((bad.count("/blobs/"), good.count("/blobs/")), (3, 3));
}

fn several() -> (Shelf, TestImage, TestImage) {
    let layers = [Layer::new(&[("a", b"a")])];
    let one = TestImage::with_config(&layers, &config("riscv64", &layers));
    let other = TestImage::with_config(&layers, &config(ARCHITECTURE, &layers));
    let mut shelf = Shelf::default();
    one.shelve(&mut shelf, "riscv");
    other.shelve(&mut shelf, "own");
    let here = format!("linux/{ARCHITECTURE}");
    let list = index(&[
        (OCI_MANIFEST, b"attestation", "unknown/unknown"),
        (OCI_MANIFEST, &one.manifest, "linux/riscv64"),
        (OCI_MANIFEST, &other.manifest, &here),
    ]);
    shelf.manifest("list", OCI_INDEX, &list);
    (shelf, one, other)
}

#[tokio::test]
async fn the_image_for_the_platform_is_taken_from_an_index() {
    let (shelf, riscv, own) = several();
    let server = serve(shelf);
    let test = TestStore::new(settings());
    let pull = async |tag: &str, platform: Option<&str>| {
        let options = PullOptions { platform: platform.map(str::to_owned), credentials: None };
        test.store.pull(&server.reference(&format!("x:{tag}")), options, unseen()).await
    };
    let host = pull("list", None).await.unwrap();
    assert_eq!(host.id.0, digest(&own.config));
    // The name is that of the index, which is what was asked for.
    let seen = server.seen();
    assert!(seen[0].target.ends_with("/manifests/list"));
    assert!(host.digests[0].digest().is_some_and(|found| *found != digest(&own.manifest)));
    assert_eq!(pull("list", Some("linux/riscv64")).await.unwrap().id.0, digest(&riscv.config));

    let error = pull("list", Some("linux/s390x")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    let wanted = format!(
        "no image for linux/s390x, only for unknown/unknown, linux/riscv64, linux/{ARCHITECTURE}"
    );
    assert!(chain(&error).ends_with(&wanted), "{}", chain(&error));
    assert_eq!(pull("riscv", Some("linux/s390x")).await.unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(pull("list", Some("nonsense/")).await.unwrap_err().kind(), ErrorKind::InvalidInput);

    // Without a choice the one there is comes, with a remark.
    let lines = Arc::new(Mutex::new(Vec::new()));
    let log = Arc::clone(&lines);
    let sink = Arc::new(move |progress| match progress {
        Progress::Line(line) => log.lock().unwrap().push(line),
        Progress::Layer { .. } => {}
    });
    test.store.pull(&server.reference("x:riscv"), PullOptions::default(), sink).await.unwrap();
    assert_eq!(
        *lines.lock().unwrap(),
        [format!("the image is for linux/riscv64, not for linux/{ARCHITECTURE}")]
    );
}

#[tokio::test]
async fn indexes_are_followed_four_deep_and_no_further() {
    let image = small();
    let mut shelf = shelf(&image);
    let mut inner = (OCI_MANIFEST, image.manifest.clone());
    for depth in 1..=5 {
        let outer = index(&[(inner.0, &inner.1, "")]);
        shelf.manifest(&depth.to_string(), OCI_INDEX, &outer);
        inner = (OCI_INDEX, outer);
    }
    let server = serve(shelf);
    let test = TestStore::new(settings());
    test.store.pull(&server.reference("x:4"), PullOptions::default(), unseen()).await.unwrap();
    let (kind, text) = refusal(&server, "x:5", None).await;
    assert_eq!(kind, ErrorKind::Corrupt);
    assert!(text.contains("more than 4 deep"), "{text}");
}

#[tokio::test]
async fn documents_that_are_no_image_are_refused_before_any_layer_is_fetched() {
    let image = small();
    let text = String::from_utf8(image.manifest.clone()).unwrap();
    let both = text.replacen('{', r#"{"manifests":[],"#, 1);
    let twice = text.replacen('{', r#"{"layers":[],"#, 1);
    let chart = text.replace("oci.image.config", "cncf.helm.config");
    let layer = Layer::new(&[("a", b"a")]);
    let many = TestImage::new(&vec![layer; 128]).manifest;
    let huge_entry = format!(
        r#"{{"schemaVersion":2,"manifests":[{{"mediaType":"{OCI_MANIFEST}","digest":"{}","size":5000000}}]}}"#,
        digest(b"x")
    );
    let v1 = "application/vnd.docker.distribution.manifest.v1+prettyjws";
    let old = r#"{"schemaVersion":1,"name":"x","tag":"1","fsLayers":[],"history":[]}"#;
    for (media_type, bytes, kind, said) in [
        (OCI_MANIFEST, both.as_bytes(), ErrorKind::Corrupt, "both"),
        (OCI_MANIFEST, twice.as_bytes(), ErrorKind::Corrupt, "twice"),
        (OCI_INDEX, &image.manifest, ErrorKind::Corrupt, "announced"),
        (v1, old.as_bytes(), ErrorKind::Unsupported, "schema 1"),
        ("application/json", old.as_bytes(), ErrorKind::Unsupported, "schema 1"),
        (OCI_MANIFEST, chart.as_bytes(), ErrorKind::Unsupported, "no container image"),
        (OCI_MANIFEST, &many, ErrorKind::Corrupt, "128 layers"),
        (OCI_INDEX, huge_entry.as_bytes(), ErrorKind::Corrupt, "larger than"),
        (OCI_MANIFEST, b"{", ErrorKind::Corrupt, "malformed"),
        ("text/html; charset=utf-8", b"<html>", ErrorKind::Unavailable, "web page"),
        ("text/plain", b"sorry", ErrorKind::Corrupt, "malformed"),
    ] {
        let mut shelf = shelf(&image);
        shelf.manifest("bad", media_type, bytes);
        let server = serve(shelf);
        let (found, text) = refusal(&server, "x:bad", None).await;
        assert_eq!(found, kind, "{text}");
        assert!(text.contains(said), "{text}");
        assert_eq!(server.count("/blobs/"), 0);
    }
    // A type that says nothing is no contradiction.
    let mut shelf = shelf(&image);
    shelf.manifest("plain", "application/json", &image.manifest);
    let test = TestStore::new(settings());
    test.store
        .pull(&serve(shelf).reference("x:plain"), PullOptions::default(), unseen())
        .await
        .unwrap();
}

#[tokio::test]
async fn an_entry_of_an_index_must_be_what_the_index_says() {
    let image = small();
    let mut shelf = shelf(&image);
    let docker = "application/vnd.docker.distribution.manifest.v2+json";
    shelf.manifest("type", OCI_INDEX, &index(&[(docker, &image.manifest, "")]));
    let size = String::from_utf8(index(&[(OCI_MANIFEST, &image.manifest, "")])).unwrap();
    let size = size.replace(
        &format!(":{}}}", image.manifest.len()),
        &format!(":{}}}", image.manifest.len() + 1),
    );
    shelf.manifest("size", OCI_INDEX, size.as_bytes());
    let server = serve(shelf);
    for (tag, said) in [("type", "was announced as"), ("size", "as its index says")] {
        let (kind, text) = refusal(&server, &format!("x:{tag}"), None).await;
        assert_eq!(kind, ErrorKind::Corrupt);
        assert!(text.contains(said), "{text}");
    }
}

#[tokio::test]
async fn an_unknown_image_and_a_denied_one_are_told_apart() {
    let server = Server::start(|seen: &Seen| match seen.target.contains("secret") {
        true => reply(403, r#"{"errors":[{"code":"DENIED"}]}"#),
        false => reply(404, r#"{"errors":[{"code":"NAME_UNKNOWN"}]}"#),
    });
    let (kind, text) = refusal(&server, "none:1", None).await;
    assert_eq!(kind, ErrorKind::NotFound);
    assert!(text.ends_with(": manifest unknown"), "{text}");
    let (kind, text) = refusal(&server, "secret:1", None).await;
    assert_eq!(kind, ErrorKind::PermissionDenied);
    assert!(text.ends_with(": requested access to the resource is denied: DENIED"), "{text}");
}
