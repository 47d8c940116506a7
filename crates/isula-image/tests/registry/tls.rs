//! TLS: whose certificate is trusted, whose is shown, and what may go in the clear.

use std::{fs, net::SocketAddr, path::Path, sync::Arc};

use crate::server::{Reply, Seen, Server, reply, session, settings};
use isula_core::{
    error::{ErrorKind, chain},
    ports::Credentials,
};
use isula_image::registry::{Client, Proxies, Settings};
use rcgen::{CertificateParams, CertifiedIssuer, KeyPair};
use tokio_rustls::rustls::{
    RootCertStore, ServerConfig,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer},
    server::WebPkiClientVerifier,
};

const LIMIT: u64 = 4 << 20;

/// An authority, and what it signs.
pub struct Authority(CertifiedIssuer<'static, KeyPair>);

pub struct Signed {
    pub certificate: String,
    pub key: String,
    der: CertificateDer<'static>,
    key_der: PrivateKeyDer<'static>,
}

impl Authority {
    pub fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    pub fn sign(&self, names: &[&str]) -> Signed {
        let key = KeyPair::generate().unwrap();
        let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
        let certificate = CertificateParams::new(names).unwrap().signed_by(&key, &self.0).unwrap();
        Signed {
            certificate: certificate.pem(),
            key: key.serialize_pem(),
            der: certificate.der().clone(),
            key_der: PrivatePkcs8KeyDer::from(key.serialize_der()).into(),
        }
    }

    /// A server's configuration; `clients` must show a certificate of that authority.
    fn server(&self, clients: Option<&Self>) -> ServerConfig {
        let own = self.sign(&["127.0.0.1", "localhost", "registry.test"]);
        let provider = Arc::new(ring::default_provider());
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .unwrap();
        let builder = match clients {
            Some(authority) => {
                let mut roots = RootCertStore::empty();
                roots.add(authority.0.der().clone()).unwrap();
                let verifier = WebPkiClientVerifier::builder_with_provider(roots.into(), provider);
                builder.with_client_cert_verifier(verifier.build().unwrap())
            }
            None => builder.with_no_client_auth(),
        };
        builder.with_single_cert(vec![own.der], own.key_der).unwrap()
    }

    pub fn write(&self, path: &Path) {
        fs::write(path, self.0.pem()).unwrap();
    }
}

fn good(_: &Seen) -> Reply {
    reply(200, "{}")
}

/// `certs.d` with a directory for the server.
fn certs(address: SocketAddr) -> (tempfile::TempDir, std::path::PathBuf, Settings) {
    let dir = tempfile::tempdir().unwrap();
    let own = dir.path().join(address.to_string());
    fs::create_dir(&own).unwrap();
    let settings = Settings { certs_dir: dir.path().to_owned(), ..settings() };
    (dir, own, settings)
}

async fn outcome(settings: Settings, reference: &str) -> Result<(), (ErrorKind, String)> {
    let session = session(settings, &reference.parse().unwrap());
    let fetched = session.by_tag("latest", LIMIT).await;
    fetched.map(drop).map_err(|error| (error.kind(), chain(&error)))
}

#[tokio::test]
async fn https_is_tried_first_on_loopback_and_plain_http_after_it() {
    let authority = Authority::new();
    let secure = Server::start_tls(authority.server(None), good);
    let plain = Server::start(good);
    outcome(settings(), &secure.reference("x").to_string()).await.unwrap();
    outcome(settings(), &plain.reference("x").to_string()).await.unwrap();
    assert!(secure.seen()[0].over_tls);
    assert!(!plain.seen()[0].over_tls);
}

#[tokio::test]
async fn a_configured_authority_is_asked_even_on_loopback() {
    let (authority, other) = (Authority::new(), Authority::new());
    let server = Server::start_tls(authority.server(None), good);
    let (_dir, own, settings) = certs(server.address);
    authority.write(&own.join("ca.crt"));
    let reference = server.reference("x").to_string();
    outcome(settings.clone(), &reference).await.unwrap();

    other.write(&own.join("ca.crt"));
    let (kind, text) = outcome(settings.clone(), &reference).await.unwrap_err();
    assert_eq!(kind, ErrorKind::Unavailable);
    assert!(text.contains("cannot make a secure connection to"), "{text}");
    assert_eq!(server.seen().len(), 1, "nothing was sent, not even in the clear");

    // Whoever is listed as insecure is not asked for a certificate at all.
    let insecure = Settings { insecure: vec![server.address.to_string()], ..settings };
    outcome(insecure, &reference).await.unwrap();
}

#[tokio::test]
async fn a_client_certificate_is_shown() {
    let (authority, clients) = (Authority::new(), Authority::new());
    let server = Server::start_tls(authority.server(Some(&clients)), good);
    let (_dir, own, settings) = certs(server.address);
    let reference = server.reference("x").to_string();
    authority.write(&own.join("ca.crt"));
    let (kind, text) = outcome(settings.clone(), &reference).await.unwrap_err();
    assert_eq!(kind, ErrorKind::Unavailable);
    assert!(
        text.ends_with("refuses our certificate or the lack of one: CertificateRequired"),
        "{text}"
    );

    let signed = clients.sign(&["client"]);
    fs::write(own.join("client.cert"), &signed.certificate).unwrap();
    let (kind, text) = outcome(settings.clone(), &reference).await.unwrap_err();
    assert_eq!(kind, ErrorKind::InvalidInput);
    assert!(text.contains("client.key: "), "{text}");

    fs::write(own.join("client.key"), &signed.key).unwrap();
    outcome(settings, &reference).await.unwrap();
    assert_eq!(server.seen().len(), 1);
}

#[tokio::test]
async fn a_certificate_file_that_is_damaged_is_named() {
    let authority = Authority::new();
    let server = Server::start_tls(authority.server(None), good);
    let (_dir, own, settings) = certs(server.address);
    let damaged = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n";
    for text in ["", "no pem", damaged] {
        fs::write(own.join("ca.crt"), text).unwrap();
        let (kind, said) =
            outcome(settings.clone(), &server.reference("x").to_string()).await.unwrap_err();
        assert_eq!(kind, ErrorKind::InvalidInput);
        assert!(said.contains("ca.crt: "), "{said}");
    }
}

/// A proxy that leads every CONNECT to `server`, whatever its target.
fn connect_proxy(server: SocketAddr) -> (SocketAddr, std::sync::mpsc::Receiver<String>) {
    use std::io::{Read, Write};
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (heads, seen) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        for client in listener.incoming() {
            let mut client = client.unwrap();
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                let mut byte = [0];
                client.read_exact(&mut byte).unwrap();
                head.push(byte[0]);
            }
            if heads.send(String::from_utf8(head).unwrap()).is_err() {
                return;
            }
            client.write_all(b"HTTP/1.1 200 OK\r\n\r\n").unwrap();
            let mut upstream = std::net::TcpStream::connect(server).unwrap();
            let (mut back, mut forth) =
                (upstream.try_clone().unwrap(), client.try_clone().unwrap());
            std::thread::spawn(move || std::io::copy(&mut back, &mut forth));
            std::thread::spawn(move || std::io::copy(&mut client, &mut upstream));
        }
    });
    (address, seen)
}

/// `registry.test` has no address: the proxy knows the way, which shows what is not loopback.
fn through(proxy: SocketAddr) -> Settings {
    let https = Some(format!("http://user:p%40ss@{proxy}"));
    Settings { proxies: Proxies { https, ..Proxies::default() }, ..settings() }
}

#[tokio::test]
async fn https_goes_through_the_proxy_and_is_verified_end_to_end() {
    let authority = Authority::new();
    let server = Server::start_tls(authority.server(None), good);
    let (proxy, heads) = connect_proxy(server.address);
    let (kind, text) = outcome(through(proxy), "registry.test/x").await.unwrap_err();
    assert_eq!(kind, ErrorKind::Unavailable);
    assert!(text.contains("cannot make a secure connection to registry.test"), "{text}");
    let head = heads.recv().unwrap();
    assert!(head.starts_with("CONNECT registry.test:443 HTTP/1.1\r\n"), "{head}");
    assert!(head.contains("\r\nProxy-Authorization: Basic dXNlcjpwQHNz\r\n"), "{head}");

    let dir = tempfile::tempdir().unwrap();
    let bundle = dir.path().join("bundle.pem");
    authority.write(&bundle);
    let trusting = Settings { ca_bundle: bundle, ..through(proxy) };
    outcome(trusting, "registry.test/x").await.unwrap();
    assert!(server.seen()[0].over_tls);
}

#[tokio::test]
async fn whoever_signs_for_a_registry_signs_for_the_token_server_it_names() {
    let authority = Authority::new();
    let server = Server::start_tls(authority.server(None), |seen| {
        match (seen.target.starts_with("/token"), seen.header("authorization")) {
            (true, None) => reply(200, r#"{"token":"t"}"#),
            (false, Some("Bearer t")) => reply(200, "{}"),
            _ => {
                let realm = r#"Bearer realm="https://registry.test:8443/token""#;
                reply(401, "").header("WWW-Authenticate", realm)
            }
        }
    });
    let (proxy, _heads) = connect_proxy(server.address);
    let certs = tempfile::tempdir().unwrap();
    // With its port: the name alone would stand for both.
    let folder = certs.path().join("registry.test:443");
    fs::create_dir(&folder).unwrap();
    authority.write(&folder.join("ca.crt"));
    let settings = Settings { certs_dir: certs.path().to_owned(), ..through(proxy) };
    outcome(settings.clone(), "registry.test/x").await.unwrap();
    assert_eq!(server.seen().len(), 3);
    let (_, text) = outcome(settings, "registry.test:8443/x").await.unwrap_err();
    assert!(text.contains("cannot make a secure connection"), "as a registry it has none: {text}");
    assert_eq!(server.seen().len(), 3);
}

#[tokio::test]
async fn a_secure_registry_cannot_lead_to_plain_http() {
    let authority = Authority::new();
    let thief = Server::start(|_| reply(200, r#"{"token":"t"}"#));
    let dir = tempfile::tempdir().unwrap();
    let bundle = dir.path().join("bundle.pem");
    authority.write(&bundle);
    let place = format!("http://{}/", thief.address);
    let realm = format!(r#"Bearer realm="{place}""#);
    for answer in [
        reply(302, "").header("Location", &place),
        reply(401, "").header("WWW-Authenticate", realm),
    ] {
        let server = Server::start_tls(authority.server(None), move |_| answer.clone());
        let (proxy, _heads) = connect_proxy(server.address);
        let settings = Settings { ca_bundle: bundle.clone(), ..through(proxy) };
        let credentials = Credentials { username: "me".to_owned(), password: "secret".to_owned() };
        let reference = "registry.test/x".parse().unwrap();
        let session =
            Client::new(settings).unwrap().session(&reference, Some(credentials)).unwrap();
        let error = session.by_tag("latest", LIMIT).await.err().unwrap();
        assert!(chain(&error).contains("will not follow"), "{}", chain(&error));
        assert_eq!(server.seen().len(), 1);
    }
    assert_eq!(thief.seen().len(), 0);
}

#[tokio::test]
async fn an_insecure_registry_behind_proxies_may_be_plain() {
    let refusing = Server::start(|_| reply(403, ""));
    let plain = Server::start(good);
    let proxies = Proxies {
        https: Some(refusing.address.to_string()),
        http: Some(plain.address.to_string()),
        no_proxy: None,
    };
    let insecure = vec!["plain.test:5000".to_owned()];
    outcome(Settings { proxies, insecure, ..settings() }, "plain.test:5000/x").await.unwrap();
    assert_eq!(refusing.seen()[0].target, "plain.test:5000");
    assert_eq!(plain.seen()[0].target, "http://plain.test:5000/v2/x/manifests/latest");

    // What is not insecure stays with TLS.
    let proxies = Proxies {
        https: Some(refusing.address.to_string()),
        http: Some(plain.address.to_string()),
        no_proxy: None,
    };
    let (kind, text) =
        outcome(Settings { proxies, ..settings() }, "plain.test:5000/x").await.unwrap_err();
    assert_eq!(kind, ErrorKind::Unavailable);
    assert!(text.ends_with("does not connect to plain.test:5000: status 403"), "{text}");
    assert_eq!(plain.seen().len(), 1);
}

#[tokio::test]
async fn plain_http_through_a_proxy_names_the_whole_url() {
    let proxy = Server::start(good);
    let http = Some(proxy.address.to_string());
    let proxies = Proxies { http, ..Proxies::default() };
    let insecure = vec!["plain.test:80".to_owned()];
    let mirrors = vec!["http://plain.test".to_owned()];
    let settings = Settings { proxies, insecure, mirrors, ..settings() };
    outcome(settings, "docker.io/library/x").await.unwrap();
    assert_eq!(proxy.seen()[0].target, "http://plain.test/v2/library/x/manifests/latest");
    assert_eq!(proxy.seen()[0].header("host"), Some("plain.test"));
}

#[tokio::test]
async fn hosts_toml_says_how_each_place_is_spoken_to() {
    let (authority, clients) = (Authority::new(), Authority::new());
    let server = Server::start_tls(authority.server(Some(&clients)), good);
    let (_dir, own, settings) = certs(server.address);
    let folder = own.with_file_name("registry.test");
    fs::create_dir(&folder).unwrap();
    let signed = clients.sign(&["client"]);
    fs::write(folder.join("both.pem"), format!("{}{}", signed.certificate, signed.key)).unwrap();
    fs::write(folder.join("one.cert"), &signed.certificate).unwrap();
    fs::write(folder.join("one.key"), &signed.key).unwrap();
    authority.write(&folder.join("mine.crt"));
    let said = |lines: &str| {
        let text = format!("server = \"https://{}\"\n{lines}\n", server.address);
        fs::write(folder.join("hosts.toml"), text).unwrap();
    };
    for lines in [
        "ca = 'mine.crt'\nclient = 'both.pem'",
        "ca = ['mine.crt']\nclient = [['one.cert', 'one.key']]\ndial_timeout = '5s'",
        "skip_verify = true\nclient = [['both.pem', '']]",
    ] {
        said(lines);
        outcome(settings.clone(), "registry.test/x").await.unwrap();
    }
    clients.write(&folder.join("mine.crt"));
    for (lines, wanted) in [
        ("ca = 'mine.crt'\nclient = 'both.pem'", "cannot make a secure connection"),
        ("ca = 'none.crt'", "none.crt: "),
        ("skip_verify = true\nclient = 'one.cert'", "one.cert: "),
    ] {
        said(lines);
        let (_, text) = outcome(settings.clone(), "registry.test/x").await.unwrap_err();
        assert!(text.contains(wanted), "{text}");
    }
    assert_eq!(server.seen().len(), 3);
}
