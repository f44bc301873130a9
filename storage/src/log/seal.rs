//! What does the background do for the log? Seals full segments, zeroes the next one ahead of need, trims what nobody may read.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::Error;
use crate::RecordedEvent;
use crate::disk::read_exact_at;
use crate::disk::write_all_at;

use super::Log;
use super::OpenTable;
use super::Preparation;
use super::Segment;
use super::segment;
use super::segment::Footer;
use super::segment::HEADER_BYTES;
use super::segment::LOG_DIR;
use super::writer::create_zeroed;

impl Log {
    /// Seals one segment that has a successor; `false` if none is left to seal.
    pub(crate) fn seal_next(&self) -> Result<bool, Error> {
        if !self.damages.is_empty() || !self.seal_due.swap(false, Ordering::AcqRel) {
            return Ok(false);
        }
        let segments = self.segments();
        let pairs = segments.iter().zip(segments.iter().skip(1));
        let Some(index) = pairs.clone().position(|(segment, _)| segment.footer().is_none()) else { return Ok(false) };
        let previous = index.checked_sub(1).and_then(|before| segments.get(before)).and_then(|before| before.footer());
        let digest = previous.map_or([0; 32], Footer::digest);
        let sealed = segments.get(index).map_or(Ok(()), |segment| self.seal(segment, digest));
        // More may be due, and what failed is tried again.
        self.seal_due.store(true, Ordering::Release);
        sealed.map(|()| true)
    }

    /// Writes offset table and footer behind the frames and cuts the file to its length.
    fn seal(&self, segment: &Segment, previous: [u8; 32]) -> Result<(), Error> {
        let open = segment.open.read().clone();
        let failed = |error| Error::io(format!("seal {}", segment.path), error);
        let data_end = usize::try_from(open.end).unwrap_or(0);
        let mut tail = encode_table(&open.offsets);
        let mut content = vec![0; data_end];
        read_exact_at(&*segment.file, &mut content, 0).map_err(failed)?;
        let mut hasher = blake3::Hasher::new();
        hasher.update(&content);
        hasher.update(&tail);
        let count = open.offsets.len() as u64;
        let times = |index: u64| self.recorded_at(segment, &open, index);
        let footer = Footer {
            log_id: self.log_id,
            segment: segment.header.segment,
            first: segment.first(),
            count,
            data_end: open.end,
            first_recorded_at: times(0)?,
            last_recorded_at: times(count.saturating_sub(1))?,
            epoch: open.epoch,
            is_trimmed: false,
            chain: open.chain,
            content: *hasher.finalize().as_bytes(),
            previous,
        };
        tail.extend_from_slice(&footer.encode());
        let sealed = || -> io::Result<()> {
            write_all_at(&*segment.file, &tail, open.end)?;
            segment.file.sync_data()?;
            segment.file.set_len(footer.file_bytes())?;
            segment.file.sync_data()
        };
        sealed().map_err(failed)?;
        // Only one thread seals.
        if segment.footer.set(footer).is_ok() {
            segment.open.write().offsets = Vec::new();
        }
        Ok(())
    }

    fn recorded_at(&self, segment: &Segment, open: &OpenTable, index: u64) -> Result<i64, Error> {
        let index = usize::try_from(index).unwrap_or(usize::MAX);
        if open.offsets.get(index).is_none_or(|offset| *offset == segment::LOST_OFFSET) {
            return Ok(0);
        }
        let events = self.read(&[segment.first() + index as u64])?;
        Ok(events.first().map_or(0, |event| event.recorded_at().as_micros()))
    }

    /// Zeroes the next segment if one is wanted; `false` if not.
    pub(crate) fn prepare(&self, capacity: u64) -> Result<bool, Error> {
        if self.refuses_appends().is_some() {
            return Ok(false);
        }
        {
            let mut preparation = self.preparation.lock();
            if *preparation != Preparation::Wanted {
                return Ok(false);
            }
            *preparation = Preparation::Busy;
        }
        let prepared = create_zeroed(self, segment::PREPARED, capacity).and_then(|file| {
            file.sync_data()?;
            self.disk.sync_dir(LOG_DIR)
        });
        let (state, result) = match prepared {
            Ok(()) => (Preparation::Ready(capacity), Ok(true)),
            Err(error) => {
                // Half a file of zeros only takes space that the log may need.
                drop(self.disk.remove(segment::PREPARED));
                (Preparation::Wanted, Err(Error::io("prepare the next segment", error)))
            }
        };
        *self.preparation.lock() = state;
        result
    }

    /// Gives back the disk of sealed segments of which nothing `is_needed`. Returns how many bytes came back.
    ///
    /// A segment is rewritten without what is not needed, and only if at least half of its bytes come back: a temporary file, synced,
    /// renamed over it.
    pub(crate) fn trim(&self, is_needed: &mut dyn FnMut(&RecordedEvent) -> Result<Need, Error>) -> Result<u64, Error> {
        if !self.damages.is_empty() {
            return Ok(0);
        }
        let mut freed = 0;
        for segment in self.segments().iter() {
            let Some(footer) = segment.footer() else { break };
            if let Some(kept) = self.needed_records(segment, footer, is_needed)? {
                freed += self.rewrite(segment, footer, &kept)?;
            }
        }
        Ok(freed)
    }

    /// The records that must stay; `None` if an event of the segment is visible, or hardly anything would come back.
    fn needed_records(
        &self,
        segment: &Segment,
        footer: &Footer,
        is_needed: &mut dyn FnMut(&RecordedEvent) -> Result<Need, Error>,
    ) -> Result<Option<Vec<RecordedEvent>>, Error> {
        let hint = segment.visible_hint.load(Ordering::Relaxed);
        if hint > 0 {
            let seen = self.read(&[hint])?;
            if let Some(event) = seen.first()
                && is_needed(event)? == Need::Visible
            {
                return Ok(None);
            }
        }
        let mut kept = Vec::new();
        let (mut next, last) = (footer.first, footer.first + footer.count);
        while next < last {
            let (events, through) = self.read_range(next, last - 1, TRIM_READ_BYTES)?;
            for event in events {
                match is_needed(&event)? {
                    Need::Visible => {
                        segment.visible_hint.store(event.position().get(), Ordering::Relaxed);
                        return Ok(None);
                    }
                    Need::Kept => kept.push(event),
                    Need::Gone => {}
                }
            }
            next = through + 1;
        }
        let kept_bytes: usize = kept.iter().map(RecordedEvent::stored_bytes).sum();
        Ok((kept_bytes as u64 * 2 < footer.data_end - HEADER_BYTES as u64).then_some(kept))
    }

    fn rewrite(&self, segment: &Arc<Segment>, footer: &Footer, kept: &[RecordedEvent]) -> Result<u64, Error> {
        let mut bytes = segment.header.encode().to_vec();
        let mut offsets = vec![segment::LOST_OFFSET; usize::try_from(footer.count).unwrap_or(0)];
        for event in kept {
            let index = usize::try_from(event.position().get() - footer.first).unwrap_or(usize::MAX);
            if let Some(slot) = offsets.get_mut(index) {
                *slot = u32::try_from(bytes.len()).unwrap_or(segment::LOST_OFFSET);
            }
            bytes.extend_from_slice(event.stored());
            bytes.resize(bytes.len().next_multiple_of(8), 0);
        }
        let trimmed = Footer { data_end: bytes.len() as u64, is_trimmed: true, ..*footer };
        bytes.extend_from_slice(&encode_table(&offsets));
        bytes.extend_from_slice(&trimmed.encode());
        let renamed = || -> io::Result<Arc<dyn crate::DiskFile>> {
            match self.disk.remove(TRIMMED) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                Ok(()) | Err(_) => {}
            }
            let file = self.disk.create_new(TRIMMED)?;
            write_all_at(&*file, &bytes, 0)?;
            file.sync_data()?;
            self.disk.rename(TRIMMED, &segment.path)?;
            self.disk.sync_dir(LOG_DIR)?;
            Ok(file)
        };
        let file = renamed().map_err(|error| Error::io(format!("trim {}", segment.path), error))?;
        self.replace_segment(&Arc::new(Segment::new(segment.header, file, OpenTable::default(), Some(trimmed))));
        self.tables.forget(segment.header.segment);
        Ok(footer.file_bytes().saturating_sub(trimmed.file_bytes()))
    }
}

/// Whether an event has to stay where it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Need {
    /// Somebody may read it.
    Visible,
    /// Nobody reads it, but without it the index could not be rebuilt: a delete, or the last event of a stream that goes on.
    Kept,
    /// It may go.
    Gone,
}

fn encode_table(offsets: &[u32]) -> Vec<u8> {
    let mut table: Vec<u8> = offsets.iter().flat_map(|offset| offset.to_le_bytes()).collect();
    table.resize(table.len().next_multiple_of(8), 0);
    table
}

/// Position of the first event of a sealed segment, for callers outside.
const TRIMMED: &str = "log/trimmed.tmp";
const TRIM_READ_BYTES: usize = 4 << 20;
