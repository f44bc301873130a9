//! Consumer groups over HTTP: definitions, streams and batches of deliveries, what becomes of them, and what is refused.

use std::time::Duration;

use axum::body::Body;
use factum::http::HttpSettings;
use serde_json::Value;
use serde_json::json;
use tokio::io::AsyncWriteExt;

use crate::feeds::Reader;
use crate::support::Answer;
use crate::support::Api;
use crate::support::JSON;
use crate::support::NDJSON;
use crate::support::SSE;
use crate::support::Served;
use crate::support::read_until;
use crate::support::request;

const TOML: (&str, &str) = ("content-type", "application/toml");

async fn define(api: &Api, name: &str, definition: &str) -> Answer {
    api.put(&format!("/v1/subscriptions/{name}"), &[JSON], definition).await
}

async fn pull(api: &Api, name: &str) -> Vec<Value> {
    let answer = api.get_with(&format!("/v1/subscriptions/{name}/events"), &[("prefer", "wait=1")]).await.is(200);
    answer.json()["deliveries"].as_array().expect("an array").clone()
}

async fn status(api: &Api, name: &str) -> Value {
    api.get(&format!("/v1/subscriptions/{name}")).await.is(200).json()
}

async fn ack(api: &Api, name: &str, deliveries: &[Value]) -> Value {
    let ids: Vec<&Value> = deliveries.iter().map(|delivery| &delivery["delivery"]).collect();
    api.post(&format!("/v1/subscriptions/{name}/ack"), &json!({ "deliveries": ids }).to_string()).await.is(200).json()
}

#[tokio::test]
async fn a_definition_is_put_listed_changed_and_ended() {
    let api = Api::new().await;
    let created = define(&api, "mail", r#"{"filter": {"categories": ["order"]}, "max_in_flight": 5}"#).await.is(201).json();
    assert_eq!(created, json!({"name": "mail", "change": "created", "format": "json"}));
    let toml = "max_in_flight = 5\nfilter.categories = [\"order\"]\n";
    assert_eq!(api.put("/v1/subscriptions/mail", &[TOML], toml).await.is(200).json()["change"], "same");
    let dry = api.put("/v1/subscriptions/mail?dry_run=true", &[TOML], "").await.is(200).json();
    assert_eq!((&dry["change"], &dry["dry_run"]), (&"changed".into(), &true.into()));
    define(&api, "bill", "{}").await.is(201);
    let found = status(&api, "mail").await;
    assert_eq!((&found["state"], &found["max_in_flight"], &found["checkpoint"]), (&"idle".into(), &5.into(), &"0".into()));
    assert_eq!((&found["filter"]["categories"], &found["after"], &found["ordering"]), (&json!(["order"]), &"0".into(), &"stream".into()));
    let list = api.get("/v1/subscriptions?limit=1").await.is(200).json();
    assert_eq!((&list["subscriptions"][0]["name"], &list["next"]), (&"bill".into(), &"bill".into()));
    let rest = api.get("/v1/subscriptions?after=bill").await.is(200).json();
    assert_eq!((&rest["subscriptions"][0]["name"], &rest["next"]), (&"mail".into(), &Value::Null));
    api.send(request("DELETE", "/v1/subscriptions/mail", &[], "")).await.is(204);
    api.send(request("DELETE", "/v1/subscriptions/mail", &[], "")).await.problem(404, "definition-not-found");
    for path in ["", "/events", "/parked"] {
        api.get(&format!("/v1/subscriptions/mail{path}")).await.problem(404, "definition-not-found");
    }
}

#[tokio::test]
async fn a_batch_is_pulled_acknowledged_parked_and_replayed() {
    let api = Api::new().await;
    define(&api, "mail", r#"{"filter": {"categories": ["order"]}}"#).await.is(201);
    api.fill("order-1", 3).await;
    api.fill("user-1", 2).await;
    api.fill("order-2", 1).await;
    let given = pull(&api, "mail").await;
    assert_eq!(given.len(), 4);
    assert_eq!((&given[0]["attempt"], &given[0]["event"]["stream"], &given[0]["event"]["data"]), (&1.into(), &"order-1".into(), &1.into()));
    assert_eq!(ack(&api, "mail", &given[..1]).await, json!({"acknowledged": 1, "unknown": []}));
    assert_eq!(ack(&api, "mail", &given[..1]).await["unknown"], json!([given[0]["delivery"]]));
    let nack = |action: &str| json!({"deliveries": [given[1]["delivery"]], "action": action, "reason": "no address"}).to_string();
    assert_eq!(api.post("/v1/subscriptions/mail/nack", &nack("park")).await.is(200).json()["acknowledged"], 1);
    let found = status(&api, "mail").await;
    assert_eq!(
        (&found["parked"], &found["held_back"], &found["in_flight"], &found["state"]),
        (&1.into(), &1.into(), &1.into(), &"idle".into())
    );
    let parked = api.get("/v1/subscriptions/mail/parked").await.is(200).json();
    let one = &parked["parked"][0];
    assert_eq!((&one["stream"], &one["version"], &one["type"]), (&"order-1".into(), &2.into(), &"t".into()));
    assert_eq!((&one["reason"], &one["attempts"], &one["event"]["data"]), (&"no address".into(), &1.into(), &2.into()));
    assert_eq!(ack(&api, "mail", &given[2..3]).await["acknowledged"], 0, "it was taken back when the one before it was parked");
    assert_eq!(ack(&api, "mail", &given[3..]).await["acknowledged"], 1);

    let which = json!({"events": [one["id"], one["position"]]}).to_string();
    assert_eq!(api.post("/v1/subscriptions/mail/parked/replay", &which).await.is(200).json(), json!({"replayed": 1}));
    let again = pull(&api, "mail").await;
    let versions: Vec<&Value> = again.iter().map(|delivery| &delivery["event"]["version"]).collect();
    assert_eq!(versions, [2, 3]);
    let nack = json!({"deliveries": [again[0]["delivery"]], "action": "park"}).to_string();
    api.post("/v1/subscriptions/mail/nack", &nack).await.is(200);
    assert_eq!(api.post("/v1/subscriptions/mail/parked/skip", "{}").await.is(200).json(), json!({"skipped": 1}));
    let last = pull(&api, "mail").await;
    assert_eq!((last.len(), &last[0]["event"]["version"]), (1, &3.into()));
    let skip = json!({"deliveries": [last[0]["delivery"]], "action": "skip"}).to_string();
    api.post("/v1/subscriptions/mail/nack", &skip).await.is(200);
    let found = status(&api, "mail").await;
    assert_eq!((&found["parked"], &found["held_back"], &found["in_flight"]), (&0.into(), &0.into(), &0.into()));
}

#[tokio::test]
async fn without_a_body_all_parked_events_are_meant() {
    let api = Api::new().await;
    define(&api, "mail", r#"{"ordering": "none"}"#).await.is(201);
    let cases: [&[(&str, &str)]; 4] = [&[], &[JSON], &[("content-type", "application/x-www-form-urlencoded")], &[("content-length", "0")]];
    for (path, answer) in [("replay", "replayed"), ("skip", "skipped")] {
        let path = format!("/v1/subscriptions/mail/parked/{path}");
        for headers in cases {
            api.fill("order-1", 2).await;
            let given: Vec<Value> = pull(&api, "mail").await.into_iter().map(|delivery| delivery["delivery"].clone()).collect();
            let nack = json!({"deliveries": given, "action": "park"}).to_string();
            api.post("/v1/subscriptions/mail/nack", &nack).await.is(200);
            let parked = status(&api, "mail").await["parked"].clone();
            // What is there must say what it is, and none of it is done.
            api.send(request("POST", &path, &[], "{}")).await.problem(415, "unsupported-media-type");
            let form = [("content-type", "text/plain")];
            api.send(request("POST", &path, &form, Body::from_stream(futures::stream::iter([Ok::<_, std::io::Error>("{}")]))))
                .await
                .problem(415, "unsupported-media-type");
            assert_eq!(api.post(&path, " ").await.problem(400, "malformed-request")["field"], "body");
            assert_eq!(status(&api, "mail").await["parked"], parked);
            assert_eq!(api.send(request("POST", &path, headers, "")).await.is(200).json()[answer], parked, "{headers:?}");
        }
    }
    assert_eq!(api.post("/v1/subscriptions/mail/parked/replay", "null").await.is(200).json(), json!({"replayed": 0}));
    let openapi = api.get("/openapi.json").await.is(200).json();
    for path in ["replay", "skip"] {
        let body = &openapi["paths"][format!("/v1/subscriptions/{{name}}/parked/{path}")]["post"]["requestBody"];
        assert!(body["content"]["application/json"].is_object() && body["required"] != true, "{body}");
    }
}

#[tokio::test]
async fn a_stream_gives_deliveries_as_lines_and_as_server_sent_events() {
    let api = Api::new().await;
    define(&api, "mail", r#"{"ordering": "none"}"#).await.is(201);
    api.fill("order-1", 1).await;
    let mut lines = Reader::open(&api, "/v1/subscriptions/mail/events?max_in_flight=1", &[NDJSON]).await;
    let line = lines.line().await.expect("a delivery");
    assert_eq!((&line["attempt"], &line["event"]["version"]), (&1.into(), &1.into()));
    let mut messages = Reader::open(&api, "/v1/subscriptions/mail/events", &[SSE]).await;
    api.fill("order-1", 1).await;
    let (id, event, data) = messages.message().await.expect("a delivery");
    assert_eq!((event.as_str(), &data["delivery"], &data["event"]["version"]), ("delivery", &id.into(), &2.into()));
    // A consumer that goes away leaves what it has to the others.
    drop(lines);
    let (_, _, data) = messages.message().await.expect("a delivery");
    assert_eq!((&data["attempt"], &data["event"]["version"]), (&2.into(), &1.into()));
    api.send(request("DELETE", "/v1/subscriptions/mail", &[], "")).await.is(204);
    let (_, event, data) = messages.message().await.expect("the end");
    assert_eq!((event.as_str(), &data["type"]), ("error", &"urn:factum:problem:definition-not-found".into()));
    assert!(messages.message().await.is_none());
}

#[tokio::test]
async fn a_consumer_whose_connection_breaks_leaves_its_work_to_others() {
    let served = Served::start(HttpSettings { heartbeat: Duration::from_millis(50), ..HttpSettings::default() }).await;
    define(&served.api, "mail", "{}").await.is(201);
    served.api.fill("order-1", 2).await;
    let ask = b"GET /v1/subscriptions/mail/events HTTP/1.1\r\nhost: h\r\naccept: application/x-ndjson\r\n\r\n";
    let mut first = served.connect().await;
    first.write_all(ask).await.expect("sends");
    read_until(&mut first, "\"version\":2").await;
    read_until(&mut first, "$heartbeat").await;
    let mut second = served.connect().await;
    second.write_all(ask).await.expect("sends");
    drop(first);
    let text = read_until(&mut second, "\"version\":2").await;
    assert!(text.contains("\"attempt\":2"), "{text}");
    drop(second);
    served.stop().await;
}

#[tokio::test]
async fn an_event_that_cannot_be_reshaped_is_parked_with_the_reason() {
    let api = Api::new().await;
    api.append("order-1", "Placed", &json!({"n": 1})).await.is(201);
    let with_upcast = json!({"schema": {}, "upcast": "(data) => { throw new Error('no way'); }", "compatibility": "none"});
    api.register("Placed/1", &json!({"schema": {}, "compatibility": "none"})).await.is(201);
    api.register("Placed/2", &with_upcast).await.is(201);
    define(&api, "mail", "{}").await.is(201);
    assert!(pull(&api, "mail").await.is_empty());
    let parked = api.get("/v1/subscriptions/mail/parked").await.is(200).json();
    assert!(parked["parked"][0]["reason"].as_str().is_some_and(|reason| reason.contains("no way")), "{parked}");
}

#[tokio::test]
async fn what_is_wrong_is_refused_by_name() {
    let api = Api::new().await;
    define(&api, "mail", "{}").await.is(201);
    for (name, definition, pointer) in [
        ("a", r#"{"colour": 1}"#, "/colour"),
        ("a", r#"{"filter": {"tags": [1]}}"#, "/filter/tags/0"),
        ("a", r#"{"max_in_flight": 0}"#, "/max_in_flight"),
        ("a", r#"{"ordering": 5}"#, "/ordering"),
        ("a", r#"{"after": "99"}"#, "/after"),
        ("a", r#"{"after": "nonsense"}"#, "/after"),
        ("mail", r#"{"after": "end"}"#, "/after"),
    ] {
        let problem = define(&api, name, definition).await.problem(422, "invalid-definition");
        assert_eq!(problem["pointer"], pointer, "{problem}");
    }
    assert_eq!(define(&api, "a", "{\n,}").await.problem(422, "invalid-definition")["line"], 2);
    for name in ["$a", "a%2Fb", "a%00"] {
        assert_eq!(define(&api, name, "{}").await.problem(400, "malformed-request")["field"], "name");
    }
    api.put("/v1/subscriptions/a", &[], "{}").await.problem(415, "unsupported-media-type");
    api.put("/v1/subscriptions/a?colour=1", &[JSON], "{}").await.problem(400, "malformed-request");
    api.put("/v1/subscriptions/a", &[JSON], &" ".repeat((256 << 10) + 1)).await.problem(413, "payload-too-large");
    let refused = |answer: Answer, field: &str| {
        let problem = answer.problem(400, "malformed-request");
        assert_eq!(problem["field"], field, "{problem}");
    };
    let many = json!({"deliveries": vec!["0000000000000000-1"; 10_001]}).to_string();
    for (body, field) in [
        ("{}", "deliveries"),
        (r#"{"deliveries": ["nonsense"]}"#, "deliveries[0]"),
        (r#"{"deliveries": [], "colour": 1}"#, "colour"),
        (many.as_str(), "deliveries"),
    ] {
        refused(api.post("/v1/subscriptions/mail/ack", body).await, field);
    }
    for (body, field) in [
        (json!({"deliveries": []}), "action"),
        (json!({"deliveries": [], "action": "burn"}), "action"),
        (json!({"deliveries": [], "action": "park", "reason": "x".repeat(5_000)}), "reason"),
    ] {
        refused(api.post("/v1/subscriptions/mail/nack", &body.to_string()).await, field);
    }
    refused(api.post("/v1/subscriptions/mail/parked/replay", r#"{"events": ["x"]}"#).await, "events[0]");
    refused(api.get("/v1/subscriptions/mail/parked?after=x").await, "after");
    refused(api.get("/v1/subscriptions/mail/events?limit=0").await, "limit");
    refused(api.get_with("/v1/subscriptions/mail/events", &[("prefer", "wait=61")]).await, "Prefer");
    refused(api.get_with("/v1/subscriptions/mail/events?max_in_flight=0", &[NDJSON]).await, "max_in_flight");
    refused(api.get_with("/v1/subscriptions/mail/events?limit=5", &[SSE]).await, "limit");
    refused(api.get("/v1/subscriptions/mail/events?max_in_flight=5").await, "max_in_flight");
    api.get_with("/v1/subscriptions/mail/events", &[("accept", "text/html")]).await.problem(406, "not-acceptable");
    api.send(request("POST", "/v1/subscriptions/mail/ack", &[], "{}")).await.problem(415, "unsupported-media-type");
    for path in ["ack", "nack", "parked/replay", "parked/skip"] {
        let body = if path == "nack" {
            r#"{"deliveries": [], "action": "skip"}"#
        } else if path == "ack" {
            r#"{"deliveries": []}"#
        } else {
            "{}"
        };
        api.post(&format!("/v1/subscriptions/nobody/{path}"), body).await.problem(404, "definition-not-found");
    }
}
