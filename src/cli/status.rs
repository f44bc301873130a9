//! `factum status`: one screen that says whether all is well, what is not, and what to do.

use std::process::ExitCode;
use std::time::Duration;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::client::Client;
use super::client::Connection;
use super::failure::EXIT_FAILED;
use super::failure::Failure;
use super::output::Column;
use super::output::Output;
use super::output::grouped;
use super::output::printable;
use crate::config::bytes_text;
use crate::config::duration_text;

#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  factum status\n  factum status --json | jq -r '.troubles[] | .severity + \" \" + .part + \" \" + .name'\n\n\
    Exits with 1 if something is critical: somebody has to act. Warnings may come right by themselves."
)]
pub(crate) struct Arguments {
    #[command(flatten)]
    connection: Connection,
}

#[derive(Deserialize)]
struct Status {
    version: String,
    uptime_seconds: u64,
    durability: String,
    troubles: Vec<Trouble>,
    shards: Vec<Shard>,
    projections: Vec<Projection>,
    subscriptions: Vec<Subscription>,
    exports: Vec<Export>,
}

#[derive(Deserialize)]
struct Trouble {
    severity: String,
    part: String,
    name: String,
    problem: String,
    todo: String,
}

#[derive(Deserialize)]
struct Shard {
    shard: u16,
    state: String,
    position: u64,
    streams: u64,
    log_bytes: u64,
    index_bytes: u64,
    index_lag_events: u64,
    queued_appends: u64,
    available_bytes: Option<u64>,
}

#[derive(Deserialize)]
struct Projection {
    name: String,
    state: String,
    lag_events: u64,
    lag_ms: u64,
}

#[derive(Deserialize)]
struct Subscription {
    name: String,
    state: String,
    lag_events: u64,
    in_flight: u64,
    parked: u64,
    consumers: u64,
}

#[derive(Deserialize)]
struct Export {
    name: String,
    state: String,
    lag_events: u64,
    lag_ms: u64,
}

pub(crate) async fn run(arguments: &Arguments, output: &mut Output) -> Result<ExitCode, Failure> {
    let client = Client::new(&arguments.connection)?;
    let text: Box<RawValue> = client.get(&["v1", "status"], &[]).await?;
    let status: Status =
        serde_json::from_str(text.get()).map_err(|error| Failure::failed("the answer cannot be read").detail(error.to_string()))?;
    if output.is_human() {
        show(&status, client.base(), output)?;
    } else {
        output.line(text.get())?;
    }
    let is_critical = status.troubles.iter().any(|trouble| trouble.severity == CRITICAL);
    Ok(if is_critical { ExitCode::from(EXIT_FAILED) } else { ExitCode::SUCCESS })
}

fn show(status: &Status, base: &str, output: &mut Output) -> Result<(), Failure> {
    let up = uptime(status.uptime_seconds);
    let head = format!("factum {} on {base}, up {up}, durability {}", status.version, status.durability);
    output.line(&output.dim(&head))?;
    show_troubles(&status.troubles, output)?;
    let shards = status.shards.iter().map(shard_row).collect();
    output.table(&SHARD_COLUMNS, shards)?;
    let projections = status.projections.iter().map(|one| lag_row(&one.name, &one.state, one.lag_events, one.lag_ms)).collect();
    show_table("projection", &LAG_COLUMNS, projections, output)?;
    let subscriptions = status.subscriptions.iter().map(subscription_row).collect();
    show_table("subscription", &SUBSCRIPTION_COLUMNS, subscriptions, output)?;
    let exports = status.exports.iter().map(|one| lag_row(&one.name, &one.state, one.lag_events, one.lag_ms)).collect();
    show_table("export", &LAG_COLUMNS, exports, output)
}

/// `3 days 4 h`, `5 min`.
fn uptime(seconds: u64) -> String {
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3_600 % 24, seconds / 60 % 60);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds} s"),
        (0, 0, _) => format!("{minutes} min"),
        (0, _, _) => format!("{hours} h {minutes} min"),
        _ => format!("{days} days {hours} h"),
    }
}

fn show_troubles(troubles: &[Trouble], output: &mut Output) -> Result<(), Failure> {
    if troubles.is_empty() {
        output.line(&output.green("all is well"))?;
    }
    for trouble in troubles {
        let severity = if trouble.severity == CRITICAL { output.bold(&trouble.severity) } else { output.yellow(&trouble.severity) };
        output.line(&format!("{severity}: {} {} {}", trouble.part, printable(&trouble.name), printable(&trouble.problem)))?;
        output.line(&format!("  {}", printable(&trouble.todo)))?;
    }
    Ok(())
}

/// A table, if there is anything in it; its first column says of what.
fn show_table(of: &'static str, rest: &[(&'static str, bool)], rows: Vec<Vec<String>>, output: &mut Output) -> Result<(), Failure> {
    if rows.is_empty() {
        return Ok(());
    }
    let columns: Vec<Column> =
        std::iter::once(Column::left(of)).chain(rest.iter().map(|(name, right)| Column::named((*name).to_owned(), *right))).collect();
    output.table(&columns, rows)?;
    Ok(())
}

fn shard_row(shard: &Shard) -> Vec<String> {
    vec![
        shard.shard.to_string(),
        shard.state.clone(),
        grouped(shard.position),
        grouped(shard.streams),
        bytes_text(shard.log_bytes),
        bytes_text(shard.index_bytes),
        grouped(shard.index_lag_events),
        grouped(shard.queued_appends),
        shard.available_bytes.map_or_else(|| "?".to_owned(), bytes_text),
    ]
}

fn lag_row(name: &str, state: &str, events: u64, ms: u64) -> Vec<String> {
    vec![printable(name), state.to_owned(), grouped(events), duration_text(Duration::from_millis(ms))]
}

fn subscription_row(one: &Subscription) -> Vec<String> {
    let numbers = [one.lag_events, one.in_flight, one.parked, one.consumers].map(grouped);
    [printable(&one.name), one.state.clone()].into_iter().chain(numbers).collect()
}

const SHARD_COLUMNS: [Column; 9] = [
    Column::left("shard"),
    Column::left("state"),
    Column::right("events"),
    Column::right("streams"),
    Column::right("log"),
    Column::right("index"),
    Column::right("index behind"),
    Column::right("waiting"),
    Column::right("space left"),
];
/// Names, and whether they stand to the right.
const LAG_COLUMNS: [(&str, bool); 3] = [("state", false), ("behind", true), ("time behind", true)];
const SUBSCRIPTION_COLUMNS: [(&str, bool); 5] = [("state", false), ("behind", true), ("out", true), ("parked", true), ("consumers", true)];
const CRITICAL: &str = "critical";

#[cfg(test)]
mod tests {
    use super::uptime;

    #[test]
    fn the_time_up_is_for_people() {
        let texts = [7, 300, 7_500, 180_000].map(uptime);
        assert_eq!(texts, ["7 s", "5 min", "2 h 5 min", "2 days 2 h"]);
    }
}
