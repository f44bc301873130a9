//! Is every id found, whatever it shares with others and however runs were merged?

use std::collections::BTreeMap;

use crate::EventId;
use crate::Position;
use crate::index::Index;

use super::Random;
use super::apply;
use super::disk;
use super::event;
use super::open;

fn positions(index: &Index, id: [u8; 16]) -> Vec<u64> {
    index.candidates_by_id(EventId::from_bytes(id)).unwrap().into_iter().map(Position::get).collect()
}

#[test]
fn ids_are_found_in_runs_of_every_size() {
    let mut random = Random::from_env(11);
    let disk = disk();
    let mut index = open(&disk);
    let mut ids: BTreeMap<[u8; 16], u64> = BTreeMap::new();
    let mut position = 0;
    for round in 0..60 {
        let count = if round % 20 == 7 { 40_000 } else { 1 + random.below(3000) };
        for _ in 0..count {
            position += 1;
            let mut event = event(position, &format!("s-{position}"), 1);
            event.id[..8].copy_from_slice(&random.next().to_be_bytes());
            if random.below(2) == 0 {
                // Ids that begin with the time.
                event.id[..6].copy_from_slice(&(position / 50).to_be_bytes()[2..]);
            }
            ids.insert(event.id, position);
            apply(&index, &[event]);
        }
        index.flush().unwrap();
        if round % 13 == 5 {
            drop(index);
            index = open(&disk);
        }
        let probe = ids.iter().skip(usize::try_from(random.below(50)).unwrap()).step_by(97);
        for (id, position) in probe {
            assert_eq!(positions(&index, *id), [*position], "round {round}");
        }
        assert_eq!(positions(&index, super::spread_id(u64::MAX - round)), []);
    }
    for (id, position) in &ids {
        assert_eq!(positions(&index, *id), [*position]);
    }
}

#[test]
fn ids_that_share_a_short_key_are_both_candidates() {
    // Bytes 1 to 4 are the same in all, so four bytes of a hash tell them apart: some of so many do share these.
    let id = |number: u64| {
        let mut id = [7; 16];
        id[8..].copy_from_slice(&number.to_be_bytes());
        id
    };
    let disk = disk();
    let index = open(&disk);
    let events: Vec<_> = (1..=300_000u64)
        .map(|position| {
            let mut event = event(position, "a-1", position);
            event.id = id(position);
            event
        })
        .collect();
    for part in events.chunks(50_000) {
        apply(&index, part);
        index.flush().unwrap();
    }
    let mut shared = 0;
    for position in 1..=300_000 {
        let found = positions(&index, id(position));
        assert!(found.contains(&position), "{position}: {found:?}");
        shared += u64::from(found.len() > 1);
    }
    assert!((2..200).contains(&shared), "{shared} ids share their short key");
}
