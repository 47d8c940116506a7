//! Archives of images that attack: docker-archives and OCI layouts.

use crate::{
    image::descriptor,
    server::digest,
    streams::bomb,
    tarball::Tar,
    world::{
        Attack, Case,
        Wanted::{self, Refused, Safe},
        World,
    },
};

const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const LAYER: &str = "application/vnd.oci.image.layer.v1.tar";
const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const INDEX: &str = "application/vnd.oci.image.index.v1+json";

fn config(diff_ids: &[&[u8]]) -> String {
    let ids: Vec<_> = diff_ids.iter().map(|layer| format!("\"{}\"", digest(layer))).collect();
    let ids = ids.join(",");
    format!(
        r#"{{"os":"linux","architecture":"amd64","rootfs":{{"type":"layers","diff_ids":[{ids}]}}}}"#
    )
}

/// A docker-archive of one layer; its members are changed by the case.
struct Docker {
    layer: Vec<u8>,
    config: String,
    manifest: String,
}

impl Docker {
    fn new() -> Self {
        let layer = Tar::default().file("f", b"x").end();
        let config = config(&[&layer]);
        let manifest = r#"[{"Config":"c.json","RepoTags":["a:1"],"Layers":["l.tar"]}]"#.to_owned();
        Self { layer, config, manifest }
    }

    fn end(self) -> Vec<u8> {
        let tar = Tar::default().file("c.json", self.config.as_bytes()).file("l.tar", &self.layer);
        tar.file("manifest.json", self.manifest.as_bytes()).end()
    }

    fn manifest(text: impl Into<String>) -> Vec<u8> {
        Self { manifest: text.into(), ..Self::new() }.end()
    }

    fn config(text: impl Into<String>) -> Vec<u8> {
        Self { config: text.into(), ..Self::new() }.end()
    }
}

/// The members of an archive whose layer is something else than a file.
fn with_layer(member: impl FnOnce(Tar) -> Tar) -> Vec<u8> {
    let good = Docker::new();
    let tar = Tar::default().file("c.json", good.config.as_bytes());
    member(tar).file("manifest.json", good.manifest.as_bytes()).end()
}

pub fn cases(world: &World) -> Vec<Case> {
    let outside = world.outside();
    let mut all = docker(&outside);
    all.extend(oci());
    all.into_iter()
        .map(|(name, bytes, wanted)| Case { name, attack: Attack::Load(bytes), wanted })
        .collect()
}

fn docker(outside: &str) -> Vec<(&'static str, Vec<u8>, Wanted)> {
    let victim = format!("{outside}/victim");
    let named = |what: &str, value: &str| Docker::new().manifest.replace(what, value);
    let item =
        |number| format!(r#"{{"Config":"c.json","RepoTags":["a:{number}"],"Layers":["l.tar"]}}"#);
    let many: Vec<_> = (0..1001).map(item).collect();
    let layers = vec!["\"l.tar\""; 128].join(",");
    let wrong = config(&[b"something else"]);
    let mut bad_text = Docker::new();
    bad_text.layer = bomb(16 << 30);
    let bomb = bad_text.end();
    let mut lying = Docker::new();
    lying.manifest = lying.manifest.replace("c.json", &format!("{}.json", "0".repeat(64)));
    let lying = Tar::default()
        .file(&format!("{}.json", "0".repeat(64)), lying.config.as_bytes())
        .file("l.tar", &lying.layer)
        .file("manifest.json", lying.manifest.as_bytes())
        .end();
    let cut = {
        let mut bytes = Docker::new().end();
        bytes.truncate(bytes.len() - 1600);
        bytes
    };
    vec![
        (
            "a configuration outside the archive",
            Docker::manifest(named("c.json", "../../../../../../etc/passwd")),
            Refused("lacks"),
        ),
        ("an absolute configuration", Docker::manifest(named("c.json", &victim)), Refused("lacks")),
        (
            "a layer outside the archive",
            Docker::manifest(named("l.tar", &format!("../../../../../..{victim}"))),
            Refused("lacks"),
        ),
        ("an absolute layer", Docker::manifest(named("l.tar", &victim)), Refused("lacks")),
        (
            "a layer that is a URL",
            Docker::manifest(named("l.tar", "http://127.0.0.1:1/x")),
            Refused("lacks"),
        ),
        (
            "a layer that is a link out",
            with_layer(|tar| tar.symlink("l.tar", &victim)),
            Refused("lacks"),
        ),
        (
            "a layer that is a link up",
            with_layer(|tar| tar.symlink("l.tar", "../../x")),
            Refused("leads out"),
        ),
        (
            "a layer that is a hard link out",
            with_layer(|tar| tar.hardlink("l.tar", &victim)),
            Refused("lacks"),
        ),
        (
            "layers that are links to each other",
            with_layer(|tar| tar.symlink("l.tar", "m").symlink("m", "l.tar")),
            Refused("lacks"),
        ),
        (
            "a layer that is a fifo",
            with_layer(|tar| tar.raw(b"l.tar", b'6', b"", b"")),
            Refused("unexpected type"),
        ),
        (
            "a layer that is a disk",
            with_layer(|tar| tar.device("l.tar", b'4', (8, 0))),
            Refused("unexpected type"),
        ),
        ("a layer that is a directory", with_layer(|tar| tar.dir("l.tar")), Refused("lacks")),
        (
            "a layer that is sparse",
            with_layer(|tar| {
                tar.pax(&[("GNU.sparse.map", b"0,1"), ("GNU.sparse.size", b"1099511627776")])
                    .file("l.tar", b"x")
            }),
            Refused("unexpected type"),
        ),
        (
            "a member that leads out",
            with_layer(|tar| tar.file("../l.tar", b"x")),
            Refused("leads out"),
        ),
        ("a layer of other content", Docker::config(wrong), Refused("unpacks to")),
        ("a layer that is a bomb", bomb, Refused("larger than the limit")),
        ("a configuration under a false name", lying, Refused("has the digest")),
        (
            "more layers than diff ids",
            Docker::manifest(named("\"l.tar\"", "\"l.tar\",\"l.tar\"")),
            Refused("has 2 layers"),
        ),
        (
            "a hundred and twenty-eight layers",
            Docker::manifest(named("\"l.tar\"", &layers)),
            Refused("128 layers"),
        ),
        (
            "a thousand and one images",
            Docker::manifest(format!("[{}]", many.join(","))),
            Refused("more than 1000"),
        ),
        ("no images", Docker::manifest("[]"), Refused("names no image")),
        (
            "a tag that is a path",
            Docker::manifest(named("a:1", "../../../x")),
            Refused("invalid reference"),
        ),
        (
            "a tag of line ends",
            Docker::manifest(named("a:1", "a\\n:1")),
            Refused("invalid reference"),
        ),
        (
            "a key that is there twice",
            Docker::manifest(named("\"Config\"", "\"Config\":\"l.tar\",\"Config\"")),
            Refused("twice"),
        ),
        ("a manifest.json that is no text", Docker::manifest("[\u{0}"), Refused("malformed")),
        ("a manifest.json of 5 MiB", Docker::manifest(" ".repeat(5 << 20)), Refused("larger than")),
        (
            "a manifest.json that is deep",
            Docker::manifest("[".repeat(1 << 20)),
            Refused("malformed"),
        ),
        ("a configuration of 5 MiB", Docker::config(" ".repeat(5 << 20)), Refused("larger than")),
        (
            "a configuration that is deep",
            Docker::config("{\"a\":".repeat(1 << 18)),
            Refused("malformed"),
        ),
        (
            "a configuration for Windows",
            Docker::config(Docker::new().config.replace("linux", "windows")),
            Refused("is for windows"),
        ),
        (
            "a diff id that is a path",
            Docker::config(Docker::new().config.replace("sha256:", "sha256:../../")),
            Refused("invalid digest"),
        ),
        (
            "a diff id of another algorithm",
            Docker::config(Docker::new().config.replace("sha256:", "sha512:")),
            Refused("invalid digest"),
        ),
        (
            "a number beyond numbers",
            Docker::config(
                r#"{"rootfs":{"type":"layers"},"config":{"Healthcheck":{"Test":["x"],"Interval":1e999}}}"#,
            ),
            Refused("malformed"),
        ),
        ("members without images", Tar::default().file("x", b"x").end(), Refused("holds no image")),
        (
            "an archive of Docker 1.9",
            Tar::default().file("repositories", b"{}").end(),
            Refused("before 1.10"),
        ),
        ("an archive of images that is cut off", cut, Refused("cut off")),
        ("an archive of images that is empty", Vec::new(), Refused("empty")),
        ("an archive that is a bomb", crate::streams::bomb(1 << 30)[..300].to_vec(), Refused("")),
        ("a fine docker-archive", Docker::new().end(), Safe),
    ]
}

/// An OCI layout; each document can be changed.
struct Oci {
    layout: String,
    index: String,
    blobs: Vec<(String, Vec<u8>)>,
}

impl Oci {
    fn new(change: impl FnOnce(String) -> String) -> Self {
        let layer = Tar::default().file("f", b"x").end();
        let config = config(&[&layer]);
        let manifest = change(format!(
            r#"{{"schemaVersion":2,"config":{},"layers":[{}]}}"#,
            descriptor(CONFIG, config.as_bytes()),
            descriptor(LAYER, &layer)
        ));
        let index = format!(
            r#"{{"schemaVersion":2,"manifests":[{}]}}"#,
            descriptor(MANIFEST, manifest.as_bytes())
        );
        let layout = r#"{"imageLayoutVersion":"1.0.0"}"#.to_owned();
        let blobs = [layer, config.into(), manifest.into()];
        Self {
            layout,
            index,
            blobs: blobs.map(|bytes| (digest(&bytes).hex().to_owned(), bytes)).into(),
        }
    }

    /// Puts another index around what there is.
    fn nested(mut self) -> Self {
        let inner = self.index.into_bytes();
        self.index =
            format!(r#"{{"schemaVersion":2,"manifests":[{}]}}"#, descriptor(INDEX, &inner));
        self.blobs.push((digest(&inner).hex().to_owned(), inner));
        self
    }

    fn end(self) -> Vec<u8> {
        let tar = Tar::default().file("oci-layout", self.layout.as_bytes());
        let mut tar = tar.file("index.json", self.index.as_bytes());
        for (name, bytes) in self.blobs {
            tar = tar.file(&format!("blobs/sha256/{name}"), &bytes);
        }
        tar.end()
    }
}

fn oci() -> Vec<(&'static str, Vec<u8>, Wanted)> {
    let plain = || Oci::new(|manifest| manifest);
    let index = |change: &dyn Fn(&str) -> String| {
        let good = plain();
        let index = change(&good.index);
        Oci { index, ..good }.end()
    };
    let spoiled = |place: usize| {
        let mut oci = plain();
        oci.blobs[place].1.push(b' ');
        oci.end()
    };
    let missing = |place: usize| {
        let mut oci = plain();
        oci.blobs.remove(place);
        oci.end()
    };
    let other = |place: usize| {
        let mut oci = plain();
        let last = oci.blobs[place].1.len() - 1;
        oci.blobs[place].1[last] ^= 1;
        oci.end()
    };
    let deep = (0..6).fold(plain(), |oci, _| oci.nested());
    vec![
        (
            "a layout of version 9",
            Oci { layout: r#"{"imageLayoutVersion":"9"}"#.into(), ..plain() }.end(),
            Refused("unknown layout version"),
        ),
        (
            "a layout that is none",
            Oci { layout: "x".into(), ..plain() }.end(),
            Refused("malformed"),
        ),
        (
            "an index that is a manifest",
            index(&|_| String::from_utf8(plain().blobs[2].1.clone()).unwrap()),
            Refused("no index"),
        ),
        (
            "an index of nothing",
            index(&|_| r#"{"manifests":[]}"#.into()),
            Refused("names no image"),
        ),
        ("indexes in indexes in indexes", deep.end(), Refused("nested deeper")),
        (
            "a digest that is a path",
            index(&|text| text.replace("sha256:", "sha256:../../../")),
            Refused("invalid digest"),
        ),
        (
            "a digest in capitals",
            index(&|text| text.replace("sha256:", "SHA256:")),
            Refused("invalid digest"),
        ),
        (
            "a negative size in an index",
            index(&|text| text.replace("\"size\":", "\"size\":-")),
            Refused("malformed"),
        ),
        (
            "a name that is a path",
            index(&|text| {
                text.replace(
                    "\"size\"",
                    r#""annotations":{"org.opencontainers.image.ref.name":"../../x"},"size""#,
                )
            }),
            Refused("no valid name"),
        ),
        ("a manifest that is longer", spoiled(2), Refused("bytes and not")),
        ("a manifest of other content", other(2), Refused("has the digest")),
        ("a configuration of other content", other(1), Refused("has the digest")),
        ("a layer blob of other content", other(0), Refused("")),
        ("a layer blob that is longer", spoiled(0), Refused("longer")),
        ("a manifest that is missing", missing(2), Refused("lacks")),
        ("a configuration that is missing", missing(1), Refused("lacks")),
        ("a layer blob that is missing", missing(0), Refused("lacks")),
        (
            "a manifest that is an index too",
            Oci::new(|text| text.replacen('{', r#"{"manifests":[],"#, 1)).end(),
            Refused("both"),
        ),
        (
            "a layer that is a squashfs",
            Oci::new(|text| text.replace(LAYER, "application/x-squashfs")).end(),
            Refused("unknown type"),
        ),
        (
            "an artifact that is no image",
            Oci::new(|text| text.replace(CONFIG, "application/vnd.cncf.helm.config.v1+json")).end(),
            Refused("no container image"),
        ),
        (
            "a layer of 2^63 bytes",
            Oci::new(|text| {
                let size = text.rfind("\"size\":").unwrap();
                format!("{}\"size\":9223372036854775808}}]}}", &text[..size])
            })
            .end(),
            Refused("bytes and not"),
        ),
        ("a fine layout", plain().end(), Safe),
    ]
}
