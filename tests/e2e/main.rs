//! End-to-end tests: the real daemon, client, shim and runtime, as root, with real cgroups, overlay,
//! registry and terminals. Each scenario leaves nothing behind, or fails.

#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

/// Makes a test for the built-in runtime and one for runc out of one scenario.
macro_rules! both {
    ($($name:ident),+ $(,)?) => {$(
        mod $name {
            #[test]
            fn lcr() -> anyhow::Result<()> {
                super::$name("lcr")
            }
            #[test]
            fn runc() -> anyhow::Result<()> {
                super::$name("runc")
            }
        }
    )+};
}

mod archives;
mod bad_input;
mod configuration;
mod cri;
mod daemon_death;
mod exec;
mod exit_codes;
mod files;
mod flags;
mod hostile_images;
mod hot_path;
mod images;
mod isolation;
mod life;
mod limits;
mod logins;
mod logs;
mod networks;
mod pulls;
mod terminals;
