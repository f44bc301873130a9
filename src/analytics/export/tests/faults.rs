//! The store says no, loses answers, is full, or belongs to two at once: the lake is whole, and what is wrong is told.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering;

use object_store::ObjectStoreExt;
use object_store::memory::InMemory;
use object_store::path::Path;
use tokio::sync::watch;

use super::super::fault::Fault;
use super::super::pick::Policy;
use super::super::pick::pick;
use super::super::runner::open;
use super::super::session::manifest_path;
use super::super::status::ExportState;
use super::fixture::Found;
use super::fixture::World;
use super::stores::Fate;
use super::stores::FatefulStore;

/// The seeds of a random test: `SEED=n` replays one.
fn seeds(count: u64) -> Vec<u64> {
    match std::env::var("SEED").ok().and_then(|seed| seed.parse().ok()) {
        Some(seed) => vec![seed],
        None => (0..count).collect(),
    }
}

/// A number that only the seed and the place decide.
fn drawn(seed: u64, place: usize) -> u64 {
    xxhash_rust::xxh3::xxh3_64_with_seed(&place.to_le_bytes(), seed)
}

/// A store that fails one call in four, and loses the answer to one in eight.
fn unreliable(memory: &Arc<InMemory>, seed: u64) -> Arc<FatefulStore> {
    FatefulStore::new(memory, move |call, _| match drawn(seed, call) % 8 {
        0 | 1 => Fate::Fail,
        2 => Fate::LoseAnswer,
        _ => Fate::Pass,
    })
}

#[tokio::test]
async fn p6_a_store_that_fails_and_loses_answers_gets_each_event_once() {
    for seed in seeds(12) {
        println!("SEED={seed}");
        let mut world = World::new(2).await;
        let memory = Arc::new(InMemory::new());
        let store = unreliable(&memory, seed);
        let mut session = world.session(Arc::clone(&store) as _).await;
        for round in 0..4 {
            world.append_some(8 + round).await;
            world.flush(&mut session).await;
        }
        let policy = Policy { target_bytes: 1 << 20, today: "9999-01-01".to_owned() };
        while let Some(inputs) = pick(&session.manifest, &policy, &BTreeSet::new()) {
            session.merge(inputs).await.unwrap();
        }
        session.sweep().await.unwrap();
        world.assert_complete(&memory, &format!("SEED={seed}")).await;
        assert_eq!(Found::read(&memory).await.files(), 2, "SEED={seed}: one file a category");
        assert!(store.calls() > 30, "SEED={seed}");
    }
}

#[tokio::test]
async fn p6_a_lost_answer_to_a_manifest_is_no_lost_lake() {
    let mut world = World::new(1).await;
    let memory = Arc::new(InMemory::new());
    // Every manifest is made, and no answer comes.
    let store = FatefulStore::new(&memory, |call, what| {
        let is_first_try = drawn(1, call).is_multiple_of(2);
        if what.contains("put _factum/manifest") && is_first_try { Fate::LoseAnswer } else { Fate::Pass }
    });
    let mut session = world.session(store).await;
    for _ in 0..4 {
        world.append_some(5).await;
        world.flush(&mut session).await;
    }
    assert_eq!(session.manifest.epoch, 1, "it is the same writer all the time");
    world.assert_complete(&memory, "lost answers").await;
}

#[tokio::test]
async fn p6_while_the_store_is_full_that_is_told_and_it_goes_on_by_itself() {
    let mut world = World::new(1).await;
    let memory = Arc::new(InMemory::new());
    let is_full = Arc::new(AtomicBool::new(false));
    let full = Arc::clone(&is_full);
    let store = FatefulStore::new(
        &memory,
        move |_, what| {
            if full.load(Ordering::SeqCst) && what.starts_with("put") { Fate::Fail } else { Fate::Pass }
        },
    );
    let (options, orders) = world.options(store, r#"{"flush_seconds": 1}"#);
    let status = Arc::clone(&options.status);
    let running = tokio::spawn(super::super::runner::run(options));
    let flush = |world: &World| {
        let end = world.end();
        orders.send_modify(|orders| orders.flush_to = Some(end));
    };
    world.append_some(5).await;
    flush(&world);
    let end = world.end();
    status.watch_reached().wait_for(|reached| reached.covers(&end)).await.unwrap();
    is_full.store(true, Ordering::SeqCst);
    world.append_some(5).await;
    flush(&world);
    let failure = loop {
        // What it tells changes with each try; there is nothing else to wait for.
        if let (ExportState::Retrying, Some(failure)) = status.state() {
            break failure;
        }
        tokio::task::yield_now().await;
    };
    assert!(failure.reason.contains("503 Slow Down"), "{failure:?}");
    assert_eq!(Found::read(&memory).await.by_manifest().len(), 5, "what was published stays");
    is_full.store(false, Ordering::SeqCst);
    let end = world.end();
    status.watch_reached().wait_for(|reached| reached.covers(&end)).await.unwrap();
    assert_eq!(status.state(), (ExportState::Running, None));
    world.assert_complete(&memory, "there is space again").await;
    drop(orders);
    running.await.unwrap();
}

#[tokio::test]
async fn p8_of_two_writers_one_has_the_lake_and_the_other_finds_out() {
    let mut world = World::new(1).await;
    let memory = Arc::new(InMemory::new());
    let mut first = world.session(Arc::clone(&memory) as _).await;
    world.append_some(6).await;
    world.flush(&mut first).await;
    let mut second = world.session(Arc::clone(&memory) as _).await;
    assert_eq!((first.manifest.epoch, second.manifest.epoch), (1, 2));
    let before = Found::read(&memory).await.paths().len();
    world.append_some(6).await;
    // The first does not know it yet.
    let (options, _orders) = world.options(Arc::new(InMemory::new()), "{}");
    let mut gathered = super::super::gather::Gathered::behind(&first.manifest, options.spec.layout);
    options.log.replay(&mut gathered, &world.end()).await.unwrap();
    let fault = first.flush(gathered).await.unwrap_err();
    assert!(matches!(&fault, Fault::Fenced(reason) if reason.contains("another writer")), "{fault:?}");
    assert_eq!(Found::read(&memory).await.paths().len(), before, "it has put nothing");
    world.flush(&mut second).await;
    world.assert_complete(&memory, "the second goes on").await;
}

/// Two writers, each at any step when the other takes the lake from it.
#[tokio::test]
async fn p8_two_writers_that_take_the_lake_from_each_other_leave_each_event_once() {
    for seed in seeds(25) {
        println!("SEED={seed}");
        let mut world = World::new(1).await;
        let memory = Arc::new(InMemory::new());
        let mut interrupted = 0;
        for round in 0..6_usize {
            world.append_some(4).await;
            // Somebody begins to flush, and stops for a while in the middle of a call.
            let at = usize::try_from(drawn(seed, round) % 16).unwrap();
            let is_over = Arc::new(AtomicBool::new(false));
            let over = Arc::clone(&is_over);
            let is_stopped = move |call| call == at && !over.load(Ordering::SeqCst);
            let store = FatefulStore::new(&memory, move |call, _| if is_stopped(call) { Fate::StopAfter } else { Fate::Pass });
            let mut held = None;
            tokio::select! {
                biased;
                () = store.stopped() => interrupted += 1,
                session = async {
                    let mut session = world.session(Arc::clone(&store) as _).await;
                    world.flush(&mut session).await;
                    session
                } => held = Some(session),
            }
            is_over.store(true, Ordering::SeqCst);
            // Another one takes over and flushes; the first, if it is still there, must find that it has lost.
            world.append_some(2).await;
            let mut other = world.session(Arc::clone(&memory) as _).await;
            world.flush(&mut other).await;
            if let Some(mut first) = held {
                let sequence = first.manifest.sequence;
                let lost = first.advance(&world.end()).await;
                assert!(matches!(lost, Err(Fault::Fenced(_))), "SEED={seed}: manifest {sequence}");
            }
            world.assert_complete(&memory, &format!("SEED={seed} round {round}")).await;
        }
        println!("{interrupted} of 6 were interrupted");
    }
}

#[tokio::test]
async fn p10_a_store_that_ignores_conditions_is_refused() {
    let world = World::new(1).await;
    let memory = Arc::new(InMemory::new());
    let store = FatefulStore::new(&memory, |_, what| if what.starts_with("put") { Fate::IgnoreCondition } else { Fate::Pass });
    let (options, _orders) = world.options(store, "{}");
    let Err(fault) = open(&options).await else { panic!("it was taken over") };
    assert!(matches!(&fault, Fault::Lasting(reason) if reason.contains("If-None-Match")), "{fault:?}");
    assert_eq!(Found::read(&memory).await.paths(), [""; 0], "nothing of the probe stays");
}

#[tokio::test]
async fn p7_a_manifest_that_cannot_be_read_is_told_and_can_be_gone_back_behind() {
    let mut world = World::new(1).await;
    let memory = Arc::new(InMemory::new());
    let mut session = world.session(Arc::clone(&memory) as _).await;
    for _ in 0..3 {
        world.append_some(5).await;
        world.flush(&mut session).await;
    }
    let newest = manifest_path(session.manifest.sequence);
    let whole = memory.get(&newest).await.unwrap().bytes().await.unwrap();
    let mut flipped = whole.to_vec();
    let middle = flipped.len() / 2;
    flipped[middle] ^= 1;
    for (damaged, what) in [(whole.slice(..whole.len() / 2), "cut"), (flipped.into(), "flipped"), (bytes::Bytes::new(), "empty")] {
        memory.put(&newest, damaged.into()).await.unwrap();
        let (options, _orders) = world.options(Arc::clone(&memory) as _, "{}");
        let Err(fault) = open(&options).await else { panic!("{what}: it was taken") };
        let is_told = matches!(&fault, Fault::Lasting(reason) if reason.contains(newest.as_ref()) && reason.contains("delete it"));
        assert!(is_told, "{what}: {fault:?}");
    }
    // As the reason says: without it the one before it counts, and what it told of is done again.
    memory.delete(&newest).await.unwrap();
    let mut session = world.session(Arc::clone(&memory) as _).await;
    world.append_some(5).await;
    world.flush(&mut session).await;
    world.assert_complete(&memory, "without the damaged manifest").await;
}

#[tokio::test]
async fn p7_a_file_that_cannot_be_read_is_left_alone_and_told_and_the_export_goes_on() {
    let mut world = World::new(1).await;
    let memory = Arc::new(InMemory::new());
    let mut session = world.session(Arc::clone(&memory) as _).await;
    for _ in 0..3 {
        world.append("order-1", "{\"a\":1}").await;
        world.flush(&mut session).await;
    }
    let paths: Vec<String> = session.manifest.files.iter().map(|file| file.planned.path.clone()).collect();
    let whole = memory.get(&Path::parse(&paths[1]).unwrap()).await.unwrap().bytes().await.unwrap();
    memory.put(&Path::parse(&paths[1]).unwrap(), whole.slice(..whole.len() - 9).into()).await.unwrap();
    session.merge(paths.clone()).await.unwrap();
    assert_eq!(session.manifest.files.len(), 3, "nothing is taken away");
    assert_eq!(session.unfinished(), None);
    let (_, failure) = session.tools.status.state();
    assert!(failure.is_some_and(|failure| failure.reason.contains(&paths[1])));
    let policy = Policy { target_bytes: 1 << 20, today: "9999-01-01".to_owned() };
    assert_eq!(pick(&session.manifest, &policy, &session.spoilt), Some(vec![paths[0].clone(), paths[2].clone()]));
    world.append("order-1", "{\"a\":2}").await;
    world.flush(&mut session).await;
    assert_eq!(session.manifest.through(), world.end());
}

#[tokio::test]
async fn a_lake_of_another_log_or_of_another_definition_is_refused() {
    let mut world = World::new(1).await;
    let memory = Arc::new(InMemory::new());
    let mut session = world.session(Arc::clone(&memory) as _).await;
    world.append_some(5).await;
    world.flush(&mut session).await;
    let refused = |world: &World, text: &str| {
        let (options, orders) = world.options(Arc::clone(&memory) as _, text);
        async move {
            let Err(Fault::Lasting(reason)) = open(&options).await else { panic!("it was taken") };
            drop::<watch::Sender<_>>(orders);
            reason
        }
    };
    let mut other = World::new(1).await;
    assert!(refused(&other, "{}").await.contains("beyond the end"));
    other.append_some(9).await;
    assert!(refused(&other, "{}").await.contains("filled from another log"));
    assert!(refused(&World::new(2).await, "{}").await.contains("1 shard(s)"));
    assert!(refused(&world, r#"{"partition_by": ["date"]}"#).await.contains("partition_by"));
    assert!(refused(&world, r#"{"filter": {"types": ["A"]}}"#).await.contains("another url"));
    world.assert_complete(&memory, "nothing was touched").await;
}
