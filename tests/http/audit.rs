//! Is it remembered who did what, without what nobody may know, and without filling the log?

use serde_json::Value;
use serde_json::json;

use crate::guarded::Guarded;
use crate::guarded::ROOT_SECRET;
use crate::guarded::text;

#[tokio::test]
async fn who_did_what_is_an_event_without_secrets() {
    let guarded = Guarded::new().await;
    let (token, secret) = guarded.client("mail", &["events:read"], None).await;
    guarded.put("/v1/subscriptions/all", &guarded.root, &json!({})).await.is(201);
    guarded.put("/v1/clients/mail", &token, &json!({"scopes": ["admin"], "secret": "a secret that is refused"})).await.is(403);
    guarded.grant("mail", "a wrong secret, but long", &[]).await.is(401);
    let form = [("client_id", "mail"), ("client_secret", secret.as_str()), ("token", token.as_str())];
    guarded.form("/oauth/revoke", &[], &form).await.is(200);
    guarded.send("POST", "/v1/keys/rotate", &guarded.root, &[], "").await.is(200);
    guarded.append("order-1", &guarded.root).await.is(201);
    guarded.send("DELETE", "/v1/streams/order-1", &guarded.root, &[], "").await.is(204);
    guarded.auth.flush().await;
    let page = guarded.get("/v1/streams/$audit/events?limit=1000", &guarded.root).await.is(200);
    let events = page.json();
    let events: Vec<(String, Value)> =
        events["events"].as_array().unwrap().iter().map(|event| (text(event, "type"), event["data"].clone())).collect();
    let called = |kind: &str, method: &str, path: &str, status: u16| {
        events.iter().any(|(own, data)| {
            own == kind && data["method"] == method && data["path"] == path && data["status"] == status && data["token"].is_string()
        })
    };
    assert!(called("Called", "PUT", "/v1/clients/mail", 201), "{events:?}");
    assert!(called("Called", "PUT", "/v1/subscriptions/all", 201), "{events:?}");
    assert!(called("Denied", "PUT", "/v1/clients/mail", 403), "{events:?}");
    assert!(called("Called", "POST", "/v1/keys/rotate", 200), "{events:?}");
    assert!(called("Called", "DELETE", "/v1/streams/order-1", 204), "{events:?}");
    for (kind, client) in [("TokenIssued", "root"), ("TokenIssued", "mail"), ("TokenEnded", "mail"), ("ClientRefused", "mail")] {
        assert!(events.iter().any(|(own, data)| own == kind && data["client"] == client), "{kind} {client}: {events:?}");
    }
    for hidden in [secret.as_str(), "a secret that is refused", "a wrong secret", token.as_str(), guarded.root.as_str(), ROOT_SECRET] {
        assert!(!page.text().contains(hidden), "{hidden}");
    }
}

/// Refusals by the thousand are counted, and do not fill the log.
#[tokio::test]
async fn what_is_refused_is_remembered_up_to_a_bound() {
    let guarded = Guarded::new().await;
    let token = guarded.client("mail", &["events:read"], None).await.0;
    for _ in 0..6_000 {
        guarded.get("/v1/keys", &token).await.problem(403, "forbidden");
    }
    guarded.auth.flush().await;
    let told = guarded.get("/v1/streams/$audit", &guarded.root).await.is(200).json();
    let version = told["version"].as_u64().unwrap();
    let left_out = guarded.get("/v1/events?include_system=true&type=LeftOut&limit=1000", &guarded.root).await.is(200).json();
    let counted: u64 = left_out["events"].as_array().unwrap().iter().filter_map(|event| event["data"]["count"].as_u64()).sum();
    assert!(counted + version >= 6_000, "nothing goes uncounted: {counted} and {version}");
}
