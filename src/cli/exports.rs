//! `factum exports`: which Parquet files follow the log, how they fare, and what they are told to do.

use std::process::ExitCode;
use std::time::Duration;

use reqwest::Method;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::client::ANSWER_TIMEOUT;
use super::client::Client;
use super::client::Connection;
use super::failure::Failure;
use super::output::Column;
use super::output::Output;
use super::output::grouped;
use super::output::printable;
use super::read::token;
use crate::config::bytes_text;

#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  factum exports\n  factum exports lake\n  factum exports lake --flush\n  factum exports lake --delete\n\n\
    An export is defined by `factum apply` (exports/<name>.toml), or by PUT /v1/exports/{name}. Its files are read by DuckDB, pandas,\n\
    Polars or Spark as they are, and by `factum sql` as the table exports.<name>."
)]
pub(crate) struct Arguments {
    /// Only this one, with its files.
    name: Option<String>,
    /// Publish everything up to now, and wait until that is done.
    #[arg(long, requires = "name")]
    flush: bool,
    /// How long to wait for that, in seconds.
    #[arg(long, value_name = "SECONDS", default_value_t = 60, requires = "flush")]
    wait: u64,
    /// End it; its files stay where they are.
    #[arg(long, requires = "name", conflicts_with = "flush")]
    delete: bool,
    /// Delete what it has put there, too.
    #[arg(long, requires = "delete")]
    files: bool,
    #[command(flatten)]
    connection: Connection,
}

#[derive(Deserialize)]
struct Page {
    exports: Vec<Box<RawValue>>,
    next: serde_json::Value,
}

#[derive(Deserialize)]
struct Export {
    name: String,
    state: String,
    url: String,
    checkpoint: String,
    lag_events: u64,
    file_count: u64,
    rows: u64,
    bytes: u64,
    error: Option<Error>,
    files: Option<Vec<File>>,
}

#[derive(Deserialize)]
struct Error {
    reason: String,
}

#[derive(Deserialize)]
struct File {
    url: String,
    rows: u64,
    bytes: u64,
}

pub(crate) async fn run(arguments: &Arguments, output: &mut Output) -> Result<ExitCode, Failure> {
    let client = Client::new(&arguments.connection)?;
    let Some(name) = &arguments.name else {
        list(&client, output).await?;
        return Ok(ExitCode::SUCCESS);
    };
    if arguments.delete {
        let query: Vec<_> = arguments.files.then(|| ("files", "true".to_owned())).into_iter().collect();
        let request = client.request(Method::DELETE, &["v1", "exports", name], &query)?.timeout(REMOVE_TIMEOUT);
        client.send(request).await?;
        if output.is_human() {
            let files = if arguments.files { "and its files are gone" } else { "and its files stay where they are" };
            output.line(&format!("{} has ended, {files}", printable(name)))?;
        }
        return Ok(ExitCode::SUCCESS);
    }
    if arguments.flush {
        let timeout = ANSWER_TIMEOUT + Duration::from_secs(arguments.wait);
        let request = client.request(Method::POST, &["v1", "exports", name, "flush"], &[])?.timeout(timeout);
        let response = client.send(request.header("Prefer", format!("wait={}", arguments.wait))).await?;
        let is_done = response.status() == reqwest::StatusCode::OK;
        let answer: Box<RawValue> = client.json(response).await?;
        show(&[answer], output)?;
        if !is_done {
            return Err(Failure::failed(format!("not everything is published after {} s", arguments.wait)).next("wait longer, with --wait"));
        }
        return Ok(ExitCode::SUCCESS);
    }
    let answer: Box<RawValue> = client.get(&["v1", "exports", name], &[]).await?;
    show(&[answer], output)?;
    Ok(ExitCode::SUCCESS)
}

async fn list(client: &Client, output: &mut Output) -> Result<(), Failure> {
    let mut all = Vec::new();
    let mut after: Option<String> = None;
    loop {
        let mut query = vec![("limit", PAGE.to_string())];
        query.extend(after.take().map(|after| ("after", after)));
        let page: Page = client.get(&["v1", "exports"], &query).await?;
        all.extend(page.exports);
        after = token(&page.next);
        if after.is_none() {
            return show(&all, output);
        }
    }
}

fn show(all: &[Box<RawValue>], output: &mut Output) -> Result<(), Failure> {
    if !output.is_human() {
        return all.iter().try_for_each(|one| output.line(one.get())).map_err(Failure::from);
    }
    let (mut rows, mut remarks, mut files) = (Vec::new(), Vec::new(), Vec::new());
    for one in all {
        let found: Export =
            serde_json::from_str(one.get()).map_err(|error| Failure::failed("the answer cannot be read").detail(error.to_string()))?;
        remarks.extend(found.error.map(|error| format!("{}: {}", found.name, error.reason)));
        files.extend(found.files.into_iter().flatten());
        let (count, bytes) = (grouped(found.file_count), bytes_text(found.bytes));
        rows.push(vec![found.name, found.state, found.checkpoint, grouped(found.lag_events), grouped(found.rows), count, bytes, found.url]);
    }
    output.table(&COLUMNS, rows)?;
    for remark in remarks {
        let line = output.yellow(&printable(&remark));
        output.line(&line)?;
    }
    if !files.is_empty() {
        output.line("")?;
        let rows = files.into_iter().map(|file| vec![grouped(file.rows), bytes_text(file.bytes), file.url]).collect();
        output.table(&FILE_COLUMNS, rows)?;
    }
    Ok(())
}

const COLUMNS: [Column; 8] = [
    Column::left("export"),
    Column::left("state"),
    Column::right("position"),
    Column::right("lag"),
    Column::right("events"),
    Column::right("files"),
    Column::right("size"),
    Column::left("lake"),
];
const FILE_COLUMNS: [Column; 3] = [Column::right("events"), Column::right("size"), Column::left("file")];
const PAGE: u64 = 1_000;
/// A lake has many files.
const REMOVE_TIMEOUT: Duration = Duration::from_secs(90);
