//! Clients that follow live what one writer appends: how long from sending to receiving?

use std::cell::Cell;
use std::cell::RefCell;
use std::rc::Rc;
use std::time::Instant;

use tokio::sync::watch;

use super::Plan;
use super::append::fill;
use super::connection::Connection;
use super::report::Measured;
use crate::cli::failure::Failure;

/// What writer and followers share; they run on one thread.
#[derive(Default)]
struct Shared {
    /// When the event with version n was sent, at n - 1.
    sent: RefCell<Vec<Instant>>,
    following: Cell<u32>,
}

pub(super) async fn run(plan: Plan) -> Result<Measured, Failure> {
    let shared = Rc::new(Shared::default());
    let (done, total) = watch::channel(None);
    let local = tokio::task::LocalSet::new();
    let started = Instant::now();
    let followers: Vec<_> = (0..plan.clients).map(|_| local.spawn_local(follow(plan.clone(), Rc::clone(&shared), total.clone()))).collect();
    let writer = local.spawn_local(write(plan, Rc::clone(&shared), done));
    let broke_off = |error: tokio::task::JoinError| Failure::failed("a client of the run broke off").detail(error.to_string());
    let mut sum = Measured::new();
    local
        .run_until(async {
            writer.await.map_err(broke_off)??;
            for follower in followers {
                sum.add(&follower.await.map_err(broke_off)??);
            }
            Ok::<_, Failure>(())
        })
        .await?;
    sum.seconds = started.elapsed().as_secs_f64();
    Ok(sum)
}

fn stream(plan: &Plan) -> String {
    format!("bench-{}-live", plan.run)
}

async fn write(plan: Plan, shared: Rc<Shared>, done: watch::Sender<Option<u64>>) -> Result<(), Failure> {
    let mut connection = Connection::open(&plan.target).await?;
    let (mut request, mut body) = (Vec::new(), Vec::new());
    let path = format!("/v1/streams/{}/events", stream(&plan));
    let mut version = 0;
    // Nothing is sent before everybody listens.
    while shared.following.get() < plan.clients {
        if Instant::now() > plan.ends {
            return Err(Failure::failed("the followers did not connect in time").next("give it more --seconds, or fewer --clients"));
        }
        tokio::task::yield_now().await;
    }
    while version < plan.events_max && Instant::now() < plan.ends {
        let batch = u64::from(plan.batch).min(plan.events_max - version);
        fill(&mut body, batch, version, plan.payload);
        plan.target.post(&path, &body, &mut request);
        let now = Instant::now();
        shared.sent.borrow_mut().extend((0..batch).map(|_| now));
        connection.ask(&request).await?;
        connection.drain().await?;
        version += batch;
    }
    done.send_replace(Some(version));
    Ok(())
}

async fn follow(plan: Plan, shared: Rc<Shared>, mut total: watch::Receiver<Option<u64>>) -> Result<Measured, Failure> {
    let mut connection = Connection::open(&plan.target).await?;
    let path = format!("/v1/events?follow=true&after=end&stream_prefix={}", stream(&plan));
    connection.ask(&plan.target.get(&path, "application/x-ndjson")).await?;
    shared.following.set(shared.following.get() + 1);
    let mut measured = Measured::new();
    let mut rest = Vec::new();
    loop {
        // Whoever has everything is done; before the writer has ended nobody knows how much that is.
        if total.borrow().is_some_and(|total| measured.events >= total) {
            return Ok(measured);
        }
        let part = tokio::select! {
            part = connection.part() => part?,
            changed = total.changed(), if total.borrow().is_none() => {
                changed.map_err(|_| Failure::failed("the writer broke off"))?;
                continue;
            }
        };
        let Some(part) = part else { return Err(Failure::failed("the server ended the feed")) };
        rest.extend_from_slice(&part);
        let Some(end) = rest.iter().rposition(|byte| *byte == b'\n') else { continue };
        let lines: Vec<u8> = rest.drain(..=end).collect();
        for line in lines.split(|byte| *byte == b'\n').filter(|line| !line.is_empty() && !line.starts_with(b"{\"$")) {
            // The writer is the stream's only one, so events come in the order of the times in `sent`.
            let index = usize::try_from(measured.events).unwrap_or(usize::MAX);
            let Some(sent) = shared.sent.borrow().get(index).copied() else {
                return Err(Failure::failed("the feed repeated an event"));
            };
            measured.record(sent.elapsed(), 1, line.len() as u64);
        }
    }
}
