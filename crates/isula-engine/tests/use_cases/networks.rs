//! Containers with a network: ports, addresses, and what becomes of them.

use isula_core::{
    container::{Connection, NetworkMode, RestartPolicy},
    error::ErrorKind,
    id::Name,
    ports::{PortMapping, Protocol},
    testing::Trouble,
};
use isula_engine::{StopOptions, container::RemoveOptions};

use crate::support::{
    assert_empty, engine, ephemeral, exit_code, published, remove_all, request, restarted, settle,
    state, successor, world,
};

fn on(network: &str) -> NetworkMode {
    let name = Name::try_from(network.to_owned()).unwrap();
    NetworkMode::Network(Box::new(Connection::to(name)))
}

#[tokio::test(start_paused = true)]
async fn a_run_has_an_address_and_its_ports_until_it_ends() {
    let world = world();
    let engine = engine(&world);
    let mut new = request("web", "sleep");
    new.host.network = published(8080);
    engine.create(new).await.unwrap();
    assert!(world.networks.attached().is_empty());
    for _ in 0..2 {
        engine.start("web").await.unwrap();
        let shown = engine.inspect("web").await.unwrap().container;
        let endpoint = shown.network.clone().unwrap();
        assert_eq!(endpoint.attachment.network, "pods");
        assert_eq!(endpoint.ports.first().map(|port| port.host_port), Some(8080));
        let hosts = world.records.files(&shown.id).unwrap().hosts;
        let address = endpoint.attachment.addresses.first().unwrap().ip;
        let line = format!("{address}\t{}\n", shown.config.hostname);
        assert!(String::from_utf8(hosts).unwrap().ends_with(&line));
        let request = world.networks.attached().remove(0);
        assert_eq!(request.capabilities.port_mappings, endpoint.ports);
        engine.stop("web", StopOptions::default()).await.unwrap();
        assert_eq!(engine.inspect("web").await.unwrap().container.network, None);
        assert!(world.networks.attached().is_empty() && world.networks.namespaces().is_empty());
    }
    remove_all(&engine).await;
    assert_empty(&world, "a life");
}

#[tokio::test(start_paused = true)]
async fn a_port_that_somebody_has_is_named_with_its_holder() {
    let world = world();
    let engine = engine(&world);
    for name in ["a", "b"] {
        let mut new = request(name, "sleep");
        new.host.network = published(8080);
        engine.create(new).await.unwrap();
    }
    engine.start("a").await.unwrap();
    let error = engine.start("b").await.unwrap_err();
    assert_eq!(error.to_string(), "b: port 8080 of the host is in use by container a");
    assert_eq!(error.kind(), ErrorKind::InUse);
    assert_eq!(state(&engine, "b"), "created");
    engine.stop("a", StopOptions::default()).await.unwrap();
    engine.start("b").await.unwrap();
    // The next daemon knows of it.
    let engine = successor(&world, engine).await;
    assert_eq!(state(&engine, "b"), "running");
    assert_eq!(engine.start("a").await.unwrap_err().kind(), ErrorKind::InUse);
    engine.stop("b", StopOptions::default()).await.unwrap();
    world.networks.take_port(8080);
    let error = engine.start("a").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InUse);
    remove_all(&engine).await;
    assert_empty(&world, "taken ports");
}

#[tokio::test(start_paused = true)]
async fn ports_that_nobody_named_are_chosen_and_never_twice() {
    let world = world();
    let engine = engine(&world);
    let mut all = Vec::new();
    for name in ["a", "b"] {
        let mut new = request(name, "sleep");
        new.overrides.expose = ["80/tcp", "8000-8001/udp"].map(str::to_owned).to_vec();
        new.host.network = published(0);
        if let NetworkMode::Network(connection) = &mut new.host.network {
            connection.publish_all = true;
        }
        engine.run(new).await.unwrap();
        let ports = engine.inspect(name).await.unwrap().container.network.clone().unwrap().ports;
        let led: Vec<(u16, Protocol)> =
            ports.iter().map(|port| (port.container_port, port.protocol)).collect();
        assert_eq!(led, [(80, Protocol::Tcp), (8000, Protocol::Udp), (8001, Protocol::Udp)]);
        all.extend(
            ports.into_iter().map(|PortMapping { host_port, protocol, .. }| (host_port, protocol)),
        );
    }
    let count = all.len();
    all.sort_by_key(|(port, protocol)| (*port, *protocol == Protocol::Udp));
    all.dedup();
    assert_eq!(all.len(), count, "{all:?}");
    assert!(all.iter().all(|(port, _)| *port != 0));
    remove_all(&engine).await;
    assert_empty(&world, "chosen ports");
}

#[tokio::test(start_paused = true)]
async fn what_a_network_can_not_do_is_refused_when_the_container_is_made() {
    let world = world();
    let engine = engine(&world);
    let mut new = request("a", "sleep");
    new.host.network = on("nowhere");
    let error = engine.create(new).await.unwrap_err();
    assert_eq!(
        (error.to_string().as_str(), error.kind()),
        ("no such network: nowhere", ErrorKind::NotFound)
    );
    let mut new = request("a", "sleep");
    new.host.network = on("pods");
    if let NetworkMode::Network(connection) = &mut new.host.network {
        connection.mac = Some("02:00:00:00:00:01".to_owned());
    }
    let error = engine.create(new).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    assert_empty(&world, "refused");
}

#[tokio::test(start_paused = true)]
async fn a_port_of_an_address_that_can_not_lead_to_the_container_is_refused() {
    let world = world();
    let engine = engine(&world);
    let mut new = request("a", "sleep");
    new.host.network = published(8080);
    if let NetworkMode::Network(connection) = &mut new.host.network {
        connection.ports[0].host_ip = Some("::1".parse().unwrap());
    }
    engine.create(new).await.unwrap();
    let error = engine.start("a").await.unwrap_err().to_string();
    assert!(error.contains("publish \"::1\" is not supported"), "{error}");
    assert!(world.networks.attached().is_empty() && world.networks.namespaces().is_empty());
    remove_all(&engine).await;
    assert_empty(&world, "no address");
}

#[tokio::test(start_paused = true)]
async fn what_a_new_daemon_starts_again_is_no_leftover_to_it() {
    let world = world();
    let first = engine(&world);
    let mut new = restarted("a", "sleep", RestartPolicy::Always);
    new.host.network = published(8080);
    first.run(new).await.unwrap();
    world.runtime.reboot();
    first.retire();
    drop(first);
    settle().await;
    let second = engine(&world);
    // The clean-up takes its time, and a restart waits for it.
    world.failures.always("networks.collect", Trouble::Hangs);
    second.recover().await.unwrap();
    assert!(world.networks.attached().is_empty());
    settle().await;
    assert_eq!((state(&second, "a"), world.networks.attached().len()), ("running", 1));
    world.failures.clear();
    remove_all(&second).await;
    assert_empty(&world, "started again");
}

#[tokio::test(start_paused = true)]
async fn a_network_that_fails_leaves_the_container_as_it_was() {
    let world = world();
    let engine = engine(&world);
    let mut new = request("a", "sleep");
    new.host.network = published(8080);
    engine.create(new).await.unwrap();
    let trouble = Trouble::Fails(ErrorKind::Internal);
    for step in ["networks.make_namespace", "networks.attach"] {
        world.failures.always(step, trouble);
        assert!(engine.start("a").await.is_err());
        world.failures.clear();
        assert_eq!(state(&engine, "a"), "created", "{step}");
        assert!(world.networks.attached().is_empty() && world.networks.namespaces().is_empty());
    }
    engine.start("a").await.unwrap();
    // A detachment that fails keeps nobody from the end, and is made up for.
    world.failures.always("networks.detach", trouble);
    engine.stop("a", StopOptions::default()).await.unwrap();
    assert_eq!((state(&engine, "a"), exit_code(&engine, "a").await), ("exited", Some(143)));
    assert!(engine.remove("a", RemoveOptions::default()).await.is_err());
    world.failures.clear();
    assert_eq!(world.networks.attached().len(), 1);
    engine.remove("a", RemoveOptions::default()).await.unwrap();
    assert_empty(&world, "detached late");
}

#[tokio::test(start_paused = true)]
async fn a_container_that_ends_by_itself_gives_its_port_back_before_anybody_hears_of_it() {
    let world = world();
    let engine = engine(&world);
    for name in ["a", "b"] {
        let mut new = ephemeral(name, "exit 0");
        new.host.network = published(8080);
        let created = engine.run(new).await.unwrap();
        settle().await;
        assert_eq!(state(&engine, created.id.as_str()), "gone");
    }
    assert_empty(&world, "ended");
}
