//! Which shard owns which streams? One table with a version, whatever strategy has made it.

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::sync::Arc;

use factum_storage::Position;
use factum_storage::STREAMS_STREAM;
use factum_storage::StreamName;
use serde::Deserialize;
use serde::Serialize;
use xxhash_rust::xxh3::xxh3_64;

use super::hash_ring;
use super::moves;
use super::moves::Move;
use super::moves::Tenure;
use super::moves::Tenures;
use super::partition;
use super::partition::SLOTS;
use super::strategy::Region;
use super::strategy::Strategy;
use crate::Error;

/// Who owns what. Clones are the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Topology {
    inner: Arc<Inner>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Inner {
    version: u64,
    shards: u16,
    strategy: Strategy,
    /// The owner of each slot; with ranges and regions there is none.
    slots: Vec<u16>,
    /// How many shards there were at first.
    began_with: u16,
    /// All hand-overs since, oldest first.
    moves: Vec<Move>,
    tenures: Tenures,
    /// Shards that are to own nothing any more.
    drained: BTreeSet<u16>,
    /// What is being done to it, until it is.
    goal: Option<Goal>,
    /// Shards that other servers have.
    elsewhere: BTreeSet<u16>,
}

/// As it lies in the data directory.
#[derive(Serialize, Deserialize)]
struct Stored {
    version: u64,
    shards: u16,
    by: Strategy,
    slots: Option<Vec<u16>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    began_with: Option<u16>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    moves: Vec<Move>,
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    drained: BTreeSet<u16>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    goal: Option<Goal>,
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    elsewhere: BTreeSet<u16>,
}

/// Where a stream lives, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Placement {
    /// On which shard.
    pub shard: u16,
    /// What of its name decides: the text between braces, else all of it.
    pub partition_key: String,
    /// By what.
    pub reason: Reason,
}

/// Why a stream lives where it does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reason {
    /// The key's hash leads to a slot, and the slot to the shard.
    Slot {
        /// XXH3 of the key.
        hash: u64,
        /// The hash modulo 4,096.
        slot: u16,
    },
    /// The key lies in a range.
    Range {
        /// Where it begins (inclusive); `None`: with the first key.
        from: Option<String>,
        /// Where it ends (exclusive); `None`: with the last key.
        to: Option<String>,
    },
    /// The key belongs to a region.
    Region {
        /// Which. `None`: to none, and there is no default: nothing can be written to the stream.
        region: Option<String>,
        /// The pattern that matches; `None`: it is the default.
        pattern: Option<String>,
    },
    /// Streams of the system are on the first shard, if keys have an order or a place.
    System,
}

impl Topology {
    /// What a strategy makes of so many shards, once it is settled.
    pub(crate) fn new(shards: u16, strategy: Strategy) -> Self {
        let slots = match &strategy {
            Strategy::Hash => (0..SLOTS).map(|slot| slot % shards).collect(),
            Strategy::Ring { weights } => hash_ring::owners(weights),
            Strategy::Range { .. } | Strategy::Geo { .. } => Vec::new(),
        };
        let (moves, tenures, drained, elsewhere) = (Vec::new(), Tenures::new(), BTreeSet::new(), BTreeSet::new());
        let inner = Inner { version: 1, shards, strategy, slots, began_with: shards, moves, tenures, drained, goal: None, elsewhere };
        Self { inner: Arc::new(inner) }
    }

    /// The same, of which the last so many shards are other servers'.
    pub(crate) fn with_last_elsewhere(&self, count: u16) -> Self {
        let mut inner = self.inner.as_ref().clone();
        inner.elsewhere = (inner.shards.saturating_sub(count)..inner.shards).collect();
        Self { inner: Arc::new(inner) }
    }

    /// Shards that other servers have.
    pub(crate) fn elsewhere(&self) -> &BTreeSet<u16> {
        &self.inner.elsewhere
    }

    /// Counts up with each change.
    pub(crate) fn version(&self) -> u64 {
        self.inner.version
    }

    /// How many shards there are.
    pub(crate) fn shards(&self) -> u16 {
        self.inner.shards
    }

    /// What has made it.
    pub(crate) fn strategy(&self) -> &Strategy {
        &self.inner.strategy
    }

    /// How many shards there were at first.
    pub(crate) fn began_with(&self) -> u16 {
        self.inner.began_with
    }

    /// Whether it is as it was made.
    pub(crate) fn is_unchanged(&self) -> bool {
        self.inner.version == 1
    }

    /// The owner of each slot; none if the strategy has no slots.
    pub(crate) fn slots(&self) -> &[u16] {
        &self.inner.slots
    }

    /// All hand-overs, oldest first.
    pub(crate) fn moves(&self) -> &[Move] {
        &self.inner.moves
    }

    /// Where the log of each shard that has given or taken slots was at the last time.
    pub(crate) fn ends(&self) -> BTreeMap<u16, Position> {
        let mut ends: BTreeMap<u16, Position> = BTreeMap::new();
        for moved in &self.inner.moves {
            for (shard, position) in [(moved.from, moved.from_position), (moved.to, moved.to_position)] {
                let end = ends.entry(shard).or_default();
                *end = Position::new(position).max(*end);
            }
        }
        ends
    }

    /// Shards that are to own nothing any more.
    pub(crate) fn drained(&self) -> &BTreeSet<u16> {
        &self.inner.drained
    }

    /// What is being done to it.
    pub(crate) fn goal(&self) -> Option<&Goal> {
        self.inner.goal.as_ref()
    }

    /// The shards that have had a stream, oldest first; `None` if its slot has never moved.
    pub(crate) fn tenures(&self, stream: &str) -> Option<&[Tenure]> {
        // Each log has its own stream of control records.
        if self.inner.tenures.is_empty() || stream == STREAMS_STREAM {
            return None;
        }
        self.inner.tenures.get(&partition::slot(stream)).map(|tenures| &**tenures)
    }

    /// How much of all a shard is to own, against the others.
    pub(crate) fn weight(&self, shard: u16) -> u32 {
        if self.inner.drained.contains(&shard) {
            return 0;
        }
        match &self.inner.strategy {
            Strategy::Ring { weights } => weights.get(usize::from(shard)).copied().unwrap_or(1),
            Strategy::Hash | Strategy::Range { .. } | Strategy::Geo { .. } => 1,
        }
    }

    /// Whether this is what is asked for, or was when it was made. What is not said is not asked.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] names what differs.
    pub(crate) fn check_asked(&self, asked: &Strategy) -> Result<(), Error> {
        let began_with = match self.strategy() {
            Strategy::Ring { weights } => {
                Strategy::Ring { weights: weights.iter().copied().take(usize::from(self.began_with())).collect() }
            }
            other @ (Strategy::Hash | Strategy::Range { .. } | Strategy::Geo { .. }) => other.clone(),
        };
        self.strategy().check_asked(asked).or_else(|error| began_with.check_asked(asked).map_err(|_| error))
    }

    /// How many slots a shard owns; `None` if it owns none by name.
    pub(crate) fn slots_of(&self, shard: u16) -> Option<usize> {
        let slots = &self.inner.slots;
        (!slots.is_empty()).then(|| slots.iter().filter(|owner| **owner == shard).count())
    }

    /// Whether shards lie in regions.
    pub(crate) fn has_regions(&self) -> bool {
        matches!(self.inner.strategy, Strategy::Geo { .. })
    }

    /// The region that a shard is in.
    pub(crate) fn region_of(&self, shard: u16) -> Option<&str> {
        match &self.inner.strategy {
            Strategy::Geo { regions, .. } => {
                regions.iter().find(|region| region.shards.contains(&shard)).map(|region| region.name.as_str())
            }
            Strategy::Hash | Strategy::Ring { .. } | Strategy::Range { .. } => None,
        }
    }

    /// The shard of a stream.
    pub(crate) fn owner(&self, stream: &str) -> u16 {
        let Inner { shards, strategy, slots, elsewhere, .. } = &*self.inner;
        if *shards == 1 {
            return 0;
        }
        match strategy {
            // Nobody but a server itself writes to them.
            _ if !elsewhere.is_empty() && stream.starts_with('$') => SYSTEM_SHARD,
            Strategy::Hash | Strategy::Ring { .. } => {
                let owner = slots.get(usize::from(partition::slot(stream)));
                *owner.expect("the table has every slot")
            }
            Strategy::Range { .. } | Strategy::Geo { .. } if stream.starts_with('$') => SYSTEM_SHARD,
            Strategy::Range { splits } => range(splits, partition::partition_key(stream)),
            Strategy::Geo { regions, default_region } => {
                let key = partition::partition_key(stream);
                match region(regions, default_region.as_deref(), key) {
                    Some((region, _)) => within(region, key),
                    // Nothing can be written there, so there is nothing to find.
                    None => SYSTEM_SHARD,
                }
            }
        }
    }

    /// Where a stream lives, and why.
    pub(crate) fn explain(&self, stream: &str) -> Placement {
        let partition_key = partition::partition_key(stream).to_owned();
        let reason = match &self.inner.strategy {
            _ if !self.inner.elsewhere.is_empty() && stream.starts_with('$') => Reason::System,
            Strategy::Hash | Strategy::Ring { .. } => {
                Reason::Slot { hash: xxh3_64(partition_key.as_bytes()), slot: partition::slot(stream) }
            }
            Strategy::Range { .. } | Strategy::Geo { .. } if stream.starts_with('$') => Reason::System,
            Strategy::Range { splits } => {
                let at = usize::from(range(splits, &partition_key));
                let from = at.checked_sub(1).and_then(|before| splits.get(before)).cloned();
                Reason::Range { from, to: splits.get(at).cloned() }
            }
            Strategy::Geo { regions, default_region } => match region(regions, default_region.as_deref(), &partition_key) {
                Some((region, pattern)) => Reason::Region { region: Some(region.name.clone()), pattern: pattern.map(str::to_owned) },
                None => Reason::Region { region: None, pattern: None },
            },
        };
        Placement { shard: self.owner(stream), partition_key, reason }
    }

    /// Whether a stream may be written at all.
    ///
    /// # Errors
    ///
    /// [`Error::Residency`] if its key belongs to no region.
    pub(crate) fn check_home(&self, stream: &StreamName, field: impl FnOnce() -> String) -> Result<(), Error> {
        let Strategy::Geo { regions, default_region } = &self.inner.strategy else { return Ok(()) };
        let key = partition::partition_key(stream.as_str());
        if stream.is_system() || region(regions, default_region.as_deref(), key).is_some() {
            return Ok(());
        }
        let names: Vec<&str> = regions.iter().map(|region| region.name.as_str()).collect();
        let detail = format!("the key {key:?} belongs to none of the regions {}, and there is no default", names.join(", "));
        Err(Error::Residency { field: field(), detail })
    }

    /// As it is kept.
    pub(crate) fn to_json(&self) -> String {
        let Inner { version, shards, strategy, slots, began_with, moves, drained, goal, elsewhere, .. } = &*self.inner;
        let slots = (!slots.is_empty()).then(|| slots.clone());
        let (began_with, goal) = ((*version > 1).then_some(*began_with), goal.clone());
        let (moves, drained, elsewhere) = (moves.clone(), drained.clone(), elsewhere.clone());
        let by = strategy.clone();
        let stored = Stored { version: *version, shards: *shards, by, slots, began_with, moves, drained, goal, elsewhere };
        serde_json::to_string(&stored).expect("numbers and text are JSON")
    }

    /// Reads what was kept.
    ///
    /// # Errors
    ///
    /// What is wrong with it, in words.
    pub(crate) fn from_json(text: &str) -> Result<Self, String> {
        let Stored { version, shards, by, slots, began_with, moves, drained, goal, elsewhere } =
            serde_json::from_str(text).map_err(|error| error.to_string())?;
        let (count, strategy) = by.settled(Some(shards)).map_err(|error| error.to_string())?;
        let needs_slots = matches!(strategy, Strategy::Hash | Strategy::Ring { .. });
        let slots = slots.unwrap_or_default();
        let is_whole = if needs_slots { slots.len() == usize::from(SLOTS) } else { slots.is_empty() };
        if !is_whole {
            return Err(format!("{} slots have an owner, {SLOTS} would have to", slots.len()));
        }
        match slots.iter().find(|owner| **owner >= count) {
            Some(owner) => Err(format!("a slot is owned by shard {owner}, and there are {count} shards")),
            None => {
                let began_with = began_with.unwrap_or(count);
                let named = moves.iter().flat_map(|moved| [moved.from, moved.to]).chain(drained.iter().copied());
                if let Some(shard) = named.into_iter().find(|shard| *shard >= count) {
                    return Err(format!("something was moved from or to shard {shard}, and there are {count} shards"));
                }
                if !(1..=count).contains(&began_with) {
                    return Err(format!("it began with {began_with} shards and has {count}"));
                }
                let tenures = moves::tenures(&moves, &slots)?;
                if elsewhere.contains(&SYSTEM_SHARD)
                    || elsewhere.iter().any(|shard| *shard >= count)
                    || !(elsewhere.is_empty() || moves.is_empty())
                {
                    return Err(format!("the shards {elsewhere:?} can't be elsewhere"));
                }
                let inner = Inner { version, shards: count, strategy, slots, began_with, moves, tenures, drained, goal, elsewhere };
                Ok(Self { inner: Arc::new(inner) })
            }
        }
    }
}

/// The number of the range that a key lies in.
fn range(splits: &[String], key: &str) -> u16 {
    let at = splits.partition_point(|split| split.as_str() <= key);
    u16::try_from(at).expect("there are fewer splits than shards")
}

/// The region of a key, and the pattern that says so.
fn region<'a>(regions: &'a [Region], default: Option<&str>, key: &str) -> Option<(&'a Region, Option<&'a str>)> {
    let named = regions.iter().find_map(|region| {
        let pattern = region.keys.iter().find(|pattern| matches(pattern, key))?;
        Some((region, Some(pattern.as_str())))
    });
    named.or_else(|| regions.iter().find(|region| default == Some(region.name.as_str())).map(|region| (region, None)))
}

/// The shard of a key within its region.
fn within(region: &Region, key: &str) -> u16 {
    let slot = partition::slot_of_key(key);
    let at = usize::from(slot) % region.shards.len().max(1);
    region.shards.get(at).copied().unwrap_or(SYSTEM_SHARD)
}

/// Whether a pattern matches a whole text; `*` stands for any text, also none.
fn matches(pattern: &str, text: &str) -> bool {
    let mut parts = pattern.split('*');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = text.strip_prefix(first) else { return false };
    let mut parts = parts.peekable();
    if parts.peek().is_none() {
        return rest.is_empty();
    }
    while let Some(part) = parts.next() {
        if parts.peek().is_none() {
            return rest.ends_with(part);
        }
        // The first place is as good as any: what comes behind has most room then.
        match rest.split_once(part) {
            Some((_, behind)) => rest = behind,
            None => return false,
        }
    }
    true
}

/// Where streams of the system are, if the order or the place of keys decides.
const SYSTEM_SHARD: u16 = 0;

mod changes;
#[cfg(test)]
mod tests;

pub(crate) use changes::Goal;
pub(crate) use changes::GoalKind;
