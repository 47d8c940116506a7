//! The process of a spec: arguments, environment, identity, capabilities and limits.

use std::{collections::BTreeSet, path::PathBuf};

use oci_spec::runtime::{
    Capabilities, LinuxCapabilities, PosixRlimit, PosixRlimitBuilder, PosixRlimitType, Process,
    User,
};

use super::{Defaults, Facts, SpecError, cdi, pod};
use crate::{
    container::{
        Config, Container, ExecConfig, HostConfig, Ulimit, capability, env, security::Security,
    },
    ports::HostFacts,
    user::ResolvedUser,
};

/// Where commands are looked for when the image does not say.
const PATH: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// The init process.
pub(super) fn init(container: &Container, facts: &Facts<'_>) -> Result<Process, SpecError> {
    let Container { config, host, .. } = container;
    let privileged = host.privileged;
    let mut process = common(host, &facts.user, (facts.host, facts.defaults), privileged)?;
    pod::label_process(&mut process, container, facts.host);
    process
        .set_terminal(Some(config.tty))
        .set_args(Some(config.args()))
        .set_env(Some(environment(config, &[], config.tty, &facts.user.home)))
        .set_cwd(directory(&config.working_dir));
    cdi::edit_process(&mut process, &facts.cdi);
    Ok(process)
}

/// A further process.
pub(super) fn exec(
    container: &Container,
    exec: &ExecConfig,
    user: &ResolvedUser,
    facts: (&HostFacts, &Defaults),
) -> Result<Process, SpecError> {
    let Container { config, host, .. } = container;
    let privileged = host.privileged || exec.privileged;
    let mut process = common(host, user, facts, privileged)?;
    pod::label_process(&mut process, container, facts.0);
    let cwd = exec.working_dir.as_ref().unwrap_or(&config.working_dir);
    process
        .set_terminal(Some(exec.tty))
        .set_args(Some(exec.args.clone()))
        .set_env(Some(environment(config, &exec.env, exec.tty, &user.home)))
        .set_cwd(directory(cwd));
    Ok(process)
}

/// What both have alike.
fn common(
    host: &HostConfig,
    resolved: &ResolvedUser,
    (facts, defaults): (&HostFacts, &Defaults),
    privileged: bool,
) -> Result<Process, SpecError> {
    let security = Security::parse(&host.security_opt)?;
    let mut user = User::default();
    user.set_uid(resolved.uid)
        .set_gid(resolved.gid)
        .set_umask(Some(defaults.umask))
        .set_additional_gids(Some(resolved.additional_gids.clone()));
    let set = capabilities(host, facts, privileged)?;
    // What is not asked for is never inheritable or ambient: a file with capabilities would gain it
    // (CVE-2022-24769). What is ambient must be inheritable (capabilities(7)).
    let ambient = given(capability::ambient(&host.cap_ambient)?, facts);
    let ambient = Some(ambient).filter(|set| !set.is_empty());
    let mut capabilities = LinuxCapabilities::default();
    capabilities
        .set_bounding(Some(set.clone()))
        .set_effective(Some(set.clone()))
        .set_permitted(Some(set))
        .set_inheritable(ambient.clone())
        .set_ambient(ambient);
    let mut process = Process::default();
    process
        .set_user(user)
        .set_capabilities(Some(capabilities))
        .set_rlimits(rlimits(&defaults.ulimits, &host.ulimits))
        .set_no_new_privileges(Some(security.no_new_privileges))
        .set_apparmor_profile(security.apparmor.filter(|_| !privileged))
        .set_oom_score_adj(Some(oom_score_adj(host.oom_score_adj, facts)));
    Ok(process)
}

fn directory(path: &str) -> PathBuf {
    PathBuf::from(if path.is_empty() { "/" } else { path })
}

/// The container's variables over the defaults, and `added` over both.
fn environment(config: &Config, added: &[String], tty: bool, home: &str) -> Vec<String> {
    let mut variables = vec![PATH.to_owned(), format!("HOSTNAME={}", config.hostname)];
    if tty {
        variables.push("TERM=xterm".to_owned());
    }
    for entry in config.env.iter().chain(added) {
        env::put(&mut variables, entry);
    }
    if !variables.iter().any(|entry| env::name(entry) == Some("HOME")) {
        variables.push(format!("HOME={home}"));
    }
    variables
}

/// What is wanted and what the daemon itself can give.
pub(super) fn capabilities(
    host: &HostConfig,
    facts: &HostFacts,
    privileged: bool,
) -> Result<Capabilities, SpecError> {
    let mut wanted = capability::wanted(privileged, &host.cap_add, &host.cap_drop)?;
    wanted.extend(capability::ambient(&host.cap_ambient)?);
    Ok(given(wanted, facts))
}

fn given(wanted: BTreeSet<&'static str>, facts: &HostFacts) -> Capabilities {
    let given = wanted.into_iter().filter(|name| facts.capabilities.iter().any(|has| has == name));
    given.filter_map(|name| name.strip_prefix("CAP_")?.parse().ok()).collect()
}

fn rlimits(defaults: &[Ulimit], own: &[Ulimit]) -> Option<Vec<PosixRlimit>> {
    let is_own = |name: &str| own.iter().any(|ulimit| ulimit.name == name);
    let inherited = defaults.iter().filter(|ulimit| !is_own(&ulimit.name));
    let limits: Vec<PosixRlimit> = inherited.chain(own).filter_map(rlimit).collect();
    (!limits.is_empty()).then_some(limits)
}

fn rlimit(ulimit: &Ulimit) -> Option<PosixRlimit> {
    let typ: PosixRlimitType =
        format!("RLIMIT_{}", ulimit.name.to_ascii_uppercase()).parse().ok()?;
    PosixRlimitBuilder::default().typ(typ).soft(ulimit.soft).hard(ulimit.hard).build().ok()
}

/// 0 unless asked otherwise, so that the daemon's own score is not inherited; without
/// `CAP_SYS_RESOURCE` a score can't be lowered (proc_pid_oom_score_adj(5)).
fn oom_score_adj(wanted: Option<i32>, facts: &HostFacts) -> i32 {
    let wanted = wanted.unwrap_or(0);
    if facts.can_raise_limits { wanted } else { wanted.max(facts.oom_score_adj) }
}
