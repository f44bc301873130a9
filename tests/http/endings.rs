//! When does an answer that goes on have to stop? When its token is revoked, here or elsewhere, and when that expires.

use serde_json::json;

use crate::guarded::Guarded;
use crate::guarded::ROOT_SECRET;
use crate::support::Served;

#[tokio::test]
async fn a6_feeds_and_consumers_end_with_their_token() {
    let guarded = Guarded::new().await;
    let served = Served::over(&guarded.api).await;
    let (_, secret) = guarded.client("mail", &["events:read"], None).await;
    let subscription = json!({});
    guarded.put("/v1/subscriptions/mail", &guarded.root, &subscription).await.is(201);
    guarded.append("order-1", &guarded.root).await.is(201);
    for (path, accept) in [
        ("/v1/events", "text/event-stream"),
        ("/v1/events?follow=true", "application/x-ndjson"),
        ("/v1/streams/order-1/events?follow=true", "application/x-ndjson"),
        ("/v1/subscriptions/mail/events", "text/event-stream"),
    ] {
        let token = guarded.token("mail", &secret, "").await;
        let mut socket = served.connect().await;
        let request = format!("GET {path} HTTP/1.1\r\nHost: a\r\nAccept: {accept}\r\nAuthorization: Bearer {token}\r\n\r\n");
        tokio::io::AsyncWriteExt::write_all(&mut socket, request.as_bytes()).await.unwrap();
        crate::support::read_until(&mut socket, "order-1").await;
        let form = [("client_id", "mail"), ("client_secret", secret.as_str()), ("token", &token)];
        let since = tokio::time::Instant::now();
        guarded.form("/oauth/revoke", &[], &form).await.is(200);
        // The last chunk has no bytes: the answer is whole, and its last word says why it ends.
        let rest = crate::support::read_until(&mut socket, "\r\n0\r\n\r\n").await;
        assert!(since.elapsed().as_millis() < 1_000, "{path}: {:?}", since.elapsed());
        assert!(rest.contains("urn:factum:problem:unauthenticated"), "{path}: {rest}");
    }
}

/// Nobody asks this server for anything meanwhile: it looks by itself.
#[tokio::test]
async fn a6_a_feed_ends_when_another_server_has_revoked_its_token() {
    let guarded = Guarded::new().await;
    let served = Served::over(&guarded.api).await;
    let other_server = guarded.again().await;
    let token = guarded.token("root", ROOT_SECRET, "events:read").await;
    let mut socket = served.connect().await;
    let request = format!("GET /v1/events HTTP/1.1\r\nHost: a\r\nAccept: text/event-stream\r\nAuthorization: Bearer {token}\r\n\r\n");
    tokio::io::AsyncWriteExt::write_all(&mut socket, request.as_bytes()).await.unwrap();
    crate::support::read_until(&mut socket, "text/event-stream").await;
    let by = factum::auth::Asker::Administrator("somebody elsewhere".to_owned());
    other_server.revoke(&by, &token).await.unwrap();
    let since = tokio::time::Instant::now();
    assert!(other_server.authenticate(&token).is_err(), "at once where it was revoked");
    let rest = crate::support::read_until(&mut socket, "\r\n0\r\n\r\n").await;
    assert!(since.elapsed().as_millis() < 1_000, "{:?}", since.elapsed());
    assert!(rest.contains("urn:factum:problem:unauthenticated"), "{rest}");
    guarded.get("/v1/events", &token).await.problem(401, "unauthenticated");
}

#[tokio::test]
async fn a6_a_feed_ends_when_its_token_expires() {
    let guarded = Guarded::with(|settings| settings.token_ttl = std::time::Duration::from_secs(1)).await;
    let served = Served::over(&guarded.api).await;
    let token = guarded.token("root", ROOT_SECRET, "events:read").await;
    let mut socket = served.connect().await;
    let request = format!("GET /v1/events HTTP/1.1\r\nHost: a\r\nAccept: text/event-stream\r\nAuthorization: Bearer {token}\r\n\r\n");
    tokio::io::AsyncWriteExt::write_all(&mut socket, request.as_bytes()).await.unwrap();
    let all = crate::support::read_until(&mut socket, "\r\n0\r\n\r\n").await;
    assert!(all.contains("urn:factum:problem:unauthenticated"), "{all}");
    guarded.get("/v1/events", &token).await.problem(401, "unauthenticated");
}
