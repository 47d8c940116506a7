//! Layers that are not what was promised.

use super::{Row, Script, large, layer, script, shelved, small};
use crate::image::{Layer, OCI_MANIFEST, Shelf, TestImage};
use crate::server::{Body, Seen, digest, noise, play, reply};
use crate::streams::bomb;
use crate::world::Wanted::{Refused, Safe};

pub fn blobs() -> Vec<Row> {
    let other = |length: usize| move |_: &Seen, _: &[u8]| reply(200, noise(length));
    let bytes = bomb(16 << 30);
    let bombed = {
        let mut shelf = Shelf::default();
        let layer = Layer { diff_id: digest(b"?"), blob: bytes };
        TestImage::new(&[layer]).shelve(&mut shelf, "1");
        script(shelf)
    };
    let false_diff = {
        let mut image = small();
        image.layers[0].diff_id = digest(b"something else");
        script(shelved(&TestImage::new(&image.layers)))
    };
    let endless: Script = {
        // A layer that claims to have 2^60 bytes, and sends on and on.
        let image = small();
        let text = String::from_utf8(image.manifest.clone()).unwrap();
        let size = text.rfind("\"size\":").unwrap();
        let text = format!("{}\"size\":1152921504606846976}}]}}", &text[..size]);
        let name = digest(&image.layers[0].blob).to_string();
        let mut shelf = shelved(&image);
        shelf.manifest("1", OCI_MANIFEST, text.as_bytes());
        Box::new(move |seen| {
            if seen.target.ends_with(&name) { play(Body::Endless) } else { shelf.answer(seen) }
        })
    };
    let foreign: Script = {
        let image = small();
        let text = String::from_utf8(image.manifest.clone()).unwrap();
        let at = text.rfind("\"size\":").unwrap();
        let text = format!(
            "{}\"urls\":[\"http://127.0.0.1:1/x\",\"file:///etc/passwd\"],{}",
            &text[..at],
            &text[at..]
        );
        let mut shelf = shelved(&image);
        shelf.manifest("1", OCI_MANIFEST, text.as_bytes());
        script(shelf)
    };
    let config_cut: Script = {
        let image = small();
        let (shelf, name) = (shelved(&image), digest(&image.config).to_string());
        Box::new(move |seen| {
            if seen.target.ends_with(&name) {
                reply(200, noise(image.config.len()))
            } else {
                shelf.answer(seen)
            }
        })
    };
    let length = small().layers[0].blob.len();
    vec![
        ("a layer of other bytes", layer(small(), other(length)), Refused("has the digest")),
        ("a layer that is longer", layer(small(), other(length + 1)), Refused("longer")),
        ("a layer that is shorter", layer(small(), other(length - 1)), Refused("shorter")),
        ("a layer without end", layer(small(), |_, _| play(Body::Endless)), Refused("longer")),
        ("a layer of 2^60 bytes", endless, Refused("malformed")),
        (
            "a layer that stops",
            layer(large(), |_, blob| play(Body::Stall(blob.len(), blob[..1000].to_vec()))),
            Refused("did not answer in time"),
        ),
        (
            "a layer that drips",
            layer(large(), |_, blob| play(Body::Drip(blob.len()))),
            Refused("did not answer in time"),
        ),
        (
            "a layer that is cut off each time",
            layer(large(), |_, blob| play(Body::Cut(blob.len(), blob[..10].to_vec()))),
            Refused("broke off"),
        ),
        (
            "a layer that is missing, pulled",
            layer(small(), |_, _| reply(404, "")),
            Refused("has no blob"),
        ),
        (
            "a layer that is a web page",
            layer(small(), |_, _| reply(200, "<html>").header("Content-Type", "text/html")),
            Refused("shorter"),
        ),
        (
            "a part that was not asked for",
            layer(large(), |seen, blob| match seen.from() {
                None => play(Body::Cut(blob.len(), blob[..1000].to_vec())),
                Some(_) => reply(206, &blob[..500])
                    .header("Content-Range", format!("bytes 0-499/{}", blob.len())),
            }),
            Refused("another part"),
        ),
        (
            "a part beyond numbers",
            layer(large(), |seen, blob| match seen.from() {
                None => play(Body::Cut(blob.len(), blob[..1000].to_vec())),
                Some(_) => reply(206, "x")
                    .header("Content-Range", "bytes 18446744073709551615-99999999999999999999/*"),
            }),
            Refused("another part"),
        ),
        (
            "a range that is refused",
            layer(large(), |seen, blob| match seen.from() {
                None => play(Body::Cut(blob.len(), blob[..1000].to_vec())),
                Some(_) => reply(416, ""),
            }),
            Refused("416"),
        ),
        (
            "a layer that redirects for ever",
            layer(small(), |seen, _| reply(307, "").header("Location", seen.target.clone())),
            Refused("redirects"),
        ),
        ("a layer of false diff id", false_diff, Refused("unpacks to")),
        ("a layer that is a bomb, pulled", bombed, Refused("larger than the limit")),
        ("layers that are elsewhere", foreign, Safe),
        ("a configuration of other bytes", config_cut, Refused("has the digest")),
    ]
}
