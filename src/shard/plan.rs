//! Which slots go where, so that each shard has its share?

use std::cmp::Reverse;

use super::Topology;
use super::hash_ring;
use super::partition::SLOTS;

/// Slots that are to go from one shard to another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Step {
    /// Ascending.
    pub(crate) slots: Vec<u16>,
    pub(crate) from: u16,
    pub(crate) to: u16,
}

/// All that has to move, and nothing that has not: who has more than its share gives, and who has less takes what lies nearest to its
/// points on the ring.
pub(crate) fn steps(topology: &Topology) -> Vec<Step> {
    let shards = topology.shards();
    let mut owned: Vec<Vec<u16>> = (0..shards).map(|_| Vec::new()).collect();
    for (slot, owner) in (0..SLOTS).zip(topology.slots()) {
        if let Some(slots) = owned.get_mut(usize::from(*owner)) {
            slots.push(slot);
        }
    }
    let counts: Vec<usize> = owned.iter().map(Vec::len).collect();
    let weights: Vec<u32> = (0..shards).map(|shard| topology.weight(shard)).collect();
    let shares = shares(&weights, &counts);
    let mut steps: Vec<Step> = Vec::new();
    for taker in 0..shards {
        let at = usize::from(taker);
        let mut wanted = shares[at].saturating_sub(counts[at]);
        if wanted == 0 {
            continue;
        }
        let points = hash_ring::points(taker, weights[at]);
        // The nearest last.
        for slots in &mut owned {
            slots.sort_by_cached_key(|slot| (Reverse(hash_ring::distance(*slot, &points)), *slot));
        }
        while wanted > 0 {
            let surplus = |giver: &usize| owned[*giver].len().saturating_sub(shares[*giver]);
            let Some(giver) =
                (0..usize::from(shards)).max_by_key(|giver| (surplus(giver), Reverse(*giver))).filter(|giver| surplus(giver) > 0)
            else {
                break;
            };
            let Some(slot) = owned.get_mut(giver).and_then(Vec::pop) else { break };
            wanted -= 1;
            let from = u16::try_from(giver).expect("the number of shards is a u16");
            match steps.iter_mut().find(|step| (step.from, step.to) == (from, taker)) {
                Some(step) => step.slots.push(slot),
                None => steps.push(Step { slots: vec![slot], from, to: taker }),
            }
        }
    }
    steps.iter_mut().for_each(|step| step.slots.sort_unstable());
    steps
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
    use crate::shard::Strategy;

    fn goal(kind: GoalKind) -> Goal {
        Goal { job: "a job".to_owned(), kind, started_at: 0, total: 0, is_paused: false }
    }

    fn applied(mut topology: Topology) -> (Topology, usize) {
        let mut moved = 0;
        for Step { slots, from, to } in steps(&topology) {
            assert!(slots.is_sorted() && !slots.is_empty());
            moved += slots.len();
            topology = topology.with_move(Move { version: 0, slots, from, to, from_position: 1, to_position: 1 }).unwrap();
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
            let topology = topology.with_shard(1, goal(GoalKind::Add(4)));
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

    #[test]
    fn weights_are_kept_and_a_heavier_shard_takes_more() {
        let topology = Topology::new(2, Strategy::Ring { weights: vec![1, 1] }).with_shard(2, goal(GoalKind::Add(2)));
        let (topology, moved) = applied(topology);
        assert_eq!((counts(&topology), moved), (vec![1024, 1024, 2048], 2048));
    }

    #[test]
    fn moves_that_do_not_follow_from_each_other_are_damage() {
        let topology = Topology::new(2, Strategy::Hash);
        let moved = |from, to| Move { version: 0, slots: vec![0], from, to, from_position: 5, to_position: 7 };
        assert!(topology.with_move(moved(1, 0)).is_err(), "slot 0 is shard 0's");
        let topology = topology.with_move(moved(0, 1)).unwrap().with_move(moved(1, 0)).unwrap();
        assert_eq!(topology.version(), 3);
        let text = topology.to_json();
        assert_eq!(Topology::from_json(&text), Ok(topology));
        assert!(Topology::from_json(&text.replacen("\"from\":0,\"to\":1", "\"from\":1,\"to\":0", 1)).is_err());
    }
}
