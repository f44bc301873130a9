//! `factum shards add`, `drain` and what belongs to them: changes of the shards while appends go on.

use std::process::ExitCode;
use std::time::Duration;

use indicatif::ProgressBar;
use indicatif::ProgressDrawTarget;
use indicatif::ProgressStyle;
use reqwest::Method;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::parsed;
use crate::cli::client::ANSWER_TIMEOUT;
use crate::cli::client::Client;
use crate::cli::failure::Failure;
use crate::cli::output::Column;
use crate::cli::output::Output;
use crate::cli::output::grouped;
use crate::cli::output::printable;
use crate::config::bytes_text;

/// A change of the shards, as somebody asks for it.
#[derive(Clone, Copy, Debug, clap::Subcommand)]
pub(crate) enum Change {
    /// One more shard, which takes its share of the slots from the others.
    Add {
        /// Its share against the others', 1 to 100; with the strategy `ring` only.
        #[arg(long)]
        weight: Option<u32>,
    },
    /// A shard gives all its slots to the others. Its log stays, and is read like before.
    Drain {
        /// Its number.
        shard: u16,
    },
    /// Each shard gets its share, after a change that was cancelled.
    Rebalance,
}

#[derive(Deserialize)]
struct Plan {
    moves: Vec<Move>,
    shards: Vec<Share>,
    moved_slots: u64,
    moved_fraction: f64,
    moved_streams: u64,
    events: u64,
    bytes: u64,
}

#[derive(Deserialize)]
struct Move {
    from: u16,
    to: u16,
    slots: u64,
}

#[derive(Deserialize)]
struct Share {
    id: u16,
    slots_now: u64,
    slots_then: u64,
}

#[derive(Deserialize)]
struct Jobs {
    jobs: Vec<Box<RawValue>>,
}

#[derive(Deserialize)]
struct Job {
    id: String,
    kind: String,
    shard: Option<u16>,
    state: String,
    done: u64,
    total: u64,
    moved_streams: Option<u64>,
    moved_fraction: f64,
    eta_seconds: Option<f64>,
    error: Option<String>,
}

/// Says what a change would do.
pub(super) async fn plan(client: &Client, change: Change, output: &mut Output) -> Result<ExitCode, Failure> {
    let text = ask(client, change, true).await?;
    if !output.is_human() {
        output.line(text.get())?;
        return Ok(ExitCode::SUCCESS);
    }
    let plan: Plan = parsed(&text)?;
    let rows = plan.shards.iter().map(|shard| vec![shard.id.to_string(), grouped(shard.slots_now), grouped(shard.slots_then)]);
    output.table(&[Column::left("shard"), Column::right("slots now"), Column::right("slots then")], rows.collect())?;
    for Move { from, to, slots } in &plan.moves {
        output.line(&format!("{} slots go from shard {from} to shard {to}", grouped(*slots)))?;
    }
    output.line(&format!(
        "{} of 4,096 slots ({:.1} %) with {} streams would move; their {} events (about {}) stay where they are, and 0 bytes are copied",
        grouped(plan.moved_slots),
        plan.moved_fraction * 100.0,
        grouped(plan.moved_streams),
        grouped(plan.events),
        bytes_text(plan.bytes),
    ))?;
    Ok(ExitCode::SUCCESS)
}

/// Begins a change, and waits for its end unless it is to go on alone.
pub(super) async fn begin(client: &Client, change: Change, detach: bool, output: &mut Output) -> Result<ExitCode, Failure> {
    let text = ask(client, change, false).await?;
    if detach {
        return told(&text, output);
    }
    let id = parsed::<Job>(&text)?.id;
    let bar = bar(output);
    loop {
        let text: Box<RawValue> = client.get(&["v1", "jobs", &id], &[]).await?;
        let job: Job = parsed(&text)?;
        bar.set_length(job.total);
        bar.set_position(job.done);
        if job.state != "running" {
            bar.finish_and_clear();
            told(&text, output)?;
            return if job.state == "done" { Ok(ExitCode::SUCCESS) } else { Err(ended(&job)) };
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

fn ended(job: &Job) -> Failure {
    let why = job.error.clone().unwrap_or_else(|| "somebody else has told it so".to_owned());
    Failure::failed(format!("the job is {}", job.state))
        .detail(why)
        .next(format!("`factum shards resume {id}` goes on with it, `factum shards cancel {id}` gives it up", id = job.id))
}

/// Lists the jobs.
pub(super) async fn jobs(client: &Client, output: &mut Output) -> Result<ExitCode, Failure> {
    let text: Box<RawValue> = client.get(&["v1", "jobs"], &[]).await?;
    let jobs: Jobs = parsed(&text)?;
    if !output.is_human() {
        for job in &jobs.jobs {
            output.line(job.get())?;
        }
        return Ok(ExitCode::SUCCESS);
    }
    let rows: Result<Vec<Vec<String>>, Failure> = jobs.jobs.iter().map(|job| parsed(job).map(|job| row(&job))).collect();
    output.table(&COLUMNS, rows?)?;
    Ok(ExitCode::SUCCESS)
}

/// Tells a job to pause, resume or cancel.
pub(super) async fn steer(client: &Client, job: &str, word: &str, output: &mut Output) -> Result<ExitCode, Failure> {
    let request = client.request(Method::POST, &["v1", "jobs", job, word], &[])?.timeout(ANSWER_TIMEOUT);
    let response = client.send(request).await?;
    let text: Box<RawValue> = client.json(response).await?;
    told(&text, output)
}

async fn ask(client: &Client, change: Change, dry_run: bool) -> Result<Box<RawValue>, Failure> {
    let query: Vec<(&str, String)> = if dry_run { vec![("dry_run", "true".to_owned())] } else { Vec::new() };
    let request = match change {
        Change::Add { weight } => {
            let request = client.request(Method::POST, &["v1", "shards"], &query)?;
            match weight {
                Some(weight) => request.json(&serde_json::json!({ "weight": weight })),
                None => request,
            }
        }
        Change::Drain { shard } => client.request(Method::DELETE, &["v1", "shards", &shard.to_string()], &query)?,
        Change::Rebalance => client.request(Method::POST, &["v1", "shards", "rebalance"], &query)?,
    };
    let response = client.send(request.timeout(ANSWER_TIMEOUT)).await?;
    client.json(response).await
}

fn told(text: &RawValue, output: &mut Output) -> Result<ExitCode, Failure> {
    if !output.is_human() {
        output.line(text.get())?;
        return Ok(ExitCode::SUCCESS);
    }
    let job: Job = parsed(text)?;
    let what = match (job.kind.as_str(), job.shard) {
        ("add", Some(shard)) => format!("shard {shard} joins"),
        ("drain", Some(shard)) => format!("shard {shard} is drained"),
        _ => "the shards are evened out".to_owned(),
    };
    output.line(&format!(
        "{what}: {}, {} of {} slots moved ({:.1} % of all){}; job {}",
        job.state,
        grouped(job.done),
        grouped(job.total),
        job.moved_fraction * 100.0,
        job.moved_streams.map_or_else(String::new, |streams| format!(", {} streams in them", grouped(streams))),
        printable(&job.id),
    ))?;
    Ok(ExitCode::SUCCESS)
}

fn row(job: &Job) -> Vec<String> {
    let shard = job.shard.map_or_else(String::new, |shard| shard.to_string());
    let left = job.eta_seconds.map_or_else(String::new, |seconds| format!("{seconds:.1} s left"));
    let note = job.error.as_deref().map_or(left, printable);
    vec![printable(&job.id), job.kind.clone(), shard, job.state.clone(), format!("{}/{}", grouped(job.done), grouped(job.total)), note]
}

/// A bar on stderr if people look at it, else nothing.
fn bar(output: &Output) -> ProgressBar {
    let bar = ProgressBar::new(0);
    if let Ok(style) = ProgressStyle::with_template("  {bar:30} {pos}/{len} slots, {eta} left") {
        bar.set_style(style);
    }
    if !output.is_human() {
        bar.set_draw_target(ProgressDrawTarget::hidden());
    }
    bar
}

const COLUMNS: [Column; 6] =
    [Column::left("job"), Column::left("kind"), Column::right("shard"), Column::left("state"), Column::right("slots"), Column::left("")];
/// How often it is looked at how far it is.
const LOOK_EVERY: Duration = Duration::from_millis(100);
