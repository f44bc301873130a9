//! Is everybody woken for what they want, and for nothing else?

use std::sync::Arc;

use factum_storage as storage;
use futures::FutureExt;
use storage::Filter;
use storage::Position;
use storage::Store;

use super::Filled;
use super::Follower;
use super::Interest;
use super::Live;
use super::Meters;
use crate::shard::fixture;

struct Log {
    store: Store,
    live: Arc<Live>,
    events: u64,
}

impl Log {
    fn new(ring_bytes: usize) -> Self {
        let store = fixture::store();
        let live = Arc::new(Live::new(0, store.reader(), ring_bytes, Arc::new(Meters::new(0))));
        Self { store, live, events: 0 }
    }

    /// One commit.
    fn append(&mut self, stream: &str, event_type: &str, tags: &[&str]) {
        self.events += 1;
        fixture::stage(&mut self.store, self.events, stream, event_type, tags);
        self.store.commit().unwrap();
    }

    /// What the thread does. Says whether it was for anybody.
    fn publish(&self) -> bool {
        self.live.fill(&mut false) == Filled::ForSome
    }
}

/// A follower of what matches, and how far it has come.
struct Reader {
    filter: Filter,
    follower: Follower,
    after: Position,
}

impl Reader {
    fn new(log: &Log, filter: Filter) -> Self {
        let follower = Follower::new(&log.live, Interest::of(&filter));
        Self { filter, follower, after: log.store.reader().committed() }
    }

    fn is_woken(&mut self) -> bool {
        self.follower.changed().now_or_never().is_some()
    }

    /// The positions of what it gets from memory, at most `max`, and whether that is all.
    fn read(&mut self, max: usize) -> (Vec<u64>, bool) {
        let slice = self.follower.read(self.after, |event| self.filter.matches(event), max, usize::MAX).expect("memory has it");
        self.after = slice.through;
        (slice.events.iter().map(|event| event.position().get()).collect(), slice.at_end)
    }
}

fn of_category(category: &str) -> Filter {
    Filter { categories: vec![category.to_owned()], ..Filter::default() }
}

#[test]
fn s7_who_wants_nothing_of_it_is_not_woken_and_keeps_up_all_the_same() {
    // Room for a hundred events or so.
    let mut log = Log::new(8 << 10);
    let mut rare = Reader::new(&log, of_category("rare"));
    let mut all = Reader::new(&log, Filter::default());
    assert_eq!(rare.read(10), (Vec::new(), true));
    for _ in 0..1_000 {
        log.append("often-1", "T", &[]);
        log.publish();
        assert!(!rare.is_woken());
        assert!(all.is_woken());
    }
    assert!(log.live.ring.read().read(rare.after, |_| true, 1, 1).is_none(), "the ring reaches back");
    log.append("rare-1", "T", &[]);
    log.append("often-1", "T", &[]);
    log.publish();
    assert!(rare.is_woken());
    assert_eq!(rare.read(10), (vec![1_001], true));
    assert!(!rare.is_woken());
    assert_eq!(rare.after.get(), 1_002);
    // It looks without being woken, and is at the end.
    for _ in 0..1_000 {
        log.append("often-1", "T", &[]);
        log.publish();
    }
    assert_eq!(rare.read(10), (Vec::new(), true));
    assert_eq!(rare.after.get(), 2_002);
}

#[test]
fn s7_thousands_who_wait_for_something_rare_are_left_alone() {
    let mut log = Log::new(1 << 20);
    let mut waiting: Vec<_> = (0..10_000).map(|number| Reader::new(&log, of_category(&format!("rare{number}")))).collect();
    waiting.iter_mut().for_each(|reader| drop(reader.read(10)));
    for number in 0..100 {
        log.append(&format!("often-{number}"), "T", &["x"]);
        assert!(!log.publish());
    }
    assert!(!waiting.iter_mut().any(Reader::is_woken));
    log.append("rare5000-1", "T", &[]);
    log.publish();
    let woken: Vec<usize> = (0..waiting.len()).filter(|at| waiting[*at].is_woken()).collect();
    assert_eq!(woken, [5_000]);
    assert_eq!(waiting[5_000].read(10), (vec![101], true));
    drop(waiting);
    assert!(log.live.interested.lock().all().is_empty());
}

#[test]
fn who_reads_a_part_finds_the_rest() {
    let mut log = Log::new(1 << 20);
    let mut reader = Reader::new(&log, of_category("a"));
    reader.read(10);
    log.append("a-1", "T", &[]);
    log.append("a-1", "T", &[]);
    log.publish();
    assert!(reader.is_woken());
    assert_eq!(reader.read(1), (vec![1], false));
    log.append("b-1", "T", &[]);
    log.publish();
    assert_eq!(reader.read(1), (vec![2], false));
    assert_eq!(reader.read(1), (Vec::new(), true));
    assert!(!reader.is_woken());
}

#[test]
fn everybody_gets_what_they_want_however_things_fall_together() {
    let mut random = storage::disk::sim::Rng::new(7);
    let text = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
    let filters = [
        Filter::default(),
        of_category("a"),
        Filter { types: text(&["T", "U"]), ..Filter::default() },
        Filter { tags: text(&["x"]), types: text(&["U"]), ..Filter::default() },
        Filter { stream_prefix: Some("b-1".into()), ..Filter::default() },
        Filter { tags: text(&["y"]), ..Filter::default() },
    ];
    let mut log = Log::new(1 << 20);
    let mut readers: Vec<_> = filters.iter().map(|filter| (Reader::new(&log, filter.clone()), Vec::new())).collect();
    for (reader, _) in &mut readers {
        reader.read(10);
    }
    for _ in 0..3_000 {
        match random.below(4) {
            0 | 1 => {
                let stream = *random.pick(&["a-1", "b-1", "b-12", "c-1"]).unwrap();
                let tags = *random.pick(&[&[][..], &["x"], &["y", "x"]]).unwrap();
                log.append(stream, random.pick(&["T", "U", "V"]).unwrap(), tags);
            }
            2 => {
                log.publish();
            }
            _ => {
                let at = random.index(readers.len());
                let (reader, got) = &mut readers[at];
                // As a feed does: only what it was woken for, and then to the end.
                if reader.is_woken() {
                    let max = 1 + random.index(3);
                    loop {
                        let (positions, at_end) = reader.read(max);
                        got.extend(positions);
                        if at_end {
                            break;
                        }
                    }
                }
            }
        }
    }
    log.publish();
    let all = log.store.reader().read_events(&Filter::default(), Position::ZERO, storage::Direction::Forward, usize::MAX, usize::MAX);
    let all = all.unwrap().events;
    for (mut reader, mut got) in readers {
        got.extend(reader.read(usize::MAX).0);
        let wanted: Vec<u64> = all.iter().filter(|event| reader.filter.matches(event)).map(|event| event.position().get()).collect();
        assert!(!wanted.is_empty());
        assert_eq!(got, wanted, "{:?}", reader.filter);
    }
}
