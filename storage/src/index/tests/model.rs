//! Random work against plain maps: every answer must be the same, in memory, flushed, and opened again.

use std::collections::BTreeMap;
use std::collections::BTreeSet;

use crate::EventId;
use crate::Position;
use crate::Retention;
use crate::STREAMS_STREAM;
use crate::Timestamp;
use crate::Version;
use crate::category;
use crate::index::Change;
use crate::index::Index;
use crate::index::StreamHead;
use crate::index::TermKind;
use crate::is_system;

use super::Event;
use super::Random;
use super::apply;
use super::disk;
use super::event;
use super::open;
use super::recorded_at;

/// What was applied, and what it means.
#[derive(Default)]
pub(super) struct Model {
    pub(super) events: Vec<Event>,
    pub(super) heads: BTreeMap<String, StreamHead>,
    lists: BTreeMap<String, Vec<u64>>,
    /// The streams that were adopted before they were written here, with how many of their versions are in no list.
    came_from_elsewhere: BTreeMap<String, u64>,
    last: u64,
}

impl Model {
    pub(super) fn add(&mut self, event: Event) {
        let at = recorded_at(event.position);
        let head = self.heads.entry(event.stream.clone()).or_insert_with(|| new_head(at));
        let list = self.lists.entry(event.stream.clone()).or_default();
        list.resize(usize::try_from(event.version - 1).unwrap(), 0);
        list.push(event.position);
        head.version = Version::new(event.version);
        head.last_position = Position::new(event.position);
        head.updated_at = at;
        head.is_deleted = false;
        if let Some((stream, change)) = &event.control {
            let head = self.heads.entry(stream.clone()).or_insert_with(|| new_head(at));
            match change {
                Change::Deleted { before_version } => {
                    head.deleted_through = head.deleted_through.max(*before_version);
                    head.is_deleted = true;
                }
                Change::Tombstoned => head.is_tombstoned = true,
                Change::Retention(retention) => {
                    head.retention = *retention;
                    head.was_retained = true;
                }
                Change::Adopted(left) => {
                    let list = self.lists.entry(stream.clone()).or_default();
                    if head.version == Version::ZERO {
                        self.came_from_elsewhere.insert(stream.clone(), left.version.get() / 128 * 128);
                    }
                    list.resize(usize::try_from(left.version.get()).unwrap(), 0);
                    *head = StreamHead {
                        last_position: Position::new(event.position),
                        is_adopted: true,
                        was_retained: head.was_retained || left.was_retained,
                        ..*left
                    };
                }
            }
        }
        self.last = event.position;
        self.events.push(event);
    }

    pub(super) fn events_with(&self, matches: impl Fn(&Event) -> bool) -> Vec<u64> {
        self.events.iter().filter(|event| matches(event)).map(|event| event.position).collect()
    }
}

fn new_head(at: Timestamp) -> StreamHead {
    StreamHead {
        version: Version::ZERO,
        deleted_through: Version::ZERO,
        last_position: Position::ZERO,
        created_at: at,
        updated_at: at,
        is_deleted: false,
        is_tombstoned: false,
        retention: Retention::default(),
        was_retained: false,
        is_adopted: false,
    }
}

/// The next events of a log with a few busy streams, many quiet ones, some lost positions, and controls.
pub(super) fn more(random: &mut Random, model: &Model, count: u64) -> Vec<Event> {
    let mut events: Vec<Event> = Vec::new();
    let mut position = model.last;
    let mut versions: BTreeMap<String, u64> = BTreeMap::new();
    for _ in 0..count {
        position += if random.below(50) == 0 { 1 + random.below(5) } else { 1 };
        let control = (random.below(20) == 0 && !model.heads.is_empty()).then(|| control(random, model, &versions));
        let stream = match random.below(10) {
            _ if control.is_some() => STREAMS_STREAM.to_owned(),
            0..=3 => format!("busy-{}", random.below(3)),
            4..=7 => format!("quiet-{}", random.below(400)),
            _ => format!("rare{}-x", random.below(30)),
        };
        if let Some((name, Change::Adopted(left))) = &control {
            versions.insert(name.clone(), left.version.get());
        }
        let known = model.heads.get(&stream).map_or(0, |head| head.version.get());
        let version = versions.entry(stream.clone()).or_insert(known);
        // A jump stands for lost events; a version is never above its position, unless another log has some of them.
        *version = (*version + if random.below(60) == 0 { 3 } else { 1 }).min(position.max(*version + 1));
        let mut new = event(position, &stream, *version);
        new.event_type = format!("Type{}", random.below(4) * random.below(4));
        for _ in 0..random.below(3) {
            let tag = if random.below(2) == 0 { random.below(3) } else { random.below(500) };
            new.tags.push(format!("tag:{tag}"));
        }
        new.control = control;
        events.push(new);
    }
    events
}

fn control(random: &mut Random, model: &Model, versions: &BTreeMap<String, u64>) -> (String, Change) {
    if random.below(5) == 0 {
        return adoption(random, model, versions);
    }
    let names: Vec<&String> = model.heads.keys().filter(|name| !is_system(name)).collect();
    let Some(name) = (!names.is_empty()).then(|| (*random.pick(&names)).clone()) else {
        return ("never-written".to_owned(), Change::Tombstoned);
    };
    let version = versions.get(&name).copied().unwrap_or_else(|| model.heads[&name].version.get());
    let change = match random.below(4) {
        0 | 1 => Change::Deleted { before_version: Version::new(version) },
        2 => Change::Tombstoned,
        // Zero takes it off again.
        _ => Change::Retention(Retention { max_count: Some(random.below(9)).filter(|count| *count > 0), ..Retention::default() }),
    };
    (name, change)
}

/// A stream that comes from another log, or comes back from there.
fn adoption(random: &mut Random, model: &Model, versions: &BTreeMap<String, u64>) -> (String, Change) {
    let name = format!("quiet-{}", random.below(500));
    let known = versions.get(&name).copied().or_else(|| model.heads.get(&name).map(|head| head.version.get())).unwrap_or(0);
    let version = known + random.below(if known == 0 { 700 } else { 40 }) + u64::from(known == 0);
    let is_retained = random.below(4) == 0;
    let left = StreamHead {
        version: Version::new(version),
        deleted_through: Version::new(if random.below(4) == 0 { version / 2 } else { 0 }),
        last_position: Position::new(random.next()),
        is_tombstoned: random.below(9) == 0,
        was_retained: is_retained,
        retention: Retention { max_count: is_retained.then_some(7), ..Retention::default() },
        updated_at: Timestamp::from_micros(1_700_000_000_000_123),
        ..new_head(Timestamp::from_micros(1_600_000_000_000_000))
    };
    (name, Change::Adopted(left))
}

/// Compares every answer but searches with the model's.
pub(super) fn check(index: &Index, model: &Model, random: &mut Random) {
    assert_eq!(index.applied().get(), model.last);
    for (name, head) in &model.heads {
        assert_eq!(index.head(name).unwrap().as_ref(), Some(head), "{name}");
        assert_eq!(index.hidden().get(name).as_ref(), head.hides().then_some(head), "{name}");
    }
    assert_eq!(index.head("nobody").unwrap(), None);
    for (name, list) in &model.lists {
        let from = 1 + random.below(list.len() as u64 + 2);
        let limit = usize::try_from(1 + random.below(300)).unwrap();
        let unlisted = model.came_from_elsewhere.get(name).copied().unwrap_or(0);
        let all = list.iter().enumerate().map(|(index, position)| (index as u64 + 1, *position));
        let all = all.filter(|(version, _)| *version > unlisted);
        let forward: Vec<_> = all.clone().filter(|(version, _)| *version >= from).take(limit).collect();
        let backward: Vec<_> = all.filter(|(version, _)| *version <= from).rev().take(limit).collect();
        for (expected, is_backward) in [(forward, false), (backward, true)] {
            let found = index.stream_positions(name, Version::new(from), limit, is_backward).unwrap();
            let found: Vec<_> = found.into_iter().map(|(version, position)| (version.get(), position.get())).collect();
            assert_eq!(found, expected, "{name} from {from}, limit {limit}, backward {is_backward}");
        }
    }
    check_counts(index, model);
    check_names(index, model, random);
    for event in &model.events {
        let found = index.candidates_by_id(EventId::from_bytes(event.id)).unwrap();
        assert!(found.contains(&Position::new(event.position)), "{event:?}: {found:?}");
    }
}

fn check_counts(index: &Index, model: &Model) {
    // Where a stream began, it is counted.
    let begun = |name: &str| !model.came_from_elsewhere.contains_key(name);
    let written = || model.heads.iter().filter(|(name, head)| head.version > Version::ZERO && begun(name)).map(|(name, _)| name);
    assert_eq!(index.stream_count().unwrap(), written().filter(|name| !is_system(name)).count() as u64);
    let categories = index.categories().unwrap();
    let names: BTreeSet<&str> = model.events.iter().map(|event| category(&event.stream)).collect();
    assert_eq!(categories.iter().map(|info| info.term.as_str()).collect::<Vec<_>>(), names.into_iter().collect::<Vec<_>>());
    for info in categories {
        assert_eq!(info.streams, written().filter(|name| category(name) == info.term).count() as u64, "{info:?}");
        assert_eq!(info.events, model.events_with(|event| category(&event.stream) == info.term).len() as u64, "{info:?}");
    }
    let types: BTreeSet<&str> = model.events.iter().map(|event| event.event_type.as_str()).collect();
    let found = index.types().unwrap();
    assert_eq!(found.iter().map(|info| info.term.as_str()).collect::<Vec<_>>(), types.into_iter().collect::<Vec<_>>());
    for info in found {
        let (all, client): (Vec<&Event>, Vec<&Event>) = (
            model.events.iter().filter(|event| event.event_type == info.term).collect(),
            model.events.iter().filter(|event| event.event_type == info.term && !is_system(&event.stream)).collect(),
        );
        assert_eq!((info.events, info.client_events), (all.len() as u64, client.len() as u64), "{info:?}");
        assert_eq!(index.term_events(TermKind::Type, &info.term).unwrap(), info.events);
    }
}

fn check_names(index: &Index, model: &Model, random: &mut Random) {
    let names: Vec<&String> = model.heads.keys().collect();
    let after = (!names.is_empty() && random.below(3) > 0).then(|| (*random.pick(&names)).as_str());
    let prefix = *random.pick(&["", "q", "quiet-1", "busy", "rare2", "$", "zzz"]);
    let limit = usize::try_from(random.below(60)).unwrap();
    let expected: Vec<(String, StreamHead)> = model
        .heads
        .iter()
        .filter(|(name, head)| head.version > Version::ZERO && name.starts_with(prefix) && after.is_none_or(|after| name.as_str() > after))
        .take(limit)
        .map(|(name, head)| (name.clone(), *head))
        .collect();
    let found = index.streams(after, prefix, limit).unwrap();
    let found: Vec<(String, StreamHead)> = found.into_iter().map(|(name, head)| (name.to_string(), head)).collect();
    assert_eq!(found, expected, "after {after:?}, prefix {prefix:?}, limit {limit}");
}

#[test]
fn answers_like_the_model() {
    let mut random = Random::from_env(1);
    let mut searched = 0;
    for _ in 0..8 {
        let disk = disk();
        let mut index = open(&disk);
        let mut model = Model::default();
        for _ in 0..14 {
            let count = 1 + random.below(400);
            let events = more(&mut random, &model, count);
            apply(&index, &events);
            events.into_iter().for_each(|event| model.add(event));
            check(&index, &model, &mut random);
            match random.below(4) {
                0 => {}
                1 => {
                    drop(index);
                    index = open(&disk);
                    // Everything again: what the file holds is skipped.
                    apply(&index, &model.events);
                }
                _ => {
                    index.flush().unwrap();
                    assert_eq!((index.durable().get(), index.pending_events()), (model.last, 0));
                }
            }
            check(&index, &model, &mut random);
            searched += super::searching::check(&index, &model, &mut random);
        }
    }
    assert!(searched > 100, "only {searched} searches found anything in the index");
}

#[test]
fn the_same_work_makes_the_same_file() {
    let run = || {
        let disk = disk();
        let index = open(&disk);
        let (mut random, mut model) = (Random(5), Model::default());
        for _ in 0..6 {
            let events = more(&mut random, &model, 500);
            apply(&index, &events);
            events.into_iter().for_each(|event| model.add(event));
            index.flush().unwrap();
        }
        drop(index);
        let file = disk.open("index.redb").unwrap();
        let mut bytes = vec![0; usize::try_from(file.len().unwrap()).unwrap()];
        crate::disk::read_exact_at(&*file, &mut bytes, 0).unwrap();
        bytes
    };
    assert!(run() == run());
}
