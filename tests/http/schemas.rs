//! Schemas: data that breaks its shape is not stored, and old data reads in the newest one.

use serde_json::Value;
use serde_json::json;

use crate::feeds::Reader;
use crate::support::Answer;
use crate::support::Api;
use crate::support::JSON;
use crate::support::NDJSON;
use crate::support::SSE;
use crate::support::request;

const PAID: &str = "/v1/schemas/Paid/1";

fn first_shape() -> Value {
    json!({"schema": {"type": "object", "properties": {"amount": {"type": "number", "minimum": 0}}, "required": ["amount"]}})
}

/// Cents instead of an amount.
fn second_shape() -> Value {
    json!({
        "schema": {"type": "object", "properties": {"cents": {"type": "integer"}}, "required": ["cents"], "additionalProperties": false},
        "upcast": "(data, event) => { if (data.amount === 13) throw new Error('unlucky'); return { cents: Math.round(data.amount * 100) }; }",
        "compatibility": "none",
    })
}

/// A stream with amounts of the first shape, and the second shape on top.
async fn upcast(amounts: &[u64]) -> Api {
    let api = Api::new().await;
    api.register("Paid/1", &first_shape()).await.is(201);
    for amount in amounts {
        api.append("order-1", "Paid", &json!({"amount": amount})).await.is(201);
    }
    api.register("Paid/2", &second_shape()).await.is(201);
    api
}

#[tokio::test]
async fn a_schema_is_registered_told_and_stays() {
    let api = Api::new().await;
    let made = api.register("Paid/1", &first_shape()).await.is(201).json();
    assert_eq!(made, json!({"type": "Paid", "schema_version": 1, "change": "created"}));
    assert_eq!(api.register("Paid/1", &first_shape()).await.is(200).json()["change"], "same");
    let spaced = first_shape().to_string().replace(':', " :\n ");
    assert_eq!(api.put(PAID, &[JSON], &spaced).await.is(200).json()["change"], "same", "the same in other words");
    api.register("Paid/1", &json!({"schema": true})).await.problem(409, "definition-exists");
    let told = api.get(PAID).await.is(200);
    let mut expected = first_shape();
    expected["type"] = json!("Paid");
    expected["schema_version"] = json!(1);
    assert_eq!(told.json(), expected);
    api.get_with(PAID, &[("if-none-match", told.header("etag"))]).await.is(304);
    api.register("Paid/2", &second_shape()).await.is(201);
    api.register("a%2Fb/1", &json!({"schema": {}})).await.is(201);
    assert_eq!(api.get("/v1/schemas/Paid").await.is(200).json(), json!({"type": "Paid", "versions": [1, 2]}));
    assert_eq!(
        api.get("/v1/schemas").await.is(200).json(),
        json!({"schemas": [{"type": "Paid", "schema_version": 2, "versions": [1, 2]}, {"type": "a/b", "schema_version": 1, "versions": [1]}], "next": null})
    );
    let page = api.get("/v1/schemas?limit=1").await.is(200);
    assert_eq!((page.json()["next"].clone(), page.header("link")), (json!("Paid"), "</v1/schemas?limit=1&after=Paid>; rel=\"next\""));
    assert_eq!(api.get("/v1/schemas/a%2Fb/1").await.is(200).json()["type"], "a/b");
    api.get("/v1/schemas/Paid/3").await.problem(404, "definition-not-found");
    api.get("/v1/schemas/Other").await.problem(404, "definition-not-found");
    let answer = api.send(request("DELETE", PAID, &[], "")).await;
    answer.problem(405, "method-not-allowed");
}

#[tokio::test]
async fn what_is_no_schema_is_refused_with_the_place() {
    let api = Api::new().await;
    for (path, body, field) in [
        ("/v1/schemas/Paid/0", "{}", "schema_version"),
        ("/v1/schemas/Paid/01", "{}", "schema_version"),
        ("/v1/schemas/Paid/70000", "{}", "schema_version"),
        ("/v1/schemas/%00/1", r#"{"schema": {}}"#, "type"),
        ("/v1/schemas/$type/1", r#"{"schema": {}}"#, "type"),
        (PAID, "{", "body"),
        (PAID, "{}", "schema"),
        (PAID, r#"{"schema": 1}"#, "schema"),
        (PAID, r#"{"schema": {}, "upcast": 1}"#, "upcast"),
        (PAID, r#"{"schema": {}, "compatible": 1}"#, "compatible"),
        (PAID, r#"{"schema": {}, "compatibility": "some"}"#, "compatibility"),
        ("/v1/schemas/Paid/1?dry=1", r#"{"schema": {}}"#, "dry"),
    ] {
        assert_eq!(api.put(path, &[JSON], body).await.problem(400, "malformed-request")["field"], field, "{path} {body}");
    }
    api.put(PAID, &[], "{}").await.problem(415, "unsupported-media-type");
    let long = format!(r#"{{"schema": {{"description": "{}"}}}}"#, "x".repeat(256 << 10));
    api.put(PAID, &[JSON], &long).await.problem(413, "payload-too-large");
    let problem =
        api.register("Paid/1", &json!({"schema": {"properties": {"a": {"type": "nonsense"}}}})).await.problem(422, "invalid-definition");
    assert!(problem["pointer"].as_str().is_some_and(|pointer| pointer.contains("/properties/a")), "{problem}");
    api.register("Paid/2", &json!({"schema": {}})).await.problem(422, "invalid-definition");
    api.assert_empty("refused").await;
    api.register("Paid/1", &first_shape()).await.is(201);
    let narrower = json!({"schema": {"type": "object", "properties": {"amount": {"type": "string"}}, "required": ["amount", "by"]}});
    let problem = api.register("Paid/2", &narrower).await.problem(422, "invalid-definition");
    assert!(problem["breaks"].as_array().is_some_and(|breaks| breaks.iter().all(|found| found["pointer"].is_string())), "{problem}");
    let broken = json!({"schema": {}, "upcast": "(data) => {\n  return data..x;\n}"});
    let problem = api.register("Paid/2", &broken).await.problem(422, "invalid-definition");
    assert_eq!((&problem["what"], &problem["line"]), (&json!("schemas/Paid/2.json"), &json!(2)), "{problem}");
}

#[tokio::test]
async fn a_dry_run_registers_nothing() {
    let api = Api::new().await;
    let path = "/v1/schemas/Paid/1?dry_run=true";
    let json = api.put(path, &[JSON], &first_shape().to_string()).await.is(200).json();
    assert_eq!(json, json!({"type": "Paid", "schema_version": 1, "change": "created", "dry_run": true}));
    api.get(PAID).await.problem(404, "definition-not-found");
    api.append("order-1", "Paid", &json!("anything")).await.is(201);
}

#[tokio::test]
async fn data_that_breaks_its_schema_is_not_stored() {
    let api = Api::new().await;
    api.register("Paid/1", &first_shape()).await.is(201);
    let events = r#"{"events": [{"type": "Paid", "data": {"amount": 1}}, {"type": "Paid", "data": {"amount": -1}}]}"#;
    let problem = api.post("/v1/streams/order-1/events", events).await.problem(422, "schema-violation");
    assert_eq!((&problem["field"], &problem["event_type"]), (&json!("events[1].data"), &json!("Paid")));
    assert_eq!((&problem["schema_version"], &problem["pointer"]), (&json!(1), &json!("/amount")));
    assert_eq!(problem["violations"][0]["pointer"], "/amount");
    let body = r#"{"events": [{"type": "Paid", "data": {"amount": 1}, "schema_version": 2}]}"#;
    let problem = api.post("/v1/streams/order-1/events", body).await.problem(422, "schema-violation");
    assert_eq!((&problem["field"], problem.get("pointer")), (&json!("events[0].schema_version"), None));
    let transaction = json!({"appends": [{"stream": "order-1", "events": [{"type": "Paid", "data": {}}]}]}).to_string();
    let problem = api.post("/v1/transactions", &transaction).await.problem(422, "schema-violation");
    assert_eq!(problem["field"], "appends[0].events[0].data");
    assert_eq!(api.get("/v1/events").await.json()["events"], json!([]));
    let stored = api.append("order-1", "Paid", &json!({"amount": 1})).await.is(201).json();
    assert_eq!(stored["last_version"], 1);
}

#[tokio::test]
async fn a_line_of_an_import_that_breaks_its_schema_ends_it_there() {
    let api = Api::new().await;
    api.register("Paid/1", &first_shape()).await.is(201);
    let line = |amount: i64| format!("{{\"stream\":\"order-1\",\"type\":\"Paid\",\"data\":{{\"amount\":{amount}}}}}\n");
    let body = line(1) + "\n" + &line(2) + &line(-3) + &line(4);
    let lines = api.send(request("POST", "/v1/import", &[("content-type", "application/x-ndjson")], body)).await.is(200).lines();
    let error = &lines.last().unwrap()["$error"];
    assert_eq!((&error["type"], &error["line"]), (&json!("urn:factum:problem:schema-violation"), &json!(4)));
    assert_eq!((&error["pointer"], &lines[lines.len() - 2]["imported"]), (&json!("/amount"), &json!(2)), "what came before stays");
    assert_eq!(api.get("/v1/streams/order-1").await.json()["version"], 2);
}

fn shapes(events: &[Value]) -> Vec<(u64, Value)> {
    events.iter().map(|event| (event["schema_version"].as_u64().expect("a number"), event["data"].clone())).collect()
}

fn page(answer: &Answer) -> Vec<(u64, Value)> {
    shapes(answer.json()["events"].as_array().expect("events"))
}

#[tokio::test]
async fn old_events_read_in_the_newest_shape_however_they_are_read() {
    let api = upcast(&[1, 2]).await;
    api.append("order-1", "Paid", &json!({"cents": 300})).await.is(201);
    api.append("order-1", "Paid", &json!({"amount": 3})).await.problem(422, "schema-violation");
    let new = vec![(2, json!({"cents": 100})), (2, json!({"cents": 200})), (2, json!({"cents": 300}))];
    let old = vec![(1, json!({"amount": 1})), (1, json!({"amount": 2})), (2, json!({"cents": 300}))];
    let id = api.get("/v1/streams/order-1/events/1").await.json()["id"].as_str().unwrap().to_owned();
    for (raw, expected) in [("", &new), ("raw=true", &old), ("raw=false", &new)] {
        for path in ["/v1/streams/order-1/events", "/v1/events"] {
            let path = format!("{path}?{raw}");
            assert_eq!(page(&api.get(&path).await.is(200)), *expected, "{path}");
            assert_eq!(shapes(&api.get_with(&path, &[NDJSON]).await.is(200).lines()), *expected, "{path}, lines");
            let mut reader = Reader::open(&api, &path, &[SSE]).await;
            let mut seen = Vec::new();
            while seen.len() < 3 {
                seen.push(reader.message().await.expect("an event").2);
            }
            assert_eq!(shapes(&seen), *expected, "{path}, SSE");
            let mut reader = Reader::open(&api, &format!("{path}&follow=true"), &[NDJSON]).await;
            let mut seen = Vec::new();
            while seen.len() < 3 {
                seen.push(reader.line().await.expect("an event"));
            }
            assert_eq!(shapes(&seen), *expected, "{path}, followed");
        }
        for path in [format!("/v1/streams/order-1/events/1?{raw}"), format!("/v1/events/{id}?{raw}")] {
            assert_eq!(shapes(&[api.get(&path).await.is(200).json()]), expected[..1], "{path}");
        }
    }
    api.get("/v1/events?raw=1").await.problem(400, "malformed-request");
    assert_eq!(api.get("/v1/aggregates/order/1").await.is(200).json()["state"], json!({"cents": 300}));
}

#[tokio::test]
async fn a_new_shape_is_a_new_etag() {
    let api = Api::new().await;
    api.register("Paid/1", &first_shape()).await.is(201);
    api.append("order-1", "Paid", &json!({"amount": 1})).await.is(201);
    for path in ["/v1/streams/order-1/events", "/v1/streams/order-1/events/1", "/v1/events"] {
        let etag = api.get(path).await.is(200).header("etag").to_owned();
        api.get_with(path, &[("if-none-match", &etag)]).await.is(304);
        if path == "/v1/events" {
            api.register("Paid/2", &second_shape()).await.is(201);
            assert_eq!(page(&api.get_with(path, &[("if-none-match", &etag)]).await.is(200))[0].0, 2);
        }
    }
    let shaped = api.get("/v1/streams/order-1/events/1").await.is(200);
    let stored = api.get("/v1/streams/order-1/events/1?raw=true").await.is(200);
    assert_ne!(shaped.header("etag"), stored.header("etag"));
}

#[tokio::test]
async fn an_upcaster_that_fails_is_seen_on_its_event_alone() {
    let api = upcast(&[1, 13, 2]).await;
    let events = api.get("/v1/streams/order-1/events").await.is(200).json()["events"].clone();
    assert_eq!((&events[0]["data"], &events[2]["data"]), (&json!({"cents": 100}), &json!({"cents": 200})));
    let failed = &events[1];
    assert_eq!((&failed["data"], &failed["error"]["type"]), (&Value::Null, &json!("urn:factum:problem:upcast-failed")));
    assert!(failed["error"]["detail"].as_str().is_some_and(|detail| detail.contains("unlucky")), "{failed}");
    assert!(events[0].get("error").is_none() && events[2].get("error").is_none(), "{events}");
    let single = api.get("/v1/streams/order-1/events/2").await.is(200);
    assert_eq!((single.json()["data"].clone(), single.json()["error"].is_object()), (Value::Null, true));
    assert_eq!(api.get("/v1/streams/order-1/events/2?raw=true").await.is(200).json()["data"], json!({"amount": 13}));
    let problem = api.get("/v1/aggregates/order/1").await.problem(422, "history-unreadable");
    assert_eq!((&problem["stream"], &problem["version"]), (&json!("order-1"), &json!(2)));
    assert_eq!(api.get("/v1/aggregates/order/1?version=1").await.is(200).json()["state"], json!({"cents": 100}));
    api.get("/v1/aggregates/order/1/history").await.problem(422, "history-unreadable");
}
