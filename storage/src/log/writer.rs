//! How do appends reach the disk, all of a batch with one write and one sync?

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::DiskFile;
use crate::Error;
use crate::disk::write_all_at;
use crate::plant;
use crate::plant::Plant;

use super::Log;
use super::OpenTable;
use super::Preparation;
use super::Segment;
use super::frame;
use super::frame::Seat;
use super::segment;
use super::segment::FOOTER_BYTES;
use super::segment::HEADER_BYTES;
use super::segment::Header;
use super::segment::LOG_DIR;
use super::segment::table_bytes;

/// How large segments are.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sizes {
    /// Of a segment that is made at once because none is ready.
    pub(crate) small: u64,
}

/// The one writer. Holds where the log ends; what is not committed leaves no trace here.
pub(crate) struct LogWriter {
    log: Arc<Log>,
    active: Arc<Segment>,
    sizes: Sizes,
    tip: Tip,
}

/// Where the log ends.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Tip {
    /// The last position.
    pub(crate) position: u64,
    /// Offset behind the last frame of the active segment.
    pub(crate) offset: u64,
    pub(crate) epoch: u32,
    pub(crate) chain: [u8; 32],
}

/// Closed frames, one behind the other, and where each begins.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    pub(crate) bytes: Vec<u8>,
    pub(crate) starts: Vec<usize>,
    pub(crate) events: u64,
    /// When the last of its events was recorded.
    pub(crate) recorded_at: i64,
}

impl Batch {
    pub(crate) fn clear(&mut self) {
        self.bytes.clear();
        self.starts.clear();
        self.events = 0;
    }

    fn frames(&self) -> impl Iterator<Item = (usize, usize)> {
        let ends = self.starts.iter().skip(1).copied().chain([self.bytes.len()]);
        self.starts.iter().copied().zip(ends)
    }
}

/// What a failed commit means for those who wait for it.
pub(super) enum Failure {
    /// Nothing of it is on disk or will ever be.
    Nothing(Error),
    /// Some of it may be.
    Unknown(io::Error),
}

impl LogWriter {
    pub(crate) fn new(log: Arc<Log>, active: Arc<Segment>, sizes: Sizes, tip: Tip) -> Self {
        Self { log, active, sizes, tip }
    }

    pub(crate) fn tip(&self) -> Tip {
        self.tip
    }

    /// Writes the batch behind the log's end and syncs it; does not publish it yet (see [`LogWriter::note_records`],
    /// [`LogWriter::publish`]).
    ///
    /// # Errors
    ///
    /// [`Error::StorageFull`]: the log is as it was. [`Error::OutcomeUnknown`]: the log is poisoned.
    pub(crate) fn write(&mut self, batch: &mut Batch) -> Result<Tip, Error> {
        if let Some(refusal) = self.log.refuses_appends()
            && !plant::active(Plant::RetrySyncAfterFailure)
        {
            return Err(refusal);
        }
        let events = self.active.count() + batch.events;
        let needed = batch.bytes.len() as u64 + table_bytes(events) + FOOTER_BYTES as u64;
        let written =
            if self.tip.offset + needed <= self.active.header.capacity { self.write_active(batch) } else { self.write_fresh(batch) };
        match written {
            Ok(tip) => Ok(tip),
            Err(Failure::Nothing(error)) => Err(error),
            Err(Failure::Unknown(error)) => {
                let reason: Arc<str> = format!("{}: {error}", self.active.path).into();
                // The first reason stays: later ones follow from it.
                drop(self.log.poison.set(Arc::clone(&reason)));
                Err(Error::OutcomeUnknown(reason))
            }
        }
    }

    /// Makes what [`LogWriter::write`] wrote readable, after [`LogWriter::note_records`], and goes on behind it.
    pub(crate) fn publish(&mut self, tip: Tip) {
        self.tip = tip;
        self.log.publish(tip.position, tip.chain);
    }

    fn write_active(&mut self, batch: &mut Batch) -> Result<Tip, Failure> {
        let tip = seat_frames(batch, self.active.header.segment, self.tip, self.tip.offset, self.log.committed());
        let file = &self.active.file;
        if let Err(error) = write_all_at(&**file, &batch.bytes, self.tip.offset) {
            return Err(self.undo(batch, error));
        }
        if plant::active(Plant::SkipLogSync) {
            return Ok(tip);
        }
        match file.sync_data() {
            Err(_) if plant::active(Plant::AckBeforeSync) => Ok(tip),
            Err(error) => Err(Failure::Unknown(error)),
            Ok(()) => Ok(tip),
        }
    }

    /// A full disk is no reason to stop for ever: what was written of the batch is overwritten with zeros, and the next one gets a new
    /// epoch.
    fn undo(&mut self, batch: &Batch, error: io::Error) -> Failure {
        if error.kind() != io::ErrorKind::StorageFull {
            return Failure::Unknown(error);
        }
        let file = &self.active.file;
        let reach = file.len().unwrap_or(0).min(self.tip.offset + batch.bytes.len() as u64);
        let zeros = vec![0; usize::try_from(reach.saturating_sub(self.tip.offset)).unwrap_or(0)];
        match write_all_at(&**file, &zeros, self.tip.offset).and_then(|()| file.sync_data()) {
            Ok(()) => {
                self.tip.epoch += 1;
                Failure::Nothing(Error::StorageFull)
            }
            Err(error) => Failure::Unknown(error),
        }
    }

    /// Begins the next segment with this batch. It gets its name only when header and frames are synced.
    fn write_fresh(&mut self, batch: &mut Batch) -> Result<Tip, Failure> {
        let id = self.active.header.segment + 1;
        let seated = seat_frames(batch, id, self.tip, HEADER_BYTES as u64, self.log.committed());
        let room = HEADER_BYTES as u64 + batch.bytes.len() as u64 + table_bytes(batch.events) + FOOTER_BYTES as u64;
        let (temporary, capacity) = self.temporary(room)?;
        let header = Header {
            log_id: self.log.log_id,
            segment: id,
            capacity,
            first: self.tip.position + 1,
            created_at: batch.recorded_at,
            epoch: seated.epoch,
            chain: self.tip.chain,
        };
        let file = begin_segment(&self.log, &temporary, &header, &batch.bytes, Plant::SkipDirSync)?;
        // The old segment's records are all known; the background seals it from them.
        let table = OpenTable { offsets: Vec::new(), end: HEADER_BYTES as u64, epoch: seated.epoch, chain: self.tip.chain };
        let segment = Arc::new(Segment::new(header, file, table, None));
        self.log.push_segment(Arc::clone(&segment));
        self.active = segment;
        self.log.seal_due.store(true, Ordering::Release);
        Ok(seated)
    }

    /// The prepared segment if it is ready and large enough, else one made now.
    fn temporary(&self, room: u64) -> Result<(String, u64), Failure> {
        {
            let mut preparation = self.log.preparation.lock();
            if let Preparation::Ready(capacity) = *preparation
                && capacity >= room
            {
                *preparation = Preparation::Wanted;
                // The background makes the next one under the same name: this one moves out of its way first.
                self.log.disk.rename(segment::PREPARED, segment::FRESH).map_err(clean_failure)?;
                return Ok((segment::FRESH.to_owned(), capacity));
            }
        }
        let capacity = self.sizes.small.max(room.next_multiple_of(4096));
        create_zeroed(&self.log, segment::FRESH, capacity).map_err(|error| {
            // Only its space matters now; whether it could be removed shows at the next attempt.
            drop(self.log.disk.remove(segment::FRESH));
            clean_failure(error)
        })?;
        Ok((segment::FRESH.to_owned(), capacity))
    }

    /// Notes where each record of the batch lies, for readers.
    pub(crate) fn note_records(&self, batch: &Batch, tip: Tip) {
        let base = tip.offset - batch.bytes.len() as u64;
        let mut open = self.active.open.write();
        for (start, _) in batch.frames() {
            let bytes = batch.bytes.get(start..).unwrap_or_default();
            let count = u32::from_le_bytes(segment::field(bytes, 12));
            for offset in frame::record_offsets(bytes, count) {
                let at = base + start as u64 + u64::from(offset);
                open.offsets.push(u32::try_from(at).unwrap_or(segment::LOST_OFFSET));
            }
        }
        open.end = tip.offset;
        open.epoch = tip.epoch;
        open.chain = tip.chain;
    }
}

/// Writes header and frames into the temporary file, syncs it, gives it its name and syncs the directory.
pub(super) fn begin_segment(
    log: &Log,
    temporary: &str,
    header: &Header,
    frames: &[u8],
    skip_dir_sync: Plant,
) -> Result<Arc<dyn DiskFile>, Failure> {
    let unnamed = (|| {
        let file = log.disk.open(temporary)?;
        let mut bytes = Vec::with_capacity(HEADER_BYTES + frames.len());
        bytes.extend_from_slice(&header.encode());
        bytes.extend_from_slice(frames);
        write_all_at(&*file, &bytes, 0)?;
        if !plant::active(Plant::RenameBeforeSync) && !plant::active(Plant::SkipLogSync) {
            file.sync_data()?;
        }
        log.disk.rename(temporary, &segment::path(header.segment))?;
        Ok(file)
    })();
    let file = unnamed.map_err(|error: io::Error| {
        drop(log.disk.remove(temporary));
        clean_failure(error)
    })?;
    if !plant::active(skip_dir_sync) {
        log.disk.sync_dir(LOG_DIR).map_err(Failure::Unknown)?;
    }
    if plant::active(Plant::RenameBeforeSync) {
        file.sync_data().map_err(Failure::Unknown)?;
    }
    Ok(file)
}

/// A failure before the segment had its name: nothing of the batch can come back. A full disk may have space again; anything else poisons.
fn clean_failure(error: io::Error) -> Failure {
    if error.kind() == io::ErrorKind::StorageFull { Failure::Nothing(Error::StorageFull) } else { Failure::Unknown(error) }
}

/// Creates a file of zeros: later writes into it change no metadata, so a sync is a data write and nothing else.
pub(super) fn create_zeroed(log: &Log, path: &str, capacity: u64) -> io::Result<Arc<dyn DiskFile>> {
    match log.disk.remove(path) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    let file = log.disk.create_new(path)?;
    let zeros = vec![0; usize::try_from(capacity.min(ZERO_CHUNK_BYTES)).unwrap_or(0)];
    let mut at = 0;
    while at < capacity {
        let chunk = zeros.get(..usize::try_from((capacity - at).min(ZERO_CHUNK_BYTES)).unwrap_or(0)).unwrap_or_default();
        write_all_at(&*file, chunk, at)?;
        at += chunk.len() as u64;
    }
    Ok(file)
}

/// Gives every frame of the batch its place, one behind the other from `offset` on.
pub(super) fn seat_frames(batch: &mut Batch, segment: u64, tip: Tip, offset: u64, durable_upto: u64) -> Tip {
    let mut next = Tip { offset, ..tip };
    let frames: Vec<(usize, usize)> = batch.frames().collect();
    for (start, end) in frames {
        let Some(bytes) = batch.bytes.get_mut(start..end) else { continue };
        let seat = Seat { segment, offset: next.offset, epoch: tip.epoch, durable_upto, chain: next.chain };
        next.chain = frame::seat(bytes, &seat);
        next.offset += bytes.len() as u64;
        next.position += u64::from(u32::from_le_bytes(segment::field(bytes, 12)));
    }
    next
}

const ZERO_CHUNK_BYTES: u64 = 1 << 20;
