//! An engine on fakes.

use std::sync::Arc;

use isula_core::{
    container::{
        Connection, Mount, MountKind, NetworkMode, NewContainer, Overrides, Propagation,
        RestartPolicy,
    },
    id::{ContainerId, Name},
    image::ImageConfig,
    ports::{Attach, PortMapping, Protocol},
    testing::World,
};
use isula_engine::{
    Engine, Ports, Settings,
    container::{ListOptions, RemoveOptions},
};

/// A client that wants everything.
pub const ALL: Attach = Attach { stdin: true, stdout: true, stderr: true, size: None };

/// A world with one image, `busybox`, that sleeps.
pub fn world() -> World {
    let world = World::new();
    world.store.add_image(
        "busybox",
        ImageConfig {
            os: "linux".to_owned(),
            architecture: "amd64".to_owned(),
            cmd: vec!["sleep".to_owned()],
            ..ImageConfig::default()
        },
    );
    world
}

/// A daemon in that world.
pub fn engine(world: &World) -> Arc<Engine> {
    engine_with(world, Settings::default())
}

/// The same with settings of its own.
pub fn engine_with(world: &World, settings: Settings) -> Arc<Engine> {
    let ports = Ports {
        records: world.records.clone(),
        snapshots: world.store.clone(),
        images: world.store.clone(),
        volumes: world.volumes.clone(),
        runtime: world.runtime.clone(),
        networks: world.networks.clone(),
        pods: world.pods.clone(),
        sandboxes: world.sandboxes.clone(),
        clock: world.clock.clone(),
        entropy: world.entropy.clone(),
        host: world.host.clone(),
        cdi: world.cdi.clone(),
        checkpoints: world.checkpoints.clone(),
    };
    Engine::new(ports, settings)
}

/// A new daemon after the former one is gone.
pub async fn successor(world: &World, former: Arc<Engine>) -> Arc<Engine> {
    former.retire();
    drop(former);
    settle().await;
    let next = engine(world);
    next.recover().await.unwrap();
    next
}

/// Lets every task do what it can do now, without letting time pass.
pub async fn settle() {
    for _ in 0..50 {
        tokio::task::yield_now().await;
    }
}

/// A request for a container of `busybox` with this name and command.
pub fn request(name: &str, command: &str) -> NewContainer {
    NewContainer {
        name: Some(name.to_owned()),
        image: Some("busybox".to_owned()),
        overrides: Overrides {
            cmd: command.split_whitespace().map(str::to_owned).collect(),
            ..Overrides::default()
        },
        ..NewContainer::default()
    }
}

/// The same, removed when it ends.
pub fn ephemeral(name: &str, command: &str) -> NewContainer {
    let mut new = request(name, command);
    new.host.auto_remove = true;
    new
}

/// The same, started again by a policy.
pub fn restarted(name: &str, command: &str, policy: RestartPolicy) -> NewContainer {
    let mut new = request(name, command);
    new.host.restart = policy;
    new
}

/// A volume without a name.
pub fn anonymous(target: &str) -> Mount {
    Mount {
        kind: MountKind::Volume { name: String::new(), anonymous: true },
        target: target.to_owned(),
        readonly: false,
        recursive: true,
        propagation: Propagation::Rprivate,
        no_copy: false,
    }
}

/// A connection to the default network of the fake, with a port of the host.
pub fn published(host_port: u16) -> NetworkMode {
    let mapping =
        PortMapping { host_port, container_port: 80, protocol: Protocol::Tcp, host_ip: None };
    let network = Name::try_from("pods".to_owned()).unwrap();
    let connection = Connection { ports: vec![mapping], ..Connection::to(network) };
    NetworkMode::Network(Box::new(connection))
}

/// The shown state of a container, `gone` if there is none.
pub fn state(engine: &Engine, name: &str) -> &'static str {
    let options = ListOptions { all: true, filters: vec![format!("name=^{name}$")], last: None };
    engine.list(&options).unwrap().first().map_or("gone", |listed| listed.state)
}

/// The exit status of a container that is stopped.
pub async fn exit_code(engine: &Engine, name: &str) -> Option<i32> {
    engine.inspect(name).await.unwrap().container.state.exit().map(|exit| exit.code)
}

/// The id of a container.
pub async fn id(engine: &Engine, name: &str) -> ContainerId {
    engine.inspect(name).await.unwrap().container.id.clone()
}

/// Removes whatever there is, by force.
pub async fn remove_all(engine: &Arc<Engine>) {
    let options = ListOptions { all: true, ..ListOptions::default() };
    for listed in engine.list(&options).unwrap() {
        let force = RemoveOptions { force: true, volumes: true };
        engine.remove(listed.container.id.as_str(), force).await.unwrap();
    }
}

/// Asserts that nothing of any container is left anywhere.
pub fn assert_empty(world: &World, case: &str) {
    assert_eq!(world.records.count(), 0, "{case}: records");
    assert_eq!(world.store.layers(), [], "{case}: writable layers");
    assert_eq!(world.volumes.names(), [], "{case}: volumes");
    assert_eq!(world.runtime.traces(), [], "{case}: runs");
    assert_eq!(world.networks.attached(), [], "{case}: attachments");
    assert_eq!(world.networks.namespaces(), [], "{case}: network namespaces");
}
