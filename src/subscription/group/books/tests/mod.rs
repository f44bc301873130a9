//! Do the books keep the order of each stream? Cases that went wrong once, and a world of random steps.

use std::sync::Arc;

use factum_storage::RecordedEvent;
use factum_storage::Timestamp;
use tokio::time::Instant;

use super::Books;
use super::ConsumerId;
use super::Given;
use super::Nack;
use super::Now;
use super::Waits;
use crate::shard::fixture::log;
use crate::subscription::group::session::End;
use crate::subscription::group::session::Session;
use crate::subscription::group::store::Change;
use crate::subscription::group::store::Progress;
use crate::subscription::group::terms::Terms;

mod stored;
mod world;

use stored::Stored;

fn now() -> Now {
    Now { instant: Instant::now(), time: Timestamp::from_micros(0) }
}

/// Gives the books what they want to have read again.
fn fetch(books: &mut Books, log: &[RecordedEvent]) {
    for wanted in books.wanted() {
        let record = log.iter().find(|record| record.position().get() == wanted.position);
        books.fill(wanted, record.cloned(), now());
    }
}

fn offer(books: &mut Books, log: &[RecordedEvent]) {
    for record in log {
        books.offer(0, record.clone(), now());
    }
    books.read_through(0, log.last().map_or(0, |record| record.position().get()));
}

/// What a consumer gets, with what must be read for it.
fn take(books: &mut Books, id: ConsumerId, log: &[RecordedEvent]) -> Vec<Given> {
    let mut given = books.take(id, 100, usize::MAX, now().instant);
    fetch(books, log);
    given.extend(books.take(id, 100, usize::MAX, now().instant));
    given
}

fn versions(given: &[Given]) -> Vec<u64> {
    given.iter().map(|given| given.record.version().get()).collect()
}

/// The log is read again from the checkpoint on. An event that has a row of its own is known before that, and the one before it is not.
#[test]
fn s4_what_is_known_from_before_a_restart_waits_for_what_comes_before_it() {
    let log = log(["a", "a", "a"]);
    let terms = Arc::new(Terms::default());
    let mut stored = Stored::new(0);
    let mut books = Books::new(Arc::clone(&terms), stored.progress());
    offer(&mut books, &log[..2]);
    let first = books.join(10);
    let given = take(&mut books, first, &log);
    assert_eq!(versions(&given), [1, 2]);
    assert!(books.nack(given[1].number, &Nack::Retry, "broken", now()));
    stored.apply(books.changes().1);

    let mut books = Books::new(terms, stored.progress());
    let second = books.join(10);
    assert_eq!(versions(&take(&mut books, second, &log)), [0; 0], "2 came before 1");
    assert!(books.wants_more());
    offer(&mut books, &log);
    assert_eq!(versions(&take(&mut books, second, &log)), [1, 2, 3]);
}

/// The same with one that is parked, which holds back what is behind it and nothing that is before it.
#[test]
fn s4_what_was_parked_before_a_restart_holds_back_nothing_before_it() {
    let log = log(["a", "a", "a"]);
    let terms = Arc::new(Terms::default());
    let mut stored = Stored::new(0);
    let mut books = Books::new(Arc::clone(&terms), stored.progress());
    offer(&mut books, &log[..2]);
    let first = books.join(10);
    let given = take(&mut books, first, &log);
    assert!(books.nack(given[1].number, &Nack::Park, "broken", now()));
    stored.apply(books.changes().1);

    let mut books = Books::new(terms, stored.progress());
    let second = books.join(10);
    assert_eq!(books.replay(None), 1);
    assert_eq!(versions(&take(&mut books, second, &log)), [0; 0], "2 came before 1");
    offer(&mut books, &log);
    let given = take(&mut books, second, &log);
    assert_eq!(versions(&given), [1, 2, 3]);
    assert!(given.iter().all(|given| books.ack(given.number, now().instant)));
    stored.apply(books.changes().1);
    assert_eq!((stored.checkpoint(), stored.rows()), (3, 0));
}

/// What it says after its end would be stored over what the next one has stored.
#[test]
fn s4_after_its_end_a_session_says_and_changes_nothing() {
    let log = log(["a", "b"]);
    let terms = Arc::new(Terms::default());
    let mut books = Books::new(Arc::clone(&terms), Stored::new(0).progress());
    offer(&mut books, &log);
    let id = books.join(10);
    let given = books.take(id, 1, usize::MAX, now().instant);
    books.changes();
    let session = Session::new("g".into(), terms, books);
    assert_eq!(session.with(|books, _| books.is_out(given[0].number)), Some(true));
    *session.end.lock() = Some(End::Over);
    assert!(session.with(|books, now| books.take(id, 1, usize::MAX, now.instant)).is_none());
    assert!(session.with(|books, now| books.ack(given[0].number, now.instant)).is_none());
    assert!(session.with(|books, now| books.leave(id, now)).is_none());
    assert!(!session.books.lock().has_changes());
}

#[test]
fn s4_random_steps_keep_the_order_and_lose_nothing() {
    for seed in world::seeds(300) {
        println!("SEED={seed}");
        world::World::new(seed).run();
    }
}
