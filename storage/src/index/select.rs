//! Which positions match a filter or a condition, as far as categories, types and tags tell?

use crate::Filter;
use crate::Position;
use crate::QueryItem;

use super::Selection;
use super::TermKind;
use super::cursor::AnyOf;
use super::cursor::Postings;
use super::cursor::Step;
use super::cursor::TermCursor;
use super::cursor::next_match;
use super::fault::Fault;
use super::view::View;

/// More streams with a prefix than this: their lists are left alone.
const PREFIX_STREAMS_MAX: usize = 256;
/// More events of streams with a prefix than this: their lists are left alone.
const PREFIX_EVENTS_MAX: u64 = 16_384;
/// A filter is selective if the log has so many times the events of its rarest name.
const SELECTIVE: u64 = 4;
/// One selection takes at most so many steps from list to list; the caller asks again from where it stopped.
const STEPS_MAX: usize = 65_536;

/// The newest position above `after` whose event matches.
pub(super) fn last_match(view: &View, item: &QueryItem, after: u64) -> Result<Option<u64>, Fault> {
    if item.types.is_empty() && item.tags.is_empty() {
        return Ok(Some(view.counts.last_client).filter(|last| *last > after));
    }
    let mut groups = Vec::new();
    for tag in &item.tags {
        groups.push(any_of(view, TermKind::Tag, &[tag])?);
    }
    if !item.types.is_empty() {
        groups.push(any_of(view, TermKind::Type, &item.types)?);
    }
    let mut from = view.applied;
    while from > after {
        let mut steps = STEPS_MAX;
        match next_match(&mut groups, from, true, &mut steps)? {
            Step::Match(position) => return Ok(Some(position).filter(|position| *position > after)),
            Step::End => return Ok(None),
            Step::Stopped(position) => from = position,
        }
    }
    Ok(None)
}

/// What to look at, of the positions above `after` and up to `through`.
pub(super) struct Window {
    pub(super) after: u64,
    pub(super) through: u64,
    pub(super) backward: bool,
    pub(super) limit: usize,
}

pub(super) fn select(view: &View, filter: &Filter, window: &Window) -> Result<Selection, Fault> {
    let Some(mut groups) = plan(view, filter)? else { return Ok(Selection::Scan) };
    let high = window.through.min(view.applied);
    let low = window.after + 1;
    let mut at = if window.backward { high } else { low };
    let mut positions = Vec::new();
    let mut steps = STEPS_MAX;
    let end = |positions| {
        let through = if window.backward { low } else { high };
        Ok(Selection::Positions { positions, through: Position::new(through), at_end: true })
    };
    loop {
        if at < low || at > high {
            return end(positions);
        }
        let step =
            if positions.len() < window.limit { next_match(&mut groups, at, window.backward, &mut steps)? } else { Step::Stopped(at) };
        match step {
            Step::End => return end(positions),
            Step::Match(position) if position < low || position > high => return end(positions),
            Step::Match(position) => {
                positions.push(Position::new(position));
                at = if window.backward { position - 1 } else { position + 1 };
            }
            Step::Stopped(position) => {
                if position < low || position > high {
                    return end(positions);
                }
                let through = if window.backward { position + 1 } else { position - 1 };
                return Ok(Selection::Positions { positions, through: Position::new(through), at_end: false });
            }
        }
    }
}

/// The lists to intersect, if that is less work than reading the log.
fn plan<'v>(view: &'v View, filter: &Filter) -> Result<Option<Vec<AnyOf<'v>>>, Fault> {
    let mut fewest = fewest_named(view, filter)?;
    let prefix = match &filter.stream_prefix {
        Some(prefix) if fewest > PREFIX_EVENTS_MAX => events_with_prefix(view, prefix)?,
        Some(_) | None => None,
    };
    fewest = prefix.as_ref().map_or(fewest, |prefix| fewest.min(prefix.len() as u64));
    if fewest == u64::MAX || fewest.saturating_mul(SELECTIVE) > view.counts.events {
        return Ok(None);
    }
    let mut groups: Vec<AnyOf<'v>> = prefix.into_iter().map(|events| AnyOf::new(vec![Postings::Sorted(events)])).collect();
    for (kind, terms) in names(filter).into_iter().filter(|(_, terms)| !terms.is_empty()) {
        groups.push(any_of(view, kind, terms)?);
    }
    Ok(Some(groups))
}

/// How many events match at the most, by the counts of the filter's names; `None` if it has no names.
pub(super) fn matches_at_most(view: &View, filter: &Filter) -> Result<Option<u64>, Fault> {
    Ok(Some(fewest_named(view, filter)?).filter(|fewest| *fewest < u64::MAX))
}

/// Of the groups of names, the events of that which has the fewest.
fn fewest_named(view: &View, filter: &Filter) -> Result<u64, Fault> {
    let mut fewest = u64::MAX;
    for (kind, terms) in names(filter).into_iter().filter(|(_, terms)| !terms.is_empty()) {
        let mut events = 0;
        for term in terms {
            events += view.term_counts(kind, term)?.events;
        }
        fewest = fewest.min(events);
    }
    Ok(fewest)
}

fn names(filter: &Filter) -> [(TermKind, &[String]); 3] {
    [(TermKind::Category, &filter.categories), (TermKind::Type, &filter.types), (TermKind::Tag, &filter.tags)]
}

/// The sorted positions of all streams with a prefix; `None` if these are many.
fn events_with_prefix(view: &View, prefix: &str) -> Result<Option<Vec<u64>>, Fault> {
    let streams = view.streams(None, prefix, PREFIX_STREAMS_MAX + 1)?;
    let events: u64 = streams.iter().map(|(_, head)| head.version.get()).sum();
    if streams.len() > PREFIX_STREAMS_MAX || events > PREFIX_EVENTS_MAX {
        return Ok(None);
    }
    let mut positions = Vec::new();
    for (name, _) in &streams {
        let found = view.stream_positions(name, 1, usize::MAX, false)?;
        positions.extend(found.into_iter().map(|(_, position)| position).filter(|position| *position > 0));
    }
    positions.sort_unstable();
    Ok(Some(positions))
}

fn any_of<'v>(view: &'v View, kind: TermKind, terms: &[impl AsRef<str>]) -> Result<AnyOf<'v>, Fault> {
    let lists: Result<Vec<_>, Fault> =
        terms.iter().map(|term| Ok(Postings::Term(Box::new(TermCursor::new(view, kind, term.as_ref())?)))).collect();
    Ok(AnyOf::new(lists?))
}
