//! One network, as a file describes it: reading, checking, choosing the version.

use std::path::{Path, PathBuf};

use isula_core::{id::Name, ports};
use serde_json::{Map, Value};

use super::version::Version;

/// Larger files are no configuration.
pub(super) const LIMIT: u64 = 1 << 20;
/// More plugins in a row are no network.
const PLUGINS: usize = 64;

/// A network.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Conflist {
    pub name: String,
    /// The version that everything of this network speaks.
    pub version: Version,
    pub plugins: Vec<Plugin>,
    pub check: bool,
    pub collect: bool,
    pub path: PathBuf,
    /// The whole list as one text, plugins of other files among them.
    pub json: String,
}

/// A plugin of a network.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Plugin {
    pub kind: String,
    /// As the file says it.
    pub conf: Map<String, Value>,
}

impl Plugin {
    /// Checks a plugin's own object.
    pub(super) fn parse(value: Value) -> Result<Self, String> {
        let Value::Object(conf) = value else { return Err("a plugin is no object".to_owned()) };
        let kind = conf.get("type").and_then(Value::as_str).unwrap_or_default().to_owned();
        // It becomes a file name below a directory of programs.
        if kind.is_empty() || kind.contains(['/', '\0']) || kind.starts_with('.') {
            return Err(format!("a plugin has no usable type: {kind:?}"));
        }
        Ok(Self { kind, conf })
    }

    /// Whether the plugin asks for a part of the runtime's configuration.
    pub(super) fn wants(&self, capability: &str) -> bool {
        let capabilities = self.conf.get("capabilities");
        capabilities.and_then(|all| all.get(capability)) == Some(&Value::Bool(true))
    }

    /// All that it asks for.
    fn capabilities(&self) -> Vec<String> {
        let listed = self.conf.get("capabilities").and_then(Value::as_object);
        let wanted = listed.into_iter().flatten().filter(|(_, on)| **on == Value::Bool(true));
        wanted.map(|(name, _)| name.clone()).collect()
    }
}

impl Conflist {
    /// Reads a file of one plugin (`.conf`, `.json`) or of several (`.conflist`). The error is what
    /// is wrong.
    pub(super) fn parse(path: &Path, bytes: &[u8]) -> Result<Self, String> {
        let value: Value = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
        let Value::Object(mut object) = value else { return Err("it is no object".to_owned()) };
        if path.extension().is_none_or(|extension| extension != "conflist") {
            object = single(object)?;
        }
        let mut list = Self::from_object(object)?;
        list.path = path.to_owned();
        Ok(list)
    }

    /// The network of an object that was rendered before.
    pub(super) fn from_object(object: Map<String, Value>) -> Result<Self, String> {
        let name = object.get("name").and_then(Value::as_str).unwrap_or_default();
        let name = Name::try_from(name.to_owned()).map_err(|error| error.to_string())?;
        let flag = |key: &str| match object.get(key) {
            None | Some(Value::Null) => Ok(false),
            Some(Value::Bool(flag)) => Ok(*flag),
            // libcni takes texts too.
            Some(Value::String(text)) if text == "true" => Ok(true),
            Some(Value::String(text)) if text == "false" || text.is_empty() => Ok(false),
            Some(_) => Err(format!("{key} is neither true nor false")),
        };
        let (check, collect) = (!flag("disableCheck")?, !flag("disableGC")?);
        let version = version(&object)?;
        let plugins = match object.get("plugins") {
            None | Some(Value::Null) => Vec::new(),
            Some(Value::Array(plugins)) => {
                plugins.iter().cloned().map(Plugin::parse).collect::<Result<_, _>>()?
            }
            Some(_) => return Err("plugins is no list".to_owned()),
        };
        let json = Value::Object(object).to_string();
        let name = name.as_str().to_owned();
        let list = Self { name, version, plugins, check, collect, path: PathBuf::new(), json };
        list.limit().map(|()| list)
    }

    fn limit(&self) -> Result<(), String> {
        match self.plugins.len() {
            ..=PLUGINS => Ok(()),
            more => Err(format!("{more} plugins are too many")),
        }
    }

    /// Whether plugins of other files, in a directory of the network's name, belong to it.
    pub(super) fn has_directory(&self) -> bool {
        let value = serde_json::from_str::<Value>(&self.json).unwrap_or_default();
        !self.path.as_os_str().is_empty()
            && self.path.extension().is_some_and(|extension| extension == "conflist")
            && value.get("loadOnlyInlinedPlugins") != Some(&Value::Bool(true))
    }

    /// Adds the plugin of another file.
    pub(super) fn add(&mut self, bytes: &[u8]) -> Result<(), String> {
        let value: Value = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
        let plugin = Plugin::parse(value)?;
        let mut whole: Value =
            serde_json::from_str(&self.json).map_err(|error| error.to_string())?;
        if let Some(object) = whole.as_object_mut() {
            let plugins = object.entry("plugins").or_insert_with(|| Value::Array(Vec::new()));
            if let Some(plugins) = plugins.as_array_mut() {
                plugins.push(Value::Object(plugin.conf.clone()));
            }
        }
        self.json = whole.to_string();
        self.plugins.push(plugin);
        self.limit()
    }

    /// As the engine shows it.
    pub(super) fn shown(&self) -> ports::Network {
        ports::Network {
            name: self.name.clone(),
            version: self.version.as_str().to_owned(),
            plugins: self.plugins.iter().map(|plugin| plugin.kind.clone()).collect(),
            capabilities: self.plugins.iter().flat_map(Plugin::capabilities).collect(),
            path: self.path.clone(),
            json: self.json.clone(),
        }
    }
}

/// A list of the one plugin that a file describes.
fn single(plugin: Map<String, Value>) -> Result<Map<String, Value>, String> {
    if plugin.contains_key("plugins") {
        return Err("a list of plugins must be in a file that ends in .conflist".to_owned());
    }
    let mut list = Map::new();
    for key in ["cniVersion", "cniVersions", "name"] {
        if let Some(value) = plugin.get(key) {
            list.insert(key.to_owned(), value.clone());
        }
    }
    list.insert("plugins".to_owned(), Value::Array(vec![Value::Object(plugin)]));
    Ok(list)
}

/// The newest version that the list offers and we know.
fn version(object: &Map<String, Value>) -> Result<Version, String> {
    let mut offered: Vec<&str> = Vec::new();
    match object.get("cniVersion") {
        None | Some(Value::Null) => {}
        Some(Value::String(text)) => offered.push(text),
        Some(_) => return Err("cniVersion is no text".to_owned()),
    }
    match object.get("cniVersions") {
        None | Some(Value::Null) => {}
        Some(Value::Array(more)) => offered.extend(more.iter().filter_map(Value::as_str)),
        Some(_) => return Err("cniVersions is no list".to_owned()),
    }
    if offered.is_empty() {
        offered.push("");
    }
    let known = offered.iter().filter_map(|text| Version::parse(text));
    known.max().ok_or_else(|| format!("unknown CNI version {:?}", offered.join(", ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(name: &str, text: &str) -> Result<Conflist, String> {
        Conflist::parse(Path::new(name), text.as_bytes())
    }

    #[test]
    fn a_file_of_one_plugin_is_a_list_of_one() {
        let list =
            parse("/c/1.conf", r#"{"cniVersion": "0.4.0", "name": "a", "type": "ptp"}"#).unwrap();
        assert_eq!((list.name.as_str(), list.version), ("a", Version::V0_4_0));
        assert_eq!(list.plugins[0].kind, "ptp");
        assert!(list.check && list.collect && !list.has_directory());
    }

    #[test]
    fn the_newest_version_that_is_known_is_spoken() {
        let text = r#"{"cniVersion": "0.4.0", "cniVersions": ["1.0.0", "1.1.0", "9.0.0"],
            "name": "a", "disableGC": true, "disableCheck": "true", "plugins": [{"type": "x"}]}"#;
        let list = parse("a.conflist", text).unwrap();
        assert_eq!(list.version, Version::V1_1_0);
        assert!(!list.check && !list.collect);
        let old = parse("a.conf", r#"{"name": "a", "type": "x"}"#).unwrap();
        assert_eq!(old.version, Version::V0_1_0);
    }

    #[test]
    fn plugins_of_other_files_are_added_to_the_list() {
        let mut list = parse("/c/a.conflist", r#"{"cniVersion": "1.0.0", "name": "a"}"#).unwrap();
        assert!(list.has_directory());
        list.add(br#"{"type": "x", "y": 1}"#).unwrap();
        assert_eq!(list.plugins.len(), 1);
        let Ok(Value::Object(object)) = serde_json::from_str(&list.json) else { panic!() };
        assert_eq!(Conflist::from_object(object).unwrap().plugins, list.plugins);
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (name, text, wanted) in [
            ("a.conf", "", "EOF while parsing"),
            ("a.conf", "[]", "it is no object"),
            ("a.conf", r#"{"name": "../x", "type": "a"}"#, "invalid name \"../x\""),
            ("a.conf", r#"{"name": "a"}"#, "a plugin has no usable type: \"\""),
            ("a.conf", r#"{"name": "a", "type": "../x"}"#, "a plugin has no usable type"),
            ("a.conf", r#"{"name": "a", "plugins": []}"#, "a list of plugins must be in a file"),
            ("a.conf", r#"{"name": "a", "type": "x", "cniVersion": "3"}"#, "unknown CNI version"),
            ("a.conflist", r#"{"name": "a", "plugins": {}}"#, "plugins is no list"),
            ("a.conflist", r#"{"name": "a", "disableGC": 7}"#, "disableGC is neither"),
        ] {
            let error = parse(name, text).unwrap_err();
            assert!(error.starts_with(wanted), "{text}: {error}");
        }
    }
}
