//! The time zone of this machine.

use jiff::tz::TimeZone;

/// The local zone: that of `TZ`, else of `/etc/localtime`, else UTC.
///
/// The file is read directly: finding its name among all zones, as a calendar library does, costs
/// more than the rest of the command, and no output shows the name.
#[must_use]
pub fn local() -> TimeZone {
    if std::env::var_os("TZ").is_some_and(|zone| !zone.is_empty()) {
        return TimeZone::system();
    }
    let file = std::fs::read("/etc/localtime").ok();
    let zone = file.and_then(|content| TimeZone::tzif("Local", &content).ok());
    zone.unwrap_or(TimeZone::UTC)
}
