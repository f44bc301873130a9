//! What did the index say at one moment?
//!
//! A view is the delta, the delta that is being flushed, and a read transaction of the file, taken at once. Each holds the end of
//! a list that the next one begins; a read asks them from the newest to the oldest. No lock is held while the file is read.

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::ops::Bound;
use std::sync::Arc;

use parking_lot::RwLock;
use redb::ReadOnlyTable;
use redb::ReadTransaction;

use crate::EventId;

use super::StreamHead;
use super::TermKind;
use super::delta::Delta;
use super::fault::Fault;
use super::ids::Lookup;
use super::postings;
use super::postings::PAGE;
use super::rows;
use super::rows::Counts;
use super::rows::StreamRow;
use super::rows::StreamState;
use super::rows::TermCounts;
use super::rows::TermRow;

pub(super) struct View {
    /// Newest first; a delta whose flush the transaction already sees is not among them.
    deltas: Vec<Arc<RwLock<Delta>>>,
    transaction: ReadTransaction,
    /// The view ends here, although the newest delta may go on.
    pub(super) applied: u64,
    pub(super) counts: Counts,
}

impl View {
    pub(super) fn new(active: Arc<RwLock<Delta>>, frozen: Option<Arc<RwLock<Delta>>>, transaction: ReadTransaction) -> Result<Self, Fault> {
        let (applied, counts) = {
            let active = active.read();
            (active.through, active.counts)
        };
        let mut deltas = vec![active];
        if let Some(frozen) = frozen {
            let flushed = read_meta(&transaction)?.through;
            if frozen.read().through > flushed {
                deltas.push(frozen);
            }
        }
        Ok(Self { deltas, transaction, applied, counts })
    }

    /// The stream as it stands, whichever holds it.
    pub(super) fn stream(&self, name: &str) -> Result<Option<StreamState>, Fault> {
        for delta in &self.deltas {
            if let Some(stream) = delta.read().streams.get(name) {
                return Ok(Some(stream.state));
            }
        }
        Ok(self.stream_row(name)?.map(|row| row.state))
    }

    pub(super) fn stream_row(&self, name: &str) -> Result<Option<StreamRow>, Fault> {
        let table = self.transaction.open_table(rows::STREAMS)?;
        table.get(name)?.map(|row| StreamRow::decode(row.value())).transpose()
    }

    /// Positions that may bear one of the ids, each with the index of its id.
    pub(super) fn candidates(&self, log_id: [u8; 16], wanted: &[EventId]) -> Result<Vec<(usize, u64)>, Fault> {
        let lookup = Lookup::new(&self.transaction, log_id)?;
        let mut all = Vec::new();
        let mut found = Vec::new();
        for (index, id) in wanted.iter().enumerate() {
            match self.deltas.iter().find_map(|delta| delta.read().ids.get(id.as_bytes()).copied()) {
                Some(position) => found.push(position),
                None => lookup.candidates(*id, &mut found)?,
            }
            all.extend(found.drain(..).map(|position| (index, position)));
        }
        Ok(all)
    }

    /// Versions `from` (inclusive) on, or downwards, with their positions; zero is a lost event.
    pub(super) fn stream_positions(&self, name: &str, from: u64, limit: usize, backward: bool) -> Result<Vec<(u64, u64)>, Fault> {
        let mut found = Vec::new();
        let Some(state) = self.stream(name)? else { return Ok(found) };
        let mut row = None;
        let lowest = state.unlisted + 1;
        let mut at = if backward { from.min(state.version) } else { from.max(lowest) };
        while at >= lowest && at <= state.version && found.len() < limit {
            let (first, chunk) = self.chunk(name, &mut row, at, backward)?;
            if chunk.is_empty() || first > at || first + chunk.len() as u64 <= at {
                return Err(Fault::unusable(format!("version {at} of stream {name} is in no page")));
            }
            let versions = (first..).zip(chunk);
            let left = limit - found.len();
            if backward {
                found.extend(versions.collect::<Vec<_>>().into_iter().rev().skip_while(|(version, _)| *version > at).take(left));
                at = found.last().map_or(0, |(version, _)| version - 1);
            } else {
                found.extend(versions.skip_while(|(version, _)| *version < at).take(left));
                at = found.last().map_or(u64::MAX, |(version, _)| version + 1);
            }
        }
        Ok(found)
    }

    /// At most a page of a stream's positions that contains a version, and the version of the first.
    fn chunk(&self, name: &str, row: &mut Option<StreamRow>, version: u64, backward: bool) -> Result<(u64, Vec<u64>), Fault> {
        for delta in &self.deltas {
            let delta = delta.read();
            if let Some(stream) = delta.streams.get(name).filter(|stream| stream.from <= version) {
                return Ok(around(&stream.positions, stream.from, version, backward));
            }
        }
        if row.is_none() {
            *row = self.stream_row(name)?;
        }
        let Some(row) = row else { return Ok((0, Vec::new())) };
        let from = row.state.version + 1 - row.list.tail.len() as u64;
        if version >= from {
            return Ok(around(&row.list.tail, from, version, backward));
        }
        let first = (version - 1) / PAGE as u64 * PAGE as u64 + 1;
        let pages = self.pages()?;
        let page = pages.get((row.list.number, first))?.ok_or_else(|| Fault::unusable(format!("a page of stream {name} is missing")))?;
        Ok((first, decode_page(page.value())?))
    }

    pub(super) fn pages(&self) -> Result<ReadOnlyTable<(u64, u64), &'static [u8]>, Fault> {
        Ok(self.transaction.open_table(rows::PAGES)?)
    }

    pub(super) fn snapshots(&self) -> Result<ReadOnlyTable<&'static [u8], &'static [u8]>, Fault> {
        Ok(self.transaction.open_table(rows::SNAPSHOTS)?)
    }

    pub(super) fn term_row(&self, kind: TermKind, term: &str) -> Result<TermRow, Fault> {
        let table = self.transaction.open_table(rows::TERMS)?;
        let row = table.get(kind.key(term).as_slice())?.map(|row| TermRow::decode(row.value())).transpose()?;
        Ok(row.unwrap_or_default())
    }

    pub(super) fn term_counts(&self, kind: TermKind, term: &str) -> Result<TermCounts, Fault> {
        let mut counts = self.term_row(kind, term)?.counts;
        for delta in &self.deltas {
            if let Some(more) = delta.read().terms[kind.index()].get(term) {
                add(&mut counts, &more.counts);
            }
        }
        Ok(counts)
    }

    /// All terms of a kind with their counts, by name. For categories and types, of which there are few.
    pub(super) fn terms(&self, kind: TermKind) -> Result<BTreeMap<String, TermCounts>, Fault> {
        let mut terms = BTreeMap::new();
        let table = self.transaction.open_table(rows::TERMS)?;
        let (low, high) = (kind.key(""), [kind as u8 + 1]);
        for row in table.range::<&[u8]>(low.as_slice()..high.as_slice())? {
            let (key, row) = row?;
            let term = key.value().get(1..).and_then(|term| std::str::from_utf8(term).ok());
            let term = term.ok_or_else(|| Fault::unusable("a term is not text"))?;
            terms.insert(term.to_owned(), TermRow::decode(row.value())?.counts);
        }
        for delta in &self.deltas {
            for (term, more) in &delta.read().terms[kind.index()] {
                add(terms.entry(term.to_string()).or_default(), &more.counts);
            }
        }
        Ok(terms)
    }

    /// What a delta says of a term, newest delta first.
    pub(super) fn in_deltas<T>(&self, kind: TermKind, term: &str, ask: impl Fn(&[u64]) -> Option<T>) -> Option<T> {
        self.deltas.iter().find_map(|delta| delta.read().terms[kind.index()].get(term).and_then(|list| ask(&list.positions)))
    }

    /// What a delta says of a term, oldest delta first.
    pub(super) fn in_deltas_oldest_first<T>(&self, kind: TermKind, term: &str, ask: impl Fn(&[u64]) -> Option<T>) -> Option<T> {
        self.deltas.iter().rev().find_map(|delta| delta.read().terms[kind.index()].get(term).and_then(|list| ask(&list.positions)))
    }

    /// Streams by name, after a name (exclusive).
    pub(super) fn streams(&self, after: Option<&str>, prefix: &str, limit: usize) -> Result<Vec<(Arc<str>, StreamHead)>, Fault> {
        let low = match after {
            Some(after) if after >= prefix => Bound::Excluded(after),
            Some(_) | None => Bound::Included(prefix),
        };
        let table = self.transaction.open_table(rows::STREAMS)?;
        let mut stored = table.range::<&str>((low, Bound::Unbounded))?;
        let mut next_stored = None;
        let mut fresh = self.new_streams(low, prefix, limit).into_iter().peekable();
        let mut found = Vec::new();
        while found.len() < limit {
            if next_stored.is_none() {
                next_stored = match stored.next().transpose()? {
                    Some((name, row)) if name.value().starts_with(prefix) => {
                        Some((Arc::from(name.value()), StreamRow::decode(row.value())?.state))
                    }
                    Some(_) | None => None,
                };
            }
            let (name, state): (Arc<str>, StreamState) = match (&next_stored, fresh.peek()) {
                (None, None) => break,
                (Some((stored, _)), Some(new)) if new < stored => (Arc::clone(new), StreamState::default()),
                (None, Some(new)) => (Arc::clone(new), StreamState::default()),
                (Some((stored, state)), _) => (Arc::clone(stored), *state),
            };
            if fresh.next_if(|new| *new == name).is_none() || next_stored.as_ref().is_some_and(|(stored, _)| *stored == name) {
                next_stored = None;
            }
            let state = self.in_delta(&name).unwrap_or(state);
            // A stream whose events were all lost is known by a control record alone.
            if state.version > 0 {
                found.push((name, state.head()));
            }
        }
        Ok(found)
    }

    fn in_delta(&self, name: &str) -> Option<StreamState> {
        self.deltas.iter().find_map(|delta| delta.read().streams.get(name).map(|stream| stream.state))
    }

    fn new_streams(&self, low: Bound<&str>, prefix: &str, limit: usize) -> BTreeSet<Arc<str>> {
        let mut names = BTreeSet::new();
        for delta in &self.deltas {
            let delta = delta.read();
            let range = delta.new_streams.range::<str, _>((low, Bound::Unbounded));
            let written = range.filter(|name| delta.streams.get(*name).is_some_and(|stream| stream.state.version > 0));
            names.extend(written.take_while(|name| name.starts_with(prefix)).take(limit).cloned());
        }
        names
    }
}

pub(super) fn read_meta(transaction: &ReadTransaction) -> Result<rows::Meta, Fault> {
    let table = transaction.open_table(rows::META)?;
    let state = table.get(rows::META_STATE)?.ok_or_else(|| Fault::unusable("the state is missing"))?;
    rows::decode_meta(state.value())
}

pub(super) fn decode_page(bytes: &[u8]) -> Result<Vec<u64>, Fault> {
    let page = postings::decode(bytes).filter(|page| page.len() == PAGE);
    page.ok_or_else(|| Fault::unusable("a page is not a list of positions"))
}

fn add(counts: &mut TermCounts, more: &TermCounts) {
    counts.events += more.events;
    counts.client_events += more.client_events;
    counts.streams += more.streams;
}

/// At most a page of `positions` (the first is of version `from`) that begins with `version`, or ends with it.
fn around(positions: &[u64], from: u64, version: u64, backward: bool) -> (u64, Vec<u64>) {
    let index = usize::try_from(version - from).unwrap_or(usize::MAX);
    let range = if backward { (index + 1).saturating_sub(PAGE)..index + 1 } else { index..positions.len().min(index.saturating_add(PAGE)) };
    let first = from + range.start as u64;
    (first, positions.get(range).unwrap_or_default().to_vec())
}
