//! How does one consumer get its share of a group's events?

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

use super::Group;
use super::Shared;
use super::books::Books;
use super::books::ConsumerId;
use super::books::Given;
use super::session::DeliveryId;
use super::session::End;
use super::session::Session;
use crate::Error;
use crate::subscription::Event;
use crate::telemetry::traces;

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
    /// Rings when it should look again.
    bell: Arc<Notify>,
    detaches: bool,
}

/// A consumer that waits. If it is dropped meanwhile, somebody else comes when it is called.
struct Waiting<'a> {
    session: &'a Session,
    id: ConsumerId,
    is_over: bool,
}

impl Waiting<'_> {
    async fn until(mut self, bell: &Notify) {
        bell.notified().await;
        self.is_over = true;
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        if !self.is_over {
            self.session.with(|books, _| books.stop_waiting(self.id));
        }
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let (id, detaches) = (self.id, self.detaches);
        self.session.with(|books, now| if detaches { books.detach(id) } else { books.leave(id, now) });
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
            let (given, _) = self.take(max).await?;
            if !given.is_empty() {
                return Ok(given);
            }
            self.wait().await;
        }
    }

    /// What there is now, and whether everything was read by now that there could be.
    async fn take(&mut self, max: usize) -> Result<(Vec<Delivery>, bool), Error> {
        loop {
            self.join().await?;
            let Some(Seat { session, id, .. }) = &self.seat else { continue };
            let taken = session.with(|books, now| {
                let given = books.take(*id, max, BATCH_BYTES, now.instant);
                let is_all = given.is_empty() && self.detaches && books.has_nothing_for(*id);
                (given, is_all)
            });
            if let Some((given, is_all)) = taken {
                let deliveries: Vec<Delivery> = given.into_iter().map(|given| delivery(session.id, given)).collect();
                tell_traces(&deliveries, &self.group.name);
                return Ok((deliveries, is_all));
            }
            let end = session.ended();
            self.seat = None;
            if let Some(End::Failed(error)) = end {
                return Err(error);
            }
        }
    }

    /// Waits until it should look again.
    async fn wait(&self) {
        if let Some(Seat { session, id, bell, .. }) = &self.seat {
            Waiting { session, id: *id, is_over: false }.until(bell).await;
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
                let id = books.join(if self.detaches { window.min(room) } else { window });
                Some((id, books.bell(id)?))
            });
            if let Some((id, bell)) = joined.flatten() {
                self.seat = Some(Seat { session, id, bell, detaches: self.detaches });
            }
        }
        Ok(())
    }

    /// One batch within a time, which may be empty; its deliveries stay out until they are acknowledged or their time is over. The time
    /// begins when everything was read that there is, so that who does not want to wait gets that.
    pub(super) async fn pull(mut self, limit: usize, wait: Duration) -> Result<Vec<Delivery>, Error> {
        let began = Instant::now();
        let mut until = None;
        loop {
            let (given, is_all) = self.take(limit).await?;
            if !given.is_empty() {
                return Ok(given);
            }
            if is_all {
                until.get_or_insert_with(|| Instant::now() + wait);
            }
            let until = until.unwrap_or(began + wait.max(READ_WITHIN));
            if tokio::time::timeout_at(until, self.wait()).await.is_err() {
                return Ok(Vec::new());
            }
        }
    }
}

/// Goes on in the traces of what has caused the events: that is when they were given out.
fn tell_traces(deliveries: &[Delivery], group: &str) {
    if !traces::is_on() {
        return;
    }
    let causes: Vec<traces::Place> =
        deliveries.iter().filter_map(|given| traces::Place::of_metadata(given.event.record.metadata())).take(CAUSES_MAX).collect();
    let now = std::time::Instant::now();
    traces::follow("subscription.deliver", &causes, (now, now), &[("factum.subscription", group.into())]);
}

fn delivery(session: u64, given: Given) -> Delivery {
    let Given { number, attempt, shard, record } = given;
    Delivery { id: DeliveryId { session, number }, attempt, event: Event { shard, record } }
}

/// What takes longer to read does not come with this batch.
const READ_WITHIN: Duration = Duration::from_secs(5);
const BATCH_EVENTS: usize = 256;
const BATCH_BYTES: usize = 1 << 20;
/// What is given out at once may be of many requests: so many of them are looked at.
const CAUSES_MAX: usize = 64;
