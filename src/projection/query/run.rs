//! How is a page made, from one state of the view and within bounds of time and memory?

use std::collections::BinaryHeap;
use std::time::Duration;
use std::time::Instant;

use redb::ReadOnlyTable;
use redb::ReadTransaction;

use super::super::row::Row;
use super::super::spec::Columns;
use super::super::target::embedded::Reader;
use super::super::target::embedded::encoding;
use super::super::target::embedded::fault::Trouble;
use super::super::target::embedded::fault::guarded;
use super::super::target::embedded::tables;
#[cfg(feature = "analytics")]
use super::Comparison;
use super::QueryFault;
use super::ViewPage;
use super::ViewQuery;
use super::filters::Filters;
use super::name_of;
use super::order::Sorting;
use super::order::invert;
use super::plan;
use super::plan::Ordered;
use super::plan::Walk;

/// Answers a query. Waits for the disk: not on the runtime's own threads.
///
/// # Errors
///
/// [`QueryFault::Invalid`]: the query does not fit the columns, or `after` is of another query. [`QueryFault::TooSlow`]: no answer within
/// `time`; says what would help. [`QueryFault::Unread`]: the rows can't be read.
pub(crate) fn run(reader: &Reader, query: &ViewQuery, time: Duration) -> Result<ViewPage, QueryFault> {
    let answer = guarded(|| {
        let snapshot = reader.snapshot()?;
        Ok(answer(reader, &snapshot, query, time))
    });
    let answer = answer.unwrap_or_else(|trouble| Err(QueryFault::Unread(trouble)));
    if let Err(QueryFault::Unread(trouble)) = &answer {
        reader.note(trouble);
    }
    answer
}

fn answer(reader: &Reader, snapshot: &ReadTransaction, query: &ViewQuery, time: Duration) -> Result<ViewPage, QueryFault> {
    let columns = reader.columns();
    let sorting = Sorting::new(columns, &query.order_by)?;
    let after = query.after.as_deref().map(|token| sorting.read_token(columns, token)).transpose()?;
    let search = Search {
        columns,
        filters: Filters::new(columns, &query.filters)?,
        sorting,
        rows: snapshot.open_table(tables::ROWS)?,
        indexes: snapshot.open_table(tables::INDEXES)?,
        began: Instant::now(),
        time,
    };
    let limit = query.limit.max(1);
    let walk = plan::for_page(columns, &search.filters, &search.sorting, &search.indexes)?;
    let (found, counted) = match walk.ordered.clone() {
        Some(ordered) => (search.in_order(walk, &ordered, limit, after.as_deref())?, None),
        None => search.sorted(&walk, limit, after.as_deref())?,
    };
    let count = match counted {
        _ if !query.count => None,
        Some(counted) => Some(counted),
        None if search.filters.is_empty() => Some(tables::read_row_count(&snapshot.open_table(tables::META)?)?),
        None => Some(search.count()?),
    };
    let next = found.last.filter(|_| found.has_more).map(|key| search.sorting.token(columns, &key));
    Ok(ViewPage { rows: found.rows, next, count, cursor: reader.checkpoint(snapshot)? })
}

/// Shows all rows of a snapshot that pass, in any order, until `see` has seen enough. Waits for the disk: not on the runtime's own threads.
///
/// # Errors
///
/// As [`run`], but it takes as long as it takes.
#[cfg(feature = "analytics")]
pub(crate) fn scan(
    reader: &Reader,
    snapshot: &ReadTransaction,
    comparisons: &[Comparison],
    mut see: impl FnMut(Row) -> bool,
) -> Result<(), QueryFault> {
    let answer = guarded(|| {
        let columns = reader.columns();
        let search = Search {
            columns,
            filters: match Filters::new(columns, comparisons) {
                Ok(filters) => filters,
                Err(fault) => return Ok(Err(fault)),
            },
            sorting: Sorting { by: Vec::new() },
            rows: snapshot.open_table(tables::ROWS)?,
            indexes: snapshot.open_table(tables::INDEXES)?,
            began: Instant::now(),
            time: Duration::MAX,
        };
        Ok(search.all(&mut see))
    });
    let answer = answer.unwrap_or_else(|trouble| Err(QueryFault::Unread(trouble)));
    if let Err(QueryFault::Unread(trouble)) = &answer {
        reader.note(trouble);
    }
    answer
}

/// One query at work.
struct Search<'a> {
    columns: &'a Columns,
    filters: Filters,
    sorting: Sorting,
    rows: ReadOnlyTable<&'static [u8], &'static [u8]>,
    indexes: ReadOnlyTable<&'static [u8], ()>,
    began: Instant,
    time: Duration,
}

/// A page that is being filled.
#[derive(Default)]
struct Found {
    rows: Vec<Row>,
    bytes: usize,
    /// The bytes by which the last row sorts.
    last: Option<Vec<u8>>,
    has_more: bool,
}

impl Search<'_> {
    /// Takes rows as they come, until the page is full.
    fn in_order(&self, walk: Walk, ordered: &Ordered, limit: usize, after: Option<&[u8]>) -> Result<Found, QueryFault> {
        let mut walk = walk;
        if let Some(after) = after {
            let mut key = after.to_vec();
            if ordered.is_descending {
                invert(&mut key);
            }
            walk.ranges = walk.ranges.beyond(&[&ordered.prefix, key.as_slice()].concat(), ordered.is_descending);
        }
        let mut found = Found::default();
        self.visit(&walk, ordered.is_descending, |key, row| {
            if !self.filters.pass(self.columns, key, row, walk.known)? {
                return Ok(true);
            }
            if found.rows.len() == limit || (found.bytes >= PAGE_BYTES_MAX && !found.rows.is_empty()) {
                found.has_more = true;
                return Ok(false);
            }
            let mut sort_key = found.last.take().unwrap_or_default();
            sort_key.clear();
            self.sorting.push_key(&mut sort_key, self.columns, key, row)?;
            found.last = Some(sort_key);
            found.bytes += row.len();
            found.rows.push(encoding::row(row, self.columns)?);
            Ok(true)
        })?;
        Ok(found)
    }

    /// Looks at all rows that match, and keeps the first ones; also says how many matched.
    fn sorted(&self, walk: &Walk, limit: usize, after: Option<&[u8]>) -> Result<(Found, Option<u64>), QueryFault> {
        // The greatest on top; one more than the page has, so that it is known whether there is more.
        let mut first: BinaryHeap<(Vec<u8>, Vec<u8>)> = BinaryHeap::new();
        let (mut matched, mut bytes) = (0, 0);
        let mut sort_key = Vec::new();
        self.visit(walk, false, |key, row| {
            if !self.filters.pass(self.columns, key, row, walk.known)? {
                return Ok(true);
            }
            matched += 1;
            sort_key.clear();
            self.sorting.push_key(&mut sort_key, self.columns, key, row)?;
            let is_behind = after.is_some_and(|after| sort_key.as_slice() <= after);
            let is_beyond = first.len() > limit && first.peek().is_some_and(|(greatest, _)| sort_key >= *greatest);
            if is_behind || is_beyond {
                return Ok(true);
            }
            bytes += sort_key.len() + key.len();
            first.push((sort_key.clone(), key.to_vec()));
            while first.len() > limit + 1 {
                bytes -= first.pop().map_or(0, |(sort_key, key)| sort_key.len() + key.len());
            }
            if bytes > SORT_BYTES_MAX {
                return Err(QueryFault::Invalid {
                    field: "limit".to_owned(),
                    detail: "is too high for rows that sort by so much".to_owned(),
                });
            }
            Ok(true)
        })?;
        let mut found = Found { has_more: first.len() > limit, ..Found::default() };
        for (sort_key, key) in first.into_sorted_vec().into_iter().take(limit) {
            if found.bytes >= PAGE_BYTES_MAX && !found.rows.is_empty() {
                found.has_more = true;
                break;
            }
            let bytes = self.rows.get(key.as_slice())?.ok_or_else(|| Trouble::unusable("a row is gone"))?;
            found.bytes += bytes.value().len();
            found.rows.push(encoding::row(bytes.value(), self.columns)?);
            found.last = Some(sort_key);
        }
        Ok((found, Some(matched)))
    }

    /// Shows all rows that pass.
    #[cfg(feature = "analytics")]
    fn all(&self, see: &mut impl FnMut(Row) -> bool) -> Result<(), QueryFault> {
        let (walk, _) = plan::by_filter(self.columns, &self.filters, &self.indexes)?;
        self.visit(&walk, false, |key, row| {
            let passes = self.filters.pass(self.columns, key, row, walk.known)?;
            Ok(!passes || see(encoding::row(row, self.columns)?))
        })
    }

    /// How many rows match.
    fn count(&self) -> Result<u64, QueryFault> {
        let (walk, _) = plan::by_filter(self.columns, &self.filters, &self.indexes)?;
        let mut count = 0;
        if let Some(place) = walk.index.filter(|place| self.filters.are_all_of(*place)) {
            debug_assert_eq!(walk.known, Some(place));
            for (start, end) in &walk.ranges.0 {
                for entry in self.indexes.range::<&[u8]>(start.as_slice()..end.as_slice())? {
                    entry?;
                    count += 1;
                    self.check_time(count)?;
                }
            }
            return Ok(count);
        }
        self.visit(&walk, false, |key, row| {
            count += u64::from(self.filters.pass(self.columns, key, row, walk.known)?);
            Ok(true)
        })?;
        Ok(count)
    }

    /// Shows primary keys (sortable) and rows to `see` until it has seen enough.
    fn visit(
        &self,
        walk: &Walk,
        is_descending: bool,
        mut see: impl FnMut(&[u8], &[u8]) -> Result<bool, QueryFault>,
    ) -> Result<(), QueryFault> {
        let mut seen = 0;
        let count = walk.ranges.0.len();
        for number in 0..count {
            let Some((start, end)) = walk.ranges.0.get(if is_descending { count - 1 - number } else { number }) else { continue };
            let range = start.as_slice()..end.as_slice();
            if let Some(place) = walk.index {
                let column_type = self.columns.list().get(place).map(|column| column.column_type);
                let mut entries = self.indexes.range::<&[u8]>(range)?;
                while let Some(entry) = if is_descending { entries.next_back() } else { entries.next() } {
                    let (entry, _) = entry?;
                    let entry = entry.value();
                    let key = column_type.and_then(|column_type| tables::key_of_entry(entry, column_type)).ok_or_else(unreadable)?;
                    let row = self.rows.get(key)?.ok_or_else(unreadable)?;
                    seen += 1;
                    self.check_time(seen)?;
                    if !see(key, row.value())? {
                        return Ok(());
                    }
                }
            } else {
                let mut rows = self.rows.range::<&[u8]>(range)?;
                while let Some(row) = if is_descending { rows.next_back() } else { rows.next() } {
                    let (key, row) = row?;
                    seen += 1;
                    self.check_time(seen)?;
                    if !see(key.value(), row.value())? {
                        return Ok(());
                    }
                }
            }
        }
        Ok(())
    }

    fn check_time(&self, seen: u64) -> Result<(), QueryFault> {
        if !seen.is_multiple_of(256) || self.began.elapsed() < self.time {
            return Ok(());
        }
        let wanted = self.filters.places().chain(self.sorting.by.iter().map(|order| order.place));
        let is_slow =
            |place: &usize| *place != self.columns.primary_key() && self.columns.list().get(*place).is_some_and(|own| !own.is_indexed);
        let mut slow: Vec<String> = wanted.filter(is_slow).map(|place| name_of(self.columns, place)).collect();
        slow.dedup();
        let advice = if slow.is_empty() { "ask for less".to_owned() } else { format!("an index on {} would help", slow.join(" or ")) };
        Err(QueryFault::TooSlow(format!("{seen} rows were looked at in {:?}, and that was not all: {advice}", self.time)))
    }
}

fn unreadable() -> Trouble {
    Trouble::unusable("an index names a row that is not there")
}

/// What the rows of a page take in the file; one more than fits may be there.
const PAGE_BYTES_MAX: usize = 16 << 20;
/// What is kept of rows while they are sorted.
const SORT_BYTES_MAX: usize = 64 << 20;
