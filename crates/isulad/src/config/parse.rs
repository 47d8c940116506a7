//! Texts of the configuration and of requests that mean quantities.

use std::{collections::BTreeMap, time::Duration};

use isula_core::container::{LogConfig, LogDriver};
use tracing::level_filters::LevelFilter;

/// A log level, by iSulad's, syslog's or Docker's name.
pub(super) fn level(text: &str) -> Result<LevelFilter, String> {
    match text.to_ascii_uppercase().as_str() {
        "FATAL" | "PANIC" | "EMERG" | "ALERT" | "CRIT" | "CRITICAL" | "ERROR" => {
            Ok(LevelFilter::ERROR)
        }
        "WARN" | "WARNING" => Ok(LevelFilter::WARN),
        "NOTICE" | "INFO" => Ok(LevelFilter::INFO),
        "DEBUG" => Ok(LevelFilter::DEBUG),
        "TRACE" => Ok(LevelFilter::TRACE),
        _ => Err(format!(
            "invalid log level {text:?}: it must be FATAL, ALERT, CRIT, ERROR, WARN, NOTICE, INFO, DEBUG or TRACE"
        )),
    }
}

/// A number of bytes with a binary unit: `30`, `30KB`, `10m`, `1GiB`.
pub(super) fn bytes(text: &str) -> Option<u64> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at_checked(digits)?;
    let unit = unit.trim().to_ascii_lowercase();
    let unit = unit.strip_suffix("ib").or_else(|| unit.strip_suffix('b')).unwrap_or(&unit);
    let shift = match unit {
        "" => 0,
        "k" => 10,
        "m" => 20,
        "g" => 30,
        "t" => 40,
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(1 << shift)
}

/// A duration as Go writes it: `2m`, `1h30m`, `90s`, `500ms`.
pub(super) fn duration(text: &str) -> Option<Duration> {
    let mut rest = text;
    let mut total = Duration::ZERO;
    while !rest.is_empty() {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let (number, after) = rest.split_at_checked(digits)?;
        let letters = after.bytes().take_while(u8::is_ascii_alphabetic).count();
        let (unit, after) = after.split_at_checked(letters)?;
        let number: u64 = number.parse().ok()?;
        let part = match unit {
            "ms" => Duration::from_millis(number),
            "s" => Duration::from_secs(number),
            "m" => Duration::from_secs(number.checked_mul(60)?),
            "h" => Duration::from_secs(number.checked_mul(3600)?),
            _ => return None,
        };
        total = total.checked_add(part)?;
        rest = after;
    }
    (!text.is_empty()).then_some(total)
}

/// A log of containers: a driver (the default's when absent) and its options.
///
/// # Errors
/// Names what is wrong.
pub fn log_options<'a>(
    driver: Option<&str>,
    options: impl IntoIterator<Item = (&'a String, &'a String)>,
    default: &LogConfig,
) -> Result<LogConfig, String> {
    let mut log = match driver {
        None => default.clone(),
        Some("json-file") => LogConfig { driver: LogDriver::JsonFile, ..default.clone() },
        Some("none") => LogConfig { driver: LogDriver::None, ..default.clone() },
        Some(other) => {
            return Err(format!("log driver {other:?} is not supported: use json-file or none"));
        }
    };
    for (key, value) in options {
        let wrong =
            |what| format!("invalid value {value:?} for log option {key}: it must be {what}");
        match (key.as_str(), log.driver) {
            ("max-size", LogDriver::JsonFile) => {
                let size = if value == "-1" { Some(0) } else { bytes(value) };
                log.max_size = size.ok_or_else(|| wrong("a size such as 10m"))?;
            }
            ("max-file", LogDriver::JsonFile) => {
                let files = value.parse().ok().filter(|files| *files > 0);
                log.max_files = files.ok_or_else(|| wrong("a number above 0"))?;
            }
            (_, LogDriver::JsonFile) => {
                return Err(format!("unknown log option {key:?} for the log driver json-file"));
            }
            (_, LogDriver::None) => {
                return Err(format!("the log driver none has no option {key:?}"));
            }
        }
    }
    Ok(log)
}

/// The options of the daemon's own log, taken out of the map one by one.
pub(super) struct Options<'a>(pub(super) &'a mut BTreeMap<String, String>);

impl Options<'_> {
    /// The value of an option, read by `parse`.
    pub(super) fn take<T>(
        &mut self,
        key: &str,
        what: &str,
        parse: impl FnOnce(&str) -> Option<T>,
    ) -> Result<Option<T>, String> {
        let Some(value) = self.0.remove(key) else { return Ok(None) };
        match parse(&value) {
            Some(parsed) => Ok(Some(parsed)),
            None => Err(format!("invalid value {value:?} for {key}: it must be {what}")),
        }
    }
}
