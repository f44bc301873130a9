//! Does the lake follow the log by itself, flush when it is time, and merge what is small?

use std::sync::Arc;

use object_store::memory::InMemory;

use super::super::runner::run;
use super::fixture::Found;
use super::fixture::World;

#[tokio::test]
async fn what_is_appended_is_in_the_lake_after_a_while_and_small_files_are_merged() {
    let mut world = World::new(2).await;
    let memory = Arc::new(InMemory::new());
    let (options, orders) = world.options(Arc::clone(&memory) as _, r#"{"flush_seconds": 1}"#);
    let status = Arc::clone(&options.status);
    let running = tokio::spawn(run(options));
    for _ in 0..9 {
        world.append_some(7).await;
        let end = world.end();
        // Nobody asks for it: the time of each flush comes.
        orders.send_modify(|orders| orders.flush_to = Some(end.clone()));
        status.watch_reached().wait_for(|reached| reached.covers(&end)).await.unwrap();
    }
    world.append_some(3).await;
    let end = world.end();
    status.watch_reached().wait_for(|reached| reached.covers(&end)).await.unwrap();
    let mut merged = status.watch_published();
    merged.wait_for(|published| published.as_ref().is_some_and(|published| published.files.len() <= 6)).await.unwrap();
    drop(orders);
    running.await.unwrap();
    // A merge may be under way when it ends; whoever comes next finishes it.
    drop(world.session(Arc::clone(&memory) as _).await);
    world.assert_complete(&memory, "at the end").await;
    assert!(Found::read(&memory).await.files() <= 6);
}

#[tokio::test]
async fn what_the_filter_leaves_out_moves_the_checkpoint_without_a_file() {
    let mut world = World::new(1).await;
    let memory = Arc::new(InMemory::new());
    let (options, orders) = world.options(Arc::clone(&memory) as _, r#"{"filter": {"categories": ["order"]}}"#);
    let status = Arc::clone(&options.status);
    let running = tokio::spawn(run(options));
    for _ in 0..5 {
        world.append("cart-1", "{}").await;
    }
    let end = world.end();
    status.watch_reached().wait_for(|reached| reached.covers(&end)).await.unwrap();
    assert_eq!(Found::read(&memory).await.files(), 0);
    drop(orders);
    running.await.unwrap();
}
