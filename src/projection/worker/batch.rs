//! What does a batch of events come to, and how is it committed?

use std::collections::VecDeque;
use std::sync::Arc;

use factum_storage::Timestamp;
use tokio::time::Instant;

use super::BATCH_BYTES_MAX;
use super::BATCH_EVENTS_MAX;
use super::End;
use super::FLUSH_AFTER;
use super::FailedEvent;
use super::Failure;
use super::Place;
use super::Worker;
use crate::projection::intake::Chunk;
use crate::projection::intake::Outcome;
use crate::projection::intake::Taken;
use crate::projection::meters;
use crate::projection::module::Calls;
use crate::projection::project;
use crate::projection::spec::Logic;
use crate::projection::spec::OnError;
use crate::projection::target::Batch;
use crate::projection::target::Fault;
use crate::projection::target::Parked;
use crate::projection::target::Writer;
use crate::projection::working::Refusal;
use crate::projection::working::Stamp;
use crate::projection::working::Working;
use crate::subscription::Cursor;
use crate::subscription::Event;
use crate::telemetry::traces;

/// What a batch has come to so far.
struct Progress {
    working: Working,
    parked: Vec<Parked>,
    /// Behind the last event that counts in it.
    through: Option<Cursor>,
    events: u64,
    last_recorded_at: Option<Timestamp>,
}

/// What has caused the events of a batch, as far as traces of it are kept.
fn causes(batch: &[Taken]) -> Vec<traces::Place> {
    if !traces::is_on() {
        return Vec::new();
    }
    batch.iter().filter_map(|taken| traces::Place::of_metadata(taken.event.record.metadata())).take(CAUSES_MAX).collect()
}

/// Goes on in the traces of what has caused a batch that is in the target now.
fn tell_traces(causes: &[traces::Place], projection: &str, events: u64, (began, committing): (Instant, Instant)) {
    if causes.is_empty() {
        return;
    }
    let (began, committing, committed) = (began.into_std(), committing.into_std(), std::time::Instant::now());
    let attributes = [("factum.projection", projection.into()), ("factum.batch.events", events.into())];
    let followed = traces::follow("projection.batch", causes, (began, committed), &attributes);
    traces::follow("projection.commit", &followed, (committing, committed), &[("factum.projection", projection.into())]);
}

/// What is left of a batch.
#[derive(Default)]
struct Left {
    /// Events that have not been looked at: the rows of those before them were as much as one commit takes.
    events: Vec<Taken>,
    /// Why it goes no further. What came before is committed.
    stop: Option<Stop>,
}

enum Stop {
    /// An event can't be digested.
    Poison(Failure),
    /// An event can't be digested now.
    Waits(Fault),
}

impl Worker {
    /// Commits what some chunks come to, in as many batches as it takes. Answers why it goes no further, if it does not.
    pub(super) async fn apply(&mut self, writer: &mut dyn Writer, place: &mut Place, chunks: Vec<Chunk>) -> Result<Option<End>, Fault> {
        let Some(last) = chunks.last() else { return Ok(None) };
        let (through, is_caught_up) = (last.through.clone(), last.is_caught_up);
        let mut waiting: VecDeque<Taken> = chunks.into_iter().flat_map(|chunk| chunk.events).collect();
        while !waiting.is_empty() {
            let mut bytes = 0;
            let fits = |taken: &&Taken| {
                let before = bytes;
                bytes += taken.event.record.stored_bytes();
                before <= BATCH_BYTES_MAX
            };
            let count = waiting.iter().take(self.events_max).take_while(fits).count();
            let batch: Vec<Taken> = waiting.drain(..count).collect();
            let first = batch.first().map(|taken| (taken.event.shard, taken.event.record.position().get()));
            let alone = (batch.len() == 1).then_some(first).flatten();
            match self.write(writer, place, batch).await {
                Ok(Left { stop: None, events }) => {
                    self.events_max = (self.events_max * 2).min(BATCH_EVENTS_MAX);
                    events.into_iter().rev().for_each(|taken| waiting.push_front(taken));
                }
                Ok(Left { stop: Some(Stop::Poison(failure)), .. }) => return Ok(Some(End::Failed(failure))),
                Ok(Left { stop: Some(Stop::Waits(fault)), .. }) => return Err(fault),
                Err(Fault::Row { key, detail }) => {
                    // Which of the events makes the row is found by taking fewer of them, in the end one.
                    match alone {
                        Some(event) => self.refused = Some((event, format!("the row {key:?} was refused: {detail}"))),
                        None => self.events_max = (count / 2).max(1),
                    }
                    return Ok(Some(End::Smaller));
                }
                Err(fault) => return Err(fault),
            }
        }
        if place.applied != through {
            place.applied = through;
            let gone = |cursor: &Cursor| cursor.positions().iter().map(|position| position.get()).sum::<u64>();
            // The rows are the same; a checkpoint now and then saves the next start the way.
            if gone(&place.applied) - gone(&place.committed) >= IDLE_POSITIONS_MAX {
                let batch = Batch { writes: Vec::new(), parked: Vec::new(), through: place.applied.clone() };
                writer.commit(batch).await?;
                place.committed = place.applied.clone();
            }
            self.options.status.set_applied(place.applied.clone(), 0, None);
        }
        if is_caught_up {
            self.options.status.set_caught_up();
        }
        Ok(None)
    }

    /// Commits what a batch comes to, up to an event that stops it.
    async fn write(&mut self, writer: &mut dyn Writer, place: &mut Place, batch: Vec<Taken>) -> Result<Left, Fault> {
        let began = Instant::now();
        let causes = causes(&batch);
        let spec = Arc::clone(&self.options.spec);
        let working = Working::new(Arc::clone(&spec.columns));
        let mut progress = Progress { working, parked: Vec::new(), through: None, events: 0, last_recorded_at: None };
        let mut habit = std::mem::take(&mut self.habit);
        project::load_named(&mut progress.working, writer, &habit, &batch).await?;
        if let Logic::Native(projection) = &spec.logic {
            project::load_looked_at(projection.as_ref(), &mut progress.working, writer, &batch).await?;
        }
        let mut said = Calls::new(&spec, &self.options.sandbox, self.options.lookup.as_ref(), &mut habit, &batch);
        let mut left = Left::default();
        let mut batch = batch.into_iter();
        for at in 0.. {
            // A row may be a thousand times as large as the event that changes it.
            if at > 0 && progress.working.is_full() {
                left.events = batch.collect();
                break;
            }
            let Some(taken) = batch.next() else { break };
            left.stop = self.digest(writer, &mut progress, &mut said, at, taken).await?;
            if left.stop.is_some() {
                break;
            }
        }
        self.habit = habit;
        let Progress { working, parked, through, events, last_recorded_at } = progress;
        if let Some(through) = through {
            let writes = working.into_writes();
            if !writes.is_empty() || !parked.is_empty() {
                let (parked_count, committing) = (parked.len(), Instant::now());
                writer.commit(Batch { writes, parked, through: through.clone() }).await?;
                tell_traces(&causes, &spec.name, events, (began, committing));
                meters::committed(&spec.name, began.elapsed(), parked_count);
                place.committed = through.clone();
                place.flush_at = Some(Instant::now() + FLUSH_AFTER);
            }
            place.applied = through.clone();
            meters::applied(&spec.name, events);
            self.options.status.set_applied(through, events, last_recorded_at);
        }
        Ok(left)
    }

    /// Works one event in, the one at this place of the batch; answers why it stops the batch, if it does.
    async fn digest(
        &self,
        writer: &mut dyn Writer,
        progress: &mut Progress,
        said: &mut Option<Calls<'_>>,
        at: usize,
        taken: Taken,
    ) -> Result<Option<Stop>, Fault> {
        let spec = &self.options.spec;
        let Taken { event, through, outcome } = taken;
        let id = (event.shard, event.record.position().get());
        let is_skipped = self.options.control.borrow().skip == Some(id);
        let outcome = match &self.refused {
            Some((refused, reason)) if *refused == id => Outcome::Poison(reason.clone()),
            _ => outcome,
        };
        let changes = project::changes(spec, outcome, &event, at, said, &mut progress.working, writer).await;
        let stamp = Stamp { version: event.record.version().get(), position: id.1 };
        let done = match changes {
            Ok(changes) if !is_skipped => progress.working.apply(writer, changes, stamp).await,
            Ok(_) => Err(Refusal::Poison(String::new())),
            Err(refusal) => Err(refusal),
        };
        if done.is_err() {
            // What was worked out for the events behind it may rest on it.
            said.iter_mut().for_each(Calls::forget);
        }
        let by_hand = if is_skipped { "skipped by hand. " } else { "" };
        match done {
            Ok(()) => {}
            Err(Refusal::Fault(fault)) => return Err(fault),
            Err(Refusal::Poison(reason)) if is_skipped || spec.on_error == OnError::Park => {
                progress.parked.push(record(&event, format!("{by_hand}{reason}")));
            }
            Err(Refusal::Poison(reason)) => {
                return Ok(Some(Stop::Poison(Failure { reason, event: Some(FailedEvent::of(&event)), attempts: 1 })));
            }
            Err(Refusal::Waits(fault)) => return Ok(Some(Stop::Waits(fault))),
        }
        progress.events += 1;
        progress.last_recorded_at = Some(event.record.recorded_at());
        progress.through = Some(through);
        Ok(None)
    }
}

fn record(event: &Event, reason: String) -> Parked {
    let FailedEvent { shard, position, stream, version, event_type } = FailedEvent::of(event);
    let micros = jiff::Timestamp::now().as_microsecond();
    Parked { shard, position, stream, version, event_type, reason, parked_at: Timestamp::from_micros(micros) }
}

/// After so many positions without a change of rows the checkpoint follows all the same.
const IDLE_POSITIONS_MAX: u64 = 50_000;
/// A batch may be of many requests: so many of them are looked at.
const CAUSES_MAX: usize = 64;
