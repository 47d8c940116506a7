//! What a new daemon makes of the sandboxes that the former one left.
//!
//! | recorded | found | becomes |
//! |---|---|---|
//! | starting | anything | gone: nobody was told of it |
//! | ready | its namespaces | ready |
//! | ready | none: the machine restarted | not ready, its network freed |
//! | stopping | anything | not ready |
//! | not ready | | as it was |
//! | removing | | gone |

use std::sync::Arc;

use isula_core::{
    error::chain,
    ports::{Durability, Quarantined},
    sandbox::{SandboxEvent, SandboxId, SandboxState},
};

use super::slot::{HeldSandbox, SandboxSlot};
use crate::{Engine, Result};

impl Engine {
    /// Loads the sandboxes. To be called before the containers are settled.
    pub(crate) async fn load_sandboxes(&self, notes: &mut Vec<String>) -> Result<Vec<Quarantined>> {
        let restored = self.ports.sandboxes.load_sandboxes().await?;
        for sandbox in restored.sandboxes {
            let id = sandbox.id.clone();
            if let Err(error) = self.sandboxes.add(sandbox) {
                // Two of the same metadata: one attempt was not recorded as gone.
                notes.push(format!("sandbox {id}: {error}"));
            }
        }
        Ok(restored.quarantined)
    }

    /// Settles every sandbox that a crash left between two states, and frees what belongs to none.
    /// To be called when the containers are settled.
    pub(crate) async fn recover_sandboxes(self: &Arc<Self>, notes: &mut Vec<String>) {
        for slot in self.sandboxes.slots() {
            if let Err(error) = self.resolve_sandbox(&slot, notes).await {
                notes.push(chain(&error));
            }
        }
        let slots = self.sandboxes.slots();
        let known = slots.iter().filter_map(|slot| slot.sandbox());
        let known = known.filter(|sandbox| sandbox.state != SandboxState::NotReady);
        let known: Vec<SandboxId> = known.map(|sandbox| sandbox.id.clone()).collect();
        let limit = self.settings.port_timeout;
        match tokio::time::timeout(limit, self.ports.pods.sweep(&known)).await {
            Ok(Ok(swept)) => notes.extend(
                swept.iter().map(|id| format!("sandbox {id}: took away namespaces of nobody")),
            ),
            Ok(Err(error)) => notes.push(chain(&error)),
            Err(_) => notes.push("cannot sweep the namespaces: no answer in time".to_owned()),
        }
        let alive = [known, self.connected.ids()].concat();
        match tokio::time::timeout(limit, self.ports.networks.collect(&alive)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => notes.push(chain(&error)),
            Err(_) => notes.push("cannot free lost networks: no answer in time".to_owned()),
        }
    }

    async fn resolve_sandbox(
        self: &Arc<Self>,
        slot: &Arc<SandboxSlot>,
        notes: &mut Vec<String>,
    ) -> Result<()> {
        let Some(held) = self.hold_sandbox(slot).await else { return Ok(()) };
        let id = &slot.id;
        match held.sandbox()?.state {
            SandboxState::NotReady => Ok(()),
            SandboxState::Ready(_) => {
                let found = self.ports.pods.find(id);
                if self.port_of(id, "find its namespaces", found).await?.is_some() {
                    return Ok(());
                }
                notes.push(format!("sandbox {id}: its namespaces are gone: it is not ready"));
                self.stop_sandbox_held(&held).await
            }
            SandboxState::Stopping => {
                notes.push(format!("sandbox {id}: its stop is finished"));
                self.stop_sandbox_held(&held).await
            }
            SandboxState::Starting => {
                notes.push(format!("sandbox {id}: its start was cut short and is undone"));
                self.undo_start(&held).await
            }
            SandboxState::Removing => {
                notes.push(format!("sandbox {id}: its removal is finished"));
                self.remove_sandbox_held(&held).await
            }
        }
    }

    async fn undo_start(self: &Arc<Self>, held: &HeldSandbox<'_>) -> Result<()> {
        held.enter(SandboxEvent::Stop, Durability::Written).await?;
        self.remove_sandbox_held(held).await
    }
}
