//! Images and what they take on disk, as the Container Runtime Interface has them.

use std::{collections::HashMap, str::FromStr};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use isula_api::runtime::v1;
use isula_core::{
    image::{Image, Reference},
    ports::{Credentials, PullOptions},
};
use tonic::Status;

use crate::api::status::invalid;

/// The registry that `docker login` calls by another name.
const DOCKER_HUB: [&str; 3] = ["docker.io", "index.docker.io", "registry-1.docker.io"];

/// The user names by which the registry client knows that the password is a token: one of the
/// registry itself, or one to get such tokens with.
pub(super) const REGISTRY_TOKEN: &str = "<bearer>";
const IDENTITY_TOKEN: &str = "<token>";

/// An image of the store.
pub(in crate::cri) struct Stored<'a>(pub &'a Image);

impl From<Stored<'_>> for v1::Image {
    fn from(Stored(image): Stored<'_>) -> Self {
        let (uid, username) = user(&image.config.user);
        let id = image.id.to_string();
        let spec = v1::ImageSpec { image: id.clone(), ..v1::ImageSpec::default() };
        Self {
            id,
            repo_tags: image.tags.iter().map(Reference::to_string).collect(),
            repo_digests: image.digests.iter().map(Reference::to_string).collect(),
            // kubelet takes 0 for an error.
            size: image.size.max(1),
            uid: uid.map(|value| v1::Int64Value { value }),
            username,
            spec: Some(spec),
            pinned: false,
        }
    }
}

/// Whom an image asks to be run as: a number, or a name. The group is not told.
fn user(text: &str) -> (Option<i64>, String) {
    let user = text.split(':').next().unwrap_or_default();
    match user.parse::<u32>() {
        Ok(uid) => (Some(uid.into()), String::new()),
        Err(_) => (None, user.to_owned()),
    }
}

/// What a verbose status says: the configuration itself, and the layers.
pub(in crate::cri) fn info(image: &Image) -> HashMap<String, String> {
    // The store has read it: it is JSON.
    let config = serde_json::from_slice(&image.raw_config).unwrap_or(serde_json::Value::Null);
    let layers: Vec<_> = image.layers.iter().map(ToString::to_string).collect();
    let info = serde_json::json!({ "imageSpec": config, "layers": layers });
    HashMap::from([("info".to_owned(), info.to_string())])
}

/// A reference of an image.
pub(in crate::cri) fn reference(text: &str) -> Result<Reference, Status> {
    Reference::from_str(text).map_err(|error| invalid(error.to_string()))
}

/// How to pull. Credentials that are for another registry are not sent to this one.
pub(in crate::cri) fn pull_options(
    auth: Option<v1::AuthConfig>,
    reference: &Reference,
) -> Result<PullOptions, Status> {
    let auth = auth.filter(|auth| is_for(&auth.server_address, reference.registry()));
    let credentials = auth.map(credentials).transpose()?.flatten();
    Ok(PullOptions { platform: None, credentials })
}

fn is_for(address: &str, registry: &str) -> bool {
    let rest = address.split_once("://").map_or(address, |(_, rest)| rest);
    let host = rest.split('/').next().unwrap_or_default();
    let is_hub = |name: &str| DOCKER_HUB.contains(&name);
    host.is_empty() || host == registry || (is_hub(host) && is_hub(registry))
}

fn credentials(auth: v1::AuthConfig) -> Result<Option<Credentials>, Status> {
    let password = |username, password| Some(Credentials { username, password });
    if !auth.username.is_empty() {
        return Ok(password(auth.username, auth.password));
    }
    if !auth.auth.is_empty() {
        // Some tools fill it up with zero bytes.
        let bytes = STANDARD.decode(auth.auth).ok();
        let text = bytes.and_then(|bytes| String::from_utf8(bytes).ok());
        let pair = text.as_deref().and_then(|text| text.trim_end_matches('\0').split_once(':'));
        let (username, secret) =
            pair.ok_or_else(|| invalid("auth: it must be base64 of USER:PASSWORD"))?;
        return Ok(password(username.to_owned(), secret.to_owned()));
    }
    let token = [(REGISTRY_TOKEN, auth.registry_token), (IDENTITY_TOKEN, auth.identity_token)];
    let given = token.into_iter().find(|(_, token)| !token.is_empty());
    Ok(given.and_then(|(kind, token)| password(kind.to_owned(), token)))
}
