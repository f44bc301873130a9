//! How do events get from the feed to the rows without one waiting for the other? The feed is read, and what can be said of an event
//! without looking at rows is worked out, while the batch before is being written.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use factum_storage::Filter;
use tokio::sync::Notify;
use tokio::sync::OwnedSemaphorePermit;
use tokio::sync::Semaphore;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::module::Asked;
use super::row::Change;
use super::source_event::SourceEvent;
use super::spec::Columns;
use super::spec::Declared;
use super::spec::Logic;
use super::spec::Spec;
use super::value::Value;
use crate::Error;
use crate::shard::Router;
use crate::subscription::Cursor;
use crate::subscription::Event;
use crate::subscription::Feed;
use crate::subscription::FeedItem;
use crate::subscription::Reshape;
use crate::subscription::event_json::Lines;
use crate::subscription::event_json::push_event;

/// What is needed to read events for a projection.
pub(super) struct Options {
    pub(super) router: Arc<Router>,
    pub(super) reshape: Option<Arc<dyn Reshape>>,
    pub(super) spec: Arc<Spec>,
    pub(super) after: Cursor,
    /// Somebody can't wait until an idle feed looks again.
    pub(super) wake: Arc<Notify>,
}

/// What came at once.
pub(super) struct Chunk {
    pub(super) events: Vec<Taken>,
    /// Behind all of them, and behind what the filter left out.
    pub(super) through: Cursor,
    /// The live end was reached.
    pub(super) is_caught_up: bool,
    /// Given back when somebody takes the events.
    pub(super) _room: Option<OwnedSemaphorePermit>,
}

/// An event on its way.
pub(super) struct Taken {
    pub(super) event: Event,
    pub(super) through: Cursor,
    pub(super) outcome: Outcome,
}

/// What is known of what an event does.
pub(super) enum Outcome {
    Changes(Vec<Change>),
    /// It can't be digested.
    Poison(String),
    /// A Rust type has to look at rows first.
    Native,
    /// A module has to.
    Module(Asked),
}

/// The running intake; dropping it ends it.
pub(super) struct Handle {
    chunks: mpsc::Receiver<Result<Chunk, Error>>,
    task: JoinHandle<()>,
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Handle {
    pub(super) fn start(options: Options) -> Self {
        let (sender, chunks) = mpsc::channel(CHUNKS_MAX);
        Self { chunks, task: tokio::spawn(run(options, sender)) }
    }

    /// The next chunk; `None` once the feed has ended with an error that was given.
    pub(super) async fn next(&mut self) -> Option<Result<Chunk, Error>> {
        self.chunks.recv().await
    }

    /// A chunk that is there already.
    pub(super) fn ready(&mut self) -> Option<Result<Chunk, Error>> {
        self.chunks.try_recv().ok()
    }
}

async fn run(options: Options, chunks: mpsc::Sender<Result<Chunk, Error>>) {
    let Options { router, reshape, spec, after, wake } = options;
    let filter: Filter = spec.source.clone();
    let mut feed = Feed::of_log(router, filter, &after).telling_progress_within(PROGRESS_WITHIN).reshaped_by(reshape);
    let room = Arc::new(Semaphore::new(ROOM_KIB));
    loop {
        let item = tokio::select! {
            item = feed.next() => item,
            () = wake.notified() => {
                feed.hurry();
                continue;
            }
        };
        let chunk = match item {
            Ok(FeedItem::Events(events)) => {
                let Some((_, through)) = events.last() else { continue };
                let through = through.clone();
                let bytes: usize = events.iter().map(|(event, _)| event.record.stored_bytes()).sum();
                let taking = u32::try_from((bytes >> 10).min(ROOM_KIB)).unwrap_or(u32::MAX);
                let Ok(room) = Arc::clone(&room).acquire_many_owned(taking).await else { return };
                let events = events.into_iter().map(|(event, through)| taken(&spec, event, through)).collect();
                Ok(Chunk { events, through, is_caught_up: false, _room: Some(room) })
            }
            Ok(FeedItem::CaughtUp(through)) => Ok(Chunk { events: Vec::new(), through, is_caught_up: true, _room: None }),
            Ok(FeedItem::FellBehind(_)) => continue,
            Err(error) => Err(error),
        };
        let is_last = chunk.is_err();
        if chunks.send(chunk).await.is_err() || is_last {
            return;
        }
    }
}

/// What can be said of an event without looking at rows.
pub(super) fn taken(spec: &Spec, event: Event, through: Cursor) -> Taken {
    let outcome = match (event.record.reshape_failure(), &spec.logic) {
        (Some(reason), _) => Outcome::Poison(format!("it can't be brought to its newest shape: {reason}")),
        (None, Logic::Declared(declared)) => match changes(declared, &spec.columns, &event) {
            Ok(changes) => Outcome::Changes(changes),
            Err(reason) => Outcome::Poison(reason),
        },
        (None, Logic::Native(_)) => Outcome::Native,
        (None, Logic::Module(_)) => {
            let mut text = Vec::new();
            push_event(&mut text, event.shard, &event.record, Lines::Any);
            let own_key = spec.columns.has_text_keys().then(|| Value::Text(event.record.stream().into()));
            Outcome::Module(Asked { text: Bytes::from(text), own_key })
        }
    };
    Taken { event, through, outcome }
}

fn changes(declared: &Declared, columns: &Columns, event: &Event) -> Result<Vec<Change>, String> {
    let Some(handlers) = declared.handlers.get(event.record.event_type()) else { return Ok(Vec::new()) };
    let source = SourceEvent::new(event, &declared.wanted);
    let mut changes = Vec::with_capacity(handlers.len());
    for handler in handlers {
        changes.extend(handler.change(columns, &source)?);
    }
    Ok(changes)
}

/// A hundred projections that nothing is written for cost those who write next to nothing. Whoever waits for progress asks again and again.
const PROGRESS_WITHIN: Duration = Duration::from_secs(1);
/// Enough to keep the other side busy, of which large events must not make hundreds of megabytes.
const CHUNKS_MAX: usize = 16;
const ROOM_KIB: usize = 16 << 10;
