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
        let mut events = Vec::new();
        for _ in 0..count {
            position += 1;
            let mut event = event(position, &format!("s-{position}"), 1);
            event.id[..8].copy_from_slice(&random.next().to_be_bytes());
            if random.below(2) == 0 {
                // Ids that begin with the time.
                event.id[..6].copy_from_slice(&(position / 50).to_be_bytes()[2..]);
            }
            ids.insert(event.id, position);
            events.push(event);
        }
        apply(&index, &events);
        index.flush().unwrap();
        if round % 13 == 5 {
            drop(index);
            index = open(&disk);
        }
        let probe = ids.iter().skip(usize::try_from(random.below(50)).unwrap()).step_by(997);
        for (id, position) in probe {
            assert_eq!(positions(&index, *id), [*position], "round {round}");
        }
        assert_eq!(positions(&index, super::spread_id(u64::MAX - round)), []);
    }
    let wanted: Vec<EventId> = ids.keys().map(|id| EventId::from_bytes(*id)).collect();
    let found: Vec<u64> = index.candidates_by_ids(&wanted).unwrap().into_iter().map(|(_, position)| position.get()).collect();
    assert_eq!(found, ids.into_values().collect::<Vec<_>>());
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
    let wanted: Vec<EventId> = (1..=300_000).map(|position| EventId::from_bytes(id(position))).collect();
    let found = index.candidates_by_ids(&wanted).unwrap();
    let own = found.iter().filter(|(index, position)| position.get() == *index as u64 + 1).count();
    assert_eq!(own, 300_000);
    assert!((2..200).contains(&(found.len() - own)), "{} entries more for ids that share a short key", found.len() - own);
    let (shared, other) = *found.iter().find(|(index, position)| position.get() != *index as u64 + 1).unwrap();
    assert!(positions(&index, id(shared as u64 + 1)).contains(&other.get()));
}
