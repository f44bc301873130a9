//! Feeds: history, then live; resumed without a gap; ended by the limit, the client or the server.

use std::time::Duration;

use axum::body::Body;
use axum::body::BodyDataStream;
use factum::http::HttpSettings;
use futures::StreamExt;
use serde_json::Value;
use tower::ServiceExt;

use crate::support::Api;
use crate::support::NDJSON;
use crate::support::SSE;
use crate::support::request;
use crate::support::within;

/// The body of a feed, read a piece at a time.
pub(crate) struct Reader {
    stream: BodyDataStream,
    text: String,
}

impl Reader {
    pub(crate) async fn open(api: &Api, path: &str, headers: &[(&str, &str)]) -> Self {
        let response = api.router.clone().oneshot(request("GET", path, headers, Body::empty())).await.expect("infallible");
        assert_eq!(response.status().as_u16(), 200);
        Self { stream: response.into_body().into_data_stream(), text: String::new() }
    }

    /// The next part that ends in `end`, without it.
    async fn part(&mut self, end: &str) -> Option<String> {
        loop {
            if let Some(at) = self.text.find(end) {
                let part = self.text.get(..at).expect("found").to_owned();
                self.text.drain(..at + end.len());
                return Some(part);
            }
            let chunk = within(self.stream.next()).await?.expect("the body goes on");
            self.text.push_str(std::str::from_utf8(&chunk).expect("text"));
        }
    }

    pub(crate) async fn line(&mut self) -> Option<Value> {
        self.part("\n").await.map(|line| serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}")))
    }

    /// The next message with its id, event and data.
    pub(crate) async fn message(&mut self) -> Option<(String, String, Value)> {
        loop {
            let part = self.part("\n\n").await?;
            if part.starts_with(':') {
                continue;
            }
            let field =
                |name: &str| part.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": ")).unwrap_or_default().to_owned();
            return Some((
                field("id"),
                field("event"),
                serde_json::from_str(&field("data")).unwrap_or_else(|error| panic!("{error}: {part}")),
            ));
        }
    }
}

#[tokio::test]
async fn server_sent_events_give_history_then_what_happens() {
    let api = Api::new().await;
    api.fill("order-1", 2).await;
    let mut reader = Reader::open(&api, "/v1/events", &[SSE]).await;
    for number in 1..=2 {
        let (id, event, data) = reader.message().await.unwrap();
        assert_eq!((id.as_str(), event.as_str()), (number.to_string().as_str(), "event"));
        assert_eq!(data["data"], number);
    }
    let (id, event, data) = reader.message().await.unwrap();
    assert_eq!((id.as_str(), event.as_str(), &data["cursor"]), ("2", "caught-up", &Value::from("2")));
    api.fill("order-2", 1).await;
    let (id, event, data) = reader.message().await.unwrap();
    assert_eq!((id.as_str(), event.as_str(), &data["stream"]), ("3", "event", &Value::from("order-2")));
    assert_eq!(reader.message().await.unwrap().1, "caught-up");
}

#[tokio::test]
async fn s3_a_feed_resumes_after_every_cursor() {
    let api = Api::new().await;
    api.fill("order-1", 5).await;
    for seen in 0..=5 {
        let seen_text = seen.to_string();
        let mut reader = Reader::open(&api, "/v1/events?after=end", &[SSE, ("last-event-id", &seen_text)]).await;
        for number in seen + 1..=5 {
            assert_eq!(reader.message().await.unwrap().2["data"], number, "resumed after {seen}");
        }
        assert_eq!(reader.message().await.unwrap().1, "caught-up");
        let mut reader = Reader::open(&api, "/v1/streams/order-1/events", &[SSE, ("last-event-id", &seen_text)]).await;
        for number in seen + 1..=5 {
            let (id, _, data) = reader.message().await.unwrap();
            assert_eq!((id, &data["version"]), (number.to_string(), &Value::from(number)), "resumed after {seen}");
        }
        assert_eq!(reader.message().await.unwrap().1, "caught-up");
    }
}

#[tokio::test]
async fn s6_a_cursor_of_another_world_is_refused() {
    let api = Api::new().await;
    api.fill("order-1", 1).await;
    for bad in ["2", "1.1", "x", "-1"] {
        let answer = api.get_with("/v1/events", &[SSE, ("last-event-id", bad)]).await;
        assert_eq!(answer.problem(400, "malformed-request")["field"], "Last-Event-ID", "{bad}");
    }
    api.get_with("/v1/streams/order-1/events", &[SSE, ("last-event-id", "x")]).await.problem(400, "malformed-request");
    api.get_with("/v1/events?direction=backward", &[SSE]).await.problem(400, "malformed-request");
}

#[tokio::test]
async fn lines_follow_with_control_lines() {
    let api = Api::new().await;
    api.fill("order-1", 1).await;
    let mut reader = Reader::open(&api, "/v1/events?follow=true", &[NDJSON]).await;
    assert_eq!(reader.line().await.unwrap()["data"], 1);
    assert_eq!(reader.line().await.unwrap()["$caught_up"]["cursor"], "1");
    api.fill("order-1", 1).await;
    assert_eq!(reader.line().await.unwrap()["version"], 2);
}

#[tokio::test]
async fn a_feed_of_a_stream_waits_for_it_and_knows_only_it() {
    let api = Api::new().await;
    let mut reader = Reader::open(&api, "/v1/streams/order-1/events?follow=true", &[NDJSON]).await;
    assert!(reader.line().await.unwrap().get("$caught_up").is_some());
    api.fill("order-2", 1).await;
    api.fill("order-1", 1).await;
    let mut line = reader.line().await.unwrap();
    while line.get("$caught_up").is_some() {
        line = reader.line().await.unwrap();
    }
    assert_eq!(line["stream"], "order-1");
}

#[tokio::test]
async fn a_filter_holds_in_a_feed_too() {
    let api = Api::new().await;
    api.fill("order-1", 2).await;
    api.fill("user-1", 1).await;
    let mut reader = Reader::open(&api, "/v1/events?category=user", &[SSE]).await;
    let (id, _, data) = reader.message().await.unwrap();
    assert_eq!((id.as_str(), &data["stream"]), ("3", &Value::from("user-1")));
}

#[tokio::test]
async fn a_limit_ends_a_feed() {
    let api = Api::new().await;
    api.fill("order-1", 5).await;
    let answer = api.get_with("/v1/events?follow=true&limit=3", &[NDJSON]).await.is(200);
    assert_eq!(answer.lines().len(), 3);
    let answer = api.get_with("/v1/events?limit=2", &[SSE]).await.is(200);
    assert_eq!(answer.text().matches("event: event").count(), 2);
}

#[tokio::test]
async fn a_silent_feed_shows_that_it_lives() {
    let api = Api::with(HttpSettings { heartbeat: Duration::from_millis(20), ..HttpSettings::default() }).await;
    let mut reader = Reader::open(&api, "/v1/events?follow=true", &[NDJSON]).await;
    while reader.line().await.unwrap().get("$heartbeat").is_none() {}
    let mut reader = Reader::open(&api, "/v1/events", &[SSE]).await;
    while !reader.part("\n\n").await.unwrap().starts_with(": ") {}
}

#[tokio::test]
async fn stopping_ends_feeds_cleanly() {
    let settings = HttpSettings::default();
    let api = Api::with(settings.clone()).await;
    let mut reader = Reader::open(&api, "/v1/events?follow=true", &[NDJSON]).await;
    assert!(reader.line().await.is_some());
    settings.closing.cancel();
    assert!(reader.line().await.is_none());
    api.get("/health/ready").await.problem(503, "shard-unavailable");
}
