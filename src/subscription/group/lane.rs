//! What waits in line? The events of one stream, in order; without an order, each event is a line of its own.

use std::collections::VecDeque;
use std::sync::Arc;

use factum_storage::RecordedEvent;
use tokio::time::Instant;

use super::books::ConsumerId;
use super::terms::Ordering;

/// Which line. Streams are told apart by a hash that is long enough to be taken for the name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct LaneKey(u128);

/// Events that are given out in order, to one consumer at a time.
pub(super) struct Lane {
    pub(super) stream: Arc<str>,
    /// By version, as a stream's events may lie on several shards. What is with the consumer stands first; behind a parked one nothing
    /// is given out.
    pub(super) items: VecDeque<Item>,
    /// Who has the events that are given out.
    pub(super) owner: Option<ConsumerId>,
    /// How many are given out.
    pub(super) given: usize,
    /// How many are parked.
    pub(super) parked: usize,
    /// When the first one given out must be acknowledged.
    pub(super) deadline: Option<Instant>,
    /// Nothing is given out before.
    pub(super) retry_at: Option<Instant>,
    /// As it stands among the timers.
    pub(super) timer: Option<Instant>,
    /// It stands where those look who may take from it.
    pub(super) is_listed: bool,
    /// Bodies are to be read from the log.
    pub(super) is_wanting: bool,
}

/// An event that is not done.
pub(super) struct Item {
    pub(super) shard: u16,
    pub(super) position: u64,
    pub(super) version: u64,
    /// How often it has failed.
    pub(super) attempts: u32,
    /// It has a row of its own, so the checkpoint may pass it.
    pub(super) is_kept: bool,
    /// It is known from its row, and the log is not read up to here yet: what comes before it may not be known.
    pub(super) is_ahead: bool,
    pub(super) state: State,
}

/// Where an event is.
pub(super) enum State {
    /// It is with nobody; its body, unless it must be read from the log again.
    Waiting(Option<Box<RecordedEvent>>),
    /// It is with a consumer, under this number.
    Given(u64),
    /// Somebody has to look at it.
    Parked,
}

impl Item {
    /// Whether it can be given out, once its body is there and those before it are given out.
    pub(super) fn is_waiting(&self) -> bool {
        matches!(self.state, State::Waiting(_)) && !self.is_ahead
    }
}

impl LaneKey {
    pub(super) fn of(ordering: Ordering, shard: u16, stream: &str, position: u64) -> Self {
        match ordering {
            Ordering::Stream => Self(xxhash_rust::xxh3::xxh3_128(stream.as_bytes())),
            Ordering::None => Self(u128::from(shard) << 64 | u128::from(position)),
        }
    }
}

impl Lane {
    pub(super) fn new(stream: Arc<str>) -> Self {
        Self {
            stream,
            items: VecDeque::with_capacity(1),
            owner: None,
            given: 0,
            parked: 0,
            deadline: None,
            retry_at: None,
            timer: None,
            is_listed: false,
            is_wanting: false,
        }
    }

    pub(super) fn index_of(&self, version: u64) -> Result<usize, usize> {
        self.items.binary_search_by_key(&version, |item| item.version)
    }

    /// The next event to give out, if none that is parked stands before it and no pause is on.
    pub(super) fn next(&self) -> Option<&Item> {
        if self.retry_at.is_some() {
            return None;
        }
        // What is given out stands first.
        self.items.get(self.given).filter(|item| item.is_waiting())
    }

    /// Where the first parked one stands.
    pub(super) fn first_parked(&self) -> Option<usize> {
        if self.parked == 0 { None } else { self.items.iter().position(|item| matches!(item.state, State::Parked)) }
    }
}
