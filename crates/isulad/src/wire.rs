//! The one place that knows which adaptors stand behind the ports.

use std::{sync::Arc, time::Duration};

use isula_core::{error::PortError, ports::Host};
use isula_engine::{Engine, Ports, Settings, Umask};
use isula_host::{
    cdi::CdiSpecs,
    checkpoints::LocalCheckpoints,
    host::{Kernel, Machine},
    network::{self, CniNetworks},
    pods::{self, HostPods},
    records::JournaledRecords,
    runtime::{self, ExternalRuntime, Runtimes},
    volumes::LocalVolumes,
};
use isula_image::{Store, registry};

use crate::config::Config;

/// The most bytes that a layer may unpack to where nothing is configured: far more than any has.
const LAYER_LIMIT: u64 = 256 << 30;
/// What an attachment may take beyond its plugins.
const NETWORK_MARGIN: Duration = Duration::from_mins(1);

/// The engine and what must be closed with it.
pub struct Wired {
    /// The engine; its containers are not loaded yet.
    pub engine: Arc<Engine>,
    records: JournaledRecords,
}

/// Makes the engine. It blocks, and must be called within a tokio runtime.
///
/// # Errors
/// A directory, the image store, the shim or the control groups can't be used.
pub fn assemble(config: &Config) -> Result<Wired, PortError> {
    let root = &config.data_root;
    let records = JournaledRecords::open(root)?;
    let volumes = LocalVolumes::open(root, &records)?;
    let checkpoints = LocalCheckpoints::open(root, &records)?;
    let store = Arc::new(Store::open(images(config))?);
    let external = |(name, (path, args)): (&String, &(String, Vec<String>))| {
        (name.clone(), ExternalRuntime { path: path.clone(), args: args.clone() })
    };
    let runtimes = Runtimes::new(runtime::Settings {
        state_dir: config.state_dir.clone(),
        shim_path: config.shim.clone(),
        runtimes: config.runtimes.iter().map(external).collect(),
        cgroup_parent: config.cgroup_parent.clone(),
        cgroup_driver: config.cgroup_driver,
        start_timeout: config.start_timeout,
    })?;
    let networks = CniNetworks::new(network::Settings {
        state_dir: config.state_dir.clone(),
        data_root: root.clone(),
        conf_dir: config.network.conf_dir.clone(),
        bin_dirs: config.network.bin_dirs.clone(),
        bridge: config.network.bridge.as_ref().map(|bridge| network::Bridge {
            device: bridge.device.clone(),
            gateway: bridge.gateway,
            prefix: bridge.prefix,
        }),
        native: config.network.native,
        timeout: config.network.timeout,
    });
    let machine = Machine::read();
    tracing::debug!(facts = ?machine.facts(), "the host");
    let pods = HostPods::new(pods::Settings {
        state_dir: config.state_dir.clone(),
        shim_path: config.shim.clone(),
        cgroup_parent: config.cgroup_parent.clone(),
        cgroup_driver: config.cgroup_driver,
        facts: machine.facts().clone(),
    })?;
    let ports = Ports {
        records: Arc::new(records.clone()),
        snapshots: Arc::clone(&store) as _,
        images: store,
        volumes: Arc::new(volumes),
        runtime: Arc::new(runtimes),
        networks: Arc::new(networks),
        pods: Arc::new(pods),
        sandboxes: Arc::new(records.clone()),
        clock: Arc::new(Kernel),
        entropy: Arc::new(Kernel),
        host: Arc::new(machine),
        cdi: Arc::new(CdiSpecs::new(config.cdi_spec_dirs.clone())),
        checkpoints: Arc::new(checkpoints),
    };
    Ok(Wired { engine: Engine::new(ports, settings(config)), records })
}

/// What the engine is told.
fn settings(config: &Config) -> Settings {
    Settings {
        default_runtime: config.default_runtime.clone(),
        runtime_handlers: config.cri.runtimes.clone(),
        default_log: config.container_log.clone(),
        default_ulimits: config.ulimits.clone(),
        cgroup_parent: config.cgroup_parent.clone(),
        cgroup_driver: config.cgroup_driver,
        hooks: config.hooks.clone(),
        umask: if config.secure_umask { Umask::Secure } else { Umask::Normal },
        start_timeout: config.start_timeout,
        // ADD, and DEL after it has failed, each up to its own limit; then some.
        network_timeout: config.network.timeout.saturating_mul(2).saturating_add(NETWORK_MARGIN),
        ..Settings::default()
    }
}

/// What the image store is told.
fn images(config: &Config) -> isula_image::Settings {
    isula_image::Settings {
        root: config.data_root.join("storage"),
        registry: registry::Settings {
            insecure: config.insecure_registries.clone(),
            mirrors: config.mirrors.clone(),
            proxies: proxies(config),
            max_concurrent_downloads: config.concurrent_downloads,
            retry: retry(config),
            ..registry::Settings::default()
        },
        unpacked_limit: Some(config.layer_limit.unwrap_or(LAYER_LIMIT)),
    }
}

/// What the configuration leaves open the environment says; an empty text is no proxy at all.
fn proxies(config: &Config) -> registry::Proxies {
    let around = registry::Proxies::from_environment(|name| std::env::var(name).ok());
    let either = |configured: &Option<String>, around: Option<String>| {
        configured.clone().or(around).filter(|text| !text.is_empty())
    };
    registry::Proxies {
        https: either(&config.proxies.https_proxy, around.https),
        http: either(&config.proxies.http_proxy, around.http),
        no_proxy: either(&config.proxies.no_proxy, around.no_proxy),
    }
}

fn retry(config: &Config) -> registry::Retry {
    let retry = registry::Retry::default();
    match config.download_attempts {
        Some(attempts) => registry::Retry { attempts: attempts.saturating_sub(1), ..retry },
        None => retry,
    }
}

impl Wired {
    /// Ends supervision, leaves the containers running, and writes what is left to write.
    pub async fn close(&self) {
        self.engine.retire();
        self.records.close().await;
    }
}
