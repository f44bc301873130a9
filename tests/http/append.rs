//! Appends: what they answer, when they are refused, and that a retry is harmless.

use base64::Engine;
use serde_json::Value;
use serde_json::json;

use crate::support::Api;
use crate::support::request;

const ORDER: &str = "/v1/streams/order-42/events";
const ID: &str = "0190a2b4-7c1e-7d3f-8a5b-1c2d3e4f5a6b";

#[tokio::test]
async fn an_append_answers_with_exactly_what_is_promised() {
    let api = Api::new().await;
    let answer = api.post(ORDER, r#"{"events":[{"type":"A","data":1},{"type":"B","data":null}]}"#).await.is(201);
    assert_eq!(answer.text(), r#"{"stream":"order-42","first_version":1,"last_version":2,"position":2,"cursor":"2","duplicate":false}"#);
    assert_eq!(answer.header("etag"), "\"2\"");
    assert_eq!(answer.header("location"), "/v1/streams/order-42/events/1");
    assert_eq!(answer.header("factum-position"), "2");
    assert_eq!(answer.header("content-type"), "application/json");
    assert!(!answer.header("x-request-id").is_empty());
    api.get(answer.header("location")).await.is(200);
}

#[tokio::test]
async fn an_event_is_read_as_it_was_sent() {
    let api = Api::new().await;
    let body = format!(
        r#"{{"events":[{{"type":"OrderPaid","data":{{"a":[1.0,1e400 ,"\u0041\ud83d\ude00",{{"k":1,"k":2}}]}},"id":"{ID}",
        "metadata":{{"correlation_id":"c","causation_id":"d"}},"tags":["customer:7","\"quoted\""],
        "occurred_at":"2026-11-22T19:41:54.1234567+01:00","schema_version":3}}],"expected_version":0}}"#
    );
    api.post(ORDER, &body).await.is(201);
    let text = api.get("/v1/streams/order-42/events/1").await.is(200).text();
    let start = format!(r#"{{"id":"{ID}","stream":"order-42","version":1,"type":"OrderPaid","schema_version":3,"data":"#);
    assert!(text.starts_with(&start), "{text}");
    assert!(
        text.contains(
            r#""data":{"a":[1.0,1e400 ,"\u0041\ud83d\ude00",{"k":1,"k":2}]},"metadata":{"correlation_id":"c","causation_id":"d"}"#
        ),
        "{text}"
    );
    assert!(text.contains(r#""tags":["customer:7","\"quoted\""],"occurred_at":"2026-11-22T18:41:54.123456Z","recorded_at":""#), "{text}");
    assert!(text.ends_with(r#"","shard":0,"position":1}"#), "{text}");
}

#[tokio::test]
async fn absent_fields_have_their_defaults() {
    let api = Api::new().await;
    api.post(ORDER, r#"{"events":[{"type":"A","data":null}]}"#).await.is(201);
    let event = api.get("/v1/streams/order-42/events/1").await.is(200).json();
    assert_eq!(event["data"], Value::Null);
    assert_eq!(event["metadata"], json!({}));
    assert_eq!(event["tags"], json!([]));
    assert_eq!(event["schema_version"], 1);
    assert_eq!(event["occurred_at"], event["recorded_at"]);
    assert_eq!(event["recorded_at"].as_str().map(str::len), Some("2026-11-22T18:41:54.123456Z".len()));
}

#[tokio::test]
async fn expected_versions_hold_or_answer_409_with_what_came_between() {
    let api = Api::new().await;
    let body = |expected: &str| format!(r#"{{"events":[{{"type":"A","data":1}}],"expected_version":{expected}}}"#);
    api.post(ORDER, &body("\"exists\"")).await.problem(409, "wrong-expected-version");
    api.post(ORDER, &body("0")).await.is(201);
    api.post(ORDER, &body("1")).await.is(201);
    api.post(ORDER, &body("\"any\"")).await.is(201);
    api.post(ORDER, &body("\"exists\"")).await.is(201);
    let problem = api.post(ORDER, &body("2")).await.problem(409, "wrong-expected-version");
    assert_eq!((&problem["expected_version"], &problem["actual_version"]), (&json!(2), &json!(4)));
    let versions: Vec<&Value> = problem["conflicting_events"].as_array().unwrap().iter().map(|event| &event["version"]).collect();
    assert_eq!(versions, [3, 4]);
    let ahead = api.post(ORDER, &body("9")).await.problem(409, "wrong-expected-version");
    assert_eq!(ahead["conflicting_events"], json!([]));
}

#[tokio::test]
async fn conflicting_events_end_at_a_hundred() {
    let api = Api::new().await;
    api.fill("order-42", 130).await;
    let problem =
        api.post(ORDER, r#"{"events":[{"type":"A","data":1}],"expected_version":10}"#).await.problem(409, "wrong-expected-version");
    let events = problem["conflicting_events"].as_array().unwrap();
    assert_eq!((events.len(), &events[0]["version"]), (100, &json!(11)));
}

#[tokio::test]
async fn expectations_by_header_answer_412() {
    let api = Api::new().await;
    let body = r#"{"events":[{"type":"A","data":1}]}"#;
    api.post_with(ORDER, &[("if-match", "*")], body).await.problem(412, "precondition-failed");
    api.post_with(ORDER, &[("if-none-match", "*")], body).await.is(201);
    let problem = api.post_with(ORDER, &[("if-none-match", "*")], body).await.problem(412, "precondition-failed");
    assert_eq!((&problem["expected_version"], &problem["actual_version"]), (&json!(0), &json!(1)));
    assert_eq!(problem["conflicting_events"].as_array().map(Vec::len), Some(1));
    api.post_with(ORDER, &[("if-match", "\"1\"")], body).await.is(201);
    api.post_with(ORDER, &[("if-match", "*")], body).await.is(201);
    api.post_with(ORDER, &[("if-match", "\"1\"")], body).await.problem(412, "precondition-failed");
    let both = r#"{"events":[{"type":"A","data":1}],"expected_version":3}"#;
    api.post_with(ORDER, &[("if-match", "\"3\"")], both).await.is(201);
    api.post_with(ORDER, &[("if-match", "\"4\"")], both).await.problem(400, "malformed-request");
    api.post_with(ORDER, &[("if-match", "W/\"4\"")], body).await.problem(400, "malformed-request");
}

#[tokio::test]
async fn a_retry_is_harmless_with_ids_or_a_key() {
    let api = Api::new().await;
    let with_id = format!(r#"{{"events":[{{"type":"A","data":1,"id":"{ID}"}}],"expected_version":0}}"#);
    api.post(ORDER, &with_id).await.is(201);
    let again = api.post(ORDER, &with_id).await.is(200);
    assert_eq!(again.text(), r#"{"stream":"order-42","first_version":1,"last_version":1,"position":1,"cursor":"1","duplicate":true}"#);

    let keyed = r#"{"events":[{"type":"A","data":1},{"type":"A","data":1}]}"#;
    let key = [("idempotency-key", "order-42/paid")];
    assert_eq!(api.post_with(ORDER, &key, keyed).await.is(201).json()["last_version"], 3);
    let again = api.post_with(ORDER, &key, keyed).await.is(200).json();
    assert_eq!((&again["duplicate"], &again["first_version"], &again["last_version"]), (&json!(true), &json!(2), &json!(3)));
    api.post_with("/v1/streams/order-43/events", &key, keyed).await.is(201);
    api.post_with(ORDER, &[("idempotency-key", "")], keyed).await.problem(400, "malformed-request");
}

#[tokio::test]
async fn an_id_with_other_content_is_refused() {
    let api = Api::new().await;
    api.post(ORDER, &format!(r#"{{"events":[{{"type":"A","data":1,"id":"{ID}"}}]}}"#)).await.is(201);
    let problem = api.post(ORDER, &format!(r#"{{"events":[{{"type":"A","data":2,"id":"{ID}"}}]}}"#)).await.problem(409, "event-id-reused");
    assert_eq!(problem["event_id"], ID);
    assert_eq!(problem["position"], 1);
}

#[tokio::test]
async fn the_trace_context_is_kept_in_the_metadata_and_a_retry_may_have_another() {
    let api = Api::new().await;
    let parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let other = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203332-01";
    let body = format!(r#"{{"events":[{{"type":"A","data":1,"id":"{ID}","metadata":{{ "x" : 1 }}}}]}}"#);
    api.post_with(ORDER, &[("traceparent", parent)], &body).await.is(201);
    let text = api.get("/v1/streams/order-42/events/1").await.text();
    assert!(text.contains(&format!(r#""metadata":{{"traceparent":"{parent}", "x" : 1 }}"#)), "{text}");
    api.post_with(ORDER, &[("traceparent", other)], &body).await.is(200);
    api.post_with(ORDER, &[("traceparent", "nonsense\"}")], r#"{"events":[{"type":"A","data":1}]}"#).await.is(201);
    assert_eq!(api.get("/v1/streams/order-42/events/2").await.json()["metadata"], json!({}));
}

#[tokio::test]
async fn cloud_events_come_structured_in_batches_and_binary() {
    let api = Api::new().await;
    let one = format!(
        r#"{{"specversion":"1.0","id":"{ID}","source":"/shop","type":"com.shop.paid","time":"2026-11-22T18:00:00Z","subject":"42","priority":3,"data":{{"a":1}}}}"#
    );
    api.send(request("POST", ORDER, &[("content-type", "application/cloudevents+json; charset=utf-8")], one.clone())).await.is(201);
    let event = api.get("/v1/streams/order-42/events/1").await.json();
    assert_eq!(event["id"], ID);
    assert_eq!(event["type"], "com.shop.paid");
    assert_eq!(event["occurred_at"], "2026-11-22T18:00:00.000000Z");
    assert_eq!(event["data"], json!({"a": 1}));
    assert_eq!(event["metadata"], json!({"cloudevents": {"specversion": "1.0", "source": "/shop", "subject": "42", "priority": 3}}));
    api.send(request("POST", ORDER, &[("content-type", "application/cloudevents+json")], one)).await.is(200);

    let batch = r#"[{"specversion":"1.0","id":"a","source":"/s","type":"t"},{"specversion":"1.0","id":"b","source":"/s","type":"t","data_base64":"AAEC"}]"#;
    let headers = [("content-type", "application/cloudevents-batch+json")];
    api.send(request("POST", ORDER, &headers, batch)).await.is(201);
    api.send(request("POST", ORDER, &headers, batch)).await.is(200);
    let event = api.get("/v1/streams/order-42/events/3").await.json();
    assert_eq!(event["data"], "AAEC");
    assert_eq!(event["metadata"]["cloudevents"], json!({"specversion": "1.0", "source": "/s", "id": "b", "datacontentencoding": "base64"}));

    let ce = [("ce-specversion", "1.0"), ("ce-id", "c"), ("ce-source", "/s"), ("ce-type", "t"), ("ce-subject", "%E2%82%AC")];
    let json_data: Vec<_> = ce.into_iter().chain([("content-type", "application/json")]).collect();
    api.send(request("POST", ORDER, &json_data, r#"{"x":1}"#)).await.is(201);
    let event = api.get("/v1/streams/order-42/events/4").await.json();
    assert_eq!((&event["data"], &event["metadata"]["cloudevents"]["subject"]), (&json!({"x": 1}), &json!("€")));
    let octets: Vec<_> = ce
        .into_iter()
        .map(|(name, value)| if name == "ce-id" { (name, "d") } else { (name, value) })
        .chain([("content-type", "application/octet-stream")])
        .collect();
    api.send(request("POST", ORDER, &octets, vec![0_u8, 255])).await.is(201);
    let event = api.get("/v1/streams/order-42/events/5").await.json();
    assert_eq!(event["data"], base64::engine::general_purpose::STANDARD.encode([0, 255]));
}

#[tokio::test]
async fn broken_cloud_events_name_the_attribute() {
    let api = Api::new().await;
    for (body, field) in [
        (r#"{"id":"a","source":"/s","type":"t"}"#, "specversion"),
        (r#"{"specversion":"0.3","id":"a","source":"/s","type":"t"}"#, "specversion"),
        (r#"{"specversion":"1.0","source":"/s","type":"t"}"#, "id"),
        (r#"{"specversion":"1.0","id":"a","type":"t"}"#, "source"),
        (r#"{"specversion":"1.0","id":"a","source":"/s"}"#, "type"),
        (r#"{"specversion":"1.0","id":"a","source":"/s","type":"t","time":"noon"}"#, "time"),
        (r#"{"specversion":"1.0","id":"a","source":"/s","type":"t","data":1,"data_base64":"AA=="}"#, "data_base64"),
        (r#"{"specversion":"1.0","id":"a","source":"/s","type":"t","data_base64":"?"}"#, "data_base64"),
        (r#"{"specversion":"1.0","id":"a","source":"/s","type":"t","Bad-Name":"x"}"#, "Bad-Name"),
        (r#"{"specversion":"1.0","id":"a","source":"/s","type":"t","object":{}}"#, "object"),
        (r#"{"specversion":"1.0","id":7,"source":"/s","type":"t"}"#, "id"),
    ] {
        let answer = api.send(request("POST", ORDER, &[("content-type", "application/cloudevents+json")], body)).await;
        assert_eq!(answer.problem(400, "malformed-request")["field"], field, "{body}");
    }
    api.assert_empty("refused").await;
}

/// A4: what the database says of an event is said by nobody else.
#[tokio::test]
async fn a4_a_client_sets_neither_place_nor_time_of_an_event() {
    let api = Api::new().await;
    for (name, value) in [
        ("position", json!(7)),
        ("recorded_at", json!("2001-01-01T00:00:00Z")),
        ("shard", json!(3)),
        ("version", json!(9)),
        ("stream", json!("order-2")),
        ("tenant", json!("other")),
    ] {
        let mut event = json!({"type": "Placed", "data": {}});
        event[name] = value.clone();
        let append = json!({"events": [event]}).to_string();
        let problem = api.post("/v1/streams/order-1/events", &append).await.problem(400, "malformed-request");
        assert_eq!(problem["field"], format!("events[0].{name}"), "{problem}");
        let transaction = json!({"appends": [{"stream": "order-1", "events": [event]}]}).to_string();
        let problem = api.post("/v1/transactions", &transaction).await.problem(400, "malformed-request");
        assert_eq!(problem["field"], format!("appends[0].events[0].{name}"), "{problem}");
        let mut whole = json!({"events": [{"type": "Placed", "data": {}}]});
        whole[name] = value;
        let problem = api.post("/v1/streams/order-1/events", &whole.to_string()).await.problem(400, "malformed-request");
        assert_eq!(problem["field"], name, "{problem}");
    }
    api.get("/v1/streams/order-1").await.problem(404, "stream-not-found");
    // A line of an import may be an event as it was read elsewhere: its place there says nothing about its place here.
    let line =
        json!({"stream": "order-1", "type": "Placed", "data": {}, "version": 9, "position": 7, "recorded_at": "2001-01-01T00:00:00Z"});
    let answer = api.send(request("POST", "/v1/import", &[("content-type", "application/x-ndjson")], format!("{line}\n"))).await.is(200);
    let last = answer.lines().pop().unwrap();
    if last["done"] == true {
        let event = api.get("/v1/streams/order-1/events/1").await.is(200).json();
        assert_eq!((&event["version"], &event["position"]), (&json!(1), &json!(1)));
        assert!(event["recorded_at"].as_str().unwrap() > "2026");
    } else {
        assert_eq!(last["$error"]["line"], 1, "{last}");
    }
}
