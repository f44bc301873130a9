//! A small client of the HTTP contract, for tests that need more than a command.

use std::time::Duration;

use serde_json::Value;
use serde_json::json;
use uuid::Uuid;

/// One server's contract.
#[derive(Clone)]
pub(crate) struct Api {
    client: reqwest::Client,
    url: String,
}

/// What came of an append.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Answer {
    /// 200 or 201.
    Acknowledged(Value),
    /// An answer that says no.
    Refused(u16, Value),
    /// No answer: it may be there or not.
    Unknown,
}

impl Api {
    pub(crate) fn new(url: &str) -> Self {
        let client = reqwest::Client::builder().timeout(Duration::from_secs(30)).http1_only().build().expect("a client");
        Self { client, url: url.to_owned() }
    }

    /// Appends events with these ids, whose data is `fill`.
    pub(crate) async fn append(&self, stream: &str, expected: u64, ids: &[Uuid], fill: &str) -> Answer {
        let events: Vec<Value> = ids.iter().map(|id| json!({"id": id, "type": "Tested", "data": fill})).collect();
        let body = json!({"events": events, "expected_version": expected});
        let Ok(response) = self.client.post(format!("{}/v1/streams/{stream}/events", self.url)).json(&body).send().await else {
            return Answer::Unknown;
        };
        let status = response.status();
        let Ok(value) = response.json::<Value>().await else { return Answer::Unknown };
        // A 503 may come from a shard that died with the append in its hands; its `outcome` would say so.
        match status.as_u16() {
            200 | 201 => Answer::Acknowledged(value),
            503 if value.get("outcome").and_then(Value::as_str) != Some("not-stored") => Answer::Unknown,
            code => Answer::Refused(code, value),
        }
    }

    /// Appends an event, whatever is there; `None` without an answer that says that it is stored.
    #[cfg(feature = "analytics")]
    pub(crate) async fn append_any(&self, stream: &str, number: u64) -> Option<()> {
        let body = json!({"events": [{"type": "Tested", "data": {"number": number, "text": format!("number {number}")}}]});
        let response = self.client.post(format!("{}/v1/streams/{stream}/events", self.url)).json(&body).send().await.ok()?;
        response.status().is_success().then_some(())
    }

    /// Flushes an export; its status, or `None` without an answer that says yes.
    #[cfg(feature = "analytics")]
    pub(crate) async fn flush(&self, export: &str) -> Option<Value> {
        let request = self.client.post(format!("{}/v1/exports/{export}/flush", self.url)).header("prefer", "wait=25");
        let response = request.send().await.ok()?;
        if response.status().is_success() { response.json().await.ok() } else { None }
    }

    pub(crate) async fn get(&self, path: &str) -> Option<Value> {
        let response = self.client.get(format!("{}{path}", self.url)).send().await.ok()?;
        if response.status().is_success() { response.json().await.ok() } else { None }
    }

    /// What a read model says once it has everything up to a cursor.
    pub(crate) async fn get_at(&self, path: &str, cursor: &str) -> Option<Value> {
        let request = self.client.get(format!("{}{path}", self.url)).header("factum-min-position", cursor).header("prefer", "wait=30");
        let response = request.send().await.ok()?;
        if response.status().is_success() { response.json().await.ok() } else { None }
    }

    /// Waits until a projection has failed. Each try is a request, and takes its time.
    pub(crate) async fn failed(&self, projection: &str) {
        let mut state = Value::Null;
        for _ in 0..10_000 {
            state = self.get(&format!("/v1/projections/{projection}")).await.expect("a status");
            if state["state"] == "failed" {
                return;
            }
        }
        panic!("{state}");
    }

    /// What stands at a path, if it is there.
    pub(crate) async fn text(&self, path: &str) -> Option<String> {
        let response = self.client.get(format!("{}{path}", self.url)).send().await.ok()?;
        if response.status().is_success() { response.text().await.ok() } else { None }
    }

    /// Status and body of what comes of a PUT.
    pub(crate) async fn put(&self, path: &str, media_type: &str, body: &str) -> (u16, String) {
        let request = self.client.put(format!("{}{path}", self.url)).header("content-type", media_type).body(body.to_owned());
        let response = request.send().await.expect("an answer");
        (response.status().as_u16(), response.text().await.expect("a body"))
    }

    /// Status and body of what comes of a POST; `None` without an answer, or with half of one.
    pub(crate) async fn post(&self, path: &str, media_type: &str, body: String) -> Option<(u16, String)> {
        let request = self.client.post(format!("{}{path}", self.url)).header("content-type", media_type).body(body);
        let response = request.send().await.ok()?;
        Some((response.status().as_u16(), response.text().await.ok()?))
    }

    /// Status of what comes of a DELETE; `None` without an answer.
    pub(crate) async fn delete(&self, path: &str) -> Option<u16> {
        Some(self.client.delete(format!("{}{path}", self.url)).send().await.ok()?.status().as_u16())
    }

    /// Appends one event, whatever is there.
    pub(crate) async fn write(&self, stream: &str, event_type: &str, data: Value) {
        let body = json!({"events": [{"type": event_type, "data": data}]}).to_string();
        let answer = self.post(&format!("/v1/streams/{stream}/events"), "application/json", body).await;
        assert!(matches!(answer, Some((201, _))), "{answer:?}");
    }

    /// All events after a cursor.
    pub(crate) async fn events_after(&self, cursor: &str) -> (Vec<Value>, String) {
        let mut cursor = cursor.to_owned();
        let mut events = Vec::new();
        loop {
            let page = self.get(&format!("/v1/events?limit=1000&after={cursor}")).await.expect("a page");
            let more = page["events"].as_array().expect("events").clone();
            page["cursor"].as_str().expect("a cursor").clone_into(&mut cursor);
            events.extend(more);
            if page["next"].is_null() {
                return (events, cursor);
            }
        }
    }
}
