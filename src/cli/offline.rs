//! A data directory that no server has open: its lock, its shards, and how long work on it is shown.

use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;

use factum_storage as storage;
use indicatif::ProgressBar;
use indicatif::ProgressStyle;
use serde::Deserialize;
use storage::Damage;
use storage::Disk;
use storage::LockGuard;
use storage::Progress;
use storage::RealDisk;

use super::client::chain;
use super::failure::Failure;
use super::output::Column;
use super::output::Output;
use super::output::grouped;
use crate::database::DIRECTORY_FORMAT;
use crate::database::Facts;

/// A data directory, locked until this is dropped.
pub(crate) struct DataDirectory {
    path: PathBuf,
    /// Number and disk of each shard that it has a folder of.
    pub(crate) shards: Vec<(u16, Arc<dyn Disk>)>,
    /// The shards that are drained.
    pub(crate) drained: Vec<u16>,
    _lock: Box<dyn LockGuard>,
}

/// What the commands read of `factum.meta`.
#[derive(Deserialize)]
struct Meta {
    format: u32,
}

impl DataDirectory {
    /// Takes the directory's lock and finds its shards.
    pub(crate) fn open(path: &Path) -> Result<Self, Failure> {
        let not_one = |detail: String| {
            Failure::usage(format!("{} is not a data directory", path.display()))
                .detail(detail)
                .next("name the directory that `factum serve --data` was given")
        };
        let meta = std::fs::read_to_string(path.join(META_FILE)).map_err(|error| not_one(format!("{META_FILE}: {error}")))?;
        let meta: Meta = serde_json::from_str(&meta).map_err(|error| not_one(format!("{META_FILE}: {error}")))?;
        if meta.format > DIRECTORY_FORMAT {
            let detail = format!("{META_FILE} has format {}, this build knows up to {DIRECTORY_FORMAT}", meta.format);
            return Err(Failure::failed(format!("{} is of a newer version of Factum", path.display())).detail(detail));
        }
        let lock = RealDisk::new(path).lock(LOCK_FILE, &format!("factum, process {}, offline", std::process::id()));
        let lock = lock.map_err(|error| {
            if error.kind() == std::io::ErrorKind::WouldBlock {
                return Failure::failed(format!("{} is in use", path.display())).detail(error.to_string()).next("stop the server first");
            }
            Failure::failed(format!("{} cannot be locked", path.display())).detail(error.to_string())
        })?;
        let unreadable = |detail: String| {
            Failure::failed(format!("{META_FILE} of {} can't be read", path.display())).detail(detail).next("bring it back from a backup")
        };
        let facts = Facts::read(path).map_err(|error| unreadable(chain(&error)))?;
        let Facts { here, drained } = facts.ok_or_else(|| unreadable("it is not there".to_owned()))?;
        let count = here.len();
        let shards = here.into_iter().map(|shard| {
            let directory = path.join("shards").join(shard.to_string());
            if !directory.is_dir() {
                return Err(Failure::failed(format!("{} is missing", directory.display()))
                    .detail(format!("the data directory has {count} shards"))
                    .next("bring it back from a backup; the other shards cannot stand for it"));
            }
            Ok((shard, Arc::new(RealDisk::new(directory)) as Arc<dyn Disk>))
        });
        Ok(Self { path: path.to_owned(), shards: shards.collect::<Result<_, _>>()?, drained, _lock: lock })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

/// What the engine's trouble means to whoever cares for the directory.
pub(crate) fn engine_failure(shard: u16, error: &storage::Error) -> Failure {
    Failure::failed(format!("shard {shard} cannot be worked on")).detail(chain(error))
}

/// A bar on stderr if that is a terminal, fed by the engine's own progress.
pub(crate) struct ProgressShown {
    bar: ProgressBar,
    prefix: String,
}

impl ProgressShown {
    pub(crate) fn new(shard: u16) -> Self {
        let bar = ProgressBar::new(0);
        let style = ProgressStyle::with_template("  {prefix} {bar:30} {percent:>3} %  {msg}  {eta}");
        bar.set_style(style.expect("a constant template is valid"));
        Self { bar, prefix: format!("shard {shard}") }
    }

    pub(crate) fn show(&mut self, progress: Progress) {
        self.bar.set_prefix(self.prefix.clone());
        self.bar.set_message(progress.what);
        self.bar.set_length(progress.total);
        self.bar.set_position(progress.done);
    }
}

impl Drop for ProgressShown {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

/// What is damaged, for people; nothing if nothing is.
pub(crate) fn damage_table(damages: &[Damage], output: &mut Output) -> Result<(), Failure> {
    if damages.is_empty() {
        return Ok(());
    }
    let columns = [Column::left("damaged file"), Column::right("at byte"), Column::right("positions"), Column::left("what is wrong")];
    let row = |damage: &Damage| {
        let positions = format!("{} to {}", damage.first, damage.last);
        vec![damage.file.clone(), grouped(damage.offset), positions, damage.detail.clone()]
    };
    output.table(&columns, damages.iter().map(row).collect())?;
    Ok(())
}

/// What is damaged, for programs.
pub(crate) fn damage_json(damage: &Damage) -> serde_json::Value {
    serde_json::json!({
        "file": damage.file, "offset": damage.offset, "first_position": damage.first.get(), "last_position": damage.last.get(),
        "detail": damage.detail
    })
}

const META_FILE: &str = "factum.meta";
const LOCK_FILE: &str = "factum.lock";
