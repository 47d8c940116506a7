//! Dockerfile instructions that change a configuration.

use std::time::Duration;

use isula_core::{
    error::{ErrorKind, PortError},
    ports::Result,
};

use super::{Check, Empty, Section, words};

/// Applies the instructions in order.
///
/// # Errors
/// `InvalidInput` names the instruction that is unknown or malformed.
pub(super) fn apply(changes: &[String]) -> Result<Section> {
    let mut section = Section::default();
    for change in changes {
        let (name, rest) = change.trim().split_once(char::is_whitespace).unwrap_or((change, ""));
        one(&mut section, &name.to_ascii_uppercase(), rest.trim()).map_err(|why| {
            PortError::new(ErrorKind::InvalidInput, format!("invalid change {change:?}: {why}"))
        })?;
    }
    Ok(section)
}

fn one(section: &mut Section, name: &str, rest: &str) -> Result<(), &'static str> {
    const MALFORMED: &str = "it has the wrong form";
    if rest.is_empty() {
        return Err("it has no value");
    }
    match name {
        "CMD" => section.cmd = command(rest),
        "ENTRYPOINT" => section.entrypoint = command(rest),
        "ENV" => {
            for (key, value) in words::pairs(rest).ok_or(MALFORMED)? {
                let prefix = format!("{key}=");
                section.env.retain(|entry| !entry.starts_with(&prefix));
                section.env.push(prefix + &value);
            }
        }
        "LABEL" => section.labels.extend(words::pairs(rest).ok_or(MALFORMED)?),
        "EXPOSE" => {
            for word in rest.split_whitespace() {
                section.exposed_ports.extend(ports(word)?.map(|port| (port, Empty {})));
            }
        }
        "VOLUME" => {
            let paths = words::list(rest).or_else(|| words::split(rest)).ok_or(MALFORMED)?;
            if paths.iter().any(String::is_empty) {
                return Err("a volume has no path");
            }
            section.volumes.extend(paths.into_iter().map(|path| (path, Empty {})));
        }
        "USER" => section.user = single(rest)?,
        "STOPSIGNAL" => section.stop_signal = single(rest)?,
        "WORKDIR" => {
            section.working_dir = match rest.starts_with('/') {
                true => rest.to_owned(),
                false => format!("{}/{rest}", section.working_dir.trim_end_matches('/')),
            };
        }
        "HEALTHCHECK" => section.healthcheck = Some(check(rest)?),
        "ONBUILD" => return Err("there is no builder here that would heed it"),
        _ => return Err("the instruction is unknown"),
    }
    Ok(())
}

/// The list form as it is, anything else by the shell.
fn command(text: &str) -> Vec<String> {
    words::list(text).unwrap_or_else(|| ["/bin/sh", "-c", text].map(str::to_owned).to_vec())
}

fn single(text: &str) -> Result<String, &'static str> {
    match text.contains(char::is_whitespace) {
        true => Err("it takes one word"),
        false => Ok(text.to_owned()),
    }
}

/// `PORT[-PORT][/PROTOCOL]`.
fn ports(word: &str) -> Result<impl Iterator<Item = String>, &'static str> {
    let (range, protocol) = word.split_once('/').unwrap_or((word, "tcp"));
    let (first, last) = range.split_once('-').unwrap_or((range, range));
    let protocol = protocol.to_ascii_lowercase();
    match (first.parse::<u16>(), last.parse::<u16>()) {
        (Ok(first), Ok(last))
            if first > 0 && first <= last && ["tcp", "udp", "sctp"].contains(&&*protocol) =>
        {
            Ok((first..=last).map(move |port| format!("{port}/{protocol}")))
        }
        _ => Err("it must be PORT[-PORT][/tcp|udp|sctp]"),
    }
}

/// `NONE`, or options and `CMD …`.
fn check(text: &str) -> Result<Check, &'static str> {
    let mut check = Check::default();
    let mut rest = text;
    while let Some(option) = rest.strip_prefix("--") {
        let (option, after) = option.split_once(char::is_whitespace).ok_or("it has no CMD")?;
        let (key, value) = option.split_once('=').ok_or("an option has no value")?;
        rest = after.trim_start();
        match key {
            "interval" => check.interval = nanoseconds(value)?,
            "timeout" => check.timeout = nanoseconds(value)?,
            "start-period" => check.start_period = nanoseconds(value)?,
            "retries" => check.retries = value.parse().map_err(|_| "retries must be a number")?,
            _ => return Err("an option is unknown"),
        }
    }
    check.test = match rest.split_once(char::is_whitespace) {
        None if rest.eq_ignore_ascii_case("NONE") => vec!["NONE".to_owned()],
        Some((word, command)) if word.eq_ignore_ascii_case("CMD") => {
            match words::list(command.trim()) {
                Some(list) => [vec!["CMD".to_owned()], list].concat(),
                None => vec!["CMD-SHELL".to_owned(), command.trim().to_owned()],
            }
        }
        _ => return Err("it must be NONE or CMD"),
    };
    Ok(check)
}

/// Go's durations: `1m30s`, `500ms`.
fn nanoseconds(text: &str) -> Result<u64, &'static str> {
    const WRONG: &str = "a duration must be like 1m30s";
    let mut total = Duration::ZERO;
    let mut rest = text;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.').ok_or(WRONG)?;
        let (number, after) = rest.split_at(digits);
        let number: f64 = number.parse().map_err(|_| WRONG)?;
        let units =
            [("ms", 1e-3), ("us", 1e-6), ("ns", 1e-9), ("h", 3600.0), ("m", 60.0), ("s", 1.0)];
        let unit = units.iter().find(|(unit, _)| after.starts_with(unit)).ok_or(WRONG)?;
        rest = after.strip_prefix(unit.0).unwrap_or_default();
        let part = Duration::try_from_secs_f64(number * unit.1).map_err(|_| WRONG)?;
        total = total.checked_add(part).ok_or(WRONG)?;
    }
    match u64::try_from(total.as_nanos()) {
        Ok(nanoseconds) if nanoseconds >= 1_000_000 => Ok(nanoseconds),
        _ => Err("a duration must be at least 1ms"),
    }
}

#[cfg(test)]
mod tests {
    use super::apply;

    #[test]
    fn each_instruction_changes_its_part() {
        let changes = [
            "CMD echo hi",
            r#"entrypoint ["/init", "-v"]"#,
            "ENV A=1 B='2 3'",
            "ENV A 9",
            "LABEL l=\"x y\"",
            "EXPOSE 80 53/UDP 7000-7001",
            "VOLUME /a /b",
            r#"VOLUME ["/c"]"#,
            "USER 1:2",
            "WORKDIR /x",
            "WORKDIR y",
            "STOPSIGNAL SIGQUIT",
            "HEALTHCHECK --interval=1m30s --timeout=500ms --retries=4 CMD [\"a\"]",
        ];
        let section = apply(&changes.map(str::to_owned)).unwrap();
        let json = serde_json::to_string(&section).unwrap();
        assert_eq!(
            json,
            concat!(
                r#"{"User":"1:2","ExposedPorts":{"53/udp":{},"7000/tcp":{},"7001/tcp":{},"80/tcp":{}},"#,
                r#""Env":["B=2 3","A=9"],"Entrypoint":["/init","-v"],"Cmd":["/bin/sh","-c","echo hi"],"#,
                r#""Volumes":{"/a":{},"/b":{},"/c":{}},"WorkingDir":"/x/y","Labels":{"l":"x y"},"StopSignal":"SIGQUIT","#,
                r#""Healthcheck":{"Test":["CMD","a"],"Interval":90000000000,"Timeout":500000000,"Retries":4}}"#,
            )
        );
        let shell = apply(&["HEALTHCHECK CMD x y".into(), "HEALTHCHECK NONE".into()]).unwrap();
        assert_eq!(shell.healthcheck.unwrap().test, ["NONE"]);
    }

    #[test]
    fn malformed_instructions_are_named() {
        for change in [
            "",
            "CMD",
            "FROM x",
            "ONBUILD RUN x",
            "ENV A",
            "ENV A=1 B",
            "EXPOSE 0",
            "EXPOSE 70000",
            "EXPOSE 9-8",
            "EXPOSE 80/icmp",
            "USER a b",
            "HEALTHCHECK x",
            "HEALTHCHECK --interval=5 CMD x",
            "HEALTHCHECK --foo=1 CMD x",
            "HEALTHCHECK --interval=1ns CMD x",
            "LABEL \"a=b",
            "VOLUME [\"\"]",
        ] {
            let error = apply(&[change.to_owned()]).unwrap_err().to_string();
            assert!(error.starts_with(&format!("invalid change {change:?}: ")), "{error}");
        }
    }
}
