//! `factum demo`: the main job, end to end, on real events that the program carries with it.

#[cfg(feature = "analytics")]
mod analytics;
mod decisions;
mod live;
mod postgres;
mod program;
mod rows;
mod shards;
mod tour;

use std::net::Ipv4Addr;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use tokio::sync::oneshot;

use super::client::Client;
use super::client::Connection;
use super::failure::Failure;
use super::output::Output;
use super::output::grouped;
use super::serve::Signals;
use super::serve::told;
use crate::config::Settings;
use crate::config::StrategyName;
use crate::server::Server;
use crate::server::ServerError;
use crate::telemetry;
use crate::telemetry::LogFormat;
use tour::Tour;

#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  factum demo\n  factum demo --once\n  factum demo --data ./demo-data\n  factum demo --shards 4\n\n\
    Starts a server, imports the events over HTTP, asks it things, and stays up until Ctrl-C.\n\
    It may be run again on the same directory: the events have ids, so nothing is imported twice.")]
pub(crate) struct Arguments {
    /// Where the demo keeps its data [default: factum-demo in the system's temporary directory]
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Spread the events over so many shards; one more joins while they are imported.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=64))]
    shards: Option<u16>,
    /// End when everything was shown.
    #[arg(long)]
    once: bool,
}

pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode, Failure> {
    let level = std::env::var("FACTUM_LOG").unwrap_or_else(|_| "warn".to_owned());
    telemetry::install(LogFormat::Pretty, &level).map_err(|error| Failure::usage("the log cannot be set up").detail(error))?;
    telemetry::metrics::install().map_err(|error| Failure::usage("measurements cannot be kept").detail(error))?;
    let runtime = super::server_runtime()?;
    runtime.block_on(demo(arguments))
}

async fn demo(arguments: &Arguments) -> Result<ExitCode, Failure> {
    let mut output = Output::for_people();
    let mut signals = Signals::new()?;
    let data = arguments.data.clone().unwrap_or_else(|| std::env::temp_dir().join("factum-demo"));
    let title = output.bold("Factum: an event store that keeps every fact, and answers from it");
    output.line(&title)?;
    output.line("")?;
    output.flush()?;
    let server = open(data.clone(), arguments.shards).await.map_err(|error| told(&error))?;
    let base = format!("http://{}", server.address());
    let disk = server.database().clone();
    let before = disk.status().await.map_err(|error| Failure::failed("the demo's data cannot be read").detail(error.to_string()))?;
    let events_before: u64 = before.iter().map(|shard| shard.position.get()).sum();
    let (stop, stopped) = oneshot::channel::<()>();
    let serving = tokio::spawn(server.run(async move {
        // A dropped sender stops the server as well.
        drop(stopped.await);
    }));
    let client = Client::new(&Connection::to(&base))?;
    let mut tour = Tour { client, output: &mut output, data, database: disk, shards: arguments.shards };
    let shown = tokio::select! {
        shown = tour.show(events_before) => shown,
        () = signals.next() => Ok(()),
    };
    if shown.is_ok() && !arguments.once {
        let line = output.dim("The server stays up. Ctrl-C ends it; the data stays.");
        output.line(&line)?;
        output.flush()?;
        signals.next().await;
    }
    drop(stop);
    let ended = serving.await.map_err(|error| Failure::failed("the server broke off").detail(error.to_string()))?;
    shown?;
    ended.map_err(|error| told(&error))?;
    output.flush()?;
    Ok(ExitCode::SUCCESS)
}

/// A server on the usual port, or on a free one if that is taken.
async fn open(data: PathBuf, shards: Option<u16>) -> Result<Server, ServerError> {
    let mut settings = Settings::default();
    settings.server.data = data;
    if let Some(shards) = shards {
        (settings.shards.count, settings.shards.strategy) = (Some(shards), Some(StrategyName::Ring));
    }
    // Segments are zeroed ahead of need; small ones keep the figure of bytes on disk near what the events take.
    settings.storage.segment = SEGMENT_BYTES;
    settings.storage.index_flush_events = INDEX_FLUSH_EVENTS;
    match Server::open(settings.clone()).await {
        Err(ServerError::Listen { source, .. }) if source.kind() == std::io::ErrorKind::AddrInUse => {
            settings.server.listen = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
            Server::open(settings).await
        }
        opened => opened,
    }
}

/// What a directory is refused for: nobody wants demo events among real ones.
fn not_the_demos(data: &std::path::Path, events: u64) -> Failure {
    Failure::usage(format!("{} holds {} events that are not the demo's", data.display(), grouped(events)))
        .next("name an empty directory with --data")
}

/// Domestic declarations of the BPI Challenge 2020, one event a line.
static EVENTS: &[u8] = include_bytes!("../../tests/data/domestic-declarations.ndjson.gz");
const EVENTS_SOURCE: &str = "BPI Challenge 2020, Domestic Declarations, B. van Dongen, 4TU.ResearchData, licence CC BY 4.0";
const SEGMENT_BYTES: u64 = 2 << 20;
/// Soon enough that the index file is there to be looked at.
const INDEX_FLUSH_EVENTS: u64 = 10_000;
/// How many events and streams the data has.
const EVENTS_COUNT: u64 = 55_628;
const STREAMS_COUNT: u64 = 10_357;
