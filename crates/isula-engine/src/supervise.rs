//! Watching what runs: one small task a run. It records the end, and does what the container's
//! restart policy or `--rm` wants.
//!
//! ```text
//!   run ends ──▶ settle ──▶ nothing: the task ends
//!                      ├──▶ --rm: the container is taken apart, the task ends
//!                      └──▶ restart: a pause that stop, start and rm can end, then a new run
//! ```

use std::{sync::Arc, time::Duration};

use isula_core::{
    container::{Container, Event, Exit, Run, State, restart},
    error::chain,
    event::ContainerAction,
    ports::{Durability, Found},
};

use crate::{
    Engine,
    slot::{Held, Slot, Starter},
};

/// What is to be done after a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum After {
    Nothing,
    /// It removes itself.
    Remove,
    /// Its policy starts it again.
    Restart,
}

impl Engine {
    /// Watches a run, or begins with a restart when there is none.
    pub(crate) fn supervise(self: &Arc<Self>, slot: Arc<Slot>, run: Option<Run>) {
        let engine = Arc::clone(self);
        tokio::spawn(async move { engine.watch(slot, run).await });
    }

    async fn watch(self: Arc<Self>, slot: Arc<Slot>, mut run: Option<Run>) {
        let mut pause = None;
        loop {
            // What happens between two waits is rare: it is boxed, so that the task stays small.
            if let Some(current) = run.take() {
                let begun = tokio::time::Instant::now();
                let Some(exit) = self.unless_retired(self.end_of(&slot, &current)).await else {
                    return;
                };
                let after = Box::pin(self.ended(&slot, &current, exit)).await;
                if after != After::Restart {
                    return;
                }
                pause = Some(restart::pause(pause, begun.elapsed()));
            }
            let pausing = self.pause_over(&slot, pause.unwrap_or_default());
            if self.unless_retired(pausing).await != Some(true) {
                return;
            }
            match Box::pin(self.start_again(&slot)).await {
                Some(next) => run = Some(next),
                None if slot.seen().restarting => {
                    pause = Some(restart::pause(pause, Duration::ZERO));
                }
                None => return,
            }
        }
    }

    /// `None` when the engine was retired first.
    async fn unless_retired<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        let mut retired = self.retired.subscribe();
        tokio::select! {
            biased;
            _ = retired.wait_for(|retired| *retired) => None,
            done = work => Some(done),
        }
    }

    /// Completes when the run of a container has ended, however often the runtime loses sight of it.
    pub(crate) async fn end_of(&self, slot: &Slot, run: &Run) -> Exit {
        let mut pause = None;
        loop {
            let error = match self.ports.runtime.wait(&slot.id).await {
                Ok(exit) => return exit,
                Err(error) => error,
            };
            if slot.container().state.run() != Some(run) {
                // Somebody has recorded the end and cleaned up; this exit is nobody's news.
                return Exit::unknown(self.ports.clock.now());
            }
            tracing::warn!("{}: lost sight of the run: {}", slot.id, chain(&error));
            match Box::pin(self.look_for(slot)).await {
                Some(Found::Exited(exit)) => return exit,
                Some(Found::Nothing) => return Exit::unknown(self.ports.clock.now()),
                Some(Found::Running { .. }) | None => {
                    let next = restart::pause(pause, Duration::ZERO);
                    tokio::time::sleep(next).await;
                    pause = Some(next);
                }
            }
        }
    }

    /// What the runtime knows of a container; `None` when it can't tell.
    pub(crate) async fn look_for(&self, slot: &Slot) -> Option<Found> {
        let container = slot.container();
        let runtime = &container.host.runtime;
        let directory = self.ports.records.directory(&slot.id, runtime);
        let work = self.ports.runtime.recover(&slot.id, runtime, directory);
        match self.port(&container, "find out whether it runs", work).await {
            Ok(found) => Some(found),
            Err(error) => {
                tracing::error!("{}", chain(&error));
                None
            }
        }
    }

    /// A run ended by itself.
    async fn ended(&self, slot: &Arc<Slot>, run: &Run, exit: Exit) -> After {
        let Some(held) = self.hold_slot(slot).await else { return After::Nothing };
        // Somebody who held the container may have seen the end first, and started it since.
        if held.container().state.run() != Some(run) {
            return After::Nothing;
        }
        let after = self.settle(&held, exit).await;
        if after == After::Remove {
            self.remove_itself(&held).await;
        }
        after
    }

    /// Records the end of a run, tells everyone, and cleans up after it.
    pub(crate) async fn settle(&self, held: &Held<'_>, exit: Exit) -> After {
        let container = held.container();
        let mut stopped = match held.after(Event::Exited(exit.clone())) {
            Ok(stopped) => stopped,
            Err(error) => {
                tracing::error!("{}", chain(&error));
                return After::Nothing;
            }
        };
        stopped.stopped_by_user |= held.slot().marks().end_wanted;
        let after = after(&stopped, &exit);
        // A container that removes itself needs no record of its end.
        let durability =
            if after == After::Remove { Durability::Written } else { Durability::Synced };
        if let Err(error) = held.save(&stopped, durability).await {
            // The end is a fact; the shim has recorded it, too.
            tracing::error!("{}", chain(&error));
        }
        // Whoever waits for the end may use its ports at once.
        self.let_go(&container).await;
        held.show_exit(stopped, after == After::Restart);
        self.publish(held.id(), ContainerAction::Die(exit.code));
        self.clean(&container).await;
        after
    }

    /// Waits before a restart. `false` when nobody wants it any more.
    async fn pause_over(&self, slot: &Slot, pause: Duration) -> bool {
        let mut follow = slot.follow();
        let given_up = follow.wait_for(|seen| !seen.restarting || seen.gone);
        tokio::time::timeout(pause, given_up).await.is_err()
    }

    /// Starts a container whose policy wants it; `None` when that failed or is no longer wanted.
    async fn start_again(&self, slot: &Arc<Slot>) -> Option<Run> {
        let held = self.hold_slot(slot).await?;
        if !slot.seen().restarting {
            return None;
        }
        match self.launch(&held, Starter::Policy, None).await {
            Ok((run, _)) => Some(run),
            Err(error) => {
                tracing::warn!("cannot restart: {}", chain(&error));
                None
            }
        }
    }
}

/// What is to be done with a container that has just ended.
fn after(container: &Container, exit: &Exit) -> After {
    debug_assert!(matches!(container.state, State::Stopped(_)));
    let Container { host, restarts, stopped_by_user, .. } = container;
    if host.auto_remove {
        After::Remove
    } else if host.restart.after_exit(exit, *restarts, *stopped_by_user) {
        After::Restart
    } else {
        After::Nothing
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use isula_core::{
        container::{Container, Run, State},
        testing::{World, conformance},
    };
    use jiff::Timestamp;

    use crate::{Engine, Ports, Settings, slot::Slot};

    #[tokio::test]
    async fn watching_a_run_takes_less_than_two_kilobytes() {
        let world = World::new();
        let ports = Ports {
            records: world.records,
            snapshots: world.store.clone(),
            images: world.store,
            volumes: world.volumes,
            runtime: world.runtime,
            networks: world.networks,
            pods: world.pods,
            sandboxes: world.sandboxes,
            clock: world.clock,
            entropy: world.entropy,
            host: world.host,
            cdi: world.cdi,
            checkpoints: world.checkpoints,
        };
        let engine = Engine::new(ports, Settings::default());
        let started = Timestamp::UNIX_EPOCH;
        let run = Run { pid: 1, pid_start: 1, shim_pid: 2, shim_start: 1, started };
        let state = State::Running(run.clone());
        let container = conformance::container(&conformance::id(1));
        let slot = Slot::new(Container { state, ..container });
        let task = Arc::clone(&engine).watch(slot, Some(run));
        let size = size_of_val(&task);
        assert!(size <= 2048, "{size} bytes");
    }
}
