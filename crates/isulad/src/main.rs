//! `isulad`: the container engine daemon. It reads flags and configuration, wires the parts
//! together, and serves; it decides nothing.

#![forbid(unsafe_code)]

mod api;
mod config;
mod cri;
mod daemon;
mod deadline;
mod flags;
mod idle;
mod listen;
mod log;
mod notify;
mod serve;
mod streaming;
mod wire;

use std::{error::Error, process::ExitCode};

use clap::Parser;

/// One lock and few system calls: musl's own asks the kernel for pages of each size of object, and
/// gives them back, 145 times in the life of one container.
#[global_allocator]
static ALLOCATOR: isula_sys::heap::Heap = isula_sys::heap::Heap;

/// As Docker's and systemd's `EX_CONFIG`-less daemons: anything that keeps it from serving.
const FAILURE: u8 = 1;

fn main() -> ExitCode {
    #[cfg(feature = "testing")]
    isula_core::fault::install(|point| {
        if std::env::var("ISULAD_FAULT").is_ok_and(|wanted| wanted == point) {
            // As by SIGKILL: nothing is caught, no destructor runs, nothing is flushed.
            std::process::abort();
        }
    });
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("isulad: {}", isula_core::error::chain(&*error));
            ExitCode::from(FAILURE)
        }
    }
}

fn run() -> Result<(), Box<dyn Error>> {
    let flags = flags::Flags::parse();
    let config = config::Config::load(&flags)?;
    if flags.validate {
        for warning in &config.warnings {
            eprintln!("isulad: {warning}");
        }
        println!("configuration OK");
        return Ok(());
    }
    daemon::run(config).map_err(Into::into)
}
