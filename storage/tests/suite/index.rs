//! Is the index never more than a shortcut: lost, stale, broken or wrong, does the store still answer from the log?

use factum_storage::Error;
use factum_storage::Options;
use factum_storage::Version;
use factum_storage::disk::sim::Call;
use factum_storage::disk::sim::Cut;
use factum_storage::disk::sim::Fault;
use factum_storage::disk::sim::Rng;
use factum_storage::disk::sim::Rule;
use factum_storage::disk::sim::SimDisk;

use crate::damage::Fixture;
use crate::damage::segment;
use crate::model::Event;
use crate::oracle;
use crate::replay::seeds;
use crate::script::Mix;
use crate::script::Step;
use crate::script::generate;
use crate::world::World;
use crate::world::check;
use crate::world::fill;
use crate::world::name;
use crate::world::open;
use crate::world::options;

const MIX: Mix = Mix { upkeep_percent: 10, large_percent: 2, reopens: false };
const INDEX: &str = "index.redb";

/// A world that has played a script and is closed.
fn played(seed: u64, steps: usize) -> Result<World, String> {
    let mut world = World::new(options())?;
    for step in generate(seed, steps, MIX) {
        world.step(&step)?;
    }
    world.close()?;
    Ok(world)
}

/// Opens the world's log with another index and compares every answer with the model's.
fn answers_with(world: &World, index: Option<&[u8]>) -> Result<(), String> {
    let disk = world.disk.fork();
    match index {
        Some(bytes) => disk.put(INDEX, bytes),
        None => disk.erase(INDEX),
    }
    answers(world, &disk)
}

fn answers(world: &World, disk: &SimDisk) -> Result<(), String> {
    let (store, report) = open(disk, &world.clock, &world.options).map_err(|error| format!("open: {error:?}"))?;
    check(report.damage.is_none(), || format!("opened as damaged: {:?}", report.damage))?;
    oracle::check_log(&store.reader(), &world.model, world.now())?;
    oracle::check_answers(&store.reader(), &world.model, world.now(), &mut Rng::new(1))
}

#[test]
fn i1_index_behind_the_log_by_any_number_of_batches() {
    for seed in seeds(1, 12) {
        let mut world = World::new(options()).expect("opens");
        let mut indexes = Vec::new();
        for (number, step) in generate(seed, 50, MIX).iter().enumerate() {
            world.step(step).unwrap_or_else(|why| panic!("SEED={seed}: {why}"));
            if number % 5 == 0 {
                // A flush begun and not finished leaves the state before it; one that is done leaves this.
                world.step(&Step::FlushIndex).expect("flushes");
                indexes.push(world.disk.contents(INDEX).expect("an index"));
            }
        }
        world.close().expect("closes");
        for (number, index) in indexes.iter().enumerate() {
            answers_with(&world, Some(index)).unwrap_or_else(|why| panic!("SEED={seed}, index number {number}: {why}"));
        }
    }
}

/// The index knows of events that the log has lost: that is damage, it is said, and nothing is appended over the hole.
pub(crate) fn check_index_ahead() -> Result<(), String> {
    let fixture = Fixture::with(options(), |store| fill(store, "order-1", 1, 3, 60))?;
    let short = fixture.contents(&segment(1));
    let (mut store, _) = fixture.open().map_err(|error| format!("{error:?}"))?;
    fill(&mut store, "order-1", 10, 2, 60).map_err(|error| format!("{error:?}"))?;
    store.close().map_err(|error| format!("{error:?}"))?;
    fixture.disk.put(&segment(1), &short);
    fixture.opens_damaged(&segment(1))
}

#[test]
fn i2_index_ahead_of_the_log_is_damage() {
    check_index_ahead().expect("found");
}

#[test]
fn i3_index_missing_empty_random_or_of_another_log_is_rebuilt() {
    let world = played(3, 40).expect("plays");
    let good = world.disk.contents(INDEX).expect("an index");
    let foreign = {
        let mut other = World::new(Options { new_log_id: [9; 16], ..options() }).expect("opens");
        generate(4, 40, MIX).iter().for_each(|step| other.step(step).expect("plays"));
        other.close().expect("closes");
        other.disk.contents(INDEX).expect("an index")
    };
    let mut rng = Rng::new(1);
    let mut random = |length: usize| (0..length).map(|_| rng.number().to_le_bytes()[0]).collect::<Vec<u8>>();
    answers_with(&world, None).expect("missing");
    answers_with(&world, Some(&[])).expect("empty");
    answers_with(&world, Some(&foreign)).expect("of another log");
    answers_with(&world, Some(&vec![0; good.len()])).expect("zeros");
    for length in [1, 63, 64, 4096, good.len()] {
        answers_with(&world, Some(&random(length))).unwrap_or_else(|why| panic!("{length} random bytes: {why}"));
    }
    for length in (0..good.len()).step_by(good.len() / 60) {
        answers_with(&world, Some(&good[..length])).unwrap_or_else(|why| panic!("cut to {length} bytes: {why}"));
    }
}

/// The power goes while the index is made for the first time, at every call.
#[test]
fn i3_index_cut_during_its_first_creation_is_rebuilt() {
    let world = played(5, 25).expect("plays");
    let disk = world.disk.fork();
    disk.erase(INDEX);
    disk.record_snapshots();
    drop(open(&disk, &world.clock, &world.options).expect("opens"));
    for snapshot in disk.take_snapshots() {
        for seed in 0..12 {
            let cut = [Cut::LoseAll, Cut::KeepAll, Cut::Random][usize::try_from(seed).unwrap_or(2).min(2)];
            let left = snapshot.crash(cut, seed);
            answers(&world, &left).unwrap_or_else(|why| panic!("before effect {} ({cut:?}, {seed}): {why}", snapshot.effects + 1));
        }
    }
}

/// Every value of the index may be wrong: an event that is read is the one that was asked for, or there is an error.
#[test]
fn i4_flipped_index_never_reads_as_another_event() {
    let world = played(6, 40).expect("plays");
    let bits = world.disk.contents(INDEX).expect("an index").len() as u64 * 8;
    let mut rng = Rng::new(1);
    for round in 0..400 {
        let disk = world.disk.fork();
        for _ in 0..=round % 8 {
            disk.flip_bit(INDEX, rng.below(bits));
        }
        let Ok((store, report)) = open(&disk, &world.clock, &world.options) else { panic!("round {round}: does not open") };
        assert!(report.damage.is_none() || report.committed == world.model.end(), "round {round}: {report:?}");
        reads_no_other(&world, &store.reader()).unwrap_or_else(|why| panic!("round {round}: {why}"));
    }
}

fn reads_no_other(world: &World, reader: &factum_storage::Reader) -> Result<(), String> {
    for stream in crate::script::STREAMS {
        let page = reader.read_stream(stream, None, factum_storage::Direction::Forward, 1000, 1 << 20);
        for event in page.ok().flatten().map(|page| page.events).unwrap_or_default() {
            let place = usize::try_from(event.position().get() - 1).expect("small");
            let expected = world.model.log.get(place);
            check(event.stream() == stream && Some(&Event::of(&event)) == expected, || format!("{stream} reads as {event:?}"))?;
        }
    }
    for event in &world.model.log {
        if let Ok(Some(found)) = reader.event_by_id(event.id) {
            check(Event::of(&found) == *event, || format!("{:?} reads as {found:?}", event.id))?;
        }
    }
    Ok(())
}

/// A whole, sound index of a twin log with the same id: wrong entries under right checksums. The first that leads astray is noticed,
/// and once the background has come by, every answer is right.
#[test]
fn i4_sound_index_of_a_twin_is_noticed_and_rebuilt() {
    let world = played(7, 40).expect("plays");
    let twin = {
        let mut twin = World::new(options()).expect("opens");
        generate(8, 8, MIX).iter().for_each(|step| twin.step(step).expect("plays"));
        twin.close().expect("closes");
        assert!(twin.model.log.len() < world.model.log.len(), "the twin's index must not be ahead");
        twin.disk.contents(INDEX).expect("an index")
    };
    let disk = world.disk.fork();
    disk.put(INDEX, &twin);
    let (store, report) = open(&disk, &world.clock, &world.options).expect("opens");
    let reader = store.reader();
    reads_no_other(&world, &reader).expect("no other event");
    let noticed = report.index_rebuilt.is_some() || crate::script::STREAMS.iter().any(|stream| reader.stream(stream).is_err());
    assert!(noticed, "nobody noticed");
    let maintainer = store.maintainer();
    while maintainer.step().expect("rebuilds") {}
    oracle::check_log(&reader, &world.model, world.now()).expect("right again");
    oracle::check_answers(&reader, &world.model, world.now(), &mut Rng::new(1)).expect("right again");
}

/// The disk fails the index while it is flushed: appends go on being acknowledged, and once the background has come by every answer is
/// right.
pub(crate) fn check_failing_flush(fault: Fault, nth: u64, call: Call) -> Result<bool, String> {
    let mut world = World::new(options())?;
    let script = generate(11, 40, Mix { upkeep_percent: 0, ..MIX });
    let (first, rest) = script.split_at(25);
    for step in first {
        world.step(step)?;
    }
    let before = world.disk.calls();
    world.disk.add_rule(Rule::nth(call, nth, fault).on("index"));
    let failed = world.store().maintainer().flush_index().is_err();
    world.disk.clear_rules();
    check(world.disk.calls() > before, || "nothing was flushed".to_owned())?;
    // It may need one round to notice and one to mend.
    let maintainer = world.store().maintainer();
    for _ in 0..4 {
        drop(maintainer.step());
    }
    world.check_answers(1).map_err(|why| format!("after the failed flush: {why}"))?;
    for step in rest {
        world.step(step).map_err(|why| format!("after the failed flush: {why}"))?;
    }
    world.check_answers(2).map_err(|why| format!("later: {why}"))?;
    world.step(&Step::FlushIndex)?;
    world.check_answers(3).map_err(|why| format!("after the next flush: {why}"))?;
    world.step(&Step::Kill)?;
    world.check_answers(4).map_err(|why| format!("after a restart: {why}"))?;
    Ok(failed)
}

#[test]
fn i5_index_fails_while_it_is_flushed() {
    for fault in [Fault::Eio, Fault::StorageFull, Fault::Panic] {
        let mut failures = 0;
        for call in [Call::Write, Call::Sync, Call::SetLen, Call::Read] {
            for nth in 1..30 {
                let failed = check_failing_flush(fault, nth, call).unwrap_or_else(|why| panic!("{call:?} number {nth}, {fault:?}: {why}"));
                if !failed {
                    break;
                }
                failures += 1;
            }
        }
        assert!(failures > 3, "{fault:?} struck {failures} times");
    }
}

/// A reader may outlive its store; the index's file is the next owner's all the same.
#[test]
fn a_reader_left_over_writes_nothing_into_the_file_of_the_next_owner() {
    let fixture = Fixture::with(options(), |store| fill(store, "order-1", 1, 5, 60)).expect("a fixture");
    for flushed in [true, false] {
        let (store, _) = fixture.open().expect("opens");
        let left_over = store.reader();
        if flushed {
            store.close().expect("closes");
        } else {
            drop(store);
        }
        let closed = fixture.contents(INDEX);
        let (store, report) = fixture.open().expect("opens");
        assert_eq!(report.index_rebuilt, None);
        store.close().expect("closes");
        assert!(matches!(left_over.stream("order-2"), Err(Error::Io { context, .. }) if &*context == "the store is closed"));
        drop(left_over);
        assert_eq!(fixture.contents(INDEX).len(), closed.len());
        let (_store, report) = fixture.open().expect("opens");
        assert_eq!(report.index_rebuilt, None, "flushed: {flushed}");
    }
}

/// A snapshot that is wrong in any way is as good as none, and what the store says of its streams stays what the log says.
#[test]
fn i6_snapshot_corrupt_newer_or_of_another_definition_is_ignored() {
    let fixture = Fixture::with(options(), |store| fill(store, "order-1", 1, 5, 60)).expect("a fixture");
    let (store, _) = fixture.open().expect("opens");
    let (reader, stream, hash) = (store.reader(), name("order-1"), [1; 32]);
    let state = vec![b's'; 3000];
    reader.put_snapshot(&stream, Version::new(3), hash, &state).expect("is kept");
    let at = |version| reader.snapshot(&stream, Version::new(version), hash).expect("answers");
    assert_eq!(at(5), Some((Version::new(3), state.clone())));
    assert_eq!(at(3), Some((Version::new(3), state.clone())));
    assert_eq!(at(2), None, "from before it was taken");
    assert_eq!(reader.snapshot(&stream, Version::new(5), [2; 32]).expect("answers"), None, "of another definition");
    // Newer than the log.
    reader.put_snapshot(&stream, Version::new(9), hash, b"from the future").expect("is kept");
    assert_eq!(at(100), Some((Version::new(3), state.clone())));
    drop((reader, store.close()));
    // Each flip gives the state that was put, or none.
    let index = fixture.contents(INDEX);
    let mut rng = Rng::new(1);
    let (mut right, mut none) = (0, 0);
    for _ in 0..300 {
        let broken = fixture.fork();
        broken.disk.flip_bit(INDEX, rng.below(index.len() as u64 * 8));
        let (store, _) = broken.open().expect("opens");
        match store.reader().snapshot(&stream, Version::new(5), hash) {
            Ok(Some(found)) => {
                assert_eq!(found, (Version::new(3), state.clone()));
                right += 1;
            }
            Ok(None) | Err(Error::Io { .. }) => none += 1,
            Err(other) => panic!("{other:?}"),
        }
        assert_eq!(store.reader().committed().get(), 5);
    }
    assert!(right > 0 && none > 0, "{right} right, {none} without an answer");
}
