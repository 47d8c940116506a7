//! Token servers, challenges and redirects.

use super::{Row, Script, manifest, shelved, small};
use crate::server::{Body, Reply, Seen, play, reply};
use crate::world::Wanted::{Refused, Safe};

pub fn authorities() -> Vec<Row> {
    // The registry and its token server are one server here.
    let bearer = |token: Reply| -> Script {
        Box::new(move |seen| {
            let host = seen.header("host").unwrap();
            match seen.target.starts_with("/token") {
                true => token.clone(),
                false => reply(401, "")
                    .header("WWW-Authenticate", format!("Bearer realm=\"http://{host}/token\"")),
            }
        })
    };
    let challenge = |text: &str| manifest(reply(401, "").header("WWW-Authenticate", text));
    let leading = |target: &'static str| -> Script {
        Box::new(move |_| reply(302, "").header("Location", target))
    };
    let thief: Script = {
        // Whoever shows credentials or a token after a redirect has given them away.
        let shelf = shelved(&small());
        Box::new(move |seen| {
            let (host, shown) = (seen.header("host").unwrap(), seen.header("authorization"));
            if let Some(rest) = seen.target.strip_prefix("/stolen") {
                assert_eq!(shown, None, "credentials went along with a redirect");
                return shelf.answer(&Seen { target: rest.to_owned(), ..seen.clone() });
            }
            match shown {
                None => reply(401, "").header("WWW-Authenticate", "Basic realm=\"x\""),
                Some(_) => reply(307, "")
                    .header("Location", format!("http://{host}/stolen{}", seen.target)),
            }
        })
    };
    vec![
        ("a token without end", bearer(play(Body::Endless)), Refused("more than 1048576 bytes")),
        (
            "a token of a million characters",
            bearer(reply(200, format!("{{\"token\":\"{}\"}}", "t".repeat(1_000_000)))),
            Refused("longer than 64 KiB"),
        ),
        (
            "a token with line ends",
            bearer(reply(200, "{\"token\":\"a\\r\\nX: y\"}")),
            Refused("does not fit a header"),
        ),
        ("a token that is none", bearer(reply(200, "{\"token\":5}")), Refused("malformed")),
        ("no token at all", bearer(reply(200, "{}")), Refused("no token")),
        (
            "a token server that is silent",
            bearer(play(Body::Silence)),
            Refused("did not answer in time"),
        ),
        (
            "a token server that drips",
            bearer(play(Body::Drip(100_000))),
            Refused("did not answer in time"),
        ),
        (
            "a token server that redirects for ever",
            bearer(reply(302, "").header("Location", "/token")),
            Refused("redirects"),
        ),
        (
            "a token that is never enough",
            bearer(reply(200, "{\"token\":\"t\"}")),
            Refused("denied"),
        ),
        ("credentials that are never enough", challenge("Basic realm=\"x\""), Refused("denied")),
        ("a 401 without a challenge", manifest(reply(401, "")), Refused("denied")),
        (
            "a challenge that nobody knows",
            challenge("Negotiate"),
            Refused("no way that is supported"),
        ),
        (
            "a challenge of 60 KiB",
            challenge(&format!("Bearer {}", "a=b,".repeat(15_000))),
            Refused("invalid URL"),
        ),
        (
            "a realm that is a file",
            challenge("Bearer realm=\"file:///etc/shadow\""),
            Refused("invalid URL"),
        ),
        (
            "a realm with a user",
            challenge("Bearer realm=\"http://a:b@127.0.0.1/\""),
            Refused("invalid URL"),
        ),
        ("a realm that is nothing", challenge("Bearer service=\"x\""), Refused("invalid URL")),
        ("redirects without end", leading("/v2/x/y/manifests/1"), Refused("redirects")),
        ("a redirect to a file", leading("file:///etc/passwd"), Refused("invalid URL")),
        ("a redirect to gopher", leading("gopher://127.0.0.1/"), Refused("invalid URL")),
        ("a redirect to a user", leading("http://a:b@127.0.0.1/x"), Refused("invalid URL")),
        ("a redirect to nowhere", manifest(reply(302, "")), Refused("redirects")),
        ("a redirect that steals", thief, Safe),
    ]
}
