//! Which shard has what now? The table of a topology, in the form that its strategy needs.

use super::hash_ring;
use super::key_map::KeyMap;
use super::moves::Part;
use super::moves::Tenures;
use super::partition::SLOTS;
use super::strategy::Region;
use super::strategy::Strategy;

/// Who has what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Owners {
    /// With `hash` and `ring`: the owner of each slot.
    Slots(Vec<u16>),
    /// With `range`: the owner of each key.
    Ranges(KeyMap<u16>),
    /// With `geo`: of each region, in the order of the strategy, the owner of each slot.
    Regions(Vec<Vec<u16>>),
}

impl Owners {
    /// What a strategy makes of so many shards, before anything has moved.
    pub(super) fn new(shards: u16, strategy: &Strategy) -> Self {
        match strategy {
            Strategy::Hash => Self::Slots((0..SLOTS).map(|slot| slot % shards).collect()),
            Strategy::Ring { weights } => Self::Slots(hash_ring::owners(weights)),
            Strategy::Range { splits } => {
                let starts = std::iter::once(String::new()).chain(splits.iter().cloned());
                Self::Ranges(KeyMap::new(starts.zip(0..)).expect("the split points of a settled strategy ascend"))
            }
            Strategy::Geo { regions, .. } => Self::Regions(regions.iter().map(spread).collect()),
        }
    }

    /// How many slots a shard has, with `geo` of its region's; `None` with `range`.
    pub(super) fn slots_of(&self, shard: u16) -> Option<usize> {
        let count = |slots: &[u16]| slots.iter().filter(|owner| **owner == shard).count();
        match self {
            Self::Slots(slots) => Some(count(slots)),
            Self::Regions(tables) => Some(tables.iter().map(|slots| count(slots)).sum()),
            Self::Ranges(_) => None,
        }
    }

    /// Whether a shard has anything.
    pub(super) fn has_any(&self, shard: u16) -> bool {
        match self {
            Self::Ranges(ranges) => ranges.iter().any(|(_, owner)| *owner == shard),
            Self::Slots(_) | Self::Regions(_) => self.slots_of(shard) != Some(0),
        }
    }

    /// Lets a part go from one shard to another.
    ///
    /// # Errors
    ///
    /// In words, if it is not the one's to give, or the other is in another region. It is half done then.
    pub(super) fn give(&mut self, part: &Part, (from, to): (u16, u16), strategy: &Strategy) -> Result<(), String> {
        match (self, part, strategy) {
            (Self::Slots(table), Part::Slots(slots), Strategy::Hash | Strategy::Ring { .. }) => give_slots(table, slots, from, to),
            (Self::Ranges(ranges), Part::Keys(keys), Strategy::Range { .. }) => ranges.change(keys, |owner| {
                if *owner != from {
                    return Err(format!("not all keys {keys} are shard {from}'s to give, but some are shard {owner}'s"));
                }
                *owner = to;
                Ok(())
            }),
            (Self::Regions(tables), Part::Region { region, slots }, Strategy::Geo { regions, .. }) => {
                let found = regions.iter().zip(tables).find(|(known, _)| known.name == *region);
                let (known, table) = found.ok_or_else(|| format!("there is no region {region:?}"))?;
                if !known.shards.contains(&to) {
                    return Err(format!("shard {to} is not in the region {region:?}, which nothing leaves"));
                }
                give_slots(table, slots, from, to)
            }
            (_, part, strategy) => Err(format!("{} can't move: the strategy is {}", part.told(), strategy.as_str())),
        }
    }

    /// Whether this is whole, is about these shards, and has each region's slots within it.
    ///
    /// # Errors
    ///
    /// In words.
    pub(super) fn check(&self, shards: u16, strategy: &Strategy) -> Result<(), String> {
        let known = |owner: Option<u16>, what: &str| match owner.filter(|owner| *owner >= shards) {
            Some(owner) => Err(format!("{what} is owned by shard {owner}, and there are {shards} shards")),
            None => Ok(()),
        };
        match (self, strategy) {
            (Self::Slots(slots), _) => {
                check_whole(slots)?;
                known(slots.iter().copied().max(), "a slot")
            }
            (Self::Ranges(ranges), _) => known(ranges.iter().map(|(_, owner)| *owner).max(), "a range"),
            (Self::Regions(tables), Strategy::Geo { regions, .. }) if tables.len() == regions.len() => {
                regions.iter().zip(tables).try_for_each(|(region, slots)| {
                    check_whole(slots)?;
                    match slots.iter().find(|owner| !region.shards.contains(owner)) {
                        Some(owner) => Err(format!("a slot of the region {:?} is owned by shard {owner}, which is not in it", region.name)),
                        None => Ok(()),
                    }
                })
            }
            (Self::Regions(_), strategy) => Err(format!("slots of regions, and the strategy is {}", strategy.as_str())),
        }
    }

    /// Whether everything that has moved went to its owner.
    ///
    /// # Errors
    ///
    /// In words.
    pub(super) fn check_tenures(&self, tenures: &Tenures) -> Result<(), String> {
        for (region, slot, last) in tenures.slot_owners() {
            let table = match self {
                Self::Slots(slots) => Some(slots),
                Self::Regions(tables) => tables.get(region),
                Self::Ranges(_) => None,
            };
            let owner = table.and_then(|slots| slots.get(usize::from(slot)));
            if owner != Some(&last) {
                return Err(format!("slot {slot} went to shard {last}, and its owner is {owner:?}"));
            }
        }
        let Self::Ranges(ranges) = self else { return Ok(()) };
        // Both maps together have every bound there is.
        for range in ranges.iter().map(|(range, _)| range).chain(tenures.ranges()) {
            let start = range.from.as_deref().unwrap_or_default();
            let last = tenures.key_owner(start);
            if last.is_some_and(|last| last != *ranges.of(start)) {
                return Err(format!("the keys {range} went to shard {last:?}, and their owner is {}", ranges.of(start)));
            }
        }
        Ok(())
    }
}

/// How a region's slots lie on its shards before anything has moved: by hash.
pub(super) fn spread(region: &Region) -> Vec<u16> {
    let owner = |slot: u16| region.shards.get(usize::from(slot) % region.shards.len().max(1)).copied();
    (0..SLOTS).map(|slot| owner(slot).unwrap_or_default()).collect()
}

fn check_whole(slots: &[u16]) -> Result<(), String> {
    if slots.len() == usize::from(SLOTS) { Ok(()) } else { Err(format!("{} slots have an owner, {SLOTS} would have to", slots.len())) }
}

fn give_slots(table: &mut [u16], slots: &[u16], from: u16, to: u16) -> Result<(), String> {
    for slot in slots {
        let owner = table.get_mut(usize::from(*slot)).ok_or_else(|| format!("there is no slot {slot}"))?;
        if *owner != from {
            return Err(format!("slot {slot} is not shard {from}'s to give, but shard {owner}'s"));
        }
        *owner = to;
    }
    Ok(())
}
