//! `factum streams`: what streams there are.

use std::process::ExitCode;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::client::Client;
use super::client::Connection;
use super::event::seconds;
use super::failure::Failure;
use super::output::Column;
use super::output::Output;
use super::output::grouped;
use super::read::token;

#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  factum streams --category order --limit 20\n  factum streams --prefix order-4\n  \
    factum streams --json --limit 100000 | jq -r .stream")]
pub(crate) struct Arguments {
    /// Only streams of this category: what stands before the first `-`.
    #[arg(long)]
    category: Option<String>,
    /// Only streams whose names begin so.
    #[arg(long)]
    prefix: Option<String>,
    /// At most so many.
    #[arg(long, value_name = "N", default_value_t = 100)]
    limit: u64,
    #[command(flatten)]
    connection: Connection,
}

#[derive(Deserialize)]
struct Page {
    streams: Vec<Box<RawValue>>,
    next: serde_json::Value,
}

#[derive(Deserialize)]
struct Stream {
    stream: String,
    category: String,
    version: u64,
    updated_at: String,
}

pub(crate) async fn run(arguments: &Arguments, output: &mut Output) -> Result<ExitCode, Failure> {
    let client = Client::new(&arguments.connection)?;
    let mut left = arguments.limit;
    let mut after: Option<String> = None;
    let mut rows = Vec::new();
    while left > 0 {
        let mut query = vec![("limit", left.min(PAGE_STREAMS).to_string())];
        query.extend(arguments.category.clone().map(|category| ("category", category)));
        query.extend(arguments.prefix.clone().map(|prefix| ("prefix", prefix)));
        query.extend(after.take().map(|after| ("after", after)));
        let page: Page = client.get(&["v1", "streams"], &query).await?;
        left = left.saturating_sub(page.streams.len() as u64);
        for stream in &page.streams {
            if output.is_human() {
                rows.push(row(stream.get())?);
            } else {
                output.line(stream.get())?;
            }
        }
        after = token(&page.next).filter(|_| !page.streams.is_empty());
        if after.is_none() {
            break;
        }
    }
    if output.is_human() {
        let count = rows.len();
        output.table(&COLUMNS, rows)?;
        let more = if after.is_some() { ", and there are more (--limit)" } else { "" };
        let line = output.dim(&format!("{count} stream{}{more}", if count == 1 { "" } else { "s" }));
        output.line(&line)?;
    }
    Ok(ExitCode::SUCCESS)
}

fn row(text: &str) -> Result<Vec<String>, Failure> {
    let stream: Stream =
        serde_json::from_str(text).map_err(|error| Failure::failed("the answer cannot be read").detail(error.to_string()))?;
    Ok(vec![stream.stream, stream.category, grouped(stream.version), seconds(&stream.updated_at)])
}

const COLUMNS: [Column; 4] = [Column::left("stream"), Column::left("category"), Column::right("version"), Column::left("updated at")];
const PAGE_STREAMS: u64 = 1_000;
