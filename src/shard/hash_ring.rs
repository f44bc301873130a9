//! Which slots does each shard of a ring own?
//!
//! Consistent hashing with virtual nodes: every shard has points on a ring, and a shard that joins takes the slots that lie nearest before
//! its points. How many it takes is fixed by its weight, and each from the shard that has most for its own: so the load stays even,
//! whatever the points are like, and nothing ever moves between two shards that were there before.

use xxhash_rust::xxh3::xxh3_64;

use super::partition::SLOTS;

/// The owner of each slot, for shards with these weights that have joined one after the other. There is at least one.
pub(super) fn owners(weights: &[u32]) -> Vec<u16> {
    let mut owners = vec![0; usize::from(SLOTS)];
    for joined in 2..=weights.len() {
        join(&mut owners, weights.get(..joined).expect("no more than there are"));
    }
    owners
}

/// Lets the last of these shards take its share.
fn join(owners: &mut [u16], weights: &[u32]) {
    let Some((weight, others)) = weights.split_last() else { return };
    let newcomer = number(others.len());
    let points = points(newcomer, *weight);
    // Of each shard that is there, its slots, the nearest to the newcomer's points last.
    let mut taken_from: Vec<Vec<u16>> = vec![Vec::new(); others.len()];
    for (slot, owner) in (0..SLOTS).zip(owners.iter()) {
        if let Some(slots) = taken_from.get_mut(usize::from(*owner)) {
            slots.push(slot);
        }
    }
    for slots in &mut taken_from {
        slots.sort_by_cached_key(|slot| std::cmp::Reverse((distance(*slot, &points), *slot)));
    }
    let total: u64 = weights.iter().copied().map(u64::from).sum();
    let share = (2 * u64::from(SLOTS) * u64::from(*weight) + total) / (2 * total);
    for _ in 0..share.max(1) {
        // Slots for each unit of weight, compared without fractions; the first of those that have as many.
        let fullest = (0..others.len()).filter(|shard| taken_from[*shard].len() > 1).reduce(|best, shard| {
            let load = |shard: usize, other: usize| taken_from[shard].len() as u64 * u64::from(others[other]);
            if load(shard, best) > load(best, shard) { shard } else { best }
        });
        let Some(slot) = fullest.and_then(|shard| taken_from.get_mut(shard)).and_then(Vec::pop) else { return };
        if let Some(owner) = owners.get_mut(usize::from(slot)) {
            *owner = newcomer;
        }
    }
}

/// The shard's points on the ring, in order.
pub(super) fn points(shard: u16, weight: u32) -> Vec<u64> {
    let point = |number| xxh3_64(format!("shard {shard} point {number}").as_bytes());
    let mut points: Vec<u64> = (0..POINTS * weight).map(point).collect();
    points.sort_unstable();
    points
}

/// How far it is from a slot to the next of these points.
pub(super) fn distance(slot: u16, points: &[u64]) -> u64 {
    let at = xxh3_64(format!("slot {slot}").as_bytes());
    let next = points.get(points.partition_point(|point| *point < at)).or(points.first());
    next.map_or(u64::MAX, |point| point.wrapping_sub(at))
}

fn number(shard: usize) -> u16 {
    u16::try_from(shard).expect("the number of shards is a u16")
}

/// So many for each unit of weight.
const POINTS: u32 = 64;

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(owners: &[u16], shards: usize) -> Vec<usize> {
        (0..shards).map(|shard| owners.iter().filter(|owner| usize::from(**owner) == shard).count()).collect()
    }

    /// The table is kept in the data directory; the function still must not change, or a test of one release would not hold in the next.
    #[test]
    fn the_ring_is_pinned() {
        let owners = owners(&[1; 4]);
        let bytes: Vec<u8> = owners.iter().flat_map(|owner| owner.to_le_bytes()).collect();
        assert_eq!(xxh3_64(&bytes), PINNED);
    }

    #[test]
    fn who_joins_takes_its_share_and_nothing_else_moves() {
        for shards in 2..=24_usize {
            let (before, after) = (owners(&vec![1; shards - 1]), owners(&vec![1; shards]));
            let moved: Vec<u16> = before.iter().zip(&after).filter(|(before, after)| before != after).map(|(_, after)| *after).collect();
            assert!(moved.iter().all(|owner| usize::from(*owner) == shards - 1), "{shards}");
            let share = f64::from(SLOTS) / shards as f64;
            assert!((moved.len() as f64 - share).abs() <= 1.0, "{shards}: {} moved, 1/n is {share}", moved.len());
        }
    }

    #[test]
    fn each_shard_has_what_its_weight_says() {
        for weights in [vec![1; 5], vec![1, 2], vec![3, 1, 4, 1, 5], vec![100, 1], vec![1; 256]] {
            let total: u32 = weights.iter().sum();
            for (weight, count) in weights.iter().zip(counts(&owners(&weights), weights.len())) {
                let share = f64::from(SLOTS) * f64::from(*weight) / f64::from(total);
                assert!((count as f64 - share).abs() <= 2.0, "{weights:?}: {count} slots for {weight}, {share} would be right");
            }
        }
    }

    const PINNED: u64 = 0x0161_fa0f_88e6_972e;
}
