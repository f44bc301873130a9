//! How do many callers hand work to one thread without waiting for each other, and without filling the memory?

use std::collections::VecDeque;
use std::mem;
use std::sync::Arc;

use parking_lot::Condvar;
use parking_lot::Mutex;

use crate::Error;

/// A bounded queue to the one writer of a shard.
pub(super) struct Queue<T> {
    shard: u16,
    /// What may wait: so many items, and about so many bytes of them.
    items_max: usize,
    bytes_max: usize,
    state: Mutex<State<T>>,
    changed: Condvar,
}

/// Something that takes memory while it waits.
pub(super) trait Weigh {
    /// About how many bytes.
    fn bytes(&self) -> usize;
}

struct State<T> {
    items: VecDeque<T>,
    bytes: usize,
    phase: Phase,
}

#[derive(Clone)]
enum Phase {
    Open,
    /// Takes nothing new; what waits is still done.
    Closing,
    /// The writer is gone, and says why.
    Dead {
        detail: Arc<str>,
        closing: bool,
    },
}

impl<T: Weigh> Queue<T> {
    pub(super) fn new(shard: u16, items_max: usize, bytes_max: usize) -> Self {
        let state = State { items: VecDeque::new(), bytes: 0, phase: Phase::Open };
        Self { shard, items_max: items_max.max(1), bytes_max, state: Mutex::new(state), changed: Condvar::new() }
    }

    /// Queues an item, or says at once why not.
    ///
    /// # Errors
    ///
    /// [`Error::Overloaded`], [`Error::Unavailable`].
    pub(super) fn push(&self, item: T) -> Result<(), Error> {
        let bytes = item.bytes();
        {
            let mut state = self.state.lock();
            self.check(&state.phase)?;
            // One item always fits: the largest one must not be refused for ever.
            if state.items.len() >= self.items_max || (!state.items.is_empty() && state.bytes + bytes > self.bytes_max) {
                return Err(Error::Overloaded { shard: self.shard });
            }
            state.items.push_back(item);
            state.bytes += bytes;
        }
        self.changed.notify_one();
        Ok(())
    }

    /// Waits for items and moves the oldest into `batch`: all of them, or as many as the bounds allow (one at least).
    /// `false` once the queue is closing and empty.
    pub(super) fn take(&self, batch: &mut VecDeque<T>, items_max: usize, bytes_max: usize) -> bool {
        let mut state = self.state.lock();
        while state.items.is_empty() {
            if !matches!(state.phase, Phase::Open) {
                return false;
            }
            self.changed.wait(&mut state);
        }
        if state.items.len() <= items_max && state.bytes <= bytes_max && batch.is_empty() {
            mem::swap(batch, &mut state.items);
            state.bytes = 0;
            return true;
        }
        let mut taken_bytes = 0;
        while let Some(item) = state.items.pop_front() {
            let bytes = item.bytes();
            state.bytes -= bytes;
            taken_bytes += bytes;
            batch.push_back(item);
            let next = state.items.front().map_or(0, Weigh::bytes);
            if batch.len() >= items_max || taken_bytes + next > bytes_max {
                break;
            }
        }
        true
    }

    /// Takes nothing new from here on. What waits is still done.
    pub(super) fn close(&self) {
        {
            let mut state = self.state.lock();
            match &mut state.phase {
                Phase::Dead { closing, .. } => *closing = true,
                phase @ (Phase::Open | Phase::Closing) => *phase = Phase::Closing,
            }
        }
        self.changed.notify_all();
    }

    /// The writer is gone: what waits is dropped, and every later caller is told why.
    pub(super) fn die(&self, detail: &str) {
        let dropped = {
            let mut state = self.state.lock();
            let closing = !matches!(state.phase, Phase::Open);
            state.phase = Phase::Dead { detail: detail.into(), closing };
            state.bytes = 0;
            mem::take(&mut state.items)
        };
        drop(dropped);
    }

    /// Waits until [`Queue::close`] was called.
    pub(super) fn wait_for_close(&self) {
        let mut state = self.state.lock();
        while matches!(state.phase, Phase::Open | Phase::Dead { closing: false, .. }) {
            self.changed.wait(&mut state);
        }
    }

    /// Whether anything can be queued.
    ///
    /// # Errors
    ///
    /// [`Error::Unavailable`].
    pub(super) fn check_alive(&self) -> Result<(), Error> {
        self.check(&self.state.lock().phase)
    }

    /// Why the writer is gone, if it is.
    pub(super) fn death(&self) -> Option<Arc<str>> {
        match &self.state.lock().phase {
            Phase::Dead { detail, .. } => Some(Arc::clone(detail)),
            Phase::Open | Phase::Closing => None,
        }
    }

    /// How many items wait.
    pub(super) fn len(&self) -> usize {
        self.state.lock().items.len()
    }

    fn check(&self, phase: &Phase) -> Result<(), Error> {
        match phase {
            Phase::Open => Ok(()),
            Phase::Closing | Phase::Dead { closing: true, .. } => Err(closing(self.shard)),
            Phase::Dead { detail, closing: false } => Err(Error::Unavailable { shard: self.shard, detail: detail.to_string() }),
        }
    }
}

/// The answer to whoever comes when the database is closing.
pub(super) fn closing(shard: u16) -> Error {
    Error::Unavailable { shard, detail: "the database is closing".to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, PartialEq, Eq)]
    struct Item(usize);

    impl Weigh for Item {
        fn bytes(&self) -> usize {
            self.0
        }
    }

    fn filled(sizes: &[usize]) -> Queue<Item> {
        let queue = Queue::new(3, 5, 100);
        for size in sizes {
            queue.push(Item(*size)).unwrap();
        }
        queue
    }

    fn taken(queue: &Queue<Item>, items_max: usize, bytes_max: usize) -> Vec<usize> {
        let mut batch = VecDeque::new();
        assert!(queue.take(&mut batch, items_max, bytes_max));
        batch.into_iter().map(|item| item.0).collect()
    }

    #[test]
    fn a_full_queue_refuses_at_once_and_takes_more_when_there_is_room() {
        let queue = filled(&[1, 1, 1, 1, 1]);
        assert!(matches!(queue.push(Item(1)), Err(Error::Overloaded { shard: 3 })));
        assert_eq!(taken(&queue, 1, 100), [1]);
        queue.push(Item(1)).unwrap();
        assert_eq!(queue.len(), 5);
    }

    #[test]
    fn bytes_are_bounded_too_but_one_item_always_fits() {
        let queue = filled(&[1_000]);
        assert!(matches!(queue.push(Item(1)), Err(Error::Overloaded { .. })));
        assert_eq!(taken(&queue, 10, 10), [1_000]);
        queue.push(Item(60)).unwrap();
        assert!(matches!(queue.push(Item(60)), Err(Error::Overloaded { .. })));
        queue.push(Item(40)).unwrap();
    }

    #[test]
    fn a_batch_is_the_oldest_items_within_its_bounds() {
        let queue = filled(&[10, 20, 30, 5]);
        assert_eq!(taken(&queue, 10, 30), [10, 20]);
        assert_eq!(taken(&queue, 1, 1_000), [30]);
        assert_eq!(taken(&queue, 10, 1_000), [5]);
        queue.push(Item(100)).unwrap();
        assert_eq!(taken(&queue, 10, 100), [100], "bytes are counted down again");
    }

    #[test]
    fn closing_finishes_what_waits() {
        let queue = filled(&[1, 2]);
        queue.close();
        assert!(matches!(queue.push(Item(3)), Err(Error::Unavailable { .. })));
        assert_eq!(taken(&queue, 10, 100), [1, 2]);
        assert!(!queue.take(&mut VecDeque::new(), 10, 100));
        queue.wait_for_close();
    }

    #[test]
    fn a_dead_queue_drops_what_waits_and_says_why() {
        let queue = filled(&[1]);
        queue.die("broken");
        assert_eq!(queue.len(), 0);
        let refused = queue.push(Item(1));
        assert!(matches!(&refused, Err(Error::Unavailable { detail, .. }) if detail == "broken"), "{refused:?}");
        assert_eq!(queue.death().as_deref(), Some("broken"));
        queue.close();
        queue.wait_for_close();
    }
}
