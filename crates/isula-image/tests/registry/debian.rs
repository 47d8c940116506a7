//! A registry that others wrote: Debian's `docker-registry`, pushed to by plain HTTP.

use std::{
    fs,
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    path::Path,
    process::{Child, Command, Stdio},
};

use crate::image::{
    ARCHITECTURE, Layer, OCI_INDEX, OCI_MANIFEST, TestImage, TestStore, index, unseen,
};
use crate::server::{digest, noise, settings};
use crate::tls::Authority;
use isula_core::{
    error::{ErrorKind, chain},
    image::{Digest, Reference},
    ports::{Credentials, Images, PullOptions},
};

/// The running program and its directory; both end with this.
struct Registry {
    child: Child,
    address: String,
    _dir: tempfile::TempDir,
}

impl Registry {
    fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let data = dir.path().join("data");
        Self::start_with(dir, &data, ("", ""))
    }

    /// `http` goes into the section of that name, `more` after it.
    fn start_with(dir: tempfile::TempDir, data: &Path, (http, more): (&str, &str)) -> Self {
        let config = dir.path().join("config.yml");
        let text = format!(
            "version: 0.1\nlog: {{level: info}}\nstorage: {{filesystem: {{rootdirectory: {}}}}}\n\
             http: {{addr: \"127.0.0.1:0\"{http}}}\n{more}",
            data.display()
        );
        fs::write(&config, text).unwrap();
        let mut child = Command::new("docker-registry")
            .arg("serve")
            .arg(&config)
            .env_remove("OTEL_TRACES_EXPORTER")
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("this test needs the package docker-registry");
        let mut log = BufReader::new(child.stderr.take().unwrap());
        let mut line = String::new();
        let address = loop {
            line.clear();
            assert_ne!(log.read_line(&mut line).unwrap(), 0, "docker-registry ended");
            if let Some((_, rest)) = line.split_once("listening on ") {
                break rest.split(['"', ',', ' ', '\n']).next().unwrap().to_owned();
            }
        };
        // It must not stop because nobody reads its log.
        std::thread::spawn(move || std::io::copy(&mut log, &mut std::io::sink()));
        Self { child, address, _dir: dir }
    }

    fn request(&self, method: &str, target: &str, media_type: &str, body: &[u8]) -> (u16, String) {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        let head = format!(
            "{method} {target} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\
             Content-Type: {media_type}\r\nContent-Length: {}\r\n\r\n",
            self.address,
            body.len()
        );
        stream.write_all(&[head.as_bytes(), body].concat()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let status = answer.split(' ').nth(1).unwrap().parse().unwrap();
        let location = answer.lines().find_map(|line| line.strip_prefix("Location: "));
        (status, location.unwrap_or_default().to_owned())
    }

    fn push_blob(&self, repository: &str, bytes: &[u8]) {
        let binary = "application/octet-stream";
        let (status, location) =
            self.request("POST", &format!("/v2/{repository}/blobs/uploads/"), binary, b"");
        assert_eq!(status, 202);
        let path = location.split_once(&self.address).map_or(location.as_str(), |(_, path)| path);
        let (status, _) =
            self.request("PUT", &format!("{path}&digest={}", digest(bytes)), binary, bytes);
        assert_eq!(status, 201);
    }

    fn push_manifest(&self, repository: &str, tag: &str, media_type: &str, bytes: &[u8]) -> Digest {
        let (status, _) =
            self.request("PUT", &format!("/v2/{repository}/manifests/{tag}"), media_type, bytes);
        assert_eq!(status, 201);
        digest(bytes)
    }

    fn push(&self, repository: &str, tag: &str, image: &TestImage) -> Digest {
        image.layers.iter().for_each(|layer| self.push_blob(repository, &layer.blob));
        self.push_blob(repository, &image.config);
        self.push_manifest(repository, tag, OCI_MANIFEST, &image.manifest)
    }

    fn reference(&self, name: &str) -> Reference {
        format!("{}/{name}", self.address).parse().unwrap()
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

#[tokio::test]
async fn images_pushed_to_a_real_registry_are_pulled() {
    let registry = Registry::start();
    let image = TestImage::new(&[
        Layer::new(&[("bin/sh", &noise(3_000_000)), ("etc/passwd", b"root:x:0:0::/:/bin/sh\n")]),
        Layer::new(&[("etc/hostname", b"x\n")]),
    ]);
    let manifest = registry.push("team/app", "1.0", &image);
    let here = format!("linux/{ARCHITECTURE}");
    let list = index(&[(OCI_MANIFEST, &image.manifest, &here)]);
    let list_digest = registry.push_manifest("team/app", "list", OCI_INDEX, &list);

    let mut patient = settings();
    patient.limits.stall = std::time::Duration::from_secs(60);
    let test = TestStore::new(patient);
    for (name, names) in [
        ("team/app:1.0".to_owned(), "team/app:1.0"),
        (format!("team/app@{manifest}"), "team/app:1.0"),
        ("team/app:list".to_owned(), "team/app:1.0 team/app:list"),
        (format!("team/app@{list_digest}"), "team/app:1.0 team/app:list"),
    ] {
        let reference = registry.reference(&name);
        let pulled = test.store.pull(&reference, PullOptions::default(), unseen()).await.unwrap();
        assert_eq!(pulled.id.0, digest(&image.config));
        let tags: Vec<_> = names.split(' ').map(|name| registry.reference(name)).collect();
        assert_eq!(pulled.tags, tags);
    }
    assert_eq!(fs::read(test.layer(&image.layers[0]).join("bin/sh")).unwrap(), noise(3_000_000));
    for missing in ["team/app:2.0", "team/none:1.0"] {
        let reference = registry.reference(missing);
        let error =
            test.store.pull(&reference, PullOptions::default(), unseen()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound);
    }
}

/// `me:secret` as htpasswd writes it.
const USERS: &str = "me:$2y$05$abcdefghijklmnopqrstuuOQiyCxlgf/oeuTqixKmWdcYUh4Hjl0a\n";

#[tokio::test]
async fn a_real_registry_may_ask_for_a_certificate_and_a_password() {
    let open = Registry::start();
    let image = TestImage::new(&[Layer::new(&[("f", b"content")])]);
    open.push("team/app", "1.0", &image);

    let (authority, clients) = (Authority::new(), Authority::new());
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    let own = authority.sign(&["127.0.0.1"]);
    fs::write(at("own.crt"), own.certificate).unwrap();
    fs::write(at("own.key"), own.key).unwrap();
    clients.write(&at("clients.crt"));
    fs::write(at("users"), USERS).unwrap();
    let tls = format!(
        ", tls: {{certificate: {}, key: {}, clientcas: [{}]}}",
        at("own.crt").display(),
        at("own.key").display(),
        at("clients.crt").display()
    );
    let auth = format!("auth: {{htpasswd: {{realm: here, path: {}}}}}\n", at("users").display());
    let data = open._dir.path().join("data");
    let closed = Registry::start_with(dir, &data, (&tls, &auth));

    let certs = tempfile::tempdir().unwrap();
    let mine = certs.path().join(&closed.address);
    fs::create_dir(&mine).unwrap();
    let mut patient = settings();
    patient.limits.stall = std::time::Duration::from_secs(60);
    patient.certs_dir = certs.path().to_owned();
    let test = TestStore::new(patient);
    let reference = closed.reference("team/app:1.0");
    let pull = async |password: &str| {
        let (username, password) = ("me".to_owned(), password.to_owned());
        let credentials = Some(Credentials { username, password });
        let options = PullOptions { credentials, ..PullOptions::default() };
        let pulled = test.store.pull(&reference, options, unseen()).await;
        pulled.map_err(|error| (error.kind(), chain(&error)))
    };
    let (kind, text) = pull("secret").await.unwrap_err();
    assert!(kind == ErrorKind::Unavailable, "without a certificate: {text}");
    let signed = clients.sign(&["client"]);
    fs::write(mine.join("client.cert"), &signed.certificate).unwrap();
    fs::write(mine.join("client.key"), &signed.key).unwrap();
    Authority::new().write(&mine.join("ca.crt"));
    let (kind, text) = pull("secret").await.unwrap_err();
    assert!(kind == ErrorKind::Unavailable, "another authority: {text}");
    authority.write(&mine.join("ca.crt"));
    let (kind, text) = pull("wrong").await.unwrap_err();
    assert!(kind == ErrorKind::PermissionDenied, "another password: {text}");
    assert_eq!(pull("secret").await.unwrap().id.0, digest(&image.config));
}
