//! `isula`, the command line client.

#![forbid(unsafe_code)]

use std::process::ExitCode;

/// musl's own allocator asks the kernel for each size of object anew, which is most of what a
/// short life asks of the kernel.
#[global_allocator]
static ALLOCATOR: dlmalloc::GlobalDlmalloc = dlmalloc::GlobalDlmalloc;

fn main() -> ExitCode {
    isula::main(std::env::args_os().skip(1))
}
