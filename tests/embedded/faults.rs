//! What becomes of a database when a disk or a thread fails below it?

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;

use axum::body::Body;
use factum::Database;
use factum::Error;
use factum::database::After;
use factum::database::ExpectedVersion;
use factum::database::Filter;
use factum::database::Options;
use factum::http::HttpSettings;
use factum::subscription::FeedItem;
use factum_storage as storage;
use http::Request;
use http::StatusCode;
use parking_lot::Condvar;
use parking_lot::Mutex;
use storage::Disk;
use storage::disk::sim::Call;
use storage::disk::sim::Fault;
use storage::disk::sim::Rule;
use storage::disk::sim::SimDisk;
use tower::ServiceExt;

use crate::fixture::append;
use crate::fixture::event;
use crate::fixture::fill;
use crate::fixture::log;
use crate::fixture::stream_events;

async fn on(disks: &[SimDisk], queue_appends: usize) -> Database {
    let options = Options { queue_appends, ..Options::in_memory() };
    let disks = disks.iter().map(|disk| Arc::new(disk.clone()) as Arc<dyn Disk>).collect();
    Database::open_on(disks, options).await.expect("opens")
}

/// A stream on each shard.
fn homes(database: &Database, shards: u16) -> Vec<String> {
    (0..shards).map(|shard| (0..).map(|n| format!("s-{n}")).find(|name| database.shard_of(name) == shard).unwrap()).collect()
}

/// A gate in front of a disk's syncs.
#[derive(Default)]
struct Gate {
    is_shut: Mutex<bool>,
    opened: Condvar,
    waiting: AtomicU64,
}

impl Gate {
    fn stand_before_the_syncs_of(disk: &SimDisk) -> Arc<Self> {
        let gate = Arc::new(Self::default());
        let standing = Arc::clone(&gate);
        disk.observe(move |call, path| {
            if call == Call::Sync && path.starts_with("log/") {
                let mut is_shut = standing.is_shut.lock();
                while *is_shut {
                    standing.waiting.fetch_add(1, Ordering::SeqCst);
                    standing.opened.wait(&mut is_shut);
                }
            }
        });
        gate
    }

    fn shut(&self) {
        *self.is_shut.lock() = true;
    }

    fn open(&self) {
        *self.is_shut.lock() = false;
        self.opened.notify_all();
    }

    /// Until a sync stands before the gate.
    async fn is_held(&self) {
        while self.waiting.load(Ordering::SeqCst) == 0 {
            tokio::task::yield_now().await;
        }
    }
}

/// R6: a panic of one shard's writer is that shard's alone.
#[tokio::test]
async fn r6_a_writer_that_panics_leaves_the_other_shards_alive() {
    let disks = [SimDisk::new(), SimDisk::new(), SimDisk::new()];
    let database = on(&disks, 100).await;
    let homes = homes(&database, 3);
    for home in &homes {
        fill(&database, home, [database.shard_of(home).into()]).await;
    }
    let mut feed = database.follow(Filter::default(), After::End).unwrap();
    assert!(matches!(feed.next().await.unwrap(), FeedItem::CaughtUp(_)));
    disks[1].observe(|call, path| assert!(call != Call::Sync || !path.starts_with("log/"), "the test's own panic"));
    let dying = (0..5).map(|n| append(&database, &homes[1], ExpectedVersion::Any, vec![event(100 + n, "E")])).map(Box::pin);
    for answer in futures::future::join_all(dying).await {
        assert!(matches!(&answer, Err(Error::Unavailable { shard: 1, .. })), "{answer:?}");
    }
    let later = append(&database, &homes[1], ExpectedVersion::Any, vec![event(200, "E")]).await.unwrap_err();
    assert!(matches!(&later, Error::Unavailable { shard: 1, detail } if detail.contains("panicked")), "{later:?}");
    // What the dead shard has is still read, and the others go on, feeds included.
    assert_eq!(stream_events(&database, &homes[1]).await.unwrap().len(), 1);
    fill(&database, &homes[0], [300]).await;
    fill(&database, &homes[2], [301]).await;
    let mut live = 0;
    while live < 2 {
        if let FeedItem::Events(events) = feed.next().await.unwrap() {
            live += events.len();
        }
    }
    let status = database.status().await.unwrap();
    assert_eq!(status.iter().map(|shard| shard.appends.is_ok()).collect::<Vec<_>>(), [true, false, true]);
    // Whoever spreads requests over servers is told that this one is not whole, and not that it has made a mistake.
    let router = factum::http::router(database.clone(), HttpSettings::default());
    let ready = router.oneshot(Request::get("/health/ready").body(Body::empty()).unwrap()).await.unwrap();
    assert_eq!(ready.status(), StatusCode::SERVICE_UNAVAILABLE);
    database.close().await.unwrap();
    // What was under way when it died was never acknowledged, and may be there or not; what was acknowledged is there.
    let disks = disks.map(|disk| disk.restart());
    let again = on(&disks, 100).await;
    assert_eq!(stream_events(&again, &homes[0]).await.unwrap().len(), 2);
    assert!(!stream_events(&again, &homes[1]).await.unwrap().is_empty());
    fill(&again, &homes[1], [400]).await;
    again.close().await.unwrap();
}

/// R2: a slow disk makes larger batches, then a full queue; readers do not notice.
#[tokio::test]
async fn r2_a_slow_disk_makes_one_batch_of_what_waits_and_refuses_what_is_too_much() {
    let disk = SimDisk::new();
    let database = on(std::slice::from_ref(&disk), 20).await;
    fill(&database, "s", [0]).await;
    let gate = Gate::stand_before_the_syncs_of(&disk);
    gate.shut();
    let start = |n: u64| tokio::spawn(append_one(database.clone(), n));
    let first = start(1);
    gate.is_held().await;
    let waiting: Vec<_> = (2..22).map(start).collect();
    while database.status().await.unwrap()[0].queued_appends < 20 {
        tokio::task::yield_now().await;
    }
    for n in 50..60 {
        let refused = append_one(database.clone(), n).await.unwrap_err();
        assert!(matches!(refused, Error::Overloaded { shard: 0 }), "{refused:?}");
    }
    assert_eq!(log(&database, Filter::default()).await.len(), 1, "what is not synced is not seen");
    gate.open();
    first.await.unwrap().unwrap();
    for answer in waiting {
        answer.await.unwrap().unwrap();
    }
    assert_eq!(log(&database, Filter::default()).await.len(), 22);
    append_one(database.clone(), 99).await.unwrap();
    database.close().await.unwrap();
}

/// All that waits while a sync is under way goes with the next one.
#[tokio::test]
async fn what_waits_for_a_sync_shares_the_next_one() {
    let disk = SimDisk::new();
    let database = on(std::slice::from_ref(&disk), 1_000).await;
    fill(&database, "s", [0]).await;
    let gate = Gate::stand_before_the_syncs_of(&disk);
    gate.shut();
    let start = |n: u64| tokio::spawn(append_one(database.clone(), n));
    let first = start(1);
    gate.is_held().await;
    let waiting: Vec<_> = (2..502).map(start).collect();
    while database.status().await.unwrap()[0].queued_appends < 500 {
        tokio::task::yield_now().await;
    }
    let syncs = Arc::new(AtomicU64::new(0));
    let counting = Arc::clone(&syncs);
    // The one that stands before the gate has passed the observer, and is not counted.
    disk.observe(move |call, path| {
        if call == Call::Sync && path.starts_with("log/") {
            counting.fetch_add(1, Ordering::SeqCst);
        }
    });
    gate.open();
    first.await.unwrap().unwrap();
    for answer in waiting {
        answer.await.unwrap().unwrap();
    }
    assert!(syncs.load(Ordering::SeqCst) <= 2, "{syncs:?} syncs for 500 appends");
    database.close().await.unwrap();
}

async fn append_one(database: Database, number: u64) -> Result<factum::database::AppendResult, Error> {
    append(&database, &format!("s-{number}"), ExpectedVersion::Any, vec![event(number, "E")]).await
}

/// L7: a failed sync is answered with "unknown" to all that shared it, and ends the shard's appends until it is opened again.
#[tokio::test]
async fn l7_a_failed_sync_poisons_its_shard_alone() {
    let disks = [SimDisk::new(), SimDisk::new()];
    let database = on(&disks, 100).await;
    let homes = homes(&database, 2);
    fill(&database, &homes[0], [1]).await;
    fill(&database, &homes[1], [2]).await;
    disks[0].add_rule(Rule::next(Call::Sync, Fault::Eio).on("log/"));
    let unknown = append(&database, &homes[0], ExpectedVersion::Any, vec![event(3, "E")]).await.unwrap_err();
    assert!(matches!(unknown, Error::Storage(storage::Error::OutcomeUnknown(_))), "{unknown:?}");
    let poisoned = append(&database, &homes[0], ExpectedVersion::Any, vec![event(4, "E")]).await.unwrap_err();
    assert!(matches!(poisoned, Error::Storage(storage::Error::Poisoned(_))), "{poisoned:?}");
    assert_eq!(stream_events(&database, &homes[0]).await.unwrap().len(), 1);
    fill(&database, &homes[1], [5]).await;
    let status = database.status().await.unwrap();
    assert!(matches!(status[0].appends, Err(storage::Error::Poisoned(_))));
    assert!(status[1].appends.is_ok());
    database.close().await.unwrap();
}

/// L10: a full disk refuses, harms nothing, and appends go on when there is space again.
#[tokio::test]
async fn l10_a_full_disk_refuses_until_there_is_space() {
    let disk = SimDisk::new();
    let database = on(std::slice::from_ref(&disk), 100).await;
    fill(&database, "s", [0]).await;
    disk.limit_free(Some(0));
    let mut acknowledged = 1;
    let mut number = 1;
    let refused = loop {
        let large = factum::database::NewEvent { data: vec![b'7'; 50_000].into(), ..event(number, "E") };
        match append(&database, "s", ExpectedVersion::Any, vec![large]).await {
            Ok(_) => acknowledged += 1,
            Err(error) => break error,
        }
        number += 1;
        assert!(number < 10_000, "the disk is never full");
    };
    assert!(matches!(refused, Error::Storage(storage::Error::StorageFull)), "{refused:?}");
    assert_eq!(stream_events(&database, "s").await.unwrap().len(), acknowledged);
    disk.limit_free(None);
    fill(&database, "s", [number]).await;
    assert_eq!(stream_events(&database, "s").await.unwrap().len(), acknowledged + 1);
    database.close().await.unwrap();
}

/// A failed commit takes back every answer that was built on it.
#[tokio::test]
async fn a_conflict_with_what_was_never_committed_is_none() {
    let disk = SimDisk::new();
    let database = on(std::slice::from_ref(&disk), 100).await;
    fill(&database, "s", [0]).await;
    let gate = Gate::stand_before_the_syncs_of(&disk);
    gate.shut();
    let first = tokio::spawn(append_one(database.clone(), 1));
    gate.is_held().await;
    // These two are staged together: the second loses to the first, which is then never committed.
    let racing = |number: u64| {
        let database = database.clone();
        async move { append(&database, "race", ExpectedVersion::Exact(factum::database::Version::ZERO), vec![event(number, "E")]).await }
    };
    let mut one = Box::pin(racing(2));
    let mut other = Box::pin(racing(3));
    assert!(futures::poll!(&mut one).is_pending() && futures::poll!(&mut other).is_pending());
    disk.add_rule(Rule::nth(Call::Sync, 2, Fault::Eio).on("log/"));
    gate.open();
    first.await.unwrap().unwrap();
    for answer in [one.await, other.await] {
        assert!(matches!(answer, Err(Error::Storage(storage::Error::OutcomeUnknown(_)))), "{answer:?}");
    }
    database.close().await.unwrap();
}
