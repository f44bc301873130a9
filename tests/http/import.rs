//! Import: bulk loads keep order, skip what is there, and say exactly where they stopped.

use std::io::Write;

use factum::http::HttpSettings;
use serde_json::json;

use crate::support::Answer;
use crate::support::Api;
use crate::support::request;

const LINES: (&str, &str) = ("content-type", "application/x-ndjson");

async fn import(api: &Api, body: impl Into<Vec<u8>>) -> Answer {
    api.send(request("POST", "/v1/import", &[LINES], body.into())).await.is(200)
}

fn lines(from: usize, to: usize) -> String {
    (from..=to)
        .map(|n| format!("{{\"stream\":\"s-{}\",\"type\":\"t\",\"data\":{n},\"id\":\"{:08}-0000-4000-8000-000000000000\"}}\n", n % 7, n))
        .collect()
}

#[tokio::test]
async fn a_load_keeps_the_order_of_each_stream_and_can_be_repeated() {
    let api = Api::new().await;
    let body = lines(1, 20_000);
    let answer = import(&api, body.clone()).await;
    assert_eq!(answer.header("content-type"), "application/x-ndjson");
    let last = answer.lines().pop().unwrap();
    assert_eq!(last, json!({"imported": 20_000, "duplicates": 0, "bytes": body.len(), "cursor": "20000", "done": true}));
    for stream in 0..7 {
        let page = api.get(&format!("/v1/streams/s-{stream}/events?limit=10000")).await.json();
        let data: Vec<u64> = page["events"].as_array().unwrap().iter().map(|event| event["data"].as_u64().unwrap()).collect();
        assert!(data.is_sorted() && data.len() > 2_800, "stream {stream}");
    }
    let last = import(&api, body.clone() + &lines(20_001, 20_010)).await.lines().pop().unwrap();
    assert_eq!((&last["imported"], &last["duplicates"], &last["done"]), (&json!(10), &json!(20_000), &json!(true)));
}

#[tokio::test]
async fn the_last_line_may_end_without_a_break_and_empty_lines_do_not_count() {
    let api = Api::new().await;
    let body = "\n{\"stream\":\"s\",\"type\":\"t\",\"data\":1}\r\n\r\n  {\"stream\":\"s\",\"type\":\"t\",\"data\":2}  ";
    assert_eq!(import(&api, body).await.lines().pop().unwrap()["imported"], 2);
    assert_eq!(
        import(&api, "").await.lines().pop().unwrap(),
        json!({"imported": 0, "duplicates": 0, "bytes": 0, "cursor": "2", "done": true})
    );
}

#[tokio::test]
async fn a_bad_line_ends_the_load_and_what_came_before_stays() {
    for (bad, slug, field) in [
        ("{\"stream\":\"s\",\"type\":\"t\"}", "malformed-request", "data"),
        ("{\"type\":\"t\",\"data\":1}", "malformed-request", "stream"),
        ("{\"stream\":\"s\",\"type\":\"t\",\"data\":1,\"secret\":2}", "malformed-request", "secret"),
        ("{\"stream\":\"\",\"type\":\"t\",\"data\":1}", "malformed-request", "stream"),
        ("{\"stream\":\"s\",\"type\":\"\",\"data\":1}", "malformed-request", "type"),
        ("nonsense", "malformed-request", "body"),
        ("{\"stream\":\"$s\",\"type\":\"t\",\"data\":1}", "forbidden", ""),
    ] {
        let api = Api::new().await;
        let found = import(&api, lines(1, 3) + bad + "\n" + &lines(5, 6)).await.lines();
        let error = &found.last().unwrap()["$error"];
        assert_eq!(error["type"], format!("urn:factum:problem:{slug}"), "{bad}: {error}");
        assert_eq!(error["line"], 4, "{bad}");
        assert_eq!(error["field"].as_str().unwrap_or_default(), field, "{bad}");
        assert_eq!(found[found.len() - 2]["imported"], 3, "{bad}");
        assert_eq!(api.get("/v1/events").await.json()["cursor"], "3", "{bad}");
    }
}

#[tokio::test]
async fn a_line_that_the_database_refuses_is_named_too() {
    let api = Api::new().await;
    let other = "{\"stream\":\"s-2\",\"type\":\"t\",\"data\":\"other\",\"id\":\"00000002-0000-4000-8000-000000000000\"}\n";
    let found = import(&api, lines(1, 3) + other).await.lines();
    let error = &found.last().unwrap()["$error"];
    assert_eq!((&error["type"], &error["line"]), (&json!("urn:factum:problem:event-id-reused"), &json!(4)));
}

#[tokio::test]
async fn compressed_loads_are_unpacked_as_they_come() {
    let body = lines(1, 5_000);
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(body.as_bytes()).unwrap();
    for (coding, packed) in [("gzip", gzip.finish().unwrap()), ("zstd", zstd::encode_all(body.as_bytes(), 1).unwrap())] {
        let api = Api::new().await;
        let headers = [LINES, ("content-encoding", coding)];
        let last = api.send(request("POST", "/v1/import", &headers, packed.clone())).await.is(200).lines().pop().unwrap();
        assert_eq!((&last["imported"], &last["bytes"]), (&json!(5_000), &json!(body.len())), "{coding}");
        let api = Api::new().await;
        let cut = packed[..packed.len() / 2].to_vec();
        let found = api.send(request("POST", "/v1/import", &headers, cut)).await.is(200).lines();
        assert_eq!(found.last().unwrap()["$error"]["field"], "body", "{coding}");
    }
}

#[tokio::test]
async fn h9_a_line_without_end_is_refused_in_bounded_memory() {
    let api = Api::with(HttpSettings { event_bytes_max: 1000, ..HttpSettings::default() }).await;
    let found = import(&api, lines(1, 2) + "{\"stream\":\"s\",\"type\":\"t\",\"data\":\"" + &"x".repeat(1 << 20)).await.lines();
    let error = &found.last().unwrap()["$error"];
    assert_eq!((&error["type"], &error["line"]), (&json!("urn:factum:problem:payload-too-large"), &json!(3)));
    assert_eq!(api.get("/v1/events").await.json()["cursor"], "2");
}

#[tokio::test]
async fn a_load_says_what_it_is() {
    let api = Api::new().await;
    let body = lines(1, 1);
    api.send(request("POST", "/v1/import", &[("content-type", "text/plain")], body.clone())).await.problem(415, "unsupported-media-type");
    api.send(request("POST", "/v1/import", &[LINES, ("content-encoding", "br")], body.clone()))
        .await
        .problem(415, "unsupported-media-type");
    api.send(request("POST", "/v1/import", &[LINES, ("idempotency-key", "k")], body.clone())).await.problem(400, "malformed-request");
    api.assert_empty("refused").await;
    let api = Api::with(HttpSettings { imports_max: 0, ..HttpSettings::default() }).await;
    let answer = api.send(request("POST", "/v1/import", &[LINES], body)).await;
    assert_eq!(answer.header("retry-after"), "1");
    answer.problem(429, "too-many-requests");
}
