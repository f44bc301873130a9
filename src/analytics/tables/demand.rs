//! Which events does a table's reader want, as far as the log can tell them apart by itself?

use std::collections::BTreeSet;
use std::fmt;
use std::ops::RangeInclusive;
use std::sync::Arc;

use factum_storage::EventId;
use factum_storage::Filter;
use factum_storage::RecordedEvent;
use factum_storage::category;
use factum_storage::is_system;

use super::super::VisibleStreams;

/// Everything that must hold for an event. Whatever is asked of the index is only less work: an event is given if [`Demand::matches`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Demand {
    /// `None`: any.
    pub(super) categories: Option<BTreeSet<String>>,
    pub(super) types: Option<BTreeSet<String>>,
    pub(super) streams: Option<BTreeSet<String>>,
    pub(super) ids: Option<BTreeSet<EventId>>,
    /// Of each group it has one.
    pub(super) tags: Vec<BTreeSet<String>>,
    /// It begins with all of them.
    pub(super) prefixes: BTreeSet<String>,
    pub(super) positions: Span,
    pub(super) versions: Span,
    pub(super) shards: Span,
    /// Microseconds.
    pub(super) recorded: Span,
    /// Who asks sees no others, whatever they ask.
    pub(super) only: Option<Arc<VisibleStreams>>,
    /// Shards that can't be asked, and need not be.
    pub(super) left_out: Arc<[u16]>,
}

/// A range of numbers, both ends inclusive; empty if the first is behind the last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) first: i64,
    pub(super) last: i64,
}

impl Default for Span {
    fn default() -> Self {
        Self { first: i64::MIN, last: i64::MAX }
    }
}

impl Span {
    pub(super) fn narrow(&mut self, to: &RangeInclusive<i64>) {
        self.first = self.first.max(*to.start());
        self.last = self.last.min(*to.end());
    }

    pub(super) fn contains(self, number: i64) -> bool {
        self.first <= number && number <= self.last
    }

    fn contains_count(self, number: u64) -> bool {
        self.contains(i64::try_from(number).unwrap_or(i64::MAX))
    }
}

impl Demand {
    /// All events of a category, or of all.
    pub(super) fn of(category: Option<&str>) -> Self {
        Self { categories: category.map(|category| BTreeSet::from([category.to_owned()])), ..Self::default() }
    }

    /// The same, for who sees these streams alone.
    pub(super) fn seen_by(mut self, only: Option<&Arc<VisibleStreams>>) -> Self {
        let Some(only) = only else { return self };
        self.streams = only.names().cloned();
        self.prefixes.extend(only.beginning().cloned());
        self.only = Some(Arc::clone(only));
        self
    }

    /// The same, of all shards but these.
    pub(super) fn without(mut self, left_out: &Arc<[u16]>) -> Self {
        self.left_out = Arc::clone(left_out);
        self
    }

    /// Whether anything of a shard is wanted.
    pub(super) fn wants_shard(&self, shard: u16) -> bool {
        self.shards.contains(i64::from(shard)) && !self.left_out.contains(&shard)
    }

    /// Whether the event is wanted.
    pub(super) fn matches(&self, shard: u16, event: &RecordedEvent) -> bool {
        let is_in = |set: &Option<BTreeSet<String>>, value: &str| set.as_ref().is_none_or(|set| set.contains(value));
        let stream = event.stream();
        !is_system(stream)
            && self.only.as_ref().is_none_or(|only| only.shows(stream))
            && self.positions.contains_count(event.position().get())
            && self.versions.contains_count(event.version().get())
            && self.shards.contains(i64::from(shard))
            && self.recorded.contains(event.recorded_at().as_micros())
            && is_in(&self.streams, stream)
            && (self.categories.is_none() || is_in(&self.categories, category(stream)))
            && is_in(&self.types, event.event_type())
            && self.ids.as_ref().is_none_or(|ids| ids.contains(&event.id()))
            && self.prefixes.iter().all(|prefix| stream.starts_with(prefix.as_str()))
            && self.tags.iter().all(|group| event.tags().any(|tag| group.contains(tag)))
    }

    /// What the index is asked for: all that [`Demand::matches`], perhaps more.
    pub(super) fn filter(&self) -> Filter {
        let list = |set: &Option<BTreeSet<String>>| set.iter().flatten().cloned().collect();
        Filter {
            categories: list(&self.categories),
            types: list(&self.types),
            tags: self.tags.first().into_iter().flatten().cloned().collect(),
            // The longest begins with the others, or there is nothing that begins with all.
            stream_prefix: self.prefixes.iter().max_by_key(|prefix| prefix.len()).cloned(),
            leave_out_undecided: !self.left_out.is_empty(),
            ..Filter::default()
        }
    }

    /// Whether there is nothing more to tell of an event than what the filter and the piece of the log tell.
    pub(super) fn is_told_by_filter(&self) -> bool {
        let has_one_name = self.tags.len() <= 1 && self.prefixes.len() <= 1;
        has_one_name && self.streams.is_none() && self.ids.is_none() && self.versions == Span::default() && self.only.is_none()
    }

    /// Whether no event can match.
    pub(super) fn is_empty(&self) -> bool {
        let is_empty = |set: &Option<BTreeSet<String>>| set.as_ref().is_some_and(BTreeSet::is_empty);
        let spans = [self.positions, self.versions, self.shards, self.recorded];
        is_empty(&self.categories)
            || is_empty(&self.types)
            || is_empty(&self.streams)
            || self.ids.as_ref().is_some_and(BTreeSet::is_empty)
            || self.tags.iter().any(BTreeSet::is_empty)
            || spans.iter().any(|span| span.first > span.last)
    }
}

impl fmt::Display for Demand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sets = [("category", &self.categories), ("type", &self.types), ("stream", &self.streams)];
        let named: Vec<String> =
            sets.into_iter().filter_map(|(name, set)| Some(format!("{name} in {}", list(set.as_ref()?.iter())))).collect();
        let tags = self.tags.iter().map(|group| format!("tags has any of {}", list(group.iter())));
        let prefixes = self.prefixes.iter().map(|prefix| format!("stream begins with {prefix:?}"));
        let spans = [("position", self.positions), ("version", self.versions), ("shard", self.shards), ("recorded_at", self.recorded)];
        let spans = spans.into_iter().filter(|(_, span)| *span != Span::default()).map(|(name, span)| format!("{name} {span}"));
        let ids = self.ids.iter().map(|ids| format!("id one of {}", ids.len()));
        let only = self.only.iter().map(|_| "streams that may be seen".to_owned());
        let all: Vec<String> = named.into_iter().chain(tags).chain(prefixes).chain(spans).chain(ids).chain(only).collect();
        if all.is_empty() { f.write_str("all events") } else { f.write_str(&all.join(", ")) }
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.first > i64::MIN, self.last < i64::MAX) {
            (true, true) => write!(f, "from {} to {}", self.first, self.last),
            (true, false) => write!(f, "from {}", self.first),
            (false, _) => write!(f, "to {}", self.last),
        }
    }
}

fn list<'a>(names: impl ExactSizeIterator<Item = &'a String>) -> String {
    let count = names.len();
    let shown: Vec<String> = names.take(SHOWN_MAX).map(|name| format!("{name:?}")).collect();
    let more = if count > SHOWN_MAX { ", …" } else { "" };
    format!("({}{more})", shown.join(", "))
}

/// So many names are told of a long list.
const SHOWN_MAX: usize = 5;
