//! What a new daemon makes of what the former one left.
//!
//! | recorded | the runtime finds | becomes |
//! |---|---|---|
//! | starting, running, paused | it runs | running or paused, watched again |
//! | starting, running, paused | its exit | exited, or gone if `--rm` |
//! | running, in a sandbox | it is frozen | running: a checkpoint was cut short |
//! | starting | nothing | exited: it never ran |
//! | running, paused | nothing | exited, status unknown: the machine went down |
//! | removing | | gone |
//! | created, exited | a shim all the same: a start that was not recorded | swept, as it was |

use std::sync::{Arc, PoisonError};

use futures_util::{StreamExt, stream};
use isula_core::{
    container::{Container, Exit, Run, Source, State},
    error::chain,
    id::{ContainerId, Name},
    ports::{Durability, Found, Quarantined},
};

use crate::{
    Engine, Result,
    container::Anonymous,
    slot::{Held, Slot},
    supervise::After,
};

/// So many containers are asked after at once.
const AT_ONCE: usize = 16;

/// What recovery found and did.
#[derive(Debug, Default)]
pub struct Recovery {
    /// Containers that were restored.
    pub containers: usize,
    /// Of them, those that run and are watched again.
    pub running: usize,
    /// Records that could not be read and were moved aside.
    pub quarantined: Vec<Quarantined>,
    /// What was finished, undone or swept, in sentences for the log.
    pub notes: Vec<String>,
}

impl Engine {
    /// Loads all records, settles every container that a crash left between two states, takes away
    /// what nobody owns, watches what runs, and starts what its restart policy wants started. To be
    /// called once, before anything else.
    ///
    /// # Errors
    /// The records can't be read at all. What is wrong with one container is noted and stops
    /// nothing.
    pub async fn recover(self: &Arc<Self>) -> Result<Recovery> {
        self.recovering.send_replace(true);
        let recovered = self.recover_all().await;
        self.recovering.send_replace(false);
        recovered
    }

    async fn recover_all(self: &Arc<Self>) -> Result<Recovery> {
        let restored = self.ports.records.load().await?;
        let mut recovery = Recovery { quarantined: restored.quarantined, ..Recovery::default() };
        for container in restored.containers {
            recovery.notes.extend(self.restore(container));
        }
        let damage = recovery.quarantined.iter();
        let damage = damage.map(|one| format!("{}: {}", one.path.display(), one.reason)).collect();
        *self.damage.lock().unwrap_or_else(PoisonError::into_inner) = damage;

        recovery.quarantined.extend(self.load_sandboxes(&mut recovery.notes).await?);
        let slots = self.index.slots();
        let alive = |slot: &&Arc<Slot>| {
            matches!(slot.container().state, State::Starting | State::Running(_) | State::Paused(_))
        };
        let alive: Vec<ContainerId> =
            slots.iter().filter(alive).map(|slot| slot.id.clone()).collect();
        match self.at_start("sweep the run directories", self.ports.runtime.sweep(&alive)).await {
            Ok(swept) => recovery
                .notes
                .extend(swept.iter().map(|id| format!("{id}: took away a run nobody recorded"))),
            Err(note) => recovery.notes.push(note),
        }
        let notes: Vec<Vec<String>> = stream::iter(&slots)
            .map(|slot| self.resolve(slot))
            .buffer_unordered(AT_ONCE)
            .collect()
            .await;
        recovery.notes.extend(notes.into_iter().flatten());
        self.match_layers(&mut recovery.notes).await;
        self.recover_sandboxes(&mut recovery.notes).await;
        let left = self.index.slots();
        recovery.containers = left.len();
        recovery.running =
            left.iter().filter(|slot| slot.container().state.run().is_some()).count();
        Ok(recovery)
    }

    /// Takes a recorded container in. Two that claim one name can't both have it.
    fn restore(&self, mut container: Arc<Container>) -> Option<String> {
        let mut note = None;
        match self.index.reserve(&container.name, &container.id) {
            Ok(reservation) => reservation.keep(),
            Err(error) => {
                note = Some(format!("{}: {error}: it is named by its id now", container.id));
                let name = Name::from(&container.id);
                Arc::make_mut(&mut container).name = name;
                match self.index.reserve(&container.name, &container.id) {
                    Ok(reservation) => reservation.keep(),
                    // The same id twice: the first stays.
                    Err(_) => return note,
                }
            }
        }
        self.connected.restore(&container);
        self.index.add(Slot::of(container));
        note
    }

    /// Brings one container out of whatever state it was left in.
    async fn resolve(self: &Arc<Self>, slot: &Arc<Slot>) -> Vec<String> {
        let mut notes = Vec::new();
        let Some(held) = self.hold_slot(slot).await else { return notes };
        let state = slot.container().state.clone();
        let mut after = After::Nothing;
        match &state {
            State::Created => {}
            State::Starting | State::Running(_) | State::Paused(_) => {
                after = Box::pin(self.resolve_run(&held, &state, &mut notes)).await;
            }
            State::Stopped(exit) => after = self.at_boot(&held, exit),
            State::Removing => {
                notes.push(format!("{}: its removal is finished", slot.id));
                // Which volumes go is on record.
                if let Err(error) = self.take_apart(&held, Anonymous::Remove).await {
                    notes.push(chain(&error));
                }
            }
        }
        match after {
            After::Nothing => {}
            After::Remove => {
                notes.push(format!("{}: removed, as it was to be after its end", slot.id));
                self.remove_itself(&held).await;
            }
            After::Restart => {
                held.show_restarting(true);
                self.supervise(Arc::clone(slot), None);
            }
        }
        notes
    }

    /// What its policy wants of a container that does not run.
    fn at_boot(&self, held: &Held<'_>, exit: &Exit) -> After {
        let container = held.container();
        let Container { host, restarts, stopped_by_user, .. } = &*container;
        if host.auto_remove {
            After::Remove
        } else if host.restart.at_boot(Some(exit), *restarts, *stopped_by_user) {
            After::Restart
        } else {
            After::Nothing
        }
    }

    async fn resolve_run(
        self: &Arc<Self>,
        held: &Held<'_>,
        state: &State,
        notes: &mut Vec<String>,
    ) -> After {
        let slot = held.slot();
        let now = self.ports.clock.now();
        let exit = match (Box::pin(self.look_for(slot)).await, state) {
            (Some(Found::Running { run, paused: true }), _) if slot.container().pod.is_some() => {
                // Nobody pauses a container of a sandbox: a checkpoint was cut short.
                notes.push(format!("{}: it was frozen for a checkpoint, and goes on", slot.id));
                let thawed = self.ports.runtime.resume(&slot.id);
                if let Err(error) = self.port(&slot.container(), "thaw it", thawed).await {
                    notes.push(chain(&error));
                }
                self.runs_on(held, State::Running(run.clone()), run).await;
                return After::Nothing;
            }
            (Some(Found::Running { run, paused }), _) => {
                let found =
                    if paused { State::Paused(run.clone()) } else { State::Running(run.clone()) };
                self.runs_on(held, found, run).await;
                return After::Nothing;
            }
            (None, State::Running(run) | State::Paused(run)) => {
                notes.push(format!("{}: the runtime can't tell whether it runs", slot.id));
                self.runs_on(held, state.clone(), run.clone()).await;
                return After::Nothing;
            }
            (Some(Found::Exited(exit)), _) => {
                notes.push(format!("{}: it ended with {} meanwhile", slot.id, exit.code));
                exit
            }
            (_, State::Starting) => {
                notes.push(format!("{}: its start was cut short and is undone", slot.id));
                Exit::never_ran(128, "the start was cut short".to_owned(), now)
            }
            (_, _) => {
                notes.push(format!("{}: it is gone without a record of its end", slot.id));
                Exit::unknown(now)
            }
        };
        self.settle(held, exit.clone()).await;
        self.at_boot(held, &exit)
    }

    /// Takes over a run; the record is corrected where it says something else.
    async fn runs_on(self: &Arc<Self>, held: &Held<'_>, state: State, run: Run) {
        let container = held.container();
        if container.state != state {
            let started = Some(run.started);
            let next = Container { state, started, ..Container::clone(&container) };
            if let Err(error) = held.save(&next, Durability::Written).await {
                tracing::warn!("{}", chain(&error));
            }
            held.show(next);
        }
        self.supervise(Arc::clone(held.slot()), Some(run));
    }

    /// Writable layers without a container go; a container without its layer gets an empty one.
    async fn match_layers(&self, notes: &mut Vec<String>) {
        let listed = self.at_start("list the writable layers", self.ports.snapshots.list());
        let layers = match listed.await {
            Ok(layers) => layers,
            Err(note) => return notes.push(note),
        };
        for id in layers.iter().filter(|id| self.index.get(id).is_none()) {
            let removed = self.at_start("remove a layer", self.ports.snapshots.remove(id)).await;
            notes.push(match removed {
                Ok(()) => format!("{id}: took away a writable layer without a container"),
                Err(note) => note,
            });
        }
        let layers: std::collections::BTreeSet<&ContainerId> = layers.iter().collect();
        for slot in self.index.slots() {
            let Source::Image { id: image, .. } = &slot.container().source else { continue };
            if layers.contains(&slot.id) {
                continue;
            }
            let work = self.ports.snapshots.prepare(&slot.id, image);
            notes.push(match self.at_start("make a lost layer again", work).await {
                Ok(()) => format!("{}: its writable layer was lost; it has an empty one", slot.id),
                Err(note) => format!("{}: {note}", slot.id),
            });
        }
    }

    /// A call of a port that is no container's; what goes wrong becomes a note.
    async fn at_start<T>(
        &self,
        action: &str,
        work: impl Future<Output = isula_core::ports::Result<T>>,
    ) -> Result<T, String> {
        match tokio::time::timeout(self.settings.port_timeout, work).await {
            Ok(Ok(value)) => Ok(value),
            Ok(Err(error)) => Err(format!("cannot {action}: {}", chain(&error))),
            Err(_) => Err(format!("cannot {action}: no answer in time")),
        }
    }
}
