//! `run`: the record, the namespaces, the network; then the sandbox is ready.

use isula_core::{
    cgroup::{CgroupDriver, Slice},
    error::chain,
    event::SandboxAction,
    fault,
    id::ContainerId,
    ports::Durability,
    sandbox::{self, Sandbox, SandboxConfig, SandboxEvent, SandboxId, SandboxState, Scope},
};

use super::slot::HeldSandbox;
use crate::{Engine, Error, Result};

impl Engine {
    /// Makes a sandbox: ready and durable on return.
    ///
    /// # Errors
    /// The request is wrong, its metadata is taken, the runtime handler is unknown, or a port
    /// failed. Nothing is left behind; where even that failed, the sandbox is there and not ready,
    /// so that its stop and removal can be asked for.
    pub async fn run_sandbox(&self, config: SandboxConfig) -> Result<SandboxId> {
        let mut sandbox = self.accept_sandbox(config)?;
        if let Some(directory) = sandbox.config.log_directory.take() {
            let work = self.on_host(move |host| host.log_directory(&directory));
            let real = self.port_of(&sandbox.id, "keep its logs", work).await?;
            sandbox.config.log_directory = Some(real);
        }
        let slot = self.sandboxes.add(sandbox.clone())?;
        let id = sandbox.id.clone();
        let Some(held) = self.hold_sandbox(&slot).await else {
            return Err(Error::NoSuchSandbox(id.to_string()));
        };
        fault::point("runp.named");
        match self.make_ready(&held, &sandbox).await {
            Ok(()) => {
                fault::point("runp.ready");
                drop(held);
                self.publish_sandbox(&id, SandboxAction::Start);
                Ok(id)
            }
            Err(error) => {
                self.undo_run(&held, &sandbox).await;
                Err(error)
            }
        }
    }

    /// The sandbox that a request asks for. Nothing is made.
    fn accept_sandbox(&self, mut config: SandboxConfig) -> Result<Sandbox> {
        sandbox::verify(&mut config)?;
        let runtime = self.runtime_of(&config.runtime_handler)?;
        let id = ContainerId::from_random(self.ports.entropy.random());
        let cgroup = self.sandbox_cgroup(&id, config.cgroup_parent.as_deref())?;
        Ok(Sandbox {
            id,
            created: self.ports.clock.now(),
            own_cgroup: config.cgroup_parent.is_none(),
            config,
            runtime,
            cgroup,
            state: SandboxState::Starting,
            attachment: None,
        })
    }

    /// The path of a sandbox's control group: the one that is given, or one of its own.
    fn sandbox_cgroup(&self, id: &SandboxId, given: Option<&str>) -> Result<String> {
        const FIELD: &str = "cgroup_parent";
        let parent = self.settings.cgroup_parent.trim_end_matches('/');
        match (self.settings.cgroup_driver, given) {
            (CgroupDriver::Cgroupfs, None) => Ok(format!("{parent}/pod-{id}")),
            (CgroupDriver::Cgroupfs, Some(given)) => {
                match given.split('/').any(|part| part.ends_with(".slice") || part.contains(':')) {
                    true => Err(Error::SystemdCgroup(given.to_owned())),
                    false => Ok(given.to_owned()),
                }
            }
            (CgroupDriver::Systemd, None) => {
                Ok(Slice::parse(FIELD, parent)?.child(&format!("pod{id}")).path())
            }
            (CgroupDriver::Systemd, Some(given)) => Ok(Slice::parse(FIELD, given)?.path()),
        }
    }

    /// The OCI runtime that a handler names.
    ///
    /// # Errors
    /// There is none of this name.
    pub(crate) fn runtime_of(&self, handler: &str) -> Result<String> {
        if handler.is_empty() {
            return Ok(self.settings.default_runtime.clone());
        }
        let named = self.settings.runtime_handlers.get(handler);
        let wanted = named.map_or(handler, String::as_str);
        let known = self.ports.runtime.runtimes().iter().any(|name| name == wanted);
        known.then(|| wanted.to_owned()).ok_or_else(|| Error::UnknownHandler(handler.to_owned()))
    }

    async fn make_ready(&self, held: &HeldSandbox<'_>, sandbox: &Sandbox) -> Result<()> {
        let id = &sandbox.id;
        let files = self.sandbox_files(sandbox, None).await;
        // What the intent announces does not survive a power cut either.
        let work = self.ports.sandboxes.create_sandbox(sandbox, &files, Durability::Written);
        self.port_of(id, "record it", work).await?;
        fault::point("runp.intent");
        self.make_namespaces(sandbox).await?;
        fault::point("runp.namespaces");
        let mut next = sandbox.clone();
        if sandbox.config.namespaces.network != Scope::Node {
            next.attachment = Some(self.attach_network(sandbox).await?);
            fault::point("runp.attached");
            let files = self.sandbox_files(sandbox, next.attachment.as_ref()).await;
            let work = self.ports.sandboxes.refresh_sandbox(id, &files);
            self.port_of(id, "write its files", work).await?;
        }
        next.state = held.after(SandboxEvent::Made(self.ports.clock.now()))?.state;
        held.put(next, Durability::Synced).await
    }

    /// Takes down what there is of a sandbox that could not be made.
    async fn undo_run(&self, held: &HeldSandbox<'_>, sandbox: &Sandbox) {
        match self.take_down(sandbox).await {
            Ok(()) => {
                let work = self.ports.sandboxes.remove_sandbox(&sandbox.id);
                if let Err(error) = self.port_of(&sandbox.id, "remove its record", work).await {
                    tracing::error!("{}", chain(&error));
                }
                held.show_gone();
            }
            Err(error) => {
                tracing::error!("{}", chain(&error));
                // It can be stopped and removed again.
                if let Err(error) = held.enter(SandboxEvent::Stop, Durability::Written).await {
                    tracing::error!("{}", chain(&error));
                    held.show_gone();
                }
            }
        }
    }
}
