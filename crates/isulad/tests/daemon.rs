//! The real daemon on a root of its own, over its socket. No container is started here: that is the
//! end-to-end tests' business.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

#[allow(dead_code, reason = "each test program needs a part of it")]
mod support;

use std::{fs, os::unix::fs::PermissionsExt, path::Path, process::Command};

use isula_api::v1;
use support::{Daemon, Site, kind};

fn external(site: &Site, name: &str) -> v1::CreateRequest {
    let rootfs = site.path("rootfs");
    fs::create_dir_all(&rootfs).unwrap();
    v1::CreateRequest {
        name: name.to_owned(),
        external_rootfs: rootfs.display().to_string(),
        config: Some(v1::ContainerConfig { cmd: vec!["true".to_owned()], ..Default::default() }),
        ..Default::default()
    }
}

fn all() -> v1::ListRequest {
    v1::ListRequest { all: true, ..Default::default() }
}

async fn names(daemon: &Daemon) -> Vec<String> {
    let listed = daemon.containers().await.list(all()).await.unwrap().into_inner();
    let mut names: Vec<_> = listed.containers.into_iter().map(|found| found.name).collect();
    names.sort();
    names
}

#[tokio::test]
async fn a_container_is_created_listed_renamed_and_removed() {
    let site = Site::new();
    let daemon = site.start(&[]).await;
    let mut containers = daemon.containers().await;
    let made = containers.create(external(&site, "web")).await.unwrap().into_inner();
    assert_eq!(made.id.len(), 64);
    let directory = site.path("data/engines/lcr").join(&made.id);
    assert!(directory.is_dir());
    // The record is in the journal; its files follow within moments.
    for file in ["config.json", "config.v2.json", "hostconfig.json", "hosts", "console.log"] {
        while !directory.join(file).is_file() {
            tokio::task::yield_now().await;
        }
    }

    let found = containers.list(all()).await.unwrap().into_inner().containers;
    assert_eq!((found[0].id.as_str(), found[0].state.as_str()), (made.id.as_str(), "created"));
    let running = containers.list(v1::ListRequest::default()).await.unwrap().into_inner();
    assert_eq!(running.containers, []);
    let id = made.id[..12].to_owned();
    let shown = containers.inspect(v1::InspectRequest { id: id.clone() }).await.unwrap();
    let json: serde_json::Value = serde_json::from_slice(&shown.into_inner().json).unwrap();
    assert_eq!((&json["Id"], &json["Name"]), (&made.id.clone().into(), &"web".into()));

    let name = "db".to_owned();
    containers.rename(v1::RenameRequest { id: "web".to_owned(), name }).await.unwrap();
    assert_eq!(names(&daemon).await, ["db"]);
    let remove = v1::RemoveRequest { id, ..Default::default() };
    assert_eq!(containers.remove(remove).await.unwrap().into_inner().id, made.id);
    assert_eq!(names(&daemon).await, [""; 0]);
    assert!(!directory.exists());
}

#[tokio::test]
async fn an_error_carries_its_kind() {
    let site = Site::new();
    let daemon = site.start(&[]).await;
    let mut containers = daemon.containers().await;
    let missing = v1::StartRequest { id: "nobody".to_owned() };
    let error = containers.start(missing).await.unwrap_err();
    assert_eq!((error.code(), kind(&error)), (tonic::Code::NotFound, "not-found"));
    assert_eq!(error.message(), "no such container: nobody");

    containers.create(external(&site, "web")).await.unwrap();
    let taken = containers.create(external(&site, "web")).await.unwrap_err();
    assert_eq!(kind(&taken), "already-exists");
    let mut bad = external(&site, "x");
    bad.name = "../x".to_owned();
    assert_eq!(kind(&containers.create(bad).await.unwrap_err()), "invalid-input");
    let image = v1::CreateRequest { image: "missing".to_owned(), ..Default::default() };
    assert_eq!(kind(&containers.create(image).await.unwrap_err()), "image-not-found");
    let mut lost = external(&site, "y");
    lost.host = Some(v1::HostConfig { network: "nowhere".to_owned(), ..Default::default() });
    assert_eq!(kind(&containers.create(lost).await.unwrap_err()), "not-found");
    let mut option = external(&site, "z");
    option.host = Some(v1::HostConfig {
        storage_options: [("foo".to_owned(), "1".to_owned())].into(),
        ..Default::default()
    });
    assert_eq!(kind(&containers.create(option).await.unwrap_err()), "unsupported");
    assert_eq!(names(&daemon).await, ["web"]);
}

#[tokio::test]
async fn what_was_acknowledged_is_there_after_a_kill_and_after_an_end() {
    let site = Site::new();
    let mut daemon = site.start(&[]).await;
    daemon.containers().await.create(external(&site, "one")).await.unwrap();
    daemon.kill();
    let mut daemon = site.start(&[]).await;
    assert_eq!(names(&daemon).await, ["one"]);
    daemon.containers().await.create(external(&site, "two")).await.unwrap();
    assert!(daemon.terminate().success());
    assert!(!site.path("run/isulad.sock").exists());
    let daemon = site.start(&[]).await;
    assert_eq!(names(&daemon).await, ["one", "two"]);
}

#[tokio::test]
async fn a_daemon_can_follow_at_once_on_one_that_was_killed() {
    let site = Site::new();
    let mut daemon = site.start(&[]).await;
    for _ in 0..5 {
        // Nobody has waited for the end of the one before.
        daemon.kill_at_once();
        daemon = site.start(&[]).await;
    }
    assert_eq!(names(&daemon).await, [""; 0]);
}

#[tokio::test]
async fn sigterm_ends_it_though_clients_hang_on() {
    let site = Site::new();
    let mut daemon = site.start(&[]).await;
    let mut containers = daemon.containers().await;
    containers.create(external(&site, "web")).await.unwrap();
    let condition = v1::wait_request::Condition::Removed.into();
    let wait = v1::WaitRequest { id: "web".to_owned(), condition };
    let waiting = tokio::spawn(async move { containers.wait(wait).await });
    // The request is there when another one behind it has been answered.
    daemon.system().await.version(v1::VersionRequest {}).await.unwrap();
    // It would wait for ever for this client.
    assert!(daemon.terminate().success());
    assert!(waiting.await.unwrap().is_err());
    assert!(daemon.notified("STOPPING=1"));
}

#[tokio::test]
async fn sigterm_ends_it_though_whoever_started_it_had_the_signal_blocked() {
    let site = Site::new();
    let mut daemon = site.start_with_blocked("TERM,INT,HUP,CHLD").await;
    assert_eq!(names(&daemon).await, [""; 0]);
    assert!(daemon.terminate().success());
}

#[tokio::test]
async fn a_second_daemon_on_the_same_root_is_refused() {
    let site = Site::new();
    let daemon = site.start(&[]).await;
    let refused = site.command(&[]).output().unwrap();
    assert_eq!(refused.status.code(), Some(1));
    let text = String::from_utf8(refused.stderr).unwrap();
    let wanted = format!(
        "isulad: another isulad (pid {}) uses {}",
        daemon.pid(),
        site.path("data").display()
    );
    assert_eq!(text.trim_end(), wanted);
    assert_eq!(names(&daemon).await, [""; 0]);
}

#[tokio::test]
async fn directories_and_socket_are_for_root_and_the_group_alone() {
    let site = Site::new();
    fs::create_dir(site.path("data")).unwrap();
    fs::set_permissions(site.path("data"), fs::Permissions::from_mode(0o777)).unwrap();
    let pidfile = site.path("isulad.pid");
    let daemon = site.start(&["--pidfile", pidfile.to_str().unwrap()]).await;
    let mode = |name: &str| fs::metadata(site.path(name)).unwrap().permissions().mode() & 0o7777;
    assert_eq!((mode("data"), mode("run"), mode("run/isulad.sock")), (0o700, 0o711, 0o660));
    assert_eq!(fs::read_to_string(pidfile).unwrap().trim(), daemon.pid().to_string());
}

#[tokio::test]
async fn a_wrong_configuration_is_one_line_and_nothing_is_made() {
    let site = Site::new();
    let file = site.path("daemon.json");
    fs::write(&file, "{\n  \"grup\": \"x\"\n}").unwrap();
    let refused = site.command(&["--config", file.to_str().unwrap()]).output().unwrap();
    assert_eq!(refused.status.code(), Some(1));
    let text = String::from_utf8(refused.stderr).unwrap();
    assert_eq!(text, format!("isulad: {}:2: unknown key \"grup\"\n", file.display()));
    assert!(!site.path("data").exists());
    fs::write(&file, "{\"engine\": \"lcr\"}").unwrap();
    let valid = site.command(&["--config", file.to_str().unwrap(), "--validate"]).output().unwrap();
    assert!(valid.status.success());
    assert_eq!(String::from_utf8(valid.stdout).unwrap(), "configuration OK\n");
    assert!(!site.path("data").exists());
}

#[test]
fn without_systemd_its_driver_is_refused_in_one_line() {
    // Tests run where something else is the first process, or beside a systemd that has the driver.
    if Path::new("/run/systemd/system").exists() {
        return;
    }
    let site = Site::new();
    let file = site.path("daemon.json");
    fs::write(&file, "{\"systemd-cgroup\": true}").unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_isulad"));
    command.arg("--graph").arg(site.path("data")).arg("--state").arg(site.path("run"));
    command.arg("--config").arg(file).args(["--shim", "/bin/true"]);
    let said = command.output().unwrap();
    let text = String::from_utf8(said.stderr).unwrap();
    assert!(!said.status.success());
    assert_eq!(text.lines().count(), 1, "{text}");
    assert!(text.contains("needs systemd as the first process of the machine"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_clients_create_at_once_and_silent_ones_are_in_nobodys_way() {
    let site = Site::new();
    let daemon = site.start(&[]).await;
    let silent: Vec<_> = (0..200)
        .map(|_| std::os::unix::net::UnixStream::connect(site.path("run/isulad.sock")).unwrap())
        .collect();
    let tasks: Vec<_> = (0..100)
        .map(|number| {
            let request = external(&site, &format!("c{number}"));
            let connecting = daemon.connect();
            tokio::spawn(async move {
                let channel = connecting.await;
                v1::containers_client::ContainersClient::new(channel)
                    .create(request)
                    .await
                    .unwrap();
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    assert_eq!(names(&daemon).await.len(), 100);
    drop(silent);
}

#[tokio::test]
async fn a_message_above_the_limit_is_refused_and_the_daemon_goes_on() {
    let site = Site::new();
    let daemon = site.start(&[]).await;
    let mut large = external(&site, "large");
    let labels = [("x".to_owned(), "x".repeat(17 << 20))];
    large.config.get_or_insert_default().labels = labels.into();
    let refused = daemon.containers().await.create(large).await.unwrap_err();
    assert_eq!(refused.code(), tonic::Code::OutOfRange);
    assert_eq!(names(&daemon).await, [""; 0]);
}

#[tokio::test]
async fn an_image_is_imported_inspected_and_removed() {
    use v1::import_input::Input;
    let site = Site::new();
    let daemon = site.start(&[]).await;
    let mut images = daemon.images().await;
    fs::create_dir_all(site.path("tree/bin")).unwrap();
    fs::write(site.path("tree/bin/hello"), b"hello").unwrap();
    let tar = site.tar("tree");
    let open = v1::OpenImport { reference: "mine:1".to_owned(), ..Default::default() };
    let mut pieces = vec![v1::ImportInput { input: Some(Input::Open(open)) }];
    pieces.extend(
        tar.chunks(1000)
            .map(|piece| v1::ImportInput { input: Some(Input::Data(piece.to_vec().into())) }),
    );
    let id = images.import(tokio_stream::iter(pieces)).await.unwrap().into_inner().id;

    let listed = images.list_images(v1::ListImagesRequest::default()).await.unwrap().into_inner();
    assert_eq!((&listed.images[0].id, &listed.images[0].tags), (&id, &vec!["mine:1".to_owned()]));
    let query = v1::InspectImageRequest { image: "mine:1".to_owned() };
    let shown = images.inspect_image(query).await.unwrap().into_inner();
    let json: serde_json::Value = serde_json::from_slice(&shown.json).unwrap();
    assert_eq!(json["Id"], format!("sha256:{id}"));
    let tag = v1::TagImageRequest { image: id.clone(), reference: "other".to_owned() };
    images.tag_image(tag).await.unwrap();
    let filters = vec!["reference=oth*".to_owned()];
    let listed = images.list_images(v1::ListImagesRequest { filters }).await.unwrap().into_inner();
    assert_eq!(listed.images.len(), 1);
    for (image, deleted) in [("mine:1", 0), ("other", 1)] {
        let image = image.to_owned();
        let request = v1::RemoveImageRequest { image, force: false };
        let removed = images.remove_image(request).await.unwrap().into_inner();
        assert_eq!((removed.untagged.len(), removed.deleted.len()), (1, deleted));
    }

    // An archive that breaks off leaves nothing.
    let open = v1::OpenImport::default();
    let cut = vec![
        v1::ImportInput { input: Some(Input::Open(open)) },
        v1::ImportInput { input: Some(Input::Data(tar[..700].to_vec().into())) },
    ];
    images.import(tokio_stream::iter(cut)).await.unwrap_err();
    let listed = images.list_images(v1::ListImagesRequest::default()).await.unwrap().into_inner();
    assert_eq!(listed.images, []);
}

#[tokio::test]
async fn a_socket_from_systemd_is_used_and_left_alone() {
    let site = Site::new();
    let path = site.path("activated.sock");
    let listener = std::os::unix::net::UnixListener::bind(&path).unwrap();
    let mut daemon = site.start_with_socket(listener.into()).await;
    let answer = daemon.system_at(&path).await.version(v1::VersionRequest {}).await.unwrap();
    assert_eq!(answer.into_inner().version, env!("CARGO_PKG_VERSION"));
    assert!(!site.path("run/isulad.sock").exists());
    assert!(daemon.terminate().success());
    assert!(path.exists());
}

#[tokio::test]
async fn the_engine_tells_about_itself() {
    let site = Site::new();
    let daemon = site.start(&["--registry-mirror", "https://mirror.example"]).await;
    daemon.containers().await.create(external(&site, "web")).await.unwrap();
    let info = daemon.system().await.info(v1::InfoRequest {}).await.unwrap().into_inner();
    assert_eq!((info.containers, info.stopped, info.images), (1, 1, 0));
    assert_eq!(info.root_dir, site.path("data").display().to_string());
    assert_eq!((info.default_runtime.as_str(), info.os_type.as_str()), ("lcr", "linux"));
    assert!(info.runtimes.contains(&"lcr".to_owned()));
    assert_eq!(info.registry_mirrors, ["https://mirror.example"]);
    assert_eq!(info.damage, [""; 0]);
}

#[tokio::test]
async fn a_damaged_record_is_named_and_the_rest_is_served() {
    let site = Site::new();
    let mut daemon = site.start(&[]).await;
    let mut containers = daemon.containers().await;
    let bad = containers.create(external(&site, "bad")).await.unwrap().into_inner();
    containers.create(external(&site, "good")).await.unwrap();
    assert!(daemon.terminate().success());
    // The journal would mend it.
    fs::remove_file(site.path("data/journal")).unwrap();
    fs::write(site.path("data/engines/lcr").join(&bad.id).join("config.v2.json"), b"").unwrap();
    let daemon = site.start(&[]).await;
    assert_eq!(names(&daemon).await, ["good"]);
    let info = daemon.system().await.info(v1::InfoRequest {}).await.unwrap().into_inner();
    assert_eq!(info.damage.len(), 1);
    assert!(info.damage[0].contains(&bad.id), "{:?}", info.damage);
}
