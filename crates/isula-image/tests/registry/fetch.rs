//! Fetching manifests and blobs: what is verified, resumed, repeated, bounded and refused.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use crate::server::{
    Body, Reply, Seen, Server, blob, digest, noise, play, reply, session, settings,
};
use isula_core::error::{ErrorKind, PortError, chain};
use isula_image::registry::Session;

const LIMIT: u64 = 4 << 20;
const MANIFEST: &[u8] = br#"{"schemaVersion":2}"#;

async fn read(session: &Session, bytes: &[u8], size: u64) -> Result<Vec<u8>, PortError> {
    let mut reading = session.blob(&digest(bytes), size);
    let mut whole = Vec::new();
    while let Some(piece) = reading.next_piece().await? {
        whole.extend_from_slice(&piece);
    }
    Ok(whole)
}

/// A server that plays the replies in turn for blobs, the last one for ever.
fn in_turn(replies: Vec<Reply>) -> Server {
    let turn = AtomicUsize::new(0);
    Server::start(move |_| replies[turn.fetch_add(1, SeqCst).min(replies.len() - 1)].clone())
}

#[tokio::test]
async fn a_manifest_comes_with_its_digest_and_type() {
    let server = Server::start(|seen| match seen.target.as_str() {
        "/v2/a/b/manifests/1.0" => reply(200, MANIFEST)
            .header("Content-Type", "application/vnd.oci.image.manifest.v1+json")
            // A header that lies changes nothing.
            .header("Docker-Content-Digest", format!("sha256:{}", "0".repeat(64))),
        _ => reply(404, r#"{"errors":[{"code":"MANIFEST_UNKNOWN","message":"manifest unknown"}]}"#),
    });
    let reference = server.reference("a/b:1.0");
    let session = session(settings(), &reference);
    let fetched = session.by_tag("1.0", LIMIT).await.unwrap();
    assert_eq!(fetched.bytes, MANIFEST);
    assert_eq!(fetched.digest, digest(MANIFEST));
    assert_eq!(fetched.media_type.as_deref(), Some("application/vnd.oci.image.manifest.v1+json"));
    let seen = server.seen();
    assert!(
        seen[0].header("accept").unwrap().contains("vnd.docker.distribution.manifest.list.v2+json")
    );
    assert_eq!(seen[0].header("host"), Some(server.address.to_string().as_str()));
    assert_eq!(seen[0].header("authorization"), None);

    let error = session.by_tag("2.0", LIMIT).await.err().unwrap();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert_eq!(chain(&error), format!("cannot pull {reference}: manifest unknown"));
}

#[tokio::test]
async fn a_manifest_that_is_not_the_one_of_its_digest_is_corrupt() {
    let server = Server::start(|_| reply(200, "other bytes"));
    let session = session(settings(), &server.reference("x"));
    let error = session.by_digest(&digest(MANIFEST), LIMIT).await.err().unwrap();
    assert_eq!(error.kind(), ErrorKind::Corrupt);
    let text = chain(&error);
    assert!(text.contains(digest(MANIFEST).as_str()), "{text}");
    assert!(text.contains(digest(b"other bytes").as_str()), "{text}");
    let error = session.small_blob(&digest(MANIFEST), 11).await.err().unwrap();
    assert_eq!(error.kind(), ErrorKind::Corrupt);
}

#[tokio::test]
async fn an_oversize_manifest_is_not_read_to_its_end() {
    for body in
        [Body::Endless, Body::Stall(usize::MAX >> 1, Vec::new()), Body::Whole(vec![b' '; 5 << 20])]
    {
        let server = Server::start(move |_| play(body.clone()));
        let error = session(settings(), &server.reference("x"))
            .by_tag("latest", LIMIT)
            .await
            .err()
            .unwrap();
        assert_eq!(error.kind(), ErrorKind::Corrupt);
        assert!(chain(&error).contains("more than 4194304 bytes"), "{}", chain(&error));
    }
}

#[tokio::test]
async fn a_head_without_end_is_refused() {
    let head =
        format!("HTTP/1.1 200 OK\r\nX: {}\r\nContent-Length: 0\r\n\r\n", "y".repeat(1 << 20));
    let many = format!("HTTP/1.1 200 OK\r\n{}\r\n", "A: b\r\n".repeat(5000));
    for raw in [head.into_bytes(), many.into_bytes(), b"SSH-2.0-x\r\n\r\n".to_vec()] {
        let server = Server::start(move |_| play(Body::Raw(raw.clone())));
        let error = session(settings(), &server.reference("x"))
            .by_tag("latest", LIMIT)
            .await
            .err()
            .unwrap();
        assert_eq!(error.kind(), ErrorKind::Unavailable, "{}", chain(&error));
        assert_eq!(server.count("/manifests/"), 1, "what is no HTTP is not asked again");
    }
}

#[tokio::test]
async fn a_blob_is_resumed_by_range_after_each_cut() {
    let bytes = noise(300_000);
    let content = bytes.clone();
    let server = Server::start(move |seen| {
        let from = seen.from().unwrap_or(0);
        let rest = &content[from..];
        let sent = rest[..rest.len().min(100_000)].to_vec();
        let range = format!("bytes {from}-{}/{}", content.len() - 1, content.len());
        let status = if seen.from().is_some() { 206 } else { 200 };
        Reply {
            status,
            headers: vec![("Content-Range".into(), range)],
            body: Body::Cut(rest.len(), sent),
        }
    });
    let session = session(settings(), &server.reference("x"));
    assert_eq!(read(&session, &bytes, 300_000).await.unwrap(), bytes);
    let asked: Vec<_> = server.seen().iter().map(Seen::from).collect();
    assert_eq!(asked, [None, Some(100_000), Some(200_000)]);
}

#[tokio::test]
async fn a_server_without_ranges_is_read_again_from_the_start() {
    let bytes = noise(50_000);
    let (content, turn) = (bytes.clone(), AtomicUsize::new(0));
    let server = Server::start(move |_| match turn.fetch_add(1, SeqCst) {
        0 => play(Body::Cut(content.len(), content[..30_000].to_vec())),
        _ => reply(200, content.clone()),
    });
    let session = session(settings(), &server.reference("x"));
    assert_eq!(read(&session, &bytes, 50_000).await.unwrap(), bytes);
    assert_eq!(server.seen().len(), 2);
}

#[tokio::test]
async fn a_part_that_was_not_asked_for_is_refused() {
    let bytes = noise(1000);
    let part = |range: &str| reply(206, vec![0; 500]).header("Content-Range", range);
    for wrong in [part("bytes 0-499/1000"), part("bytes 500-999/2000"), reply(206, vec![0; 500])] {
        let server = in_turn(vec![play(Body::Cut(1000, bytes[..500].to_vec())), wrong]);
        let error =
            read(&session(settings(), &server.reference("x")), &bytes, 1000).await.err().unwrap();
        assert_eq!(error.kind(), ErrorKind::Corrupt, "{}", chain(&error));
    }
}

#[tokio::test]
async fn a_blob_of_another_size_is_corrupt_and_not_read_further() {
    let bytes = noise(5000);
    for (body, relation) in [
        (Body::Whole(noise(5001)), "longer"),
        (Body::Whole(noise(4999)), "shorter"),
        (Body::Chunked(noise(5001)), "longer"),
        (Body::Chunked(noise(4999)), "shorter"),
        (Body::Chunked(noise(6001)), "longer"),
        (Body::Endless, "longer"),
    ] {
        let server = Server::start(move |_| play(body.clone()));
        let error =
            read(&session(settings(), &server.reference("x")), &bytes, 5000).await.err().unwrap();
        assert_eq!(error.kind(), ErrorKind::Corrupt);
        assert!(chain(&error).contains(relation), "{}", chain(&error));
        assert_eq!(server.seen().len(), 1);
    }
    let server = Server::start(|_| reply(500, ""));
    let empty = session(settings(), &server.reference("x"));
    assert_eq!(read(&empty, b"", 0).await.unwrap(), b"");
}

#[tokio::test]
async fn failures_that_pass_are_repeated() {
    let bytes = noise(2000);
    let content = bytes.clone();
    let limited = reply(429, "").header("Retry-After", "3600");
    let server = in_turn(vec![
        limited,
        reply(503, ""),
        reply(500, ""),
        play(Body::Nothing),
        reply(502, ""),
        reply(200, content),
    ]);
    let session = session(settings(), &server.reference("x"));
    assert_eq!(read(&session, &bytes, 2000).await.unwrap(), bytes);
    assert_eq!(server.seen().len(), 6);
}

#[tokio::test]
async fn the_pause_that_a_registry_asks_for_is_kept() {
    let server = in_turn(vec![reply(429, "").header("Retry-After", "1"), reply(200, "{}")]);
    let mut patient = settings();
    patient.retry.retry_after = Duration::from_secs(60);
    let begun = std::time::Instant::now();
    session(patient, &server.reference("x")).by_tag("latest", LIMIT).await.unwrap();
    // All other pauses of these tests are milliseconds.
    assert!(begun.elapsed() >= Duration::from_secs(1));
    assert_eq!(server.seen().len(), 2);
}

#[tokio::test]
async fn failures_without_end_end_the_pull_with_the_servers_words() {
    let refusal = r#"{"errors":[{"code":"TOOMANYREQUESTS","message":"slow\ndown"}]}"#;
    let server = Server::start(move |_| reply(429, refusal));
    let session_ = session(settings(), &server.reference("x"));
    let error = session_.by_tag("latest", LIMIT).await.err().unwrap();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(
        chain(&error).ends_with("the registry answered 429 Too Many Requests: slow down"),
        "{}",
        chain(&error)
    );
    assert_eq!(server.seen().len(), 6);

    // What will not pass is not repeated.
    for status in [400, 404, 405, 416, 501] {
        let server = Server::start(move |_| reply(status, ""));
        let session = session(settings(), &server.reference("x"));
        assert!(session.by_tag("latest", LIMIT).await.is_err());
        assert_eq!(server.seen().len(), 1, "{status}");
    }
}

#[tokio::test]
async fn a_registry_that_never_answered_is_not_asked_again() {
    let server = Server::start(|_| reply(200, ""));
    let reference = server.reference("x");
    drop(server);
    let mut patient = settings();
    patient.retry.first = Duration::from_secs(3600);
    patient.retry.longest = Duration::from_secs(3600);
    let error = session(patient, &reference).by_tag("latest", LIMIT).await.err().unwrap();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(chain(&error).contains("cannot connect to"), "{}", chain(&error));
}

#[tokio::test]
async fn a_silent_server_is_given_up() {
    let bytes = noise(5000);
    for body in [Body::Silence, Body::Stall(5000, bytes[..2000].to_vec()), Body::Drip(5000)] {
        let server = Server::start(move |_| play(body.clone()));
        let error =
            read(&session(settings(), &server.reference("x")), &bytes, 5000).await.err().unwrap();
        assert_eq!(error.kind(), ErrorKind::DeadlineExceeded, "{}", chain(&error));
        assert_eq!(server.seen().len(), 4, "a silence counts twice");
    }
}

#[tokio::test]
async fn connections_are_used_again() {
    let bytes = noise(1000);
    let content = bytes.clone();
    let server = Server::start(move |seen| blob(seen, &content));
    let session = session(settings(), &server.reference("x"));
    for _ in 0..5 {
        assert_eq!(read(&session, &bytes, 1000).await.unwrap(), bytes);
    }
    assert_eq!(server.seen().len(), 5);
    assert_eq!(server.connections(), 2, "one that tried TLS, one for all requests");
}

#[tokio::test]
async fn mirrors_are_asked_in_order_and_the_next_one_continues_a_blob() {
    let bytes = noise(3000);
    let missing = Server::start(|_| reply(404, ""));
    let content = bytes.clone();
    let failing = Server::start(move |seen| match seen.target.contains("/manifests/") {
        true => reply(200, MANIFEST),
        false if seen.from().is_some() => reply(500, ""),
        false => play(Body::Cut(3000, content[..1000].to_vec())),
    });
    let content = bytes.clone();
    let whole = Server::start(move |seen| blob(seen, &content));
    let mut settings = settings();
    settings.mirrors = vec![
        missing.address.to_string(),
        format!("http://{}/hub", failing.address),
        whole.address.to_string(),
    ];
    // The session would go on to docker.io after the mirrors: it must not get there.
    let session = session(settings, &"docker.io/library/x:1".parse().unwrap());
    let fetched = session.by_tag("1", LIMIT).await.unwrap();
    assert_eq!(fetched.digest, digest(MANIFEST));
    assert_eq!(read(&session, &bytes, 3000).await.unwrap(), bytes);
    assert_eq!((missing.seen().len(), whole.seen().len()), (1, 1));
    assert!(failing.seen().iter().all(|seen| seen.target.starts_with("/hub/v2/library/x/")));
    assert_eq!(whole.seen()[0].from(), Some(1000));
}

#[tokio::test]
async fn redirects_are_followed_to_a_limit() {
    let bytes = noise(1000);
    let content = bytes.clone();
    let storage = Server::start(move |seen| match seen.target.as_str() {
        "/s?sig=1" => blob(seen, &content),
        _ => reply(403, ""),
    });
    let place = format!("http://{}/s?sig=1", storage.address);
    let server = Server::start(move |seen| match seen.target.contains("/blobs/") {
        true => reply(307, "gone there").header("Location", place.clone()),
        false => reply(302, "").header("Location", seen.target.clone()),
    });
    let session = session(settings(), &server.reference("x"));
    assert_eq!(read(&session, &bytes, 1000).await.unwrap(), bytes);
    let error = session.by_tag("latest", LIMIT).await.err().unwrap();
    assert!(chain(&error).contains("more than 10 redirects"), "{}", chain(&error));
    assert_eq!(server.count("/manifests/"), 11);
}

#[tokio::test]
async fn dropping_a_read_closes_its_connection() {
    let (closed, wait) = std::sync::mpsc::channel();
    let closed = Arc::new(std::sync::Mutex::new(closed));
    let server = Server::start_watched(
        |_| play(Body::Stall(5000, vec![0; 2000])),
        move || closed.lock().unwrap().send(()).unwrap(),
    );
    let mut patient = settings();
    patient.limits.stall = Duration::from_secs(3600);
    let session = session(patient, &server.reference("x"));
    let mut reading = session.blob(&digest(b""), 5000);
    let mut got = 0;
    while got < 2000 {
        got += reading.next_piece().await.unwrap().unwrap().len();
    }
    drop(reading);
    let ended = move || wait.recv_timeout(Duration::from_secs(60)).unwrap();
    tokio::task::spawn_blocking(ended).await.unwrap();
}
