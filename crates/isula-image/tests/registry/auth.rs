//! Who gets credentials, and who does not.

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicUsize, Ordering::SeqCst},
};

use crate::server::{Body, Reply, Seen, Server, digest, play, reply, session, settings};
use isula_core::{
    error::{ErrorKind, chain},
    image::Reference,
    ports::Credentials,
};
use isula_image::registry::{Client, Session, Settings};

const LIMIT: u64 = 4 << 20;
/// Base64 of `me:secret`.
const BASIC: &str = "Basic bWU6c2VjcmV0";

fn logged_in(settings: Settings, reference: &Reference) -> Session {
    let credentials = Credentials { username: "me".to_owned(), password: "secret".to_owned() };
    Client::new(settings).unwrap().session(reference, Some(credentials)).unwrap()
}

fn refuse(challenge: impl Into<String>) -> Reply {
    let body = r#"{"errors":[{"code":"UNAUTHORIZED","message":"authentication required"}]}"#;
    reply(401, body).header("WWW-Authenticate", challenge)
}

/// A registry that wants the bearer token `token-N`, N being the number of tokens given so far;
/// `realm` gives them.
fn bearer(realm: &Server, given: &Arc<AtomicUsize>) -> Server {
    let given = Arc::clone(given);
    let challenge = format!(r#"Bearer realm="http://{}/token",service="reg é""#, realm.address);
    Server::start(move |seen| {
        let wanted = format!("Bearer token-{}", given.load(SeqCst));
        match seen.header("authorization") {
            Some(shown) if shown == wanted => reply(200, "{}"),
            _ => refuse(challenge.clone()),
        }
    })
}

fn realm(given: &Arc<AtomicUsize>) -> Server {
    let given = Arc::clone(given);
    Server::start(move |_| {
        let number = given.fetch_add(1, SeqCst) + 1;
        reply(200, format!(r#"{{"access_token":"token-{number}","expires_in":60}}"#))
    })
}

#[tokio::test]
async fn a_token_is_fetched_once_and_again_when_it_expires() {
    let given = Arc::default();
    let realm = realm(&given);
    let server = bearer(&realm, &given);
    let session = session(settings(), &server.reference("a/b:1"));
    for _ in 0..3 {
        session.by_tag("1", LIMIT).await.unwrap();
    }
    assert_eq!((realm.seen().len(), server.seen().len()), (1, 4));
    let asked = &realm.seen()[0];
    assert_eq!(asked.target, "/token?scope=repository:a/b:pull&service=reg%20%C3%A9");
    assert_eq!(asked.header("authorization"), None, "anonymous");

    // The registry forgets the token.
    given.fetch_add(1, SeqCst);
    session.by_tag("1", LIMIT).await.unwrap();
    assert_eq!((realm.seen().len(), server.seen().len()), (2, 6));
}

#[tokio::test]
async fn many_requests_share_one_token() {
    let given = Arc::default();
    let realm = realm(&given);
    let server = bearer(&realm, &given);
    let session = session(settings(), &server.reference("a/b:1"));
    let all = (0..8).map(|_| session.by_tag("1", LIMIT));
    for result in futures_util::future::join_all(all).await {
        result.unwrap();
    }
    assert_eq!(realm.seen().len(), 1);
}

#[tokio::test]
async fn credentials_go_to_the_realm_and_the_scope_is_the_registrys() {
    let realm = Server::start(|seen| match seen.header("authorization") {
        Some(BASIC) => reply(200, r#"{"token":"t"}"#),
        _ => reply(401, r#"{"details":"incorrect username or password"}"#),
    });
    let challenge =
        format!(r#"Bearer realm="http://{}/t?x=y",scope="repository:a:pull,push""#, realm.address);
    let server = Server::start(move |seen| match seen.header("authorization") {
        Some("Bearer t") => reply(200, "{}"),
        _ => refuse(challenge.clone()),
    });
    let reference = server.reference("a:1");
    logged_in(settings(), &reference).by_tag("1", LIMIT).await.unwrap();
    assert_eq!(realm.seen()[0].target, "/t?x=y&scope=repository:a:pull,push&account=me");
    assert!(server.seen().iter().all(|seen| seen.header("authorization") != Some(BASIC)));

    let error = session(settings(), &reference).by_tag("1", LIMIT).await.err().unwrap();
    assert_eq!(error.kind(), ErrorKind::PermissionDenied);
    let wanted = format!(
        "cannot pull {reference}: requested access to the resource is denied: \
         incorrect username or password"
    );
    assert_eq!(chain(&error), wanted);
}

#[tokio::test]
async fn basic_credentials_are_shown_when_asked_for_and_denied_when_missing() {
    let server = Server::start(|seen| match seen.header("authorization") {
        Some(BASIC) => reply(200, "{}"),
        _ => refuse(r#"Basic realm="x""#),
    });
    let reference = server.reference("x");
    logged_in(settings(), &reference).by_tag("latest", LIMIT).await.unwrap();
    assert_eq!(server.seen()[0].header("authorization"), None, "nothing is shown unasked");

    let error = session(settings(), &reference).by_tag("latest", LIMIT).await.err().unwrap();
    assert_eq!(error.kind(), ErrorKind::PermissionDenied);
}

#[tokio::test]
async fn a_registry_that_always_asks_again_is_asked_twice() {
    let realm = Server::start(|_| reply(200, r#"{"token":"t"}"#));
    let challenge = format!(r#"Bearer realm="http://{}/t""#, realm.address);
    for challenge in [challenge, r#"Basic realm="x""#.to_owned()] {
        let server = Server::start(move |_| refuse(challenge.clone()));
        let session = logged_in(settings(), &server.reference("x"));
        let error = session.by_tag("latest", LIMIT).await.err().unwrap();
        assert_eq!(error.kind(), ErrorKind::PermissionDenied);
        assert!(chain(&error).ends_with("is denied: authentication required"), "{}", chain(&error));
        assert_eq!(server.seen().len(), 2);
    }
    let server = Server::start(|_| reply(401, ""));
    let session_ = session(settings(), &server.reference("x"));
    let error = session_.by_tag("latest", LIMIT).await.err().unwrap();
    assert_eq!(error.kind(), ErrorKind::PermissionDenied);
    let server = Server::start(|_| refuse("Negotiate"));
    let error =
        session(settings(), &server.reference("x")).by_tag("latest", LIMIT).await.err().unwrap();
    assert!(
        chain(&error).contains("in no way that is supported: \"negotiate\""),
        "{}",
        chain(&error)
    );
}

#[tokio::test]
async fn a_redirect_never_takes_the_authorization_along() {
    let storage = Server::start(|seen| match seen.header("authorization") {
        None => reply(200, "{}"),
        Some(_) => reply(400, ""),
    });
    for basic in [true, false] {
        let realm = Server::start(|_| reply(200, r#"{"token":"t"}"#));
        let challenge = match basic {
            true => r#"Basic realm="x""#.to_owned(),
            false => format!(r#"Bearer realm="http://{}/t""#, realm.address),
        };
        let elsewhere = format!("http://{}/moved", storage.address);
        let server =
            Server::start(move |seen| match (seen.target.as_str(), seen.header("authorization")) {
                ("/here", None) => reply(302, "").header("Location", elsewhere.clone()),
                ("/here", Some(_)) => reply(400, ""),
                (_, None) => refuse(challenge.clone()),
                (_, Some(_)) => reply(307, "").header("Location", "/here"),
            });
        let session = logged_in(settings(), &server.reference("x"));
        session.by_tag("latest", LIMIT).await.unwrap();
        assert_eq!(
            server.seen().iter().filter(|seen| seen.header("authorization").is_some()).count(),
            1
        );
    }
    assert_eq!(storage.seen().len(), 2);
}

#[tokio::test]
async fn a_challenge_after_a_redirect_is_not_answered() {
    let thief = Server::start(|_| refuse(r#"Basic realm="give me""#));
    let place = format!("http://{}/", thief.address);
    let server = Server::start(move |_| reply(302, "").header("Location", place.clone()));
    let session = logged_in(settings(), &server.reference("x"));
    let error = session.by_tag("latest", LIMIT).await.err().unwrap();
    assert_eq!(error.kind(), ErrorKind::PermissionDenied);
    assert_eq!(thief.seen().len(), 1);
    assert_eq!(thief.seen()[0].header("authorization"), None);
}

#[tokio::test]
async fn a_realm_that_redirects_does_not_pass_credentials_on() {
    let thief = Server::start(|_| reply(200, r#"{"token":"t"}"#));
    let place = format!("http://{}/", thief.address);
    let realm = Server::start(move |_| reply(307, "").header("Location", place.clone()));
    let challenge = format!(r#"Bearer realm="http://{}/t""#, realm.address);
    let server = Server::start(move |seen| match seen.header("authorization") {
        Some(_) => reply(200, "{}"),
        None => refuse(challenge.clone()),
    });
    logged_in(settings(), &server.reference("x")).by_tag("latest", LIMIT).await.unwrap();
    assert_eq!(realm.seen()[0].header("authorization"), Some(BASIC));
    assert_eq!(thief.seen()[0].header("authorization"), None);
}

#[tokio::test]
async fn mirrors_do_not_see_the_credentials_of_the_registry() {
    let mirror = Server::start(|_| refuse(r#"Basic realm="x""#));
    let last = Server::start(|_| reply(200, "{}"));
    let mut settings = settings();
    settings.mirrors = vec![mirror.address.to_string(), last.address.to_string()];
    let session = logged_in(settings, &"busybox".parse().unwrap());
    session.by_tag("latest", LIMIT).await.unwrap();
    let seen: Vec<Seen> = [mirror.seen(), last.seen()].concat();
    assert_eq!(seen.len(), 2);
    assert!(seen.iter().all(|seen| seen.header("authorization").is_none()));
}

#[tokio::test]
async fn a_token_server_that_misbehaves_is_bounded_and_named() {
    let good = "HTTP/1.1 200 X\r\nContent-Length: ";
    let evil = format!("{good}16\r\n\r\n{{\"token\":\"a\\nb\"}}");
    for (body, said) in [
        (Body::Endless, "sends more than 1048576 bytes"),
        (Body::Whole(b"not json".to_vec()), "its answer is malformed"),
        (Body::Whole(b"{}".to_vec()), "its answer has no token"),
        (Body::Whole(br#"{"token":""}"#.to_vec()), "its answer has no token"),
        (Body::Raw(evil.into_bytes()), "its token does not fit a header"),
    ] {
        let realm = Server::start(move |_| play(body.clone()));
        let challenge = format!(r#"Bearer realm="http://{}/t?k=v""#, realm.address);
        let server = Server::start(move |_| refuse(challenge.clone()));
        let error = session(settings(), &server.reference("x"))
            .by_tag("latest", LIMIT)
            .await
            .err()
            .unwrap();
        assert!(chain(&error).contains(said), "{}", chain(&error));
    }
    for realm in ["", "ftp://x/", "/t", "http://me@h/"] {
        let server = Server::start(move |_| refuse(format!(r#"Bearer realm="{realm}""#)));
        let error = session(settings(), &server.reference("x"))
            .by_tag("latest", LIMIT)
            .await
            .err()
            .unwrap();
        assert!(chain(&error).contains("invalid URL"), "{}", chain(&error));
    }
}

#[tokio::test]
async fn a_token_server_that_is_busy_is_asked_again() {
    let turns = Mutex::new(vec![reply(200, r#"{"token":"t"}"#), reply(503, ""), reply(429, "")]);
    let realm = Server::start(move |_| turns.lock().unwrap().pop().unwrap());
    let challenge = format!(r#"Bearer realm="http://{}/t""#, realm.address);
    let server = Server::start(move |seen| match seen.header("authorization") {
        Some("Bearer t") => reply(200, "{}"),
        _ => refuse(challenge.clone()),
    });
    let fetched =
        session(settings(), &server.reference("x")).by_tag("latest", LIMIT).await.unwrap();
    assert_eq!(fetched.digest, digest(b"{}"));
    assert_eq!(realm.seen().len(), 3);
}
