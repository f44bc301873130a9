//! Which keys go where when a shard of `range` joins, is drained, or the shards are evened out?
//!
//! By how many events lie behind the keys now. What comes out is kept with the goal: a restart must not decide anew by other numbers.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use crate::Error;
use crate::shard::KeyMap;
use crate::shard::KeyRange;
use crate::shard::KeyStep;
use crate::shard::Topology;

/// How much lies behind the keys from this one up to the next that is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct KeyLoad {
    pub(crate) key: String,
    pub(crate) events: u64,
}

/// What a shard that joins takes: the keys of a range from `split` on, or the upper half of the heaviest range that has two keys.
///
/// # Errors
///
/// [`Error::Invalid`] if a range begins at `split` already; [`Error::TopologyConflict`] if no range can be split.
pub(crate) fn add(topology: &Topology, newcomer: u16, split: Option<&str>, loads: &[KeyLoad]) -> Result<Vec<KeyStep>, Error> {
    let ranges = ranges(topology)?;
    let step = |range: &KeyRange, owner: u16, split: &str| vec![KeyStep { keys: range.behind(split), from: owner, to: newcomer }];
    if let Some(split) = split {
        let range = ranges.range_of(split);
        if range.from.as_deref() == Some(split) {
            let detail = format!("a range begins with {split:?} already");
            return Err(Error::Invalid { field: "split".to_owned(), detail });
        }
        return Ok(step(&range, *ranges.of(split), split));
    }
    let mut heaviest: Vec<(&[KeyLoad], KeyRange, u16)> =
        ranges.iter().map(|(range, owner)| (within(&range, loads), range, *owner)).collect();
    heaviest.sort_by_key(|(loads, _, _)| Reverse(events(loads)));
    let found = heaviest.iter().find_map(|(loads, range, owner)| Some(step(range, *owner, half(loads)?)));
    found.ok_or_else(|| {
        let detail = "no range has events of two keys yet, so it is not clear where to split one: name the key with `split`".to_owned();
        Error::TopologyConflict { detail }
    })
}

/// Where a shard's ranges go: each to the neighbour that has less.
pub(crate) fn drain(topology: &Topology, shard: u16, loads: &[KeyLoad]) -> Result<Vec<KeyStep>, Error> {
    let ranges = ranges(topology)?;
    let mut weights = weights(topology, ranges, loads);
    let all: Vec<(KeyRange, u16)> = ranges.iter().map(|(range, owner)| (range, *owner)).collect();
    let mut steps = Vec::new();
    for (at, (keys, _)) in all.iter().enumerate().filter(|(_, (_, owner))| *owner == shard) {
        let beside = [at.checked_sub(1), Some(at + 1)].into_iter().flatten().filter_map(|at| all.get(at)).map(|(_, owner)| *owner);
        let mut takers: Vec<u16> = beside.filter(|owner| *owner != shard && weights.contains_key(owner)).collect();
        if takers.is_empty() {
            takers = weights.keys().copied().filter(|other| *other != shard).collect();
        }
        let Some(to) = takers.into_iter().min_by_key(|taker| (weights.get(taker).copied(), *taker)) else {
            let detail = format!("there is no other shard that could take the keys {keys}");
            return Err(Error::TopologyConflict { detail });
        };
        *weights.entry(to).or_default() += events(within(keys, loads));
        steps.push(KeyStep { keys: keys.clone(), from: shard, to });
    }
    Ok(steps)
}

/// What evens the shards out: the heaviest gives the lightest an edge of one of its ranges, or all of it, as long as that helps.
pub(crate) fn rebalance(topology: &Topology, loads: &[KeyLoad]) -> Result<Vec<KeyStep>, Error> {
    let mut ranges = ranges(topology)?.clone();
    let mut steps: Vec<KeyStep> = Vec::new();
    while steps.len() < STEPS_MAX {
        let weights = weights(topology, &ranges, loads);
        let total: u64 = weights.values().sum();
        let count = weights.len().max(1) as u64;
        let heavy = weights.iter().max_by_key(|(shard, events)| (**events, Reverse(**shard))).map(|(shard, events)| (*shard, *events));
        let light = weights.iter().min_by_key(|(shard, events)| (**events, **shard)).map(|(shard, events)| (*shard, *events));
        let (Some((from, heaviest)), Some((to, lightest))) = (heavy, light) else { break };
        // At most 1.2 times the mean is even enough.
        if heaviest * count * 5 <= total * 6 {
            break;
        }
        let wanted = (heaviest - total / count).min(total / count - lightest);
        let Some((keys, moved)) = piece(&ranges, loads, (from, to), wanted) else { break };
        if (lightest + moved).max(heaviest - moved) >= heaviest {
            break;
        }
        let given = ranges.change(&keys, |owner| {
            *owner = to;
            Ok(())
        });
        given.map_err(|detail| Error::Unavailable { shard: from, detail })?;
        steps.push(KeyStep { keys, from, to });
    }
    Ok(steps)
}

/// Of all edges of a shard's ranges, and of these as wholes, the one that has nearly so many events, and how many; rather one beside a
/// range of the taker, which makes no range more.
fn piece(ranges: &KeyMap<u16>, loads: &[KeyLoad], (from, to): (u16, u16), wanted: u64) -> Option<(KeyRange, u64)> {
    let all: Vec<(KeyRange, u16)> = ranges.iter().map(|(range, owner)| (range, *owner)).collect();
    let is_takers = |at: Option<usize>| at.and_then(|at| all.get(at)).is_some_and(|(_, owner)| *owner == to);
    let mut found: Vec<(u64, bool, KeyRange, u64)> = Vec::new();
    for (at, (range, _)) in all.iter().enumerate().filter(|(_, (_, owner))| *owner == from) {
        let loads = within(range, loads);
        let (total, before, behind) = (events(loads), is_takers(at.checked_sub(1)), is_takers(Some(at + 1)));
        found.push((total.abs_diff(wanted), !(before || behind), range.clone(), total));
        let mut sum = 0;
        for (load, next) in loads.iter().zip(loads.iter().skip(1)) {
            sum += load.events;
            found.push((sum.abs_diff(wanted), !before, range.before(&next.key), sum));
            found.push(((total - sum).abs_diff(wanted), !behind, range.behind(&next.key), total - sum));
        }
    }
    let best = found.into_iter().filter(|(_, _, _, events)| *events > 0).min_by_key(|(off, is_apart, _, _)| (*off, *is_apart));
    best.map(|(_, _, keys, events)| (keys, events))
}

/// The key that parts these as evenly as they can be: what stands before it, and it with what stands behind.
pub(crate) fn half(loads: &[KeyLoad]) -> Option<&str> {
    let total = events(loads);
    let mut sum = 0;
    let parts = loads.iter().zip(loads.iter().skip(1)).map(|(load, next)| {
        sum += load.events;
        (next.key.as_str(), (2 * sum).abs_diff(total))
    });
    parts.min_by_key(|(_, off)| *off).map(|(key, _)| key)
}

/// The loads of a range.
pub(crate) fn within<'a>(range: &KeyRange, loads: &'a [KeyLoad]) -> &'a [KeyLoad] {
    let first = range.from.as_deref().map_or(0, |from| loads.partition_point(|load| load.key.as_str() < from));
    let end = range.to.as_deref().map_or(loads.len(), |to| loads.partition_point(|load| load.key.as_str() < to));
    loads.get(first..end).unwrap_or_default()
}

/// How many events these are in all.
pub(crate) fn events(loads: &[KeyLoad]) -> u64 {
    loads.iter().map(|load| load.events).sum()
}

/// How many events each shard has that may own something.
fn weights(topology: &Topology, ranges: &KeyMap<u16>, loads: &[KeyLoad]) -> BTreeMap<u16, u64> {
    let mut weights: BTreeMap<u16, u64> =
        (0..topology.shards()).filter(|shard| !topology.drained().contains(shard)).map(|shard| (shard, 0)).collect();
    for (range, owner) in ranges.iter() {
        if let Some(weight) = weights.get_mut(owner) {
            *weight += events(within(&range, loads));
        }
    }
    weights
}

fn ranges(topology: &Topology) -> Result<&KeyMap<u16>, Error> {
    topology.ranges().ok_or_else(|| Error::Unavailable { shard: 0, detail: "ranges of a strategy that has none".to_owned() })
}

/// More than makes any shards even that there can be.
const STEPS_MAX: usize = 512;

#[cfg(test)]
mod tests;
