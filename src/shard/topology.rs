//! Which shard owns which streams? One table with a version, whatever strategy has made it.

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::sync::Arc;

use factum_storage::Position;
use factum_storage::STREAMS_STREAM;
use factum_storage::StreamName;
use xxhash_rust::xxh3::xxh3_64;

use super::key_map::KeyMap;
use super::key_map::KeyRange;
use super::moves::Move;
use super::moves::Part;
use super::moves::Tenure;
use super::moves::Tenures;
use super::owners::Owners;
use super::partition;
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
    /// As it was chosen, with the shards that have joined since.
    strategy: Strategy,
    owners: Owners,
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

/// What of the table a name leads to.
enum Place<'a> {
    /// A slot, of a region if there are any (by its place in the strategy), else of the one table.
    Slot { region: usize, slot: u16 },
    /// A key, whose range counts.
    Key(&'a str),
    /// The first shard, which has the streams of the system if keys have an order or a place.
    System,
    /// No region.
    Nowhere,
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
        let owners = Owners::new(shards, &strategy);
        let (moves, tenures, drained, elsewhere) = (Vec::new(), Tenures::default(), BTreeSet::new(), BTreeSet::new());
        let inner = Inner { version: 1, shards, strategy, owners, began_with: shards, moves, tenures, drained, goal: None, elsewhere };
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

    /// The shards that have had a stream, oldest first; `None` if it has never moved.
    pub(crate) fn tenures(&self, stream: &str) -> Option<&[Tenure]> {
        // Each log has its own stream of control records.
        if self.inner.tenures.is_empty() || stream == STREAMS_STREAM {
            return None;
        }
        match self.place(stream) {
            Place::Slot { region, slot } => self.inner.tenures.of_slot(region, slot),
            Place::Key(key) => self.inner.tenures.of_key(key),
            Place::System | Place::Nowhere => None,
        }
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
        let first = |shard: &u16| *shard < self.began_with();
        let began_with = match self.strategy().clone() {
            Strategy::Ring { weights } => Strategy::Ring { weights: weights.into_iter().take(usize::from(self.began_with())).collect() },
            Strategy::Geo { mut regions, default_region } => {
                regions.iter_mut().for_each(|region| region.shards.retain(first));
                Strategy::Geo { regions, default_region }
            }
            other @ (Strategy::Hash | Strategy::Range { .. }) => other,
        };
        self.strategy().check_asked(asked).or_else(|error| began_with.check_asked(asked).map_err(|_| error))
    }

    /// How many slots a shard owns, with `geo` of its region's; `None` with `range`.
    pub(crate) fn slots_of(&self, shard: u16) -> Option<usize> {
        self.inner.owners.slots_of(shard)
    }

    /// With `range`: who owns which keys.
    pub(crate) fn ranges(&self) -> Option<&KeyMap<u16>> {
        match &self.inner.owners {
            Owners::Ranges(ranges) => Some(ranges),
            Owners::Slots(_) | Owners::Regions(_) => None,
        }
    }

    /// The ranges of a shard; `None` if the strategy has no ranges.
    pub(crate) fn ranges_of(&self, shard: u16) -> Option<Vec<KeyRange>> {
        Some(self.ranges()?.iter().filter(|(_, owner)| **owner == shard).map(|(range, _)| range).collect())
    }

    /// Whether a shard owns anything.
    pub(crate) fn owns_any(&self, shard: u16) -> bool {
        self.inner.owners.has_any(shard)
    }

    /// All tables of slots, each with its region and the shards that share it.
    pub(super) fn slot_tables(&self) -> Vec<(Option<&str>, &[u16], Vec<u16>)> {
        match (&self.inner.owners, &self.inner.strategy) {
            (Owners::Slots(slots), _) => vec![(None, slots.as_slice(), (0..self.shards()).collect())],
            (Owners::Regions(tables), Strategy::Geo { regions, .. }) => {
                let each = regions.iter().zip(tables);
                each.map(|(region, slots)| (Some(region.name.as_str()), slots.as_slice(), region.shards.clone())).collect()
            }
            (Owners::Ranges(_) | Owners::Regions(_), _) => Vec::new(),
        }
    }

    /// Whether a stream is in what changes hands.
    pub(crate) fn concerns(&self, part: &Part, stream: &str) -> bool {
        let is_one = |slots: &[u16], slot: u16| slots.binary_search(&slot).is_ok();
        match (part, self.place(stream)) {
            (Part::Slots(slots), Place::Slot { slot, .. }) => is_one(slots, slot),
            (Part::Region { region, slots }, Place::Slot { region: at, slot }) => {
                self.region_at(at).is_some_and(|found| found.name == *region) && is_one(slots, slot)
            }
            (Part::Keys(keys), Place::Key(key)) => keys.contains(key),
            (Part::Slots(_) | Part::Region { .. } | Part::Keys(_), _) => false,
        }
    }

    /// Whether a shard has the streams of the system, whatever else it has.
    pub(crate) fn keeps_system_streams(&self, shard: u16) -> bool {
        shard == SYSTEM_SHARD && matches!(self.inner.strategy, Strategy::Range { .. } | Strategy::Geo { .. })
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

    /// What of the table a stream's name leads to.
    fn place<'a>(&self, stream: &'a str) -> Place<'a> {
        match &self.inner.strategy {
            // Nobody but a server itself writes to them.
            _ if !self.inner.elsewhere.is_empty() && stream.starts_with('$') => Place::System,
            Strategy::Hash | Strategy::Ring { .. } => Place::Slot { region: 0, slot: partition::slot(stream) },
            Strategy::Range { .. } | Strategy::Geo { .. } if stream.starts_with('$') => Place::System,
            Strategy::Range { .. } => Place::Key(partition::partition_key(stream)),
            Strategy::Geo { regions, default_region } => {
                let key = partition::partition_key(stream);
                match region(regions, default_region.as_deref(), key) {
                    Some((region, _)) => Place::Slot { region, slot: partition::slot_of_key(key) },
                    None => Place::Nowhere,
                }
            }
        }
    }

    fn region_at(&self, index: usize) -> Option<&Region> {
        match &self.inner.strategy {
            Strategy::Geo { regions, .. } => regions.get(index),
            Strategy::Hash | Strategy::Ring { .. } | Strategy::Range { .. } => None,
        }
    }

    /// The shard of a stream.
    pub(crate) fn owner(&self, stream: &str) -> u16 {
        if self.inner.shards == 1 {
            return 0;
        }
        let owner = match (self.place(stream), &self.inner.owners) {
            (Place::Slot { slot, .. }, Owners::Slots(slots)) => slots.get(usize::from(slot)),
            (Place::Slot { region, slot }, Owners::Regions(tables)) => tables.get(region).and_then(|slots| slots.get(usize::from(slot))),
            (Place::Key(key), Owners::Ranges(ranges)) => Some(ranges.of(key)),
            // Nothing can be written where nothing belongs, so there is nothing to find.
            (Place::System | Place::Nowhere, _) => Some(&SYSTEM_SHARD),
            (Place::Slot { .. } | Place::Key(_), _) => None,
        };
        *owner.expect("the table is of the strategy's form, and has all of it")
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
            Strategy::Range { .. } => {
                let KeyRange { from, to } = self.ranges().map(|ranges| ranges.range_of(&partition_key)).unwrap_or_default();
                Reason::Range { from, to }
            }
            Strategy::Geo { regions, default_region } => {
                let (at, pattern) = region(regions, default_region.as_deref(), &partition_key).unzip();
                let region = at.and_then(|at| self.region_at(at)).map(|region| region.name.clone());
                Reason::Region { region, pattern: pattern.flatten().map(str::to_owned) }
            }
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
}

/// Where streams of the system are, if the order or the place of keys decides.
const SYSTEM_SHARD: u16 = 0;

mod changes;
mod regions;
mod stored;
#[cfg(test)]
mod tests;

pub(crate) use changes::Goal;
pub(crate) use changes::GoalKind;
pub(crate) use changes::KeyStep;
use regions::region;
