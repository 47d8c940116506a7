//! The use cases of sandboxes, one a file. A sandbox is held before its containers: whoever makes
//! or takes down one holds it alone, whoever makes or starts a container in it shares it.

mod files;
mod list;
mod make;
mod recover;
mod remove;
mod run;
mod slot;
mod stats;
mod stop;
mod update;

pub(crate) use slot::SandboxIndex;
