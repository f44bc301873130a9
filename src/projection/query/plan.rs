//! Which way leads to the rows with the fewest looked at in vain?

use redb::ReadOnlyTable;

use super::super::spec::Columns;
use super::super::target::embedded::sortable::NULL;
use super::super::target::embedded::sortable::PRESENT;
use super::super::target::embedded::tables;
use super::QueryFault;
use super::filters::Filters;
use super::order::Sorting;
use super::ranges::Ranges;

/// A walk over rows by their keys, or over the entries of an index.
#[derive(Clone, Debug)]
pub(super) struct Walk {
    /// The column whose index it is; `None`: the rows themselves.
    pub(super) index: Option<usize>,
    /// Of the table that is walked over.
    pub(super) ranges: Ranges,
    /// The column of which nothing is to be asked any more.
    pub(super) known: Option<usize>,
    /// The rows come in the order that was asked for, in this direction, and an entry of the table is what follows this prefix.
    pub(super) ordered: Option<Ordered>,
}

/// How a walk that comes in order goes.
#[derive(Clone, Debug)]
pub(super) struct Ordered {
    pub(super) is_descending: bool,
    pub(super) prefix: Vec<u8>,
}

/// The way to a page of rows in order.
pub(super) fn for_page(
    columns: &Columns,
    filters: &Filters,
    sorting: &Sorting,
    indexes: &ReadOnlyTable<&'static [u8], ()>,
) -> Result<Walk, QueryFault> {
    let in_order = in_order(columns, filters, sorting);
    let is_enough = in_order.as_ref().is_some_and(|walk| match walk.known {
        Some(place) => filters.are_all_of(place),
        None => filters.is_empty(),
    });
    if let Some(walk) = in_order.clone().filter(|_| is_enough) {
        return Ok(walk);
    }
    let (walk, is_small) = by_filter(columns, filters, indexes)?;
    // Many rows may be passed over before the first that matches; few of them are sorted sooner.
    Ok(match in_order {
        Some(in_order) if !is_small => in_order,
        Some(_) | None => walk,
    })
}

/// The way to all rows that match, in any order; and whether it is known to be a short one.
pub(super) fn by_filter(
    columns: &Columns,
    filters: &Filters,
    indexes: &ReadOnlyTable<&'static [u8], ()>,
) -> Result<(Walk, bool), QueryFault> {
    if let Some(filter) = filters.get(columns.primary_key()).filter(|filter| filter.is_point) {
        let walk = Walk { index: None, ranges: filter.ranges.clone(), known: Some(columns.primary_key()), ordered: None };
        return Ok((walk, true));
    }
    let mut best: Option<(usize, Walk)> = None;
    for place in filters.places().filter(|place| columns.list().get(*place).is_some_and(|column| column.is_indexed)) {
        let Some(filter) = filters.get(place) else { continue };
        let ranges = filter.ranges.behind_prefix(&tables::index_prefix(place));
        let entries = count_at_most(indexes, &ranges, PROBE_MAX)?;
        if best.as_ref().is_none_or(|(fewest, _)| entries < *fewest) {
            best = Some((entries, Walk { index: Some(place), ranges, known: Some(place), ordered: None }));
        }
    }
    Ok(match best {
        Some((entries, walk)) => (walk, entries < PROBE_MAX),
        None => (by_key(columns, filters), false),
    })
}

/// The walk in which rows come in order, if there is one.
fn in_order(columns: &Columns, filters: &Filters, sorting: &Sorting) -> Option<Walk> {
    let is_descending = sorting.by.first()?.is_descending;
    let ordered = |prefix: Vec<u8>| Some(Ordered { is_descending, prefix });
    match sorting.by.as_slice() {
        [_] => {
            let key_is_free = filters.get(columns.primary_key()).is_none();
            let indexed = filters.places().filter(|place| columns.list().get(*place).is_some_and(|column| column.is_indexed));
            let point = indexed.filter_map(|place| Some((place, filters.get(place)?))).find(|(_, filter)| key_is_free && filter.is_point);
            let Some((place, filter)) = point else { return Some(Walk { ordered: ordered(Vec::new()), ..by_key(columns, filters) }) };
            // The entries of one value stand in the order of their keys.
            let ranges = filter.ranges.behind_prefix(&tables::index_prefix(place));
            let prefix = ranges.0.first().map(|(start, _)| start.clone()).unwrap_or_default();
            Some(Walk { index: Some(place), ranges, known: Some(place), ordered: ordered(prefix) })
        }
        [first, key] if first.is_descending == key.is_descending && columns.list().get(first.place)?.is_indexed => {
            let prefix = tables::index_prefix(first.place);
            let filter = filters.get(first.place);
            let ranges = filter.map_or_else(everything, |filter| filter.ranges.clone()).behind_prefix(&prefix);
            let known = filter.map(|_| first.place);
            Some(Walk { index: Some(first.place), ranges, known, ordered: ordered(prefix.to_vec()) })
        }
        _ => None,
    }
}

fn by_key(columns: &Columns, filters: &Filters) -> Walk {
    let filter = filters.get(columns.primary_key());
    let known = filter.map(|_| columns.primary_key());
    Walk { index: None, ranges: filter.map_or_else(everything, |filter| filter.ranges.clone()), known, ordered: None }
}

fn everything() -> Ranges {
    Ranges::one(vec![PRESENT], vec![NULL + 1])
}

fn count_at_most(indexes: &ReadOnlyTable<&'static [u8], ()>, ranges: &Ranges, limit: usize) -> Result<usize, QueryFault> {
    let mut count = 0;
    for (start, end) in &ranges.0 {
        for entry in indexes.range::<&[u8]>(start.as_slice()..end.as_slice())? {
            entry?;
            count += 1;
            if count == limit {
                return Ok(count);
            }
        }
    }
    Ok(count)
}

/// So many rows are looked at and sorted in a few milliseconds.
const PROBE_MAX: usize = if cfg!(test) { 8 } else { 4_096 };
