//! What sends spans and lines of the log? A task for each that empties its queue. What a collector does not take is dropped and counted.

use std::time::Duration;

use metrics::Counter;

use super::collector::Collector;
use super::message::Message;
use crate::telemetry::queue::Outlet;

/// Sends what comes out of a queue.
pub(super) struct Exporter<T> {
    pub(super) outlet: Outlet<T>,
    pub(super) collector: Told,
    pub(super) written: fn(&T) -> Message,
}

/// A collector, and what is said of it in the log and in measurements.
pub(super) struct Told {
    collector: Collector,
    exported: Counter,
    failed: Counter,
    is_away: bool,
}

impl<T> Exporter<T> {
    /// Sends, for ever: some at a time, and not long after they came.
    pub(super) async fn run(mut self) {
        while let Some(batch) = self.outlet.next(BATCH_ITEMS, GATHER).await {
            if !batch.items.is_empty() {
                let messages = batch.items.iter().map(self.written).collect();
                self.collector.send(messages, u64::try_from(batch.items.len()).unwrap_or(u64::MAX)).await;
            }
            batch.done();
        }
    }
}

impl Told {
    pub(super) fn new(collector: Collector, exported: Counter, failed: Counter) -> Self {
        Self { collector, exported, failed, is_away: false }
    }

    /// Sends something that counts as so many.
    pub(super) async fn send(&mut self, messages: Vec<Message>, count: u64) {
        let signal = self.collector.signal().as_str();
        match self.collector.send(messages).await {
            Ok(()) => {
                self.exported.increment(count);
                if std::mem::take(&mut self.is_away) {
                    tracing::info!("the collector of {signal} takes them again");
                }
            }
            Err(reason) => {
                self.failed.increment(count);
                // Told once: a line for each refused line of the log would never end.
                if !std::mem::replace(&mut self.is_away, true) {
                    tracing::warn!(reason, "the collector of {signal} does not take them; they are dropped until it does");
                }
            }
        }
    }
}

const BATCH_ITEMS: usize = 512;
const GATHER: Duration = Duration::from_millis(500);
