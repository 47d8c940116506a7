//! Resource limits of processes, and the out-of-memory score.

use std::collections::BTreeSet;

use super::super::{HostConfig, Invalid, Ulimit};
use crate::ports::HostFacts;

/// Resources of getrlimit(2), without `RLIMIT_`.
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

pub(super) fn verify(
    host: &HostConfig,
    facts: &HostFacts,
    warnings: &mut Vec<String>,
) -> Result<(), Invalid> {
    let mut seen = BTreeSet::new();
    for ulimit in &host.ulimits {
        check(ulimit)?;
        if !seen.insert(&ulimit.name) {
            return Err(Invalid::value("ulimit", &ulimit.name, "it is given twice"));
        }
    }
    if let Some(score) = host.oom_score_adj.filter(|score| *score < facts.oom_score_adj)
        && !facts.can_raise_limits
    {
        let own = facts.oom_score_adj;
        warnings
            .push(format!("oom-score-adj {score} is below the daemon's own {own}, which is used"));
    }
    Ok(())
}

/// Also for the limits in the daemon's configuration.
pub(crate) fn check(ulimit: &Ulimit) -> Result<(), Invalid> {
    let Ulimit { name, soft, hard } = ulimit;
    if !NAMES.contains(&name.as_str()) {
        return Err(Invalid::value("ulimit", name, "there is no such resource"));
    }
    if soft > hard {
        let why = "the soft limit must not exceed the hard limit";
        return Err(Invalid::value("ulimit", format!("{name}={soft}:{hard}"), why));
    }
    Ok(())
}
