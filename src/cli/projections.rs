//! `factum projections`: which read models are kept, how they fare, and what they are told to do.

mod parked;
mod state;
mod wait;

use std::io;
use std::io::Write;
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
use crate::config::parse_duration;
pub(crate) use state::State;
pub(crate) use wait::caught_up;

#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  factum projections\n  factum projections declarations\n  factum projections declarations rebuild --wait\n  \
    factum projections declarations skip\n  factum projections declarations parked\n  \
    factum apply ./definitions && factum projections --wait --timeout 10min\n\n\
    --wait ends with 0 once everything that is in the log now is in the rows, and rows that are built\n\
    anew are in use; with 1 if a projection has failed or is paused.\n\
    A projection is defined by `factum apply` (projections/<name>.toml), or by PUT\n\
    /v1/projections/{name}; `factum views` shows its rows."
)]
pub(crate) struct Arguments {
    /// Only this one.
    name: Option<String>,
    /// What it is told to do.
    #[arg(requires = "name")]
    order: Option<Order>,
    /// Wait until it has caught up, rebuilds included; without a name: until all have.
    #[arg(long)]
    wait: bool,
    /// Wait for at most so long, such as 30s or 10min [default: as long as it takes]
    #[arg(long, requires = "wait", value_name = "TIME", value_parser = parse_duration)]
    timeout: Option<Duration>,
    /// With `delete`: leave the table in Postgres where it is.
    #[arg(long, requires = "order")]
    keep_rows: bool,
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
    /// Print its definition as it was written.
    Definition,
}

#[derive(Deserialize)]
struct Page {
    projections: Vec<Box<RawValue>>,
    next: serde_json::Value,
}

pub(crate) async fn run(arguments: &Arguments, output: &mut Output) -> Result<ExitCode, Failure> {
    let client = Client::new(&arguments.connection)?;
    check(arguments)?;
    match &arguments.name {
        None => {
            let all = list(&client).await?;
            let all = if arguments.wait { wait_for_all(&client, &all, arguments.timeout).await? } else { all };
            show(&all, output)?;
            if all.is_empty() && output.is_human() {
                output.line("there is no projection; `factum apply DIR` defines those of a folder")?;
            }
        }
        Some(name) => one(&client, name, arguments, output).await.map_err(unknown)?,
    }
    Ok(ExitCode::SUCCESS)
}

fn check(arguments: &Arguments) -> Result<(), Failure> {
    let waits = matches!(arguments.order, None | Some(Order::Resume | Order::Rebuild | Order::Skip));
    if arguments.wait && !waits {
        return Err(Failure::usage("there is nothing to --wait for after this").next("`resume`, `rebuild` and `skip` can be waited for"));
    }
    if arguments.keep_rows && arguments.order != Some(Order::Delete) {
        return Err(Failure::usage("--keep-rows goes with `delete`"));
    }
    Ok(())
}

async fn one(client: &Client, name: &str, arguments: &Arguments, output: &mut Output) -> Result<(), Failure> {
    let order = match arguments.order {
        Some(Order::Parked) => return parked::list(client, name, output).await,
        Some(Order::Definition) => return definition(client, name, output).await,
        Some(Order::Delete) => return delete(client, name, arguments.keep_rows, output).await,
        Some(Order::Pause) => Some("pause"),
        Some(Order::Resume) => Some("resume"),
        Some(Order::Rebuild) => Some("rebuild"),
        Some(Order::Skip) => Some("skip"),
        None => None,
    };
    let answer: Box<RawValue> = match order {
        Some(order) => {
            let request = client.request(Method::POST, &["v1", "projections", name, order], &[])?.timeout(ANSWER_TIMEOUT);
            let response = client.send(request).await?;
            client.json(response).await?
        }
        None => client.get(&["v1", "projections", name], &[]).await?,
    };
    let answer = if arguments.wait { wait_for(client, name, arguments.timeout).await? } else { answer };
    show(&[answer], output)
}

async fn wait_for(client: &Client, name: &str, limit: Option<Duration>) -> Result<Box<RawValue>, Failure> {
    let bar = wait::bar();
    let mut told = None;
    let answer = caught_up(client, name, limit, |state| {
        wait::show(&bar, state);
        // A script sees no bar; why it waits is in its log.
        let trouble = state.trouble().filter(|_| bar.is_hidden() && !state.stands_still());
        if trouble.is_some() && trouble != told {
            let line = format!("waiting: projection {} is {}: {}", state.name, state.state, trouble.as_deref().unwrap_or_default());
            writeln!(io::stderr().lock(), "{}", printable(&line))?;
            told = trouble;
        }
        Ok(())
    });
    let answer = answer.await;
    bar.finish_and_clear();
    answer
}

async fn wait_for_all(client: &Client, all: &[Box<RawValue>], limit: Option<Duration>) -> Result<Vec<Box<RawValue>>, Failure> {
    let started = tokio::time::Instant::now();
    let mut settled = Vec::new();
    for one in all {
        let left = limit.map(|limit| limit.saturating_sub(started.elapsed()));
        settled.push(wait_for(client, &State::read(one)?.name, left).await?);
    }
    Ok(settled)
}

async fn delete(client: &Client, name: &str, keep_rows: bool, output: &mut Output) -> Result<(), Failure> {
    let query: Vec<_> = keep_rows.then(|| ("keep_rows", "true".to_owned())).into_iter().collect();
    let request = client.request(Method::DELETE, &["v1", "projections", name], &query)?.timeout(ANSWER_TIMEOUT);
    client.send(request).await?;
    if output.is_human() {
        let rows = if keep_rows { "a table in Postgres is still there" } else { "its rows are gone" };
        output.line(&format!("{} has ended, and {rows}", printable(name)))?;
    }
    Ok(())
}

async fn definition(client: &Client, name: &str, output: &mut Output) -> Result<(), Failure> {
    #[derive(Deserialize)]
    struct Document {
        definition: String,
    }
    let answer: Box<RawValue> = client.get(&["v1", "projections", name, "definition"], &[]).await?;
    if !output.is_human() {
        return Ok(output.line(answer.get())?);
    }
    let document: Document =
        serde_json::from_str(answer.get()).map_err(|error| Failure::failed("the answer cannot be read").detail(error.to_string()))?;
    document.definition.lines().try_for_each(|line| output.line(&printable(&line.replace('\t', "    "))))?;
    Ok(())
}

async fn list(client: &Client) -> Result<Vec<Box<RawValue>>, Failure> {
    let mut all = Vec::new();
    let mut after: Option<String> = None;
    loop {
        let mut query = vec![("limit", PAGE.to_string())];
        query.extend(after.take().map(|after| ("after", after)));
        let page: Page = client.get(&["v1", "projections"], &query).await?;
        all.extend(page.projections);
        after = token(&page.next);
        if after.is_none() {
            return Ok(all);
        }
    }
}

fn show(all: &[Box<RawValue>], output: &mut Output) -> Result<(), Failure> {
    if !output.is_human() {
        return all.iter().try_for_each(|one| output.line(one.get())).map_err(Failure::from);
    }
    let states: Vec<State> = all.iter().map(|one| State::read(one)).collect::<Result<_, _>>()?;
    let row = |state: &State| {
        let numbers = [grouped(state.lag_events), state.behind(), state::rounded(state.events_per_second)];
        [state.name.clone(), state.state.clone(), state.checkpoint.clone()]
            .into_iter()
            .chain(numbers)
            .chain([state.target.clone()])
            .collect()
    };
    if !states.is_empty() {
        output.table(&COLUMNS, states.iter().map(row).collect())?;
    }
    for state in &states {
        let remarks = [state.trouble(), state.progress()];
        for remark in remarks.into_iter().flatten() {
            let line = output.yellow(&printable(&format!("{}: {remark}", state.name)));
            output.line(&line)?;
        }
        if let Some(next) = state.next_step() {
            let line = output.dim(&printable(&format!("  next: {next}")));
            output.line(&line)?;
        }
    }
    Ok(())
}

/// A name that nobody has defined: what there is.
fn unknown(failure: Failure) -> Failure {
    match failure.as_problem().map(|problem| problem.slug()) {
        Some("definition-not-found") => failure.next("`factum projections` lists what there is"),
        _ => failure,
    }
}

const COLUMNS: [Column; 7] = [
    Column::left("projection"),
    Column::left("state"),
    Column::right("position"),
    Column::right("lag"),
    Column::right("behind"),
    Column::right("events/s"),
    Column::left("target"),
];
const PAGE: u64 = 1_000;
