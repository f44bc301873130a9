//! `factum shards archive`: how does the log of a drained shard go to another place, and stay readable?
//!
//! It is copied, proven byte by byte, and then a link to it takes the place of the folder, in one step: whenever this is broken off, either
//! the folder or the link is there, and behind both of them the whole log. What is left over then is cleared away by the next try.

use std::fs;
use std::io;
use std::path::Path;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use factum_storage as storage;
use rustix::fs::CWD;
use rustix::fs::RenameFlags;
use rustix::fs::renameat_with;
use storage::RealDisk;
use storage::SystemClock;
use storage::VerifyOptions;

use super::super::failure::Failure;
use super::super::offline::DataDirectory;
use super::super::offline::ProgressShown;
use super::super::offline::damage_table;
use super::super::offline::engine_failure;
use super::super::output::Output;
use crate::config::bytes_text;

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// The number of the shard. It has to be drained.
    shard: u16,
    /// Where its log is to be: a folder that is not there yet, or empty.
    #[arg(long, value_name = "DIR")]
    to: PathBuf,
    /// The data directory; its server must be stopped.
    #[arg(long, value_name = "DIR", default_value = "./data")]
    data: PathBuf,
}

pub(super) fn run(arguments: &Arguments, output: &mut Output) -> Result<ExitCode, Failure> {
    let Arguments { shard, to, data } = arguments;
    let directory = DataDirectory::open(data)?;
    if !directory.shards.iter().any(|(number, _)| number == shard) {
        return Err(Failure::usage(format!("{} has no folder of a shard {shard}", data.display())));
    }
    if !directory.drained.contains(shard) {
        return Err(Failure::failed(format!("shard {shard} is in use: only the log of a drained shard can go"))
            .next(format!("start the server and drain it: factum shards drain {shard}")));
    }
    let place = absolute(data)?.join("shards").join(shard.to_string());
    clear_left_over(&place)?;
    let from = absolute(&place)?;
    let to = taken(to, &absolute(data)?, &from)?;
    let bytes = copy(&from, &to).map_err(|error| failed(&format!("copying {} to {}", from.display(), to.display()), &error))?;
    prove(*shard, &to, output)?;
    exchange(&place, &to)
        .map_err(|error| failed(&format!("putting a link to {} in place of {}", to.display(), place.display()), &error))?;
    clear_left_over(&place)?;
    // It was archived before: what lay there is at the new place now.
    if from != place {
        fs::remove_dir_all(&from).map_err(|error| failed(&format!("removing {}", from.display()), &error))?;
    }
    if output.is_human() {
        output.line(&format!("shard {shard} is at {} now ({}), and {} leads there", to.display(), bytes_text(bytes), place.display()))?;
    } else {
        output.json(&serde_json::json!({ "shard": shard, "from": from, "to": to, "bytes": bytes }))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// The place for the log, made if it was not there.
fn taken(to: &Path, data: &Path, from: &Path) -> Result<PathBuf, Failure> {
    make(to).map_err(|error| failed(&format!("making {}", to.display()), &error))?;
    let to = absolute(to)?;
    if to.starts_with(data) || from.starts_with(&to) || to.starts_with(from) {
        return Err(Failure::usage(format!("{} is no other place than {}", to.display(), from.display()))
            .next("name a folder outside of the data directory, such as one on another disk"));
    }
    let listed = fs::read_dir(&to).and_then(Iterator::collect::<io::Result<Vec<_>>>);
    let listed = listed.map_err(|error| failed(&format!("reading {}", to.display()), &error))?;
    // What a try before has left is begun anew.
    if !listed.is_empty() && !to.join(UNFINISHED).exists() {
        return Err(Failure::usage(format!("{} is not empty", to.display())).next("name a folder that is not there yet"));
    }
    Ok(to)
}

/// Makes a folder and those above it that are not there, each durable: what is put there would be lost with any of them.
fn make(folder: &Path) -> io::Result<()> {
    if folder.is_dir() {
        return Ok(());
    }
    let above = folder.parent().filter(|above| !above.as_os_str().is_empty()).unwrap_or(Path::new("."));
    make(above)?;
    fs::create_dir(folder)?;
    sync(above)
}

/// Copies everything but what is made ahead of need; how many bytes. A mark says that it is not whole until it is.
fn copy(from: &Path, to: &Path) -> io::Result<u64> {
    fs::write(to.join(UNFINISHED), b"")?;
    sync(to)?;
    let mut bytes = 0;
    for folder in ["", "log"] {
        fs::create_dir_all(to.join(folder))?;
        for entry in fs::read_dir(from.join(folder))? {
            let entry = entry?;
            if entry.file_type()?.is_file() && entry.file_name() != PREPARED {
                let copied = to.join(folder).join(entry.file_name());
                bytes += fs::copy(entry.path(), &copied)?;
                sync(&copied)?;
            }
        }
        sync(&to.join(folder))?;
    }
    Ok(bytes)
}

/// Proves every byte of the copy.
fn prove(shard: u16, to: &Path, output: &mut Output) -> Result<(), Failure> {
    let mut shown = ProgressShown::new(shard);
    let options = VerifyOptions { chain: true, deep: false };
    let report = storage::verify(Arc::new(RealDisk::new(to)), Arc::new(SystemClock), options, &mut |progress| shown.show(progress));
    drop(shown);
    let report = report.map_err(|error| engine_failure(shard, &error))?;
    if report.damages.is_empty() {
        return Ok(());
    }
    damage_table(&report.damages, output)?;
    Err(Failure::failed(format!("the copy in {} is not what it should be; the shard is where it was", to.display()))
        .next("look at both disks: `factum verify` says whether the shard itself is whole"))
}

/// Puts a link to the new place where the folder is, in one step; the folder is beside it then.
fn exchange(place: &Path, to: &Path) -> io::Result<()> {
    let aside = beside(place);
    std::os::unix::fs::symlink(to, &aside)?;
    renameat_with(CWD, &aside, CWD, place, RenameFlags::EXCHANGE)?;
    sync(place.parent().unwrap_or(place))?;
    fs::remove_file(to.join(UNFINISHED))
}

/// Removes what stands beside the shard's place: a folder whose log is at the new place, or a link that was never put in.
fn clear_left_over(place: &Path) -> Result<(), Failure> {
    let aside = beside(place);
    let removed = match fs::symlink_metadata(&aside) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => Err(error),
        Ok(found) if found.is_dir() => fs::remove_dir_all(&aside),
        Ok(_) => fs::remove_file(&aside),
    };
    removed.map_err(|error| failed(&format!("removing {}", aside.display()), &error))
}

fn beside(place: &Path) -> PathBuf {
    place.with_extension("archived")
}

fn sync(path: &Path) -> io::Result<()> {
    #[expect(clippy::disallowed_methods, reason = "a copy of files that no store has open")]
    fs::File::open(path)?.sync_all()
}

fn absolute(path: &Path) -> Result<PathBuf, Failure> {
    fs::canonicalize(path).map_err(|error| failed(&format!("finding {}", path.display()), &error))
}

fn failed(doing: &str, error: &io::Error) -> Failure {
    Failure::failed(format!("{doing} has failed")).detail(error.to_string()).next("the shard is where it was; mend that and try again")
}

/// Says that a copy is not whole.
const UNFINISHED: &str = "factum.unfinished";
/// A segment that is being made ahead of need.
const PREPARED: &str = "prepared.tmp";
