//! The engine itself.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, PoisonError},
};

use isula_core::{event::Event, spec::Defaults};
use tokio::sync::{broadcast, watch};

use crate::{
    Ports, Settings, container::Connected, events, index::Index, member::OutputRoom,
    sandbox::SandboxIndex,
};

/// All containers, and the use cases on them.
pub struct Engine {
    pub(crate) ports: Ports,
    pub(crate) settings: Settings,
    /// The part of the settings that goes into every spec.
    pub(crate) defaults: Defaults,
    pub(crate) index: Index,
    pub(crate) sandboxes: SandboxIndex,
    /// The containers that have a network.
    pub(crate) connected: Connected,
    /// The CIDR blocks that kubelet gave for pods.
    pub(crate) pod_ranges: Mutex<Vec<String>>,
    pub(crate) events: broadcast::Sender<Event>,
    /// Warnings about containers of sandboxes that were logged.
    pub(crate) warnings: Mutex<BTreeSet<String>>,
    /// What `exec sync` may keep of outputs.
    pub(crate) output_room: OutputRoom,
    /// What recovery found damaged, in words.
    pub(crate) damage: Mutex<Vec<String>>,
    /// What the former daemon left is being put right: nothing new is connected to a network, or it
    /// would be taken for a leftover.
    pub(crate) recovering: watch::Sender<bool>,
    /// Nothing is supervised any more.
    pub(crate) retired: watch::Sender<bool>,
}

impl Engine {
    /// An engine without containers; [`Engine::recover`] loads them.
    #[must_use]
    pub fn new(ports: Ports, settings: Settings) -> Arc<Self> {
        let defaults = settings.defaults();
        Arc::new(Self {
            ports,
            settings,
            defaults,
            index: Index::default(),
            sandboxes: SandboxIndex::default(),
            connected: Connected::default(),
            pod_ranges: Mutex::default(),
            events: broadcast::Sender::new(events::CAPACITY),
            warnings: Mutex::default(),
            output_room: OutputRoom::default(),
            damage: Mutex::default(),
            recovering: watch::Sender::new(false),
            retired: watch::Sender::new(false),
        })
    }

    /// The settings it was made with.
    #[must_use]
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// The ports it works with.
    #[must_use]
    pub fn ports(&self) -> &Ports {
        &self.ports
    }

    /// The CIDR blocks that kubelet gave for pods (`UpdateRuntimeConfig`), for the plugins that ask
    /// for `ipRanges`. Kubelet tells again after a restart.
    pub fn set_pod_ranges(&self, ranges: Vec<String>) {
        *self.pod_ranges.lock().unwrap_or_else(PoisonError::into_inner) = ranges;
    }

    /// As it was set last.
    #[must_use]
    pub fn pod_ranges(&self) -> Vec<String> {
        self.pod_ranges.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Ends all supervision: containers run on, and what becomes of them is the next daemon's to
    /// find out. Nothing is restarted or removed by itself any more.
    pub fn retire(&self) {
        self.retired.send_replace(true);
    }
}
