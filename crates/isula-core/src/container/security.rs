//! `--security-opt`: what each option means.

use super::Invalid;

/// What the security options of a container ask for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Security {
    /// System calls.
    pub seccomp: Seccomp,
    /// execve(2) gives no new privileges.
    pub no_new_privileges: bool,
    /// An AppArmor profile; `None` leaves the container unconfined by it.
    pub apparmor: Option<String>,
    /// No path is masked or read-only.
    pub system_paths_unconfined: bool,
    /// The control groups can be written to from inside.
    pub writable_cgroups: bool,
}

/// The system call filter of a container.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Seccomp {
    /// The built-in profile.
    #[default]
    Default,
    /// None.
    Unconfined,
    /// A profile as Docker writes them, JSON.
    Profile(String),
}

const FIELD: &str = "security-opt";

impl Security {
    /// Reads the options, each `KEY=VALUE` (or, as of old, `KEY:VALUE`).
    ///
    /// # Errors
    /// An unknown option or value.
    pub fn parse(options: &[String]) -> Result<Self, Invalid> {
        let mut security = Self::default();
        for option in options {
            security.apply(option)?;
        }
        Ok(security)
    }

    fn apply(&mut self, option: &str) -> Result<(), Invalid> {
        let (key, value) = match option.split_once(['=', ':']) {
            Some((key, value)) => (key, Some(value)),
            None => (option, None),
        };
        match (key, value) {
            ("no-new-privileges", value) => {
                self.no_new_privileges = flag(option, value.unwrap_or("true"))?;
            }
            ("seccomp", Some("unconfined")) => self.seccomp = Seccomp::Unconfined,
            ("seccomp", Some("builtin")) => self.seccomp = Seccomp::Default,
            ("seccomp", Some(json)) if json.trim_start().starts_with('{') => {
                self.seccomp = Seccomp::Profile(json.to_owned());
            }
            ("seccomp", Some(_)) => {
                let why = "seccomp takes unconfined, builtin, or the JSON text of a profile";
                return Err(Invalid::value(FIELD, option, why));
            }
            ("apparmor", Some("unconfined")) => self.apparmor = None,
            ("apparmor", Some(profile)) if is_profile(profile) => {
                self.apparmor = Some(profile.to_owned());
            }
            ("label", Some("disable")) => {}
            ("label", Some(_)) => {
                let why = "the engine sets no SELinux labels";
                let value = option.to_owned();
                return Err(Invalid::Unsupported { field: FIELD, value, why });
            }
            ("systempaths", Some("unconfined")) => self.system_paths_unconfined = true,
            ("writable-cgroups", value) => {
                self.writable_cgroups = flag(option, value.unwrap_or("true"))?;
            }
            _ => return Err(Invalid::value(FIELD, option, "there is no such option")),
        }
        Ok(())
    }
}

fn flag(option: &str, value: &str) -> Result<bool, Invalid> {
    match value {
        "true" => Ok(true),
        "false" => Ok(false),
        _ => Err(Invalid::value(FIELD, option, "it must be true or false")),
    }
}

fn is_profile(name: &str) -> bool {
    !name.is_empty() && !name.chars().any(|char| char.is_control() || char.is_whitespace())
}

#[cfg(test)]
mod tests {
    use super::{Seccomp, Security};

    fn parse(options: &[&str]) -> Result<Security, super::Invalid> {
        Security::parse(&options.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn security_options_are_understood_in_both_spellings() {
        let all = parse(&[
            "no-new-privileges",
            "seccomp=unconfined",
            "apparmor=mine",
            "label=disable",
            "systempaths=unconfined",
            "writable-cgroups=true",
        ]);
        let wanted = Security {
            seccomp: Seccomp::Unconfined,
            no_new_privileges: true,
            apparmor: Some("mine".to_owned()),
            system_paths_unconfined: true,
            writable_cgroups: true,
        };
        assert_eq!(all, Ok(wanted));
        assert!(parse(&["no-new-privileges:true"]).unwrap().no_new_privileges);
        assert!(
            !parse(&["no-new-privileges", "no-new-privileges=false"]).unwrap().no_new_privileges
        );
        assert_eq!(parse(&["seccomp:unconfined"]).unwrap().seccomp, Seccomp::Unconfined);
        let profile = parse(&["seccomp={\"defaultAction\":\"SCMP_ACT_ALLOW\"}"]).unwrap().seccomp;
        assert!(matches!(profile, Seccomp::Profile(json) if json.starts_with('{')));
        assert_eq!(parse(&["apparmor=unconfined"]), Ok(Security::default()));
    }

    #[test]
    fn unknown_options_and_values_are_refused() {
        for option in [
            "",
            "=",
            "foo",
            "foo=bar",
            "seccomp",
            "seccomp=",
            "seccomp=/etc/profile.json",
            "no-new-privileges=maybe",
            "label=type:x",
            "label",
            "apparmor=",
            "apparmor=a b",
            "systempaths=masked",
            "systempaths",
            "seccomp-profile=x",
        ] {
            assert!(parse(&[option]).is_err(), "{option}");
        }
    }
}
