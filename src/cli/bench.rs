//! `factum bench`: load on a running server, and what came of it.

mod append;
mod connection;
mod consume;
mod read;
mod report;
mod subscribe;

use std::process::ExitCode;
use std::time::Duration;
use std::time::Instant;

use clap::ValueEnum;
use serde::Deserialize;
use uuid::Uuid;

use super::client::Client;
use super::client::Connection;
use super::failure::Failure;
use super::output::Output;
use crate::config;
use connection::Target;
use report::Measured;

#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  factum bench append --clients 64 --seconds 10\n  \
    factum bench append --clients 8 --batch 100 --events 1000000\n  \
    factum bench read --clients 8\n  factum bench subscribe --clients 100\n  \
    factum bench consume --clients 4 --batch 100 --events 200000\n\n\
    append: each client owns its streams and checks their versions. read: streams of 1,000 events, one a request.\n\
    subscribe: each client follows live what one writer appends; the time is from sending to receiving.\n\
    consume: the clients share --events events of 1,000 streams as a consumer group; the time is that of acknowledging --batch of them.\n\
    Writes to streams of the category `bench`; use a data directory that you can throw away.")]
pub(crate) struct Arguments {
    /// What to measure.
    #[arg(value_enum, default_value_t = Workload::Append)]
    workload: Workload,
    /// How many connections work at once.
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    clients: u32,
    /// Stop after so many events (subscribe: appended ones).
    #[arg(long, value_name = "N")]
    events: Option<u64>,
    /// Events of one append.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    batch: u32,
    /// Stop after so many seconds.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    seconds: u64,
    /// What order the consumers' events have (consume).
    #[arg(long, value_enum, default_value_t = Ordering::Stream)]
    ordering: Ordering,
    /// Bytes of each event's data.
    #[arg(long, value_name = "SIZE", default_value = "256B", value_parser = payload)]
    payload: usize,
    #[command(flatten)]
    connection: Connection,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Workload {
    /// Append events.
    Append,
    /// Read streams.
    Read,
    /// Follow live.
    Subscribe,
    /// Share the work as a consumer group.
    Consume,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Ordering {
    /// That of their stream.
    Stream,
    /// None.
    None,
}

/// What every client of a run needs to know.
#[derive(Clone, Debug)]
struct Plan {
    target: Target,
    /// Makes this run's streams new.
    run: String,
    clients: u32,
    events_max: u64,
    batch: u32,
    payload: usize,
    ends: Instant,
}

impl Plan {
    /// How many events client number `client` is to do, so that all together do `events_max`.
    fn share(&self, client: u32) -> u64 {
        let clients = u64::from(self.clients);
        self.events_max / clients + u64::from(u64::from(client) < self.events_max % clients)
    }
}

pub(crate) async fn run(arguments: &Arguments, output: &mut Output) -> Result<ExitCode, Failure> {
    let client = Client::new(&arguments.connection)?;
    let target = Target::new(&arguments.connection)?;
    let durability = durability(&client).await?;
    let plan = Plan {
        target,
        run: Uuid::now_v7().simple().to_string(),
        clients: arguments.clients,
        events_max: arguments.events.unwrap_or(u64::MAX),
        batch: arguments.batch,
        payload: arguments.payload,
        ends: Instant::now() + Duration::from_secs(arguments.seconds),
    };
    let (name, measured) = match arguments.workload {
        Workload::Append => ("append", append::run(plan.clone()).await?),
        Workload::Read => ("read", read::run(plan.clone(), arguments.seconds).await?),
        Workload::Consume => {
            let name = if arguments.ordering == Ordering::Stream { "consume/ordering=stream" } else { "consume/ordering=none" };
            (name, consume::run(&client, plan.clone(), arguments.seconds, arguments.ordering).await?)
        }
        Workload::Subscribe => ("subscribe", subscribe::run(plan.clone()).await?),
    };
    let title = format!(
        "{name}/clients={}/batch={}/payload={}/durability={durability}",
        plan.clients,
        plan.batch,
        config::bytes_text(plan.payload as u64).replace(' ', "")
    );
    report::print(&title, &measured, output)?;
    Ok(ExitCode::SUCCESS)
}

#[derive(Deserialize)]
struct Status {
    durability: String,
}

async fn durability(client: &Client) -> Result<String, Failure> {
    let status: Status = client.get(&["v1", "status"], &[]).await?;
    Ok(status.durability)
}

fn payload(text: &str) -> Result<usize, String> {
    let bytes = config::parse_bytes(text)?;
    if (PAYLOAD_BYTES_MIN..=PAYLOAD_BYTES_MAX).contains(&bytes) {
        return usize::try_from(bytes).map_err(|error| error.to_string());
    }
    Err(format!("must be between {PAYLOAD_BYTES_MIN}B and 1MiB"))
}

/// Runs one task a client and adds up what they measured. The first failure ends it all.
async fn all<F>(clients: u32, start: impl Fn(u32) -> F) -> Result<Measured, Failure>
where
    F: Future<Output = Result<Measured, Failure>> + 'static,
{
    let started = Instant::now();
    let local = tokio::task::LocalSet::new();
    let tasks: Vec<_> = (0..clients).map(|client| local.spawn_local(start(client))).collect();
    let mut sum = Measured::new();
    let mut seconds = 0_f64;
    local
        .run_until(async {
            for task in tasks {
                let one = task.await.map_err(|error| Failure::failed("a client of the run broke off").detail(error.to_string()))??;
                sum.add(&one);
                seconds = seconds.max(one.seconds);
            }
            Ok::<_, Failure>(())
        })
        .await?;
    // A client that knows better how long it worked says so.
    sum.seconds = if seconds > 0.0 { seconds } else { started.elapsed().as_secs_f64() };
    Ok(sum)
}

const PAYLOAD_BYTES_MIN: u64 = 16;
const PAYLOAD_BYTES_MAX: u64 = 1 << 20;
