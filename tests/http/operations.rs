//! Operations: health, status, and an interface that describes itself.

use std::collections::BTreeSet;

use serde_json::Value;
use serde_json::json;

use crate::support::Api;
use crate::support::request;

#[tokio::test]
async fn a_healthy_server_is_live_and_ready_and_says_how_it_is() {
    let api = Api::new().await;
    assert_eq!(api.get("/health/live").await.is(200).json(), json!({"status": "ok"}));
    assert_eq!(api.get("/health/ready").await.is(200).json(), json!({"status": "ok"}));
    api.fill("order-1", 3).await;
    let status = api.get("/v1/status").await.is(200).json();
    assert_eq!(status["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!((&status["durability"], &status["cursor"]), (&json!("strict"), &json!("3")));
    assert!(status["uptime_seconds"].is_u64());
    let shard = &status["shards"][0];
    assert_eq!((&shard["shard"], &shard["state"], &shard["position"], &shard["streams"]), (&json!(0), &json!("ok"), &json!(3), &json!(1)));
    let receipt = shard["receipt"]["hash"].as_str().unwrap();
    assert!(receipt.len() == 64 && receipt.bytes().all(|byte| byte.is_ascii_hexdigit()), "{receipt}");
    assert_eq!(shard["opened"]["damage"], Value::Null);
}

#[tokio::test]
async fn the_status_says_what_is_not_well_and_what_to_do() {
    let api = Api::new().await;
    let status = api.get("/v1/status").await.is(200).json();
    assert_eq!((&status["is_well"], &status["troubles"]), (&json!(true), &json!([])));
    assert!(status["shards"][0]["available_bytes"].is_u64(), "{status}");
    let toml = [("content-type", "application/toml")];
    let definition = "[columns]\nid = \"text primary key\"\nn = \"bigint\"\n[on.t]\nkey = \"$.stream\"\nset = { n = \"$.data\" }\n";
    api.put("/v1/projections/rows", &toml, definition).await.is(201);
    api.put("/v1/projections/rests", &toml, definition).await.is(201);
    api.post("/v1/projections/rests/pause", "").await.is(200);
    api.put("/v1/subscriptions/mail", &[("content-type", "application/json")], "{}").await.is(201);
    let written = api.append("order-1", "t", &json!("hush")).await.is(201);
    // It never gets there: the answer comes when it has failed.
    let min = [("factum-min-position", written.header("factum-position")), ("prefer", "wait=1")];
    api.get_with("/v1/views/rows", &min).await.problem(503, "read-model-behind");
    let status = api.get("/v1/status").await.is(200).json();
    assert_eq!(status["is_well"], false);
    let told: Vec<String> = status["troubles"]
        .as_array()
        .unwrap()
        .iter()
        .map(|trouble| format!("{} {} {}", trouble["severity"], trouble["part"], trouble["name"]).replace('"', ""))
        .collect();
    assert_eq!(told, ["critical projection rows", "warning projection rests", "warning subscription mail"], "{status}");
    assert!(status["troubles"][0]["todo"].as_str().unwrap().contains("factum projections rows"), "{status}");
    assert!(!status.to_string().contains("hush"), "what events hold is not told to everybody who may look: {status}");
    let of = |part: &str, name: &str| {
        let parts = status[part].as_array().unwrap();
        parts.iter().find(|one| one["name"] == name).cloned().unwrap_or_default()
    };
    assert_eq!((&of("projections", "rows")["state"], &of("projections", "rests")["state"]), (&json!("failed"), &json!("paused")));
    let mail = of("subscriptions", "mail");
    assert_eq!(
        (&mail["state"], &mail["consumers"], &mail["lag_events"]),
        (&json!("idle"), &json!(0), &json!(status["shards"][0]["position"]))
    );
}

#[tokio::test]
async fn the_request_id_comes_back() {
    let api = Api::new().await;
    assert_eq!(api.get_with("/health/live", &[("x-request-id", "abc-1")]).await.header("x-request-id"), "abc-1");
    let drawn = api.get_with("/health/live", &[("x-request-id", "not an id")]).await.header("x-request-id").to_owned();
    assert_eq!(drawn.len(), 16, "{drawn}");
    assert_ne!(api.get("/nowhere").await.header("x-request-id"), drawn);
}

/// The value of a series in the text format.
fn series(text: &str, name: &str) -> Option<f64> {
    text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.parse().ok())
}

#[tokio::test]
async fn measurements_are_of_the_projections_in_force() {
    let api = Api::new().await;
    api.get("/metrics").await.problem(404, "path-not-found");
    factum::telemetry::metrics::install().unwrap();
    let api = Api::new().await;
    let definition =
        "on_error = \"park\"\n[columns]\nid = \"text primary key\"\nn = \"bigint\"\n[on.t]\nkey = \"$.stream\"\nset = { n = \"$.data\" }\n";
    let toml = [("content-type", "application/toml")];
    for name in ["kept", "gone", "a%20%22b"] {
        api.put(&format!("/v1/projections/{name}"), &toml, definition).await.is(201);
    }
    api.fill("order-1", 3).await;
    let written = api.append("order-1", "t", &json!("no number")).await.is(201);
    let min = [("factum-min-position", written.header("factum-position")), ("prefer", "wait=30")];
    for name in ["kept", "gone", "a%20%22b"] {
        api.get_with(&format!("/v1/projections/{name}"), &min).await.is(200);
    }
    let answer = api.get("/metrics").await.is(200);
    assert_eq!(answer.header("content-type"), "text/plain; version=0.0.4; charset=utf-8");
    let text = answer.text();
    for (name, expected) in [
        (r#"factum_projection_state{projection="kept",state="running"}"#, 1.0),
        (r#"factum_projection_state{projection="kept",state="failed"}"#, 0.0),
        (r#"factum_projection_lag_events{projection="kept"}"#, 0.0),
        (r#"factum_projection_parked_total{projection="kept"}"#, 1.0),
        (r#"factum_projection_events_total{projection="kept"}"#, 4.0),
        (r#"factum_projection_events_total{projection="a \"b"}"#, 4.0),
        (r#"factum_projection_retries_total{projection="gone"}"#, 0.0),
    ] {
        assert_eq!(series(&text, name), Some(expected), "{name} in:\n{text}");
    }
    let batches = series(&text, r#"factum_projection_batch_seconds_count{projection="kept"}"#).unwrap();
    assert_eq!(series(&text, r#"factum_projection_batch_seconds_bucket{projection="kept",le="+Inf"}"#), Some(batches));
    // Each has its type and its meaning, once.
    for line in text.lines().filter(|line| line.starts_with("factum_")) {
        let name = line.split(['{', ' ']).next().unwrap();
        let family = ["_bucket", "_sum", "_count"].iter().find_map(|end| name.strip_suffix(end)).unwrap_or(name);
        for head in [format!("# HELP {family} "), format!("# TYPE {family} ")] {
            assert_eq!(text.lines().filter(|line| line.starts_with(&head)).count(), 1, "{head}\n{text}");
        }
    }
    // What is gone has no series any more.
    assert!(text.contains("projection=\"gone\""));
    api.send(request("DELETE", "/v1/projections/gone", &[], "")).await.is(204);
    let answer = api.get("/metrics").await.is(200);
    assert!(answer.text().contains("projection=\"kept\"") && !answer.text().contains("gone"), "{}", answer.text());
}

fn references<'a>(value: &'a Value, found: &mut BTreeSet<&'a str>) {
    match value {
        Value::Object(members) => {
            for (name, inner) in members {
                if let (true, Some(target)) = (name == "$ref", inner.as_str()) {
                    found.insert(target);
                }
                references(inner, found);
            }
        }
        Value::Array(elements) => elements.iter().for_each(|inner| references(inner, found)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

#[tokio::test]
#[expect(clippy::too_many_lines, reason = "every call of the interface, by name")]
async fn the_description_is_whole() {
    let api = Api::new().await;
    let document = api.get("/openapi.json").await.is(200).json();
    assert!(document["openapi"].as_str().unwrap().starts_with("3."));
    let mut found = BTreeSet::new();
    references(&document, &mut found);
    for target in found {
        let path = target.strip_prefix('#').expect("a reference within the document");
        assert!(document.pointer(path).is_some(), "{target} is missing");
    }
    let calls: BTreeSet<String> = document["paths"]
        .as_object()
        .unwrap()
        .iter()
        .flat_map(|(path, item)| item.as_object().unwrap().keys().map(move |method| format!("{} {path}", method.to_uppercase())))
        .collect();
    let expected = [
        "DELETE /v1/aggregates/{category}",
        "DELETE /v1/clients/{id}",
        "DELETE /v1/streams/{stream}",
        "GET /.well-known/jwks.json",
        "GET /.well-known/oauth-authorization-server",
        "GET /health/live",
        "GET /health/ready",
        "GET /openapi.json",
        "GET /v1/aggregates",
        "GET /v1/aggregates/{category}",
        "GET /v1/aggregates/{category}/{id}",
        "GET /v1/aggregates/{category}/{id}/history",
        "GET /v1/aggregates/{category}/{id}/snapshots",
        "GET /v1/categories",
        "GET /v1/clients",
        "GET /v1/clients/{id}",
        "GET /v1/events",
        "GET /v1/events/{id}",
        "GET /v1/keys",
        "GET /v1/schemas",
        "GET /v1/schemas/{type}",
        "GET /v1/schemas/{type}/{schema_version}",
        "GET /v1/log-level",
        "DELETE /v1/shards/{id}",
        "GET /v1/jobs",
        "GET /v1/jobs/{id}",
        "POST /v1/jobs/{id}/cancel",
        "POST /v1/jobs/{id}/pause",
        "POST /v1/jobs/{id}/resume",
        "POST /v1/shards",
        "POST /v1/shards/rebalance",
        "GET /v1/shards",
        "GET /v1/shards/locate/{stream}",
        "GET /v1/status",
        "GET /metrics",
        "GET /v1/streams",
        "GET /v1/streams/{stream}",
        "GET /v1/streams/{stream}/events",
        "GET /v1/streams/{stream}/events/{version}",
        "GET /v1/types",
        "POST /oauth/introspect",
        "POST /oauth/revoke",
        "POST /oauth/token",
        "POST /v1/aggregates/{category}/{id}/commands/{name}",
        "POST /v1/import",
        "POST /v1/keys/rotate",
        "POST /v1/streams/{stream}/events",
        "POST /v1/transactions",
        "PUT /v1/aggregates/{category}",
        "PUT /v1/aggregates/{category}/{id}/snapshots/{version}",
        "PUT /v1/clients/{id}",
        "PUT /v1/schemas/{type}/{schema_version}",
        "PUT /v1/streams/{stream}/retention",
        "DELETE /v1/projections/{projection}",
        "DELETE /v1/subscriptions/{name}",
        "GET /v1/projections",
        "GET /v1/projections/{projection}",
        "GET /v1/projections/{projection}/definition",
        "GET /v1/projections/{projection}/parked",
        "GET /v1/subscriptions",
        "GET /v1/subscriptions/{name}",
        "GET /v1/subscriptions/{name}/events",
        "GET /v1/subscriptions/{name}/parked",
        "GET /v1/views",
        "GET /v1/views/{view}",
        "GET /v1/views/{view}/{key}",
        "POST /v1/projections/{projection}/pause",
        "POST /v1/projections/{projection}/rebuild",
        "POST /v1/projections/{projection}/resume",
        "POST /v1/projections/{projection}/skip",
        "POST /v1/subscriptions/{name}/ack",
        "POST /v1/subscriptions/{name}/nack",
        "POST /v1/subscriptions/{name}/parked/replay",
        "POST /v1/subscriptions/{name}/parked/skip",
        "PUT /v1/log-level",
        "PUT /v1/projections/{projection}",
        "PUT /v1/subscriptions/{name}",
    ];
    let of_analytics = [
        "DELETE /v1/exports/{export}",
        "GET /v1/exports",
        "GET /v1/exports/{export}",
        "GET /v1/exports/{export}/definition",
        "GET /v1/tables",
        "POST /v1/exports/{export}/flush",
        "POST /v1/sql",
        "PUT /v1/exports/{export}",
    ];
    let of_analytics = of_analytics.into_iter().filter(|_| cfg!(feature = "analytics"));
    assert_eq!(calls, expected.into_iter().chain(of_analytics).map(str::to_owned).collect::<BTreeSet<_>>());
    let event = &document["components"]["schemas"]["NewEvent"];
    assert_eq!(event["required"], json!(["type", "data"]), "{event}");
    assert!(event["properties"].get("stream").is_none(), "{event}");
    assert_eq!(factum::http::openapi_json().unwrap().parse::<Value>().unwrap(), document);
}

#[tokio::test]
async fn the_pages_need_nothing_from_elsewhere() {
    let api = Api::new().await;
    for path in ["/", "/docs"] {
        let page = api.get(path).await.is(200);
        assert_eq!(page.header("content-type"), "text/html; charset=utf-8");
        assert!(!page.header("content-security-policy").is_empty());
        assert!(!page.text().contains("http://") && !page.text().contains("https://"), "{path}");
    }
}

#[test]
fn every_problem_is_catalogued_once() {
    let entries = factum::http::problem::catalogue();
    let slugs: BTreeSet<&str> = entries.iter().map(|entry| entry.slug).collect();
    assert_eq!(slugs.len(), entries.len());
    assert!(entries.iter().all(|entry| entry.status.is_client_error() || entry.status.is_server_error()));
    assert!(entries.iter().all(|entry| !entry.meaning.is_empty() && !entry.action.is_empty()));
    assert!(entries.is_sorted_by_key(|entry| entry.status), "ordered by status");
    for promised in ["malformed-request", "wrong-expected-version", "condition-failed", "event-id-reused", "stream-deleted", "storage-full"]
    {
        assert!(slugs.contains(promised), "{promised}");
    }
}
