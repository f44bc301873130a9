//! `factum shards`: which shards there are, where a stream lives, and how shards come and go.

mod archive;
mod change;

use std::process::ExitCode;

use serde::Deserialize;
use serde_json::value::RawValue;

use change::Change;
use change::NewShard;

use super::client::Client;
use super::client::Connection;
use super::failure::Failure;
use super::output::Column;
use super::output::Output;
use super::output::grouped;
use super::output::printable;
use crate::config::bytes_text;

#[derive(Debug, clap::Args)]
#[command(
    args_conflicts_with_subcommands = true,
    after_help = "Examples:\n  factum shards\n  factum shards locate order-42 '{order-42}-invoice-7'\n  \
    factum shards plan add\n  factum shards add\n  factum shards drain 2 --detach\n  factum shards jobs\n  \
    factum shards --json | jq -r '.shards[] | select(.state != \"ok\") | .reason'"
)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    connection: Connection,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Say where streams live or would live, and why.
    #[command(after_help = "Example:\n  factum shards locate order-42")]
    Locate {
        /// Names of streams; they need not be there.
        #[arg(required = true)]
        streams: Vec<String>,
        #[command(flatten)]
        connection: Connection,
    },
    /// Say what a change would do, and change nothing.
    #[command(after_help = "Examples:\n  factum shards plan add\n  factum shards plan drain 2")]
    Plan {
        #[command(subcommand)]
        change: Change,
        #[command(flatten)]
        connection: Connection,
    },
    /// Add a shard while appends go on.
    #[command(
        after_help = "Examples:\n  factum shards add\n  factum shards add --weight 2 --detach\n  factum shards add --split order-5000\n  \
    factum shards add --region eu"
    )]
    Add {
        #[command(flatten)]
        shard: NewShard,
        #[command(flatten)]
        how: How,
    },
    /// Drain a shard while appends go on: it gives all that it has to the others, and its log stays.
    #[command(after_help = "Example:\n  factum shards drain 2")]
    Drain {
        /// Its number.
        shard: u16,
        #[command(flatten)]
        how: How,
    },
    /// Give each shard its share, after a change that was cancelled, or when ranges have grown apart.
    #[command(after_help = "Example:\n  factum shards rebalance")]
    Rebalance {
        #[command(flatten)]
        how: How,
    },
    /// Move the log of a drained shard to another place, where it stays readable. The server must be stopped.
    #[command(after_help = "Example:\n  factum shards archive 2 --to ../cold/factum-2 --data ./data\n\n\
        It is copied and proven byte by byte; then a link takes the folder's place, in one step. The server writes its index there,\n\
        so the place has to be writable.")]
    Archive {
        #[command(flatten)]
        arguments: archive::Arguments,
    },
    /// List the changes since the server was started.
    #[command(after_help = "Example:\n  factum shards jobs")]
    Jobs {
        #[command(flatten)]
        connection: Connection,
    },
    /// Let a change rest, also over a restart.
    #[command(after_help = "Example:\n  factum shards pause 019a0f6e-5d0c-7aaa-8d6a-0a1f4a2b3c4d")]
    Pause {
        #[command(flatten)]
        of: OfJob,
    },
    /// Go on with a change that rests or has failed.
    #[command(after_help = "Example:\n  factum shards resume 019a0f6e-5d0c-7aaa-8d6a-0a1f4a2b3c4d")]
    Resume {
        #[command(flatten)]
        of: OfJob,
    },
    /// Give a change up; what has moved stays where it is.
    #[command(after_help = "Example:\n  factum shards cancel 019a0f6e-5d0c-7aaa-8d6a-0a1f4a2b3c4d")]
    Cancel {
        #[command(flatten)]
        of: OfJob,
    },
}

#[derive(Debug, clap::Args)]
struct How {
    /// Do not wait until it is done.
    #[arg(long)]
    detach: bool,
    #[command(flatten)]
    connection: Connection,
}

#[derive(Debug, clap::Args)]
struct OfJob {
    /// The job's name, as `factum shards jobs` says it.
    job: String,
    #[command(flatten)]
    connection: Connection,
}

#[derive(Deserialize)]
struct List {
    strategy: String,
    topology_version: u64,
    shards: Vec<Shard>,
}

#[derive(Deserialize)]
struct Shard {
    id: u16,
    state: String,
    reason: Option<String>,
    position: u64,
    streams: u64,
    bytes: u64,
    slots: Option<u64>,
    ranges: Option<Vec<Range>>,
    drained: bool,
    region: Option<String>,
    location: String,
}

/// Keys that follow each other.
#[derive(Deserialize)]
struct Range {
    from: Option<String>,
    to: Option<String>,
}

#[derive(Deserialize)]
struct Located {
    stream: String,
    shard: Option<u16>,
    explanation: String,
}

pub(crate) async fn run(arguments: &Arguments, output: &mut Output) -> Result<ExitCode, Failure> {
    match &arguments.command {
        Some(Command::Locate { streams, connection }) => locate(&Client::new(connection)?, streams, output).await,
        Some(Command::Plan { change, connection }) => change::plan(&Client::new(connection)?, change.clone(), output).await,
        Some(Command::Add { shard, how }) => begin(Change::Add(shard.clone()), how, output).await,
        Some(Command::Drain { shard, how }) => begin(Change::Drain { shard: *shard }, how, output).await,
        Some(Command::Rebalance { how }) => begin(Change::Rebalance, how, output).await,
        Some(Command::Archive { arguments }) => archive::run(arguments, output),
        Some(Command::Jobs { connection }) => change::jobs(&Client::new(connection)?, output).await,
        Some(Command::Pause { of }) => steer(of, "pause", output).await,
        Some(Command::Resume { of }) => steer(of, "resume", output).await,
        Some(Command::Cancel { of }) => steer(of, "cancel", output).await,
        None => list(&Client::new(&arguments.connection)?, output).await,
    }
}

async fn begin(change: Change, how: &How, output: &mut Output) -> Result<ExitCode, Failure> {
    change::begin(&Client::new(&how.connection)?, change, how.detach, output).await
}

async fn steer(of: &OfJob, word: &str, output: &mut Output) -> Result<ExitCode, Failure> {
    change::steer(&Client::new(&of.connection)?, &of.job, word, output).await
}

async fn list(client: &Client, output: &mut Output) -> Result<ExitCode, Failure> {
    let text: Box<RawValue> = client.get(&["v1", "shards"], &[]).await?;
    if !output.is_human() {
        output.line(text.get())?;
        return Ok(ExitCode::SUCCESS);
    }
    let list: List = parsed(&text)?;
    let head = format!("strategy {}, topology version {}", list.strategy, list.topology_version);
    output.line(&output.dim(&head))?;
    output.table(&COLUMNS, list.shards.iter().map(row).collect())?;
    for shard in list.shards.iter().filter(|shard| shard.location != "local") {
        output.line(&format!("shard {} is at {}", shard.id, printable(&shard.location)))?;
    }
    for shard in list.shards.iter().filter(|shard| shard.reason.is_some()) {
        let reason = shard.reason.as_deref().unwrap_or_default();
        output.line(&format!("shard {}: {}", shard.id, printable(reason)))?;
    }
    Ok(ExitCode::SUCCESS)
}

async fn locate(client: &Client, streams: &[String], output: &mut Output) -> Result<ExitCode, Failure> {
    let mut rows = Vec::new();
    for stream in streams {
        let text: Box<RawValue> = client.get(&["v1", "shards", "locate", stream], &[]).await?;
        if !output.is_human() {
            output.line(text.get())?;
            continue;
        }
        let located: Located = parsed(&text)?;
        let shard = located.shard.map_or_else(|| "none".to_owned(), |shard| shard.to_string());
        rows.push(vec![printable(&located.stream), shard, printable(&located.explanation)]);
    }
    if output.is_human() {
        output.table(&LOCATED_COLUMNS, rows)?;
    }
    Ok(ExitCode::SUCCESS)
}

fn parsed<T: for<'a> Deserialize<'a>>(text: &RawValue) -> Result<T, Failure> {
    serde_json::from_str(text.get()).map_err(|error| Failure::failed("the answer cannot be read").detail(error.to_string()))
}

fn row(shard: &Shard) -> Vec<String> {
    let has_nothing = shard.slots == Some(0) || shard.ranges.as_ref().is_some_and(Vec::is_empty);
    let share = match (shard.slots, &shard.ranges, &shard.region) {
        _ if has_nothing && shard.drained => "drained".to_owned(),
        (_, Some(ranges), _) => ranges_text(ranges),
        (Some(slots), None, Some(region)) => format!("{} slots of {}", grouped(slots), printable(region)),
        (Some(slots), None, None) => format!("{} slots", grouped(slots)),
        (None, None, region) => region.as_deref().map_or_else(String::new, printable),
    };
    vec![shard.id.to_string(), shard.state.clone(), grouped(shard.position), grouped(shard.streams), bytes_text(shard.bytes), share]
}

/// Ranges as people read them.
fn ranges_text(ranges: &[Range]) -> String {
    if ranges.is_empty() { "nothing".to_owned() } else { ranges.iter().map(range_text).collect::<Vec<_>>().join(", ") }
}

fn range_text(Range { from, to }: &Range) -> String {
    match (from, to) {
        (None, None) => "all".to_owned(),
        (None, Some(to)) => format!("before {}", printable(to)),
        (Some(from), None) => format!("from {}", printable(from)),
        (Some(from), Some(to)) => format!("from {} to before {}", printable(from), printable(to)),
    }
}

const COLUMNS: [Column; 6] = [
    Column::left("shard"),
    Column::left("state"),
    Column::right("events"),
    Column::right("streams"),
    Column::right("log"),
    Column::left("owns"),
];
const LOCATED_COLUMNS: [Column; 3] = [Column::left("stream"), Column::right("shard"), Column::left("why")];
