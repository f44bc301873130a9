//! Which bytes are the truth?
//!
//! The log: segment files of checksummed frames, one writer, any number of readers.
//! `segment` and `frame` are the codec, `recover` decides what a directory holds, `writer` appends, `reader` reads, `seal` does the
//! background's part (footers, preparing, trimming), `check` proves a whole log and gives parts of it up on demand.

use std::sync::Arc;
use std::sync::OnceLock;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;

use parking_lot::Mutex;
use parking_lot::RwLock;

use crate::Damage;
use crate::Disk;
use crate::DiskFile;
use crate::Error;

pub(crate) mod check;
pub(crate) mod frame;
pub(crate) mod reader;
pub(crate) mod recover;
pub(crate) mod repair;
mod scan;
pub(crate) mod seal;
pub(crate) mod segment;
pub(crate) mod writer;

use segment::Footer;
use segment::Header;

/// What writer, readers and background share.
pub(crate) struct Log {
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) log_id: [u8; 16],
    /// In the order of their first positions; replaced as a whole when a segment is added or trimmed.
    segments: RwLock<Arc<Vec<Arc<Segment>>>>,
    /// The last position that is synced and may be read.
    committed: AtomicU64,
    /// The chain value after it.
    chain: Mutex<(u64, [u8; 32])>,
    /// Set once, by the first failed write or sync.
    poison: OnceLock<Arc<str>>,
    /// What was found at open; any of it makes the log read-only.
    damages: Vec<Arc<Damage>>,
    preparation: Mutex<Preparation>,
    /// A segment was begun since the background last looked.
    seal_due: AtomicBool,
    tables: reader::TableCache,
}

/// One segment file.
pub(crate) struct Segment {
    pub(crate) header: Header,
    pub(crate) path: String,
    pub(crate) file: Arc<dyn DiskFile>,
    /// Offsets of the records that are committed, while the segment is not sealed.
    open: RwLock<OpenTable>,
    footer: OnceLock<Footer>,
    /// Index of an event that was visible when the trimmer last looked: as long as it is, the segment stays.
    visible_hint: AtomicU64,
}

/// The offset table of a segment that is still written to.
#[derive(Clone, Debug, Default)]
struct OpenTable {
    offsets: Vec<u32>,
    /// Offset behind the last frame.
    end: u64,
    /// Epoch of the last frame and chain value after it.
    epoch: u32,
    chain: [u8; 32],
}

/// The segment that waits to be used.
#[derive(Debug, Default, PartialEq, Eq)]
enum Preparation {
    #[default]
    Wanted,
    /// [`segment::PREPARED`] is zeroed to this length and synced.
    Ready(u64),
    /// The background is at it.
    Busy,
    /// Not in this store.
    Off,
}

impl Log {
    /// The last position that may be read.
    pub(crate) fn committed(&self) -> u64 {
        self.committed.load(Ordering::Acquire)
    }

    /// The newest chain value and the position it covers.
    pub(crate) fn receipt(&self) -> (u64, [u8; 32]) {
        *self.chain.lock()
    }

    /// Why it takes no appends, if so.
    pub(crate) fn refuses_appends(&self) -> Option<Error> {
        if let Some(damage) = self.damages.first() {
            return Some(Error::ReadOnly(Arc::clone(damage)));
        }
        self.poison.get().map(|reason| Error::Poisoned(Arc::clone(reason)))
    }

    /// What was found at open.
    pub(crate) fn damages(&self) -> Vec<Damage> {
        self.damages.iter().map(|damage| Damage::clone(damage)).collect()
    }

    pub(crate) fn segments(&self) -> Arc<Vec<Arc<Segment>>> {
        Arc::clone(&self.segments.read())
    }

    /// Bytes of all segment files.
    pub(crate) fn disk_bytes(&self) -> u64 {
        self.segments().iter().map(|segment| segment.footer.get().map_or(segment.header.capacity, Footer::file_bytes)).sum()
    }

    fn push_segment(&self, segment: Arc<Segment>) {
        let mut segments = self.segments.write();
        let mut extended = Vec::clone(&segments);
        extended.push(segment);
        *segments = Arc::new(extended);
    }

    fn replace_segment(&self, replacement: &Arc<Segment>) {
        let mut segments = self.segments.write();
        let replaced = segments
            .iter()
            .map(|segment| if segment.header.segment == replacement.header.segment { replacement } else { segment })
            .map(Arc::clone)
            .collect();
        *segments = Arc::new(replaced);
    }

    /// Makes everything up to `position` readable.
    fn publish(&self, position: u64, chain: [u8; 32]) {
        *self.chain.lock() = (position, chain);
        self.committed.store(position, Ordering::Release);
    }
}

impl Segment {
    fn new(header: Header, file: Arc<dyn DiskFile>, open: OpenTable, footer: Option<Footer>) -> Self {
        let sealed = OnceLock::new();
        if let Some(footer) = footer {
            sealed.set(footer).expect("a new cell is empty");
        }
        Self { path: segment::path(header.segment), header, file, open: RwLock::new(open), footer: sealed, visible_hint: AtomicU64::new(0) }
    }

    /// How many positions it holds.
    pub(crate) fn count(&self) -> u64 {
        if let Some(footer) = self.footer.get() {
            return footer.count;
        }
        // It may be sealed right now: the open table is emptied after the footer is set, and not while this lock is held.
        let open = self.open.read();
        self.footer.get().map_or(open.offsets.len() as u64, |footer| footer.count)
    }

    /// The position of its first event.
    pub(crate) fn first(&self) -> u64 {
        self.header.first
    }

    pub(crate) fn footer(&self) -> Option<&Footer> {
        self.footer.get()
    }

    fn damage(&self, offset: u64, first: u64, last: u64, detail: impl Into<String>) -> Damage {
        Damage {
            file: self.path.clone(),
            offset,
            first: crate::Position::new(first),
            last: crate::Position::new(last),
            detail: detail.into(),
        }
    }
}
