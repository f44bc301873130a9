//! How does something leave the work that has caused it without anybody waiting? Through a bounded queue, which one task empties, some at a
//! time. What finds no room is dropped and counted: what is told of a request is worth less than the request.

use std::time::Duration;

use metrics::Counter;
use tokio::sync::mpsc;
use tokio::sync::oneshot;

/// Where things go in.
#[derive(Clone)]
pub(crate) struct Queue<T> {
    sender: mpsc::Sender<Message<T>>,
    dropped: Counter,
}

/// Where they come out.
pub(crate) struct Outlet<T> {
    messages: mpsc::Receiver<Message<T>>,
}

/// What has come within a while, and who waits for it to be dealt with.
pub(crate) struct Batch<T> {
    pub(crate) items: Vec<T>,
    waiting: Vec<oneshot::Sender<()>>,
}

enum Message<T> {
    Item(Box<T>),
    /// Everything before this is to be dealt with, and then the sender told.
    Flush(oneshot::Sender<()>),
}

/// A queue with room for `items_max`; what finds none is counted in `dropped`.
pub(crate) fn new<T>(items_max: usize, dropped: Counter) -> (Queue<T>, Outlet<T>) {
    let (sender, messages) = mpsc::channel(items_max);
    (Queue { sender, dropped }, Outlet { messages })
}

impl<T> Queue<T> {
    /// Takes a thing, or drops it.
    pub(crate) fn put(&self, item: T) {
        if self.sender.try_send(Message::Item(Box::new(item))).is_err() {
            self.dropped.increment(1);
        }
    }

    /// Waits until what was put before has been dealt with.
    pub(crate) async fn flush(&self) {
        let (done, told) = oneshot::channel();
        if self.sender.send(Message::Flush(done)).await.is_ok() {
            // Who empties the queue may end meanwhile; then there is nothing to wait for.
            told.await.unwrap_or_default();
        }
    }
}

impl<T> Outlet<T> {
    /// Waits for a first thing, and takes what comes within `gather` after it, up to `items_max`. `None` when nobody puts anything in any
    /// more.
    pub(crate) async fn next(&mut self, items_max: usize, gather: Duration) -> Option<Batch<T>> {
        let mut batch = Batch { items: Vec::new(), waiting: Vec::new() };
        let mut next = Some(self.messages.recv().await?);
        let until = tokio::time::Instant::now() + gather;
        while let Some(message) = next.take() {
            match message {
                Message::Item(item) => batch.items.push(*item),
                Message::Flush(done) => {
                    batch.waiting.push(done);
                    break;
                }
            }
            if batch.items.len() < items_max {
                next = tokio::time::timeout_at(until, self.messages.recv()).await.ok().flatten();
            }
        }
        Some(batch)
    }
}

impl<T> Batch<T> {
    /// Tells those who wait for it.
    pub(crate) fn done(self) {
        self.waiting.into_iter().for_each(|waiting| waiting.send(()).unwrap_or_default());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WHILE: Duration = Duration::from_secs(60);

    #[tokio::test]
    async fn what_finds_no_room_is_dropped_and_a_flush_waits_for_what_was_put() {
        let (queue, mut outlet) = new(3, Counter::noop());
        (0..5).for_each(|number| queue.put(number));
        let first = outlet.next(2, WHILE).await.unwrap();
        assert_eq!(first.items, [0, 1]);
        first.done();
        let flushed = tokio::spawn({
            let queue = queue.clone();
            async move { queue.flush().await }
        });
        let second = outlet.next(9, WHILE).await.unwrap();
        assert_eq!(second.items, [2]);
        assert!(!flushed.is_finished());
        second.done();
        flushed.await.unwrap();
        drop(queue);
        assert!(outlet.next(9, WHILE).await.is_none());
    }
}
