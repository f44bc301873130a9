//! What does a module usually look at? Mostly at the row that is named after an event's stream, and at no other.

use std::collections::HashSet;
use std::hash::BuildHasher as _;

use bytes::Bytes;
use foldhash::fast::FixedState;

use super::Value;

/// An event that a module is asked about.
#[derive(Clone, Debug)]
pub(in crate::projection) struct Asked {
    /// The JSON text of it.
    pub(in crate::projection) text: Bytes,
    /// The key of the row that is named after its stream, if a name can be a key.
    pub(in crate::projection) own_key: Option<Value>,
}

/// What a module was seen to do. What is guessed by it saves time if it is right, and changes nothing if it is not.
#[derive(Debug, Default)]
pub(in crate::projection) struct Habit {
    /// It looks at its events' own rows: they are told before it has to ask, and so it is not asked twice.
    looks_at_own: bool,
    /// So many calls are still made for all events together, since some of them kept to their own rows no longer,
    together: u32,
    /// and so many the next time.
    together_next: u32,
}

impl Habit {
    /// The key of a row that the module will look at.
    pub(in crate::projection) fn key<'a>(&self, asked: &'a Asked) -> Option<&'a Value> {
        asked.own_key.as_ref().filter(|_| self.looks_at_own)
    }

    /// The module has asked for these rows of its own view (JSON texts of their keys).
    pub(super) fn learn(&mut self, asked: &[Asked], wanted: &[String]) {
        let own: HashSet<String> = asked.iter().filter_map(|asked| Some(asked.own_key.as_ref()?.to_json().to_string())).collect();
        self.looks_at_own |= wanted.iter().filter(|text| own.contains(*text)).count() * 2 > wanted.len();
    }

    /// Whether events of different streams may be asked about side by side.
    pub(super) fn may_go_apart(&mut self) -> bool {
        self.together = self.together.saturating_sub(1);
        self.together == 0
    }

    /// Whether it was right to go apart.
    pub(super) fn went_apart(&mut self, is_right: bool) {
        self.together_next = if is_right { 1 } else { (self.together_next * 2).clamp(1, TOGETHER_MAX) };
        self.together = if is_right { 0 } else { self.together_next + 1 };
    }
}

/// In which of two lanes the events stand that have this row as their own.
pub(super) fn lane(key: &Value) -> usize {
    usize::from(FixedState::default().hash_one(key) & 1 == 1)
}

/// A module that keeps to its rows most of the time loses no more than a call in so many.
const TOGETHER_MAX: u32 = 64;
