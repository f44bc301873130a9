//! How are events found and read by their positions, whichever segment they are in?

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;

use crate::Damage;
use crate::Error;
use crate::Position;
use crate::RecordedEvent;
use crate::disk::read_exact_at;

use super::Log;
use super::Segment;
use super::segment;

/// Offset tables of sealed segments that were read lately, each by its segment and where it stands in the file: a trimmed file has another.
pub(crate) struct TableCache(Mutex<VecDeque<(TableKey, Arc<[u32]>)>>);

type TableKey = (u64, u64);

impl TableCache {
    pub(super) fn new(tables: VecDeque<(TableKey, Arc<[u32]>)>) -> Self {
        Self(Mutex::new(tables))
    }

    fn find(&self, key: TableKey) -> Option<Arc<[u32]>> {
        self.0.lock().iter().find(|(known, _)| *known == key).map(|(_, table)| Arc::clone(table))
    }

    /// Forgets the oldest tables beyond the limit.
    fn keep(&self, key: TableKey, table: &Arc<[u32]>) {
        let mut tables = self.0.lock();
        tables.push_back((key, Arc::clone(table)));
        while tables.len() > 1 && tables.iter().map(|(_, table)| table.len()).sum::<usize>() > TABLE_ENTRIES_MAX {
            tables.pop_front();
        }
    }

    pub(super) fn forget(&self, segment: u64) {
        self.0.lock().retain(|((id, _), _)| *id != segment);
    }
}

/// A run of neighbouring records of one segment, to be read at once.
struct Run {
    /// Indexes into the segment's table.
    first: u64,
    last: u64,
}

impl Log {
    /// Reads the events at these ascending positions. Trimmed and given-up ones are left out; positions must be committed.
    pub(crate) fn read(&self, positions: &[u64]) -> Result<Vec<RecordedEvent>, Error> {
        let segments = self.segments();
        let mut events = Vec::with_capacity(positions.len());
        let mut rest = positions;
        while let Some(first) = rest.first() {
            let segment = self.segment_of(&segments, *first)?;
            let end = segment.first() + segment.count();
            let here = rest.iter().take_while(|position| **position < end).count();
            let (wanted, later) = rest.split_at(here);
            self.read_in_segment(segment, wanted, &mut events)?;
            rest = later;
        }
        Ok(events)
    }

    /// Reads the events of a range of positions (both inclusive), stopping after about `bytes_max` bytes of log. Returns the position
    /// it came to.
    pub(crate) fn read_range(&self, first: u64, last: u64, bytes_max: usize) -> Result<(Vec<RecordedEvent>, u64), Error> {
        let segments = self.segments();
        let mut events = Vec::new();
        let (mut next, mut bytes) = (first, 0);
        while next <= last && bytes < bytes_max.max(1) {
            let segment = self.segment_of(&segments, next)?;
            let from = next - segment.first();
            let upto = (last - segment.first()).min(segment.count() - 1);
            let table = self.offsets(segment, from, upto)?;
            let within = run_within(&table, bytes_max - bytes.min(bytes_max));
            let run = Run { first: from, last: from + within as u64 - 1 };
            bytes += self.read_run(segment, &run, table.get(..=within).unwrap_or(&table), None, &mut events)?;
            next = segment.first() + run.last + 1;
        }
        Ok((events, next - 1))
    }

    /// The same from the end of the range downwards; the events come newest first. Returns the position it came down to.
    pub(crate) fn read_range_backward(&self, first: u64, last: u64, bytes_max: usize) -> Result<(Vec<RecordedEvent>, u64), Error> {
        let mut events = Vec::new();
        let (mut next, mut bytes) = (last, 0);
        while next >= first && next > 0 && bytes < bytes_max.max(1) {
            let from = next.saturating_sub(BACKWARD_EVENTS - 1).max(first);
            let (mut page, _) = self.read_range(from, next, usize::MAX)?;
            bytes += page.iter().map(RecordedEvent::stored_bytes).sum::<usize>();
            page.reverse();
            events.append(&mut page);
            next = from - 1;
        }
        Ok((events, next + 1))
    }

    fn segment_of<'a>(&self, segments: &'a [Arc<Segment>], position: u64) -> Result<&'a Segment, Error> {
        let index = segments.partition_point(|segment| segment.first() <= position);
        let segment = index.checked_sub(1).and_then(|index| segments.get(index));
        match segment {
            Some(segment) if position < segment.first() + segment.count() => Ok(segment),
            _ => Err(self.damage_at(position, segments.get(index).map_or(position, |next| next.first() - 1))),
        }
    }

    /// What is known of a position that cannot be read.
    fn damage_at(&self, position: u64, last: u64) -> Error {
        let known = self.damages.iter().find(|damage| (damage.first.get()..=damage.last.get()).contains(&position));
        Error::Corrupt(known.map_or_else(
            || {
                let at = Position::new(position);
                Arc::new(Damage {
                    file: segment::LOG_DIR.to_owned(),
                    offset: 0,
                    first: at,
                    // Whoever goes on behind it must not ask for each position of the gap.
                    last: Position::new(last),
                    detail: "no segment holds it".to_owned(),
                })
            },
            Arc::clone,
        ))
    }

    fn read_in_segment(&self, segment: &Segment, wanted: &[u64], events: &mut Vec<RecordedEvent>) -> Result<(), Error> {
        let mut rest = wanted;
        while let Some(first) = rest.first() {
            // Neighbours are read in one piece, also across a few events that nobody asked for.
            let near = rest.iter().zip(rest.iter().skip(1)).take_while(|(before, after)| *after - *before <= SKIP_EVENTS).count() + 1;
            let (mut run, _) = rest.split_at(near.min(RUN_EVENTS));
            let from = first - segment.first();
            let mut last = run.last().copied().unwrap_or(*first) - segment.first();
            let mut table = self.offsets(segment, from, last)?;
            let within = run_within(&table, RUN_BYTES);
            if from + within as u64 <= last {
                last = from + within as u64 - 1;
                table = table.get(..=within).map_or_else(|| table.clone(), <[u32]>::to_vec);
                let kept = run.iter().take_while(|position| **position - segment.first() <= last).count();
                run = run.get(..kept).unwrap_or_default();
            }
            self.read_run(segment, &Run { first: from, last }, &table, Some(run), events)?;
            rest = rest.get(run.len()..).unwrap_or_default();
        }
        Ok(())
    }

    /// Reads one run and decodes what is wanted of it. Returns the bytes read.
    fn read_run(
        &self,
        segment: &Segment,
        run: &Run,
        table: &[u32],
        wanted: Option<&[u64]>,
        events: &mut Vec<RecordedEvent>,
    ) -> Result<usize, Error> {
        let known = table.iter().filter(|offset| **offset != segment::LOST_OFFSET);
        let (Some(start), Some(end)) = (known.clone().min().copied(), known.max().copied()) else {
            return self.check_lost(segment, run).map(|()| 0);
        };
        let length = end.saturating_sub(start) as usize;
        let mut buffer = vec![0; length];
        read_exact_at(&*segment.file, &mut buffer, u64::from(start)).map_err(|error| Error::io(format!("read {}", segment.path), error))?;
        let buffer = Bytes::from(buffer);
        let mut wanted = wanted.map(|positions| positions.iter().copied());
        let mut next_wanted = wanted.as_mut().and_then(Iterator::next);
        for (index, offset) in (run.first..=run.last).zip(table) {
            let position = segment.first() + index;
            if let Some(wanted) = wanted.as_mut() {
                if next_wanted != Some(position) {
                    continue;
                }
                next_wanted = wanted.next();
            }
            if *offset == segment::LOST_OFFSET {
                self.check_lost(segment, &Run { first: index, last: index })?;
                continue;
            }
            let at = (*offset - start) as usize;
            let rest = if at <= buffer.len() { buffer.slice(at..) } else { Bytes::new() };
            match RecordedEvent::decode(Position::new(position), &rest) {
                Ok(event) => events.push(event),
                Err(bad) => {
                    return Err(Error::Corrupt(Arc::new(segment.damage(u64::from(*offset), position, position, bad.0))));
                }
            }
        }
        Ok(length)
    }

    /// A hole is fine where events were trimmed or given up; where damage was found it is an error.
    fn check_lost(&self, segment: &Segment, run: &Run) -> Result<(), Error> {
        let (first, last) = (segment.first() + run.first, segment.first() + run.last);
        let is_damaged = self.damages.iter().any(|damage| damage.first.get() <= last && first <= damage.last.get());
        if is_damaged { Err(self.damage_at(first, first)) } else { Ok(()) }
    }

    /// Offsets of the records from index `from` to `upto` (inclusive), and one more: where the last one ends at the latest.
    fn offsets(&self, segment: &Segment, from: u64, upto: u64) -> Result<Vec<u32>, Error> {
        let (from, upto) = (usize::try_from(from).unwrap_or(usize::MAX), usize::try_from(upto).unwrap_or(usize::MAX));
        let slice = |offsets: &[u32], end: u64| {
            let mut out = offsets.get(from..=upto).unwrap_or_default().to_vec();
            let next = offsets.get(upto + 1..).unwrap_or_default().iter().find(|offset| **offset != segment::LOST_OFFSET);
            out.push(next.copied().unwrap_or_else(|| u32::try_from(end).unwrap_or(u32::MAX)));
            out
        };
        let footer = {
            // Under this lock nobody empties the open table: it is emptied only after the footer is set.
            let open = segment.open.read();
            let Some(footer) = segment.footer() else { return Ok(slice(&open.offsets, open.end)) };
            footer
        };
        let table = self.table(segment, footer.count, footer.data_end)?;
        Ok(slice(&table, footer.data_end))
    }

    /// The offset table of a sealed segment.
    pub(super) fn table(&self, segment: &Segment, count: u64, data_end: u64) -> Result<Arc<[u32]>, Error> {
        let id = segment.header.segment;
        if let Some(table) = self.tables.find((id, data_end)) {
            return Ok(table);
        }
        let mut bytes = vec![0; usize::try_from(count * 4).unwrap_or(0)];
        read_exact_at(&*segment.file, &mut bytes, data_end).map_err(|error| Error::io(format!("read {}", segment.path), error))?;
        let table: Arc<[u32]> = bytes.chunks_exact(4).map(|chunk| u32::from_le_bytes(segment::field(chunk, 0))).collect();
        let mut least = 0;
        for offset in table.iter().filter(|offset| **offset != segment::LOST_OFFSET) {
            if *offset < least || u64::from(*offset) >= data_end {
                let damage = segment.damage(data_end, segment.first(), segment.first() + count - 1, "offset table");
                return Err(Error::Corrupt(Arc::new(damage)));
            }
            least = *offset;
        }
        self.tables.keep((id, data_end), &table);
        Ok(table)
    }
}

/// How many records of the run fit into so many bytes; one at least. `table` has one offset more than records.
fn run_within(table: &[u32], bytes_max: usize) -> usize {
    let known = |offset: &&u32| **offset != segment::LOST_OFFSET;
    let Some(start) = table.iter().find(known) else { return table.len().saturating_sub(1).max(1) };
    let fits =
        table.iter().skip(1).take_while(|offset| **offset == segment::LOST_OFFSET || (offset.saturating_sub(*start)) as usize <= bytes_max);
    fits.count().max(1)
}

/// Offsets kept of sealed segments: 64 MiB.
const TABLE_ENTRIES_MAX: usize = 16 << 20;
/// Reading over so many unwanted events is cheaper than another read.
const SKIP_EVENTS: u64 = 8;
const RUN_EVENTS: usize = 4096;
const RUN_BYTES: usize = 1 << 20;
const BACKWARD_EVENTS: u64 = 256;
