//! OCI hooks: the daemon's, then the container's, then those of its devices.

use oci_spec::runtime::{Hook, Hooks};
use serde_json::Value;

use super::SpecError;

/// The six points of the life cycle, as the runtime-spec names them.
const POINTS: [&str; 6] =
    ["prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop"];

/// All sets of hooks in one, in their order; `None` when there are none.
pub(super) fn build(sets: [Option<&Value>; 3]) -> Result<Option<Hooks>, SpecError> {
    let mut merged = serde_json::Map::new();
    for (point, list) in
        sets.into_iter().flatten().map(points).collect::<Result<Vec<_>, _>>()?.concat()
    {
        if let Value::Array(all) = merged.entry(point).or_insert_with(|| Value::Array(Vec::new())) {
            all.extend(list);
        }
    }
    if merged.is_empty() {
        return Ok(None);
    }
    let hooks = serde_json::from_value(Value::Object(merged));
    hooks.map(Some).map_err(|error| SpecError::Hooks(error.to_string()))
}

/// The hooks of one object, checked one by one.
fn points(hooks: &Value) -> Result<Vec<(String, Vec<Value>)>, SpecError> {
    let error = |text: &str| SpecError::Hooks(text.to_owned());
    let Value::Object(points) = hooks else { return Err(error("they must be a JSON object")) };
    let mut found = Vec::new();
    for (point, list) in points {
        if !POINTS.contains(&point.as_str()) {
            return Err(SpecError::Hooks(format!("there is no hook {point:?}")));
        }
        let Value::Array(list) = list else { return Err(error("each kind must be a list")) };
        for hook in list {
            check(point, hook)?;
        }
        if !list.is_empty() {
            found.push((point.clone(), list.clone()));
        }
    }
    Ok(found)
}

fn check(point: &str, hook: &Value) -> Result<(), SpecError> {
    let error = |why: &str| SpecError::Hooks(format!("{point}: {why}"));
    let known = ["path", "args", "env", "timeout"];
    if let Some(key) =
        hook.as_object().and_then(|map| map.keys().find(|k| !known.contains(&k.as_str())))
    {
        return Err(error(&format!("there is no property {key:?}")));
    }
    let hook: Hook = serde_json::from_value(hook.clone()).map_err(|e| error(&e.to_string()))?;
    if !hook.path().is_absolute() {
        return Err(error("the path must be absolute"));
    }
    match hook.timeout() {
        Some(seconds) if seconds <= 0 => Err(error("the timeout must be greater than zero")),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::build;
    use serde_json::json;

    #[test]
    fn the_daemons_hooks_run_before_the_containers() {
        let daemon = json!({"poststop": [{"path": "/a"}], "prestart": []});
        let own = json!({"poststop": [{"path": "/b", "args": ["b", "-x"], "timeout": 3}]});
        let device = json!({"poststop": [{"path": "/c"}]});
        let hooks = build([Some(&daemon), Some(&own), Some(&device)]).unwrap().unwrap();
        let paths: Vec<_> = hooks.poststop().as_ref().unwrap().iter().map(|h| h.path()).collect();
        assert_eq!(paths, ["/a", "/b", "/c"].map(std::path::Path::new));
        assert_eq!(build([None; 3]).unwrap(), None);
        assert_eq!(build([Some(&json!({})), None, None]).unwrap(), None);
    }

    #[test]
    fn malformed_hooks_are_refused_and_named() {
        for (hooks, word) in [
            (json!([]), "object"),
            (json!({"poststop": {}}), "list"),
            (json!({"afterlife": []}), "afterlife"),
            (json!({"poststop": [{"path": "relative"}]}), "absolute"),
            (json!({"poststop": [{"path": "/a", "timeout": 0}]}), "timeout"),
            (json!({"poststop": [{"path": "/a", "user": "x"}]}), "user"),
            (json!({"poststop": [{}]}), "path"),
        ] {
            let message = build([Some(&hooks), None, None]).unwrap_err().to_string();
            assert!(message.contains(word), "{message}");
        }
    }
}
