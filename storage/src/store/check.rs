//! Is the store whole, and how is it made whole again? For the offline commands; the caller holds the data directory's lock.

use std::sync::Arc;

use crate::Clock;
use crate::Damage;
use crate::Disk;
use crate::Error;
use crate::Position;
use crate::Version;
use crate::index::Index;
use crate::log::recover::Opening;
use crate::log::recover::log_id;
use crate::log::recover::recover;
use crate::log::repair;
use crate::log::writer::Sizes;

use super::OpenReport;
use super::Options;
use super::Progress;
use super::Store;

/// What [`verify`] looks at beyond frames, records and seals.
#[derive(Clone, Copy, Debug, Default)]
pub struct VerifyOptions {
    /// Recompute the hash chain from the first frame on.
    pub chain: bool,
    /// Compare the index with the log, event by event.
    pub deep: bool,
}

/// What [`verify`] found.
#[derive(Clone, Debug, Default)]
pub struct VerifyReport {
    /// How many segment files.
    pub segments: u64,
    /// How many bytes they have.
    pub bytes: u64,
    /// The log's last position.
    pub committed: Position,
    /// Bytes of a torn tail, which the next open will cut: appends that were never acknowledged.
    pub torn_bytes: u64,
    /// What is damaged. The log is whole if this is empty.
    pub damages: Vec<Damage>,
    /// Where the index says something else than the log; `reindex` mends it.
    pub index_errors: Vec<String>,
    /// The newest chain value.
    pub receipt: [u8; 32],
}

/// What [`repair`] did.
#[derive(Clone, Debug, Default)]
pub struct RepairReport {
    /// What was damaged.
    pub damages: Vec<Damage>,
    /// Ranges of positions that were given up, both ends inclusive.
    pub lost: Vec<(Position, Position)>,
    /// Files that were written anew; each one's earlier bytes are beside it, with `.damaged` behind the name.
    pub rewritten: Vec<String>,
}

/// Proves every byte of a store's log without changing anything.
///
/// # Errors
///
/// [`Error::UnknownFormat`], [`Error::Io`]. Damage is no error: it is in the report.
pub fn verify(
    disk: Arc<dyn Disk>,
    clock: Arc<dyn Clock>,
    options: VerifyOptions,
    progress: &mut dyn FnMut(Progress),
) -> Result<VerifyReport, Error> {
    let log = inspect(&disk)?;
    let total = log.log.disk_bytes();
    let mut report = VerifyReport {
        segments: log.log.segments().len() as u64,
        bytes: total,
        committed: Position::new(log.log.committed()),
        torn_bytes: log.cut_bytes,
        receipt: log.log.receipt().1,
        ..VerifyReport::default()
    };
    let mut done = 0;
    report.damages = log.log.check(options.chain, &mut |bytes| {
        done += bytes;
        progress(Progress { what: "bytes of the log proven", done, total });
    })?;
    if options.deep && report.damages.is_empty() {
        report.index_errors = compare(disk, clock, progress)?;
    }
    Ok(report)
}

/// Gives up what is damaged and makes the log whole: every good frame stays, and damaged positions are marked as lost for ever.
/// The index is removed; the next open rebuilds it. A log without damage is not touched.
///
/// # Errors
///
/// [`Error::StorageFull`], [`Error::Io`]. It may be called again.
pub fn repair(disk: Arc<dyn Disk>, progress: &mut dyn FnMut(Progress)) -> Result<RepairReport, Error> {
    let found = inspect(&disk)?;
    let damages = found.log.check(false, &mut |_| {})?;
    let log_id = found.log.log_id;
    let index_durable = Index::peek_durable(&disk, log_id).map_or(0, Position::get);
    drop(found);
    if damages.is_empty() {
        return Ok(RepairReport::default());
    }
    let salvaged = repair::repair(&disk, log_id, index_durable, &damages, &mut |done, total| {
        progress(Progress { what: "segments made whole", done, total });
    })?;
    Index::remove(&disk)?;
    let lost = salvaged.lost.into_iter().map(|(first, last)| (Position::new(first), Position::new(last))).collect();
    Ok(RepairReport { damages, lost, rewritten: salvaged.rewritten })
}

/// Throws the index away and builds it anew from the log.
///
/// # Errors
///
/// [`Error::ReadOnly`] if the log is damaged, [`Error::StorageFull`], [`Error::Io`].
pub fn reindex(
    disk: Arc<dyn Disk>,
    clock: Arc<dyn Clock>,
    options: Options,
    progress: &mut dyn FnMut(Progress),
) -> Result<OpenReport, Error> {
    let found = inspect(&disk)?;
    if let Some(damage) = found.log.damages().first() {
        return Err(Error::ReadOnly(Arc::new(damage.clone())));
    }
    drop(found);
    Index::remove(&disk)?;
    let (store, report) = Store::open(disk, clock, options, progress)?;
    store.close()?;
    Ok(report)
}

fn inspect(disk: &Arc<dyn Disk>) -> Result<crate::log::recover::Recovered, Error> {
    let index_durable = log_id(disk)?.and_then(|log_id| Index::peek_durable(disk, log_id)).map_or(0, Position::get);
    recover(Opening {
        disk: Arc::clone(disk),
        sizes: Sizes { small: 0 },
        new_log_id: [0; 16],
        index_durable,
        inspect_only: true,
        prepare: false,
    })
}

/// Reads the whole log and asks the index for every event. Returns the first few differences.
fn compare(disk: Arc<dyn Disk>, clock: Arc<dyn Clock>, progress: &mut dyn FnMut(Progress)) -> Result<Vec<String>, Error> {
    let (store, _) = Store::open_with(disk, clock, Options::default(), true, &mut |_| {})?;
    let reader = store.reader();
    let shared = &reader.shared;
    let total = shared.log.committed();
    let (mut next, mut errors) = (1, Vec::new());
    while next <= total && errors.len() < ERRORS_MAX {
        let (events, through) = shared.log.read_range(next, total, 4 << 20)?;
        for event in events {
            let positions = shared.index.stream_positions(event.stream(), event.version(), 1, false)?;
            if positions != [(event.version(), event.position())] {
                errors.push(format!(
                    "stream {} version {}: the index does not lead to position {}",
                    event.stream(),
                    event.version(),
                    event.position()
                ));
            }
            if !shared.index.candidates_by_id(event.id())?.contains(&event.position()) {
                errors.push(format!("event {:?}: the index does not lead to position {}", event.id(), event.position()));
            }
            let version = shared.index.head(event.stream())?.map_or(Version::ZERO, |head| head.version);
            if version < event.version() {
                errors.push(format!("stream {}: the index has version {version}, the log {}", event.stream(), event.version()));
            }
        }
        next = through + 1;
        progress(Progress { what: "events compared with the index", done: through, total });
    }
    errors.truncate(ERRORS_MAX);
    Ok(errors)
}

const ERRORS_MAX: usize = 100;
