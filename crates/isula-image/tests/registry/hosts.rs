//! `hosts.toml`: mirrors of any registry, in order, each with its own ways.

use std::{fs, path::PathBuf};

use crate::image::{Layer, Shelf, TestImage, TestStore, unseen};
use crate::server::{Reply, Seen, Server, reply, settings};
use isula_core::{
    error::chain,
    ports::{Images, PullOptions},
};

/// A registry's directory below a `certs.d` of the test's own.
struct Certs(tempfile::TempDir);

impl Certs {
    fn new(registry: &str, hosts: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join(registry)).unwrap();
        fs::write(dir.path().join(registry).join("hosts.toml"), hosts).unwrap();
        Self(dir)
    }

    fn store(&self) -> TestStore {
        let certs_dir = PathBuf::from(self.0.path());
        TestStore::new(isula_image::registry::Settings { certs_dir, ..settings() })
    }
}

fn image() -> TestImage {
    TestImage::new(&[Layer::new(&[("f", b"content")])])
}

fn serving(prefix: &'static str) -> Server {
    let mut shelf = Shelf::default();
    image().shelve(&mut shelf, "1");
    Server::start(move |seen| {
        let target = seen.target.split('?').next().unwrap();
        match target.strip_prefix(prefix) {
            Some(rest) => {
                let seen = Seen { target: format!("/v2{rest}"), ..seen.clone() };
                shelf.answer(&seen)
            }
            None => reply(404, ""),
        }
    })
}

async fn pull(test: &TestStore, name: &str) -> Result<(), String> {
    let reference = name.parse().unwrap();
    let pulled = test.store.pull(&reference, PullOptions::default(), unseen()).await;
    pulled.map(drop).map_err(|error| chain(&error))
}

#[tokio::test]
async fn the_places_of_any_registry_are_asked_in_order_and_told_whose_images_are_meant() {
    let (dead, alive) = (Server::start(|_| reply(404, "")), serving("/mirror/v2"));
    let certs = Certs::new(
        "registry.test",
        &format!(
            "[host.'http://{}']\n[host.'http://{}/mirror']\n[host.'http://{}/mirror'.header]\nx-key = 'secret'\n",
            dead.address, alive.address, alive.address
        ),
    );
    let test = certs.store();
    pull(&test, "registry.test/team/app:1").await.unwrap();
    let seen = alive.seen();
    assert_eq!(seen[0].target, "/mirror/v2/team/app/manifests/1?ns=registry.test");
    assert!(seen.iter().all(|seen| seen.header("x-key") == Some("secret")));
    assert_eq!((dead.seen().len(), dead.count("?ns=registry.test")), (1, 1));
    assert!(dead.seen()[0].header("x-key").is_none(), "a header goes to its own place alone");
    // The image has the name that was asked for.
    assert!(test.store.find("registry.test/team/app:1").is_ok());
}

#[tokio::test]
async fn a_place_that_only_pulls_is_not_asked_what_a_tag_means() {
    let (layers, tags) = (serving("/v2"), serving("/v2"));
    let certs = Certs::new(
        "_default",
        &format!(
            "server = 'http://{}'\n[host.'http://{}']\ncapabilities = ['pull']\n",
            tags.address, layers.address
        ),
    );
    pull(&certs.store(), "registry.test/x:1").await.unwrap();
    assert_eq!((tags.count("/manifests/"), tags.count("/blobs/")), (1, 0));
    assert_eq!((layers.count("/manifests/"), layers.count("/blobs/")), (0, 2));
}

#[tokio::test]
async fn a_path_can_be_all_that_goes_before_the_repository() {
    let server = serving("/api/oci");
    let hosts = format!("[host.'http://{}/api/oci']\noverride_path = true\n", server.address);
    pull(&Certs::new("registry.test", &hosts).store(), "registry.test/x:1").await.unwrap();
    assert!(server.seen()[0].target.starts_with("/api/oci/x/manifests/1"));
}

#[tokio::test]
async fn a_header_of_a_place_does_not_follow_a_redirect() {
    let thief = Server::start(|_| reply(404, ""));
    let place = format!("http://{}/taken", thief.address);
    let server = Server::start(move |_| -> Reply { reply(307, "").header("Location", &place) });
    let hosts = format!(
        "server = 'http://{0}'\n[header]\nauthorization = 'Basic bWU6c2VjcmV0'\n",
        server.address
    );
    pull(&Certs::new("registry.test", &hosts).store(), "registry.test/x:1").await.unwrap_err();
    assert_eq!(server.seen()[0].header("authorization"), Some("Basic bWU6c2VjcmV0"));
    assert_eq!(thief.seen()[0].header("authorization"), None);
}

#[tokio::test]
async fn a_file_that_is_wrong_is_named_and_nobody_is_asked() {
    let server = serving("/v2");
    let hosts = format!("[host.'http://{}']\nskip_verfy = true\n", server.address);
    let error = pull(&Certs::new("registry.test", &hosts).store(), "registry.test/x:1").await;
    let error = error.unwrap_err();
    assert!(
        error.contains("registry.test/hosts.toml: ") && error.contains("skip_verfy"),
        "{error}"
    );
    assert!(server.seen().is_empty());
}
