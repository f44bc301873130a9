//! Is this directory a database, whose is it, and how many shards does it have?

use std::io;
use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;

use factum_storage as storage;
use storage::Clock;
use storage::Damage;
use storage::Disk;
use storage::LockGuard;
use storage::Position;
use storage::RealDisk;
use storage::SystemClock;

use super::Durability;
use super::meta;
use super::meta::META_FILE;
use super::meta::Meta;
use crate::Error;
use crate::shard::Strategy;
use crate::shard::Topology;

/// Where a data directory is: its own disk, and that of each shard below it.
#[derive(Clone)]
pub(super) struct Place {
    pub(super) root: Arc<dyn Disk>,
    pub(super) shard: ShardDisks,
    /// As people are told.
    pub(super) name: PathBuf,
}

/// The disk of a shard.
pub type ShardDisks = Arc<dyn Fn(u16) -> Arc<dyn Disk> + Send + Sync>;

impl Place {
    /// A directory of this machine.
    pub(super) fn at(root: &Path, durability: Durability) -> Self {
        let name = root.to_owned();
        let below = name.clone();
        let shard = move |shard: u16| disk(&below.join("shards").join(shard.to_string()), durability);
        Self { root: disk(root, durability), shard: Arc::new(shard), name }
    }
}

/// A data directory that this process owns.
pub(super) struct Directory {
    /// What each shard is opened on.
    pub(super) homes: Vec<Home>,
    /// What is known of it as a whole.
    pub(super) meta: Meta,
    /// The directory itself.
    pub(super) place: Place,
    /// Keeps other processes out while it lives.
    pub(super) lock: Arc<dyn LockGuard>,
}

/// The folder of one shard.
pub(super) struct Home {
    /// The disk below it.
    pub(super) disk: Arc<dyn Disk>,
    /// Why what lies there is not this shard.
    pub(super) fault: Option<String>,
    /// Another server has the shard: there is no folder.
    pub(super) is_elsewhere: bool,
}

/// What a caller wants the directory to be; nothing is what there is.
#[derive(Clone, Debug)]
pub(super) struct Asked {
    pub(super) shards: Option<u16>,
    pub(super) strategy: Option<Strategy>,
    /// How many shards other servers have.
    pub(super) elsewhere: u16,
}

/// Takes a data directory for this process, and makes it if it is new.
///
/// # Errors
///
/// [`Error::Storage`]: `Locked`, `UnknownFormat`, `Corrupt`, `Io`. [`Error::Invalid`] if it has other shards, or another strategy.
pub(super) fn open(place: Place, asked: Asked) -> Result<Directory, Error> {
    let disk = Arc::clone(&place.root);
    disk.create_dir("").map_err(|error| failed("creating the data directory", error))?;
    let lock = lock(&*disk, &place.name)?;
    let meta = match meta::read(&*disk)? {
        Some(meta) => {
            check_elsewhere(&meta.topology, asked.elsewhere)?;
            check_count(&meta.topology, asked.shards)?;
            if let Some(strategy) = &asked.strategy {
                meta.topology.check_asked(strategy)?;
            }
            meta
        }
        None => {
            let with_own = Some(asked.elsewhere + 1).filter(|_| asked.elsewhere > 0);
            if let (Some(count), Some(with_own)) = (asked.shards, with_own)
                && count != with_own
            {
                let detail = format!("is {count}, and with the first one, which is here, shards.urls makes {with_own}");
                return Err(Error::Invalid { field: "shards".to_owned(), detail });
            }
            let (count, strategy) = asked.strategy.unwrap_or(Strategy::Hash).settled(with_own.or(asked.shards))?;
            let meta = Meta { topology: Topology::new(count, strategy).with_last_elsewhere(asked.elsewhere), logs: None };
            create(&*disk, &meta)?;
            meta
        }
    };
    let homes = (0..meta.topology.shards()).map(|shard| home(&place, &meta, shard)).collect::<Result<_, _>>()?;
    Ok(Directory { homes, meta, place, lock })
}

/// What commands need to know of a data directory that nobody has open.
pub(crate) struct Facts {
    /// The shards that have a folder below it.
    pub(crate) here: Vec<u16>,
    /// Those that are drained: they own nothing, and their logs are only read.
    pub(crate) drained: Vec<u16>,
}

impl Facts {
    /// Reads `factum.meta`; `None` if it is not there.
    ///
    /// # Errors
    ///
    /// [`Error::Storage`]: `UnknownFormat`, `Corrupt`, `Io`.
    pub(crate) fn read(path: &Path) -> Result<Option<Self>, Error> {
        let Some(Meta { topology, .. }) = meta::read(&RealDisk::new(path))? else { return Ok(None) };
        let all = || 0..topology.shards();
        let is_drained = |shard: &u16| topology.drained().contains(shard) && !topology.owns_any(*shard);
        Ok(Some(Self {
            here: all().filter(|shard| !topology.elsewhere().contains(shard)).collect(),
            drained: all().filter(is_drained).collect(),
        }))
    }
}

/// The folder of a shard, and whether it is the shard's own.
fn home(place: &Place, meta: &Meta, shard: u16) -> Result<Home, Error> {
    let disk = (place.shard)(shard);
    if meta.topology.elsewhere().contains(&shard) {
        return Ok(Home { disk, fault: None, is_elsewhere: true });
    }
    let fault = match place.root.list(&log_folder(shard)) {
        Ok(_) => stranger(&disk, meta, shard)?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            Some(format!("{META_FILE} says that there are {} shards, but its folder is missing", meta.topology.shards()))
        }
        Err(error) => Some(format!("its folder can't be read: {error}")),
    };
    match fault {
        // Nothing else could serve.
        Some(fault) if meta.topology.shards() == 1 => Err(damaged_file(log_folder(shard), fault)),
        fault => Ok(Home { disk, fault, is_elsewhere: false }),
    }
}

/// Why the log in a shard's folder is not the shard's, as far as its id is known.
fn stranger(disk: &Arc<dyn Disk>, meta: &Meta, shard: u16) -> Result<Option<String>, Error> {
    let Some(own) = meta.logs.as_ref().and_then(|logs| logs.get(usize::from(shard))) else { return Ok(None) };
    match storage::log_id(disk) {
        Ok(Some(found)) if found == *own => Ok(None),
        Ok(Some(found)) => {
            let other = meta.logs.iter().flatten().position(|known| *known == found);
            Ok(Some(other.map_or_else(
                || "its folder holds a log of another database".to_owned(),
                |other| format!("its folder holds the log of shard {other}"),
            )))
        }
        // Segments without a header that can be read are damage, which opening tells.
        Ok(None) => Ok(has_no_segment(&**disk)?.then(|| "its log is gone: the folder has no segment".to_owned())),
        Err(error @ storage::Error::UnknownFormat { .. }) => Err(error.into()),
        Err(error) => Ok(Some(format!("its log can't be read: {}", told(&error)))),
    }
}

fn has_no_segment(disk: &dyn Disk) -> Result<bool, Error> {
    Ok(!list(disk, "log")?.iter().any(|name| name.ends_with(".seg")))
}

/// An error with what has caused it.
pub(super) fn told(error: &storage::Error) -> String {
    let cause = std::error::Error::source(error);
    cause.map_or_else(|| error.to_string(), |cause| format!("{error}: {cause}"))
}

/// Keeps the ids of the shards' logs, now that each has one.
pub(super) fn know_logs(root: &dyn Disk, meta: &Meta, logs: Vec<[u8; 16]>) -> Result<(), Error> {
    if let Some((one, other)) = twice(&logs) {
        let detail = if meta.topology.elsewhere().contains(&other) {
            format!("shard {other} has the log of shard {one}: two addresses lead to one server, or to a copy of it")
        } else {
            format!("the log is that of shard {one}: one of the two folders is a copy")
        };
        return Err(damaged_file(log_folder(other), detail));
    }
    meta::write(root, &Meta { logs: Some(logs), ..meta.clone() }).map_err(|error| failed("writing factum.meta", error))
}

fn twice(logs: &[[u8; 16]]) -> Option<(u16, u16)> {
    let numbered = || (0_u16..).zip(logs);
    numbered().find_map(|(other, id)| numbered().take(usize::from(other)).find(|(_, before)| *before == id).map(|(one, _)| (one, other)))
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

/// Makes the folder of a shard that is to join, and says on which disk it is.
pub(super) fn make_home(place: &Place, shard: u16) -> io::Result<Arc<dyn Disk>> {
    place.root.create_dir(&log_folder(shard))?;
    place.root.sync_dir(&format!("shards/{shard}"))?;
    place.root.sync_dir("shards")?;
    Ok((place.shard)(shard))
}

/// Where the shards are is settled when a database is made; at which addresses is not.
fn check_elsewhere(topology: &Topology, asked: u16) -> Result<(), Error> {
    let found = topology.elsewhere().len();
    if found == usize::from(asked) {
        return Ok(());
    }
    let detail = match (found, asked) {
        (0, _) => "the database was made with all of its shards here; begin another data directory for shards elsewhere".to_owned(),
        (_, 0) => format!("{found} shard(s) of the database are at other servers: name the addresses of all of them"),
        (_, _) => format!("{found} shard(s) of the database are at other servers, and {asked} address(es) are given"),
    };
    Err(Error::Invalid { field: "shards.urls".to_owned(), detail })
}

/// As many as there are now is right, and as many as there were when settings were written that nobody has changed since.
fn check_count(topology: &Topology, asked: Option<u16>) -> Result<(), Error> {
    let found = topology.shards();
    match asked {
        Some(asked) if asked != found && asked != topology.began_with() => Err(Error::Invalid {
            field: "shards".to_owned(),
            detail: format!("the database has {found} shard(s), {asked} were asked for; leave it out to take what there is"),
        }),
        _ => Ok(()),
    }
}

/// Makes the folders, then `factum.meta`, each durable before the next: an interrupted creation begins anew and is never taken for a loss.
fn create(disk: &dyn Disk, meta: &Meta) -> Result<(), Error> {
    for name in list(disk, "shards")? {
        if !list(disk, &format!("shards/{name}/log"))?.is_empty() {
            return Err(damaged(format!("missing, but shards/{name} has a log")));
        }
    }
    make(disk, meta).map_err(|error| failed("creating the data directory", error))
}

fn make(disk: &dyn Disk, meta: &Meta) -> io::Result<()> {
    for shard in (0..meta.topology.shards()).filter(|shard| !meta.topology.elsewhere().contains(shard)) {
        disk.create_dir(&log_folder(shard))?;
        disk.sync_dir(&format!("shards/{shard}"))?;
    }
    disk.sync_dir("shards")?;
    meta::write(disk, meta)
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

pub(super) fn damaged(detail: String) -> Error {
    damaged_file(META_FILE.to_owned(), detail)
}

fn damaged_file(file: String, detail: String) -> Error {
    let damage = Damage { file, offset: 0, first: Position::new(1), last: Position::new(u64::MAX), detail };
    storage::Error::Corrupt(Arc::new(damage)).into()
}

pub(super) fn failed(context: &str, source: io::Error) -> Error {
    storage::Error::Io { context: context.into(), source: Arc::new(source) }.into()
}

const LOCK_FILE: &str = "factum.lock";
