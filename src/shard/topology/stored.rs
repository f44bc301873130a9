//! How is a topology kept in the data directory, and is what is found there whole?

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::sync::Arc;

use serde::Deserialize;
use serde::Serialize;

use super::Goal;
use super::Inner;
use super::SYSTEM_SHARD;
use super::Topology;
use crate::shard::key_map::KeyMap;
use crate::shard::moves::Move;
use crate::shard::moves::Tenures;
use crate::shard::owners::Owners;
use crate::shard::owners::spread;
use crate::shard::strategy::Region;
use crate::shard::strategy::SHARDS_MAX;
use crate::shard::strategy::Strategy;

/// As it lies in the data directory.
#[derive(Serialize, Deserialize)]
struct Stored {
    version: u64,
    shards: u16,
    by: Strategy,
    slots: Option<Vec<u16>>,
    /// Once something was changed: the owner of every key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    ranges: Option<Vec<StoredRange>>,
    /// Of regions whose slots do not lie as they did at first.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    region_slots: BTreeMap<String, Vec<u16>>,
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

/// Keys from one on, up to where the next begins.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct StoredRange {
    from: String,
    shard: u16,
}

impl Topology {
    /// As it is kept.
    pub(crate) fn to_json(&self) -> String {
        let Inner { version, shards, strategy, owners, began_with, moves, drained, goal, elsewhere, .. } = &*self.inner;
        let is_changed = *version > 1;
        let mut stored = Stored {
            version: *version,
            shards: *shards,
            by: strategy.clone(),
            slots: None,
            ranges: None,
            region_slots: BTreeMap::new(),
            began_with: is_changed.then_some(*began_with),
            moves: moves.clone(),
            drained: drained.clone(),
            goal: goal.clone(),
            elsewhere: elsewhere.clone(),
        };
        match (owners, strategy) {
            (Owners::Slots(slots), _) => stored.slots = Some(slots.clone()),
            (Owners::Ranges(ranges), _) => {
                let range = |(from, shard): (&str, &u16)| StoredRange { from: from.to_owned(), shard: *shard };
                stored.ranges = is_changed.then(|| ranges.starts().map(range).collect());
            }
            (Owners::Regions(tables), Strategy::Geo { regions, .. }) => {
                let changed = regions.iter().zip(tables).filter(|(region, slots)| **slots != spread(region));
                stored.region_slots = changed.map(|(region, slots)| (region.name.clone(), slots.clone())).collect();
            }
            (Owners::Regions(_), _) => {}
        }
        serde_json::to_string(&stored).expect("numbers and text are JSON")
    }

    /// Reads what was kept.
    ///
    /// # Errors
    ///
    /// What is wrong with it, in words.
    pub(crate) fn from_json(text: &str) -> Result<Self, String> {
        let stored: Stored = serde_json::from_str(text).map_err(|error| error.to_string())?;
        let (shards, began_with) = (stored.shards, stored.began_with.unwrap_or(stored.shards));
        if !(1..=SHARDS_MAX).contains(&shards) || !(1..=shards).contains(&began_with) {
            return Err(format!("it began with {began_with} shards and has {shards}"));
        }
        // The split points stay those that it began with; all else grows with the shards.
        let settled_for = if matches!(stored.by, Strategy::Range { .. }) { began_with } else { shards };
        let (_, strategy) = stored.by.clone().settled(Some(settled_for)).map_err(|error| error.to_string())?;
        let named = stored.moves.iter().flat_map(|moved| [moved.from, moved.to]).chain(stored.drained.iter().copied());
        if let Some(shard) = named.into_iter().find(|shard| *shard >= shards) {
            return Err(format!("something was moved from or to shard {shard}, and there are {shards} shards"));
        }
        let owners = owners(&stored, &strategy)?;
        owners.check(shards, &strategy)?;
        let tenures = Tenures::new(&stored.moves, &strategy)?;
        owners.check_tenures(&tenures)?;
        let Stored { version, moves, drained, goal, elsewhere, .. } = stored;
        let is_known = elsewhere.iter().all(|shard| *shard != SYSTEM_SHARD && *shard < shards);
        if !is_known || !(elsewhere.is_empty() || moves.is_empty()) {
            return Err(format!("the shards {elsewhere:?} can't be elsewhere"));
        }
        Ok(Self { inner: Arc::new(Inner { version, shards, strategy, owners, began_with, moves, tenures, drained, goal, elsewhere }) })
    }
}

fn owners(stored: &Stored, strategy: &Strategy) -> Result<Owners, String> {
    let Stored { slots, ranges, region_slots, version, .. } = stored;
    let has = (slots.is_some(), ranges.is_some(), !region_slots.is_empty());
    match (strategy, has) {
        (Strategy::Hash | Strategy::Ring { .. }, (_, false, false)) => Ok(Owners::Slots(slots.clone().unwrap_or_default())),
        (Strategy::Range { .. }, (false, false, false)) if *version == 1 => Ok(Owners::new(stored.shards, strategy)),
        (Strategy::Range { .. }, (false, true, false)) => {
            let ranges = ranges.iter().flatten().map(|StoredRange { from, shard }| (from.clone(), *shard));
            Ok(Owners::Ranges(KeyMap::new(ranges)?))
        }
        (Strategy::Geo { regions, .. }, (false, false, _)) => {
            if let Some(unknown) = region_slots.keys().find(|name| regions.iter().all(|region| region.name != **name)) {
                return Err(format!("it has slots of the region {unknown:?}, and there is no such region"));
            }
            let table = |region: &Region| region_slots.get(&region.name).cloned().unwrap_or_else(|| spread(region));
            Ok(Owners::Regions(regions.iter().map(table).collect()))
        }
        (strategy, (slots, ranges, regions)) => Err(format!(
            "its table does not fit the strategy {}: slots {slots}, ranges {ranges}, slots of regions {regions}, version {version}",
            strategy.as_str()
        )),
    }
}
