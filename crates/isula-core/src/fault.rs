//! Fault points: named steps at which the crash tests stop the process.
//!
//! `fault::point("create.records")` is nothing in a normal build. Under the `testing` feature it
//! calls what `install` was given; the daemon then dies as by SIGKILL if the test named this
//! point.

/// What happens at a fault point.
#[cfg(feature = "testing")]
static AT_POINT: std::sync::OnceLock<fn(&'static str)> = std::sync::OnceLock::new();

/// Says what happens at every fault point from now on; only the first call counts.
#[cfg(feature = "testing")]
pub fn install(at_point: fn(&'static str)) {
    // A second call changes nothing: a test process has one plan.
    let _ = AT_POINT.set(at_point);
}

/// Passes, or ends the process if the crash test asked for it here.
#[inline]
pub fn point(name: &'static str) {
    #[cfg(feature = "testing")]
    if let Some(at_point) = AT_POINT.get() {
        at_point(name);
    }
    #[cfg(not(feature = "testing"))]
    let _ = name;
}
