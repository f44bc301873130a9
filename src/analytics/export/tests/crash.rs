//! A writer is killed at any call: nothing is lost, nothing is there twice, and readers find either what was or what is.

use std::collections::BTreeMap;
use std::sync::Arc;

use object_store::memory::InMemory;

use super::super::manifest::Intent;
use super::fixture::Found;
use super::fixture::Row;
use super::fixture::World;
use super::stores::Fate;
use super::stores::FatefulStore;

/// Three flushes, all files of a folder merged, and what is old swept away.
async fn workload(world: &mut World, store: &Arc<FatefulStore>) {
    let mut session = world.session(Arc::clone(store) as _).await;
    for _round in 0..3 {
        world.append_some(12).await;
        world.flush(&mut session).await;
    }
    let folder = session.manifest.files.first().map(|file| file.planned.category.clone());
    let inputs = session.manifest.files.iter().filter(|file| Some(file.planned.category.clone()) == folder);
    let inputs: Vec<String> = inputs.map(|file| file.planned.path.clone()).collect();
    if inputs.len() > 1 {
        session.merge(inputs).await.unwrap();
    }
    world.clock.advance(3_600);
    session.sweep().await.unwrap();
}

/// Runs the workload until it is through or the store has stopped.
async fn run(world: &mut World, store: &Arc<FatefulStore>) -> bool {
    tokio::select! {
        () = workload(world, store) => true,
        () = store.stopped() => false,
    }
}

/// What must hold while nobody works on the lake.
async fn check_readers(world: &World, store: &InMemory, context: &str) {
    let found = Found::read(store).await;
    let Some(manifest) = &found.manifest else {
        assert_eq!(found.files(), 0, "{context}: files without a manifest");
        return;
    };
    // One shard, so positions count rows in their order.
    let published = usize::try_from(manifest.through[0]).unwrap();
    let mut expected: Vec<Row> = world.rows.iter().take(published).cloned().collect();
    expected.sort();
    assert_eq!(found.by_manifest(), expected, "{context}: by the manifest");
    let mut counts: BTreeMap<Row, usize> = BTreeMap::new();
    for row in found.by_name() {
        *counts.entry(row).or_default() += 1;
    }
    assert!(expected.iter().all(|row| counts.contains_key(row)), "{context}: by name something published is missing");
    let is_merging = matches!(manifest.intent, Some(Intent::Merge { .. }))
        || manifest.retired.iter().any(|retired| found.paths().contains(&retired.path.as_str()));
    let twice: Vec<&Row> = counts.iter().filter(|(_, count)| **count > 1).map(|(row, _)| row).collect();
    assert!(twice.is_empty() || is_merging, "{context}: by name twice, and nothing is being merged: {twice:?}");
}

/// Kills a writer at each of its calls, before and after it is done, and the one that comes after it at some of its own.
#[tokio::test]
async fn p7_a_writer_that_is_killed_at_any_call_leaves_each_event_once() {
    let mut calls = usize::MAX;
    let mut call = 0;
    while call < calls {
        for fate in [Fate::StopBefore, Fate::StopAfter] {
            let context = format!("{fate:?} at call {call}");
            let mut world = World::new(1).await;
            let memory = Arc::new(InMemory::new());
            let store = FatefulStore::new(&memory, move |number, _| if number == call { fate } else { Fate::Pass });
            if run(&mut world, &store).await {
                calls = store.calls();
            }
            check_readers(&world, &memory, &context).await;
            // Who comes after it is killed too, a little later each time.
            for again in 0..3 {
                let at = (call * 5 + again * 7) % 23;
                let store = FatefulStore::new(&memory, move |number, _| if number == at { Fate::StopAfter } else { Fate::Pass });
                tokio::select! {
                    _ = world.session(Arc::clone(&store) as _) => {}
                    () = store.stopped() => {}
                }
                check_readers(&world, &memory, &format!("{context}, then at call {at}")).await;
            }
            let mut session = world.session(Arc::clone(&memory) as _).await;
            check_readers(&world, &memory, &format!("{context}, resolved")).await;
            world.append_some(3).await;
            world.flush(&mut session).await;
            world.assert_complete(&memory, &context).await;
        }
        call += 1;
    }
    assert!(calls > 30, "the workload has only {calls} calls");
}
