//! Transactions: all or nothing, and every failed check is told.

use serde_json::json;

use crate::support::Api;

const PATH: &str = "/v1/transactions";

#[tokio::test]
async fn several_streams_are_written_together() {
    let api = Api::new().await;
    let body = r#"{"appends":[
        {"stream":"a-1","events":[{"type":"A","data":1,"tags":["x"]},{"type":"A","data":2}],"expected_version":0},
        {"stream":"b-1","events":[{"type":"B","data":3}]}]}"#;
    let answer = api.post(PATH, body).await.is(201);
    assert_eq!(
        answer.text(),
        r#"{"appends":[{"stream":"a-1","first_version":1,"last_version":2},{"stream":"b-1","first_version":1,"last_version":1}],"position":3,"cursor":"3"}"#
    );
    assert_eq!(answer.header("factum-position"), "3");
    // A stream may be checked without being written.
    let check = r#"{"appends":[{"stream":"a-1","events":[],"expected_version":2},{"stream":"b-1","events":[{"type":"B","data":4}]}]}"#;
    api.post(PATH, check).await.is(201);
    api.post(PATH, r#"{"appends":[{"stream":"a-1","events":[],"expected_version":2}]}"#).await.is(200);
}

#[tokio::test]
async fn every_failed_check_is_told_and_nothing_is_stored() {
    let api = Api::new().await;
    api.post("/v1/streams/a-1/events", r#"{"events":[{"type":"A","data":1,"tags":["x","y"]}]}"#).await.is(201);
    let body = r#"{"appends":[
        {"stream":"a-1","events":[{"type":"A","data":1}],"expected_version":0},
        {"stream":"b-1","events":[{"type":"B","data":3}],"expected_version":7}],
        "conditions":[
        {"query":[{"types":["Z"]}],"after":"0"},
        {"query":[{"types":["A","Z"],"tags":["x","y"]}],"after":"0"}]}"#;
    let problem = api.post(PATH, body).await.problem(409, "wrong-expected-version");
    let event = api.get("/v1/streams/a-1/events/1").await.json();
    assert_eq!(
        problem["failed"],
        json!([
            {"kind": "version", "stream": "a-1", "expected_version": 0, "actual_version": 1},
            {"kind": "version", "stream": "b-1", "expected_version": 7, "actual_version": 0},
            {"kind": "condition", "index": 1, "position": 1, "event_id": event["id"]},
        ])
    );
    assert_eq!(api.get("/v1/events").await.json()["cursor"], "1");
}

#[tokio::test]
async fn a_condition_holds_behind_its_cursor() {
    let api = Api::new().await;
    api.post("/v1/streams/a-1/events", r#"{"events":[{"type":"A","data":1}]}"#).await.is(201);
    let body = |after: &str| {
        format!(
            r#"{{"appends":[{{"stream":"b-1","events":[{{"type":"B","data":1}}]}}],"conditions":[{{"query":[{{"types":["A"]}}],"after":{after}}}]}}"#
        )
    };
    api.post(PATH, &body("\"0\"")).await.problem(409, "condition-failed");
    api.post(PATH, &body("0")).await.problem(409, "condition-failed");
    api.post(PATH, &body("\"1\"")).await.is(201);
    // An empty query matches every event.
    let any = r#"{"appends":[{"stream":"b-1","events":[{"type":"B","data":1}]}],"conditions":[{"query":[],"after":"1"}]}"#;
    api.post(PATH, any).await.problem(409, "condition-failed");
}

#[tokio::test]
async fn broken_transactions_name_the_field() {
    let api = Api::new().await;
    for (body, field) in [
        (r#"{"appends":[]}"#, "appends"),
        (r#"{}"#, "appends"),
        (r#"{"appends":[{"stream":"a","events":[]}]}"#, "appends[0]"),
        (r#"{"appends":[{"stream":"","events":[{"type":"A","data":1}]}]}"#, "appends[0].stream"),
        (r#"{"appends":[{"stream":"a","events":[{"type":"","data":1}]}]}"#, "appends[0].events[0].type"),
        (r#"{"appends":[{"stream":"a","events":[{"type":"A","data":1}]}],"condition":[]}"#, "condition"),
        (r#"{"appends":[{"stream":"a","events":[{"type":"A","data":1}]}],"conditions":[{"query":[]}]}"#, "conditions[0].after"),
        (r#"{"appends":[{"stream":"a","events":[{"type":"A","data":1}]}],"conditions":[{"query":[],"after":"x"}]}"#, "conditions[0].after"),
        (r#"{"appends":[{"stream":"a","events":[{"type":"A","data":1}]}],"conditions":[{"query":[],"after":"9"}]}"#, "conditions[0].after"),
        (
            r#"{"appends":[{"stream":"a","events":[{"type":"A","data":1}]}],"conditions":[{"query":[{"tags":[""]}],"after":"0"}]}"#,
            "conditions[0].query[0].tags[0]",
        ),
    ] {
        assert_eq!(api.post(PATH, body).await.problem(400, "malformed-request")["field"], field, "{body}");
    }
    api.post(PATH, r#"{"appends":[{"stream":"$x","events":[{"type":"A","data":1}]}]}"#).await.problem(403, "forbidden");
    api.assert_empty("refused").await;
}
