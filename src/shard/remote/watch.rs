//! Is the server there, is it the right one, and what comes in there?
//!
//! One task a shard. It looks once a second, and follows the log meanwhile: what arrives wakes whoever waits for events, as it does for a
//! shard of this process. While the server does not answer nothing is sent to it; it is tried again all the time.

use std::sync::Arc;
use std::time::Duration;

use bytes::Buf;
use bytes::BytesMut;
use factum_storage::Position;
use factum_storage::RecordedEvent;
use reqwest::Method;
use reqwest::Response;
use tokio::time::MissedTickBehavior;

use super::Remote;
use super::wire;

/// Watches until the shard is closed.
pub(super) async fn run(remote: Arc<Remote>) {
    let mut at = remote.committed();
    let mut was_down = remote.is_down();
    let watching = async {
        loop {
            match remote.look().await {
                Ok(()) => {
                    if std::mem::replace(&mut was_down, false) {
                        tracing::info!(shard = remote.shard, url = remote.url(), "the shard is reached again");
                    }
                    let why = remote.follow(&mut at).await;
                    was_down = true;
                    tracing::warn!(shard = remote.shard, why, "the shard can't be followed; it is tried again");
                }
                Err(why) if !std::mem::replace(&mut was_down, true) => {
                    tracing::error!(shard = remote.shard, why, "the shard can't be reached; the others serve, and it is tried again");
                }
                Err(_) => {}
            }
            tokio::time::sleep(RETRY).await;
        }
    };
    tokio::select! {
        () = watching => {}
        () = remote.closing.cancelled() => {}
    }
}

impl Remote {
    /// What was sent has not been answered: until somebody has looked, nothing more is sent.
    pub(super) fn doubt(&self, detail: &str) {
        self.health.write().fault.get_or_insert_with(|| detail.to_owned());
    }

    /// Follows the log behind `at` for as long as that goes well, and says what has ended it.
    async fn follow(&self, at: &mut Position) -> String {
        let query = [
            ("after", at.get().to_string()),
            ("include_system", "true".to_owned()),
            ("raw", "true".to_owned()),
            ("follow", "true".to_owned()),
        ];
        let request = match self.caller.request(Method::GET, &["v1", "events"], &query) {
            Ok(request) => request.header("accept", "application/x-ndjson"),
            Err(error) => return error.to_string(),
        };
        let mut feed = match self.caller.open(request).await {
            Ok(feed) => feed,
            Err(fault) => return self.failed(self.caller.failed_read(fault).to_string()),
        };
        let mut looks = tokio::time::interval(LOOK_EVERY);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        looks.reset();
        let mut lines = BytesMut::new();
        loop {
            let ended = tokio::select! {
                arrived = self.take(&mut feed, &mut lines, at) => arrived.err(),
                _ = looks.tick() => {
                    self.write_down().await;
                    self.look().await.err()
                }
            };
            if let Some(why) = ended {
                return self.failed(why);
            }
        }
    }

    fn failed(&self, why: String) -> String {
        self.doubt(&why);
        why
    }

    /// Takes what has arrived. Safe to be given up while it waits.
    async fn take(&self, feed: &mut Response, lines: &mut BytesMut, at: &mut Position) -> Result<(), String> {
        let broke = |error: reqwest::Error| format!("the feed of {} broke off: {}", self.url(), super::call::chain(&error));
        let part = feed.chunk().await.map_err(broke)?.ok_or_else(|| format!("{} has ended the feed", self.url()))?;
        lines.extend_from_slice(&part);
        // What came before was looked at: a long line is not searched again for each of its parts.
        if !part.contains(&b'\n') {
            let is_long = lines.len() > LINE_BYTES_MAX;
            return if is_long { Err(format!("{} sends a line of more than {LINE_BYTES_MAX} bytes", self.url())) } else { Ok(()) };
        }
        let (mut events, mut through) = (Vec::new(), *at);
        while let Some(end) = lines.iter().position(|byte| *byte == b'\n') {
            let line = lines.split_to(end);
            lines.advance(1);
            let read = self.line(&line).map_err(|detail| format!("{} sends what can't be understood: {detail}", self.url()))?;
            match read {
                // Whoever follows relies on the order.
                Line::Event(event) if event.position() <= through => {
                    return Err(format!("{} sends position {} behind {through}", self.url(), event.position()));
                }
                Line::Event(event) => {
                    through = event.position();
                    events.push(*event);
                }
                Line::Through(position) => through = through.max(position),
                Line::Nothing => {}
            }
        }
        if through > *at {
            if let Some(event) = events.last() {
                *self.last.lock() = Some((event.position(), event.id()));
            }
            // Before anybody is woken: they look how far the log reaches.
            self.reaches(through);
            self.live.arrived(events, through);
            *at = through;
        }
        Ok(())
    }

    fn line(&self, line: &[u8]) -> Result<Line, String> {
        if !line.starts_with(b"{\"$") {
            let event = serde_json::from_slice::<wire::EventWire<'_>>(line).map_err(|error| error.to_string())?;
            return Ok(Line::Event(Box::new(event.event()?)));
        }
        let mark: wire::Mark = serde_json::from_slice(line).map_err(|error| error.to_string())?;
        match (mark.caught_up, mark.error) {
            (_, Some(error)) => Err(format!("the feed has failed: {error}")),
            (Some(caught_up), None) => wire::position(&caught_up.cursor).map(Line::Through),
            (None, None) => Ok(Line::Nothing),
        }
    }
}

enum Line {
    Event(Box<RecordedEvent>),
    /// Everything up to here was looked at.
    Through(Position),
    Nothing,
}

const LOOK_EVERY: Duration = Duration::from_secs(1);
const RETRY: Duration = Duration::from_millis(250);
/// More than the largest event takes as JSON.
const LINE_BYTES_MAX: usize = 64 << 20;
