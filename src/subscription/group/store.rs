//! Where does a group's progress live? In one file for all groups, `subscriptions.redb`; nothing is acknowledged before it is there.

use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;

use factum_storage::Disk;
use factum_storage::RealDisk;
use parking_lot::Mutex;
use redb::ReadableDatabase;
use redb::ReadableTable;
use redb::TableDefinition;
use serde::Deserialize;
use serde::Serialize;

use super::marks::BLOCK_BYTES;
use super::marks::Bits;
use super::marks::last_done;
use crate::Error;
use crate::shard::Router;

/// The file of all groups, or the memory that stands for it.
pub(super) struct ProgressFile {
    /// `None`: in memory.
    path: Option<PathBuf>,
    file: Mutex<File>,
}

#[derive(Clone)]
enum File {
    /// Not needed yet.
    Unopened,
    Open(Arc<redb::Database>),
    /// It can't be used, and why; nothing is tried again before the next start.
    Broken(Arc<str>),
}

/// An event with a row of its own: parked, held back by one that is, or to be tried again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Kept {
    pub(super) stream: String,
    pub(super) version: u64,
    pub(super) attempts: u32,
    /// Microseconds since 1970, if it is parked.
    pub(super) parked_at: Option<i64>,
    pub(super) reason: String,
}

/// One thing that is to be stored.
#[derive(Debug)]
pub(super) enum Change {
    Checkpoint { shard: u16, position: u64 },
    Done { shard: u16, block: u64, bits: Option<Box<Bits>> },
    Kept { shard: u16, position: u64, row: Option<Kept> },
}

/// All that is stored of one group.
#[derive(Default)]
pub(super) struct Progress {
    /// By shard.
    pub(super) checkpoints: Vec<u64>,
    pub(super) done: Vec<(u16, u64, Box<Bits>)>,
    pub(super) kept: Vec<(u16, u64, Kept)>,
}

impl Progress {
    /// By shard, the last position that it knows of.
    pub(super) fn reach(&self) -> Vec<u64> {
        let mut reach = self.checkpoints.clone();
        let done = self.done.iter().filter_map(|(shard, block, bits)| Some((*shard, last_done(*block, bits)?)));
        for (shard, position) in done.chain(self.kept.iter().map(|(shard, position, _)| (*shard, *position))) {
            if let Some(reach) = reach.get_mut(usize::from(shard)) {
                *reach = position.max(*reach);
            }
        }
        reach
    }
}

/// How many shards the database has, and had when it was made: those that joined later are read from their start.
#[derive(Clone, Copy)]
pub(super) struct Shards {
    pub(super) at_first: u16,
    pub(super) now: u16,
}

impl Shards {
    pub(super) fn of(router: &Router) -> Self {
        let topology = router.topology();
        Self { at_first: topology.began_with(), now: topology.shards() }
    }
}

impl ProgressFile {
    pub(super) fn new(folder: Option<&Path>) -> Self {
        Self { path: folder.map(|folder| folder.join(FILE)), file: Mutex::new(File::Unopened) }
    }

    /// Whether what is stored is gone with the process.
    pub(super) fn is_in_memory(&self) -> bool {
        self.path.is_none()
    }

    /// The file; made if it is not there and `create` says so. Waits for the disk.
    fn open(&self, create: bool) -> Result<Option<Arc<redb::Database>>, Arc<str>> {
        let mut file = self.file.lock();
        match &*file {
            File::Open(database) => return Ok(Some(Arc::clone(database))),
            File::Broken(why) => return Err(Arc::clone(why)),
            File::Unopened => {}
        }
        let opened = match &self.path {
            None => redb::Builder::new().create_with_backend(redb::backends::InMemoryBackend::new()).map_err(redb::Error::from),
            Some(path) if path.exists() || create => open_file(path),
            Some(_) => return Ok(None),
        };
        match opened {
            Ok(database) => {
                let database = Arc::new(database);
                *file = File::Open(Arc::clone(&database));
                Ok(Some(database))
            }
            Err(error) => {
                tracing::error!(path = ?self.path, %error, "the progress of the subscriptions can't be read; {ADVICE}");
                let why: Arc<str> = format!("{FILE} can't be read ({error}); {ADVICE}").into();
                *file = File::Broken(Arc::clone(&why));
                Err(why)
            }
        }
    }

    /// All that is stored of a group. Waits for the disk.
    pub(super) fn load(&self, name: &str, shards: Shards) -> Result<Progress, Error> {
        let Some(database) = self.open(false).map_err(|why| broken(name, &why))? else {
            return Err(broken(name, &format!("{FILE} is not there; {ADVICE}")));
        };
        read(&database, name, shards).map_err(|detail| broken(name, &format!("{FILE}: {detail}; {ADVICE}")))
    }

    /// Begins a group at its checkpoints; whatever was there under this name is forgotten. Waits for the disk.
    pub(super) fn begin(&self, name: &str, checkpoints: &[u64]) -> Result<(), Error> {
        let database = self.open(true).map_err(|why| broken(name, &why))?;
        let Some(database) = database else { return Err(broken(name, FILE)) };
        let written = (|| -> Result<(), redb::Error> {
            let transaction = database.begin_write()?;
            clear(&transaction, name)?;
            {
                let mut table = transaction.open_table(CHECKPOINTS)?;
                for (shard, position) in (0_u16..).zip(checkpoints) {
                    table.insert((name, shard), position)?;
                }
            }
            transaction.commit()?;
            Ok(())
        })();
        written.map_err(|error| broken(name, &format!("{FILE}: {error}")))
    }

    /// Forgets a group. Waits for the disk.
    pub(super) fn forget(&self, name: &str) -> Result<(), Error> {
        let Some(database) = self.open(false).map_err(|why| broken(name, &why))? else { return Ok(()) };
        let written = (|| -> Result<(), redb::Error> {
            let transaction = database.begin_write()?;
            clear(&transaction, name)?;
            transaction.commit()?;
            Ok(())
        })();
        written.map_err(|error| broken(name, &format!("{FILE}: {error}")))
    }

    /// Stores the changes of several groups at once; they are on disk when this returns.
    pub(super) fn commit(&self, batch: &[(Arc<str>, Vec<Change>)]) -> Result<(), Arc<str>> {
        let Some(database) = self.open(false)? else { return Err(format!("{FILE} is not there; {ADVICE}").into()) };
        let committed = write(&database, batch);
        committed.map_err(|error| {
            let why: Arc<str> = format!("{FILE} can't be written ({error}); a restart reads it again").into();
            tracing::error!(path = ?self.path, %error, "the progress of the subscriptions can't be written");
            // What failed once stays failed: the groups in memory are ahead of what is stored.
            *self.file.lock() = File::Broken(Arc::clone(&why));
            why
        })
    }

    /// Lets the file go.
    pub(super) fn close(&self) {
        *self.file.lock() = File::Broken("the database is closed".into());
    }
}

fn open_file(path: &Path) -> Result<redb::Database, redb::Error> {
    let is_new = !path.exists();
    let database = redb::Builder::new().set_cache_size(CACHE_BYTES).create(path)?;
    let transaction = database.begin_write()?;
    {
        let mut meta = transaction.open_table(META)?;
        let format = meta.get("format")?.map(|format| format.value());
        match format {
            None => drop(meta.insert("format", FORMAT)?),
            Some(FORMAT) => {}
            Some(other) => return Err(redb::Error::Corrupted(format!("format {other}, and this build knows {FORMAT}"))),
        }
        transaction.open_table(CHECKPOINTS)?;
        transaction.open_table(DONE)?;
        transaction.open_table(KEPT)?;
    }
    transaction.commit()?;
    if is_new && let Some(folder) = path.parent() {
        // The name must be on disk before anybody relies on what is in the file.
        RealDisk::new(folder).sync_dir("").map_err(redb::Error::Io)?;
    }
    Ok(database)
}

fn write(database: &redb::Database, batch: &[(Arc<str>, Vec<Change>)]) -> Result<(), redb::Error> {
    let transaction = database.begin_write()?;
    {
        let mut checkpoints = transaction.open_table(CHECKPOINTS)?;
        let mut done = transaction.open_table(DONE)?;
        let mut kept = transaction.open_table(KEPT)?;
        for (name, change) in batch.iter().flat_map(|(name, changes)| changes.iter().map(move |change| (name, change))) {
            match change {
                Change::Checkpoint { shard, position } => drop(checkpoints.insert((&**name, *shard), position)?),
                Change::Done { shard, block, bits: Some(bits) } => {
                    drop(done.insert((&**name, *shard, *block), bits.as_slice())?);
                }
                Change::Done { shard, block, bits: None } => drop(done.remove((&**name, *shard, *block))?),
                Change::Kept { shard, position, row: Some(row) } => {
                    let row = serde_json::to_vec(row).expect("text and numbers are JSON");
                    drop(kept.insert((&**name, *shard, *position), row.as_slice())?);
                }
                Change::Kept { shard, position, row: None } => drop(kept.remove((&**name, *shard, *position))?),
            }
        }
    }
    transaction.commit()?;
    Ok(())
}

fn clear(transaction: &redb::WriteTransaction, name: &str) -> Result<(), redb::Error> {
    transaction.open_table(CHECKPOINTS)?.retain_in((name, 0)..=(name, u16::MAX), |_, _| false)?;
    transaction.open_table(DONE)?.retain_in((name, 0, 0)..=(name, u16::MAX, u64::MAX), |_, _| false)?;
    transaction.open_table(KEPT)?.retain_in((name, 0, 0)..=(name, u16::MAX, u64::MAX), |_, _| false)?;
    Ok(())
}

fn read(database: &redb::Database, name: &str, shards: Shards) -> Result<Progress, String> {
    let text = |error: redb::Error| error.to_string();
    let transaction = database.begin_read().map_err(|error| text(error.into()))?;
    let mut progress = Progress::default();
    let checkpoints = transaction.open_table(CHECKPOINTS).map_err(|error| text(error.into()))?;
    for shard in 0..shards.now {
        let row = checkpoints.get((name, shard)).map_err(|error| text(error.into()))?;
        match row {
            Some(row) => progress.checkpoints.push(row.value()),
            None if shard >= shards.at_first => progress.checkpoints.push(0),
            None => return Err(format!("it has no checkpoint for shard {shard}")),
        }
    }
    let done = transaction.open_table(DONE).map_err(|error| text(error.into()))?;
    for row in done.range((name, 0, 0)..=(name, u16::MAX, u64::MAX)).map_err(|error| text(error.into()))? {
        let (key, bits) = row.map_err(|error| text(error.into()))?;
        let (_, shard, block) = key.value();
        let bits: Bits = bits.value().try_into().map_err(|_| format!("a row of {} bytes instead of {BLOCK_BYTES}", bits.value().len()))?;
        progress.done.push((shard, block, Box::new(bits)));
    }
    let kept = transaction.open_table(KEPT).map_err(|error| text(error.into()))?;
    for row in kept.range((name, 0, 0)..=(name, u16::MAX, u64::MAX)).map_err(|error| text(error.into()))? {
        let (key, row) = row.map_err(|error| text(error.into()))?;
        let (_, shard, position) = key.value();
        let row = serde_json::from_slice(row.value()).map_err(|error| format!("the row of position {position}: {error}"))?;
        progress.kept.push((shard, position, row));
    }
    Ok(progress)
}

pub(super) fn broken(name: &str, detail: &str) -> Error {
    Error::SubscriptionFailed { name: name.to_owned(), detail: detail.to_owned() }
}

const FILE: &str = "subscriptions.redb";
const ADVICE: &str = "put it back from a backup, or take it away, delete the subscriptions and define them anew: no event is lost by that, \
    but what was acknowledged is not known";
const FORMAT: u64 = 1;
const CACHE_BYTES: usize = 16 << 20;
const META: TableDefinition<'_, &str, u64> = TableDefinition::new("meta");
/// Name and shard to the position up to which everything is done or kept.
const CHECKPOINTS: TableDefinition<'_, (&str, u16), u64> = TableDefinition::new("checkpoints");
/// Name, shard and number of the block to one bit for each event of it that is done.
const DONE: TableDefinition<'_, (&str, u16, u64), &[u8]> = TableDefinition::new("done");
/// Name, shard and position to a [`Kept`] in JSON.
const KEPT: TableDefinition<'_, (&str, u16, u64), &[u8]> = TableDefinition::new("kept");
