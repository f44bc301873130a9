//! What the demo shows, step by step; each step asks the server over HTTP, as any client would.

use std::path::PathBuf;
use std::time::Duration;
use std::time::Instant;

use reqwest::Method;
use serde::Deserialize;
use serde_json::Value;
use serde_json::json;
use serde_json::value::RawValue;
use tokio_util::sync::CancellationToken;

use super::EVENTS;
use super::EVENTS_COUNT;
use super::EVENTS_SOURCE;
use super::STREAMS_COUNT;
use super::decisions::OPEN_STREAM;
use super::live::Follower;
use super::not_the_demos;
use super::postgres;
use super::program;
use super::rows::VIEW;
use crate::Database;
use crate::cli::client::Client;
use crate::cli::event::Event;
use crate::cli::event::STREAM_COLUMNS;
use crate::cli::failure::EXIT_CONFLICT;
use crate::cli::failure::Failure;
use crate::cli::import;
use crate::cli::output::Column;
use crate::cli::output::Output;
use crate::cli::output::cut;
use crate::cli::output::grouped;
use crate::config::bytes_text;
use crate::config::duration_text;

/// The demo's way through the server.
pub(super) struct Tour<'a> {
    pub(super) client: Client,
    pub(super) output: &'a mut Output,
    pub(super) data: PathBuf,
    pub(super) database: Database,
    /// How many shards it was asked to begin with.
    pub(super) shards: Option<u16>,
}

impl Tour<'_> {
    /// Shows everything.
    pub(super) async fn show(&mut self, events_before: u64) -> Result<(), Failure> {
        self.start(events_before).await?;
        self.import().await?;
        self.history().await?;
        self.questions().await?;
        self.protection().await?;
        self.aggregate().await?;
        self.commands().await?;
        self.rows().await?;
        self.own_write().await?;
        self.postgres().await?;
        #[cfg(feature = "analytics")]
        self.analytics().await?;
        self.safety()?;
        self.try_next()
    }

    pub(super) fn step(&mut self, title: &str) -> Result<(), Failure> {
        let title = self.output.bold(title);
        self.output.line("")?;
        self.output.line(&title)?;
        self.output.flush()?;
        Ok(())
    }

    pub(super) fn say(&mut self, text: &str) -> Result<(), Failure> {
        self.output.line(&format!("   {text}"))?;
        self.output.flush()?;
        Ok(())
    }

    pub(super) fn source(&mut self, text: &str) -> Result<(), Failure> {
        let text = self.output.dim(text);
        self.say(&text)
    }

    async fn start(&mut self, events_before: u64) -> Result<(), Failure> {
        self.output.line("1. A server, in this process")?;
        let base = self.client.base().to_owned();
        self.say(&format!("{base}, data in {}", self.data.display()))?;
        if events_before == 0 {
            return Ok(());
        }
        let known: Result<Value, Failure> = self.client.get(&["v1", "streams", KNOWN_STREAM], &[]).await;
        if known.is_err() {
            return Err(not_the_demos(&self.data, events_before));
        }
        self.say(&format!("It holds {} events of an earlier demo; what is there already is skipped.", grouped(events_before)))
    }

    async fn import(&mut self) -> Result<(), Failure> {
        self.step(&format!("2. Import {} real events over HTTP: POST /v1/import", grouped(EVENTS_COUNT)))?;
        self.source(EVENTS_SOURCE)?;
        let source = import::Source::of_memory("the demo's events", EVENTS);
        let bar = import::bar(source.bytes_total());
        let started = Instant::now();
        let imported = CancellationToken::new();
        let importing = async {
            let _imported = imported.drop_guard_ref();
            import::import(&self.client, source, &bar).await
        };
        let (totals, joined) = tokio::join!(importing, self.grow(&imported));
        bar.finish_and_clear();
        let totals = totals?;
        let seconds = started.elapsed().as_secs_f64();
        if totals.imported + totals.duplicates != EVENTS_COUNT {
            return Err(Failure::failed(format!("{} events were confirmed, not {EVENTS_COUNT}", totals.imported + totals.duplicates)));
        }
        self.say(&format!(
            "{} events imported, {} there already; {} streams; {seconds:.1} s; {} events/s",
            grouped(totals.imported),
            grouped(totals.duplicates),
            grouped(STREAMS_COUNT),
            grouped(import::rate(&totals, seconds))
        ))?;
        let status =
            self.database.status().await.map_err(|error| Failure::failed("the status cannot be read").detail(error.to_string()))?;
        let (log, index) = status.iter().fold((0, 0), |(log, index), shard| (log + shard.log_bytes, index + shard.index_bytes));
        self.say(&format!(
            "on disk: log {}, {} bytes an event; index {}, which is written in the background",
            bytes_text(log),
            log / EVENTS_COUNT,
            bytes_text(index)
        ))?;
        self.say("each batch was synced to disk before it was confirmed")?;
        joined?.map_or(Ok(()), |joined| self.say(&joined))
    }

    async fn history(&mut self) -> Result<(), Failure> {
        self.step(&format!("3. One declaration's history: GET /v1/streams/{SHOWN_STREAM}/events"))?;
        let (page, time) = self.timed_page(&["v1", "streams", SHOWN_STREAM, "events"], &[("limit", "8".to_owned())]).await?;
        self.event_table(&page.events)?;
        let total = page.version.unwrap_or_default();
        self.source(&format!("{} of its {total} events, in {}", page.events.len(), duration_text(time)))
    }

    async fn questions(&mut self) -> Result<(), Failure> {
        self.step("4. Questions, answered by the index: GET /v1/types, GET /v1/events?type=…&category=…")?;
        let started = Instant::now();
        let types: Types = self.client.get(&["v1", "types"], &[]).await?;
        let time = started.elapsed();
        let mut types = types.types;
        types.sort_by_key(|line| std::cmp::Reverse(line.events));
        let rows = types.iter().take(6).map(|line| vec![line.event_type.clone(), grouped(line.events)]).collect();
        self.output.indented_table(&[Column::left("type"), Column::right("events")], rows)?;
        let categories: Categories = self.client.get(&["v1", "categories"], &[]).await?;
        for line in &categories.categories {
            self.say(&format!("category {}: {} streams, {} events", line.category, grouped(line.streams), grouped(line.events)))?;
        }
        self.source(&format!("all types counted in {}", duration_text(time)))?;
        let query = [("type", RARE_TYPE.to_owned()), ("category", CATEGORY.to_owned()), ("limit", "1000".to_owned())];
        let (page, time) = self.timed_page(&["v1", "events"], &query).await?;
        self.say(&format!("type={RARE_TYPE}&category={CATEGORY}: {} events found in {}", page.events.len(), duration_text(time)))
    }

    async fn protection(&mut self) -> Result<(), Failure> {
        self.step("5. What protects you: an append says which version it has seen")?;
        let seen = self.version_of(SHOWN_STREAM).await?;
        let follower = Follower::connect(&self.client, CATEGORY).await?;
        let sent = Instant::now();
        let answer = self.append(seen).await?;
        let time = sent.elapsed();
        let green = self.output.green("201");
        self.say(&format!(
            "append with expected_version {seen}: {green}, now at version {}, on disk after {}",
            seen + 1,
            duration_text(time)
        ))?;
        self.source(&format!("the server's answer: {}", cut(&answer, ANSWER_WIDTH)))?;
        let told = self.append(seen).await.err().ok_or_else(|| Failure::failed("an append with an old version was taken"))?;
        let Some(problem) = told.as_problem().filter(|_| told.exit() == EXIT_CONFLICT) else { return Err(told) };
        let yellow = self.output.yellow("409");
        self.say(&format!("the same again:                {yellow}, {}, not at {seen}", problem.detail))?;
        self.say("Two people decide on what they read; the second one is told, nothing is overwritten.")?;
        self.step("6. Live: a reader that was waiting on GET /v1/events (SSE) saw that append")?;
        let event = follower.wait_for(SHOWN_STREAM, seen + 1).await?;
        let line = self.output.cyan(&event.line);
        self.say(&line)?;
        self.source(&format!("{} after the append was sent", duration_text(event.at.saturating_duration_since(sent))))?;
        let (page, time) = self.timed_page(&["v1", "events"], &[("tag", TAG.to_owned()), ("limit", "1000".to_owned())]).await?;
        self.say(&format!("tag={TAG}: {} found in {}", plural(page.events.len(), "event"), duration_text(time)))
    }

    fn safety(&mut self) -> Result<(), Failure> {
        let number = if cfg!(feature = "analytics") { 14 } else { 12 };
        self.step(&format!("{number}. What is acknowledged is on disk"))?;
        self.say(&format!("Try it: `kill -9 {}`, then `factum demo` again: every event is there, none twice.", std::process::id()))
    }

    fn try_next(&mut self) -> Result<(), Failure> {
        self.step("Try next, in another terminal")?;
        let base = self.client.base().to_owned();
        // So that the commands can be copied as they are, wherever this program lies.
        if let Some(path) = program::path_to_export() {
            self.say(&path)?;
        }
        if base != DEFAULT_URL {
            self.say(&format!("export FACTUM_URL={base}"))?;
        }
        let mut commands = vec![
            format!("curl '{base}/v1/streams/{SHOWN_STREAM}/events?limit=2'"),
            format!("curl '{base}/v1/events?type={RARE_TYPE}&limit=3'"),
            format!("factum tail --category {CATEGORY}"),
            format!("factum append {SHOWN_STREAM} DeclarationReviewed '{{\"by\": \"me\"}}' --tag {TAG}"),
            format!("factum read {SHOWN_STREAM} --backward --limit 5"),
            format!("factum state {SHOWN_STREAM} --at 4"),
            format!("factum command {OPEN_STREAM} reject '{{\"by\": \"me\", \"reason\": \"no receipt\"}}'"),
            format!("factum streams --category {CATEGORY} --limit 10"),
            format!("curl '{base}/v1/views/{VIEW}?amount__gte=2000&order_by=-amount&limit=3'"),
            format!("curl '{base}/v1/projections/{VIEW}'"),
            format!("factum views {VIEW} --where rejections__gte=4 --order-by -amount"),
            format!("factum views {VIEW} {SHOWN_STREAM}"),
            format!("factum projections {VIEW} rebuild --wait"),
            "factum projections".to_owned(),
        ];
        if postgres::postgres_url().is_some() {
            commands.push(format!("psql \"$FACTUM_POSTGRES_URL\" -c '{}'", postgres::SQL));
        }
        #[cfg(feature = "analytics")]
        commands.extend([
            format!("factum sql 'select type, count(*) as events from {CATEGORY} group by type order by events desc'"),
            "factum sql".to_owned(),
        ]);
        commands.push("factum bench append --clients 8 --seconds 5".to_owned());
        for command in commands {
            self.say(&command)?;
        }
        self.output.line("")?;
        Ok(())
    }

    pub(super) async fn version_of(&self, stream: &str) -> Result<u64, Failure> {
        let stream: StreamInfo = self.client.get(&["v1", "streams", stream], &[]).await?;
        Ok(stream.version)
    }

    /// Appends a review to the shown declaration; the server's answer.
    pub(super) async fn append(&self, expected: u64) -> Result<String, Failure> {
        let body = json!({
            "expected_version": expected,
            "events": [{"type": "DeclarationReviewed", "data": {"by": "the demo"}, "tags": [TAG]}]
        });
        let request = self.client.request(Method::POST, &["v1", "streams", SHOWN_STREAM, "events"], &[])?.json(&body);
        let response = self.client.send(request).await?;
        response.text().await.map_err(|error| self.client.unreachable(&error))
    }

    async fn timed_page(&self, path: &[&str], query: &[(&str, String)]) -> Result<(Page, Duration), Failure> {
        let started = Instant::now();
        let page = self.client.get(path, query).await?;
        Ok((page, started.elapsed()))
    }

    fn event_table(&mut self, events: &[Box<RawValue>]) -> Result<(), Failure> {
        let rows: Result<Vec<_>, _> =
            events.iter().map(|event| Event::parse(event.get()).map(|event| event.stream_row(TABLE_WIDTH))).collect();
        let rows = rows.map_err(|error| Failure::failed("the answer cannot be read").detail(error.to_string()))?;
        self.output.indented_table(&STREAM_COLUMNS, rows)?;
        Ok(())
    }
}

fn plural(count: usize, thing: &str) -> String {
    if count == 1 { format!("1 {thing}") } else { format!("{count} {thing}s") }
}

#[derive(Deserialize)]
struct Page {
    version: Option<u64>,
    events: Vec<Box<RawValue>>,
}

#[derive(Deserialize)]
struct StreamInfo {
    version: u64,
}

#[derive(Deserialize)]
struct Types {
    types: Vec<TypeLine>,
}

#[derive(Deserialize)]
struct TypeLine {
    #[serde(rename = "type")]
    event_type: String,
    events: u64,
}

#[derive(Deserialize)]
struct Categories {
    categories: Vec<CategoryLine>,
}

#[derive(Deserialize)]
struct CategoryLine {
    category: String,
    streams: u64,
    events: u64,
}

/// The first stream of the data.
const KNOWN_STREAM: &str = "declaration-86791";
/// The stream with the longest history: rejected, mended and sent again many times.
pub(super) const SHOWN_STREAM: &str = "declaration-113462";
pub(super) const CATEGORY: &str = "declaration";
const RARE_TYPE: &str = "DeclarationSaved";
const TAG: &str = "reviewer:demo";
const DEFAULT_URL: &str = "http://127.0.0.1:4400";
const TABLE_WIDTH: u16 = 96;
const ANSWER_WIDTH: usize = 72;
