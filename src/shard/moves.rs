//! What went from one shard to another, and which shards have had a stream since?
//!
//! History is never copied: a shard that hands something over keeps what it has of it. So a stream may have its events in several logs,
//! and each shard that has had it is one *tenure*, the newest last.

use std::collections::HashMap;

use factum_storage::Position;
use serde::Deserialize;
use serde::Serialize;

use super::key_map::KeyMap;
use super::key_map::KeyRange;
use super::strategy::Strategy;

/// What changes hands at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    /// With `hash` and `ring`: these slots, ascending.
    Slots(Vec<u16>),
    /// With `range`: these keys.
    Keys(KeyRange),
    /// With `geo`: these slots of a region, ascending.
    Region { region: String, slots: Vec<u16> },
}

impl Part {
    /// How much it is: slots, or one range.
    pub(crate) fn count(&self) -> u32 {
        match self {
            Self::Slots(slots) | Self::Region { slots, .. } => u32::try_from(slots.len()).unwrap_or(u32::MAX),
            Self::Keys(_) => 1,
        }
    }

    /// What of it changes hands first, if so many slots do at once. A range does as a whole.
    pub(crate) fn first(self, slots_max: usize) -> Self {
        let some = |mut slots: Vec<u16>| {
            slots.truncate(slots_max);
            slots
        };
        match self {
            Self::Slots(slots) => Self::Slots(some(slots)),
            Self::Region { region, slots } => Self::Region { region, slots: some(slots) },
            keys @ Self::Keys(_) => keys,
        }
    }

    /// As logs tell of it.
    pub(super) fn told(&self) -> serde_json::Value {
        match self {
            Self::Slots(slots) => serde_json::json!({ "slots": slots }),
            Self::Keys(keys) => serde_json::json!({ "keys": keys }),
            Self::Region { region, slots } => serde_json::json!({ "region": region, "slots": slots }),
        }
    }
}

/// Something that went from one shard to another.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "StoredMove", into = "StoredMove")]
pub(crate) struct Move {
    /// The version of the topology that it made.
    pub(crate) version: u64,
    pub(crate) part: Part,
    pub(crate) from: u16,
    pub(crate) to: u16,
    /// Where the log of `from` was then: its events of this part up to here came before those of `to`.
    pub(crate) from_position: u64,
    /// Where the log of `to` was then: what it has of this part stands behind here.
    pub(crate) to_position: u64,
}

/// As it lies in the data directory.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct StoredMove {
    version: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    slots: Option<Vec<u16>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    region: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    keys: Option<KeyRange>,
    from: u16,
    to: u16,
    from_position: u64,
    to_position: u64,
}

impl From<Move> for StoredMove {
    fn from(moved: Move) -> Self {
        let Move { version, part, from, to, from_position, to_position } = moved;
        let (slots, region, keys) = match part {
            Part::Slots(slots) => (Some(slots), None, None),
            Part::Region { region, slots } => (Some(slots), Some(region), None),
            Part::Keys(keys) => (None, None, Some(keys)),
        };
        Self { version, slots, region, keys, from, to, from_position, to_position }
    }
}

impl TryFrom<StoredMove> for Move {
    type Error = String;

    fn try_from(stored: StoredMove) -> Result<Self, String> {
        let StoredMove { version, slots, region, keys, from, to, from_position, to_position } = stored;
        let part = match (slots, region, keys) {
            (Some(slots), None, None) => Part::Slots(slots),
            (Some(slots), Some(region), None) => Part::Region { region, slots },
            (None, None, Some(keys)) => Part::Keys(keys),
            (_, _, _) => return Err(format!("what moved by version {version} is neither slots nor keys")),
        };
        Ok(Self { version, part, from, to, from_position, to_position })
    }
}

/// One shard's time with a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Tenure {
    pub(crate) shard: u16,
    /// What the shard has of the stream from this time stands behind here in its log.
    pub(crate) since: Position,
}

/// The tenures of all that has moved, oldest first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Tenures {
    /// By region (0 if there are none) and slot. One that never moved is not there.
    slots: HashMap<(usize, u16), Vec<Tenure>>,
    /// With `range`, once one has moved: of every key, also of those that never did.
    keys: Option<KeyMap<Vec<Tenure>>>,
}

impl Tenures {
    /// Makes them of all moves, in this order, since the strategy was chosen.
    ///
    /// # Errors
    ///
    /// In words, if the moves do not follow from each other.
    pub(super) fn new(moves: &[Move], strategy: &Strategy) -> Result<Self, String> {
        let mut tenures = Self::default();
        for Move { part, from, to, to_position, .. } in moves {
            let since = Position::new(*to_position);
            match (part, strategy) {
                (Part::Slots(slots), Strategy::Hash | Strategy::Ring { .. }) => tenures.add_slots(0, slots, (*from, *to), since)?,
                (Part::Region { region, slots }, Strategy::Geo { regions, .. }) => {
                    let at = regions.iter().position(|known| known.name == *region);
                    tenures.add_slots(at.ok_or_else(|| format!("there is no region {region:?}"))?, slots, (*from, *to), since)?;
                }
                (Part::Keys(keys), Strategy::Range { splits }) => {
                    let map = match &mut tenures.keys {
                        Some(map) => map,
                        none @ None => none.insert(first(splits)?),
                    };
                    map.change(keys, |had| follow(had, (*from, *to), since).map_err(|detail| format!("keys {keys}: {detail}")))?;
                }
                (part, strategy) => return Err(format!("{} moved, and the strategy is {}", part.told(), strategy.as_str())),
            }
        }
        Ok(tenures)
    }

    fn add_slots(&mut self, region: usize, slots: &[u16], (from, to): (u16, u16), since: Position) -> Result<(), String> {
        for slot in slots {
            let had = self.slots.entry((region, *slot)).or_insert_with(|| vec![Tenure { shard: from, since: Position::ZERO }]);
            follow(had, (from, to), since).map_err(|detail| format!("slot {slot}: {detail}"))?;
        }
        Ok(())
    }

    /// Those of a slot of a region; `None` if it never moved.
    pub(super) fn of_slot(&self, region: usize, slot: u16) -> Option<&[Tenure]> {
        self.slots.get(&(region, slot)).map(Vec::as_slice)
    }

    /// Those of a key; `None` if it never moved.
    pub(super) fn of_key(&self, key: &str) -> Option<&[Tenure]> {
        self.keys.as_ref().map(|map| map.of(key).as_slice()).filter(|had| had.len() > 1)
    }

    /// Whether nothing ever moved.
    pub(super) fn is_empty(&self) -> bool {
        self.slots.is_empty() && self.keys.is_none()
    }

    /// The owners of all slots that have moved, by region and slot.
    pub(super) fn slot_owners(&self) -> impl Iterator<Item = (usize, u16, u16)> {
        self.slots.iter().filter_map(|((region, slot), had)| Some((*region, *slot, had.last()?.shard)))
    }

    /// All ranges that differ in who has had them, once one has moved.
    pub(super) fn ranges(&self) -> impl Iterator<Item = KeyRange> {
        self.keys.iter().flat_map(KeyMap::iter).map(|(range, _)| range)
    }

    /// Who has had a key last, once any has moved.
    pub(super) fn key_owner(&self, key: &str) -> Option<u16> {
        self.keys.as_ref()?.of(key).last().map(|tenure| tenure.shard)
    }
}

/// Each range as it was when the strategy was chosen: its shard has had it from the start.
fn first(splits: &[String]) -> Result<KeyMap<Vec<Tenure>>, String> {
    let starts = std::iter::once(String::new()).chain(splits.iter().cloned());
    KeyMap::new(starts.zip((0..).map(|shard| vec![Tenure { shard, since: Position::ZERO }])))
}

fn follow(had: &mut Vec<Tenure>, (from, to): (u16, u16), since: Position) -> Result<(), String> {
    let owner = had.last().map(|tenure| tenure.shard);
    if owner != Some(from) || from == to {
        return Err(format!("went from shard {from} to {to}, and shard {owner:?} had it"));
    }
    had.push(Tenure { shard: to, since });
    Ok(())
}
