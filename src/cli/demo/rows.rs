//! What the demo shows of projections: rows that are made of events, asked for, and read right after one's own write.

use std::time::Duration;
use std::time::Instant;

use reqwest::Method;
use reqwest::header::CONTENT_TYPE;
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use super::tour::SHOWN_STREAM;
use super::tour::Tour;
use crate::cli::event::seconds;
use crate::cli::failure::Failure;
use crate::cli::output::Column;
use crate::cli::output::cut;
use crate::cli::output::grouped;
use crate::cli::projections::State;
use crate::cli::projections::caught_up;
use crate::config::duration_text;

#[derive(Deserialize)]
struct Defined {
    change: String,
}

#[derive(Deserialize)]
struct Rows {
    rows: Vec<Row>,
    count: Option<u64>,
}

#[derive(Deserialize)]
struct Row {
    declaration: String,
    status: String,
    /// With the digits of its column.
    amount: Box<RawValue>,
    approvals: u64,
    rejections: u64,
    reviews: u64,
    paid_at: Option<String>,
}

/// A projection that was put in force, and has applied what was there.
pub(super) struct Built {
    was_there: bool,
    pub(super) state: State,
    took: Duration,
}

impl Tour<'_> {
    /// Defines the view, and asks it where the declarations stand.
    pub(super) async fn rows(&mut self) -> Result<(), Failure> {
        self.step(&format!("9. Rows from events: PUT /v1/projections/{VIEW}, a definition in TOML"))?;
        let built = self.build(VIEW, DECLARATIONS).await?;
        let all = self.ask(&[("limit", "1"), ("count", "true")]).await?;
        self.say(&built.told(VIEW, all.count.unwrap_or_default()))?;
        let started = Instant::now();
        let mut lines = Vec::new();
        for status in STATUSES {
            let found = self.ask(&[("status", status), ("order_by", "-amount"), ("limit", "1"), ("count", "true")]).await?;
            lines.extend(found.rows.into_iter().map(|largest| {
                let count = grouped(found.count.unwrap_or_default());
                vec![status.to_owned(), count, largest.amount.get().to_owned(), largest.declaration]
            }));
        }
        let time = started.elapsed();
        let columns = [Column::left("status"), Column::right("declarations"), Column::right("largest"), Column::left("which")];
        self.output.indented_table(&columns, lines)?;
        self.source(&format!(
            "GET /v1/views/{VIEW}?status=…&order_by=-amount&limit=1&count=true, {} times: {}",
            STATUSES.len(),
            duration_text(time)
        ))?;
        self.say("The ones that were sent back most often:")?;
        let started = Instant::now();
        let found = self.ask(&[("order_by", "-rejections"), ("limit", "4")]).await?;
        let time = started.elapsed();
        let columns = [
            Column::left("declaration"),
            Column::left("status"),
            Column::right("amount"),
            Column::right("rejections"),
            Column::right("approvals"),
            Column::left("paid at"),
        ];
        self.output.indented_table(&columns, found.rows.into_iter().map(Row::cells).collect())?;
        self.source(&format!("GET /v1/views/{VIEW}?order_by=-rejections&limit=4, in {}", duration_text(time)))
    }

    /// Appends, and reads the row that the event has changed.
    pub(super) async fn own_write(&mut self) -> Result<(), Failure> {
        self.step("10. Read what you wrote: the cursor of an append, given back as Factum-Min-Position")?;
        let before = self.row(None).await?.reviews;
        let version = self.version_of(SHOWN_STREAM).await?;
        let sent = Instant::now();
        let answer: Value = serde_json::from_str(&self.append(version).await?)
            .map_err(|error| Failure::failed("the answer cannot be read").detail(error.to_string()))?;
        let appended = sent.elapsed();
        let cursor = answer.get("cursor").and_then(Value::as_str).unwrap_or_default();
        let asked = Instant::now();
        let after = self.row(Some(cursor)).await?.reviews;
        let waited = asked.elapsed();
        if after <= before {
            return Err(Failure::failed(format!("the row does not know of the append: {before} reviews before, {after} after it")));
        }
        let green = self.output.green("201");
        self.say(&format!("append of DeclarationReviewed: {green}, cursor {cursor}, on disk after {}", duration_text(appended)))?;
        self.say(&format!("GET /v1/views/{VIEW}/{SHOWN_STREAM}: reviews {before}, now {after}; it waited {}", duration_text(waited)))?;
        let state: State = self.client.get(&["v1", "projections", VIEW], &[]).await?;
        self.source(&format!("the view is {}, at {} of {}; lag {} events", state.state, state.checkpoint, state.head, state.lag_events))
    }

    /// Puts a projection in force, and waits until its rows are of everything that is there.
    pub(super) async fn build(&self, name: &str, definition: &'static str) -> Result<Built, Failure> {
        let request = self.client.request(Method::PUT, &["v1", "projections", name], &[])?.header(CONTENT_TYPE, "application/toml");
        let started = Instant::now();
        let response = self.client.send(request.body(definition)).await?;
        let defined: Defined = self.client.json(response).await?;
        let state = self.caught_up(name).await?;
        Ok(Built { was_there: defined.change == "same", state, took: started.elapsed() })
    }

    /// Builds its rows from the first event on.
    pub(super) async fn build_anew(&self, name: &str) -> Result<Built, Failure> {
        let started = Instant::now();
        self.client.send(self.client.request(Method::POST, &["v1", "projections", name, "rebuild"], &[])?).await?;
        let state = self.caught_up(name).await?;
        Ok(Built { was_there: false, state, took: started.elapsed() })
    }

    async fn caught_up(&self, name: &str) -> Result<State, Failure> {
        let answer = caught_up(&self.client, name, Some(CATCH_UP_MAX), |state| match state.trouble() {
            // Nobody wants to wait here for a Postgres that does not answer.
            Some(trouble) if state.state != "rebuilding" => Err(Failure::failed(trouble)),
            Some(_) | None => Ok(()),
        });
        State::read(&answer.await?)
    }

    async fn ask(&self, query: &[(&str, &str)]) -> Result<Rows, Failure> {
        let query: Vec<_> = query.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
        self.client.get(&["v1", "views", VIEW], &query).await
    }

    /// The shown declaration's row, once the view has come to `cursor`.
    async fn row(&self, cursor: Option<&str>) -> Result<Row, Failure> {
        let mut request = self.client.request(Method::GET, &["v1", "views", VIEW, SHOWN_STREAM], &[])?;
        if let Some(cursor) = cursor {
            request = request.header("Factum-Min-Position", cursor);
        }
        let response = self.client.send(request).await?;
        self.client.json(response).await
    }
}

impl Built {
    /// What has become of the events, with figures if they were applied just now.
    pub(super) fn told(&self, name: &str, rows: u64) -> String {
        let (rows, lag) = (grouped(rows), grouped(self.state.lag_events));
        if self.was_there {
            return format!("{name} is defined already: {rows} rows, lag {lag} events");
        }
        let events: u64 = self.state.checkpoint.parse().unwrap_or_default();
        let pace = rate(events, self.took);
        format!(
            "{} events became {rows} rows in {}: {} events/s, lag {lag} events",
            grouped(events),
            duration_text(self.took),
            grouped(pace)
        )
    }
}

impl Row {
    fn cells(self) -> Vec<String> {
        let paid_at = self.paid_at.as_deref().map(seconds).unwrap_or_default();
        let numbers = [self.amount.get().to_owned(), self.rejections.to_string(), self.approvals.to_string()];
        [self.declaration, cut(&self.status, 20)].into_iter().chain(numbers).chain([paid_at]).collect()
    }
}

/// Events a second.
#[expect(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a rate for people")]
fn rate(events: u64, took: Duration) -> u64 {
    (events as f64 / took.as_secs_f64().max(1e-6)) as u64
}

/// How a declaration's events make its row.
static DECLARATIONS: &str = include_str!("../../../tests/data/definitions/projections/declarations.toml");
pub(super) const VIEW: &str = "declarations";
const STATUSES: [&str; 7] = ["saved", "submitted", "approved", "final-approved", "payment-requested", "rejected", "paid"];
/// The events are there in a second or two; longer means that something is wrong.
const CATCH_UP_MAX: Duration = Duration::from_secs(60);
