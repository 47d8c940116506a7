//! An image as `inspect` shows it: Docker's names. What the store does not keep apart comes from the
//! image's own configuration, untouched.

use isula_core::image::{Digest, Image, Reference};
use serde_json::{Value, json};

/// The JSON object of an image.
pub(super) fn render(image: &Image) -> Value {
    // The store has read this configuration before.
    let raw: Value = serde_json::from_slice(&image.raw_config).unwrap_or_default();
    let text = |key: &str| raw.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
    let names = |names: &[Reference]| names.iter().map(Reference::familiar).collect::<Vec<_>>();
    let history = raw.get("history").and_then(Value::as_array);
    let comment = history
        .and_then(|steps| steps.last())
        .and_then(|step| step.get("comment"))
        .and_then(Value::as_str)
        .unwrap_or_default();
    json!({
        "Id": image.id.to_string(),
        "RepoTags": names(&image.tags),
        "RepoDigests": names(&image.digests),
        "Parent": "",
        "Comment": comment,
        "Created": image.created.map(|time| time.to_string()).unwrap_or_default(),
        "DockerVersion": text("docker_version"),
        "Author": text("author"),
        "Config": raw.get("config").cloned().unwrap_or_else(|| json!({})),
        "Architecture": image.config.architecture,
        "Variant": image.config.variant.as_deref().unwrap_or_default(),
        "Os": image.config.os,
        "Size": image.size,
        "VirtualSize": image.size,
        "GraphDriver": {"Name": "overlay2", "Data": {}},
        "RootFS": {
            "Type": "layers",
            "Layers": image.layers.iter().map(Digest::as_str).collect::<Vec<_>>(),
        },
        "Metadata": {},
    })
}

#[cfg(test)]
mod tests {
    use super::render;
    use isula_core::image::{Digest, Image, ImageConfig, ImageId};
    use serde_json::json;

    fn image(raw: &str) -> Image {
        Image {
            id: ImageId(Digest::from_sha256([1; 32])),
            tags: vec!["busybox".parse().unwrap()],
            digests: Vec::new(),
            created: Some("2024-01-02T03:04:05Z".parse().unwrap()),
            layers: vec![Digest::from_sha256([2; 32])],
            size: 7,
            config: ImageConfig { os: "linux".to_owned(), ..ImageConfig::default() },
            raw_config: raw.as_bytes().into(),
        }
    }

    #[test]
    fn an_image_has_dockers_names_and_its_own_configuration() {
        let raw = r#"{"author": "me", "config": {"Cmd": ["sh"], "Odd": 1},
                      "history": [{"comment": "a"}, {"comment": "b"}]}"#;
        let shown = render(&image(raw));
        assert_eq!(shown["Id"], format!("sha256:{}", "01".repeat(32)));
        assert_eq!(shown["RepoTags"], json!(["busybox:latest"]));
        assert_eq!(shown["Config"], json!({"Cmd": ["sh"], "Odd": 1}));
        assert_eq!((&shown["Author"], &shown["Comment"]), (&json!("me"), &json!("b")));
        assert_eq!(shown["RootFS"]["Layers"], json!([format!("sha256:{}", "02".repeat(32))]));
        assert_eq!(shown["Created"], "2024-01-02T03:04:05Z");
    }

    #[test]
    fn a_bare_configuration_is_shown_too() {
        let shown = render(&image("{}"));
        assert_eq!((&shown["Config"], &shown["Comment"]), (&json!({}), &json!("")));
    }
}
