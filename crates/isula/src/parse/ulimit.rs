//! `--ulimit name=soft[:hard]`.

use isula_api::v1::Ulimit;

/// The resources of `setrlimit(2)`.
const NAMES: [&str; 16] = [
    "as",
    "core",
    "cpu",
    "data",
    "fsize",
    "locks",
    "memlock",
    "msgqueue",
    "nice",
    "nofile",
    "nproc",
    "rss",
    "rtprio",
    "rttime",
    "sigpending",
    "stack",
];

/// Parses one limit; `-1` is unlimited, a missing hard limit is the soft one.
///
/// # Errors
/// An unknown name, a malformed number, a soft limit above the hard one.
pub fn ulimit(text: &str) -> Result<Ulimit, String> {
    let (name, limits) =
        text.split_once('=').ok_or_else(|| format!("invalid ulimit argument: {text}"))?;
    if !NAMES.contains(&name) {
        return Err(format!("invalid ulimit type: {name}"));
    }
    let (soft, hard) = limits.split_once(':').unwrap_or((limits, limits));
    let (soft, hard) = (limit(soft)?, limit(hard)?);
    if soft > hard {
        return Err(format!("ulimit soft limit must be less than or equal to hard limit: {text}"));
    }
    Ok(Ulimit { name: name.to_owned(), soft, hard })
}

fn limit(text: &str) -> Result<u64, String> {
    match text {
        "-1" | "unlimited" => Ok(u64::MAX),
        text if text.bytes().all(|b| b.is_ascii_digit()) => {
            text.parse().map_err(|_| format!("invalid ulimit value: {text}"))
        }
        text => Err(format!("invalid ulimit value: {text}")),
    }
}

#[cfg(test)]
mod tests {
    use super::ulimit;

    #[test]
    fn limits_have_a_name_a_soft_and_a_hard_value() {
        let table = [
            ("nofile=1024", Some(("nofile", 1024, 1024))),
            ("nofile=1024:2048", Some(("nofile", 1024, 2048))),
            ("core=-1", Some(("core", u64::MAX, u64::MAX))),
            ("core=0:-1", Some(("core", 0, u64::MAX))),
            ("core=unlimited", Some(("core", u64::MAX, u64::MAX))),
            ("nofile=2048:1024", None),
            ("nofile=-1:1024", None),
            ("nofile", None),
            ("nofile=", None),
            ("nofile=-2", None),
            ("nofile=+1", None),
            ("nofile=1:2:3", None),
            ("files=1", None),
        ];
        for (text, expected) in table {
            let found = ulimit(text).ok().map(|limit| (limit.name, limit.soft, limit.hard));
            let expected = expected.map(|(name, soft, hard)| (name.to_owned(), soft, hard));
            assert_eq!(found, expected, "{text}");
        }
    }
}
