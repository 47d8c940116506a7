//! The shim's program; all of it is in the library.

#![forbid(unsafe_code)]

use std::process::ExitCode;

/// musl's own allocator gives each size a page or more; this one has few pages for all of them, and
/// each page that a shim touches is its own.
#[global_allocator]
static ALLOCATOR: dlmalloc::GlobalDlmalloc = dlmalloc::GlobalDlmalloc;

fn main() -> ExitCode {
    isulad_shim::run(std::env::args_os())
}
