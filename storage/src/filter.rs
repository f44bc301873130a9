//! Which events does somebody want?

use std::sync::Arc;

use crate::RecordedEvent;
use crate::Timestamp;
use crate::category;
use crate::is_system;

/// Which events a read or a feed gives. Values of one name are ORed, names are ANDed; an empty name does not filter.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// What stands before the first `-` of the stream's name.
    pub categories: Vec<String>,
    /// Event types.
    pub types: Vec<String>,
    /// Any of these tags.
    pub tags: Vec<String>,
    /// How the stream's name begins.
    pub stream_prefix: Option<String>,
    /// Exclusive.
    pub recorded_after: Option<Timestamp>,
    /// Exclusive.
    pub recorded_before: Option<Timestamp>,
    /// Events of `$` streams too.
    pub include_system: bool,
    /// Leaves out events of which nobody can tell whether they are hidden, since the log that would is missing. Else that is an error.
    pub leave_out_undecided: bool,
}

impl Filter {
    /// Whether the event is wanted. Visibility (deleted, retired) is not looked at here.
    #[must_use]
    pub fn matches(&self, event: &RecordedEvent) -> bool {
        let stream = event.stream();
        (self.include_system || !is_system(stream))
            && (self.categories.is_empty() || self.categories.iter().any(|wanted| wanted == category(stream)))
            && (self.types.is_empty() || self.types.iter().any(|wanted| wanted == event.event_type()))
            && (self.tags.is_empty() || event.tags().any(|tag| self.tags.iter().any(|wanted| wanted == tag)))
            && self.stream_prefix.as_ref().is_none_or(|prefix| stream.starts_with(prefix.as_str()))
            && self.recorded_after.is_none_or(|after| event.recorded_at() > after)
            && self.recorded_before.is_none_or(|before| event.recorded_at() < before)
    }

    /// Whether every event but the system's is wanted.
    #[must_use]
    pub fn is_everything(&self) -> bool {
        let Self { include_system, leave_out_undecided, .. } = *self;
        *self == Self { include_system, leave_out_undecided, ..Self::default() }
    }
}

/// One item of a condition: an event matches if its type is one of `types` and it has all of `tags`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct QueryItem {
    /// ORed; none means any type.
    pub types: Vec<Arc<str>>,
    /// ANDed.
    pub tags: Vec<Arc<str>>,
}

impl QueryItem {
    /// Whether the event matches.
    #[must_use]
    pub fn matches(&self, event: &RecordedEvent) -> bool {
        (self.types.is_empty() || self.types.iter().any(|wanted| &**wanted == event.event_type()))
            && self.tags.iter().all(|wanted| event.tags().any(|tag| tag == &**wanted))
    }
}
