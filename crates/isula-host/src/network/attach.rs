//! Attaching and detaching. What is about to be attached is written down first; what could not be
//! attached is taken back; what is detached is forgotten last.

use isula_core::{
    fault,
    id::ContainerId,
    ports::{Attachment, NetworkRequest},
};

use super::{
    Core,
    cache::Entry,
    call::{Call, Command, capabilities, verify},
    chain::{Broken, Chain, deadline},
    conflist::Conflist,
    error::NetworkError,
    namespaces::is_pinned,
    result::CniResult,
};

/// Points at which the crash tests stop the process.
pub const FAULT_POINTS: [&str; 3] = ["network.intent", "network.added", "network.deleted"];

impl Core {
    /// Attaches a namespace to a network.
    pub(super) async fn attach(
        &self,
        request: &NetworkRequest,
    ) -> Result<Attachment, NetworkError> {
        verify(request)?;
        if !request.namespace.as_deref().is_some_and(is_pinned) {
            let path = request.namespace.as_deref().unwrap_or(std::path::Path::new(""));
            let message = format!("{} is no network namespace", path.display());
            return Err(NetworkError::Invalid(message));
        }
        let loaded = self.directory.current();
        let network = loaded.find(request.network.as_deref(), self.directory.path())?;
        let _turn = self.turn(&request.id).await;
        for entry in self.cache.find(&request.id, &request.interface, Some(&network.name))? {
            if entry.result.is_some() {
                return Err(NetworkError::Attached {
                    id: entry.id,
                    interface: entry.interface,
                    network: entry.network,
                });
            }
            // A crash cut an attachment short.
            self.delete(&entry, request).await?;
        }
        self.add(request, &network).await
    }

    async fn add(
        &self,
        request: &NetworkRequest,
        network: &Conflist,
    ) -> Result<Attachment, NetworkError> {
        let mut chain = Chain::new(self, network, self.call(request, network));
        chain.capabilities = capabilities(&request.capabilities);
        let name = (network.name.as_str(), &request.id, request.interface.as_str());
        let mut entry = Entry::new(name, &network.json, request.namespace.clone());
        entry.args.clone_from(&request.args);
        entry.capabilities.clone_from(&chain.capabilities);
        entry.native = chain.native.iter().map(Option::is_some).collect();
        // The built-in plugins keep nothing that a start after a power cut would not find.
        let durable = chain.has_programs();
        self.cache.save(&entry, durable)?;
        fault::point("network.intent");

        let added = chain.add().await;
        fault::point("network.added");
        let kept = added.and_then(|result| {
            let rendered = result.render(network.version.max(super::version::Version::V0_3_1));
            entry.result = Some(rendered);
            let called = network.plugins.len();
            self.cache.save(&entry, durable).map_err(|error| Broken { error, called })?;
            Ok(result)
        });
        match kept {
            Ok(result) => Ok(attachment(&result, network, request)),
            Err(Broken { error, called }) => {
                chain.call.deadline = deadline(self);
                match chain.del(called, None).await.and_then(|()| self.cache.remove(&entry)) {
                    Ok(()) => Err(error),
                    // The entry stays: a detachment or the next start tries again.
                    Err(undo) => Err(NetworkError::Several(vec![error, undo])),
                }
            }
        }
    }

    /// Detaches a namespace from what its interface is attached to.
    pub(super) async fn detach(&self, request: &NetworkRequest) -> Result<(), NetworkError> {
        verify(request)?;
        let _turn = self.turn(&request.id).await;
        let wanted = request.network.as_deref();
        let entries = self.cache.find(&request.id, &request.interface, wanted)?;
        if entries.is_empty() {
            return self.delete_unknown(request).await;
        }
        let mut failures = Vec::new();
        for entry in entries {
            failures.extend(self.delete(&entry, request).await.err());
        }
        NetworkError::all(failures)
    }

    /// DEL of an attachment that was written down, then its entry.
    async fn delete(&self, entry: &Entry, request: &NetworkRequest) -> Result<(), NetworkError> {
        let damaged = |message: String| {
            NetworkError::Invalid(format!("the record of {} is damaged: {message}", entry.id))
        };
        let network = entry.conflist().and_then(Conflist::from_object).map_err(damaged)?;
        let mut call = self.call(request, &network);
        call.args.clone_from(&entry.args);
        let chain = Chain::of(self, &network, entry, call);
        chain.del(network.plugins.len(), entry.result.as_ref()).await?;
        fault::point("network.deleted");
        self.cache.remove(entry)
    }

    /// DEL of what nothing is known of: plugins may still keep something, and DEL is idempotent.
    async fn delete_unknown(&self, request: &NetworkRequest) -> Result<(), NetworkError> {
        let loaded = self.directory.current();
        let Ok(network) = loaded.find(request.network.as_deref(), self.directory.path()) else {
            return Ok(());
        };
        let mut chain = Chain::new(self, &network, self.call(request, &network));
        if chain.has_programs() {
            // Nothing was ever attached by programs that nothing was written down of: the record
            // is synced before they run.
            return Ok(());
        }
        chain.capabilities = capabilities(&request.capabilities);
        chain.del(network.plugins.len(), None).await
    }

    /// Whether an attachment is still as it was made.
    pub(super) async fn check(&self, request: &NetworkRequest) -> Result<(), NetworkError> {
        verify(request)?;
        let _turn = self.turn(&request.id).await;
        let wanted = request.network.as_deref();
        let mut entries = self.cache.find(&request.id, &request.interface, wanted)?;
        let Some((entry, result)) =
            entries.pop().and_then(|entry| entry.result.clone().map(|result| (entry, result)))
        else {
            let (id, interface) = (request.id.to_string(), request.interface.clone());
            return Err(NetworkError::NotAttached { id, interface });
        };
        let network =
            entry.conflist().and_then(Conflist::from_object).map_err(NetworkError::Invalid)?;
        if !network.check || !network.version.has_check() {
            return Ok(());
        }
        let mut call = self.call(request, &network);
        call.args.clone_from(&entry.args);
        Chain::of(self, &network, &entry, call).check(&result).await
    }

    /// Whether the default network can be used.
    pub(super) async fn status(&self) -> Result<(), NetworkError> {
        let loaded = self.directory.current();
        let network = loaded.find(None, self.directory.path())?;
        let time = (network.version, deadline(self));
        let call = Call::about_network(Command::Status, &network.name, time);
        Chain::new(self, &network, call).status().await
    }

    /// Frees what belongs to nobody: attachments and namespaces of the dead, then what plugins keep
    /// beyond that.
    pub(super) async fn collect(&self, alive: &[ContainerId]) -> Result<(), NetworkError> {
        let lives = |id: &str| alive.iter().any(|one| one.as_str() == id);
        let mut failures = Vec::from_iter(self.cache.sweep().err());
        let (living, dead): (Vec<Entry>, Vec<Entry>) =
            self.cache.all()?.into_iter().partition(|entry| lives(&entry.id));
        for entry in &dead {
            let Ok(id) = ContainerId::try_from(entry.id.clone()) else { continue };
            let request = NetworkRequest {
                namespace: Some(self.namespaces.path(&id)),
                id,
                network: Some(entry.network.clone()),
                interface: entry.interface.clone(),
                args: entry.args.clone(),
                capabilities: isula_core::ports::Capabilities::default(),
            };
            failures.extend(self.delete(entry, &request).await.err());
        }
        for id in self.namespaces.list()?.iter().filter(|id| !lives(id.as_str())) {
            failures.extend(self.namespaces.remove(id).err());
        }
        for network in self.directory.current().all() {
            let of_network = living.iter().filter(|entry| entry.network == network.name);
            let valid: Vec<(String, String)> =
                of_network.map(|entry| (entry.id.clone(), entry.interface.clone())).collect();
            if network.collect && network.version.has_status() {
                let time = (network.version, deadline(self));
                let call = Call::about_network(Command::Collect, &network.name, time);
                failures.extend(Chain::new(self, network, call).collect(&valid).await);
            } else {
                failures.extend(self.reclaim(network, valid).await);
            }
        }
        NetworkError::all(failures)
    }

    fn call(&self, request: &NetworkRequest, network: &Conflist) -> Call {
        Call {
            command: Command::Add,
            network: network.name.clone(),
            version: network.version,
            id: request.id.as_str().to_owned(),
            namespace: request.namespace.clone().filter(|path| is_pinned(path)),
            interface: request.interface.clone(),
            args: request.args.clone(),
            deadline: deadline(self),
            reaper: self.reaper.clone(),
        }
    }
}

fn attachment(result: &CniResult, network: &Conflist, request: &NetworkRequest) -> Attachment {
    result.attachment(&network.name, &request.interface)
}
