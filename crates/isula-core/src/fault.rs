//! Fault points: named steps at which the crash tests stop the process.
//!
//! `fault::point("create.records")` is nothing in a normal build. Under the `testing` feature the
//! process ends at once, as by SIGKILL, when the environment variable `ISULAD_FAULT` names the
//! point.

/// Passes, or ends the process if the crash test asked for it here.
#[inline]
pub fn point(name: &'static str) {
    #[cfg(feature = "testing")]
    if std::env::var_os("ISULAD_FAULT").is_some_and(|wanted| wanted == name) {
        // abort() raises a signal that nothing catches: no destructor runs, nothing is flushed.
        std::process::abort();
    }
    #[cfg(not(feature = "testing"))]
    let _ = name;
}
