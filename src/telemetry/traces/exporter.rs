//! How do spans get to a collector without anybody waiting for it? A bounded queue, a task that sends what is in it, and nothing else.
//!
//! What finds no room, and what a collector does not take, is dropped and counted: a trace is worth less than a request.

use std::time::Duration;

use metrics::Counter;
use metrics::counter;
use tokio::sync::mpsc;
use tokio::sync::oneshot;

use super::span;
use super::span::Span;

/// Where spans go in.
pub(super) struct Queue {
    sender: mpsc::Sender<Message>,
    dropped: Counter,
}

enum Message {
    Span(Box<Span>),
    /// Everything before this is to be sent, and then the sender told.
    Flush(oneshot::Sender<()>),
}

/// What sends them.
pub(super) struct Exporter {
    http: reqwest::Client,
    url: reqwest::Url,
    messages: mpsc::Receiver<Message>,
    exported: Counter,
    failed: Counter,
    is_away: bool,
}

/// A queue, and what empties it once it is run.
///
/// # Errors
///
/// A sentence: no client can be made.
pub(super) fn new(url: reqwest::Url) -> Result<(Queue, Exporter), String> {
    let spans = |outcome: &'static str| counter!("factum_trace_spans_total", "outcome" => outcome);
    let http = reqwest::Client::builder()
        .timeout(SEND_TIMEOUT)
        .redirect(reqwest::redirect::Policy::none())
        .user_agent(concat!("factum/", env!("CARGO_PKG_VERSION")))
        .build()
        .map_err(|error| error.to_string())?;
    let (sender, messages) = mpsc::channel(QUEUE_SPANS);
    let exporter = Exporter { http, url, messages, exported: spans("exported"), failed: spans("failed"), is_away: false };
    Ok((Queue { sender, dropped: spans("dropped") }, exporter))
}

impl Queue {
    /// Takes a span, or drops it.
    pub(super) fn put(&self, span: Span) {
        if self.sender.try_send(Message::Span(Box::new(span))).is_err() {
            self.dropped.increment(1);
        }
    }

    /// Waits until what was put before has been sent, or could not be.
    pub(super) async fn flush(&self) {
        let (done, told) = oneshot::channel();
        if self.sender.send(Message::Flush(done)).await.is_ok() {
            // The exporter may end meanwhile; then there is nothing to wait for.
            told.await.unwrap_or_default();
        }
    }
}

impl Exporter {
    /// Sends spans, for ever: some at a time, and not long after they have ended.
    pub(super) async fn run(mut self) {
        let mut batch = Vec::new();
        while let Some(first) = self.messages.recv().await {
            let mut flushed = self.collect(first, &mut batch).await;
            if !batch.is_empty() {
                self.send(&batch).await;
                batch.clear();
            }
            flushed.drain(..).for_each(|done| done.send(()).unwrap_or_default());
        }
    }

    /// What comes within a moment after the first span, up to a batch; who waits for it.
    async fn collect(&mut self, first: Message, batch: &mut Vec<Span>) -> Vec<oneshot::Sender<()>> {
        let mut flushed = Vec::new();
        let until = tokio::time::Instant::now() + GATHER;
        let mut next = Some(first);
        while let Some(message) = next.take() {
            match message {
                Message::Span(span) => batch.push(*span),
                Message::Flush(done) => {
                    flushed.push(done);
                    return flushed;
                }
            }
            if batch.len() < BATCH_SPANS {
                next = tokio::time::timeout_at(until, self.messages.recv()).await.ok().flatten();
            }
        }
        flushed
    }

    async fn send(&mut self, batch: &[Span]) {
        let count = u64::try_from(batch.len()).unwrap_or(u64::MAX);
        let request = self.http.post(self.url.clone()).header("content-type", "application/json").body(span::body(batch));
        // What a collector says beside its status is not read: it may be anything, of any length.
        let answered = request.send().await.map(|response| response.status());
        match answered {
            Ok(status) if status.is_success() => {
                self.exported.increment(count);
                if std::mem::take(&mut self.is_away) {
                    tracing::info!("the collector of traces takes them again");
                }
            }
            refused => {
                self.failed.increment(count);
                if !std::mem::replace(&mut self.is_away, true) {
                    let reason = refused.map_or_else(|error| error.without_url().to_string(), |status| status.to_string());
                    tracing::warn!(reason, "the collector of traces does not take them; they are dropped until it does");
                }
            }
        }
    }
}

/// Some seconds of a busy server.
const QUEUE_SPANS: usize = 8_192;
const BATCH_SPANS: usize = 512;
const GATHER: Duration = Duration::from_millis(500);
const SEND_TIMEOUT: Duration = Duration::from_secs(5);
