//! The use cases of the containers of sandboxes (CRI), where they differ from those of other
//! containers; one a file. What is the same (start, attach, exec, logs) is in `crate::container`.

mod accept;
mod create;
mod end;
mod exec_sync;
mod list;
mod log;
mod stats;
mod update;

pub(crate) use exec_sync::OutputRoom;
pub use exec_sync::{ExecSyncOptions, ExecSynced, Kept};
pub use update::ResourceUpdate;
