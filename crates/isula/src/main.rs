//! `isula`, the command line client.

#![forbid(unsafe_code)]

use std::process::ExitCode;

fn main() -> ExitCode {
    isula::main(std::env::args_os().skip(1))
}
