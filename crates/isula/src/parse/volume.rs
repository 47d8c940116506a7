//! `--volume` and `--tmpfs`.

use std::path::Path;

use isula_api::v1::{Mount, Tmpfs, mount::Kind};

/// `[source:]target[:options]`. A source with a slash is a path of the host, one that begins with
/// a dot is taken from `directory`; any other source is the name of a volume.
///
/// The options `z` and `Z` ask for an SELinux label: nothing has labels where SELinux is off, so
/// they mean nothing there (as in Docker); where it is on they are refused.
///
/// # Errors
/// Relative targets, names with other characters, unknown or contradicting options.
pub fn volume(text: &str, directory: &Path, selinux: bool) -> Result<Mount, String> {
    let parts: Vec<&str> = text.split(':').collect();
    let (source, target, options) = match parts.as_slice() {
        [target] => (None, *target, ""),
        // `/data:ro` would be a volume with a relative target; Docker says the same.
        [source, target] => (Some(*source), *target, ""),
        [source, target, options] => (Some(*source), *target, *options),
        _ => return Err(format!("invalid volume specification: '{text}'")),
    };
    let mut mount = Mount { target: absolute_target(target)?, ..Mount::default() };
    match source {
        None => mount.set_kind(Kind::Volume),
        Some("") => return Err(format!("invalid volume specification: '{text}'")),
        Some(path) if path.starts_with('/') || path.starts_with('.') => {
            mount.set_kind(Kind::Bind);
            mount.source = host_path(path, directory)?;
            mount.create_source = true;
        }
        Some(name) => {
            mount.set_kind(Kind::Volume);
            mount.source = volume_name(name)?;
        }
    }
    let bind = mount.kind() == Kind::Bind;
    set_options(&mut mount, options, bind, selinux)?;
    Ok(mount)
}

fn set_options(mount: &mut Mount, text: &str, bind: bool, selinux: bool) -> Result<(), String> {
    let invalid = || format!("invalid mode: {text}");
    let (mut mode, mut label) = (false, false);
    for option in text.split(',').filter(|_| !text.is_empty()) {
        match option {
            "ro" | "rw" if !std::mem::replace(&mut mode, true) => mount.readonly = option == "ro",
            "rprivate" | "private" | "rshared" | "shared" | "rslave" | "slave"
                if bind && mount.propagation.is_empty() =>
            {
                option.clone_into(&mut mount.propagation);
            }
            "nocopy" if !bind && !mount.no_copy => mount.no_copy = true,
            "z" | "Z" if selinux => {
                return Err(format!("the SELinux option {option} is not supported"));
            }
            "z" | "Z" if !std::mem::replace(&mut label, true) => {}
            // Hints of Docker Desktop for file systems of other machines; Linux has no use for them.
            "cached" | "delegated" | "consistent" if bind => {}
            _ => return Err(invalid()),
        }
    }
    Ok(())
}

/// A path of the host as it is sent: absolute, without `.` and `..` in front.
///
/// # Errors
/// A directory of this process that is not UTF-8.
pub fn host_path(path: &str, directory: &Path) -> Result<String, String> {
    let joined =
        if path.starts_with('/') { Path::new(path).to_owned() } else { directory.join(path) };
    let mut clean = std::path::PathBuf::new();
    for part in joined.components() {
        match part {
            std::path::Component::ParentDir => {
                clean.pop();
            }
            std::path::Component::CurDir => {}
            part => clean.push(part),
        }
    }
    clean.into_os_string().into_string().map_err(|_| format!("{path:?} is not UTF-8"))
}

/// A path in the container: absolute and not the root.
///
/// # Errors
/// Anything else.
pub fn absolute_target(path: &str) -> Result<String, String> {
    if !path.starts_with('/') {
        return Err(format!("invalid mount path: '{path}' mount path must be absolute"));
    }
    let named = Path::new(path).components().fold(0_i32, |depth, part| match part {
        std::path::Component::ParentDir => (depth - 1).max(0),
        std::path::Component::Normal(_) => depth + 1,
        _ => depth,
    });
    if named == 0 {
        return Err("invalid specification: destination can't be '/'".to_owned());
    }
    Ok(path.to_owned())
}

/// The name of a volume: two or more of `[a-zA-Z0-9_.-]`, the first a letter or digit.
///
/// # Errors
/// Anything else.
pub fn volume_name(name: &str) -> Result<String, String> {
    let first = name.starts_with(|c: char| c.is_ascii_alphanumeric());
    let others = name.bytes().all(|b| b.is_ascii_alphanumeric() || b"_.-".contains(&b));
    if first && others && name.len() > 1 {
        return Ok(name.to_owned());
    }
    Err(format!(
        "{name:?} includes invalid characters for a local volume name, only \
         \"[a-zA-Z0-9][a-zA-Z0-9_.-]\" are allowed; if you intended to pass a host directory, use \
         absolute path"
    ))
}

/// `--tmpfs`: `target[:options]`.
///
/// # Errors
/// Relative targets.
pub fn tmpfs(text: &str) -> Result<Tmpfs, String> {
    let (target, options) = text.split_once(':').unwrap_or((text, ""));
    Ok(Tmpfs { target: absolute_target(target)?, options: options.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str, selinux: bool) -> String {
        match volume(text, Path::new("/work/dir"), selinux) {
            Ok(mount) => format!(
                "{:?} {:?} {} ro={} {:?} create={} nocopy={}",
                mount.kind(),
                mount.source,
                mount.target,
                mount.readonly,
                mount.propagation,
                mount.create_source,
                mount.no_copy
            ),
            Err(error) => error.chars().take(24).collect(),
        }
    }

    #[test]
    fn volumes_are_read_as_docker_reads_them() {
        let table = [
            ("/data", r#"Volume "" /data ro=false "" create=false nocopy=false"#),
            ("/a:/b", r#"Bind "/a" /b ro=false "" create=true nocopy=false"#),
            ("/a/../c/:/b:ro", r#"Bind "/c" /b ro=true "" create=true nocopy=false"#),
            ("./x:/b", r#"Bind "/work/dir/x" /b ro=false "" create=true nocopy=false"#),
            ("../x:/b", r#"Bind "/work/x" /b ro=false "" create=true nocopy=false"#),
            (".:/b", r#"Bind "/work/dir" /b ro=false "" create=true nocopy=false"#),
            ("/a:/b:rslave,ro,Z", r#"Bind "/a" /b ro=true "rslave" create=true nocopy=false"#),
            ("/a:/b:cached", r#"Bind "/a" /b ro=false "" create=true nocopy=false"#),
            ("vol:/b", r#"Volume "vol" /b ro=false "" create=false nocopy=false"#),
            ("vol:/b:nocopy", r#"Volume "vol" /b ro=false "" create=false nocopy=true"#),
            ("vol:/b:rslave", "invalid mode: rslave"),
            ("/a:/b:nocopy", "invalid mode: nocopy"),
            ("/a:/b:ro,rw", "invalid mode: ro,rw"),
            ("/a:/b:x", "invalid mode: x"),
            ("/a:/b:", r#"Bind "/a" /b ro=false "" create=true nocopy=false"#),
            ("a/b:/b", "\"a/b\" includes invalid c"),
            ("a:/b", "\"a\" includes invalid cha"),
            ("/a:b", "invalid mount path: 'b' "),
            ("/a:/", "invalid specification: d"),
            ("/a:/x/..", "invalid specification: d"),
            ("", "invalid mount path: '' m"),
            (":/b", "invalid volume specifica"),
            ("/a:/b:ro:x", "invalid volume specifica"),
        ];
        for (text, expected) in table {
            assert_eq!(shown(text, false), expected, "{text:?}");
        }
        assert_eq!(shown("/a:/b:z", true), "the SELinux option z is ");
    }

    #[test]
    fn a_tmpfs_has_a_target_and_options() {
        let found = tmpfs("/run:rw,size=64k").unwrap();
        assert_eq!((found.target.as_str(), found.options.as_str()), ("/run", "rw,size=64k"));
        assert!(tmpfs("run").is_err());
    }
}
