//! `stop`: a signal, patience, SIGKILL. Whoever holds the container when its process ends records
//! the end.

use std::{sync::Arc, time::Duration};

use isula_core::{
    container::{Container, Event, Exit, RestartPolicy, State},
    error::chain,
    event::ContainerAction,
    fault,
    id::ContainerId,
    ports::Durability,
    signal::Signal,
};

use crate::{
    Engine, Error, Patience, Result, StopOptions,
    slot::{Held, display_name},
    supervise::After,
};

impl Engine {
    /// Asks the init process to end, and kills it when it does not. A container that does not run
    /// is left as it is; a restart that is pending is given up.
    ///
    /// # Errors
    /// A signal can't be sent, or even SIGKILL does not end it.
    pub async fn stop(&self, query: &str, options: StopOptions) -> Result<ContainerId> {
        let held = self.hold(query).await?;
        let after = self.stop_held(&held, options).await?;
        if after == After::Remove {
            self.remove_itself(&held).await;
        }
        Ok(held.id().clone())
    }

    /// Stops on behalf of a user.
    pub(crate) async fn stop_held(&self, held: &Held<'_>, options: StopOptions) -> Result<After> {
        let container = held.container();
        let restarting = held.slot().seen().restarting;
        held.show_restarting(false);
        match container.state {
            State::Running(_) | State::Paused(_) => {}
            _ if restarting => {
                self.mark_stopped(held, &container).await;
                return Ok(After::Nothing);
            }
            _ => return Ok(After::Nothing),
        }
        self.mark_stopped(held, &container).await;
        fault::point("stop.intent");

        let patience = options.patience.unwrap_or_else(|| {
            Patience::For(container.config.stop_timeout.unwrap_or(self.settings.stop_timeout))
        });
        // A signal that nobody is given the time to answer is not sent.
        let heard = if patience == Patience::For(Duration::ZERO) {
            None
        } else {
            let signal = options.signal.or(container.config.stop_signal).unwrap_or(Signal::TERM);
            self.signal(&container, signal, false).await?;
            self.thaw(held).await?;
            fault::point("stop.signalled");
            self.end_within(held, patience).await
        };
        let exit = match heard {
            Some(exit) => exit,
            None => self.kill_held(held).await?,
        };
        fault::point("stop.exited");
        let after = self.settle(held, exit).await;
        fault::point("stop.recorded");
        self.publish(held.id(), ContainerAction::Stop);
        Ok(after)
    }

    /// Kills every process of a running container and waits for the end.
    pub(crate) async fn kill_held(&self, held: &Held<'_>) -> Result<Exit> {
        let container = held.container();
        self.signal(&container, Signal::KILL, true).await?;
        self.thaw(held).await?;
        let limit = self.settings.port_timeout;
        self.end_within(held, Patience::For(limit)).await.ok_or_else(|| Error::Deadline {
            object: display_name(&container),
            action: "end it with SIGKILL",
            seconds: limit.as_secs(),
        })
    }

    async fn end_within(&self, held: &Held<'_>, patience: Patience) -> Option<Exit> {
        let container = held.container();
        // Without a run there is nothing to wait for.
        let run = container.state.run()?;
        let end = self.end_of(held.slot(), run);
        match patience {
            Patience::Forever => Some(end.await),
            Patience::For(limit) => {
                // The timer of tokio ends at about two years.
                tokio::time::timeout(limit.min(Duration::from_hours(8760)), end).await.ok()
            }
        }
    }

    async fn signal(&self, container: &Container, signal: Signal, all: bool) -> Result<()> {
        let work = self.ports.runtime.kill(&container.id, signal, all);
        self.port(container, "send it a signal", work).await
    }

    /// A frozen process gets its signals when it is thawed.
    pub(crate) async fn thaw(&self, held: &Held<'_>) -> Result<()> {
        let container = held.container();
        if let State::Paused(_) = container.state {
            let work = self.ports.runtime.resume(held.id());
            self.port(&container, "thaw it", work).await?;
            held.enter(Event::Resumed, Durability::Written).await?;
        }
        Ok(())
    }

    /// A daemon that comes in the middle of a stop must not start the container again. Without a
    /// restart policy it would not, and the mark is saved with the end. A full disk must not keep a
    /// container from being stopped: a failure is logged.
    async fn mark_stopped(&self, held: &Held<'_>, container: &Arc<Container>) {
        let marked = Container { stopped_by_user: true, ..Container::clone(container) };
        if container.host.restart != RestartPolicy::No
            && let Err(error) = held.save(&marked, Durability::Written).await
        {
            tracing::error!("{}", chain(&error));
        }
        held.show(marked);
    }
}
