//! `factum verify`: is every byte of a data directory as it was written?

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use factum_storage as storage;
use storage::SystemClock;
use storage::VerifyOptions;
use storage::VerifyReport;

use super::failure::Failure;
use super::offline::DataDirectory;
use super::offline::ProgressShown;
use super::offline::damage_json;
use super::offline::damage_table;
use super::offline::engine_failure;
use super::output::Output;
use super::output::grouped;
use crate::config::bytes_text;

#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  factum verify ./data\n  factum verify ./data --chain --deep\n\n\
    Changes nothing. Exits with 1 if anything is damaged, and says what to do. The server must be stopped.")]
pub(crate) struct Arguments {
    /// The data directory.
    #[arg(value_name = "DIR")]
    directory: PathBuf,
    /// Compute the hash chain over all events anew and compare it with what is stored.
    #[arg(long)]
    chain: bool,
    /// Compare the index with the log, event by event.
    #[arg(long)]
    deep: bool,
}

pub(crate) fn run(arguments: &Arguments, output: &mut Output) -> Result<ExitCode, Failure> {
    let directory = DataDirectory::open(&arguments.directory)?;
    let options = VerifyOptions { chain: arguments.chain, deep: arguments.deep };
    let (mut damages, mut index_errors) = (0, 0);
    for (shard, disk) in &directory.shards {
        let mut shown = ProgressShown::new(*shard);
        let report = storage::verify(Arc::clone(disk), Arc::new(SystemClock), options, &mut |progress| shown.show(progress));
        drop(shown);
        let report = report.map_err(|error| engine_failure(*shard, &error))?;
        print(*shard, &report, output)?;
        damages += report.damages.len();
        index_errors += report.index_errors.len();
    }
    output.flush()?;
    let path = directory.path().display();
    if damages > 0 {
        return Err(Failure::failed(format!("{path} is damaged in {damages} place(s)")).next(format!(
            "bring it back from a backup, or let go of the damaged events: factum repair {path} --accept-loss\n\
            (the server opens it read-only as it is: everything else can be read)"
        )));
    }
    if index_errors > 0 {
        return Err(Failure::failed(format!("the index of {path} says something else than the log in {index_errors} place(s)"))
            .detail("no event is lost: the index is made from the log")
            .next(format!("factum reindex {path}")));
    }
    if output.is_human() {
        let line = output.green("Whole: every byte is as it was written.");
        output.line(&line)?;
    }
    Ok(ExitCode::SUCCESS)
}

fn print(shard: u16, report: &VerifyReport, output: &mut Output) -> Result<(), Failure> {
    let receipt: String = report.receipt.iter().map(|byte| format!("{byte:02x}")).collect();
    if !output.is_human() {
        output.json(&serde_json::json!({
            "shard": shard, "segments": report.segments, "bytes": report.bytes, "events": report.committed.get(),
            "torn_bytes": report.torn_bytes, "receipt": receipt, "index_errors": report.index_errors,
            "damages": report.damages.iter().map(damage_json).collect::<Vec<_>>()
        }))?;
        return Ok(());
    }
    let (events, bytes) = (grouped(report.committed.get()), bytes_text(report.bytes));
    output.line(&format!("shard {shard}: {events} events in {} segment(s), {bytes}", report.segments))?;
    let line = output.dim(&format!("  receipt at position {}: {receipt}", report.committed));
    output.line(&line)?;
    // Behind damage nobody can tell a torn write from a lost one.
    if report.torn_bytes > 0 && report.damages.is_empty() {
        let torn = bytes_text(report.torn_bytes);
        output.line(&format!("  {torn} of a write that a crash cut off; the next start removes it. It was never acknowledged."))?;
    }
    damage_table(&report.damages, output)?;
    for error in &report.index_errors {
        let line = output.yellow(&format!("  index: {error}"));
        output.line(&line)?;
    }
    Ok(())
}
