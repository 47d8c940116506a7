//! Manifests, indexes and configurations that lie or have no measure.

use super::{Row, document, manifest, script, shelved, small};
use crate::image::{Layer, OCI_INDEX, OCI_MANIFEST, TestImage, config, descriptor, index};
use crate::server::{Body, Reply, digest, play, reply};
use crate::world::Wanted::{Refused, Safe};

pub fn manifests() -> Vec<Row> {
    vec![
        (
            "a manifest without end",
            manifest(play(Body::Endless)),
            Refused("more than 4194304 bytes"),
        ),
        (
            "a manifest of 2^62 bytes",
            manifest(play(Body::Stall(1 << 62, Vec::new()))),
            Refused("more than 4194304 bytes"),
        ),
        (
            "a manifest that does not come",
            manifest(play(Body::Silence)),
            Refused("did not answer in time"),
        ),
        (
            "a manifest that stops",
            manifest(play(Body::Stall(1000, b"{".to_vec()))),
            Refused("did not answer in time"),
        ),
        (
            "a manifest that drips",
            manifest(play(Body::Drip(100_000))),
            Refused("did not answer in time"),
        ),
        (
            "a manifest that is cut off",
            manifest(play(Body::Cut(1000, b"{".to_vec()))),
            Refused("broke off"),
        ),
        ("a connection that closes", manifest(play(Body::Nothing)), Refused("broke off")),
        (
            "a web page for a manifest",
            manifest(reply(200, "<html>").header("Content-Type", "text/html")),
            Refused("web page"),
        ),
        ("an empty manifest", manifest(reply(200, "")), Refused("malformed")),
        (
            "a manifest that is no UTF-8",
            manifest(reply(200, b"{\"a\":\"\xff\xfe\"}".to_vec())),
            Refused("malformed"),
        ),
        (
            "a manifest that is deep",
            manifest(reply(200, "[".repeat(1 << 20))),
            Refused("malformed"),
        ),
        (
            "a manifest of a hundred thousand keys",
            manifest(reply(200, {
                let keys: Vec<_> = (0..100_000).map(|n| format!("\"{n:x}\":0")).collect();
                format!("{{{}}}", keys.join(","))
            })),
            Refused("lacks the members"),
        ),
        (
            "a manifest with its digest in a header",
            {
                let shelf = shelved(&small());
                Box::new(move |seen| {
                    shelf
                        .answer(seen)
                        .header("Docker-Content-Digest", format!("sha256:{}", "0".repeat(64)))
                })
            },
            Safe,
        ),
        (
            "a compressed manifest",
            manifest(reply(200, crate::streams::gzip(b"{}")).header("Content-Encoding", "gzip")),
            Refused("malformed"),
        ),
        (
            "a refusal of 1 GiB",
            manifest(Reply { status: 403, headers: Vec::new(), body: Body::Endless }),
            Refused("denied"),
        ),
        (
            "a refusal with line ends",
            manifest(reply(
                403,
                "{\"errors\":[{\"code\":\"X\",\"message\":\"a\\nb\\u0000c\\u001b[31m\"}]}",
            )),
            Refused("a b c"),
        ),
        (
            "a refusal of 60 KiB",
            manifest(reply(
                400,
                format!("{{\"errors\":[{{\"message\":\"{}\"}}]}}", "x".repeat(60_000)),
            )),
            Refused("400"),
        ),
        (
            "a server that is always busy",
            manifest(reply(429, "").header("Retry-After", "999999999999")),
            Refused("429"),
        ),
        ("a server that always fails", manifest(reply(503, "")), Refused("503")),
    ]
}

pub fn documents() -> Vec<Row> {
    let image = small();
    let text = String::from_utf8(image.manifest.clone()).unwrap();
    let changed = |from: &str, to: &str| text.replacen(from, to, 1);
    let entry = descriptor(OCI_MANIFEST, &image.manifest);
    let many = vec![entry.as_str(); 1001].join(",");
    let mut nested = shelved(&image);
    let mut inner = index(&[(OCI_MANIFEST, &image.manifest, "")]);
    for _ in 0..6 {
        nested.manifest("1", OCI_INDEX, &inner);
        inner = index(&[(OCI_INDEX, &inner, "")]);
    }
    nested.manifest("1", OCI_INDEX, &inner);
    let two = Layer::new(&[("f", b"content")]);
    let fewer = TestImage::with_config(&image.layers, &config("amd64", &[]));
    let more = TestImage::with_config(&[], &config("amd64", &image.layers));
    let twice = TestImage::new(&[two.clone(), two.clone()]);
    let v1 = r#"{"schemaVersion":1,"fsLayers":[{"blobSum":"sha256:00"}],"history":[{"v1Compatibility":"{}"}]}"#;
    let huge = TestImage::with_config(
        &image.layers,
        &format!("{}{}", config("amd64", &image.layers), " ".repeat(5 << 20)),
    );
    let list = |descriptor: String| format!(r#"{{"schemaVersion":2,"manifests":[{descriptor}]}}"#);
    let oci = |bytes: String| document(OCI_MANIFEST, bytes);
    vec![
        ("a manifest and index in one", oci(changed("{", r#"{"manifests":[],"#)), Refused("both")),
        ("a manifest with a key twice", oci(changed("{", r#"{"layers":[],"#)), Refused("twice")),
        (
            "a manifest with a key in two spellings",
            oci(changed("{", r#"{"Layers":[],"#)),
            Refused("two spellings"),
        ),
        (
            "an index announced as a manifest",
            document(OCI_MANIFEST, index(&[(OCI_MANIFEST, &image.manifest, "")])),
            Refused("was announced as"),
        ),
        (
            "a manifest announced as an index",
            document(OCI_INDEX, &image.manifest),
            Refused("announced"),
        ),
        ("a picture", document("image/png", b"\x89PNG\r\n"), Refused("malformed")),
        (
            "a media type that is unknown",
            document("application/x-unknown", "{}"),
            Refused("unknown type"),
        ),
        (
            "a manifest of schema 1",
            document("application/vnd.docker.distribution.manifest.v1+prettyjws", v1),
            Refused("schema 1"),
        ),
        ("a manifest of schema 1 in disguise", document(OCI_MANIFEST, v1), Refused("schema 1")),
        (
            "a chart",
            oci(text.replace("oci.image.config", "cncf.helm.config")),
            Refused("no container image"),
        ),
        (
            "a layer type that is unknown",
            oci(text.replace("layer.v1.tar+gzip", "layer.v1.squashfs")),
            Refused("unknown type"),
        ),
        (
            "128 layers",
            document(OCI_MANIFEST, TestImage::new(&vec![two.clone(); 128]).manifest),
            Refused("128 layers"),
        ),
        (
            "a digest with a path in it",
            oci(text.replace("sha256:", "sha256:../../")),
            Refused("invalid digest"),
        ),
        ("a digest of sha512", oci(text.replace("sha256:", "sha512:")), Refused("invalid digest")),
        (
            "a negative size of a layer",
            oci(text.replace("\"size\":", "\"size\":-")),
            Refused("malformed"),
        ),
        (
            "a size that is a text",
            oci(text.replace("\"size\":", "\"size\":\"x\",\"y\":")),
            Refused("malformed"),
        ),
        (
            "a size of 1e400",
            oci(changed("\"size\":", "\"size\":1e400,\"x\":")),
            Refused("malformed"),
        ),
        (
            "a configuration of 5 MiB, pulled",
            script(shelved(&huge)),
            Refused("configuration is larger"),
        ),
        ("a configuration of fewer layers", script(shelved(&fewer)), Refused("names 0 layers")),
        ("a configuration of more layers", script(shelved(&more)), Refused("names 1 layers")),
        ("the same layer twice", script(shelved(&twice)), Safe),
        ("an index of 1001 entries", document(OCI_INDEX, list(many)), Refused("more than 1000")),
        ("indexes seven deep", script(nested), Refused("more than 4 deep")),
        (
            "an index for nobody",
            document(OCI_INDEX, index(&[(OCI_MANIFEST, &image.manifest, "plan9/mips")])),
            Refused("no image for"),
        ),
        (
            "an index that lies about a size",
            document(OCI_INDEX, list(entry.replace("\"size\":", "\"size\":1"))),
            Refused("as its index says"),
        ),
        (
            "an index entry of 5 GB",
            document(OCI_INDEX, list(entry.replace("\"size\":", "\"size\":500000"))),
            Refused("larger than"),
        ),
        (
            "an index that names itself",
            {
                let text = list(entry.replace(digest(&image.manifest).hex(), &"0".repeat(64)));
                Box::new(move |_| reply(200, text.clone()).header("Content-Type", OCI_INDEX))
            },
            Refused("has the digest"),
        ),
    ]
}
