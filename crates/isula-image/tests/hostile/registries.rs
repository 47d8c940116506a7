//! Registries that attack.

use std::sync::Arc;

use crate::{
    image::{Layer, OCI_INDEX, OCI_MANIFEST, Shelf, TestImage, config, descriptor, index},
    server::{Body, Reply, Seen, digest, noise, play, reply},
    streams::bomb,
    world::{
        Attack, Case,
        Wanted::{self, Refused, Safe},
        World,
    },
};

type Script = Box<dyn Fn(&Seen) -> Reply + Send + Sync>;
type Row = (&'static str, Script, Wanted);

pub fn cases(world: &World) -> Vec<Case> {
    let _ = world;
    let rows = [manifests(), documents(), authorities(), blobs(), wires()].into_iter().flatten();
    let mut cases: Vec<_> = rows
        .map(|(name, script, wanted)| Case { name, attack: Attack::Pull(script), wanted })
        .collect();
    for (name, pulled, wanted) in [
        ("a name with ..", "x/../../y:1", Refused("invalid reference")),
        ("a tag with a slash", "x:../1", Refused("invalid reference")),
        ("a name with a query", "x?y=z", Refused("invalid reference")),
        ("a name with a line end", "x\r\nHost: y", Refused("invalid reference")),
        ("a digest that is short", "x@sha256:12", Refused("invalid reference")),
    ] {
        let name: &'static str = format!("{name}, pulled").leak();
        let attack = Attack::PullNamed(pulled.to_owned(), Box::new(|_| reply(500, "")));
        cases.push(Case { name, attack, wanted });
    }
    let wanted = format!("x@{}", digest(b"{}"));
    let attack = Attack::PullNamed(wanted, Box::new(|_| reply(200, "[]")));
    cases.push(Case {
        name: "another manifest than the digest's",
        attack,
        wanted: Refused("has the digest"),
    });
    cases
}

fn small() -> TestImage {
    TestImage::new(&[Layer::new(&[("f", b"content")])])
}

fn shelved(image: &TestImage) -> Shelf {
    let mut shelf = Shelf::default();
    image.shelve(&mut shelf, "1");
    shelf
}

fn script(shelf: Shelf) -> Script {
    Box::new(move |seen| shelf.answer(seen))
}

/// An answer for the manifest alone.
fn manifest(answer: Reply) -> Script {
    Box::new(move |_| answer.clone())
}

/// A document under the tag that is pulled.
fn document(media_type: &str, bytes: impl AsRef<[u8]>) -> Script {
    let mut shelf = shelved(&small());
    shelf.manifest("1", media_type, bytes.as_ref());
    script(shelf)
}

/// A fine image of which one layer's blob is answered so.
fn layer(
    image: TestImage,
    answer: impl Fn(&Seen, &[u8]) -> Reply + Send + Sync + 'static,
) -> Script {
    let shelf = shelved(&image);
    let name = digest(&image.layers[0].blob).to_string();
    Box::new(move |seen| match seen.target.ends_with(&name) {
        true => answer(seen, &image.layers[0].blob),
        false => shelf.answer(seen),
    })
}

fn large() -> TestImage {
    TestImage::new(&[Layer::new(&[("f", &noise(200_000))])])
}

fn manifests() -> Vec<Row> {
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

fn documents() -> Vec<Row> {
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

fn authorities() -> Vec<Row> {
    // The registry and its token server are one server here.
    let bearer = |token: Reply| -> Script {
        Box::new(move |seen| {
            let host = seen.header("host").unwrap();
            match seen.target.starts_with("/token") {
                true => token.clone(),
                false => reply(401, "")
                    .header("WWW-Authenticate", format!("Bearer realm=\"http://{host}/token\"")),
            }
        })
    };
    let challenge = |text: &str| manifest(reply(401, "").header("WWW-Authenticate", text));
    let leading = |target: &'static str| -> Script {
        Box::new(move |_| reply(302, "").header("Location", target))
    };
    let thief: Script = {
        // Whoever shows credentials or a token after a redirect has given them away.
        let shelf = shelved(&small());
        Box::new(move |seen| {
            let (host, shown) = (seen.header("host").unwrap(), seen.header("authorization"));
            if let Some(rest) = seen.target.strip_prefix("/stolen") {
                assert_eq!(shown, None, "credentials went along with a redirect");
                return shelf.answer(&Seen { target: rest.to_owned(), ..seen.clone() });
            }
            match shown {
                None => reply(401, "").header("WWW-Authenticate", "Basic realm=\"x\""),
                Some(_) => reply(307, "")
                    .header("Location", format!("http://{host}/stolen{}", seen.target)),
            }
        })
    };
    vec![
        ("a token without end", bearer(play(Body::Endless)), Refused("more than 1048576 bytes")),
        (
            "a token of a million characters",
            bearer(reply(200, format!("{{\"token\":\"{}\"}}", "t".repeat(1_000_000)))),
            Refused("longer than 64 KiB"),
        ),
        (
            "a token with line ends",
            bearer(reply(200, "{\"token\":\"a\\r\\nX: y\"}")),
            Refused("does not fit a header"),
        ),
        ("a token that is none", bearer(reply(200, "{\"token\":5}")), Refused("malformed")),
        ("no token at all", bearer(reply(200, "{}")), Refused("no token")),
        (
            "a token server that is silent",
            bearer(play(Body::Silence)),
            Refused("did not answer in time"),
        ),
        (
            "a token server that drips",
            bearer(play(Body::Drip(100_000))),
            Refused("did not answer in time"),
        ),
        (
            "a token server that redirects for ever",
            bearer(reply(302, "").header("Location", "/token")),
            Refused("redirects"),
        ),
        (
            "a token that is never enough",
            bearer(reply(200, "{\"token\":\"t\"}")),
            Refused("denied"),
        ),
        ("credentials that are never enough", challenge("Basic realm=\"x\""), Refused("denied")),
        ("a 401 without a challenge", manifest(reply(401, "")), Refused("denied")),
        (
            "a challenge that nobody knows",
            challenge("Negotiate"),
            Refused("no way that is supported"),
        ),
        (
            "a challenge of 60 KiB",
            challenge(&format!("Bearer {}", "a=b,".repeat(15_000))),
            Refused("invalid URL"),
        ),
        (
            "a realm that is a file",
            challenge("Bearer realm=\"file:///etc/shadow\""),
            Refused("invalid URL"),
        ),
        (
            "a realm with a user",
            challenge("Bearer realm=\"http://a:b@127.0.0.1/\""),
            Refused("invalid URL"),
        ),
        ("a realm that is nothing", challenge("Bearer service=\"x\""), Refused("invalid URL")),
        ("redirects without end", leading("/v2/x/y/manifests/1"), Refused("redirects")),
        ("a redirect to a file", leading("file:///etc/passwd"), Refused("invalid URL")),
        ("a redirect to gopher", leading("gopher://127.0.0.1/"), Refused("invalid URL")),
        ("a redirect to a user", leading("http://a:b@127.0.0.1/x"), Refused("invalid URL")),
        ("a redirect to nowhere", manifest(reply(302, "")), Refused("redirects")),
        ("a redirect that steals", thief, Safe),
    ]
}

fn blobs() -> Vec<Row> {
    let other = |length: usize| move |_: &Seen, _: &[u8]| reply(200, noise(length));
    let bytes = bomb(16 << 30);
    let bombed = {
        let mut shelf = Shelf::default();
        let layer = Layer { diff_id: digest(b"?"), blob: bytes };
        TestImage::new(&[layer]).shelve(&mut shelf, "1");
        script(shelf)
    };
    let false_diff = {
        let mut image = small();
        image.layers[0].diff_id = digest(b"something else");
        script(shelved(&TestImage::new(&image.layers)))
    };
    let endless: Script = {
        // A layer that claims to have 2^60 bytes, and sends on and on.
        let image = small();
        let text = String::from_utf8(image.manifest.clone()).unwrap();
        let size = text.rfind("\"size\":").unwrap();
        let text = format!("{}\"size\":1152921504606846976}}]}}", &text[..size]);
        let name = digest(&image.layers[0].blob).to_string();
        let mut shelf = shelved(&image);
        shelf.manifest("1", OCI_MANIFEST, text.as_bytes());
        Box::new(move |seen| {
            if seen.target.ends_with(&name) { play(Body::Endless) } else { shelf.answer(seen) }
        })
    };
    let foreign: Script = {
        let image = small();
        let text = String::from_utf8(image.manifest.clone()).unwrap();
        let at = text.rfind("\"size\":").unwrap();
        let text = format!(
            "{}\"urls\":[\"http://127.0.0.1:1/x\",\"file:///etc/passwd\"],{}",
            &text[..at],
            &text[at..]
        );
        let mut shelf = shelved(&image);
        shelf.manifest("1", OCI_MANIFEST, text.as_bytes());
        script(shelf)
    };
    let config_cut: Script = {
        let image = small();
        let (shelf, name) = (shelved(&image), digest(&image.config).to_string());
        Box::new(move |seen| {
            if seen.target.ends_with(&name) {
                reply(200, noise(image.config.len()))
            } else {
                shelf.answer(seen)
            }
        })
    };
    let length = small().layers[0].blob.len();
    vec![
        ("a layer of other bytes", layer(small(), other(length)), Refused("has the digest")),
        ("a layer that is longer", layer(small(), other(length + 1)), Refused("longer")),
        ("a layer that is shorter", layer(small(), other(length - 1)), Refused("shorter")),
        ("a layer without end", layer(small(), |_, _| play(Body::Endless)), Refused("longer")),
        ("a layer of 2^60 bytes", endless, Refused("malformed")),
        (
            "a layer that stops",
            layer(large(), |_, blob| play(Body::Stall(blob.len(), blob[..1000].to_vec()))),
            Refused("did not answer in time"),
        ),
        (
            "a layer that drips",
            layer(large(), |_, blob| play(Body::Drip(blob.len()))),
            Refused("did not answer in time"),
        ),
        (
            "a layer that is cut off each time",
            layer(large(), |_, blob| play(Body::Cut(blob.len(), blob[..10].to_vec()))),
            Refused("broke off"),
        ),
        (
            "a layer that is missing, pulled",
            layer(small(), |_, _| reply(404, "")),
            Refused("has no blob"),
        ),
        (
            "a layer that is a web page",
            layer(small(), |_, _| reply(200, "<html>").header("Content-Type", "text/html")),
            Refused("shorter"),
        ),
        (
            "a part that was not asked for",
            layer(large(), |seen, blob| match seen.from() {
                None => play(Body::Cut(blob.len(), blob[..1000].to_vec())),
                Some(_) => reply(206, &blob[..500])
                    .header("Content-Range", format!("bytes 0-499/{}", blob.len())),
            }),
            Refused("another part"),
        ),
        (
            "a part beyond numbers",
            layer(large(), |seen, blob| match seen.from() {
                None => play(Body::Cut(blob.len(), blob[..1000].to_vec())),
                Some(_) => reply(206, "x")
                    .header("Content-Range", "bytes 18446744073709551615-99999999999999999999/*"),
            }),
            Refused("another part"),
        ),
        (
            "a range that is refused",
            layer(large(), |seen, blob| match seen.from() {
                None => play(Body::Cut(blob.len(), blob[..1000].to_vec())),
                Some(_) => reply(416, ""),
            }),
            Refused("416"),
        ),
        (
            "a layer that redirects for ever",
            layer(small(), |seen, _| reply(307, "").header("Location", seen.target.clone())),
            Refused("redirects"),
        ),
        ("a layer of false diff id", false_diff, Refused("unpacks to")),
        ("a layer that is a bomb, pulled", bombed, Refused("larger than the limit")),
        ("layers that are elsewhere", foreign, Safe),
        ("a configuration of other bytes", config_cut, Refused("has the digest")),
    ]
}

fn wires() -> Vec<Row> {
    let raw = |bytes: Vec<u8>| manifest(play(Body::Raw(bytes)));
    let head = |lines: &str| raw(format!("HTTP/1.1 200 OK\r\n{lines}\r\n\r\n{{}}").into_bytes());
    let fine = Arc::new(shelved(&small()));
    let odd: Script = Box::new(move |seen| fine.answer(seen).header("X-Odd", "\u{e9}\u{ff}"));
    vec![
        ("a header of 1 MiB", head(&format!("X: {}", "y".repeat(1 << 20))), Refused("broke off")),
        ("five thousand headers", head(&"A: b\r\n".repeat(5000)), Refused("broke off")),
        ("a header that is no UTF-8", odd, Safe),
        ("a header with a zero byte", head("X: a\0b"), Refused("broke off")),
        ("a length that is negative", head("Content-Length: -1"), Refused("broke off")),
        (
            "a length beyond numbers",
            head("Content-Length: 99999999999999999999999"),
            Refused("broke off"),
        ),
        ("two lengths", head("Content-Length: 2\r\nContent-Length: 5"), Refused("broke off")),
        (
            "a chunk that is none",
            raw(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n".to_vec()),
            Refused("broke off"),
        ),
        (
            "a chunk of 2^64 bytes",
            raw(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffffff\r\n"
                .to_vec()),
            Refused("broke off"),
        ),
        (
            "a chunk of endless extensions",
            raw([
                &b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2;"[..],
                &[b'x'; 1 << 20],
            ]
            .concat()),
            Refused("broke off"),
        ),
        ("an answer of SSH", raw(b"SSH-2.0-OpenSSH\r\n\r\n".to_vec()), Refused("broke off")),
        ("an answer of HTTP/2", raw(b"\0\0\x12\x04\0\0\0\0\0".to_vec()), Refused("broke off")),
        ("an answer of noise", raw(noise(100_000)), Refused("broke off")),
        (
            "answers to come without end",
            raw(b"HTTP/1.1 100 Continue\r\n\r\n".repeat(100_000)),
            Refused(""),
        ),
        (
            "a change of protocols",
            raw(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n"
                .to_vec()),
            Refused(""),
        ),
        (
            "a status of 999",
            raw(b"HTTP/1.1 999 X\r\nContent-Length: 0\r\n\r\n".to_vec()),
            Refused("999"),
        ),
    ]
}
