//! Is this directory a database, whose is it, and how many shards does it have?

use std::io;
use std::path::Path;
use std::sync::Arc;

use factum_storage as storage;
use serde::Deserialize;
use serde::Serialize;
use storage::Clock;
use storage::Damage;
use storage::Disk;
use storage::DiskFile;
use storage::LockGuard;
use storage::Position;
use storage::RealDisk;
use storage::SystemClock;

use super::Durability;
use crate::Error;

/// A data directory that this process owns.
pub(super) struct Directory {
    /// A disk for each shard.
    pub(super) shards: Vec<Arc<dyn Disk>>,
    /// Keeps other processes out while it lives.
    pub(super) lock: Arc<dyn LockGuard>,
}

/// What `factum.meta` says.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Meta {
    format: u32,
    shards: u16,
}

/// Takes a data directory for this process, and makes it if it is new.
///
/// # Errors
///
/// [`Error::Storage`]: `Locked`, `UnknownFormat`, `Corrupt`, `Io`. [`Error::Invalid`] if it has another number of shards.
pub(super) fn open(root: &Path, shards: Option<u16>, durability: Durability) -> Result<Directory, Error> {
    let disk = disk(root, durability);
    disk.create_dir("").map_err(|error| failed("creating the data directory", error))?;
    let lock = lock(&*disk, root)?;
    let count = match read_meta(&*disk)? {
        Some(meta) => {
            check_count(meta.shards, shards)?;
            check_shards(&*disk, meta.shards)?;
            meta.shards
        }
        None => {
            let count = shards.unwrap_or(1);
            create(&*disk, count)?;
            count
        }
    };
    let shards = (0..count).map(|shard| self::disk(&root.join("shards").join(shard.to_string()), durability)).collect();
    Ok(Directory { shards, lock })
}

fn disk(root: &Path, durability: Durability) -> Arc<dyn Disk> {
    Arc::new(match durability {
        Durability::Strict => RealDisk::new(root),
        Durability::Relaxed => RealDisk::relaxed(root),
    })
}

fn lock(disk: &dyn Disk, root: &Path) -> Result<Arc<dyn LockGuard>, Error> {
    match disk.lock(LOCK_FILE, &owner()) {
        Ok(guard) => Ok(Arc::from(guard)),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
            let file = root.join(LOCK_FILE).display().to_string();
            Err(storage::Error::Locked { file: file.into(), owner: error.to_string().into() }.into())
        }
        Err(error) => Err(failed("locking factum.lock", error)),
    }
}

/// For the one who finds the lock taken.
fn owner() -> String {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let host = if host.trim().is_empty() { "an unnamed host" } else { host.trim() };
    let since = jiff::Timestamp::from_microsecond(SystemClock.now().as_micros()).map(|since| since.to_string()).unwrap_or_default();
    format!("pid {} on {host} since {since}", std::process::id())
}

fn check_count(found: u16, asked: Option<u16>) -> Result<(), Error> {
    match asked {
        Some(asked) if asked != found => Err(Error::Invalid {
            field: "shards".to_owned(),
            detail: format!("the database has {found} shard(s), {asked} were asked for; leave it out to take what there is"),
        }),
        _ => Ok(()),
    }
}

fn read_meta(disk: &dyn Disk) -> Result<Option<Meta>, Error> {
    let file = match disk.open(META_FILE) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed("opening factum.meta", error)),
    };
    let text = read_start(&*file).map_err(|error| failed("reading factum.meta", error))?;
    let format =
        serde_json::from_slice::<Format>(&text).map_err(|error| damaged(format!("not a line of JSON as it should be: {error}")))?.format;
    if format > FORMAT {
        return Err(storage::Error::UnknownFormat { file: META_FILE.into(), found: format, known: FORMAT }.into());
    }
    match serde_json::from_slice::<Meta>(&text) {
        Ok(meta) if meta.format == FORMAT && meta.shards > 0 => Ok(Some(meta)),
        Ok(meta) => Err(damaged(format!("says format {} and {} shards", meta.format, meta.shards))),
        Err(error) => Err(damaged(format!("not a line of JSON as it should be: {error}"))),
    }
}

/// The part of `factum.meta` that every format has.
#[derive(Deserialize)]
struct Format {
    format: u32,
}

fn read_start(file: &dyn DiskFile) -> io::Result<Vec<u8>> {
    let length = usize::try_from(file.len()?).unwrap_or(usize::MAX).min(META_BYTES_MAX);
    let mut text = vec![0; length];
    storage::disk::read_exact_at(file, &mut text, 0)?;
    Ok(text)
}

/// Each shard's folder was made before `factum.meta` was: one that is not there now has been taken away.
fn check_shards(disk: &dyn Disk, count: u16) -> Result<(), Error> {
    for shard in 0..count {
        let folder = log_folder(shard);
        match disk.list(&folder) {
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let detail = format!("{META_FILE} says that there are {count} shards, but this folder is missing");
                return Err(damaged_file(folder, detail));
            }
            Err(error) => return Err(failed("listing a shard's folder", error)),
        }
    }
    Ok(())
}

/// Makes the folders, then `factum.meta`, each durable before the next: an interrupted creation begins anew and is never taken for a loss.
fn create(disk: &dyn Disk, count: u16) -> Result<(), Error> {
    if count == 0 {
        return Err(Error::Invalid { field: "shards".to_owned(), detail: "must be at least 1".to_owned() });
    }
    for name in list(disk, "shards")? {
        if !list(disk, &format!("shards/{name}/log"))?.is_empty() {
            return Err(damaged(format!("missing, but shards/{name} has a log")));
        }
    }
    make(disk, count).map_err(|error| failed("creating the data directory", error))
}

fn make(disk: &dyn Disk, count: u16) -> io::Result<()> {
    for shard in 0..count {
        disk.create_dir(&log_folder(shard))?;
        disk.sync_dir(&format!("shards/{shard}"))?;
    }
    disk.sync_dir("shards")?;
    match disk.remove(META_TEMPORARY) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    let file = disk.create_new(META_TEMPORARY)?;
    let mut line = serde_json::to_vec(&Meta { format: FORMAT, shards: count })?;
    line.push(b'\n');
    storage::disk::write_all_at(&*file, &line, 0)?;
    file.sync_data()?;
    disk.rename(META_TEMPORARY, META_FILE)?;
    disk.sync_dir("")
}

fn list(disk: &dyn Disk, folder: &str) -> Result<Vec<String>, Error> {
    match disk.list(folder) {
        Ok(names) => Ok(names),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(failed("listing the data directory", error)),
    }
}

fn log_folder(shard: u16) -> String {
    format!("shards/{shard}/log")
}

fn damaged(detail: String) -> Error {
    damaged_file(META_FILE.to_owned(), detail)
}

fn damaged_file(file: String, detail: String) -> Error {
    let damage = Damage { file, offset: 0, first: Position::new(1), last: Position::new(u64::MAX), detail };
    storage::Error::Corrupt(Arc::new(damage)).into()
}

fn failed(context: &str, source: io::Error) -> Error {
    storage::Error::Io { context: context.into(), source: Arc::new(source) }.into()
}

const LOCK_FILE: &str = "factum.lock";
const META_FILE: &str = "factum.meta";
const META_TEMPORARY: &str = "factum.meta.tmp";
/// The newest format of a data directory that this build knows.
const FORMAT: u32 = 1;
const META_BYTES_MAX: usize = 4_096;
