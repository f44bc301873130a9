//! `factum read`: a stream's events, page by page.

use std::process::ExitCode;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::client::Client;
use super::client::Connection;
use super::event::Event;
use super::event::STREAM_COLUMNS;
use super::failure::Failure;
use super::output::Output;
use super::output::terminal_width;

#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  factum read order-42\n  factum read order-42 --from 10 --limit 5\n  \
    factum read order-42 --backward --limit 1\n  factum read order-42 | jq .data.amount")]
pub(crate) struct Arguments {
    /// The stream.
    stream: String,
    /// The version to begin with (inclusive).
    #[arg(long, value_name = "VERSION")]
    from: Option<u64>,
    /// At most so many events; all if not given.
    #[arg(long, value_name = "N")]
    limit: Option<u64>,
    /// Newest first.
    #[arg(long)]
    backward: bool,
    #[command(flatten)]
    connection: Connection,
}

#[derive(Deserialize)]
struct Page {
    version: u64,
    events: Vec<Box<RawValue>>,
    next: serde_json::Value,
}

pub(crate) async fn run(arguments: &Arguments, output: &mut Output) -> Result<ExitCode, Failure> {
    let client = Client::new(&arguments.connection)?;
    let mut left = arguments.limit.unwrap_or(u64::MAX);
    let mut from = arguments.from.map(|version| version.to_string());
    let mut shown = 0;
    loop {
        let mut query = vec![("limit", left.min(PAGE_EVENTS).to_string())];
        if arguments.backward {
            query.push(("direction", "backward".to_owned()));
        }
        query.extend(from.take().map(|from| ("from", from)));
        let page: Page = client.get(&["v1", "streams", &arguments.stream, "events"], &query).await?;
        print(&page.events, output)?;
        output.flush()?;
        let count = page.events.len() as u64;
        shown += count;
        left = left.saturating_sub(count);
        from = token(&page.next);
        if left == 0 || from.is_none() || count == 0 {
            if output.is_human() {
                let line = output.dim(&format!("{shown} of {} events of {}", page.version, arguments.stream));
                output.line(&line)?;
            }
            return Ok(ExitCode::SUCCESS);
        }
    }
}

fn print(events: &[Box<RawValue>], output: &mut Output) -> Result<(), Failure> {
    if !output.is_human() {
        for event in events {
            output.line(event.get())?;
        }
        return Ok(());
    }
    let width = terminal_width();
    let rows: Result<Vec<_>, _> = events.iter().map(|event| Event::parse(event.get()).map(|event| event.stream_row(width))).collect();
    let rows = rows.map_err(|error| Failure::failed("the answer cannot be read").detail(error.to_string()))?;
    if !rows.is_empty() {
        output.table(&STREAM_COLUMNS, rows)?;
    }
    Ok(())
}

/// A listing's `next`: a text or a number, or null at the end.
pub(crate) fn token(next: &serde_json::Value) -> Option<String> {
    next.as_str().map(str::to_owned).or_else(|| next.as_u64().map(|number| number.to_string()))
}

const PAGE_EVENTS: u64 = 1_000;
