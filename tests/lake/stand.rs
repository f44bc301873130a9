//! A server with the real events in it, what it is asked, and what a program of our own makes of the same events.

use std::collections::BTreeMap;
use std::collections::HashMap;
use std::io::BufRead;
use std::io::BufReader;
use std::path::Path;

use serde_json::Value;
use serde_json::json;

/// A client of one server.
pub(crate) struct Api {
    client: reqwest::Client,
    url: String,
}

impl Api {
    pub(crate) fn new(url: &str) -> Self {
        Self { client: reqwest::Client::builder().http1_only().build().expect("a client"), url: url.to_owned() }
    }

    /// Puts the real events into the log.
    pub(crate) async fn import(&self) {
        let request = self.client.post(format!("{}/v1/import", self.url));
        let request = request.header("content-type", "application/x-ndjson").header("content-encoding", "gzip");
        let answer = request.body(std::fs::read(data()).expect("the data")).send().await.expect("an answer");
        let text = answer.text().await.expect("the whole answer");
        let last: Value = serde_json::from_str(text.lines().last().unwrap_or_default()).expect("JSON");
        assert_eq!((&last["done"], &last["imported"]), (&json!(true), &json!(EVENTS)), "{text}");
    }

    /// A query's rows and the cursor that they are of.
    pub(crate) async fn sql(&self, query: &str) -> (Vec<Value>, String) {
        let answer = self.client.post(format!("{}/v1/sql", self.url)).json(&json!({"query": query})).send().await.expect("an answer");
        let status = answer.status();
        let text = answer.text().await.expect("the whole answer");
        assert!(status.is_success(), "{query}: {status} {text}");
        let mut json: Value = serde_json::from_str(&text).expect("JSON");
        let cursor = json["cursor"].as_str().expect("a cursor").to_owned();
        let Value::Array(rows) = json["rows"].take() else { panic!("{text}") };
        (rows, cursor)
    }

    /// Defines an export.
    pub(crate) async fn export(&self, name: &str, definition: &Value) {
        let request = self.client.put(format!("{}/v1/exports/{name}", self.url)).json(definition);
        let answer = request.send().await.expect("an answer");
        let status = answer.status();
        assert!(status.is_success(), "{status} {}", answer.text().await.unwrap_or_default());
    }

    /// Has an export publish everything, however often that takes; its status.
    pub(crate) async fn flush(&self, name: &str) -> Value {
        for _ in 0..FLUSHES_MAX {
            let request = self.client.post(format!("{}/v1/exports/{name}/flush", self.url)).header("prefer", "wait=30");
            let answer = request.send().await.expect("an answer");
            let status = answer.status();
            let json: Value = answer.json().await.expect("JSON");
            // 503: the lake does not answer for the moment, and is tried again meanwhile.
            if status.as_u16() != 503 {
                assert!(status.is_success(), "{status} {json}");
                if json["lag_events"] == 0 {
                    return json;
                }
            }
        }
        panic!("the export {name} never came to the end");
    }

    /// How an export fares.
    pub(crate) async fn status(&self, name: &str) -> Value {
        let answer = self.client.get(format!("{}/v1/exports/{name}", self.url)).send().await.expect("an answer");
        answer.json().await.expect("JSON")
    }
}

/// The files that a status names, as paths.
pub(crate) fn files(status: &Value) -> Vec<String> {
    let files = status["files"].as_array().expect("files").iter();
    files.map(|file| file["url"].as_str().expect("a url").trim_start_matches("file://").to_owned()).collect()
}

/// What the real events come to, worked out here.
pub(crate) struct Fold {
    /// By type: events, and cents.
    pub(crate) types: BTreeMap<String, (i64, i64)>,
    /// Of each stream's steps from one event to the next: how many, microseconds in all, and the longest.
    pub(crate) steps: (i64, i64, i64),
}

impl Fold {
    pub(crate) fn of_the_data() -> Self {
        #[expect(clippy::disallowed_methods, reason = "a file of the tests' own")]
        let file = std::fs::File::open(data()).expect("the data");
        let mut types: BTreeMap<String, (i64, i64)> = BTreeMap::new();
        let mut last: HashMap<String, i64> = HashMap::new();
        let mut steps = (0, 0, i64::MIN);
        for line in BufReader::new(flate2::read::GzDecoder::new(file)).lines() {
            let event: Value = serde_json::from_str(&line.expect("text")).expect("JSON");
            let text = |name: &str| event[name].as_str().expect("text").to_owned();
            let entry = types.entry(text("type")).or_default();
            entry.0 += 1;
            entry.1 += event["data"]["amount"].as_f64().map_or(0, cents);
            let at: jiff::Timestamp = text("occurred_at").parse().expect("a time");
            if let Some(before) = last.insert(text("stream"), at.as_microsecond()) {
                let step = at.as_microsecond() - before;
                steps = (steps.0 + 1, steps.1 + step, steps.2.max(step));
            }
        }
        assert_eq!(types.values().map(|(events, _)| events).sum::<i64>(), EVENTS);
        Self { types, steps }
    }

    /// As readers answer `type, events, cents` by type.
    pub(crate) fn type_rows(&self) -> Vec<Value> {
        self.types.iter().map(|(name, (events, cents))| json!([name, events, cents])).collect()
    }

    pub(crate) fn step_rows(&self) -> Vec<Value> {
        vec![json!([self.steps.0, self.steps.1, self.steps.2])]
    }
}

#[expect(clippy::cast_possible_truncation, reason = "amounts are small, and have two digits behind the point")]
fn cents(amount: f64) -> i64 {
    (amount * 100.0).round() as i64
}

fn data() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/domestic-declarations.ndjson.gz")
}

pub(crate) const EVENTS: i64 = 55_628;
const FLUSHES_MAX: usize = 40;
