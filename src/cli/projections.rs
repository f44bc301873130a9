//! `factum projections`: which read models are kept, how they fare, and what they are told to do.

use std::process::ExitCode;

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

#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  factum projections\n  factum projections declarations\n  factum projections declarations rebuild\n  \
    factum projections declarations skip\n  factum projections declarations parked\n\n\
    A projection is defined by `factum apply` (projections/<name>.toml), or by PUT /v1/projections/{name}; `factum views` shows its rows.")]
pub(crate) struct Arguments {
    /// Only this one.
    name: Option<String>,
    /// What it is told to do.
    #[arg(requires = "name")]
    order: Option<Order>,
    #[command(flatten)]
    connection: Connection,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Order {
    /// Rest after the batch that it is at, also after a restart.
    Pause,
    /// Go on, or try again at once.
    Resume,
    /// Build the rows anew beside those in use.
    Rebuild,
    /// Step over the event that it has failed at.
    Skip,
    /// End it, and take the rows away.
    Delete,
    /// List the events that it has stepped over.
    Parked,
}

#[derive(Deserialize)]
struct Page {
    projections: Vec<Box<RawValue>>,
    next: serde_json::Value,
}

#[derive(Deserialize)]
struct Projection {
    name: String,
    state: String,
    checkpoint: String,
    lag_events: u64,
    target: String,
    error: Option<Error>,
    rebuild: Option<Rebuild>,
}

#[derive(Deserialize)]
struct Error {
    reason: String,
    stream: Option<String>,
    version: Option<u64>,
}

#[derive(Deserialize)]
struct Rebuild {
    done: u64,
    total: u64,
    eta_seconds: Option<f64>,
}

pub(crate) async fn run(arguments: &Arguments, output: &mut Output) -> Result<ExitCode, Failure> {
    let client = Client::new(&arguments.connection)?;
    match (&arguments.name, arguments.order) {
        (None, _) => list(&client, output).await?,
        (Some(name), None) => {
            let answer: Box<RawValue> = client.get(&["v1", "projections", name], &[]).await?;
            show(&[answer], output)?;
        }
        (Some(name), Some(Order::Parked)) => parked(&client, name, output).await?,
        (Some(name), Some(Order::Delete)) => {
            let request = client.request(Method::DELETE, &["v1", "projections", name], &[])?.timeout(ANSWER_TIMEOUT);
            client.send(request).await?;
            if output.is_human() {
                output.line(&format!("{} has ended, and its rows are gone", printable(name)))?;
            }
        }
        (Some(name), Some(order)) => {
            let verb = match order {
                Order::Pause => "pause",
                Order::Resume => "resume",
                Order::Rebuild => "rebuild",
                Order::Skip | Order::Delete | Order::Parked => "skip",
            };
            let request = client.request(Method::POST, &["v1", "projections", name, verb], &[])?.timeout(ANSWER_TIMEOUT);
            let response = client.send(request).await?;
            let answer: Box<RawValue> = client.json(response).await?;
            show(&[answer], output)?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

async fn list(client: &Client, output: &mut Output) -> Result<(), Failure> {
    let mut all = Vec::new();
    let mut after: Option<String> = None;
    loop {
        let mut query = vec![("limit", PAGE.to_string())];
        query.extend(after.take().map(|after| ("after", after)));
        let page: Page = client.get(&["v1", "projections"], &query).await?;
        all.extend(page.projections);
        after = token(&page.next);
        if after.is_none() {
            return show(&all, output);
        }
    }
}

async fn parked(client: &Client, name: &str, output: &mut Output) -> Result<(), Failure> {
    #[derive(Deserialize)]
    struct Parked {
        parked: Vec<Box<RawValue>>,
        next: serde_json::Value,
    }
    let mut after: Option<String> = None;
    loop {
        let mut query = vec![("limit", PAGE.to_string())];
        query.extend(after.take().map(|after| ("after", after)));
        let page: Parked = client.get(&["v1", "projections", name, "parked"], &query).await?;
        page.parked.iter().try_for_each(|one| output.line(&printable(one.get())))?;
        after = token(&page.next);
        if after.is_none() {
            return Ok(());
        }
    }
}

fn show(all: &[Box<RawValue>], output: &mut Output) -> Result<(), Failure> {
    if !output.is_human() {
        return all.iter().try_for_each(|one| output.line(one.get())).map_err(Failure::from);
    }
    let (mut rows, mut remarks) = (Vec::new(), Vec::new());
    for one in all {
        let found: Projection =
            serde_json::from_str(one.get()).map_err(|error| Failure::failed("the answer cannot be read").detail(error.to_string()))?;
        let name = &found.name;
        remarks.extend(found.error.map(|error| match (error.stream, error.version) {
            (Some(stream), Some(version)) => format!("{name}: event {version} of {stream}: {}", error.reason),
            _ => format!("{name}: {}", error.reason),
        }));
        remarks.extend(found.rebuild.map(|rebuild| {
            let left = rebuild.eta_seconds.map(|eta| format!(", {eta:.0} s to go")).unwrap_or_default();
            format!("{name}: the new rows have {} of {} positions{left}", grouped(rebuild.done), grouped(rebuild.total))
        }));
        rows.push(vec![found.name, found.state, found.checkpoint, grouped(found.lag_events), found.target]);
    }
    output.table(&COLUMNS, rows)?;
    for remark in remarks {
        let line = output.yellow(&printable(&remark));
        output.line(&line)?;
    }
    Ok(())
}

const COLUMNS: [Column; 5] =
    [Column::left("projection"), Column::left("state"), Column::right("position"), Column::right("lag"), Column::left("target")];
const PAGE: u64 = 1_000;
