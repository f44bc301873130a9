//! Where does an event with this id stand?
//!
//! Ids are random, so a tree with an entry for each would be rewritten all over by every flush. They stand in sorted runs instead:
//! a flush adds one, and runs of a size are merged into a larger one. A look-up asks each run, of which there are few.
//! An entry has 8 bytes for the id. Two ids may share them: then there are two entries, and the records decide.

use redb::Database;
use redb::Range;
use redb::ReadOnlyTable;
use redb::ReadTransaction;
use redb::ReadableDatabase;
use redb::ReadableTable;
use redb::Table;
use redb::WriteTransaction;
use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::EventId;

use super::Map;
use super::fault::Fault;
use super::rows;

/// An entry: the short key of an id, and a position. 14 bytes in the file.
type Entry = (u64, u64);

const ENTRY_BYTES: usize = 14;
/// Entries of a block: as many as fit a page of the file.
const BLOCK: usize = 280;
/// Runs up to this size are of one kind; each further kind is four times as large.
const SMALL_RUN: u64 = 16_384;
/// Runs are not merged into one that is larger than this: a merge must end some time.
const LARGEST_RUN: u64 = 1 << 24;

/// A row of the table of runs.
#[derive(Clone, Copy, Debug)]
struct Run {
    number: u64,
    entries: u64,
    first: u64,
    last: u64,
}

/// Adds the ids of a delta as a run, merged with runs of its size. Runs of earlier commits are read from `database`.
pub(super) fn write(database: &Database, transaction: &WriteTransaction, log_id: [u8; 16], ids: &Map<[u8; 16], u64>) -> Result<(), Fault> {
    let mut fresh: Vec<Entry> = ids.iter().map(|(id, &position)| (short_key(log_id, id), position)).collect();
    if fresh.is_empty() {
        return Ok(());
    }
    fresh.sort_unstable();
    let mut runs_table = transaction.open_table(rows::ID_RUNS)?;
    let runs = read_runs(&runs_table)?;
    let number = runs.iter().map(|run| run.number + 1).max().unwrap_or(1);
    let merged = to_merge(&runs, fresh.len() as u64);
    let snapshot = database.begin_read()?;
    let blocks = snapshot.open_table(rows::IDS)?;
    let mut sources = vec![Source { block: fresh, next: 0, rest: None }];
    for run in &merged {
        sources.push(Source { block: Vec::new(), next: 0, rest: Some(blocks.range((run.number, 0)..=(run.number, u64::MAX))?) });
    }
    let mut table = transaction.open_table(rows::IDS)?;
    for run in &merged {
        table.retain_in((run.number, 0)..=(run.number, u64::MAX), |_, _| false)?;
        runs_table.remove(run.number)?;
    }
    if let Some(run) = merge(&mut sources, number, &mut table)? {
        runs_table.insert(run.number, (run.entries, run.first, run.last))?;
    }
    Ok(())
}

/// Looks ids up at one moment.
pub(super) struct Lookup {
    log_id: [u8; 16],
    runs: Vec<Run>,
    blocks: ReadOnlyTable<(u64, u64), &'static [u8]>,
}

impl Lookup {
    pub(super) fn new(transaction: &ReadTransaction, log_id: [u8; 16]) -> Result<Self, Fault> {
        let runs = read_runs(&transaction.open_table(rows::ID_RUNS)?)?;
        Ok(Self { log_id, runs, blocks: transaction.open_table(rows::IDS)? })
    }

    /// Adds the positions of all entries with the id's short key to `found`.
    pub(super) fn candidates(&self, id: EventId, found: &mut Vec<u64>) -> Result<(), Fault> {
        let key = short_key(self.log_id, id.as_bytes());
        for run in self.runs.iter().filter(|run| (run.first..=run.last).contains(&key)) {
            let Some(block) = self.blocks.range((run.number, 0)..=(run.number, key))?.next_back().transpose()? else { continue };
            let block = block.1.value();
            let count = block.len() / ENTRY_BYTES;
            // Entries of one key are never split over blocks.
            let start = partition(count, |index| entry_at(block, index).is_some_and(|entry| entry.0 < key));
            found.extend((start..count).map_while(|index| entry_at(block, index).filter(|entry| entry.0 == key)).map(|entry| entry.1));
        }
        Ok(())
    }
}

/// What stands for an id: its bytes 1 to 4, which follow the time in ids that have one, so that these come in order;
/// then four bytes that nobody can choose who does not know the log's id.
#[expect(clippy::cast_possible_truncation, reason = "four bytes of the hash are wanted")]
fn short_key(log_id: [u8; 16], id: &[u8; 16]) -> u64 {
    let [_, a, b, c, d, ..] = *id;
    let seed = u128::from_le_bytes(log_id);
    let hash = xxh3_64_with_seed(id, seed as u64 ^ (seed >> 64) as u64);
    u64::from(u32::from_be_bytes([a, b, c, d])) << 32 | hash & 0xffff_ffff
}

fn read_runs(table: &impl ReadableTable<u64, (u64, u64, u64)>) -> Result<Vec<Run>, Fault> {
    let mut runs = Vec::new();
    for row in table.iter()? {
        let (number, row) = row?;
        let (entries, first, last) = row.value();
        runs.push(Run { number: number.value(), entries, first, last });
    }
    Ok(runs)
}

/// The runs that a fresh one is merged with: while there is another of its size, both become one.
fn to_merge(runs: &[Run], fresh: u64) -> Vec<Run> {
    let mut left = runs.to_vec();
    let mut merged: Vec<Run> = Vec::new();
    let mut entries = fresh;
    while let Some(index) = left.iter().position(|run| size(run.entries) == size(entries) && entries + run.entries <= LARGEST_RUN) {
        let run = left.swap_remove(index);
        entries += run.entries;
        merged.push(run);
    }
    merged
}

fn size(entries: u64) -> u32 {
    (entries / SMALL_RUN + 1).ilog2().div_ceil(2)
}

/// Entries of one run, in order.
struct Source<'t> {
    block: Vec<Entry>,
    next: usize,
    rest: Option<Range<'t, (u64, u64), &'static [u8]>>,
}

impl Source<'_> {
    fn peek(&mut self) -> Result<Option<Entry>, Fault> {
        if self.next == self.block.len()
            && let Some(rest) = &mut self.rest
            && let Some((_, block)) = rest.next().transpose()?
        {
            self.block.clear();
            let block = block.value();
            self.block.extend((0..block.len() / ENTRY_BYTES).map_while(|index| entry_at(block, index)));
            self.next = 0;
        }
        Ok(self.block.get(self.next).copied())
    }
}

/// Writes the entries of all sources as one run.
fn merge(sources: &mut [Source<'_>], number: u64, table: &mut Table<'_, (u64, u64), &'static [u8]>) -> Result<Option<Run>, Fault> {
    let mut written: Option<Run> = None;
    let mut block: Vec<Entry> = Vec::with_capacity(BLOCK);
    let mut bytes = Vec::with_capacity(BLOCK * ENTRY_BYTES);
    loop {
        let entry = take_smallest(sources)?;
        let last = block.last().copied();
        let is_full = block.len() >= BLOCK && entry.map(|entry| entry.0) != last.map(|last| last.0);
        if let (Some(first), Some(last)) = (block.first(), last)
            && (is_full || entry.is_none())
        {
            let run = written.get_or_insert(Run { number, entries: 0, first: first.0, last: last.0 });
            run.entries += block.len() as u64;
            run.last = last.0;
            bytes.clear();
            for (key, position) in &block {
                bytes.extend_from_slice(&key.to_be_bytes());
                bytes.extend_from_slice(&rows::pack(*position));
            }
            table.insert((number, first.0), bytes.as_slice())?;
            block.clear();
        }
        match entry {
            Some(entry) => block.push(entry),
            None => return Ok(written),
        }
    }
}

fn take_smallest(sources: &mut [Source<'_>]) -> Result<Option<Entry>, Fault> {
    let mut smallest: Option<(usize, Entry)> = None;
    for (index, source) in sources.iter_mut().enumerate() {
        if let Some(entry) = source.peek()?
            && smallest.is_none_or(|(_, smallest)| entry < smallest)
        {
            smallest = Some((index, entry));
        }
    }
    Ok(smallest.map(|(index, entry)| {
        sources[index].next += 1;
        entry
    }))
}

fn entry_at(block: &[u8], index: usize) -> Option<Entry> {
    let bytes = block.get(index * ENTRY_BYTES..(index + 1) * ENTRY_BYTES)?;
    let (key, position) = bytes.split_first_chunk::<8>()?;
    Some((u64::from_be_bytes(*key), rows::unpack(position.try_into().ok()?)))
}

/// The first of `count` indexes that is not `before`.
fn partition(count: usize, before: impl Fn(usize) -> bool) -> usize {
    let (mut low, mut high) = (0, count);
    while low < high {
        let middle = low.midpoint(high);
        if before(middle) { low = middle + 1 } else { high = middle }
    }
    low
}
