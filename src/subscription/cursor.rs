//! How is a point in the log of all shards told to a client, and read back?

use std::fmt;
use std::hash::Hash;
use std::hash::Hasher;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use factum_storage::Position;
use factum_storage::RecordedEvent;
use xxhash_rust::xxh3::xxh3_64;

use crate::Error;
use crate::shard::Handle;
use crate::shard::Router;

/// A point in the log of all shards. With one shard it reads as the position in decimal; with several as `c` and a text that holds all
/// positions, which database and topology they are of, and a checksum. Two that hold the same positions are the same.
#[derive(Clone, Debug)]
pub struct Cursor {
    positions: Vec<Position>,
    /// Of which database and topology; 0: of the one that it was found in.
    stamp: u32,
}

impl PartialEq for Cursor {
    fn eq(&self, other: &Self) -> bool {
        self.positions == other.positions
    }
}

impl Eq for Cursor {}

impl Hash for Cursor {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.positions.hash(state);
    }
}

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
        match self.positions.as_slice() {
            [only] => only.fmt(f),
            several => f.write_str(&packed(several, self.stamp)),
        }
    }
}

impl Cursor {
    /// A point that was kept: it is of the database that it lies in.
    pub(crate) fn new(positions: Vec<Position>) -> Self {
        Self { positions, stamp: 0 }
    }

    /// A point of this database.
    pub(crate) fn of(router: &Router, positions: Vec<Position>) -> Self {
        let stamp = router.stamp(positions.len());
        Self { positions, stamp }
    }

    /// Where each shard stands, shard 0 first.
    #[must_use]
    pub fn positions(&self) -> &[Position] {
        &self.positions
    }

    /// Whether everything that `other` has seen was seen here too.
    #[must_use]
    pub fn covers(&self, other: &Self) -> bool {
        // A shard that joined later begins at its start.
        let mut there = (0_u16..).zip(&other.positions);
        there.all(|(shard, position)| self.position(shard) >= *position)
    }

    pub(crate) fn start(router: &Router) -> Self {
        Self::of(router, router.shards().iter().map(|_| Position::ZERO).collect())
    }

    pub(crate) fn end(router: &Router) -> Self {
        loop {
            // What a shard has of slots that it was handed is not seen without what came before: that is committed by the time that the
            // topology says so.
            let table = router.table();
            let positions = table.shards().iter().map(Handle::committed).collect();
            if router.topology().version() == table.topology().version() {
                return Self::of(router, positions);
            }
        }
    }

    /// The position in one shard's log.
    pub(crate) fn position(&self, shard: u16) -> Position {
        self.positions.get(usize::from(shard)).copied().unwrap_or_default()
    }

    /// Moves on in one shard's log; never back.
    pub(crate) fn advance(&mut self, shard: u16, position: Position) {
        let place = usize::from(shard);
        if self.positions.len() <= place {
            self.positions.resize(place + 1, Position::ZERO);
        }
        if let Some(here) = self.positions.get_mut(place) {
            *here = position.max(*here);
        }
    }

    /// The same, at the start of one shard's log.
    pub(crate) fn at_start_of(mut self, shard: u16) -> Self {
        if let Some(here) = self.positions.get_mut(usize::from(shard)) {
            *here = Position::ZERO;
        }
        self
    }

    /// The same, one position further in each shard: a backward read from there begins with the event at this one.
    pub(crate) fn behind(self) -> Self {
        Self { positions: self.positions.into_iter().map(Position::next).collect(), stamp: self.stamp }
    }

    /// Reads a cursor. One that leads on from a backward read may stand just behind a shard's end; none may stand further.
    pub(crate) fn parse(text: &str, router: &Router) -> Result<Self, Error> {
        // The start, however many shards there are.
        if text == "0" {
            return Ok(Self::start(router));
        }
        let topology = router.topology();
        // A number is of a time when there was one shard.
        let number = position(text).filter(|_| topology.began_with() == 1).map(|position| Self::of(router, vec![position]));
        let cursor = match number {
            Some(cursor) => Ok(cursor),
            None if topology.shards() == 1 => Err("it is a number; take it from an answer as it is"),
            None => unpacked(text),
        };
        let mut cursor = cursor.map_err(|detail| bad(text, detail.to_owned()))?;
        if cursor.stamp != 0 && cursor.stamp != router.stamp(cursor.positions.len()) {
            return Err(bad(text, "it is of another database, or of another topology of this one".to_owned()));
        }
        cursor.check(router, 1)?;
        // Shards that have joined since: from their start.
        cursor.positions.resize(usize::from(topology.shards()).max(cursor.positions.len()), Position::ZERO);
        Ok(Self::of(router, cursor.positions))
    }

    /// Checks that the cursor is of this database, and not from its future: that would skip what is appended until then.
    pub(crate) fn check(&self, router: &Router, beyond_max: u64) -> Result<(), Error> {
        let table = router.table();
        // One that was given out before a shard has joined has no position of it.
        let known = usize::from(table.topology().began_with())..=table.shards().len();
        if !known.contains(&self.positions.len()) {
            let detail = format!("it has {} position(s), this database has {} shard(s)", self.positions.len(), table.shards().len());
            return Err(bad(&self.to_string(), detail));
        }
        // How far an absent shard is, nobody knows; whoever reads is told that it is absent.
        for (shard, position) in table.shards().iter().zip(&self.positions).filter(|(shard, _)| !shard.is_absent()) {
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

/// The text of a cursor over several shards.
fn packed(positions: &[Position], stamp: u32) -> String {
    let mut bytes = vec![FORMAT];
    bytes.extend_from_slice(&stamp.to_le_bytes());
    for position in positions {
        let mut rest = position.get();
        while rest >= 0x80 {
            bytes.push((rest & 0x7F) as u8 | 0x80);
            rest >>= 7;
        }
        bytes.push((rest & 0x7F) as u8);
    }
    let check = checksum(&bytes);
    bytes.extend_from_slice(&check);
    format!("{MARK}{}", URL_SAFE_NO_PAD.encode(bytes))
}

/// Reads [`packed`] back; there is one text for each cursor.
fn unpacked(text: &str) -> Result<Cursor, &'static str> {
    const FOREIGN: &str = "it is none of a database with several shards; take it from an answer as it is";
    const BROKEN: &str = "a part of it is missing or was changed; take it from an answer as it is";
    let coded = text.strip_prefix(MARK).filter(|coded| coded.len() <= CODED_BYTES_MAX).ok_or(FOREIGN)?;
    let bytes = URL_SAFE_NO_PAD.decode(coded).map_err(|_| BROKEN)?;
    let (content, check) = bytes.split_last_chunk::<CHECK_BYTES>().ok_or(BROKEN)?;
    if checksum(content) != *check {
        return Err(BROKEN);
    }
    let ([format, stamp @ ..], mut rest) = content.split_first_chunk::<5>().ok_or(BROKEN)?;
    if *format != FORMAT {
        return Err("it is of another version of Factum");
    }
    let mut positions = Vec::new();
    while !rest.is_empty() {
        let (position, behind) = varint(rest).ok_or(BROKEN)?;
        positions.push(Position::new(position));
        rest = behind;
    }
    Ok(Cursor { positions, stamp: u32::from_le_bytes(*stamp) })
}

/// A number in its only form, and what stands behind it.
fn varint(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let length = bytes.iter().position(|byte| byte & 0x80 == 0)? + 1;
    let (own, behind) = bytes.split_at_checked(length)?;
    let has_zeros_in_front = length > 1 && own.last() == Some(&0);
    let number = own.iter().rev().try_fold(0_u64, |sum, byte| Some(sum.checked_mul(0x80)? + u64::from(byte & 0x7F)));
    number.filter(|_| !has_zeros_in_front).map(|number| (number, behind))
}

fn checksum(bytes: &[u8]) -> [u8; CHECK_BYTES] {
    let [check @ .., _, _, _, _, _] = xxh3_64(bytes).to_le_bytes();
    check
}

/// What was given may be anything, of any length: only its beginning is repeated.
fn bad(text: &str, detail: String) -> Error {
    Error::BadCursor { cursor: text.chars().take(CURSOR_TOLD_MAX).collect(), detail }
}

const CURSOR_TOLD_MAX: usize = 200;
/// What the text of a cursor over several shards begins with.
const MARK: char = 'c';
/// Of what is in it.
const FORMAT: u8 = 1;
const CHECK_BYTES: usize = 3;
/// More than the positions of as many shards as there can be take.
const CODED_BYTES_MAX: usize = 4_096;

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

    fn cursor(positions: &[u64]) -> Cursor {
        Cursor::new(positions.iter().copied().map(Position::new).collect())
    }

    #[test]
    fn a_cursor_covers_what_it_has_seen_in_every_shard() {
        assert_eq!(cursor(&[42]).to_string(), "42");
        assert!(cursor(&[2, 2]).covers(&cursor(&[2, 1])));
        assert!(!cursor(&[2, 0]).covers(&cursor(&[2, 1])));
        assert!(!cursor(&[2]).covers(&cursor(&[2, 1])));
    }

    #[test]
    fn cursors_over_several_shards_are_short_and_pinned() {
        let four = Cursor { stamp: 0x1234_5678, ..cursor(&[1_042, 0, 7, 1_000_000]) };
        assert_eq!(four.to_string(), "cAXhWNBKSCAAHwIQ9-Boe");
        assert_eq!(unpacked(&four.to_string()).map(|read| (read.positions, read.stamp)), Ok((four.positions, 0x1234_5678)));
        let many = cursor(&[u64::MAX; 256]).to_string();
        assert!(many.len() <= CODED_BYTES_MAX);
        assert_eq!(unpacked(&many), Ok(cursor(&[u64::MAX; 256])));
    }

    /// S6: whatever is changed, left out or put behind a cursor, it is not taken for another one.
    #[test]
    fn s6_a_cursor_that_was_changed_is_none() {
        let text = cursor(&[1_042, 0, 7, 1_000_000]).to_string();
        let letters = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.=";
        for at in 0..text.len() {
            assert!(unpacked(text.get(..at).unwrap()).is_err(), "cut at {at}");
            for letter in letters {
                let mut changed = text.clone().into_bytes();
                changed[at] = *letter;
                let changed = String::from_utf8(changed).unwrap();
                assert!(changed == text || unpacked(&changed).is_err(), "{changed}");
            }
        }
        for longer in [format!("{text}A"), format!("{text}="), format!(" {text}"), format!("{text}{text}"), "c".repeat(100_000)] {
            assert!(unpacked(&longer).is_err(), "{longer}");
        }
        // A checksum is not hard to make; what is in it must be in its one form all the same.
        for content in [
            &[][..],
            &[FORMAT],
            &[FORMAT, 0, 0, 0, 0, 0x80],
            &[FORMAT, 0, 0, 0, 0, 0x80, 0],
            &[2, 0, 0, 0, 0, 1],
            &[&[FORMAT, 0, 0, 0, 0][..], &[0xFF; 10], &[1]].concat(),
        ] {
            let bytes = [content, &checksum(content)].concat();
            assert!(unpacked(&format!("{MARK}{}", URL_SAFE_NO_PAD.encode(bytes))).is_err(), "{content:?}");
        }
    }
}
