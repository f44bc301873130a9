//! What is left after a power cut, at any moment, of any part of what was not synced?
//!
//! The oracle: every acknowledged event is there with its bytes; a commit under way is there in whole frames or not at all; nothing
//! else is; what a reader saw stays; recovering again, or after being cut off while recovering, comes to the same; and the store goes on.

use std::collections::BTreeMap;
use std::sync::Arc;

use factum_storage::Clock;
use factum_storage::ExpectedVersion;
use factum_storage::OpenReport;
use factum_storage::Options;
use factum_storage::Store;
use factum_storage::Timestamp;
use factum_storage::VerifyOptions;
use factum_storage::disk::sim::Cut;
use factum_storage::disk::sim::Rng;
use factum_storage::disk::sim::SimDisk;
use factum_storage::disk::sim::Snapshot;
use factum_storage::verify;
use parking_lot::Mutex;

use crate::model::Model;
use crate::oracle;
use crate::replay::effort;
use crate::replay::seeds;
use crate::script::Mix;
use crate::script::Step;
use crate::script::generate;
use crate::world::Attempt;
use crate::world::TestClock;
use crate::world::World;
use crate::world::check;
use crate::world::open;
use crate::world::open_whole;
use crate::world::options;
use crate::world::plain;
use crate::world::transaction;

/// A script that was played to its end, with the disk as it was before each call that changed it.
pub(crate) struct Played {
    pub(crate) snapshots: Vec<Snapshot>,
    attempts: Vec<Attempt>,
    /// Effects so far, and how long the log was that a reader saw then.
    seen: Vec<(u64, usize)>,
    /// The model when the log had each length that it ever had after a frame.
    models: BTreeMap<usize, Model>,
    clock: Arc<TestClock>,
    options: Options,
}

/// What the log may be after a cut.
struct Allowed {
    lengths: Vec<usize>,
    seen: usize,
}

impl Played {
    pub(crate) fn play(script: &[Step], options: Options) -> Result<Self, String> {
        let disk = SimDisk::new();
        disk.record_snapshots();
        let mut world = World::on(disk.clone(), options)?;
        let seen = Arc::new(Mutex::new(Vec::new()));
        let (watched, seen_there, counted) = (Arc::clone(&world.watched), Arc::clone(&seen), disk.clone());
        disk.observe(move |call, _| {
            if call.is_effect()
                && let Some(reader) = &*watched.lock()
            {
                let length = usize::try_from(reader.committed().get()).expect("small");
                seen_there.lock().push((counted.effects(), length));
            }
        });
        for (number, step) in script.iter().enumerate() {
            // One disk is watched from start to end; a kill would go on with another.
            let step = if matches!(step, Step::Kill) { &Step::Reopen } else { step };
            world.step(step).map_err(|why| format!("step {number}: {why}"))?;
        }
        let snapshots = disk.take_snapshots();
        world.check_log()?;
        let World { clock, options, model, attempts, .. } = world;
        let lengths = attempts.iter().flat_map(|attempt| attempt.lengths.iter().copied()).chain([0]);
        let models = lengths.map(|length| (length, model.prefix(length))).collect();
        let seen = Arc::try_unwrap(seen).map_or_else(|shared| shared.lock().clone(), Mutex::into_inner);
        Ok(Self { snapshots, attempts, seen, models, clock, options })
    }

    fn allowed(&self, effects: u64) -> Allowed {
        let acknowledged = self.attempts.iter().rfind(|attempt| attempt.effects.1 <= effects);
        let mut lengths: Vec<usize> = acknowledged.and_then(|attempt| attempt.lengths.last().copied()).into_iter().collect();
        if lengths.is_empty() {
            lengths.push(0);
        }
        let under_way = self.attempts.iter().find(|attempt| attempt.effects.0 < effects && effects < attempt.effects.1);
        lengths.extend(under_way.iter().flat_map(|attempt| attempt.lengths.iter().copied()));
        let seen = self.seen.iter().rfind(|(at, _)| *at <= effects).map_or(0, |(_, length)| *length);
        Allowed { lengths, seen }
    }

    /// Cuts the power at a snapshot, opens what is left and asks the oracle. Returns how many cuts that were.
    pub(crate) fn cut(&self, snapshot: &Snapshot, cut: Cut, seed: u64) -> Result<u64, String> {
        let mut rng = Rng::new(seed);
        let mut allowed = self.allowed(snapshot.effects);
        let mut disk = snapshot.crash(cut, rng.number());
        let mut cuts = 1;
        let interruptions = if rng.chance(25) { 1 + rng.below(5) } else { 0 };
        for _ in 0..interruptions {
            disk = self.interrupt(&disk, &mut allowed, &mut rng)?;
            cuts += 1;
        }
        let (store, report) = self.open(&disk)?;
        let length = self.check_report(&report, &allowed)?;
        let mut model = self.models.get(&length).ok_or_else(|| format!("a log of {length} events never was"))?.clone();
        let (reader, now) = (store.reader(), self.now());
        oracle::check_log(&reader, &model, now)?;
        let (_, receipt) = reader.receipt();
        let known = self.attempts.iter().rfind(|attempt| attempt.lengths.last() == Some(&length));
        check(known.is_none_or(|attempt| attempt.receipt == receipt), || "the receipt is another than before the cut".to_owned())?;
        if rng.chance(6) {
            oracle::check_answers(&reader, &model, now, &mut rng)?;
            drop(reader);
            self.check_proof(store, &disk)?;
            return self.go_on(&disk, &mut model).map(|more| cuts + more);
        }
        drop((reader, store));
        self.go_on(&disk, &mut model).map(|more| cuts + more)
    }

    /// Begins to recover and cuts the power somewhere on the way.
    fn interrupt(&self, disk: &SimDisk, allowed: &mut Allowed, rng: &mut Rng) -> Result<SimDisk, String> {
        disk.record_snapshots();
        let (store, report) = self.open(disk)?;
        let snapshots = disk.take_snapshots();
        drop(store);
        let index = rng.index(snapshots.len());
        if index + 1 == snapshots.len() {
            // This one came to its end and may have answered: from now on nothing else will do.
            let length = self.check_report(&report, allowed)?;
            *allowed = Allowed { lengths: vec![length], seen: length };
        }
        let snapshot = snapshots.get(index).ok_or("no snapshot")?;
        Ok(snapshot.crash(Cut::Random, rng.number()))
    }

    /// The store goes on at the right place, and neither that nor what was there before is lost by the next cut.
    fn go_on(&self, disk: &SimDisk, model: &mut Model) -> Result<u64, String> {
        let disk = disk.crash(Cut::LoseAll, 0);
        let (mut store, report) = self.open(&disk)?;
        check(report.committed == model.end(), || format!("opened again at {}, was at {}", report.committed, model.end()))?;
        let next = transaction("order-99", ExpectedVersion::Any, vec![plain(1_000_000, b"next")]);
        let staged = store.stage(&next).map_err(|error| format!("the next append: {error:?}"))?;
        let expected = model.stage(&next, self.now()).map_err(|refused| format!("{refused:?}"))?;
        check(staged.position == expected.position && staged.streams == expected.streams, || {
            format!("the next append went to {staged:?}")
        })?;
        store.commit().map_err(|error| format!("the next commit: {error:?}"))?;
        drop(store);
        let disk = disk.crash(Cut::LoseAll, 0);
        let (store, _) = self.open(&disk)?;
        oracle::check_log(&store.reader(), model, self.now()).map_err(|why| format!("after the next append and a cut: {why}"))?;
        Ok(2)
    }

    fn check_proof(&self, store: Store, disk: &SimDisk) -> Result<(), String> {
        store.close().map_err(|error| format!("close: {error:?}"))?;
        let clock: Arc<dyn Clock> = Arc::<TestClock>::clone(&self.clock);
        let report = verify(Arc::new(disk.clone()), clock, VerifyOptions { chain: true, deep: true }, &mut |_| {});
        let report = report.map_err(|error| format!("verify: {error:?}"))?;
        check(report.damages.is_empty() && report.index_errors.is_empty(), || {
            format!("verify found {:?} {:?}", report.damages, report.index_errors)
        })
    }

    fn check_report(&self, report: &OpenReport, allowed: &Allowed) -> Result<usize, String> {
        let length = usize::try_from(report.committed.get()).expect("small");
        let Allowed { lengths, seen } = allowed;
        check(lengths.contains(&length) && length >= *seen, || {
            format!("{length} events are left, expected one of {lengths:?}, and a reader had seen {seen}")
        })?;
        Ok(length)
    }

    fn open(&self, disk: &SimDisk) -> Result<(Store, OpenReport), String> {
        open_whole(disk, &self.clock, &self.options)
    }

    fn now(&self) -> Timestamp {
        self.clock.now()
    }
}

/// Plays a script and cuts the power at every call, in each of the plain ways and `random` times at random.
pub(crate) fn cut_everywhere(seed: u64, steps: usize, mix: Mix, options: Options, random: u64) -> Result<u64, String> {
    let played = Played::play(&generate(seed, steps, mix), options)?;
    let mut cuts = 0;
    for snapshot in &played.snapshots {
        let context = |why: String, how: String| format!("cut before effect {} ({how}): {why}", snapshot.effects + 1);
        for cut in [Cut::LoseAll, Cut::KeepAll] {
            cuts += played.cut(snapshot, cut, seed).map_err(|why| context(why, format!("{cut:?}")))?;
        }
        for again in 0..random {
            let chance = Rng::new(seed ^ (snapshot.effects << 20) ^ again).number();
            cuts += played.cut(snapshot, Cut::Random, chance).map_err(|why| context(why, format!("random, {again}")))?;
        }
    }
    Ok(cuts)
}

/// Cuts until there were `least` of them.
fn run(first_seed: u64, least: u64, steps: usize, mix: Mix, options: &Options, random: u64) {
    let mut cuts = 0;
    for seed in seeds(first_seed, 1_000_000) {
        cuts += cut_everywhere(seed, steps, mix, options.clone(), random).unwrap_or_else(|why| panic!("SEED={seed}: {why}"));
        if cuts >= least * effort() {
            break;
        }
    }
    assert!(cuts > 0, "not one cut was made");
}

pub(crate) const MIX: Mix = Mix { upkeep_percent: 20, large_percent: 3, reopens: false };
pub(crate) const ROLL_OVER: Mix = Mix { upkeep_percent: 35, large_percent: 30, reopens: false };

#[test]
fn l1_power_cut_at_every_call() {
    run(1, 12_000, 30, MIX, &options(), 4);
}

#[test]
fn l1_power_cut_at_every_call_of_a_store_that_is_opened_and_closed() {
    run(1_000, 10_000, 25, Mix { reopens: true, ..MIX }, &options(), 3);
}

#[test]
fn l3_any_part_of_what_was_not_synced_is_left() {
    run(2_000, 12_000, 15, Mix { upkeep_percent: 5, large_percent: 5, reopens: false }, &options(), 40);
}

#[test]
fn l18_power_cut_between_the_steps_of_a_roll_over() {
    run(3_000, 8_000, 20, ROLL_OVER, &options(), 6);
}

#[test]
fn l18_power_cut_between_the_steps_of_a_roll_over_into_a_prepared_segment() {
    run(4_000, 8_000, 20, ROLL_OVER, &Options { prepare_segments: true, ..options() }, 6);
}

/// Recovery is cut off at each of its own calls, and again while it recovers from that.
pub(crate) fn cut_recovery_everywhere(seed: u64) -> Result<u64, String> {
    let played = Played::play(&generate(seed, 12, ROLL_OVER), options())?;
    let mut rng = Rng::new(seed);
    let mut cuts = 0;
    for _ in 0..6 {
        let snapshot = rng.pick(&played.snapshots).ok_or("no snapshot")?;
        let disk = snapshot.crash(Cut::Random, rng.number());
        disk.record_snapshots();
        let opened = open(&disk, &played.clock, &played.options).map_err(|error| format!("open: {error:?}"))?;
        let recovery = disk.take_snapshots();
        drop(opened);
        let (_, unfinished) = recovery.split_last().ok_or("no snapshot")?;
        for step in unfinished {
            let within = step.clone().at(snapshot.effects);
            for cut in [Cut::LoseAll, Cut::KeepAll, Cut::Random, Cut::Random] {
                let context = |why| {
                    format!("cut before effect {}, recovery before effect {} ({cut:?}): {why}", snapshot.effects + 1, step.effects + 1)
                };
                cuts += played.cut(&within, cut, rng.number()).map_err(context)?;
            }
        }
    }
    Ok(cuts)
}

#[test]
fn l4_power_cut_at_every_call_of_recovery() {
    let mut cuts = 0;
    for seed in seeds(5_000, 1_000_000) {
        cuts += cut_recovery_everywhere(seed).unwrap_or_else(|why| panic!("SEED={seed}: {why}"));
        if cuts >= 8_000 * effort() {
            break;
        }
    }
}
