//! How does one consumer get its share of a group's events?

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use super::Group;
use super::Shared;
use super::books::Books;
use super::books::ConsumerId;
use super::session::DeliveryId;
use super::session::End;
use super::session::Session;
use crate::Error;
use crate::subscription::Event;

/// How a consumer takes part.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ConsumerOptions {
    /// How many deliveries it may have at once without an acknowledgement; `None`: as many as the definition says.
    pub max_in_flight: Option<usize>,
}

/// An event that was given to one consumer, which says what became of it.
#[derive(Clone, Debug)]
pub struct Delivery {
    /// What to acknowledge.
    pub id: DeliveryId,
    /// How often it was given out, with this time.
    pub attempt: u32,
    /// The event, in its newest shape.
    pub event: Event,
}

/// One consumer. Dropped, what it has not acknowledged goes to the others at once.
pub struct Consumer {
    shared: Arc<Shared>,
    group: Arc<Group>,
    options: ConsumerOptions,
    seat: Option<Seat>,
    taken: VecDeque<Delivery>,
    /// Its deliveries stay out when it goes.
    detaches: bool,
}

struct Seat {
    session: Arc<Session>,
    id: ConsumerId,
    detaches: bool,
}

impl Drop for Seat {
    fn drop(&mut self) {
        let (id, detaches) = (self.id, self.detaches);
        self.session.change(|books, now| if detaches { books.detach(id) } else { books.leave(id, now) });
    }
}

impl Consumer {
    pub(super) fn new(shared: Arc<Shared>, group: Arc<Group>, options: ConsumerOptions) -> Self {
        Self { shared, group, options, seat: None, taken: VecDeque::new(), detaches: false }
    }

    /// Joins now, and not when it asks for the first time.
    pub(super) async fn joined(mut self) -> Result<Self, Error> {
        self.join().await?;
        Ok(self)
    }

    pub(super) fn detaching(mut self) -> Self {
        self.detaches = true;
        self
    }

    /// The next delivery; waits when there is none, and while as many are out as may be.
    ///
    /// # Errors
    ///
    /// [`Error::DefinitionNotFound`] when the subscription was ended, [`Error::SubscriptionFailed`], and those of reading the log.
    ///
    /// # Cancellation
    ///
    /// Safe: dropping the future loses nothing.
    pub async fn next(&mut self) -> Result<Delivery, Error> {
        loop {
            self.drop_stale();
            if let Some(delivery) = self.taken.pop_front() {
                return Ok(delivery);
            }
            let batch = self.next_batch(BATCH_EVENTS).await?;
            self.taken = batch.into();
        }
    }

    /// The next deliveries, as many as there are and at most `max`; waits when there is none.
    ///
    /// # Errors
    ///
    /// As [`Consumer::next`].
    ///
    /// # Cancellation
    ///
    /// Safe: dropping the future loses nothing.
    pub async fn next_batch(&mut self, max: usize) -> Result<Vec<Delivery>, Error> {
        self.drop_stale();
        if !self.taken.is_empty() {
            let count = max.min(self.taken.len());
            return Ok(self.taken.drain(..count).collect());
        }
        loop {
            self.join().await?;
            let Some((session, id)) = self.seat.as_ref().map(|seat| (Arc::clone(&seat.session), seat.id)) else { continue };
            let offered = session.offered.notified();
            tokio::pin!(offered);
            // From here on nothing is missed that comes between looking and waiting.
            offered.as_mut().enable();
            let given = session.with(|books, now| books.take(id, max, BATCH_BYTES, now.instant));
            session.stirred.notify_one();
            if let Some(given) = given.filter(|given| !given.is_empty()) {
                let delivery = |given: super::books::Given| Delivery {
                    id: DeliveryId { session: session.id, number: given.number },
                    attempt: given.attempt,
                    event: Event { shard: given.shard, record: given.record },
                };
                return Ok(given.into_iter().map(delivery).collect());
            }
            match session.ended() {
                None => offered.await,
                Some(End::Over) => self.seat = None,
                Some(End::Failed(error)) => {
                    self.seat = None;
                    return Err(error);
                }
            }
        }
    }

    /// Lets go of what was taken and is taken back by now: what stands before it is to come first.
    fn drop_stale(&mut self) {
        if self.taken.is_empty() {
            return;
        }
        match &self.seat {
            None => self.taken.clear(),
            Some(Seat { session, .. }) => {
                let taken = &mut self.taken;
                let stays = |books: &mut Books, delivery: &Delivery| delivery.id.session == session.id && books.is_out(delivery.id.number);
                // A session that has ended has given all of its deliveries back.
                session.with(|books, _| taken.retain(|delivery| stays(books, delivery))).unwrap_or_else(|| taken.clear());
            }
        }
    }

    async fn join(&mut self) -> Result<(), Error> {
        while self.seat.is_none() {
            let session = self.shared.session(&self.group).await?;
            let window = self.options.max_in_flight.unwrap_or(session.terms.max_in_flight).max(1);
            let joined = session.with(|books, _| {
                let room = session.terms.max_in_flight.saturating_sub(books.detached());
                books.join(if self.detaches { window.min(room) } else { window })
            });
            if let Some(id) = joined {
                self.seat = Some(Seat { session, id, detaches: self.detaches });
            }
        }
        Ok(())
    }

    /// One batch within a time, which may be empty; its deliveries stay out until they are acknowledged or their time is over.
    pub(super) async fn pull(mut self, limit: usize, wait: Duration) -> Result<Vec<Delivery>, Error> {
        match tokio::time::timeout(wait, self.next_batch(limit)).await {
            Ok(batch) => batch,
            Err(_) => Ok(Vec::new()),
        }
    }
}

const BATCH_EVENTS: usize = 256;
const BATCH_BYTES: usize = 1 << 20;
