//! Reads: pages, lines, links, filters, conditions, formats.

use std::io::Read;

use serde_json::Value;
use serde_json::json;

use crate::support::Answer;
use crate::support::Api;
use crate::support::NDJSON;
use crate::support::request;

fn data(page: &Value) -> Vec<u64> {
    page["events"].as_array().expect("a page").iter().map(|event| event["data"].as_u64().expect("a number")).collect()
}

/// The path that the answer's link names.
fn next_link(answer: &Answer) -> Option<String> {
    let link = answer.header("link").strip_prefix('<')?.strip_suffix(">; rel=\"next\"")?;
    Some(link.to_owned())
}

#[tokio::test]
async fn a_stream_is_walked_by_its_links_both_ways() {
    let api = Api::new().await;
    api.fill("order-42", 7).await;
    for (first, expected) in [
        ("/v1/streams/order-42/events?limit=3", vec![vec![1, 2, 3], vec![4, 5, 6], vec![7]]),
        ("/v1/streams/order-42/events?limit=3&direction=backward", vec![vec![7, 6, 5], vec![4, 3, 2], vec![1]]),
        ("/v1/streams/order-42/events?limit=3&from=4", vec![vec![4, 5, 6], vec![7]]),
        ("/v1/streams/order-42/events?from=2&direction=backward", vec![vec![2, 1]]),
        ("/v1/streams/order-42/events?from=8", vec![vec![]]),
        ("/v1/streams/order-42/events?from=0&limit=1", vec![vec![1], vec![2], vec![3], vec![4], vec![5], vec![6], vec![7]]),
    ] {
        let mut path = Some(first.to_owned());
        let mut pages = Vec::new();
        while let Some(at) = path {
            let answer = api.get(&at).await.is(200);
            let page = answer.json();
            assert_eq!((&page["stream"], &page["version"]), (&json!("order-42"), &json!(7)));
            pages.push(data(&page));
            path = next_link(&answer);
            assert_eq!(path.is_none(), page["next"].is_null(), "{page}");
        }
        assert_eq!(pages, expected, "{first}");
    }
}

#[tokio::test]
async fn the_log_is_walked_by_its_links_both_ways() {
    let api = Api::new().await;
    api.fill("order-1", 3).await;
    api.fill("order-2", 4).await;
    let mut path = Some("/v1/events?limit=3".to_owned());
    let mut pages = Vec::new();
    while let Some(at) = path {
        let answer = api.get(&at).await.is(200);
        assert_eq!(answer.json()["cursor"], answer.header("factum-position"));
        pages.push(data(&answer.json()));
        path = next_link(&answer);
    }
    assert_eq!(pages.concat(), [1, 2, 3, 1, 2, 3, 4]);
    assert_eq!(data(&api.get("/v1/events?after=5").await.json()), [3, 4]);
    assert_eq!(data(&api.get("/v1/events?after=end").await.json()), [0; 0]);
    assert_eq!(data(&api.get("/v1/events?direction=backward&limit=2").await.json()), [4, 3]);
    assert_eq!(data(&api.get("/v1/events?direction=backward&after=3").await.json()), [2, 1]);
}

#[tokio::test]
async fn lines_are_read_until_an_empty_page() {
    let api = Api::new().await;
    api.fill("order-1", 25).await;
    let mut after = String::new();
    let mut read = Vec::new();
    loop {
        let answer = api.get_with(&format!("/v1/events?limit=10{after}"), &[NDJSON]).await.is(200);
        assert_eq!(answer.header("content-type"), "application/x-ndjson");
        if answer.lines().is_empty() {
            break;
        }
        read.extend(answer.lines().iter().map(|event| event["data"].as_u64().unwrap()));
        after = format!("&after={}", answer.header("factum-position"));
    }
    assert_eq!(read, (1..=25).collect::<Vec<_>>());
    let lines = api.get_with("/v1/streams/order-1/events?from=1&limit=10000", &[NDJSON]).await.lines();
    assert_eq!(lines.len(), 25);
}

#[tokio::test]
async fn a_payload_with_line_breaks_stays_one_line() {
    let api = Api::new().await;
    api.post("/v1/streams/s/events", "{\"events\":[{\"type\":\"A\",\"data\":{\n  \"a\": 1\r\n},\"metadata\":{\n}}]}").await.is(201);
    let answer = api.get_with("/v1/events", &[NDJSON]).await;
    assert_eq!(answer.lines().len(), 1);
    assert!(api.get("/v1/events").await.text().contains("{\n  \"a\": 1\r\n}"), "a page keeps the bytes");
}

#[tokio::test]
async fn filters_are_ored_within_and_anded_between() {
    let api = Api::new().await;
    for (stream, kind, tags, number) in
        [("a-1", "X", r#"["red"]"#, 1), ("a-2", "Y", r#"["red","big"]"#, 2), ("b-1", "X", "[]", 3), ("b-2", "Z", r#"["big"]"#, 4)]
    {
        let body = format!(r#"{{"events":[{{"type":"{kind}","data":{number},"tags":{tags}}}]}}"#);
        api.post(&format!("/v1/streams/{stream}/events"), &body).await.is(201);
    }
    let third = api.get("/v1/streams/b-1/events/1").await.json()["recorded_at"].as_str().unwrap().to_owned();
    for (query, expected) in [
        ("category=a".to_owned(), vec![1, 2]),
        ("category=a&category=b".to_owned(), vec![1, 2, 3, 4]),
        ("type=X&type=Z".to_owned(), vec![1, 3, 4]),
        ("tag=red".to_owned(), vec![1, 2]),
        ("tag=red&tag=big".to_owned(), vec![1, 2, 4]),
        ("tag=red&type=Y".to_owned(), vec![2]),
        ("stream_prefix=b-".to_owned(), vec![3, 4]),
        ("stream_prefix=b-2&category=b".to_owned(), vec![4]),
        ("type=nothing".to_owned(), vec![]),
        (format!("recorded_before={third}&recorded_after=2000-01-01T00:00:00Z&category=b"), vec![]),
        ("recorded_after=2000-01-01T00:00:00Z&recorded_before=9000-01-01T00:00:00%2B02:00".to_owned(), vec![1, 2, 3, 4]),
        ("recorded_after=9000-01-01T00:00:00Z".to_owned(), vec![]),
    ] {
        assert_eq!(data(&api.get(&format!("/v1/events?{query}")).await.json()), expected, "{query}");
    }
}

#[tokio::test]
async fn one_event_is_read_by_version_and_by_id() {
    let api = Api::new().await;
    api.fill("order-42", 2).await;
    let answer = api.get("/v1/streams/order-42/events/2").await.is(200);
    let event = answer.json();
    assert_eq!(event["version"], 2);
    let by_id = api.get(&format!("/v1/events/{}", event["id"].as_str().unwrap())).await.is(200);
    assert_eq!(by_id.bytes, answer.bytes);
    api.get_with("/v1/streams/order-42/events/2", &[("if-none-match", answer.header("etag"))]).await.is(304);
    api.get("/v1/streams/order-42/events/3").await.problem(404, "event-not-found");
    api.get("/v1/streams/order-42/events/0").await.problem(400, "malformed-request");
    api.get("/v1/streams/order-42/events/two").await.problem(400, "malformed-request");
    api.get("/v1/streams/nobody/events/1").await.problem(404, "stream-not-found");
    api.get("/v1/events/0190a2b4-7c1e-7d3f-8a5b-1c2d3e4f5a6b").await.problem(404, "event-not-found");
    api.get("/v1/events/12").await.problem(400, "malformed-request");
}

#[tokio::test]
async fn a_page_that_is_known_is_not_sent_again() {
    let api = Api::new().await;
    api.fill("order-42", 3).await;
    for path in ["/v1/streams/order-42/events?limit=2", "/v1/events?limit=2", "/v1/streams", "/v1/types", "/openapi.json"] {
        let answer = api.get(path).await.is(200);
        let etag = answer.header("etag").to_owned();
        assert!(!etag.is_empty(), "{path}");
        let again = api.get_with(path, &[("if-none-match", &format!("\"x\", {etag}"))]).await.is(304);
        assert_eq!((again.header("etag"), again.bytes.len()), (etag.as_str(), 0), "{path}");
        api.get_with(path, &[("if-none-match", "\"x\"")]).await.is(200);
    }
    let etag = api.get("/v1/streams/order-42/events").await.header("etag").to_owned();
    let lines = api.get_with("/v1/streams/order-42/events", &[NDJSON]).await.header("etag").to_owned();
    assert_ne!(etag, lines, "another format is another representation");
    api.fill("order-42", 1).await;
    api.get_with("/v1/streams/order-42/events", &[("if-none-match", &etag)]).await.is(200);
}

#[tokio::test]
async fn answers_are_compressed_when_asked_and_worth_it() {
    let api = Api::new().await;
    api.fill("order-42", 100).await;
    let plain = api.get("/v1/events").await.is(200);
    assert_eq!(plain.header("content-encoding"), "");
    let zstd = api.get_with("/v1/events", &[("accept-encoding", "gzip, zstd")]).await.is(200);
    assert_eq!(zstd.header("content-encoding"), "zstd");
    assert_eq!(zstd::decode_all(zstd.bytes.as_slice()).unwrap(), plain.bytes);
    let gzip = api.get_with("/v1/events", &[("accept-encoding", "gzip")]).await.is(200);
    assert_eq!(gzip.header("content-encoding"), "gzip");
    let mut unpacked = Vec::new();
    flate2::read::GzDecoder::new(gzip.bytes.as_slice()).read_to_end(&mut unpacked).unwrap();
    assert_eq!(unpacked, plain.bytes);
    assert!(gzip.bytes.len() * 4 < plain.bytes.len());
    let tiny = api.get_with("/v1/streams/order-42", &[("accept-encoding", "gzip")]).await.is(200);
    assert_eq!(tiny.header("content-encoding"), "");
}

#[tokio::test]
async fn head_is_get_without_the_body() {
    let api = Api::new().await;
    api.fill("order-42", 3).await;
    for path in
        ["/v1/streams/order-42", "/v1/streams/order-42/events?limit=2", "/v1/events?limit=2", "/v1/streams", "/health/live", "/v1/status"]
    {
        let get = api.get(path).await.is(200);
        let head = api.send(request("HEAD", path, &[], "")).await.is(200);
        assert!(head.bytes.is_empty(), "{path}");
        for name in ["etag", "link", "content-type", "factum-position"] {
            assert_eq!(head.header(name), get.header(name), "{path} {name}");
        }
    }
}

#[tokio::test]
async fn what_cannot_be_asked_is_refused_by_name() {
    let api = Api::new().await;
    api.fill("order-42", 3).await;
    for (path, field) in [
        ("/v1/events?colour=red", "colour"),
        ("/v1/events?limit=0", "limit"),
        ("/v1/events?limit=10001", "limit"),
        ("/v1/events?limit=-1", "limit"),
        ("/v1/events?limit=1&limit=2", "limit"),
        ("/v1/events?direction=sideways", "direction"),
        ("/v1/events?after=garbage", "after"),
        ("/v1/events?after=4", "after"),
        ("/v1/events?after=1.1", "after"),
        ("/v1/events?after=99999999999999999999", "after"),
        ("/v1/events?recorded_after=yesterday", "recorded_after"),
        ("/v1/events?include_system=yes", "include_system"),
        ("/v1/events?follow=true", "follow"),
        ("/v1/events?tag=%ff", "tag"),
        ("/v1/events?tag=%zz", "tag"),
        ("/v1/streams/order-42/events?from=-1", "from"),
        ("/v1/streams/order-42/events?after=1", "after"),
        ("/v1/streams/order-42/events?from=1.5", "from"),
        ("/v1/streams/order-42?limit=1", "limit"),
    ] {
        assert_eq!(api.get(path).await.problem(400, "malformed-request")["field"], field, "{path}");
    }
    for path in ["/v1/events", "/v1/streams/order-42/events", "/v1/streams", "/v1/streams/order-42"] {
        assert_eq!(api.get_with(path, &[("accept", "text/html")]).await.problem(406, "not-acceptable")["field"], "Accept", "{path}");
    }
}

#[tokio::test]
async fn a2_streams_of_the_system_are_out_of_sight_unless_asked_for() {
    let api = Api::new().await;
    api.fill("order-42", 1).await;
    api.send(request("DELETE", "/v1/streams/order-42", &[], "")).await.is(204);
    api.fill("order-1", 1).await;
    assert_eq!(api.get("/v1/events").await.json()["events"].as_array().map(Vec::len), Some(1));
    assert_eq!(api.get("/v1/streams").await.json()["streams"].as_array().map(Vec::len), Some(1));
    let all = api.get("/v1/events?include_system=true").await.json();
    assert!(all["events"].as_array().unwrap().iter().any(|event| event["stream"] == "$streams"), "{all}");
}
