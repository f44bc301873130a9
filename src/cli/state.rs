//! `factum state`: what a stream's events come to, now or at a point in the past.

use std::process::ExitCode;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::client::Client;
use super::client::Connection;
use super::failure::Failure;
use super::output::Output;
use super::output::grouped;

#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  factum state order-42\n  factum state order-42 --at 3\n  \
    factum state order-42 --at 2026-11-22T18:00:00Z\n  factum state order-42 | jq .state.status\n\n\
    A time means: after the last event that was recorded until then.")]
pub(crate) struct Arguments {
    /// The stream: a category, `-`, and what stands behind it.
    stream: String,
    /// A version, or a time (RFC 3339).
    #[arg(long, value_name = "VERSION|TIME")]
    at: Option<String>,
    #[command(flatten)]
    connection: Connection,
}

#[derive(Deserialize)]
struct State {
    version: u64,
    state: Box<RawValue>,
    snapshot_version: Option<u64>,
    events_replayed: u64,
}

pub(crate) async fn run(arguments: &Arguments, output: &mut Output) -> Result<ExitCode, Failure> {
    let client = Client::new(&arguments.connection)?;
    let (category, id) = aggregate(&arguments.stream)?;
    let at = arguments.at.as_ref().map(|at| {
        let name = if at.bytes().all(|byte| byte.is_ascii_digit()) { "version" } else { "recorded_at" };
        (name, at.clone())
    });
    let query: Vec<_> = at.into_iter().collect();
    let answer: Box<RawValue> = client.get(&["v1", "aggregates", category, id], &query).await?;
    if !output.is_human() {
        output.line(answer.get())?;
        return Ok(ExitCode::SUCCESS);
    }
    let state: State = serde_json::from_str(answer.get()).map_err(|error| unreadable(&error))?;
    let pretty: serde_json::Value = serde_json::from_str(state.state.get()).map_err(|error| unreadable(&error))?;
    output.line(&format!("{pretty:#}"))?;
    let base = match state.snapshot_version {
        Some(version) => format!("snapshot of version {version}"),
        None => "no snapshot".to_owned(),
    };
    let line = format!("{} at version {}  ({base}, {} events replayed)", arguments.stream, state.version, grouped(state.events_replayed));
    let line = output.dim(&line);
    output.line(&line)?;
    Ok(ExitCode::SUCCESS)
}

/// Category and id of the aggregate that a stream is.
pub(crate) fn aggregate(stream: &str) -> Result<(&str, &str), Failure> {
    stream
        .split_once('-')
        .filter(|(category, id)| !category.is_empty() && !id.is_empty())
        .ok_or_else(|| Failure::usage(format!("{stream:?} is no aggregate")).next("name one such as order-42: a category, `-`, and an id"))
}

fn unreadable(error: &serde_json::Error) -> Failure {
    Failure::failed("the answer cannot be read").detail(error.to_string())
}
