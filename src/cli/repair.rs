//! `factum repair`: let go of what is damaged, so that the rest takes appends again.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use factum_storage as storage;
use storage::RepairReport;

use super::failure::Failure;
use super::offline::DataDirectory;
use super::offline::ProgressShown;
use super::offline::damage_json;
use super::offline::damage_table;
use super::offline::engine_failure;
use super::output::Output;

#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  factum repair ./data --accept-loss\n\n\
    Every event that can be read stays; the positions of the others are marked as lost for ever.\n\
    The damaged files stay beside the new ones, with `.damaged` behind their names. The server must be stopped.")]
pub(crate) struct Arguments {
    /// The data directory.
    #[arg(value_name = "DIR")]
    directory: PathBuf,
    /// Damaged events are lost: say that you know it, and have looked for a backup.
    #[arg(long, required = true)]
    accept_loss: bool,
}

pub(crate) fn run(arguments: &Arguments, output: &mut Output) -> Result<ExitCode, Failure> {
    let directory = DataDirectory::open(&arguments.directory)?;
    for (shard, disk) in &directory.shards {
        let mut shown = ProgressShown::new(*shard);
        let report = storage::repair(Arc::clone(disk), &mut |progress| shown.show(progress));
        drop(shown);
        print(*shard, &report.map_err(|error| engine_failure(*shard, &error))?, output)?;
        output.flush()?;
    }
    if output.is_human() {
        let path = directory.path().display();
        output.line(&format!("next: factum verify {path}, then factum serve --data {path} (it rebuilds the index)"))?;
    }
    Ok(ExitCode::SUCCESS)
}

fn print(shard: u16, report: &RepairReport, output: &mut Output) -> Result<(), Failure> {
    if !output.is_human() {
        let lost: Vec<_> = report.lost.iter().map(|(first, last)| serde_json::json!([first.get(), last.get()])).collect();
        output.json(&serde_json::json!({
            "shard": shard, "lost": lost, "rewritten": report.rewritten,
            "damages": report.damages.iter().map(damage_json).collect::<Vec<_>>()
        }))?;
        return Ok(());
    }
    if report.damages.is_empty() {
        output.line(&format!("shard {shard}: nothing is damaged, nothing was changed"))?;
        return Ok(());
    }
    output.line(&format!("shard {shard}:"))?;
    damage_table(&report.damages, output)?;
    for (first, last) in &report.lost {
        let line = output.yellow(&format!("  lost: positions {first} to {last}"));
        output.line(&line)?;
    }
    for file in &report.rewritten {
        output.line(&format!("  written anew: {file} (as it was: {file}.damaged)"))?;
    }
    Ok(())
}
