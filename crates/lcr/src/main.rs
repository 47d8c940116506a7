//! `lcr`, an OCI runtime for engines that call one by its command line, with runc's commands and
//! flags.
#![forbid(unsafe_code)]

mod cli;

use std::process::ExitCode;

fn main() -> ExitCode {
    cli::main()
}
