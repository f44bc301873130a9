//! Does what moves between ranges even them out, and is it no more than that?

use super::*;
use crate::shard::Goal;
use crate::shard::GoalKind;
use crate::shard::Move;
use crate::shard::Strategy;
use crate::shard::fixture::Random;
use crate::shard::steps;

fn topology(splits: &[&str]) -> Topology {
    let strategy = Strategy::Range { splits: splits.iter().map(|split| (*split).to_owned()).collect() };
    let (shards, strategy) = strategy.settled(None).unwrap();
    Topology::new(shards, strategy)
}

fn loads(loads: &[(&str, u64)]) -> Vec<KeyLoad> {
    loads.iter().map(|(key, events)| KeyLoad { key: (*key).to_owned(), events: *events }).collect()
}

fn goal(kind: GoalKind, planned: Vec<KeyStep>) -> Goal {
    Goal { job: "a job".to_owned(), kind, started_at: 0, total: 0, is_paused: false, planned, why: None }
}

fn applied(mut topology: Topology) -> Topology {
    while let Some(step) = steps(&topology).into_iter().next() {
        let moved = Move { version: 0, part: step.part, from: step.from, to: step.to, from_position: 1, to_position: 1 };
        topology = topology.with_move(moved).unwrap();
        // As after a restart in the middle of it.
        assert_eq!(Topology::from_json(&topology.to_json()).as_ref(), Ok(&topology));
    }
    topology
}

fn table(topology: &Topology) -> String {
    let ranges = topology.ranges().unwrap();
    ranges.starts().map(|(from, owner)| format!("{from}:{owner}")).collect::<Vec<_>>().join(" ")
}

fn added(topology: &Topology, split: Option<&str>, loads: &[KeyLoad]) -> Topology {
    let newcomer = topology.shards();
    let planned = add(topology, newcomer, split, loads).unwrap();
    applied(topology.with_shard(1, None, goal(GoalKind::Add(newcomer), planned)))
}

fn drained(topology: &Topology, shard: u16, loads: &[KeyLoad]) -> Topology {
    let planned = drain(topology, shard, loads).unwrap();
    applied(topology.with_draining(shard, goal(GoalKind::Drain(shard), planned)))
}

#[test]
fn who_joins_takes_the_upper_half_of_the_heaviest_range() {
    let before = topology(&["g", "n"]);
    let loads = loads(&[("a", 5), ("h", 1), ("i", 4), ("k", 4), ("l", 1), ("z", 9)]);
    let four = added(&before, None, &loads);
    assert_eq!(table(&four), ":0 g:1 k:3 n:2");
    assert_eq!((four.owner("jzz"), four.owner("k"), four.owner("x-{k}-1"), four.owner("$k")), (1, 3, 3, 0));
    let tenures = |stream| four.tenures(stream).map(|had| had.iter().map(|tenure| tenure.shard).collect::<Vec<_>>());
    assert_eq!((tenures("k1"), tenures("j"), tenures("a"), tenures("$k1")), (Some(vec![1, 3]), None, None, None));
    // One key can't be parted, so the next heaviest is.
    assert_eq!(table(&added(&before, None, &super::tests::loads(&[("a", 1), ("b", 1), ("z", 9)]))), ":0 b:3 g:1 n:2");
    assert_eq!(table(&added(&before, Some("z-7"), &[])), ":0 g:1 n:2 z-7:3");
    let refused = add(&before, 3, Some("g"), &[]).unwrap_err();
    assert!(matches!(&refused, Error::Invalid { field, .. } if field == "split"), "{refused:?}");
    let refused = add(&before, 3, None, &super::tests::loads(&[("a", 1)])).unwrap_err();
    assert!(matches!(&refused, Error::TopologyConflict { detail } if detail.contains("split")), "{refused:?}");
}

#[test]
fn what_is_drained_goes_to_the_lighter_neighbour_and_is_one_range_with_it() {
    let before = topology(&["g", "n"]);
    assert_eq!(table(&drained(&before, 1, &loads(&[("a", 5), ("h", 7), ("z", 4)]))), ":0 g:2");
    assert_eq!(table(&drained(&before, 1, &loads(&[("a", 3), ("h", 7), ("z", 4)]))), ":0 n:2");
    assert_eq!(table(&drained(&before, 2, &loads(&[("a", 3), ("h", 7), ("z", 4)]))), ":0 g:1");
    // The shard that had everything gives it to who is there.
    let one = drained(&topology(&["n"]), 1, &[]);
    let two = added(&one, Some("t"), &[]);
    assert_eq!((table(&one), table(&two)), (":0".to_owned(), ":0 t:2".to_owned()));
    assert_eq!(table(&drained(&two, 2, &[])), ":0");
    assert!(drain(&drained(&two, 2, &[]), 0, &[]).is_err());
}

#[test]
fn heavy_shards_give_to_light_ones_until_they_are_even() {
    let mut random = Random::new("heavy_shards_give_to_light_ones_until_they_are_even");
    for _ in 0..100 {
        let mut ranges = topology(&["k200", "k400", "k600"]);
        let skew = 1 + random.below(50);
        let loads: Vec<KeyLoad> = (0..800)
            .map(|number| KeyLoad {
                key: format!("k{number:03}"),
                events: 1 + u64::from(random.below(if number < 200 { 10 * skew } else { 10 })),
            })
            .collect();
        let planned = rebalance(&ranges, &loads).unwrap();
        assert!(planned.len() <= 8, "{planned:?}");
        ranges = applied(ranges.with_goal(Some(goal(GoalKind::Rebalance, planned))));
        let weights: Vec<u64> = weights(&ranges, ranges.ranges().unwrap(), &loads).into_values().collect();
        let mean = weights.iter().sum::<u64>() / 4;
        assert!(weights.iter().all(|weight| *weight * 5 <= mean * 6 + 5), "{weights:?}");
        assert_eq!(rebalance(&ranges, &loads).unwrap(), []);
    }
    // One key that has nearly all: no move helps, so there is none.
    assert_eq!(rebalance(&topology(&["n"]), &loads(&[("a", 1_000), ("z", 1)])).unwrap(), []);
    assert_eq!(rebalance(&topology(&["n"]), &[]).unwrap(), []);
}

#[test]
fn a_shard_that_is_drained_takes_nothing() {
    let before = topology(&["g", "n"]);
    let loads = loads(&[("a", 1), ("h", 10), ("i", 10), ("z", 20)]);
    let without = drained(&before, 2, &loads);
    let planned = rebalance(&without, &loads).unwrap();
    assert!(planned.iter().all(|step| step.to != 2) && !planned.is_empty(), "{planned:?}");
}

/// Whatever is added, drained and evened out: every key has one owner, which is the last that had it, and what is kept reads back.
#[test]
fn every_key_has_the_owner_that_had_it_last() {
    let mut random = Random::new("every_key_has_the_owner_that_had_it_last");
    for _ in 0..40 {
        let mut topology = topology(&["k3", "k6"]);
        let loads: Vec<KeyLoad> =
            (0..200).map(|number| KeyLoad { key: format!("k{:03}", number * 5), events: 1 + u64::from(random.below(30)) }).collect();
        for _ in 0..12 {
            let shard = random.below(topology.shards());
            match random.below(3) {
                0 => topology = added(&topology, Some(&format!("k{:03}x", random.below(1_000))), &loads),
                1 if topology.drained().len() + 1 < usize::from(topology.shards()) && !topology.drained().contains(&shard) => {
                    topology = drained(&topology, shard, &loads);
                    assert!(!topology.owns_any(shard));
                }
                _ => {
                    let planned = rebalance(&topology, &loads).unwrap();
                    topology = applied(topology.with_goal(Some(goal(GoalKind::Rebalance, planned))));
                }
            }
            for number in 0..1_000 {
                let key = format!("k{number:03}");
                let owner = topology.owner(&key);
                assert!(!topology.drained().contains(&owner));
                assert!(topology.tenures(&key).is_none_or(|had| had.last().unwrap().shard == owner));
            }
        }
    }
}
