//! `exec`: a further process in a running container.

use isula_core::{
    container::{Container, ExecConfig, Invalid, State, path},
    error::chain,
    id::ContainerId,
    ports::{Attach, CdiEdits, ExecExit, ExecStarted, ProcessId, Session},
    spec,
};

use crate::{Engine, Error, Result, users::Root};

/// A detached process was started.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Executed {
    /// The container.
    pub container: ContainerId,
    /// Names the process.
    pub id: ProcessId,
    /// On the host.
    pub pid: i32,
}

/// A process with a client.
pub struct ExecAttached {
    /// The process.
    pub process: Executed,
    /// It has a terminal.
    pub tty: bool,
    /// The streams; they end with [`isula_core::ports::Chunk::Exited`].
    pub session: Session,
    /// The end (the same status as in the stream).
    pub exit: ExecExit,
}

impl Engine {
    /// Starts a further process in a running container and leaves it alone.
    ///
    /// # Errors
    /// The container does not run, or the process can't be started.
    pub async fn exec(&self, query: &str, config: ExecConfig) -> Result<Executed> {
        self.execute(query, config, None).await.map(|(_, process, _)| process)
    }

    /// Starts a further process in a running container with a client.
    ///
    /// # Errors
    /// As [`Engine::exec`].
    pub async fn exec_attached(
        &self,
        query: &str,
        config: ExecConfig,
        attach: Attach,
    ) -> Result<ExecAttached> {
        let tty = config.tty;
        let (container, process, started) = self.execute(query, config, Some(attach)).await?;
        let session = started.session.ok_or_else(|| self.no_session(&container))?;
        Ok(ExecAttached { process, tty, session, exit: started.exit })
    }

    async fn execute(
        &self,
        query: &str,
        config: ExecConfig,
        attach: Option<Attach>,
    ) -> Result<(std::sync::Arc<Container>, Executed, ExecStarted)> {
        let mut config = verified(config)?;
        let container = self.running(query)?;
        if let State::Paused(_) = container.state {
            return Err(Error::Paused(query.to_owned()));
        }
        let wanted = config.user.as_ref().unwrap_or(&container.config.user);
        let user = self.resolve_user(&container, wanted, Root::Running).await?;
        let facts = (self.ports.host.facts(), &self.defaults);
        // It has the devices of the init process, whose specification may be gone by now.
        let edits = self.cdi_edits(&container).await.unwrap_or_else(|error| {
            tracing::warn!("{}", chain(&error));
            CdiEdits::default()
        });
        let own = std::mem::replace(&mut config.env, edits.env.clone());
        config.env.extend(own);
        let mut process = spec::exec_process(&container, &config, &user, facts)?;
        spec::add_groups(&mut process, &edits);
        let id = ProcessId(self.random_name());
        let work = self.ports.runtime.exec(&container.id, &id, &process, attach);
        let limit = self.settings.start_timeout;
        let action = "start the process";
        let started = self.port_within(limit, &container, action, work).await?;
        let executed = Executed { container: container.id.clone(), id, pid: started.pid };
        Ok((container, executed, started))
    }
}

fn verified(mut config: ExecConfig) -> Result<ExecConfig, Invalid> {
    if config.args.is_empty() {
        return Err(Invalid::NoCommand);
    }
    if let Some(arg) = config.args.iter().find(|arg| arg.contains('\0')) {
        return Err(Invalid::value("command", arg, "it has a NUL character"));
    }
    for entry in &config.env {
        let named = entry.split_once('=').is_some_and(|(name, _)| !name.is_empty());
        if !named || entry.contains('\0') {
            return Err(Invalid::value("env", entry, "it must be NAME=value"));
        }
    }
    if let Some(directory) = &mut config.working_dir {
        *directory = path::clean("workdir", directory)?;
    }
    Ok(config)
}
