//! The face of one shard's log and index: one [`Store`] that writes, any number of [`Reader`]s, one [`Maintainer`].

use std::sync::Arc;
use std::sync::OnceLock;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering;

use crate::Clock;
use crate::Disk;
use crate::Error;
use crate::Position;
use crate::RecordedEvent;
use crate::index::Index;
use crate::log::Log;
use crate::log::recover::Opening;
use crate::log::recover::Recovered;
use crate::log::recover::log_id;
use crate::log::recover::recover;
use crate::log::writer::LogWriter;
use crate::log::writer::Sizes;
use crate::plant;
use crate::plant::Plant;

mod check;
mod control;
mod lineage;
mod maintain;
mod options;
mod read;
mod replay;
mod select;
mod snapshots;
mod stage;

pub use check::RepairReport;
pub use check::VerifyOptions;
pub use check::VerifyReport;
pub use check::reindex;
pub use check::repair;
pub use check::verify;
pub use lineage::Lineage;
pub use maintain::Maintainer;
pub use options::Appended;
pub use options::Direction;
pub use options::EventSlice;
pub use options::OpenReport;
pub use options::Options;
pub use options::Progress;
pub use options::StreamSlice;
pub use read::Reader;
pub use read::WeakReader;

use stage::Stage;

/// The one writer of a shard.
pub struct Store {
    shared: Arc<Shared>,
    /// `None` if the log is damaged.
    writer: Option<LogWriter>,
    stage: Stage,
}

/// What writer, readers and background share.
pub(crate) struct Shared {
    log: Arc<Log>,
    index: Index,
    clock: Arc<dyn Clock>,
    options: Options,
    /// The index could not take a commit, or lost its file: it is rebuilt before it answers again.
    index_is_broken: AtomicBool,
    /// What other logs know of this one's streams.
    lineage: OnceLock<Arc<dyn Lineage>>,
}

impl Store {
    /// Opens or creates the store on `disk`: reads the newest segments, cuts a torn tail, brings the index up to date.
    ///
    /// A damaged log opens read-only (see [`OpenReport::damage`]).
    ///
    /// # Errors
    ///
    /// [`Error::UnknownFormat`], [`Error::StorageFull`], [`Error::Io`].
    pub fn open(
        disk: Arc<dyn Disk>,
        clock: Arc<dyn Clock>,
        options: Options,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<(Self, OpenReport), Error> {
        Self::open_with(disk, clock, options, false, progress)
    }

    pub(crate) fn open_with(
        disk: Arc<dyn Disk>,
        clock: Arc<dyn Clock>,
        options: Options,
        inspect_only: bool,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<(Self, OpenReport), Error> {
        // The index first: what it knows to be durable decides what the log may have lost.
        let existing = match log_id(&disk)? {
            Some(log_id) => Index::open_existing(Arc::clone(&disk), log_id, options.index_cache_bytes),
            None => Err("missing".to_owned()),
        };
        let Recovered { log, writer, cut_bytes } = recover(Opening {
            disk: Arc::clone(&disk),
            sizes: Sizes { small: options.small_segment_bytes },
            new_log_id: options.new_log_id,
            index_durable: existing.as_ref().map_or(0, |index| index.durable().get()),
            inspect_only,
            prepare: options.prepare_segments,
        })?;
        let committed = Position::new(log.committed());
        let mut report = OpenReport { committed, cut_bytes, damage: log.damages().first().cloned(), ..OpenReport::default() };
        let is_writable = writer.is_some();
        let usable = existing.and_then(|index| {
            let is_ahead = index.durable() > committed && !plant::active(Plant::IndexAheadAccepted);
            if is_ahead { Err(format!("ahead of the log, at position {}", index.durable())) } else { Ok(index) }
        });
        let index = match usable {
            Ok(index) => index,
            Err(why) => {
                if committed > Position::ZERO {
                    report.index_rebuilt = Some(why);
                }
                // Without a writer nothing on disk is changed: the index is made anew in memory, and the old one stays as evidence.
                if is_writable {
                    Index::create(disk, log.log_id, options.index_cache_bytes)?
                } else {
                    Index::open_in_memory(log.log_id, options.index_cache_bytes)?
                }
            }
        };
        let shared = Arc::new(Shared { log, index, clock, options, index_is_broken: AtomicBool::new(false), lineage: OnceLock::new() });
        report.replayed_events = match shared.replay(is_writable, progress) {
            // The index says something that the log does not go on from: the log is right.
            Err(Error::Io { context, source }) if is_writable && source.kind() == std::io::ErrorKind::InvalidData => {
                report.index_rebuilt = Some(format!("{context}: {source}"));
                shared.rebuild()?;
                committed.get()
            }
            replayed => replayed?,
        };
        let stage = Stage::new(&shared)?;
        Ok((Self { shared, writer, stage }, report))
    }

    /// Writes and syncs everything staged, then makes it visible. One write, one sync. Nothing staged: does nothing.
    ///
    /// # Errors
    ///
    /// [`Error::StorageFull`]: nothing of it is there, and nothing was harmed.
    /// [`Error::OutcomeUnknown`]: a write or sync failed; the store is poisoned from here on.
    pub fn commit(&mut self) -> Result<Position, Error> {
        let Some(writer) = self.writer.as_mut() else {
            return self.shared.log.refuses_appends().map_or_else(|| Ok(Position::new(self.shared.log.committed())), Err);
        };
        if self.stage.is_empty() {
            let position = self.shared.log.committed();
            self.stage.reset(position);
            return Ok(Position::new(position));
        }
        if plant::active(Plant::IndexFlushBeforeCommit) {
            self.stage.apply_to(&self.shared)?;
            self.shared.index.flush()?;
        }
        let written = writer.write(&mut self.stage.batch);
        let tip = match written {
            Ok(tip) => tip,
            Err(error) => {
                self.stage.reset(writer.tip().position);
                return Err(error);
            }
        };
        writer.note_records(&self.stage.batch, tip);
        if !self.shared.index_is_broken.load(Ordering::Acquire) && self.stage.apply_to(&self.shared).is_err() {
            // The events are durable whatever the index says; it is rebuilt from them.
            self.shared.index_is_broken.store(true, Ordering::Release);
        }
        writer.publish(tip);
        self.stage.reset(tip.position);
        Ok(Position::new(tip.position))
    }

    /// How many bytes are staged for the next commit.
    #[must_use]
    pub fn staged_bytes(&self) -> usize {
        self.stage.batch.bytes.len()
    }

    /// A reader beside this writer; clone it freely.
    #[must_use]
    pub fn reader(&self) -> Reader {
        Reader::new(Arc::clone(&self.shared))
    }

    /// The background work of this store; run by one thread.
    #[must_use]
    pub fn maintainer(&self) -> Maintainer {
        Maintainer::new(Arc::clone(&self.shared))
    }

    /// Flushes the index and lets go of its file. Staged transactions are dropped, and readers that are left answer with an error.
    ///
    /// # Errors
    ///
    /// What the index's last flush says; the log is whole all the same, and the next open reads again what was not flushed.
    pub fn close(self) -> Result<(), Error> {
        // What is not known to be synced must not be marked as durable.
        if self.writer.is_none() || self.shared.log.refuses_appends().is_some() {
            return Ok(());
        }
        self.shared.index.flush()
    }
}

/// Readers may live on; the index's file must not be written to from here on, since the next store may open it.
impl Drop for Store {
    fn drop(&mut self) {
        self.shared.index.end();
    }
}

impl Shared {
    /// The index, if it may be asked.
    fn index(&self) -> Result<&Index, Error> {
        if self.index_is_broken.load(Ordering::Acquire) {
            return Err(Error::io("the index is being rebuilt", std::io::ErrorKind::ResourceBusy.into()));
        }
        Ok(&self.index)
    }

    /// Reads one event; `None` if it was trimmed or given up.
    fn event_at(&self, position: Position) -> Result<Option<RecordedEvent>, Error> {
        Ok(self.log.read(&[position.get()])?.pop())
    }
}

impl Shared {
    /// An entry of the index led astray: nothing of it is believed any more.
    fn distrust_index(&self) {
        self.index_is_broken.store(true, Ordering::Release);
    }
}
