//! `factum subscriptions`: which consumer groups there are, how they are, and what they have put aside.

use std::process::ExitCode;

use reqwest::Method;
use reqwest::header::CONTENT_TYPE;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::client::ANSWER_TIMEOUT;
use super::client::Client;
use super::client::Connection;
use super::event::seconds;
use super::failure::Failure;
use super::output::Column;
use super::output::Output;
use super::output::cut;
use super::output::grouped;
use super::output::printable;
use super::read::token;

#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  factum subscriptions\n  factum subscriptions mail\n  factum subscriptions mail --parked\n  \
    factum subscriptions mail --replay\n  factum subscriptions mail --skip --event 0-1042\n\n\
    A subscription is defined by `factum apply` (subscriptions/<name>.toml), or by PUT /v1/subscriptions/{name}.")]
pub(crate) struct Arguments {
    /// Only this one.
    name: Option<String>,
    /// List the events that it has put aside.
    #[arg(long, requires = "name", conflicts_with_all = ["replay", "skip"])]
    parked: bool,
    /// Give parked events out again, in order and as if for the first time.
    #[arg(long, requires = "name", conflicts_with = "skip", group = "verdict")]
    replay: bool,
    /// Count parked events as done.
    #[arg(long, requires = "name", group = "verdict")]
    skip: bool,
    /// Only this parked event, as `--parked` names it. May be repeated.
    #[arg(long = "event", value_name = "ID", requires = "verdict")]
    events: Vec<String>,
    /// At most so many.
    #[arg(long, value_name = "N", default_value_t = 100)]
    limit: u64,
    #[command(flatten)]
    connection: Connection,
}

#[derive(Deserialize)]
struct Page {
    subscriptions: Vec<Box<RawValue>>,
    next: serde_json::Value,
}

#[derive(Deserialize)]
struct Subscription {
    name: String,
    state: String,
    error: Option<String>,
    lag: u64,
    in_flight: u64,
    parked: u64,
    held_back: u64,
    retrying: u64,
    consumers: u64,
}

#[derive(Deserialize)]
struct ParkedPage {
    parked: Vec<Box<RawValue>>,
    next: serde_json::Value,
}

#[derive(Deserialize)]
struct Parked {
    id: String,
    stream: String,
    version: u64,
    attempts: u64,
    reason: String,
    parked_at: String,
}

#[derive(Deserialize)]
struct Done {
    replayed: Option<u64>,
    skipped: Option<u64>,
}

pub(crate) async fn run(arguments: &Arguments, output: &mut Output) -> Result<ExitCode, Failure> {
    let client = Client::new(&arguments.connection)?;
    match &arguments.name {
        None => list(&client, arguments.limit, output).await?,
        Some(name) if arguments.parked => parked(&client, name, arguments.limit, output).await?,
        Some(name) if arguments.replay => settle(&client, name, "replay", &arguments.events, output).await?,
        Some(name) if arguments.skip => settle(&client, name, "skip", &arguments.events, output).await?,
        Some(name) => {
            let answer: Box<RawValue> = client.get(&["v1", "subscriptions", name], &[]).await?;
            show(&[answer], output)?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

async fn list(client: &Client, limit: u64, output: &mut Output) -> Result<(), Failure> {
    let mut all = Vec::new();
    let mut after: Option<String> = None;
    while all.len() < usize::try_from(limit).unwrap_or(usize::MAX) {
        let left = limit.saturating_sub(all.len() as u64).min(PAGE);
        let mut query = vec![("limit", left.to_string())];
        query.extend(after.take().map(|after| ("after", after)));
        let page: Page = client.get(&["v1", "subscriptions"], &query).await?;
        let is_empty = page.subscriptions.is_empty();
        all.extend(page.subscriptions);
        after = token(&page.next).filter(|_| !is_empty);
        if after.is_none() {
            break;
        }
    }
    show(&all, output)?;
    if output.is_human() {
        let count = all.len();
        let more = if after.is_some() { ", and there are more (--limit)" } else { "" };
        let line = output.dim(&format!("{count} subscription{}{more}", if count == 1 { "" } else { "s" }));
        output.line(&line)?;
    }
    Ok(())
}

fn show(all: &[Box<RawValue>], output: &mut Output) -> Result<(), Failure> {
    if !output.is_human() {
        return all.iter().try_for_each(|one| output.line(one.get())).map_err(Failure::from);
    }
    let mut rows = Vec::new();
    let mut errors = Vec::new();
    for one in all {
        let found: Subscription = read(one)?;
        errors.extend(found.error.map(|error| format!("{}: {error}", found.name)));
        let numbers = [found.consumers, found.lag, found.in_flight, found.retrying, found.parked, found.held_back];
        let mut row = vec![found.name, found.state];
        row.extend(numbers.into_iter().map(grouped));
        rows.push(row);
    }
    output.table(&COLUMNS, rows)?;
    for error in errors {
        let line = output.yellow(&printable(&error));
        output.line(&line)?;
    }
    Ok(())
}

async fn parked(client: &Client, name: &str, limit: u64, output: &mut Output) -> Result<(), Failure> {
    let mut left = limit;
    let mut after: Option<String> = None;
    let mut rows = Vec::new();
    while left > 0 {
        let mut query = vec![("limit", left.min(PAGE).to_string())];
        query.extend(after.take().map(|after| ("after", after)));
        let page: ParkedPage = client.get(&["v1", "subscriptions", name, "parked"], &query).await?;
        left = left.saturating_sub(page.parked.len() as u64);
        for one in &page.parked {
            if !output.is_human() {
                output.line(one.get())?;
                continue;
            }
            let found: Parked = read(one)?;
            let reason = cut(&found.reason, REASON_CHARACTERS);
            rows.push(vec![found.id, found.stream, grouped(found.version), grouped(found.attempts), reason, seconds(&found.parked_at)]);
        }
        after = token(&page.next).filter(|_| !page.parked.is_empty());
        if after.is_none() {
            break;
        }
    }
    if output.is_human() {
        let count = rows.len();
        output.table(&PARKED_COLUMNS, rows)?;
        let more = if after.is_some() { ", and there are more (--limit)" } else { "" };
        let line = output.dim(&format!("{count} parked event{}{more}", if count == 1 { "" } else { "s" }));
        output.line(&line)?;
    }
    Ok(())
}

async fn settle(client: &Client, name: &str, verb: &str, events: &[String], output: &mut Output) -> Result<(), Failure> {
    let body = if events.is_empty() { serde_json::json!({}) } else { serde_json::json!({ "events": events }) };
    let request = client.request(Method::POST, &["v1", "subscriptions", name, "parked", verb], &[])?;
    let request = request.header(CONTENT_TYPE, "application/json").body(body.to_string()).timeout(ANSWER_TIMEOUT);
    let response = client.send(request).await?;
    let answer: Box<RawValue> = client.json(response).await?;
    if !output.is_human() {
        output.line(answer.get())?;
        return Ok(());
    }
    let done: Done = read(&answer)?;
    let line = match (done.replayed, done.skipped) {
        (Some(count), _) => format!("{} to be given out again", grouped(count)),
        (None, skipped) => format!("{} skipped", grouped(skipped.unwrap_or_default())),
    };
    output.line(&line)?;
    Ok(())
}

fn read<'a, T: Deserialize<'a>>(text: &'a RawValue) -> Result<T, Failure> {
    serde_json::from_str(text.get()).map_err(|error| Failure::failed("the answer cannot be read").detail(error.to_string()))
}

const COLUMNS: [Column; 8] = [
    Column::left("subscription"),
    Column::left("state"),
    Column::right("consumers"),
    Column::right("lag"),
    Column::right("in flight"),
    Column::right("retrying"),
    Column::right("parked"),
    Column::right("held back"),
];
const PARKED_COLUMNS: [Column; 6] = [
    Column::left("id"),
    Column::left("stream"),
    Column::right("version"),
    Column::right("attempts"),
    Column::left("reason"),
    Column::left("parked at"),
];
const PAGE: u64 = 1_000;
const REASON_CHARACTERS: usize = 80;
