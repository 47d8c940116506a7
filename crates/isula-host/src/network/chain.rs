//! The plugins of a network one after the other: ADD in order, each given what the one before it
//! did; DEL in reverse, whatever fails.

use serde_json::{Map, Value};
use tokio::time::Instant;

use super::{
    Core,
    cache::Entry,
    call::{Call, Command, configuration},
    conflist::{Conflist, Plugin},
    error::NetworkError,
    native::{self, Native},
    result::CniResult,
    version::Version,
};

/// The plugins of a network, on their way for one attachment.
pub(super) struct Chain<'a> {
    pub core: &'a Core,
    pub network: &'a Conflist,
    /// Which plugins are built-in ones, by their place.
    pub native: Vec<Option<Native>>,
    pub call: Call,
    pub capabilities: Map<String, Value>,
}

/// How far an ADD came that failed.
pub(super) struct Broken {
    pub error: NetworkError,
    /// So many plugins were called.
    pub called: usize,
}

impl<'a> Chain<'a> {
    /// The chain of a new attachment.
    pub(super) fn new(core: &'a Core, network: &'a Conflist, call: Call) -> Self {
        let find = |plugin: &Plugin| core.settings.native.then(|| native::find(plugin)).flatten();
        let native = network.plugins.iter().map(find).collect();
        Self { core, network, native, call, capabilities: Map::new() }
    }

    /// The chain of an attachment that was made: by the plugins that made it.
    pub(super) fn of(core: &'a Core, network: &'a Conflist, entry: &Entry, call: Call) -> Self {
        let places = network.plugins.iter().enumerate();
        let was_native = |place: usize| entry.native.get(place).copied().unwrap_or(false);
        let find = |(place, plugin): (usize, &Plugin)| {
            was_native(place).then(|| native::named(&plugin.kind)).flatten()
        };
        let native = places.map(find).collect();
        Self { core, network, native, call, capabilities: entry.capabilities.clone() }
    }

    /// Whether a plugin is a program.
    pub(super) fn has_programs(&self) -> bool {
        self.native.iter().any(Option::is_none)
    }

    /// ADD: the last plugin's result is that of the network.
    pub(super) async fn add(&self) -> Result<CniResult, Broken> {
        let mut previous: Option<CniResult> = None;
        for (place, plugin) in self.network.plugins.iter().enumerate() {
            let broken = |error| Broken { called: place + usize::from(has_run(&error)), error };
            let version = self.network.version;
            let rendered = previous.as_ref().filter(|_| version >= Version::V0_3_0);
            let rendered = rendered.map(|result| result.render(version));
            let done = self.call(place, Command::Add, rendered.as_ref()).await.map_err(broken)?;
            let value = done.unwrap_or_default();
            let result = CniResult::parse(&value, version).map_err(|message| {
                broken(NetworkError::Plugin {
                    plugin: plugin.kind.clone(),
                    command: Command::Add.name(),
                    code: 6,
                    message,
                })
            })?;
            previous = Some(result);
        }
        Ok(previous.unwrap_or_default())
    }

    /// DEL of the first so many plugins, in reverse.
    pub(super) async fn del(
        &self,
        called: usize,
        result: Option<&Value>,
    ) -> Result<(), NetworkError> {
        let previous = result.filter(|_| self.network.version.has_check());
        let mut failures = Vec::new();
        for place in (0..called.min(self.network.plugins.len())).rev() {
            failures.extend(self.call(place, Command::Del, previous).await.err());
        }
        NetworkError::all(failures)
    }

    /// CHECK of all plugins in order.
    pub(super) async fn check(&self, result: &Value) -> Result<(), NetworkError> {
        for place in 0..self.network.plugins.len() {
            self.call(place, Command::Check, Some(result)).await?;
        }
        Ok(())
    }

    /// STATUS of all plugins: a network of an older version can be used when its plugins are there.
    pub(super) async fn status(&self) -> Result<(), NetworkError> {
        for (place, plugin) in self.network.plugins.iter().enumerate() {
            if self.network.version.has_status() {
                self.call(place, Command::Status, None).await?;
            } else if self.native.get(place).copied().flatten().is_none() {
                self.core.programs.find(&plugin.kind)?;
            }
        }
        Ok(())
    }

    /// GC of all plugins, which are told what is attached.
    pub(super) async fn collect(&mut self, valid: &[(String, String)]) -> Vec<NetworkError> {
        let item = |(id, interface): &(String, String)| serde_json::json!({ "containerID": id, "ifname": interface });
        let valid = Value::Array(valid.iter().map(item).collect());
        let mut failures = Vec::new();
        let mut network = self.network.clone();
        for plugin in &mut network.plugins {
            // The name of the specification, and the one that libcni used before.
            for key in ["cni.dev/valid-attachments", "cni.dev/attachments"] {
                plugin.conf.insert(key.to_owned(), valid.clone());
            }
        }
        let told = Chain {
            network: &network,
            native: self.native.clone(),
            core: self.core,
            call: self.call.clone(),
            capabilities: Map::new(),
        };
        for place in 0..told.network.plugins.len() {
            failures.extend(told.call(place, Command::Collect, None).await.err());
        }
        failures
    }

    async fn call(
        &self,
        place: usize,
        command: Command,
        previous: Option<&Value>,
    ) -> Result<Option<Value>, NetworkError> {
        let Some(plugin) = self.network.plugins.get(place) else { return Ok(None) };
        let mut call = self.call.clone();
        call.command = command;
        let conf = configuration(plugin, &call, &self.capabilities, previous);
        let Some(native) = self.native.get(place).copied().flatten() else {
            let done = self.core.programs.run(&plugin.kind, &call, &conf).await;
            return done.map_err(|error| explain(error, plugin));
        };
        let name = plugin.kind.clone();
        let failed = move |message: String| NetworkError::Plugin {
            plugin: name,
            command: command.name(),
            code: 0,
            message,
        };
        // It makes system calls that the kernel answers at once: no deadline ends it half-way.
        let work = tokio::task::spawn_blocking(move || native.run(&call, &conf));
        match work.await {
            Ok(Ok(result)) => Ok(result.map(|result| result.render(self.network.version))),
            Ok(Err(message)) => Err(failed(message)),
            Err(_) => Err(failed("it was cut short".to_owned())),
        }
    }
}

/// Whether a plugin was run before this went wrong.
fn has_run(error: &NetworkError) -> bool {
    !matches!(error, NetworkError::NoPlugin { .. } | NetworkError::Version { .. })
}

/// Says why a built-in plugin would not do where its program is missing.
fn explain(error: NetworkError, plugin: &Plugin) -> NetworkError {
    let refusal = native::named(&plugin.kind).and_then(|native| native.refusal(&plugin.conf));
    match (error, refusal) {
        (NetworkError::NoPlugin { plugin, directories }, Some(reason)) => {
            let directories = format!("{directories}, and the built-in one says: {reason}");
            NetworkError::NoPlugin { plugin, directories }
        }
        (other, _) => other,
    }
}

/// The moment at which something that begins now is over.
pub(super) fn deadline(core: &Core) -> Instant {
    Instant::now() + core.settings.timeout
}
