//! Random steps of consumers, worker, clock and power, and what must hold after each.

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use factum_storage::RecordedEvent;
use factum_storage::Reshaped;
use factum_storage::disk::sim::Rng;

use super::Books;
use super::ConsumerId;
use super::Given;
use super::Nack;
use super::Now;
use super::Stored;
use super::Waits;
use super::log;
use crate::subscription::group::lane::State;
use crate::subscription::group::terms::Ordering;
use crate::subscription::group::terms::Terms;

/// `SEED=n` replays one.
pub(super) fn seeds(count: u64) -> std::ops::Range<u64> {
    match std::env::var("SEED").ok().and_then(|seed| seed.parse().ok()) {
        Some(seed) => seed..seed + 1,
        None => 0..count,
    }
}

pub(super) struct World {
    random: Rng,
    terms: Arc<Terms>,
    log: Vec<RecordedEvent>,
    /// So many events are appended by now.
    end: usize,
    /// So many are read by these books.
    read: usize,
    books: Books,
    stored: Stored,
    consumers: Vec<ConsumerId>,
    /// Deliveries by their number: who has which position.
    out: BTreeMap<u64, (ConsumerId, u64)>,
    /// Done, and somebody was told so.
    done: BTreeSet<u64>,
    /// Done, and not stored yet.
    doubtful: BTreeSet<u64>,
    /// Hidden by retention or a delete.
    hidden: BTreeSet<u64>,
    /// These can't be reshaped.
    poison: BTreeSet<u64>,
    now: Now,
}

impl World {
    pub(super) fn new(seed: u64) -> Self {
        let mut random = Rng::new(seed);
        let streams: Vec<&str> = (0..150).map(|_| *random.pick(&["a", "b", "c"]).unwrap()).collect();
        let ordering = if random.chance(75) { Ordering::Stream } else { Ordering::None };
        let terms = Terms { max_in_flight: 12, max_attempts: 3, ack_timeout: Duration::from_secs(30), ordering, ..Terms::default() };
        let terms = Arc::new(terms);
        let stored = Stored::new(0);
        let books = Books::new(Arc::clone(&terms), stored.progress());
        let poison = (1..=150).filter(|_| random.chance(3)).collect();
        Self {
            random,
            terms,
            log: log(streams),
            end: 0,
            read: 0,
            books,
            stored,
            consumers: Vec::new(),
            out: BTreeMap::new(),
            done: BTreeSet::new(),
            doubtful: BTreeSet::new(),
            hidden: BTreeSet::new(),
            poison,
            now: super::now(),
        }
    }

    pub(super) fn run(mut self) {
        for _ in 0..600 {
            self.step();
            self.check();
        }
        self.end = self.log.len();
        self.finish();
        assert_eq!((self.books.tracked, self.books.lanes.len(), self.stored.rows()), (0, 0, 0));
        assert_eq!(self.stored.checkpoint(), self.end as u64);
    }

    /// Everybody does only what they are woken for. When nobody is any more, all is done but what is parked and what that holds back.
    fn finish(&mut self) {
        for id in std::mem::take(&mut self.consumers) {
            self.books.leave(id, self.now);
        }
        self.consumers = (0..3).map(|_| self.books.join(12)).collect();
        for round in 0.. {
            self.quiesce();
            self.store();
            let is_left = |position: &u64| !self.done.contains(position) && !self.hidden.contains(position);
            let left: Vec<u64> = (1..=self.end as u64).filter(is_left).collect();
            if left.is_empty() {
                return;
            }
            assert!(self.books.parked > 0 && round < 100, "nobody is woken for {left:?}: {:?}", self.books.counts());
            // What can't be reshaped is parked again.
            if round % 2 == 0 {
                self.books.replay(None);
            } else {
                self.skip_parked();
            }
        }
    }

    fn quiesce(&mut self) {
        let mut asleep = BTreeSet::new();
        let mut is_stirred = true;
        loop {
            let mut is_quiet = !is_stirred;
            if std::mem::take(&mut is_stirred) {
                self.work();
            }
            if self.books.seen.wants_more && self.read < self.end {
                self.read_on();
                is_stirred = true;
            }
            for (number, id) in self.consumers.clone().into_iter().enumerate() {
                let waits = self.books.seats[&id].waits;
                if matches!(waits, Waits::ForEvents(_) | Waits::ForRoom) || asleep.contains(&id) {
                    continue;
                }
                is_quiet = false;
                if number > 0 && self.random.chance(20) {
                    // Whether it was called or not: it does not come.
                    self.books.stop_waiting(id);
                    asleep.insert(id);
                } else {
                    self.take_as(id);
                    while let Some(number) = self.out.keys().next().copied() {
                        self.ack(number);
                    }
                }
                is_stirred |= self.books.concerns_worker();
            }
            self.check();
            match self.books.timers.first() {
                _ if !is_quiet || is_stirred => {}
                Some((due, _)) => (self.now.instant, is_stirred) = (*due, true),
                None => return,
            }
        }
    }

    fn step(&mut self) {
        match self.random.below(25) {
            0..=2 => self.end = (self.end + self.random.index(4)).min(self.log.len()),
            3..=5 => self.read_on(),
            6..=8 => self.work(),
            9 => {
                let window = 1 + self.random.index(12);
                self.consumers.push(self.books.join(window));
            }
            10 if !self.consumers.is_empty() => {
                let at = self.random.index(self.consumers.len());
                self.books.leave(self.consumers.swap_remove(at), self.now);
            }
            11..=14 if !self.consumers.is_empty() => self.take(false),
            15 => self.take(true),
            16..=18 => {
                if let Some(number) = self.any_out() {
                    self.ack(number);
                }
            }
            19 => self.nack(),
            20 => self.now.instant += Duration::from_millis(self.random.below(20_000)),
            21 => match self.random.below(3) {
                0 => {
                    self.books.replay(None);
                }
                1 => self.skip_parked(),
                _ => self.hide(),
            },
            22 => self.store(),
            23 if !self.consumers.is_empty() => {
                let at = self.random.index(self.consumers.len());
                self.books.stop_waiting(self.consumers[at]);
            }
            24 if self.random.chance(30) => self.restart(),
            _ => {}
        }
    }

    /// As the feed does: what is hidden is left out.
    fn read_on(&mut self) {
        let to = (self.read + 1 + self.random.index(8)).min(self.end);
        for at in self.read..to {
            let position = at as u64 + 1;
            if !self.hidden.contains(&position) {
                self.books.offer(0, self.record(position), self.now);
            }
        }
        self.read = self.read.max(to);
        self.books.read_through(0, self.read as u64);
    }

    /// As the worker does, when something is due or it is woken.
    fn work(&mut self) {
        for wanted in self.books.look(self.now).0 {
            let record = (!self.hidden.contains(&wanted.position)).then(|| self.record(wanted.position));
            self.books.fill(wanted, record, self.now);
        }
        self.books.fetched();
    }

    fn record(&self, position: u64) -> RecordedEvent {
        let record = self.log[usize::try_from(position).unwrap() - 1].clone();
        if self.poison.contains(&position) { record.reshaped(Reshaped::Failed("poison".into())) } else { record }
    }

    /// One that is there takes some, or somebody comes for one batch.
    fn take(&mut self, detaches: bool) {
        let id = if detaches { self.books.join(12) } else { self.consumers[self.random.index(self.consumers.len())] };
        self.take_as(id);
        if detaches {
            self.books.detach(id);
        }
    }

    fn take_as(&mut self, id: ConsumerId) {
        let max = 1 + self.random.index(8);
        for given in self.books.take(id, max, 1 << 20, self.now.instant) {
            self.see(id, &given);
        }
    }

    /// What comes before an event of its stream is done, or is with the same consumer and was given to it before.
    fn see(&mut self, id: ConsumerId, given: &Given) {
        let (stream, position) = (given.record.stream(), given.record.position().get());
        let is_settled = |position: &u64| [&self.done, &self.doubtful, &self.hidden].iter().any(|set| set.contains(position));
        assert!(!self.done.contains(&position) && !self.doubtful.contains(&position), "{position} came again after it was done");
        assert!(!self.poison.contains(&position));
        let is_out_twice = self.out.iter().any(|(number, (_, other))| *other == position && self.books.is_out(*number));
        assert!(!is_out_twice, "{position} was given out twice");
        if self.terms.ordering == Ordering::Stream {
            let before = self.log[..usize::try_from(position).unwrap() - 1].iter().filter(|record| record.stream() == stream);
            for before in before.map(|record| record.position().get()).filter(|before| !is_settled(before)) {
                let is_held = self.out.iter().any(|(number, held)| *held == (id, before) && self.books.is_out(*number));
                assert!(is_held, "{position} of {stream} came before {before}");
            }
        }
        self.out.insert(given.number, (id, position));
    }

    /// Any delivery, also one that was taken back.
    fn any_out(&mut self) -> Option<u64> {
        let at = self.random.index(self.out.len());
        self.out.keys().nth(at).copied()
    }

    fn ack(&mut self, number: u64) {
        let (_, position) = self.out[&number];
        let is_out = self.books.is_out(number);
        assert_eq!(self.books.ack(number, self.now.instant), is_out);
        self.out.remove(&number);
        if is_out {
            self.doubtful.insert(position);
        }
        if self.random.chance(70) {
            self.store();
        }
    }

    fn nack(&mut self) {
        let Some(number) = self.any_out() else { return };
        let (_, position) = self.out[&number];
        let is_out = self.books.is_out(number);
        let action = self.random.pick(&[Nack::Retry, Nack::Park, Nack::Skip]).unwrap().clone();
        assert_eq!(self.books.nack(number, &action, "broken", self.now), is_out);
        self.out.remove(&number);
        if is_out && action == Nack::Skip {
            self.doubtful.insert(position);
        }
    }

    fn skip_parked(&mut self) {
        let lanes = self.books.lanes.values();
        let parked = lanes.flat_map(|lane| lane.items.iter().filter(|item| matches!(item.state, State::Parked)));
        let parked: Vec<u64> = parked.map(|item| item.position).collect();
        assert_eq!(self.books.skip_parked(None), parked.len() as u64);
        self.doubtful.extend(parked);
    }

    fn hide(&mut self) {
        let position = 1 + self.random.below(self.end as u64);
        if self.end > 0 && !self.done.contains(&position) && !self.doubtful.contains(&position) {
            self.hidden.insert(position);
        }
    }

    fn store(&mut self) {
        self.stored.apply(self.books.changes().1);
        self.done.append(&mut self.doubtful);
    }

    /// The end of a session, with or without the time to store what is to be stored.
    fn restart(&mut self) {
        if self.random.chance(50) {
            self.store();
        }
        self.doubtful.clear();
        self.consumers.clear();
        self.out.clear();
        self.books = Books::new(Arc::clone(&self.terms), self.stored.progress());
        self.read = usize::try_from(self.stored.checkpoint()).unwrap();
    }

    /// What the books say of themselves is true.
    fn check(&self) {
        let books = &self.books;
        let (mut tracked, mut given, mut bodies, mut kept, mut parked) = (0, 0, 0, 0, 0);
        let mut in_flight: BTreeMap<ConsumerId, usize> = BTreeMap::new();
        for (key, lane) in &books.lanes {
            assert!(!lane.items.is_empty() && lane.items.iter().is_sorted_by_key(|item| item.position));
            assert!((lane.given > 0) == lane.owner.is_some() && (lane.given > 0) == lane.deadline.is_some(), "{} are out", lane.given);
            for (at, item) in lane.items.iter().enumerate() {
                match &item.state {
                    State::Given(number) => assert_eq!(books.given.get(number), Some(&(*key, item.version))),
                    State::Waiting(body) => bodies += usize::from(body.is_some()),
                    State::Parked => parked += 1,
                }
                assert_eq!(matches!(item.state, State::Given(_)), at < lane.given, "what is out stands first");
                kept += usize::from(item.is_kept);
            }
            tracked += lane.items.len();
            given += lane.given;
            if let Some(owner) = lane.owner {
                *in_flight.entry(owner).or_default() += lane.given;
                assert!(books.seats[&owner].lanes.contains(key));
            }
            let is_offered = lane.is_listed || lane.is_wanting || lane.next().is_none();
            assert!(is_offered || lane.owner.is_some_and(|owner| books.seats[&owner].is_gone), "a line that nobody looks at");
        }
        assert_eq!((books.tracked, books.given.len(), books.bodies, books.kept, books.parked), (tracked, given, bodies, kept, parked));
        let is_called = books.seats.values().any(|seat| seat.waits == Waits::Called);
        for (id, seat) in &books.seats {
            assert_eq!(seat.in_flight, in_flight.get(id).copied().unwrap_or_default());
            let turn = books.waiting.iter().find(|(_, waiting)| *waiting == id).map(|(turn, _)| *turn);
            assert_eq!(matches!(seat.waits, Waits::ForEvents(_)), turn.is_some());
            let has_room = seat.in_flight < seat.window;
            assert!(seat.waits != Waits::ForRoom || !has_room, "it has room and was not called");
            let mut takeable = books.lanes.values().filter(|lane| lane.is_listed && lane.next().is_some());
            let is_for_it = takeable.any(|lane| lane.owner == Some(*id) || (lane.owner.is_none() && !is_called));
            assert!(turn.is_none() || (has_room && !is_for_it), "there is something for it and it was not called");
        }
    }
}
