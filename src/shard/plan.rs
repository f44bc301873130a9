//! What goes where, so that each shard has its share?
//!
//! With slots that follows from the table alone, at any time. With ranges it depends on what lies in them: [`ranges`] decides it when a
//! change begins, and the goal keeps it.

use std::cmp::Reverse;

use super::Topology;
use super::hash_ring;
use super::moves::Part;
use super::partition::SLOTS;

pub(crate) mod ranges;

/// A part that is to go from one shard to another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Step {
    pub(crate) part: Part,
    pub(crate) from: u16,
    pub(crate) to: u16,
}

/// All that has to move, and nothing that has not.
pub(crate) fn steps(topology: &Topology) -> Vec<Step> {
    if topology.ranges().is_some() {
        let planned = topology.goal().map(|goal| goal.planned.as_slice()).unwrap_or_default();
        return planned.iter().map(|step| Step { part: Part::Keys(step.keys.clone()), from: step.from, to: step.to }).collect();
    }
    let tables = topology.slot_tables();
    tables.into_iter().flat_map(|(region, slots, shards)| even(topology, region, slots, &shards)).collect()
}

/// Who has more slots than its share gives, and who has less takes what lies nearest to its points on the ring. `members` share them.
fn even(topology: &Topology, region: Option<&str>, slots: &[u16], members: &[u16]) -> Vec<Step> {
    let mut owned: Vec<Vec<u16>> = members.iter().map(|_| Vec::new()).collect();
    for (slot, owner) in (0..SLOTS).zip(slots) {
        if let Some(at) = members.iter().position(|member| member == owner) {
            owned[at].push(slot);
        }
    }
    let counts: Vec<usize> = owned.iter().map(Vec::len).collect();
    let weights: Vec<u32> = members.iter().map(|shard| topology.weight(*shard)).collect();
    let shares = shares(&weights, &counts);
    let mut moved: Vec<(usize, usize, Vec<u16>)> = Vec::new();
    for (taker, shard) in members.iter().enumerate() {
        let mut wanted = shares[taker].saturating_sub(counts[taker]);
        if wanted == 0 {
            continue;
        }
        let points = hash_ring::points(*shard, weights[taker]);
        // The nearest last.
        for slots in &mut owned {
            slots.sort_by_cached_key(|slot| (Reverse(hash_ring::distance(*slot, &points)), *slot));
        }
        while wanted > 0 {
            let surplus = |giver: &usize| owned[*giver].len().saturating_sub(shares[*giver]);
            let Some(giver) = (0..members.len()).max_by_key(|giver| (surplus(giver), Reverse(*giver))).filter(|giver| surplus(giver) > 0)
            else {
                break;
            };
            let Some(slot) = owned.get_mut(giver).and_then(Vec::pop) else { break };
            wanted -= 1;
            match moved.iter_mut().find(|(from, to, _)| (*from, *to) == (giver, taker)) {
                Some((_, _, slots)) => slots.push(slot),
                None => moved.push((giver, taker, vec![slot])),
            }
        }
    }
    let step = |(giver, taker, mut slots): (usize, usize, Vec<u16>)| {
        slots.sort_unstable();
        let part = match region {
            Some(region) => Part::Region { region: region.to_owned(), slots },
            None => Part::Slots(slots),
        };
        Step { part, from: members[giver], to: members[taker] }
    };
    moved.into_iter().map(step).collect()
}

/// How many slots each is to have. What does not come out even goes to who has most already, so that nothing moves for it.
fn shares(weights: &[u32], counts: &[usize]) -> Vec<usize> {
    let total: usize = weights.iter().map(|weight| *weight as usize).sum();
    if total == 0 {
        return counts.to_vec();
    }
    let all = usize::from(SLOTS);
    let mut shares: Vec<usize> = weights.iter().map(|weight| all * *weight as usize / total).collect();
    let left = all - shares.iter().sum::<usize>();
    let mut takers: Vec<usize> = (0..weights.len()).filter(|shard| weights[*shard] > 0).collect();
    takers.sort_by_key(|shard| (Reverse(counts[*shard].saturating_sub(shares[*shard])), *shard));
    for shard in takers.into_iter().cycle().take(left) {
        shares[shard] += 1;
    }
    shares
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shard::Goal;
    use crate::shard::GoalKind;
    use crate::shard::Move;
    use crate::shard::Region;
    use crate::shard::Strategy;

    fn goal(kind: GoalKind) -> Goal {
        Goal { job: "a job".to_owned(), kind, started_at: 0, total: 0, is_paused: false, planned: Vec::new(), why: None }
    }

    fn applied(mut topology: Topology) -> (Topology, usize) {
        let mut moved = 0;
        for Step { part, from, to } in steps(&topology) {
            let (Part::Slots(slots) | Part::Region { slots, .. }) = &part else { panic!("{part:?}") };
            assert!(slots.is_sorted() && !slots.is_empty());
            moved += slots.len();
            topology = topology.with_move(Move { version: 0, part, from, to, from_position: 1, to_position: 1 }).unwrap();
        }
        assert_eq!(steps(&topology), []);
        (topology, moved)
    }

    fn counts(topology: &Topology) -> Vec<usize> {
        (0..topology.shards()).map(|shard| topology.slots_of(shard).unwrap()).collect()
    }

    #[test]
    fn who_joins_takes_a_share_and_nothing_moves_between_the_others() {
        for strategy in [Strategy::Hash, Strategy::Ring { weights: Vec::new() }] {
            let (shards, strategy) = strategy.settled(Some(4)).unwrap();
            let topology = Topology::new(shards, strategy);
            assert_eq!(steps(&topology), []);
            let topology = topology.with_shard(1, None, goal(GoalKind::Add(4)));
            assert!(steps(&topology).iter().all(|step| step.to == 4));
            let (topology, moved) = applied(topology);
            assert!((0.18..0.22).contains(&(moved as f64 / f64::from(SLOTS))), "{moved}");
            assert!(counts(&topology).iter().all(|count| (819..=820).contains(count)), "{:?}", counts(&topology));
            let (topology, moved) = applied(topology.with_draining(2, goal(GoalKind::Drain(2))));
            assert!((819..=820).contains(&moved));
            assert_eq!(counts(&topology), [1024, 1024, 0, 1024, 1024]);
            assert_eq!(Topology::from_json(&topology.to_json()).as_ref(), Ok(&topology));
        }
    }

    /// A record never leaves its region: neither as a whole of the plan, nor by a single move, nor in a table that is read.
    #[test]
    fn who_joins_a_region_takes_of_that_region_alone_and_nothing_leaves_one() {
        let region =
            |name: &str, shards: &[u16]| Region { name: name.to_owned(), shards: shards.to_vec(), keys: vec![format!("{name}-*")] };
        let regions = vec![region("eu", &[0, 2]), region("us", &[1])];
        let topology = Topology::new(3, Strategy::Geo { regions, default_region: None });
        assert_eq!(steps(&topology), []);
        let (topology, moved) = applied(topology.with_shard(1, Some("eu"), goal(GoalKind::Add(3))));
        assert!((1_364..=1_366).contains(&moved), "{moved}");
        assert!(topology.slots_of(1) == Some(4_096) && topology.slots_of(3) == Some(moved), "{:?}", counts(&topology));
        for number in 0..2_000 {
            assert_ne!(topology.owner(&format!("eu-{number}")), 1);
            assert_eq!(topology.owner(&format!("us-{number}")), 1);
        }
        let text = topology.to_json();
        assert_eq!(Topology::from_json(&text).as_ref(), Ok(&topology));
        assert!(!text.contains("\"us\":["), "a region that was not changed keeps its formula");
        let (topology, _) = applied(topology.with_draining(0, goal(GoalKind::Drain(0))));
        assert_eq!(counts(&topology), [0, 4_096, 2_048, 2_048]);
        let mine = |slots: Vec<u16>| Part::Region { region: "eu".to_owned(), slots };
        let slot = (0..SLOTS).zip(topology.slot_tables()[0].1).find(|(_, owner)| **owner == 2).unwrap().0;
        let out = Move { version: 0, part: mine(vec![slot]), from: 2, to: 1, from_position: 1, to_position: 1 };
        assert!(topology.with_move(out).unwrap_err().contains("nothing leaves"));
        let text = topology.to_json();
        let odd = text.replacen("\"region_slots\":{\"eu\":[2", "\"region_slots\":{\"eu\":[1", 1).replacen("\"eu\":[3", "\"eu\":[1", 1);
        assert_ne!(odd, text);
        assert!(Topology::from_json(&odd).unwrap_err().contains("not in it"));
    }

    #[test]
    fn weights_are_kept_and_a_heavier_shard_takes_more() {
        let topology = Topology::new(2, Strategy::Ring { weights: vec![1, 1] }).with_shard(2, None, goal(GoalKind::Add(2)));
        let (topology, moved) = applied(topology);
        assert_eq!((counts(&topology), moved), (vec![1024, 1024, 2048], 2048));
    }

    #[test]
    fn moves_that_do_not_follow_from_each_other_are_damage() {
        let topology = Topology::new(2, Strategy::Hash);
        let moved = |from, to| Move { version: 0, part: Part::Slots(vec![0]), from, to, from_position: 5, to_position: 7 };
        assert!(topology.with_move(moved(1, 0)).is_err(), "slot 0 is shard 0's");
        let topology = topology.with_move(moved(0, 1)).unwrap().with_move(moved(1, 0)).unwrap();
        assert_eq!(topology.version(), 3);
        let text = topology.to_json();
        assert_eq!(Topology::from_json(&text), Ok(topology));
        assert!(Topology::from_json(&text.replacen("\"from\":0,\"to\":1", "\"from\":1,\"to\":0", 1)).is_err());
    }
}
