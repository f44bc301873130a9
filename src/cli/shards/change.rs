//! `factum shards add`, `drain` and what belongs to them: changes of the shards while appends go on.

use std::process::ExitCode;
use std::time::Duration;

use indicatif::ProgressBar;
use indicatif::ProgressDrawTarget;
use indicatif::ProgressStyle;
use reqwest::Method;
use serde::Deserialize;
use serde::Serialize;
use serde_json::value::RawValue;

use super::Range;
use super::parsed;
use super::range_text;
use super::ranges_text;
use crate::cli::client::ANSWER_TIMEOUT;
use crate::cli::client::Client;
use crate::cli::failure::Failure;
use crate::cli::output::Column;
use crate::cli::output::Output;
use crate::cli::output::grouped;
use crate::cli::output::printable;
use crate::config::bytes_text;

/// A change of the shards, as somebody asks for it.
#[derive(Clone, Debug, clap::Subcommand)]
pub(crate) enum Change {
    /// One more shard, which takes its share from the others.
    Add(NewShard),
    /// A shard gives all that it has to the others, with the strategy `geo` to those of its region. Its log stays, and is read like before.
    Drain {
        /// Its number.
        shard: u16,
    },
    /// Each shard gets its share, after a change that was cancelled, or when ranges have grown apart.
    Rebalance,
}

/// What a shard that joins is to be like.
#[derive(Clone, Debug, clap::Args, Serialize)]
pub(crate) struct NewShard {
    /// Its share against the others', 1 to 100; with the strategy `ring` only.
    #[arg(long)]
    #[serde(skip_serializing_if = "Option::is_none")]
    weight: Option<u32>,
    /// The first key of what it takes, up to the end of the range that the key lies in; with the strategy `range` only [default: the upper
    /// half of the heaviest range].
    #[arg(long, value_name = "KEY")]
    #[serde(skip_serializing_if = "Option::is_none")]
    split: Option<String>,
    /// The region that it joins; with the strategy `geo`, which needs it.
    #[arg(long, value_name = "NAME")]
    #[serde(skip_serializing_if = "Option::is_none")]
    region: Option<String>,
}

#[derive(Deserialize)]
struct Plan {
    moves: Vec<Move>,
    shards: Vec<Share>,
    moved_slots: u64,
    moved_fraction: Option<f64>,
    moved_ranges: u64,
    moved_streams: u64,
    events: u64,
    bytes: u64,
}

#[derive(Deserialize)]
struct Move {
    from: u16,
    to: u16,
    slots: u64,
    region: Option<String>,
    range: Option<Range>,
}

#[derive(Deserialize)]
struct Share {
    id: u16,
    slots_now: Option<u64>,
    slots_then: Option<u64>,
    ranges_now: Option<Vec<Range>>,
    ranges_then: Option<Vec<Range>>,
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
    unit: String,
    done: u64,
    total: u64,
    moved_streams: Option<u64>,
    moved_fraction: Option<f64>,
    why: Option<String>,
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
    let rows = plan.shards.iter().map(|shard| {
        let owns = |slots: Option<u64>, ranges: &Option<Vec<Range>>| ranges.as_deref().map_or_else(|| slots_text(slots), ranges_text);
        vec![shard.id.to_string(), owns(shard.slots_now, &shard.ranges_now), owns(shard.slots_then, &shard.ranges_then)]
    });
    output.table(&[Column::left("shard"), Column::right("owns now"), Column::right("owns then")], rows.collect())?;
    for Move { from, to, slots, region, range } in &plan.moves {
        let what = match (range, region) {
            (Some(range), _) => format!("the keys {}", range_text(range)),
            (None, Some(region)) => format!("{} slots of {}", grouped(*slots), printable(region)),
            (None, None) => format!("{} slots", grouped(*slots)),
        };
        output.line(&format!("{what} go from shard {from} to shard {to}"))?;
    }
    let moved = match plan.moved_fraction {
        Some(fraction) => format!("{} of 4,096 slots ({:.1} %)", grouped(plan.moved_slots), fraction * 100.0),
        None => format!("{} ranges", grouped(plan.moved_ranges)),
    };
    output.line(&format!(
        "{moved} with {} streams would move; their {} events (about {}) stay where they are, and 0 bytes are copied",
        grouped(plan.moved_streams),
        grouped(plan.events),
        bytes_text(plan.bytes),
    ))?;
    Ok(ExitCode::SUCCESS)
}

fn slots_text(slots: Option<u64>) -> String {
    slots.map_or_else(|| "nothing".to_owned(), |slots| format!("{} slots", grouped(slots)))
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
        Change::Add(shard) => client.request(Method::POST, &["v1", "shards"], &query)?.json(&shard),
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
        "{what}: {}, {} of {} {} moved{}{}; job {}",
        job.state,
        grouped(job.done),
        grouped(job.total),
        printable(&job.unit),
        job.moved_fraction.map_or_else(String::new, |fraction| format!(" ({:.1} % of all)", fraction * 100.0)),
        job.moved_streams.map_or_else(String::new, |streams| format!(", {} streams in them", grouped(streams))),
        printable(&job.id),
    ))?;
    if let Some(why) = &job.why {
        output.line(&format!("begun by itself: {}", printable(why)))?;
    }
    Ok(ExitCode::SUCCESS)
}

fn row(job: &Job) -> Vec<String> {
    let shard = job.shard.map_or_else(String::new, |shard| shard.to_string());
    let left = job.eta_seconds.map_or_else(String::new, |seconds| format!("{seconds:.1} s left"));
    let note = job.error.as_deref().or(job.why.as_deref()).map_or(left, printable);
    vec![printable(&job.id), job.kind.clone(), shard, job.state.clone(), format!("{}/{}", grouped(job.done), grouped(job.total)), note]
}

/// A bar on stderr if people look at it, else nothing.
fn bar(output: &Output) -> ProgressBar {
    let bar = ProgressBar::new(0);
    if let Ok(style) = ProgressStyle::with_template("  {bar:30} {pos}/{len} moved, {eta} left") {
        bar.set_style(style);
    }
    if !output.is_human() {
        bar.set_draw_target(ProgressDrawTarget::hidden());
    }
    bar
}

const COLUMNS: [Column; 6] =
    [Column::left("job"), Column::left("kind"), Column::right("shard"), Column::left("state"), Column::right("moved"), Column::left("")];
/// How often it is looked at how far it is.
const LOOK_EVERY: Duration = Duration::from_millis(100);
