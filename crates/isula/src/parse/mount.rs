//! `--mount type=bind,source=…,target=…,…`.

use std::path::Path;

use isula_api::v1::{Mount, Tmpfs, mount::Kind};

use super::{size, volume};

/// What one `--mount` asks for.
#[derive(Debug, Clone, PartialEq)]
pub enum Parsed {
    /// A directory of the host or a volume.
    Mount(Mount),
    /// A file system in memory.
    Tmpfs(Tmpfs),
}

/// The fields before they are known to fit each other.
#[derive(Default)]
struct Fields {
    kind: Option<String>,
    source: Option<String>,
    target: Option<String>,
    readonly: bool,
    propagation: Option<String>,
    non_recursive: Option<bool>,
    no_copy: Option<bool>,
    tmpfs_size: Option<u64>,
    tmpfs_mode: Option<u32>,
}

/// Parses one mount; relative sources are taken from `directory`.
///
/// # Errors
/// Unknown keys, keys that do not belong to the type, missing or relative targets, types and
/// options that this version has not.
pub fn mount(text: &str, directory: &Path) -> Result<Parsed, String> {
    let mut fields = Fields::default();
    for field in split(text)? {
        let (key, value) = match field.split_once('=') {
            Some((key, value)) => (key.trim().to_ascii_lowercase(), Some(value)),
            None => (field.trim().to_ascii_lowercase(), None),
        };
        set(&mut fields, &key, value)?;
    }
    let target = fields.target.take().ok_or("target is required")?;
    let target = volume::absolute_target(&target)?;
    match fields.kind.as_deref().unwrap_or("volume") {
        "bind" => bind(&fields, target, directory),
        "volume" => named(&fields, target),
        "tmpfs" => tmpfs(&fields, target),
        other => Err(format!("mounts of type {other} are not supported in this version")),
    }
}

fn set(fields: &mut Fields, key: &str, value: Option<&str>) -> Result<(), String> {
    let switch = || match value {
        None | Some("1" | "true" | "t" | "T" | "TRUE" | "True") => Ok(true),
        Some("0" | "false" | "f" | "F" | "FALSE" | "False") => Ok(false),
        Some(other) => Err(format!("invalid value for {key}: {other}")),
    };
    let text = || match value {
        Some(value) if !value.is_empty() => Ok(value.to_owned()),
        _ => Err(format!("invalid field '{key}' must be a key=value pair")),
    };
    match key {
        "type" => fields.kind = Some(text()?.to_ascii_lowercase()),
        "source" | "src" => fields.source = Some(text()?),
        "target" | "dst" | "destination" => fields.target = Some(text()?),
        "readonly" | "ro" => fields.readonly = switch()?,
        "rw" => fields.readonly = !switch()?,
        "bind-propagation" => fields.propagation = Some(propagation(&text()?)?),
        "bind-nonrecursive" => fields.non_recursive = Some(switch()?),
        "bind-recursive" => match text()?.as_str() {
            "enabled" | "true" | "1" => fields.non_recursive = Some(false),
            "disabled" | "false" | "0" => fields.non_recursive = Some(true),
            other => {
                return Err(format!("bind-recursive={other} is not supported in this version"));
            }
        },
        "volume-nocopy" => fields.no_copy = Some(switch()?),
        "tmpfs-size" => fields.tmpfs_size = Some(size::bytes(&text()?)?),
        "tmpfs-mode" => {
            let mode = u32::from_str_radix(&text()?, 8).ok().filter(|mode| *mode <= 0o7777);
            fields.tmpfs_mode = Some(mode.ok_or("invalid value for tmpfs-mode")?);
        }
        "consistency" => match text()?.as_str() {
            "consistent" | "cached" | "delegated" | "default" => {}
            other => return Err(format!("invalid consistency: {other}")),
        },
        "volume-driver" | "volume-label" | "volume-opt" | "volume-subpath" | "image-subpath"
        | "bind-create-src" => return Err(format!("{key} is not supported in this version")),
        other => return Err(format!("unexpected key '{other}' in mount")),
    }
    Ok(())
}

fn propagation(text: &str) -> Result<String, String> {
    match text {
        "rprivate" | "private" | "rshared" | "shared" | "rslave" | "slave" => Ok(text.to_owned()),
        other => Err(format!("invalid propagation: {other}")),
    }
}

fn refuse(kind: &str, given: &[(&str, bool)]) -> Result<(), String> {
    match given.iter().find(|(_, given)| *given) {
        Some((key, _)) => Err(format!("cannot mix '{key}' options with mount type '{kind}'")),
        None => Ok(()),
    }
}

impl Fields {
    fn bind_only(&self) -> (&'static str, bool) {
        ("bind-*", self.propagation.is_some() || self.non_recursive.is_some())
    }

    fn volume_only(&self) -> (&'static str, bool) {
        ("volume-*", self.no_copy.is_some())
    }

    fn tmpfs_only(&self) -> (&'static str, bool) {
        ("tmpfs-*", self.tmpfs_size.is_some() || self.tmpfs_mode.is_some())
    }
}

fn bind(fields: &Fields, target: String, directory: &Path) -> Result<Parsed, String> {
    refuse("bind", &[fields.volume_only(), fields.tmpfs_only()])?;
    let source = fields.source.as_deref().ok_or("source is required for type 'bind'")?;
    let mut mount = Mount {
        source: volume::host_path(source, directory)?,
        target,
        readonly: fields.readonly,
        propagation: fields.propagation.clone().unwrap_or_default(),
        non_recursive: fields.non_recursive.unwrap_or(false),
        ..Mount::default()
    };
    mount.set_kind(Kind::Bind);
    Ok(Parsed::Mount(mount))
}

fn named(fields: &Fields, target: String) -> Result<Parsed, String> {
    refuse("volume", &[fields.bind_only(), fields.tmpfs_only()])?;
    let source = match fields.source.as_deref() {
        Some(name) => volume::volume_name(name)?,
        None => String::new(),
    };
    let no_copy = fields.no_copy.unwrap_or(false);
    let mut mount =
        Mount { source, target, readonly: fields.readonly, no_copy, ..Mount::default() };
    mount.set_kind(Kind::Volume);
    Ok(Parsed::Mount(mount))
}

fn tmpfs(fields: &Fields, target: String) -> Result<Parsed, String> {
    let source = ("source", fields.source.is_some());
    refuse("tmpfs", &[fields.bind_only(), fields.volume_only(), source])?;
    let mut options = Vec::new();
    if fields.readonly {
        options.push("ro".to_owned());
    }
    options.extend(fields.tmpfs_size.map(|bytes| format!("size={bytes}")));
    options.extend(fields.tmpfs_mode.map(|mode| format!("mode={mode:o}")));
    Ok(Parsed::Tmpfs(Tmpfs { target, options: options.join(",") }))
}

/// One record of comma-separated values, RFC 4180: a field in quotes may hold commas, and two
/// quotes in it mean one.
fn split(text: &str) -> Result<Vec<String>, String> {
    let mut fields = vec![String::new()];
    let mut characters = text.chars().peekable();
    let mut quoted = false;
    let mut closed = false;
    while let Some(c) = characters.next() {
        let Some(field) = fields.last_mut() else { break };
        match c {
            '"' if quoted && characters.next_if_eq(&'"').is_some() => field.push('"'),
            '"' if quoted => (quoted, closed) = (false, true),
            c if quoted => field.push(c),
            ',' => {
                fields.push(String::new());
                closed = false;
            }
            '"' if field.is_empty() && !closed => quoted = true,
            '"' => return Err("bare \" in non-quoted field".to_owned()),
            _ if closed => return Err("extraneous \" in field".to_owned()),
            c => field.push(c),
        }
    }
    if quoted { Err("unclosed \" in field".to_owned()) } else { Ok(fields) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str) -> String {
        match mount(text, Path::new("/work")) {
            Ok(Parsed::Mount(mount)) => format!(
                "{:?} {:?} {} ro={} {:?} flat={} nocopy={} create={}",
                mount.kind(),
                mount.source,
                mount.target,
                mount.readonly,
                mount.propagation,
                mount.non_recursive,
                mount.no_copy,
                mount.create_source
            ),
            Ok(Parsed::Tmpfs(tmpfs)) => format!("Tmpfs {} {}", tmpfs.target, tmpfs.options),
            Err(error) => error,
        }
    }

    #[rustfmt::skip]
    const TABLE: [(&str, &str); 28] = [
        (
            "type=bind,source=/a,target=/b",
            r#"Bind "/a" /b ro=false "" flat=false nocopy=false create=false"#,
        ),
        (
            "type=bind,src=./x,dst=/b,ro,bind-propagation=rslave,bind-nonrecursive=true",
            r#"Bind "/work/x" /b ro=true "rslave" flat=true nocopy=false create=false"#,
        ),
        (
            "type=BIND,src=/x,destination=/b,readonly=false,bind-recursive=disabled",
            r#"Bind "/x" /b ro=false "" flat=true nocopy=false create=false"#,
        ),
        (
            "src=vol,dst=/b,volume-nocopy",
            r#"Volume "vol" /b ro=false "" flat=false nocopy=true create=false"#,
        ),
        (
            "\"type=bind\",\"src=/a,b\"\"c\",dst=/d",
            r#"Bind "/a,b\"c" /d ro=false "" flat=false nocopy=false create=false"#,
        ),
        ("dst=/b", r#"Volume "" /b ro=false "" flat=false nocopy=false create=false"#),
        ("type=tmpfs,dst=/b", "Tmpfs /b "),
        (
            "type=tmpfs,dst=/b,tmpfs-size=1m,tmpfs-mode=1770,ro",
            "Tmpfs /b ro,size=1048576,mode=1770",
        ),
        ("type=bind,dst=/b", "source is required for type 'bind'"),
        ("type=bind,src=/a", "target is required"),
        ("type=bind,src=/a,dst=b", "invalid mount path: 'b' mount path must be absolute"),
        (
            "type=bind,src=/a,dst=/b,volume-nocopy",
            "cannot mix 'volume-*' options with mount type 'bind'",
        ),
        ("type=tmpfs,src=/a,dst=/b", "cannot mix 'source' options with mount type 'tmpfs'"),
        (
            "src=vol,dst=/b,bind-propagation=shared",
            "cannot mix 'bind-*' options with mount type 'volume'",
        ),
        (
            "src=vol,dst=/b,tmpfs-size=1m",
            "cannot mix 'tmpfs-*' options with mount type 'volume'",
        ),
        ("type=bind,src=/a,dst=/b,bind-propagation=x", "invalid propagation: x"),
        (
            "type=bind,src=/a,dst=/b,bind-recursive=readonly",
            "bind-recursive=readonly is not supported in this version",
        ),
        ("type=image,src=a,dst=/b", "mounts of type image are not supported in this version"),
        ("dst=/b,volume-opt=x=y", "volume-opt is not supported in this version"),
        ("dst=/b,colour=red", "unexpected key 'colour' in mount"),
        ("dst=/b,ro=maybe", "invalid value for ro: maybe"),
        ("dst", "invalid field 'dst' must be a key=value pair"),
        ("type=tmpfs,dst=/b,tmpfs-mode=9", "invalid value for tmpfs-mode"),
        ("type=tmpfs,dst=/b,tmpfs-size=x", "invalid size: 'x'"),
        ("", "unexpected key '' in mount"),
        ("dst=/b\"x", "bare \" in non-quoted field"),
        ("\"dst=/b", "unclosed \" in field"),
        ("\"dst=/b\"x", "extraneous \" in field"),
    ];

    #[test]
    fn every_key_has_its_effect_or_is_refused() {
        for (text, expected) in TABLE {
            assert_eq!(shown(text), expected, "{text}");
        }
    }
}
