//! Which positions belong to a stream, a category, a type, a tag, an id, without reading the log?
//!
//! Derived from the log and rebuilt from it whenever in doubt. Commits touch only the delta in memory; the background
//! flushes the delta to redb in large sorted transactions. A read looks in the delta first, then in redb.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering;

use parking_lot::Mutex;
use parking_lot::RwLock;
use redb::Database;
use redb::ReadableDatabase;
use redb::ReadableTable;

use crate::Disk;
use crate::DiskFile;
use crate::Error;
use crate::MemDisk;
use crate::Position;
use crate::Version;
use crate::plant;
use crate::plant::Plant;

mod backend;
mod cursor;
mod delta;
mod fault;
mod file;
mod flush;
mod hidden;
mod ids;
mod postings;
mod reads;
mod rows;
mod select;
mod snapshots;
#[cfg(test)]
mod tests;
mod view;
mod vocabulary;

pub(crate) use hidden::Hidden;
pub use snapshots::Snapshot;
pub use snapshots::SnapshotInfo;
pub(crate) use vocabulary::Change;
pub(crate) use vocabulary::Control;
pub(crate) use vocabulary::Entry;
pub(crate) use vocabulary::Selection;
pub use vocabulary::StreamHead;
pub(crate) use vocabulary::TermInfo;
pub(crate) use vocabulary::TermKind;

use delta::Delta;
use delta::Known;
use fault::Fault;
use fault::guarded;
use file::IndexFile;
use rows::StreamRow;
use rows::StreamState;

type Map<K, V> = HashMap<K, V, foldhash::fast::RandomState>;

/// The index of one shard's log. One thread applies; any may read or flush.
pub(crate) struct Index {
    disk: Arc<dyn Disk>,
    log_id: [u8; 16],
    cache_bytes: usize,
    state: RwLock<State>,
    /// Held by whoever writes to the file, closes it or opens it again. Taken before `state`, never after.
    writing: Mutex<()>,
    /// Streams that were read from the file lately and that no delta holds.
    heads: Mutex<Map<Arc<str>, StreamState>>,
    hidden: Arc<Hidden>,
    unusable: AtomicBool,
}

struct State {
    active: Arc<RwLock<Delta>>,
    /// Being flushed, or left over from a flush that failed.
    frozen: Option<Arc<RwLock<Delta>>>,
    /// `None` after it failed and would not open again.
    database: Option<Arc<Database>>,
    file: Arc<dyn DiskFile>,
    /// Counts how often the file was opened.
    opened: u64,
    /// Counts how often `active` was frozen or dropped.
    frozen_times: u64,
    durable: u64,
    /// The store has ended: nobody opens the file again.
    is_closed: bool,
}

/// Entries that are applied in one go, while readers of the delta wait.
const APPLY_CHUNK: usize = 1024;
const INDEX_FILE: &str = "index.redb";

/// redb writes once more when a database is dropped, and a damaged file can make it panic even then.
impl Drop for Index {
    fn drop(&mut self) {
        let database = self.state.get_mut().database.take();
        // There is nobody left to tell, and the index is derived.
        drop(guarded(|| {
            drop(database);
            Ok(())
        }));
    }
}

impl Index {
    /// Opens the index of a log. If there is no usable one an empty one takes its place, and the second value says why.
    ///
    /// # Errors
    ///
    /// What the disk says when an empty one can't be made.
    #[cfg(test)]
    pub(crate) fn open(disk: Arc<dyn Disk>, log_id: [u8; 16], cache_bytes: usize) -> Result<(Self, Option<String>), Error> {
        match Self::open_existing(Arc::clone(&disk), log_id, cache_bytes) {
            Ok(index) => Ok((index, None)),
            Err(why) => Ok((Self::create(disk, log_id, cache_bytes)?, Some(why))),
        }
    }

    /// Opens the index of a log if there is a usable one, else says why there is none. Changes no more than redb's own open does.
    pub(crate) fn open_existing(disk: Arc<dyn Disk>, log_id: [u8; 16], cache_bytes: usize) -> Result<Self, String> {
        let opened = file::open(&*disk, log_id, cache_bytes).and_then(|file| {
            let index = Self::new(Arc::clone(&disk), log_id, cache_bytes, file);
            guarded(|| index.load_hidden())?;
            Ok(index)
        });
        opened.map_err(|fault| fault.why())
    }

    /// Makes an empty index, in place of whatever is there.
    ///
    /// # Errors
    ///
    /// What the disk says.
    pub(crate) fn create(disk: Arc<dyn Disk>, log_id: [u8; 16], cache_bytes: usize) -> Result<Self, Error> {
        let file = file::create(&*disk, log_id, cache_bytes)?;
        Ok(Self::new(disk, log_id, cache_bytes, file))
    }

    /// An empty index that is gone with the process.
    ///
    /// # Errors
    ///
    /// None that is expected.
    pub(crate) fn open_in_memory(log_id: [u8; 16], cache_bytes: usize) -> Result<Self, Error> {
        Self::create(Arc::new(MemDisk::new()), log_id, cache_bytes)
    }

    /// The durable mark of an existing index, if it is usable. Changes no more than redb's own open does.
    pub(crate) fn peek_durable(disk: &Arc<dyn Disk>, log_id: [u8; 16]) -> Option<Position> {
        let file = file::open(&**disk, log_id, 1 << 20).ok()?;
        Some(Position::new(file.meta.through))
    }

    /// Removes the index file, if there is one.
    ///
    /// # Errors
    ///
    /// What the disk says.
    pub(crate) fn remove(disk: &Arc<dyn Disk>) -> Result<(), Error> {
        file::remove(&**disk, INDEX_FILE)
    }

    fn new(disk: Arc<dyn Disk>, log_id: [u8; 16], cache_bytes: usize, file: IndexFile) -> Self {
        let IndexFile { database, file, meta } = file;
        let active = Arc::new(RwLock::new(Delta::following(meta.through, meta.counts)));
        let state = State {
            active,
            frozen: None,
            database: Some(database),
            file,
            opened: 0,
            frozen_times: 0,
            durable: meta.through,
            is_closed: false,
        };
        Self {
            disk,
            log_id,
            cache_bytes,
            state: RwLock::new(state),
            writing: Mutex::default(),
            heads: Mutex::default(),
            hidden: Arc::default(),
            unusable: AtomicBool::new(false),
        }
    }

    fn load_hidden(&self) -> Result<(), Fault> {
        let database = self.database()?;
        let transaction = database.begin_read()?;
        let streams = transaction.open_table(rows::STREAMS)?;
        for entry in transaction.open_table(rows::HIDDEN)?.iter()? {
            let (name, _) = entry?;
            let row = streams.get(name.value())?.ok_or_else(|| Fault::unusable("a hidden stream has no row"))?;
            self.hidden.set(&Arc::from(name.value()), StreamRow::decode(row.value())?.state.head());
        }
        Ok(())
    }

    /// Everything up to here is in the file.
    pub(crate) fn durable(&self) -> Position {
        Position::new(self.state.read().durable)
    }

    /// Everything up to here is answered for.
    pub(crate) fn applied(&self) -> Position {
        Position::new(self.state.read().active.read().through)
    }

    /// How many events are in memory and not in the file.
    pub(crate) fn pending_events(&self) -> u64 {
        let state = self.state.read();
        let frozen = state.frozen.as_ref().map_or(0, |frozen| frozen.read().events);
        state.active.read().events + frozen
    }

    /// The length of the file.
    pub(crate) fn file_bytes(&self) -> u64 {
        // Only shown to people; a file whose length can't be told has other troubles, and they are reported.
        self.state.read().file.len().unwrap_or_default()
    }

    /// How often a page of the file was in memory, and how often it had to be read, since it was opened.
    pub(crate) fn cache(&self) -> (u64, u64) {
        let stats = self.state.read().database.as_ref().map(|database| database.cache_stats());
        stats.map_or((0, 0), |stats| (stats.read_hits() + stats.write_hits(), stats.read_misses() + stats.write_misses()))
    }

    /// The file is beyond use: [`Index::clear`] it and apply the log again.
    pub(crate) fn needs_rebuild(&self) -> bool {
        self.unusable.load(Ordering::Acquire)
    }

    /// Which streams hide anything. Stays true by itself.
    pub(crate) fn hidden(&self) -> Arc<Hidden> {
        Arc::clone(&self.hidden)
    }

    /// Applies events that are durable in the log, in the order of their positions. Those that were applied before are skipped.
    ///
    /// # Errors
    ///
    /// What the disk says; a part may have been applied, and applying all of it again is right.
    pub(crate) fn apply(&self, entries: &[Entry<'_>]) -> Result<(), Error> {
        for chunk in entries.chunks(APPLY_CHUNK) {
            self.apply_chunk(chunk)?;
        }
        Ok(())
    }

    fn apply_chunk(&self, entries: &[Entry<'_>]) -> Result<(), Error> {
        loop {
            let frozen_times = self.state.read().frozen_times;
            let known = self.known(entries)?;
            // While this lock is held nobody freezes the delta.
            let state = self.state.read();
            if state.frozen_times != frozen_times {
                continue;
            }
            let mut active = state.active.write();
            for entry in entries {
                if entry.position.get() > active.through {
                    active.apply(entry, &known, &self.hidden).map_err(|fault| self.beyond_use(fault))?;
                }
            }
            drop(active);
            // From here on the delta has them; a reader that puts one back sees that.
            if !known.is_empty() {
                let mut heads = self.heads.lock();
                for name in known.keys() {
                    heads.remove(&**name);
                }
            }
            return Ok(());
        }
    }

    /// The streams that the entries touch and the delta does not hold, as they stand.
    fn known(&self, entries: &[Entry<'_>]) -> Result<Map<Arc<str>, Known>, Error> {
        let mut names: Map<&str, bool> = Map::default();
        {
            let state = self.state.read();
            let active = state.active.read();
            for entry in entries.iter().filter(|entry| entry.position.get() > active.through) {
                // A first event begins a stream that nothing is known of, unless its loss was repaired.
                if !active.streams.contains_key(entry.stream) {
                    names.entry(entry.stream).or_insert_with(|| entry.version > Version::new(1) || self.hidden.get(entry.stream).is_some());
                }
                if let Some(target) =
                    entry.control.as_ref().map(|control| control.stream).filter(|name| !active.streams.contains_key(*name))
                {
                    names.entry(target).or_insert(true);
                }
            }
        }
        let mut known = Map::default();
        for (name, _) in names.into_iter().filter(|(_, is_known)| *is_known) {
            known.insert(Arc::from(name), self.stream_state(name)?);
        }
        Ok(known)
    }

    /// Counts positions up to here as applied, though they hold no events: they were lost.
    pub(crate) fn skip_to(&self, position: Position) {
        let state = self.state.read();
        let mut active = state.active.write();
        active.through = active.through.max(position.get());
    }

    /// Moves everything applied so far into the file.
    ///
    /// # Errors
    ///
    /// What the disk says. Nothing is lost: reads go on from memory, and the next flush writes it.
    pub(crate) fn flush(&self) -> Result<(), Error> {
        let _writing = self.writing.lock();
        if self.state.read().database.is_none() {
            self.reopen()?;
        }
        loop {
            let left_over = self.state.read().frozen.is_some();
            let Some(delta) = self.freeze() else { return Ok(()) };
            if let Err(fault) = guarded(|| self.write(&delta.read())) {
                // redb refuses everything after a failure until it is opened again.
                let reopened = self.reopen();
                if plant::active(Plant::LoseFrozenDelta) {
                    let mut state = self.state.write();
                    state.frozen = None;
                    state.durable = delta.read().through;
                }
                return Err(match (fault, reopened) {
                    (fault @ Fault::Disk(_), Ok(())) => fault.into(),
                    (fault, _) => self.beyond_use(fault),
                });
            }
            let through = delta.read().through;
            let mut state = self.state.write();
            state.frozen = None;
            state.durable = through;
            drop(state);
            if !left_over {
                return Ok(());
            }
        }
    }

    /// The delta to flush: the one left over, or the active one, which an empty one then follows.
    fn freeze(&self) -> Option<Arc<RwLock<Delta>>> {
        let mut state = self.state.write();
        if state.frozen.is_none() {
            let next = {
                let active = state.active.read();
                if active.through == state.durable {
                    return None;
                }
                Delta::following(active.through, active.counts)
            };
            state.frozen = Some(std::mem::replace(&mut state.active, Arc::new(RwLock::new(next))));
            state.frozen_times += 1;
        }
        state.frozen.clone()
    }

    fn write(&self, delta: &Delta) -> Result<(), Fault> {
        let database = self.database()?;
        let mut transaction = database.begin_write()?;
        // Opening after a crash then does not walk the whole file.
        transaction.set_quick_repair(true);
        flush::write(&database, &transaction, self.log_id, delta)?;
        transaction.commit()?;
        Ok(())
    }

    fn database(&self) -> Result<Arc<Database>, Fault> {
        self.state.read().database.clone().ok_or_else(|| Fault::unusable("closed after a failure"))
    }

    /// Closes the file and opens it again. The caller holds `writing`.
    fn reopen(&self) -> Result<(), Error> {
        if self.state.read().is_closed {
            return Err(Error::io("the store is closed", io::ErrorKind::NotConnected.into()));
        }
        self.close();
        let opened = file::open(&*self.disk, self.log_id, self.cache_bytes).map_err(|fault| self.beyond_use(fault))?;
        let mut state = self.state.write();
        let (frozen, durable) = (state.frozen.as_ref().map(|frozen| frozen.read().through), opened.meta.through);
        // A commit that failed may be there all the same.
        if durable != state.durable && Some(durable) != frozen {
            drop(state);
            return Err(self.beyond_use(Fault::unusable(format!("ends at position {durable} since it failed"))));
        }
        if Some(durable) == frozen {
            state.frozen = None;
        }
        state.durable = durable;
        state.database = Some(opened.database);
        state.file = opened.file;
        state.opened += 1;
        drop(state);
        self.heads.lock().clear();
        self.unusable.store(false, Ordering::Release);
        Ok(())
    }

    /// Lets go of the file for good, whoever still holds the index: redb writes its last words here, and not into the
    /// file of whoever opens it next.
    pub(crate) fn end(&self) {
        let _writing = self.writing.lock();
        self.state.write().is_closed = true;
        self.close();
    }

    /// The caller holds `writing`, so that nobody else holds the database.
    fn close(&self) {
        let database = self.state.write().database.take();
        // Its last words may fail or even panic; the next open finds out what they are worth.
        drop(guarded(|| {
            drop(database);
            Ok(())
        }));
    }

    /// Empties the index: nothing is applied, and no snapshot is left.
    ///
    /// # Errors
    ///
    /// What the disk says; the index then still needs a rebuild.
    pub(crate) fn clear(&self) -> Result<(), Error> {
        let _writing = self.writing.lock();
        self.unusable.store(true, Ordering::Release);
        self.close();
        let created = file::create(&*self.disk, self.log_id, self.cache_bytes)?;
        let mut state = self.state.write();
        let (opened, frozen_times) = (state.opened + 1, state.frozen_times + 1);
        let active = Arc::new(RwLock::new(Delta::default()));
        *state = State {
            active,
            frozen: None,
            database: Some(created.database),
            file: created.file,
            opened,
            frozen_times,
            durable: 0,
            is_closed: false,
        };
        self.hidden.clear();
        self.heads.lock().clear();
        self.unusable.store(false, Ordering::Release);
        Ok(())
    }

    fn beyond_use(&self, fault: Fault) -> Error {
        self.unusable.store(true, Ordering::Release);
        fault.into()
    }
}

impl State {
    fn in_deltas(&self, name: &str) -> Option<StreamState> {
        let deltas = [Some(&self.active), self.frozen.as_ref()];
        deltas.into_iter().flatten().find_map(|delta| delta.read().streams.get(name).map(|stream| stream.state))
    }
}
