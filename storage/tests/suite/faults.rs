//! What does a client see when calls fail, and what when the store is opened again?

use std::panic::AssertUnwindSafe;
use std::panic::catch_unwind;
use std::sync::Arc;

use factum_storage::Direction;
use factum_storage::Error;
use factum_storage::EventId;
use factum_storage::ExpectedVersion;
use factum_storage::Filter;
use factum_storage::Options;
use factum_storage::Position;
use factum_storage::Store;
use factum_storage::disk::sim::Call;
use factum_storage::disk::sim::Cut;
use factum_storage::disk::sim::Fault;
use factum_storage::disk::sim::Rng;
use factum_storage::disk::sim::Rule;
use factum_storage::disk::sim::SimDisk;
use parking_lot::Mutex;

use crate::damage::Fixture;
use crate::damage::all;
use crate::damage::segment;
use crate::replay::seeds;
use crate::world::TestClock;
use crate::world::check;
use crate::world::data;
use crate::world::fill;
use crate::world::id;
use crate::world::open;
use crate::world::open_whole;
use crate::world::options;
use crate::world::plain;
use crate::world::transaction;

/// A client that goes on whatever happens, and knows what it was told.
struct Client {
    disk: SimDisk,
    clock: Arc<TestClock>,
    options: Options,
    store: Option<Store>,
    acknowledged: Vec<EventId>,
    in_doubt: Option<EventId>,
    sent: u64,
    /// How often the log was full.
    full: u64,
    /// How often it was not known what became of a commit.
    unknown: u64,
}

impl Client {
    fn new(disk: SimDisk, options: Options) -> Result<Self, String> {
        let clock = TestClock::new();
        let mut client = Self { disk, clock, options, store: None, acknowledged: Vec::new(), in_doubt: None, sent: 0, full: 0, unknown: 0 };
        client.reopen()?;
        Ok(client)
    }

    /// One append and its commit.
    fn append(&mut self, bytes: usize) -> Result<(), String> {
        self.sent += 1;
        let event = plain(self.sent, &data(self.sent, bytes));
        let id = event.id;
        let stream = ["order-1", "order-2", "user-1"][usize::try_from(self.sent % 3).expect("small")];
        let store = self.store.as_mut().ok_or("no store")?;
        let staged = store.stage(&transaction(stream, ExpectedVersion::Any, vec![event]));
        match staged.and_then(|_| store.commit()) {
            Ok(_) => self.acknowledged.push(id),
            Err(Error::StorageFull) => self.full += 1,
            Err(Error::OutcomeUnknown(_)) => {
                self.in_doubt = Some(id);
                self.unknown += 1;
                let again = store.stage(&transaction(stream, ExpectedVersion::Any, vec![plain(900_000 + self.sent, b"")]));
                check(matches!(again, Err(Error::Poisoned(_))), || format!("after an unknown outcome an append gets {again:?}"))?;
                check(store.commit().is_err() || store.staged_bytes() == 0, || "a poisoned store commits".to_owned())?;
                self.reopen()?;
            }
            // A read that failed on the way to the answer: nothing was written.
            Err(Error::Io { .. }) => {}
            Err(other) => return Err(format!("an append gets {other:?}")),
        }
        Ok(())
    }

    /// Starts anew on the same disk: the system still has what was written, synced or not.
    fn reopen(&mut self) -> Result<(), String> {
        self.store = None;
        let mut last = String::new();
        for _ in 0..4 {
            match open(&self.disk, &self.clock, &self.options) {
                Ok((store, report)) => {
                    check(report.damage.is_none(), || format!("opens as damaged: {:?}", report.damage))?;
                    self.store = Some(store);
                    return self.settle();
                }
                Err(error) => last = format!("{error:?}"),
            }
        }
        Err(format!("does not open any more: {last}"))
    }

    /// Starts anew after a power cut.
    fn cut(&mut self, cut: Cut, seed: u64) -> Result<(), String> {
        self.store = None;
        self.disk = self.disk.crash(cut, seed);
        self.reopen()
    }

    /// All that was acknowledged is there, in order; what is in doubt is there whole or not at all, and then it is in doubt no more.
    fn settle(&mut self) -> Result<(), String> {
        let store = self.store.as_ref().ok_or("no store")?;
        let found: Vec<EventId> = match all(&store.reader()) {
            Ok(events) => events.iter().map(factum_storage::RecordedEvent::id).collect(),
            // A call may still fail once; a second look must work.
            Err(_) => all(&store.reader())?.iter().map(factum_storage::RecordedEvent::id).collect(),
        };
        let doubtful = self.in_doubt.take();
        let with_doubtful: Vec<EventId> = self.acknowledged.iter().copied().chain(doubtful).collect();
        check(found == self.acknowledged || found == with_doubtful, || {
            format!("{} events are left of {}, in doubt was {doubtful:?}: {found:?}", found.len(), self.acknowledged.len())
        })?;
        self.acknowledged = found;
        Ok(())
    }

    fn maintain(&self) {
        if let Some(store) = &self.store {
            let maintainer = store.maintainer();
            for _ in 0..20 {
                // What fails here loses nothing and is tried again.
                match maintainer.step() {
                    Ok(true) => {}
                    Ok(false) | Err(_) => break,
                }
            }
        }
    }

    /// Appends of all sizes, background work in between; some of it rolls over.
    fn work(&mut self, rounds: u64) -> Result<(), String> {
        for round in 0..rounds {
            self.append(if round % 5 == 4 { 1500 } else { 40 })?;
            if round % 4 == 3 {
                self.maintain();
            }
            if round % 7 == 6
                && let Some(store) = &self.store
            {
                // As above.
                drop(store.maintainer().flush_index());
            }
        }
        Ok(())
    }
}

/// Runs the workload with one fault at the `nth` call of a kind, then cuts the power and looks again. `false`: there was no such call.
fn one_fault(call: Call, nth: u64, fault: Fault, options: Options) -> Result<bool, String> {
    let disk = SimDisk::new();
    let mut client = Client::new(disk.clone(), options)?;
    let struck = Arc::new(Mutex::new(0u64));
    let counted = Arc::clone(&struck);
    disk.observe(move |made, _| {
        if made == call {
            *counted.lock() += 1;
        }
    });
    disk.add_rule(Rule::nth(call, nth, fault));
    client.work(24)?;
    client.reopen()?;
    client.work(5)?;
    client.settle()?;
    let was_made = *struck.lock() >= nth;
    client.cut(Cut::LoseAll, 0)?;
    client.work(2)?;
    client.settle()?;
    Ok(was_made)
}

/// Each call of the workload in turn goes wrong in this way.
pub(crate) fn every_call(calls: &[Call], fault: Fault, step: u64) -> Result<u64, String> {
    let mut runs = 0;
    for call in calls {
        for nth in (1..).step_by(usize::try_from(step).unwrap_or(1)) {
            let context = |why: String| format!("{call:?} number {nth} answers {fault:?}: {why}");
            if !one_fault(*call, nth, fault, Options { index_flush_events: 6, ..options() }).map_err(context)? {
                break;
            }
            runs += 1;
        }
    }
    Ok(runs)
}

const EFFECTS: [Call; 7] = [Call::Write, Call::Sync, Call::SetLen, Call::CreateNew, Call::Rename, Call::Remove, Call::SyncDir];

#[test]
fn l7_l9_every_effect_fails_once_with_eio() {
    let runs = every_call(&EFFECTS, Fault::Eio, 1).expect("keeps its promises");
    assert!(runs > 100, "{runs} runs");
}

#[test]
fn l9_every_write_lands_but_answers_eio() {
    every_call(&[Call::Write], Fault::WriteThenEio, 1).expect("keeps its promises");
}

#[test]
fn l9_every_read_fails_once_with_eio() {
    every_call(&[Call::Read, Call::Len, Call::Open, Call::List], Fault::Eio, 3).expect("keeps its promises");
}

#[test]
fn l10_every_effect_fails_once_with_enospc() {
    every_call(&EFFECTS, Fault::StorageFull, 1).expect("keeps its promises");
}

#[test]
fn r6_every_effect_panics_once() {
    for call in EFFECTS {
        for nth in 1.. {
            let disk = SimDisk::new();
            let mut client = Client::new(disk.clone(), Options { index_flush_events: 6, ..options() }).expect("opens");
            disk.add_rule(Rule::nth(call, nth, Fault::Panic));
            let next = client.sent + 1;
            let finished = catch_unwind(AssertUnwindSafe(|| client.work(14)));
            let panicked = finished.is_err();
            finished.unwrap_or(Ok(())).unwrap_or_else(|why| panic!("{call:?} number {nth}: {why}"));
            // Whichever append was under way is in doubt.
            client.in_doubt = (next <= client.sent).then(|| id(client.sent)).filter(|id| panicked && !client.acknowledged.contains(id));
            let calls = disk.calls();
            client.reopen().and_then(|()| client.cut(Cut::LoseAll, 0)).unwrap_or_else(|why| panic!("{call:?} number {nth}: {why}"));
            if !panicked || calls == 0 {
                break;
            }
        }
    }
}

/// A sync fails once and works ever after: nothing more is appended, nothing is synced again on that file, reads go on, and what is
/// found at the next open is made durable before anybody sees it.
pub(crate) fn check_failed_sync() -> Result<(), String> {
    for seed in 0..40 {
        let fixture = Fixture::with(options(), |store| fill(store, "order-1", 1, 3, 60))?;
        let (mut store, _) = fixture.open().map_err(|error| format!("{error:?}"))?;
        let syncs = Arc::new(Mutex::new(0));
        let counted = Arc::clone(&syncs);
        fixture.disk.observe(move |call, path| {
            if call == Call::Sync && path.ends_with(".seg") {
                *counted.lock() += 1;
            }
        });
        fixture.disk.add_rule(Rule::next(Call::Sync, Fault::Eio).on(".seg"));
        let staged = store.stage(&transaction("order-1", ExpectedVersion::Any, vec![plain(10, &data(10, 60))]));
        staged.map_err(|error| format!("{error:?}"))?;
        let answer = store.commit();
        check(matches!(answer, Err(Error::OutcomeUnknown(_))), || format!("a failed sync is answered with {answer:?}"))?;
        let again = store.stage(&transaction("order-1", ExpectedVersion::Any, vec![plain(11, b"")]));
        check(matches!(again, Err(Error::Poisoned(_))), || format!("the next append gets {again:?}"))?;
        check(matches!(store.reader().refuses_appends(), Some(Error::Poisoned(_))), || "nobody is told of the poison".to_owned())?;
        let found = all(&store.reader())?;
        check(found == fixture.events, || "readers see what was not acknowledged".to_owned())?;
        drop(store.close());
        check(*syncs.lock() == 1, || "the file was synced again".to_owned())?;
        let (store, report) = open_whole(&fixture.disk, &fixture.clock, &fixture.options)?;
        let shown = all(&store.reader())?;
        check(shown.len() == 3 || shown.len() == 4, || format!("{report:?}"))?;
        drop(store);
        let cut = if seed == 0 { Cut::LoseAll } else { Cut::Random };
        let after = Fixture { disk: fixture.disk.crash(cut, seed), events: shown.clone(), ..fixture };
        after.opens_with(shown.len()).map_err(|why| format!("after a restart and a cut: {why}"))?;
    }
    Ok(())
}

#[test]
fn l7_failed_sync_poisons() {
    check_failed_sync().expect("poisoned");
}

/// The disk lies: what it lost is noticed if anything durable mentions it.
pub(crate) fn check_lying_sync() -> Result<(), String> {
    // The index knows better.
    let fixture = Fixture::with(options(), |store| fill(store, "order-1", 1, 3, 60))?;
    let (mut store, _) = fixture.open().map_err(|error| format!("{error:?}"))?;
    fixture.disk.add_rule(Rule::next(Call::Sync, Fault::Lie).on(".seg").for_ever());
    fill(&mut store, "order-1", 10, 3, 60).map_err(|error| format!("{error:?}"))?;
    store.close().map_err(|error| format!("{error:?}"))?;
    let lost = Fixture { disk: fixture.disk.crash(Cut::LoseAll, 0), ..fixture };
    lost.opens_damaged(&segment(1)).map_err(|why| format!("the index is ahead: {why}"))?;
    // The next segment knows better.
    let fixture = Fixture::with(options(), |store| fill(store, "order-1", 1, 3, 60))?.without_index();
    let (mut store, _) = fixture.open().map_err(|error| format!("{error:?}"))?;
    let newest = fixture.newest();
    fixture.disk.add_rule(Rule::next(Call::Sync, Fault::Lie).on(&newest).for_ever());
    while fixture.newest() == newest {
        let next = store.reader().committed().get() + 10;
        fill(&mut store, "order-1", next, 1, 300).map_err(|error| format!("{error:?}"))?;
    }
    drop(store);
    let lost = Fixture { disk: fixture.disk.crash(Cut::LoseAll, 0), ..fixture }.without_index();
    lost.opens_damaged(&newest).map_err(|why| format!("there is a later segment: {why}"))?;
    // A later frame of the same segment knows better: the lie is about one commit, and only its own bytes are lost.
    for seed in 0..60 {
        let fixture = Fixture::with(options(), |store| fill(store, "order-1", 1, 2, 60))?.without_index();
        let (mut store, _) = fixture.open().map_err(|error| format!("{error:?}"))?;
        fixture.disk.add_rule(Rule::next(Call::Sync, Fault::Lie).on(".seg").for_ever());
        fill(&mut store, "order-1", 10, 4, 600).map_err(|error| format!("{error:?}"))?;
        let events = all(&store.reader())?;
        drop(store);
        let lost = Fixture { disk: fixture.disk.crash(Cut::Random, seed), events, ..fixture };
        let (store, report) = lost.open().map_err(|error| format!("{error:?}"))?;
        lost.reads_right(&store.reader())?;
        if report.damage.is_none() {
            let found = all(&store.reader())?.len() as u64;
            check(found == report.committed.get(), || format!("seed {seed}: a hole that nobody reports: {report:?}"))?;
        }
    }
    Ok(())
}

#[test]
fn l8_lying_sync_is_detected_when_something_durable_mentions_what_is_lost() {
    check_lying_sync().expect("detected");
}

/// Short writes and interruptions are no failures: the commit is finished and durable.
#[test]
fn l9_short_and_interrupted_writes_are_finished() {
    for fault in [Fault::Short(1), Fault::Short(17), Fault::Interrupted] {
        let fixture = Fixture::with(options(), |store| fill(store, "order-1", 1, 3, 60)).expect("a fixture");
        let (mut store, _) = fixture.open().expect("opens");
        fixture.disk.add_rule(Rule::next(Call::Write, fault).on(".seg").times(3));
        fill(&mut store, "order-1", 10, 2, 60).expect("commits");
        let events = all(&store.reader()).expect("reads");
        assert_eq!(events.len(), 5);
        drop(store);
        let after = Fixture { disk: fixture.disk.crash(Cut::LoseAll, 0), events, ..fixture };
        after.opens_with(5).expect("all five");
    }
}

/// The disk fills up after every possible number of pages: full is said, reads go on, a restart works, and so do appends once there is
/// space.
pub(crate) fn check_full_disk(pages: std::ops::Range<u64>) -> Result<(), String> {
    for page in pages {
        let mut client = Client::new(SimDisk::new(), Options { index_flush_events: 6, ..options() })?;
        client.work(3)?;
        client.disk.limit_free(Some(page * 4096));
        let context = |why: String| format!("{page} pages free: {why}");
        client.work(12).map_err(context)?;
        client.settle().map_err(context)?;
        client.reopen().map_err(|why| context(format!("restart while full: {why}")))?;
        client.work(3).map_err(context)?;
        let (unknown, before) = (client.unknown, client.acknowledged.len());
        check(unknown == 0, || context("a full disk poisoned the store".to_owned()))?;
        client.disk.limit_free(None);
        client.maintain();
        client.append(50).map_err(context)?;
        client.append(2000).map_err(context)?;
        check(client.acknowledged.len() == before + 2, || context("appends did not go on when there was space".to_owned()))?;
        client.cut(Cut::Random, page).map_err(context)?;
    }
    Ok(())
}

#[test]
fn l10_disk_full_after_any_number_of_pages() {
    check_full_disk(0..40).expect("goes on");
}

/// While a commit waits for its slow sync, readers are served and do not see it.
#[test]
fn r2_slow_sync_does_not_hold_up_readers_and_shows_them_nothing() {
    let fixture = Fixture::with(options(), |store| fill(store, "order-1", 1, 3, 60)).expect("a fixture");
    let (mut store, _) = fixture.open().expect("opens");
    let reader = store.reader();
    let seen = Arc::new(Mutex::new(Vec::new()));
    let noted = Arc::clone(&seen);
    fixture.disk.observe(move |call, path| {
        if call == Call::Sync && path.ends_with(".seg") {
            let page = reader.read_events(&Filter::default(), Position::ZERO, Direction::Forward, 100, 1 << 20).expect("readers go on");
            let stream = reader.read_stream("order-1", None, Direction::Backward, 1, 1 << 20).expect("readers go on").expect("is there");
            noted.lock().push((page.events.len(), stream.info.version.get(), stream.events.len()));
        }
    });
    fill(&mut store, "order-1", 10, 2, 60).expect("commits");
    assert_eq!(*seen.lock(), [(3, 3, 1), (4, 4, 1)]);
}

/// Order never uses the clock, and `recorded_at` never runs backwards, also over restarts.
#[test]
fn r7_clock_jumps_back_and_forward_and_stands_still() {
    let (disk, clock) = (SimDisk::new(), TestClock::new());
    let (hour, year) = (3_600_000_000, 31_536_000_000_000);
    let mut next = 1;
    for shift in [0, 1000, -hour, 0, year, -year, -hour, 1] {
        clock.shift(shift);
        let (mut store, _) = open_whole(&disk, &clock, &options()).expect("opens");
        for _ in 0..2 {
            let before = all(&store.reader()).expect("reads").last().map(factum_storage::RecordedEvent::recorded_at);
            fill(&mut store, "order-1", next, 1, 20).expect("commits");
            next += 1;
            let after = all(&store.reader()).expect("reads").last().expect("one was appended").recorded_at();
            let now = factum_storage::Clock::now(&*clock);
            assert_eq!(after, before.map_or(now, |before| before.max(now)));
        }
    }
    let (store, _) = open_whole(&disk, &clock, &options()).expect("opens");
    let events = all(&store.reader()).expect("reads");
    assert!(events.is_sorted_by_key(factum_storage::RecordedEvent::recorded_at));
    assert!(events.iter().zip(1..).all(|(event, version)| event.version().get() == version));
}

/// Faults at random, several in one life, power cuts in between.
pub(crate) fn check_chaos(seed: u64) -> Result<(), String> {
    let mut rng = Rng::new(seed);
    let mut client = Client::new(SimDisk::new(), Options { index_flush_events: 6, prepare_segments: rng.chance(50), ..options() })?;
    for _ in 0..12 {
        let faults = [Fault::Eio, Fault::StorageFull, Fault::WriteThenEio, Fault::Interrupted, Fault::Short(3)];
        for _ in 0..rng.below(3) {
            let (call, fault) = (*rng.pick(&EFFECTS).expect("not empty"), *rng.pick(&faults).expect("not empty"));
            let fits = match fault {
                Fault::WriteThenEio | Fault::Interrupted | Fault::Short(_) => call == Call::Write,
                Fault::Eio | Fault::StorageFull | Fault::Lie | Fault::Misdirect(_) | Fault::Panic => true,
            };
            if fits {
                client.disk.add_rule(Rule::nth(call, 1 + rng.below(25), fault));
            }
        }
        client.work(1 + rng.below(10))?;
        client.disk.clear_rules();
        match rng.below(4) {
            0 => client.reopen()?,
            1 => client.cut(Cut::Random, rng.number())?,
            2 => client.cut(Cut::LoseAll, 0)?,
            _ => client.settle()?,
        }
    }
    Ok(())
}

#[test]
fn l7_l9_l10_faults_and_power_cuts_at_random() {
    for seed in seeds(1, 150 * crate::replay::effort()) {
        check_chaos(seed).unwrap_or_else(|why| panic!("SEED={seed}: {why}"));
    }
}
