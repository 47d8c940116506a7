//! `hooks` of a configuration, and the state that they are told.

use oci_spec::runtime::{Hook as SpecHook, Spec};
use serde_json::Value;

use super::Setting;
use crate::error::Error;
use crate::plan::{Hook, Hooks};

pub(super) fn compile(spec: &Spec, setting: &Setting<'_>) -> Result<Hooks, Error> {
    let (state_head, state_tail) = state_around(spec, setting)?;
    let mut hooks = Hooks { state_head, state_tail, ..Hooks::default() };
    let Some(lists) = spec.hooks() else { return Ok(hooks) };
    hooks.prestart = list("prestart", lists.prestart().as_ref())?;
    hooks.create_runtime = list("createRuntime", lists.create_runtime().as_ref())?;
    hooks.create_container = list("createContainer", lists.create_container().as_ref())?;
    hooks.start_container = list("startContainer", lists.start_container().as_ref())?;
    hooks.poststart = list("poststart", lists.poststart().as_ref())?;
    hooks.poststop = list("poststop", lists.poststop().as_ref())?;
    Ok(hooks)
}

fn list(point: &str, hooks: Option<&Vec<SpecHook>>) -> Result<Vec<Hook>, Error> {
    let hooks = hooks.into_iter().flatten();
    hooks.enumerate().map(|(index, hook)| one(&format!("hooks.{point}[{index}]"), hook)).collect()
}

fn one(field: &str, hook: &SpecHook) -> Result<Hook, Error> {
    let path = hook.path();
    let text = path.to_str().filter(|text| text.starts_with('/'));
    let text =
        text.ok_or_else(|| Error::invalid(format!("{field}.path"), "it is not an absolute path"))?;
    let timeout = match hook.timeout() {
        None => None,
        Some(seconds) => match u32::try_from(seconds) {
            Ok(seconds) if seconds > 0 => Some(seconds),
            _ => return Err(Error::invalid(format!("{field}.timeout"), "it is not positive")),
        },
    };
    let args = hook.args().clone().filter(|args| !args.is_empty());
    Ok(Hook {
        path: path.clone(),
        args: args.unwrap_or_else(|| vec![text.to_owned()]),
        env: hook.env().clone().unwrap_or_default(),
        timeout,
    })
}

/// The state of runtime.md as JSON, in two parts around `status` and `pid`.
fn state_around(spec: &Spec, setting: &Setting<'_>) -> Result<(String, String), Error> {
    let bundle = setting.bundle.to_str();
    let bundle = bundle.ok_or_else(|| Error::unsupported("bundle", "its path is not UTF-8"))?;
    let quoted = |text: &str| Value::from(text).to_string();
    let head =
        format!("{{\"ociVersion\":{},\"id\":{},", quoted(spec.version()), quoted(setting.id));
    // Sorted, so that the same configuration always gives the same bytes.
    let annotations: std::collections::BTreeMap<_, _> =
        spec.annotations().iter().flatten().collect();
    let annotations: Value = annotations
        .into_iter()
        .map(|(key, value)| (key.clone(), Value::from(value.as_str())))
        .collect();
    let tail = format!("\"bundle\":{},\"annotations\":{annotations}}}", quoted(bundle));
    Ok((head, tail))
}
