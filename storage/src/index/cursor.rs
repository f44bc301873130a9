//! Where is the next position of a list, or of several at once, without reading the list?

use redb::ReadOnlyTable;

use super::TermKind;
use super::fault::Fault;
use super::postings;
use super::rows::TermRow;
use super::view::View;
use super::view::decode_page;

/// One ascending list of positions that can be sought in.
pub(super) enum Postings<'v> {
    Term(Box<TermCursor<'v>>),
    /// A short list in memory, sorted.
    Sorted(Vec<u64>),
}

/// The list of one term. Goes one way only: positions sought must rise, or fall, from call to call.
pub(super) struct TermCursor<'v> {
    view: &'v View,
    kind: TermKind,
    term: String,
    row: TermRow,
    pages: ReadOnlyTable<(u64, u64), &'static [u8]>,
    /// Neighbours in the list, around what was found last.
    page: Vec<u64>,
}

impl<'v> TermCursor<'v> {
    pub(super) fn new(view: &'v View, kind: TermKind, term: &str) -> Result<Self, Fault> {
        Ok(Self { view, kind, term: term.to_owned(), row: view.term_row(kind, term)?, pages: view.pages()?, page: Vec::new() })
    }

    /// The smallest position that is not below `position`.
    fn up(&mut self, position: u64) -> Result<Option<u64>, Fault> {
        if self.page.last().is_none_or(|&last| last < position) {
            self.page = self.page_at_least(position)?.unwrap_or_default();
        }
        let index = self.page.partition_point(|&entry| entry < position);
        Ok(self.page.get(index).copied())
    }

    /// The largest position that is not above `position`.
    fn down(&mut self, position: u64) -> Result<Option<u64>, Fault> {
        if self.page.first().is_none_or(|&first| first > position) {
            self.page = self.page_at_most(position)?.unwrap_or_default();
        }
        let index = self.page.partition_point(|&entry| entry <= position);
        Ok(index.checked_sub(1).and_then(|index| self.page.get(index)).copied())
    }

    fn page_at_most(&self, position: u64) -> Result<Option<Vec<u64>>, Fault> {
        let newest = self.view.in_deltas(self.kind, &self.term, |entries| postings::at_most(entries, position));
        if let Some(page) = newest.or_else(|| postings::at_most(&self.row.list.tail, position)) {
            return Ok(Some(page));
        }
        self.stored_page(0, position, true)
    }

    fn page_at_least(&self, position: u64) -> Result<Option<Vec<u64>>, Fault> {
        // The first entry above stands in the oldest part that has one, so the file is asked first, unless a newer part begins below.
        let begins_below = |entries: &[u64]| entries.first().filter(|first| **first <= position).map(|_| ());
        let in_deltas = self.view.in_deltas(self.kind, &self.term, begins_below).is_some();
        if !in_deltas && begins_below(&self.row.list.tail).is_none() {
            if let Some(page) = self.stored_page(0, position, true)?.filter(|page| page.last().is_some_and(|last| *last >= position)) {
                return Ok(Some(page));
            }
            if let Some(page) = self.stored_page(position, u64::MAX, false)? {
                return Ok(Some(page));
            }
        }
        if let Some(page) = postings::at_least(&self.row.list.tail, position) {
            return Ok(Some(page));
        }
        Ok(self.view.in_deltas_oldest_first(self.kind, &self.term, |entries| postings::at_least(entries, position)))
    }

    fn stored_page(&self, low: u64, high: u64, last: bool) -> Result<Option<Vec<u64>>, Fault> {
        if self.row.list.number == 0 {
            return Ok(None);
        }
        let mut range = self.pages.range((self.row.list.number, low)..=(self.row.list.number, high))?;
        let page = if last { range.next_back() } else { range.next() };
        page.transpose()?.map(|(_, page)| decode_page(page.value())).transpose()
    }
}

impl Postings<'_> {
    fn up(&mut self, position: u64) -> Result<Option<u64>, Fault> {
        match self {
            Self::Term(cursor) => cursor.up(position),
            Self::Sorted(entries) => Ok(entries.get(entries.partition_point(|&entry| entry < position)).copied()),
        }
    }

    fn down(&mut self, position: u64) -> Result<Option<u64>, Fault> {
        match self {
            Self::Term(cursor) => cursor.down(position),
            Self::Sorted(entries) => {
                let index = entries.partition_point(|&entry| entry <= position);
                Ok(index.checked_sub(1).and_then(|index| entries.get(index)).copied())
            }
        }
    }
}

/// Lists of which any will do.
pub(super) struct AnyOf<'v> {
    lists: Vec<(Postings<'v>, Found)>,
}

/// What a list answered last.
#[derive(Clone, Copy)]
enum Found {
    NotAsked,
    At(u64),
    NoMore,
}

impl<'v> AnyOf<'v> {
    pub(super) fn new(lists: Vec<Postings<'v>>) -> Self {
        Self { lists: lists.into_iter().map(|list| (list, Found::NotAsked)).collect() }
    }

    fn seek(&mut self, position: u64, backward: bool) -> Result<Option<u64>, Fault> {
        let mut nearest: Option<u64> = None;
        for (list, found) in &mut self.lists {
            let still_good = match *found {
                Found::NotAsked => false,
                Found::At(at) => {
                    if backward {
                        at <= position
                    } else {
                        at >= position
                    }
                }
                Found::NoMore => true,
            };
            if !still_good {
                let next = if backward { list.down(position)? } else { list.up(position)? };
                *found = next.map_or(Found::NoMore, Found::At);
            }
            if let Found::At(at) = *found {
                nearest = Some(match nearest {
                    Some(nearest) if backward => nearest.max(at),
                    Some(nearest) => nearest.min(at),
                    None => at,
                });
            }
        }
        Ok(nearest)
    }
}

/// What a search for the next match came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    Match(u64),
    End,
    /// So many steps were taken that the search stopped; there is no match before this position.
    Stopped(u64),
}

/// The nearest position from `position` (inclusive) on that is in every one of `groups`. Takes at most `steps` steps, and counts them down.
pub(super) fn next_match(groups: &mut [AnyOf<'_>], position: u64, backward: bool, steps: &mut usize) -> Result<Step, Fault> {
    let mut candidate = position;
    loop {
        let before = candidate;
        for group in &mut *groups {
            let Some(at) = group.seek(candidate, backward)? else { return Ok(Step::End) };
            candidate = at;
        }
        // Every group has what no group had to leave.
        if candidate == before {
            return Ok(Step::Match(candidate));
        }
        if *steps == 0 {
            return Ok(Step::Stopped(candidate));
        }
        *steps -= 1;
    }
}
