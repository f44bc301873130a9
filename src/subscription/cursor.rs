//! How is a point in the log of all shards told to a client, and read back?

use std::fmt;

use factum_storage::Position;
use factum_storage::RecordedEvent;

use crate::Error;
use crate::shard::Router;

/// A point in the log of all shards. With one shard it reads as the position in decimal; with several as the positions joined by `.`,
/// shard 0 first.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Cursor(pub(crate) Vec<Position>);

/// Where a read or a feed begins (exclusive).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum After {
    /// Before the first event. Backward: nothing.
    Start,
    /// Behind the last committed event.
    End,
    /// Behind what this cursor has seen.
    Cursor(Cursor),
}

/// An event with the shard it is on.
#[derive(Clone, Debug)]
pub struct Event {
    /// Which shard.
    pub shard: u16,
    /// The event.
    pub record: RecordedEvent,
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (shard, position) in self.0.iter().enumerate() {
            if shard > 0 {
                f.write_str(".")?;
            }
            position.fmt(f)?;
        }
        Ok(())
    }
}

impl Cursor {
    /// Where each shard stands, shard 0 first.
    #[must_use]
    pub fn positions(&self) -> &[Position] {
        &self.0
    }

    /// Whether everything that `other` has seen was seen here too.
    #[must_use]
    pub fn covers(&self, other: &Self) -> bool {
        self.0.len() == other.0.len() && self.0.iter().zip(&other.0).all(|(here, there)| here >= there)
    }

    pub(crate) fn start(router: &Router) -> Self {
        Self(router.shards().iter().map(|_| Position::ZERO).collect())
    }

    pub(crate) fn end(router: &Router) -> Self {
        Self(router.shards().iter().map(|shard| shard.committed()).collect())
    }

    /// The position in one shard's log.
    pub(crate) fn position(&self, shard: u16) -> Position {
        self.0.get(usize::from(shard)).copied().unwrap_or_default()
    }

    /// Reads a cursor. One that leads on from a backward read may stand just behind a shard's end; none may stand further.
    pub(crate) fn parse(text: &str, router: &Router) -> Result<Self, Error> {
        // The start, however many shards there are.
        if text == "0" {
            return Ok(Self::start(router));
        }
        let positions: Option<Vec<Position>> = text.split('.').take(usize::from(router.count()) + 1).map(position).collect();
        let cursor = Self(positions.ok_or_else(|| bad(text, "it is made of numbers; take it from an answer as it is".to_owned()))?);
        let found = text.split('.').count();
        if found != usize::from(router.count()) {
            let detail = format!("it has {found} position(s), this database has {} shard(s)", router.count());
            return Err(bad(text, detail));
        }
        cursor.check(router, 1)?;
        Ok(cursor)
    }

    /// Checks that the cursor is of this database, and not from its future: that would skip what is appended until then.
    pub(crate) fn check(&self, router: &Router, beyond_max: u64) -> Result<(), Error> {
        if self.0.len() != router.shards().len() {
            let detail = format!("it has {} position(s), this database has {} shard(s)", self.0.len(), router.count());
            return Err(bad(&self.to_string(), detail));
        }
        for (shard, position) in router.shards().iter().zip(&self.0) {
            let committed = shard.committed();
            if position.get() > committed.get().saturating_add(beyond_max) {
                let detail = format!("position {position} is beyond the end of shard {}, which is {committed}", shard.number());
                return Err(bad(&self.to_string(), detail));
            }
        }
        Ok(())
    }
}

fn position(text: &str) -> Option<Position> {
    let is_plain = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    if is_plain { text.parse().ok().map(Position::new) } else { None }
}

/// What was given may be anything, of any length: only its beginning is repeated.
fn bad(text: &str, detail: String) -> Error {
    Error::BadCursor { cursor: text.chars().take(CURSOR_TOLD_MAX).collect(), detail }
}

const CURSOR_TOLD_MAX: usize = 200;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_position_is_a_plain_number() {
        for (text, expected) in [("0", Some(0)), ("1", Some(1)), ("18446744073709551615", Some(u64::MAX))] {
            assert_eq!(position(text).map(Position::get), expected, "{text}");
        }
        for text in ["", "+1", "-1", "01", "1 ", "18446744073709551616", "1e3", "٣", "0x1"] {
            assert_eq!(position(text), None, "{text}");
        }
    }

    #[test]
    fn cursors_read_as_their_positions() {
        let cursor = |positions: &[u64]| Cursor(positions.iter().copied().map(Position::new).collect());
        assert_eq!(cursor(&[42]).to_string(), "42");
        assert_eq!(cursor(&[1, 0, 7]).to_string(), "1.0.7");
        assert!(cursor(&[2, 2]).covers(&cursor(&[2, 1])));
        assert!(!cursor(&[2, 0]).covers(&cursor(&[2, 1])));
        assert!(!cursor(&[2]).covers(&cursor(&[2, 1])));
    }
}
