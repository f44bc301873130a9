//! Who waits, and who is called when there is something to take? One consumer for each line, so that a thousand are not woken for one.

use std::sync::Arc;

use tokio::sync::Notify;

use super::Books;
use super::ConsumerId;

/// What a consumer does that is not at work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Waits {
    /// It is at work.
    No,
    /// It waits for something to take, since this turn.
    ForEvents(u64),
    /// It has as many deliveries as it may have.
    ForRoom,
    /// Its bell has rung, and it has not come yet.
    Called,
}

impl Books {
    /// Rings when a consumer that waits should look again.
    pub(in super::super) fn bell(&self, id: ConsumerId) -> Option<Arc<Notify>> {
        self.seats.get(&id).map(|seat| Arc::clone(&seat.bell))
    }

    /// A consumer that was to wait, or was called, does not come: somebody else does.
    pub(in super::super) fn stop_waiting(&mut self, id: ConsumerId) {
        if self.come(id) == Some(Waits::Called) && !self.ready.is_empty() {
            self.call_next();
        }
    }

    /// Whether what a consumer did not get is not there: everything was read by now. If not, it is called when it was.
    pub(in super::super) fn has_nothing_for(&mut self, id: ConsumerId) -> bool {
        let is_settled = self.is_settled();
        if let Some(seat) = self.seats.get_mut(&id) {
            seat.asks = !is_settled;
        }
        is_settled
    }

    /// What was wanted is read again.
    pub(in super::super) fn fetched(&mut self) {
        self.is_fetching = false;
        self.tell_settled();
    }

    /// The end of the log was reached.
    pub(in super::super) fn caught_up(&mut self) {
        self.has_caught_up = true;
        self.tell_settled();
    }

    fn is_settled(&self) -> bool {
        self.has_caught_up && !self.is_fetching && self.wanting.is_empty()
    }

    fn tell_settled(&mut self) {
        if self.is_settled() {
            let those: Vec<ConsumerId> = self.seats.iter().filter(|(_, seat)| seat.asks).map(|(id, _)| *id).collect();
            those.into_iter().for_each(|id| self.call(id));
        }
    }

    /// Everybody looks again: the session has ended.
    pub(in super::super) fn call_all(&mut self) {
        let all: Vec<ConsumerId> = self.seats.keys().copied().collect();
        all.into_iter().for_each(|id| self.call(id));
    }

    /// A consumer got nothing.
    pub(super) fn wait(&mut self, id: ConsumerId) {
        let Some(seat) = self.seats.get_mut(&id) else { return };
        seat.waits = if seat.in_flight < seat.window {
            self.next_turn += 1;
            self.waiting.insert(self.next_turn, id);
            Waits::ForEvents(self.next_turn)
        } else {
            Waits::ForRoom
        };
    }

    /// A consumer waits no more. Says what it did.
    pub(super) fn come(&mut self, id: ConsumerId) -> Option<Waits> {
        let seat = self.seats.get_mut(&id)?;
        let waited = std::mem::replace(&mut seat.waits, Waits::No);
        seat.asks = false;
        if let Waits::ForEvents(turn) = waited {
            self.waiting.remove(&turn);
        }
        Some(waited)
    }

    /// There is something for whoever has waited longest.
    pub(super) fn call_next(&mut self) {
        if let Some(id) = self.waiting.values().next().copied() {
            self.call(id);
        }
    }

    /// There is something for one of them, if it waits.
    pub(super) fn call(&mut self, id: ConsumerId) {
        let Some(seat) = self.seats.get_mut(&id) else { return };
        match seat.waits {
            Waits::No | Waits::Called => return,
            Waits::ForEvents(turn) => drop(self.waiting.remove(&turn)),
            Waits::ForRoom => {}
        }
        seat.waits = Waits::Called;
        seat.bell.notify_one();
    }

    /// A consumer has one delivery less, and may wait for that.
    pub(super) fn call_for_room(&mut self, id: ConsumerId) {
        if self.seats.get(&id).is_some_and(|seat| seat.waits == Waits::ForRoom) {
            self.call(id);
        }
    }
}
