//! The shim's program; all of it is in the library.

#![forbid(unsafe_code)]

use std::process::ExitCode;

fn main() -> ExitCode {
    isulad_shim::run(std::env::args_os())
}
