//! `--health-*` and `--no-healthcheck`.

use isula_api::v1::Healthcheck;

use crate::error::Failure;
use crate::flags::Arguments;
use crate::parse::{duration, number};

/// The check that replaces the image's; none if no flag speaks of it.
///
/// # Errors
/// Malformed values; a check that is turned off and described at once.
pub(super) fn healthcheck(arguments: &Arguments) -> Result<Option<Healthcheck>, Failure> {
    let interval = arguments.parsed("health-interval", duration::health)?;
    let timeout = arguments.parsed("health-timeout", duration::health)?;
    let start_period = arguments.parsed("health-start-period", duration::health)?;
    let retries = arguments.parsed("health-retries", number::number::<u32>)?;
    let command = arguments.value("health-cmd");
    let times = [interval, timeout, start_period];
    let described = command.is_some() || retries.is_some() || times.iter().any(Option::is_some);
    if arguments.on("no-healthcheck") {
        if described {
            return Err(arguments.fault("--no-healthcheck conflicts with --health-* options"));
        }
        return Ok(Some(Healthcheck { test: vec!["NONE".to_owned()], ..Healthcheck::default() }));
    }
    if !described {
        return Ok(None);
    }
    let test = match command {
        Some(command) => vec!["CMD-SHELL".to_owned(), command.to_owned()],
        None => Vec::new(),
    };
    Ok(Some(Healthcheck {
        test,
        interval_ns: interval.unwrap_or(0),
        timeout_ns: timeout.unwrap_or(0),
        start_period_ns: start_period.unwrap_or(0),
        retries: retries.unwrap_or(0),
    }))
}
