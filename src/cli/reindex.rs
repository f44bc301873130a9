//! `factum reindex`: throw the index away and make it anew from the log.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use factum_storage as storage;
use storage::SystemClock;

use super::failure::Failure;
use super::offline::DataDirectory;
use super::offline::ProgressShown;
use super::offline::engine_failure;
use super::output::Output;
use super::output::grouped;
use crate::database::Options;

#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  factum reindex ./data\n\nThe log is only read: no event can be lost. The server must be stopped.")]
pub(crate) struct Arguments {
    /// The data directory.
    #[arg(value_name = "DIR")]
    directory: PathBuf,
}

pub(crate) fn run(arguments: &Arguments, output: &mut Output) -> Result<ExitCode, Failure> {
    let directory = DataDirectory::open(&arguments.directory)?;
    for (shard, disk) in &directory.shards {
        let mut shown = ProgressShown::new(*shard);
        let options = Options::new(directory.path()).storage;
        let report = storage::reindex(Arc::clone(disk), Arc::new(SystemClock), options, &mut |progress| shown.show(progress));
        drop(shown);
        let report = report.map_err(|error| {
            let failure = engine_failure(*shard, &error);
            let is_damaged = matches!(error, storage::Error::ReadOnly(_));
            if is_damaged { failure.next(format!("factum verify {}", directory.path().display())) } else { failure }
        })?;
        let events = report.committed.get();
        if output.is_human() {
            output.line(&format!("shard {shard}: index made from {} events", grouped(events)))?;
        } else {
            output.json(&serde_json::json!({"shard": shard, "events": events}))?;
        }
        output.flush()?;
    }
    Ok(ExitCode::SUCCESS)
}
