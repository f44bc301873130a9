//! What the demo shows of aggregates: a category is defined, its states are folded from real events, and commands are decided by them.

use std::time::Instant;

use reqwest::Method;
use reqwest::header::CONTENT_TYPE;
use serde::Deserialize;
use serde_json::Value;
use serde_json::json;

use super::tour::CATEGORY;
use super::tour::SHOWN_STREAM;
use super::tour::Tour;
use crate::cli::failure::Failure;
use crate::cli::output::Column;
use crate::cli::output::cut;
use crate::config::duration_text;

#[derive(Deserialize)]
struct Defined {
    change: String,
    commands: Vec<String>,
}

#[derive(Deserialize)]
struct State {
    version: u64,
    state: Value,
    snapshot_version: Option<u64>,
    events_replayed: u64,
}

#[derive(Deserialize)]
struct Done {
    version: u64,
    #[serde(default)]
    duplicate: bool,
    state: Value,
}

impl Tour<'_> {
    /// Defines the category, and shows one declaration at three of its versions.
    pub(super) async fn aggregate(&mut self) -> Result<(), Failure> {
        self.step(&format!("7. State from events: PUT /v1/aggregates/{CATEGORY}, a module in JavaScript"))?;
        let request = self.client.request(Method::PUT, &["v1", "aggregates", CATEGORY], &[])?.header(CONTENT_TYPE, "text/javascript");
        let response = self.client.send(request.body(DECLARATION)).await?;
        let defined: Defined = self.client.json(response).await?;
        let what = if defined.change == "same" { "is defined already" } else { "is defined" };
        self.say(&format!("category {CATEGORY} {what}; commands: {}", defined.commands.join(", ")))?;
        let id = id_of(SHOWN_STREAM);
        let mut rows = Vec::new();
        let started = Instant::now();
        for version in SHOWN_VERSIONS {
            let state = self.state(id, Some(version)).await?;
            rows.push(row(&state));
        }
        let time = started.elapsed();
        let columns = [
            Column::right("version"),
            Column::left("status"),
            Column::right("amount"),
            Column::right("rejections"),
            Column::left("paid at"),
            Column::right("replayed"),
        ];
        self.output.indented_table(&columns, rows)?;
        let versions = SHOWN_VERSIONS.map(|version| version.to_string()).join(", ");
        self.source(&format!("{SHOWN_STREAM} after its events {versions}: GET /v1/aggregates/{CATEGORY}/{id}?version=…"))?;
        self.source(&format!("all three in {}, folded from events; nothing but events is the truth", duration_text(time)))?;
        let now = self.state(id, None).await?;
        let snapshot =
            now.snapshot_version.map_or_else(|| "no snapshot yet".to_owned(), |version| format!("from the snapshot of version {version}"));
        self.source(&format!("now, at version {}: {} events replayed, {snapshot}", now.version, now.events_replayed))
    }

    /// Shows a command that is accepted and one that is rejected.
    pub(super) async fn commands(&mut self) -> Result<(), Failure> {
        self.step(&format!("8. Commands, decided by that state: POST /v1/aggregates/{CATEGORY}/…/commands/reject"))?;
        let response = self.reject(OPEN_STREAM).await?;
        let done: Done = self.client.json(response).await?;
        let green = self.output.green(if done.duplicate { "200" } else { "201" });
        let what =
            if done.duplicate { "done by an earlier demo under the same key, and only once" } else { "DeclarationRejected is on disk" };
        let status = done.state.get("status").and_then(Value::as_str).unwrap_or_default().to_owned();
        self.say(&format!("{OPEN_STREAM}:  {green}, {what}; version {}, {}", done.version, cut(&status, 20)))?;
        let told = self.reject(SHOWN_STREAM).await.err().ok_or_else(|| Failure::failed("a paid declaration was rejected"))?;
        let Some(problem) = told.as_problem().filter(|problem| problem.slug() == "command-rejected") else { return Err(told) };
        let yellow = self.output.yellow("422");
        let code = problem.members.get("code").and_then(Value::as_str).unwrap_or_default();
        let text = format!("{SHOWN_STREAM}: {yellow}, {code}: {}", cut(&problem.detail, 60));
        self.say(&text)?;
        self.say("The module said no, so nothing was stored; a retry of the first under its key changes nothing.")
    }

    async fn state(&self, id: &str, version: Option<u64>) -> Result<State, Failure> {
        let query: Vec<_> = version.map(|version| ("version", version.to_string())).into_iter().collect();
        self.client.get(&["v1", "aggregates", CATEGORY, id], &query).await
    }

    async fn reject(&self, stream: &str) -> Result<reqwest::Response, Failure> {
        let path = ["v1", "aggregates", CATEGORY, id_of(stream), "commands", "reject"];
        let body = json!({"by": "the demo", "reason": "the receipt is missing"});
        // The demo may be run again on the same data: one key, one rejection.
        self.client.send(self.client.request(Method::POST, &path, &[])?.header("Idempotency-Key", KEY).json(&body)).await
    }
}

fn row(state: &State) -> Vec<String> {
    let member = |name: &str| match state.state.get(name) {
        None | Some(Value::Null) => String::new(),
        Some(Value::String(text)) => cut(text, 30),
        Some(value) => value.to_string(),
    };
    let replayed = state.events_replayed.to_string();
    vec![state.version.to_string(), member("status"), member("amount"), member("rejections"), member("paid_at"), replayed]
}

fn id_of(stream: &str) -> &str {
    stream.split_once('-').map_or(stream, |(_, id)| id)
}

/// How a declaration's events make its state, and who may reject one.
static DECLARATION: &str = include_str!("../../../tests/data/definitions/aggregates/declaration.js");
/// Rejected by its supervisor after the final approval, never paid.
pub(super) const OPEN_STREAM: &str = "declaration-90094";
/// Submitted, rejected for the first time, paid.
const SHOWN_VERSIONS: [u64; 3] = [1, 2, 24];
const KEY: &str = "factum-demo-reject";
