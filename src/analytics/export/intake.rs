//! How do events get from the log to an export without one waiting for the other?

use std::sync::Arc;

use tokio::sync::Notify;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::log::Log;
use crate::Error;
use crate::subscription::Cursor;
use crate::subscription::Event;
use crate::subscription::Feed;
use crate::subscription::FeedItem;

/// What came at once.
pub(super) struct Chunk {
    pub(super) events: Vec<Event>,
    /// Behind all of them, and behind what the filter left out.
    pub(super) through: Cursor,
    /// Names the shapes that they were brought into.
    pub(super) shapes: u64,
    /// The live end was reached.
    pub(super) is_caught_up: bool,
}

/// The running intake; dropping it ends it.
pub(super) struct Intake {
    chunks: mpsc::Receiver<Result<Chunk, Error>>,
    wake: Arc<Notify>,
    task: JoinHandle<()>,
}

impl Drop for Intake {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Intake {
    /// Reads on behind a cursor.
    pub(super) fn start(log: Log, after: &Cursor) -> Self {
        let (sender, chunks) = mpsc::channel(CHUNKS_MAX);
        let wake = Arc::new(Notify::new());
        let feed = Feed::of_log(Arc::clone(&log.router), (*log.filter).clone(), after).telling_progress().reshaped_by(log.reshape.clone());
        Self { chunks, task: tokio::spawn(run(feed, log, Arc::clone(&wake), sender)), wake }
    }

    /// The next chunk; `None` once the feed has ended with an error that was given.
    pub(super) async fn next(&mut self) -> Option<Result<Chunk, Error>> {
        self.chunks.recv().await
    }

    /// Somebody waits: an idle feed looks at once.
    pub(super) fn hurry(&self) {
        self.wake.notify_one();
    }
}

async fn run(mut feed: Feed, log: Log, wake: Arc<Notify>, chunks: mpsc::Sender<Result<Chunk, Error>>) {
    // A frame of the log may hold much that the filter leaves out, and one event that is kept keeps it all.
    let is_partial = !log.filter.is_everything();
    loop {
        // Of what is told here and changes meanwhile the older counts: shapes that are not today's do no harm.
        let shapes = log.shapes();
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
                let detach = |event: Event| Event { record: if is_partial { event.record.detached() } else { event.record }, ..event };
                let events = events.into_iter().map(|(event, _)| detach(event)).collect();
                Ok(Chunk { events, through, shapes, is_caught_up: false })
            }
            Ok(FeedItem::CaughtUp(through)) => Ok(Chunk { events: Vec::new(), through, shapes, is_caught_up: true }),
            Ok(FeedItem::FellBehind(_)) => continue,
            Err(error) => Err(error),
        };
        let is_last = chunk.is_err();
        if chunks.send(chunk).await.is_err() || is_last {
            return;
        }
    }
}

/// Enough to keep the other side busy, and no more than some megabytes.
const CHUNKS_MAX: usize = 16;
