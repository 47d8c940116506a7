//! The use cases of containers, one a file.

mod accept;
mod attach;
mod connect;
mod create;
mod exec;
mod inspect;
mod kill;
mod list;
mod logs;
mod pause;
mod remove;
mod rename;
mod restart;
mod run;
mod start;
mod stop;
mod top;
mod wait;

pub use attach::{Attached, ExitWaiter};
pub(crate) use connect::Connected;
pub use create::Created;
pub use exec::{ExecAttached, Executed};
pub use inspect::Inspection;
pub use list::{ListOptions, Listed};
pub(crate) use remove::Anonymous;
pub use remove::RemoveOptions;
pub use start::Started;
pub use wait::Condition;
