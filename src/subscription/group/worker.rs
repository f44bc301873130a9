//! Who reads the log for a group, and sees to what is due? One task, while the group has consumers.

use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use factum_storage::Direction;
use factum_storage::Filter;
use factum_storage::Position;
use futures::future::BoxFuture;
use tokio::time::Instant;
use tokio::time::sleep_until;

use super::Group;
use super::Shared;
use super::books::Wanted;
use super::session::End;
use super::session::Session;
use super::session::now;
use super::store::broken;
use crate::Error;
use crate::subscription::Cursor;
use crate::subscription::Feed;
use crate::subscription::FeedItem;

/// Works until nobody is there any more, somebody asks it to end, or something fails.
pub(super) async fn run(shared: Arc<Shared>, group: Arc<Group>, session: Arc<Session>, after: Cursor) {
    let _finish = Finish(Arc::clone(&session));
    let filter = session.terms.filter.clone();
    let feed = Feed::of_log(Arc::clone(&shared.router), filter, &after);
    let feed = feed.telling_progress_within(PROGRESS_WITHIN).reshaped_by(shared.reshape.clone());
    let mut worker = Worker { shared, session, reading: read(feed), idle_since: None, store_at: None };
    loop {
        let failure = worker.work().await.err();
        // Whoever wants a session waits here until this one is settled.
        let mut slot = group.slot.lock().await;
        let session = &worker.session;
        {
            let mut books = session.books.lock();
            let is_asked = session.stop.is_cancelled() || worker.shared.closing.is_cancelled();
            if failure.is_none() && !is_asked && !books.is_idle() {
                // Somebody came at the last moment.
                continue;
            }
            session.finish(&mut books, failure.clone().map_or(End::Over, End::Failed));
        }
        if let Some(error) = &failure {
            tracing::error!(subscription = &*session.name, %error, "a subscription has stopped; a new consumer tries again");
        }
        if let Err(error) = session.durable(&worker.shared.writer).await {
            tracing::error!(subscription = &*session.name, %error, "the progress was not stored: some events will come again");
        }
        *group.failure.lock() = failure;
        *slot = None;
        return;
    }
}

/// However its worker ends, a session has ended then, and nobody waits for it.
struct Finish(Arc<Session>);

impl Drop for Finish {
    fn drop(&mut self) {
        let Self(session) = self;
        session.finish(&mut session.books.lock(), End::Failed(broken(&session.name, "its worker broke off")));
        session.finished.cancel();
    }
}

type Reading = BoxFuture<'static, (Feed, Result<FeedItem, Error>)>;

fn read(mut feed: Feed) -> Reading {
    Box::pin(async move {
        let item = feed.next().await;
        (feed, item)
    })
}

struct Worker {
    shared: Arc<Shared>,
    session: Arc<Session>,
    /// The log's next part. Begun once and seen through: who is woken often would else begin it again and again.
    reading: Reading,
    idle_since: Option<Instant>,
    store_at: Option<Instant>,
}

impl Worker {
    /// Returns when there may be nothing left to do.
    async fn work(&mut self) -> Result<(), Error> {
        loop {
            if let Some(why) = &self.session.stored.borrow().failure {
                return Err(broken(&self.session.name, why));
            }
            let (wanted, look) = self.session.books.lock().look(now());
            if !wanted.is_empty() {
                self.fetch(&wanted).await?;
                self.session.books.lock().fetched();
                continue;
            }
            let instant = Instant::now();
            self.idle_since = if look.is_idle { self.idle_since.or(Some(instant)) } else { None };
            let idle_end = self.idle_since.map(|since| since + LINGER);
            if idle_end.is_some_and(|end| end <= instant) {
                return Ok(());
            }
            self.store_at = if look.has_changes { self.store_at.or(Some(instant + STORE_EVERY)) } else { None };
            if self.store_at.is_some_and(|at| at <= instant) {
                self.store_at = None;
                self.shared.writer.mark(&self.session);
            }
            let next_look = [look.due, idle_end, self.store_at].into_iter().flatten().min();
            let time = async {
                match next_look {
                    Some(at) => sleep_until(at).await,
                    None => pending().await,
                }
            };
            tokio::select! {
                () = self.shared.closing.cancelled() => return Ok(()),
                () = self.session.stop.cancelled() => return Ok(()),
                () = self.session.stirred.notified() => {}
                () = time => {}
                (feed, item) = &mut self.reading, if look.wants_more => {
                    self.reading = read(feed);
                    self.accept(item?);
                }
            }
        }
    }

    fn accept(&mut self, item: FeedItem) {
        let now = now();
        let mut books = self.session.books.lock();
        let is_end = matches!(item, FeedItem::CaughtUp(_));
        let cursor = match item {
            FeedItem::Events(events) => {
                let last = events.last().map(|(_, cursor)| cursor.clone());
                for (event, _) in events {
                    books.offer(event.shard, event.record, now);
                }
                last
            }
            FeedItem::CaughtUp(cursor) | FeedItem::FellBehind(cursor) => Some(cursor),
        };
        if let Some(cursor) = cursor {
            for (shard, position) in (0_u16..).zip(cursor.positions()) {
                books.read_through(shard, position.get());
            }
        }
        if is_end {
            books.caught_up();
        }
    }

    /// Reads what is wanted from the log again, those that stand near each other at once.
    async fn fetch(&mut self, wanted: &[Wanted]) -> Result<(), Error> {
        let mut rest = wanted;
        while let Some(first) = rest.first() {
            let near = rest.iter().enumerate().take_while(|(at, next)| {
                let before = at.checked_sub(1).and_then(|before| rest.get(before)).unwrap_or(first);
                next.shard == first.shard
                    && next.position - before.position <= GAP_EVENTS
                    && next.position - first.position < READ_EVENTS as u64
            });
            let count = near.count().max(1);
            let last = rest.get(count - 1).map_or(first.position, |last| last.position);
            let events_max = usize::try_from(last - first.position + 1).unwrap_or(READ_EVENTS);
            let after = Position::new(first.position - 1);
            let shard = self.shared.router.shard(first.shard);
            let slice = shard.read_events(Arc::new(Filter::default()), after, Direction::Forward, events_max, READ_BYTES).await?;
            let through = slice.through.get();
            let mut records: Vec<_> = slice.events.into_iter().map(|record| (first.shard, record)).collect();
            records.retain(|(_, record)| rest.iter().take(count).any(|wanted| wanted.position == record.position().get()));
            if let Some(reshape) = self.shared.reshape.as_ref().filter(|reshape| reshape.is_needed()) {
                records = reshape.reshape(records).await?;
            }
            let mut records = records.into_iter().map(|(_, record)| record).peekable();
            let mut seen = 0;
            {
                let now = now();
                let mut books = self.session.books.lock();
                for wanted in rest.iter().take(count) {
                    let record = records.next_if(|record| record.position().get() == wanted.position);
                    // What lies in what was looked at and was not found is hidden by now.
                    if record.is_none() && wanted.position > through && !slice.at_end {
                        break;
                    }
                    books.fill(*wanted, record, now);
                    seen += 1;
                }
            }
            if seen == 0 {
                let detail = format!("position {} of shard {} can't be read", first.position, first.shard);
                return Err(broken(&self.session.name, &detail));
            }
            rest = rest.get(seen..).unwrap_or_default();
        }
        Ok(())
    }
}

/// How long its checkpoint may stay behind the end of the log when nothing of what is written is for it.
const PROGRESS_WITHIN: Duration = Duration::from_secs(5);
/// How long a group stays ready without consumers.
const LINGER: Duration = Duration::from_secs(5);
/// How often progress is stored that nobody waits for.
const STORE_EVERY: Duration = Duration::from_secs(1);
const READ_EVENTS: usize = 512;
const READ_BYTES: usize = 1 << 20;
/// Events that lie further apart are read one by one.
const GAP_EVENTS: u64 = 64;
