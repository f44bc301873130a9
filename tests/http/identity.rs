//! Tokens, clients and keys: how they come, how they end, and what is told about them.

use serde_json::Value;
use serde_json::json;

use crate::guarded::Guarded;
use crate::guarded::ROOT_SECRET;
use crate::guarded::text;
use crate::guarded::until;
use crate::support::Api;
use crate::support::JSON;
use crate::support::Served;
use crate::support::within;

#[tokio::test]
async fn without_authentication_nothing_is_asked_and_nothing_issued() {
    let api = Api::new().await;
    api.fill("order-1", 1).await;
    api.get("/.well-known/jwks.json").await.problem(404, "path-not-found");
    api.get("/v1/clients").await.problem(404, "path-not-found");
    let form = ("content-type", "application/x-www-form-urlencoded");
    api.send(crate::support::request("POST", "/oauth/token", &[form], "grant_type=client_credentials"))
        .await
        .problem(404, "path-not-found");
}

#[tokio::test]
async fn a_client_gets_a_token_in_both_ways_and_only_with_its_secret() {
    let guarded = Guarded::new().await;
    let answer = guarded.grant("root", ROOT_SECRET, &[]).await.is(200);
    assert_eq!((answer.header("cache-control"), answer.header("pragma")), ("no-store", "no-cache"));
    let token = answer.json();
    assert_eq!((&token["token_type"], &token["expires_in"]), (&json!("Bearer"), &json!(3600)));
    assert_eq!(token["scope"], "events:read events:append views:read sql:read projections:write admin");
    guarded.get("/v1/status", &text(&token, "access_token")).await.is(200);
    // root:a%20secret%20of%20the%20settings, as RFC 6749 wants the parts encoded.
    let basic = ("authorization", "Basic cm9vdDphJTIwc2VjcmV0JTIwb2YlMjB0aGUlMjBzZXR0aW5ncw==");
    let form = [("grant_type", "client_credentials"), ("scope", "events:read")];
    assert_eq!(guarded.form("/oauth/token", &[basic], &form).await.is(200).json()["scope"], "events:read");
    for (client, secret) in [("root", "another secret, and a long one"), ("nobody", ROOT_SECRET), ("root", "")] {
        let refused = guarded.grant(client, secret, &[]).await.is(401);
        assert_eq!(refused.json()["error"], "invalid_client");
        assert_eq!(refused.header("www-authenticate"), "Basic realm=\"factum\"");
    }
}

#[tokio::test]
async fn the_token_endpoint_says_what_is_wrong_in_the_words_of_the_standard() {
    let guarded = Guarded::new().await;
    let whole = [("client_id", "root"), ("client_secret", ROOT_SECRET)];
    for (form, error) in [
        (vec![], "invalid_request"),
        (vec![("grant_type", "password")], "unsupported_grant_type"),
        (vec![("grant_type", "client_credentials"), ("grant_type", "client_credentials")], "invalid_request"),
        (vec![("grant_type", "client_credentials"), ("scope", "everything")], "invalid_scope"),
        (vec![("grant_type", "client_credentials"), ("streams", "a*b")], "invalid_scope"),
        (vec![("grant_type", "refresh_token")], "invalid_request"),
        (vec![("grant_type", "refresh_token"), ("refresh_token", "x")], "invalid_grant"),
    ] {
        let all: Vec<(&str, &str)> = whole.iter().copied().chain(form).collect();
        let answer = guarded.form("/oauth/token", &[], &all).await.is(400);
        assert_eq!((answer.json()["error"].as_str(), answer.header("cache-control")), (Some(error), "no-store"));
    }
    let json = guarded.api.send(crate::support::request("POST", "/oauth/token", &[JSON], "{}")).await.is(400);
    assert_eq!(json.json()["error"], "invalid_request");
    let in_address = guarded.form("/oauth/token?client_secret=x", &[], &whole).await.is(400);
    assert_eq!(in_address.json()["error"], "invalid_request");
    let unknown = [whole[0], whole[1], ("grant_type", "client_credentials"), ("audience", "x")];
    guarded.form("/oauth/token", &[], &unknown).await.is(200);
}

/// Asks for a token over a socket, from one of this machine's own addresses.
async fn asked_from(served: &Served, address: &str, secret: &str) -> String {
    let socket = tokio::net::TcpSocket::new_v4().expect("a socket of this machine");
    socket.bind(format!("{address}:0").parse().expect("a socket of this machine")).expect("a socket of this machine");
    let mut socket = within(socket.connect(served.address)).await.expect("a socket of this machine");
    let form = format!("grant_type=client_credentials&client_id=root&client_secret={}", secret.replace(' ', "+"));
    let request = format!(
        "POST /oauth/token HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Type: application/x-www-form-urlencoded\r\n\
        Content-Length: {}\r\n\r\n{form}",
        form.len()
    );
    tokio::io::AsyncWriteExt::write_all(&mut socket, request.as_bytes()).await.expect("a socket of this machine");
    crate::support::read_to_end(&mut socket).await
}

#[tokio::test]
async fn guessing_is_slowed_down_and_the_client_elsewhere_is_not() {
    let guarded = Guarded::new().await;
    let served = Served::over(&guarded.api).await;
    let mut attempts = 0;
    let slowed = loop {
        let answer = asked_from(&served, "127.0.0.2", &format!("guess number {attempts} of many")).await;
        if answer.starts_with("HTTP/1.1 429 ") {
            break answer;
        }
        assert!(answer.starts_with("HTTP/1.1 401 "), "{answer}");
        attempts += 1;
        assert!(attempts < 40, "nobody is slowed down");
    };
    assert!(attempts >= 10, "a person may mistype: {attempts}");
    assert!(slowed.contains("retry-after: ") && slowed.contains("temporarily_unavailable"), "{slowed}");
    assert!(asked_from(&served, "127.0.0.2", ROOT_SECRET).await.starts_with("HTTP/1.1 429 "), "the right one is not told from others");
    assert!(asked_from(&served, "127.0.0.1", ROOT_SECRET).await.starts_with("HTTP/1.1 200 "));
    guarded.get("/v1/status", &guarded.root).await.is(200);
}

#[tokio::test]
async fn clients_are_made_changed_and_ended() {
    let guarded = Guarded::new().await;
    let (token, secret) = guarded.client("mail", &["events:read"], Some(&["order-*"])).await;
    let listed = guarded.get("/v1/clients", &guarded.root).await.is(200).json();
    assert_eq!(listed["clients"][0]["id"], "mail");
    assert_eq!(listed["clients"][0]["streams"], json!(["order-*"]));
    assert!(!listed.to_string().contains(&secret) && listed["clients"][0].get("secret").is_none());
    guarded.get("/v1/events", &token).await.is(200);
    // A client that may do more does not make tokens do more; one that may do less ends those that may.
    let more = json!({"scopes": ["events:read", "events:append"], "streams": ["order-*", "mail-*"]});
    guarded.put("/v1/clients/mail", &guarded.root, &more).await.is(200);
    guarded.get("/v1/events", &token).await.is(200);
    guarded.append("order-1", &token).await.problem(403, "forbidden");
    guarded.put("/v1/clients/mail", &guarded.root, &json!({"scopes": ["events:append"]})).await.is(200);
    guarded.get("/v1/events", &token).await.problem(401, "unauthenticated");
    // Its secret was kept meanwhile.
    let writer = guarded.token("mail", &secret, "").await;
    guarded.append("order-1", &writer).await.is(201);
    guarded.send("DELETE", "/v1/clients/mail", &guarded.root, &[], "").await.is(204);
    guarded.append("order-1", &writer).await.problem(401, "unauthenticated");
    guarded.grant("mail", &secret, &[]).await.is(401);
    guarded.get("/v1/clients/mail", &guarded.root).await.problem(404, "client-not-found");
    guarded.send("DELETE", "/v1/clients/mail", &guarded.root, &[], "").await.problem(404, "client-not-found");
    // One of the same name is another.
    let terms = json!({"scopes": ["events:append"], "secret": secret});
    guarded.put("/v1/clients/mail", &guarded.root, &terms).await.is(201);
    guarded.append("order-1", &writer).await.problem(401, "unauthenticated");
}

#[tokio::test]
async fn clients_that_cannot_be_are_refused() {
    let guarded = Guarded::new().await;
    for (id, terms, field) in [
        ("a%2Fb", json!({"scopes": []}), "id"),
        ("a%00", json!({"scopes": []}), "id"),
        ("%2E%2E", json!({"scopes": []}), "id"),
        ("root", json!({"scopes": []}), "id"),
        ("a", json!({"scopes": ["everything"]}), "scopes[0]"),
        ("a", json!({"scopes": [], "streams": ["$clients"]}), "streams"),
        ("a", json!({"scopes": [], "secret": "short"}), "secret"),
        ("a", json!({"streams": []}), "scopes"),
        ("a", json!({"scopes": [], "colour": 1}), "colour"),
    ] {
        let refused = guarded.put(&format!("/v1/clients/{id}"), &guarded.root, &terms).await;
        assert_eq!(refused.problem(400, "malformed-request")["field"], field, "{id} {terms}");
    }
}

#[tokio::test]
async fn secrets_are_nowhere_but_in_the_one_answer() {
    let guarded = Guarded::new().await;
    let (_, secret) = guarded.client("mail", &["events:read"], None).await;
    let events = guarded.get("/v1/events?include_system=true", &guarded.root).await.is(200).text();
    assert!(events.contains("ClientDefined") && events.contains("$argon2id$"), "{events}");
    assert!(!events.contains(&secret) && !events.contains(ROOT_SECRET));
}

async fn refreshed(guarded: &Guarded, client: (&str, &str), refresh: &str) -> crate::support::Answer {
    let form = [("grant_type", "refresh_token"), ("refresh_token", refresh), ("client_id", client.0), ("client_secret", client.1)];
    guarded.form("/oauth/token", &[], &form).await
}

#[tokio::test]
async fn refresh_tokens_rotate_and_one_that_is_used_twice_ends_all_of_them() {
    let guarded = Guarded::new().await;
    let (_, secret) = guarded.client("mail", &["events:read"], Some(&["order-*"])).await;
    let first = guarded.grant("mail", &secret, &[]).await.is(200).json();
    let second = refreshed(&guarded, ("mail", &secret), &text(&first, "refresh_token")).await.is(200).json();
    assert_ne!(first["refresh_token"], second["refresh_token"]);
    let third = refreshed(&guarded, ("mail", &secret), &text(&second, "refresh_token")).await.is(200).json();
    for token in [&first, &second, &third] {
        guarded.get("/v1/events", &text(token, "access_token")).await.is(200);
    }
    let stolen = refreshed(&guarded, ("mail", &secret), &text(&first, "refresh_token")).await.is(400).json();
    assert_eq!(stolen["error"], "invalid_grant");
    for token in [&first, &second, &third] {
        guarded.get("/v1/events", &text(token, "access_token")).await.problem(401, "unauthenticated");
        refreshed(&guarded, ("mail", &secret), &text(token, "refresh_token")).await.is(400);
    }
    // Another family goes on, and belongs to its client alone.
    let other = guarded.grant("mail", &secret, &[]).await.is(200).json();
    refreshed(&guarded, ("root", ROOT_SECRET), &text(&other, "refresh_token")).await.is(400);
    refreshed(&guarded, ("mail", &secret), &text(&other, "refresh_token")).await.is(200);
}

#[tokio::test]
async fn a_refresh_token_is_exchanged_once_however_many_try_at_once() {
    let guarded = Guarded::new().await;
    let refresh = text(&guarded.grant("root", ROOT_SECRET, &[]).await.is(200).json(), "refresh_token");
    let tries = (0..6).map(|_| refreshed(&guarded, ("root", ROOT_SECRET), &refresh));
    let answers = futures::future::join_all(tries).await;
    let good: Vec<Value> = answers.iter().filter(|answer| answer.status.as_u16() == 200).map(crate::support::Answer::json).collect();
    assert_eq!(good.len(), 1, "one at most, and here the first");
    guarded.get("/v1/status", &text(&good[0], "access_token")).await.problem(401, "unauthenticated");
}

#[tokio::test]
async fn a_narrower_token_is_asked_for_and_a_wider_one_is_not_given() {
    let guarded = Guarded::new().await;
    let (_, secret) = guarded.client("mail", &["events:read", "events:append"], Some(&["order-*"])).await;
    let narrower = [("scope", "events:read"), ("streams", "order-1 order-2-*")];
    let token = guarded.grant("mail", &secret, &narrower).await.is(200).json();
    let access = text(&token, "access_token");
    let form = [("client_id", "mail"), ("client_secret", secret.as_str()), ("token", access.as_str())];
    let found = guarded.form("/oauth/introspect", &[], &form).await.is(200).json();
    assert_eq!((&found["active"], &found["scope"]), (&json!(true), &json!("events:read")));
    assert_eq!(found["streams"], json!(["order-1", "order-2-*"]));
    // What comes of its refresh token is not wider either.
    let form = |scope: &'static str| {
        let refresh = text(&token, "refresh_token");
        let (guarded, secret) = (&guarded, secret.clone());
        async move {
            let form = [
                ("grant_type", "refresh_token"),
                ("refresh_token", &refresh),
                ("scope", scope),
                ("client_id", "mail"),
                ("client_secret", &secret),
            ];
            guarded.form("/oauth/token", &[], &form).await
        }
    };
    assert_eq!(form("events:append").await.is(400).json()["error"], "invalid_scope");
    assert_eq!(form("events:read").await.is(200).json()["scope"], "events:read");
    for wider in [[("scope", "admin")], [("streams", "order*")], [("streams", "*")], [("streams", "mail-1")]] {
        assert_eq!(guarded.grant("mail", &secret, &wider).await.is(400).json()["error"], "invalid_scope", "{wider:?}");
    }
}

#[tokio::test]
async fn j15_a_revoked_token_counts_nowhere_any_more() {
    let guarded = Guarded::new().await;
    let other_server = guarded.again().await;
    let (token, secret) = guarded.client("mail", &["events:read"], None).await;
    let other = guarded.token("mail", &secret, "").await;
    // A client that another server has made is looked for, and not refused until the next time that somebody looks.
    assert!(other_server.authenticate_or_look(&token).await.is_ok());
    let credentials = [("client_id", "mail"), ("client_secret", secret.as_str())];
    let revoke = |token: String| {
        let (guarded, credentials) = (&guarded, credentials);
        async move { guarded.form("/oauth/revoke", &[], &[credentials[0], credentials[1], ("token", &token)]).await }
    };
    // Others' tokens are not theirs to end, and nothing tells them so.
    revoke(guarded.root.clone()).await.is(200);
    revoke("no.token.atall".to_owned()).await.is(200);
    guarded.get("/v1/status", &guarded.root).await.is(200);
    revoke(token.clone()).await.is(200);
    guarded.get("/v1/events", &token).await.problem(401, "unauthenticated");
    guarded.get("/v1/events", &other).await.is(200);
    until("the revocation", async || other_server.authenticate(&token).is_err()).await;
    // After a restart, too.
    assert!(guarded.again().await.authenticate(&token).is_err());
    assert!(guarded.again().await.authenticate(&other).is_ok());
    // An administrator ends any, with a token instead of a secret.
    let bearer = format!("Bearer {}", guarded.root);
    let admin = ("authorization", bearer.as_str());
    guarded.form("/oauth/revoke", &[admin], &[("token", &other)]).await.is(200);
    guarded.get("/v1/events", &other).await.problem(401, "unauthenticated");
    assert_eq!(guarded.form("/oauth/introspect", &[admin], &[("token", &other)]).await.is(200).json(), json!({"active": false}));
    let reader = format!("Bearer {}", guarded.token("root", ROOT_SECRET, "events:read").await);
    guarded.form("/oauth/introspect", &[("authorization", &reader)], &[("token", &guarded.root)]).await.is(401);
}

#[tokio::test]
async fn revoking_a_refresh_token_ends_what_came_of_it() {
    let guarded = Guarded::new().await;
    let token = guarded.grant("root", ROOT_SECRET, &[]).await.is(200).json();
    let form = [("client_id", "root"), ("client_secret", ROOT_SECRET), ("token", &text(&token, "refresh_token"))];
    assert_eq!(guarded.form("/oauth/introspect", &[], &form).await.is(200).json()["token_type"], "refresh_token");
    guarded.form("/oauth/revoke", &[], &form).await.is(200);
    guarded.get("/v1/status", &text(&token, "access_token")).await.problem(401, "unauthenticated");
    refreshed(&guarded, ("root", ROOT_SECRET), &text(&token, "refresh_token")).await.is(400);
    assert_eq!(guarded.form("/oauth/introspect", &[], &form).await.is(200).json(), json!({"active": false}));
}

#[tokio::test]
async fn keys_rotate_by_call_and_nobody_is_logged_out() {
    let guarded = Guarded::new().await;
    let before = guarded.get("/.well-known/jwks.json", "").await.is(200);
    assert_eq!(before.header("cache-control"), "public, max-age=300");
    let etag = before.header("etag").to_owned();
    guarded.api.get_with("/.well-known/jwks.json", &[("if-none-match", &etag)]).await.is(304);
    let rotated = guarded.send("POST", "/v1/keys/rotate", &guarded.root, &[], "").await.is(200).json();
    let states: Vec<&str> = rotated["keys"].as_array().unwrap().iter().filter_map(|key| key["state"].as_str()).collect();
    assert_eq!(states, ["retiring", "active", "next"]);
    let after = guarded.get("/.well-known/jwks.json", "").await.is(200);
    assert_ne!(after.header("etag"), etag);
    let kids = |jwks: &Value| -> Vec<String> { jwks["keys"].as_array().unwrap().iter().map(|key| text(key, "kid")).collect() };
    assert_eq!(kids(&after.json())[..2], kids(&before.json())[..], "the one that signs now was published before");
    guarded.get("/v1/status", &guarded.root).await.is(200);
    let new = guarded.token("root", ROOT_SECRET, "").await;
    guarded.get("/v1/status", &new).await.is(200);
    // Both count after a restart.
    let again = guarded.again().await;
    assert!(again.authenticate(&guarded.root).is_ok() && again.authenticate(&new).is_ok());
    for text in [after.text(), guarded.get("/v1/keys", &guarded.root).await.is(200).text()] {
        assert!(!text.contains("\"d\"") && !text.contains("sealed"), "{text}");
    }
}

#[tokio::test]
async fn a_rotation_under_load_refuses_nobody() {
    let guarded = Guarded::new().await;
    let work = async {
        for number in 0..40 {
            let token = guarded.token("root", ROOT_SECRET, "events:append").await;
            guarded.append(&format!("order-{number}"), &token).await.is(201);
        }
    };
    let held = async {
        for _ in 0..200 {
            guarded.append("order-held", &guarded.root).await.is(201);
            tokio::task::yield_now().await;
        }
    };
    let rotate = async {
        for _ in 0..8 {
            guarded.send("POST", "/v1/keys/rotate", &guarded.root, &[], "").await.is(200);
        }
    };
    within(futures::future::join3(work, held, rotate)).await;
}

#[tokio::test]
async fn the_metadata_name_what_there_is() {
    let guarded = Guarded::with(|settings| settings.issuer = Some("https://factum.example".to_owned())).await;
    let found = guarded.get("/.well-known/oauth-authorization-server", "").await.is(200).json();
    assert_eq!(found["issuer"], "https://factum.example");
    assert_eq!(found["token_endpoint"], "https://factum.example/oauth/token");
    assert_eq!(found["jwks_uri"], "https://factum.example/.well-known/jwks.json");
    assert!(found["grant_types_supported"].as_array().unwrap().contains(&json!("refresh_token")));
    guarded.get("/v1/status", &guarded.root).await.is(200);
}
