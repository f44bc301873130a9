//! Are snapshots kept and used, and never believed when they are wrong?

use std::time::Duration;

use bytes::Bytes;
use factum::Database;
use factum::Error;
use factum::database::At;
use factum::database::Change;
use factum::database::ExpectedVersion;
use factum::database::Format;
use factum::database::Kind;
use factum::database::Options;
use factum::database::Version;
use factum_storage as storage;
use serde_json::json;

use crate::aggregates::ACCOUNT;
use crate::aggregates::moved;
use crate::aggregates::state;
use crate::aggregates::with_accounts;
use crate::fixture::append;
use crate::fixture::memory;
use crate::fixture::name;

/// Waits until a snapshot at this version, made by what is in force, is there.
async fn snapshot_at(database: &Database, id: &str, version: u64) {
    let found = async {
        loop {
            let listed = database.aggregate_snapshots("account", id).await.unwrap();
            if listed.iter().any(|snapshot| snapshot.is_current && snapshot.version.get() == version) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), found).await.expect("the snapshot is made");
}

#[tokio::test]
async fn snapshots_are_made_beside_the_appends_and_used() {
    let directory = tempfile::tempdir().unwrap();
    let database = Database::open(Options::new(directory.path())).await.unwrap();
    with_accounts(&database).await;
    for round in 0..7 {
        let events = (0..5).map(|number| moved(round * 5 + number, "Deposited", &json!({"amount": 1}))).collect();
        append(&database, "account-1", ExpectedVersion::Any, events).await.unwrap();
    }
    snapshot_at(&database, "1", 30).await;
    database.close().await.unwrap();

    let database = Database::open(Options::new(directory.path())).await.unwrap();
    let read = database.aggregate("account", "1", At::Head).await.unwrap().0;
    assert_eq!((read.version.get(), read.snapshot_version.map(Version::get), read.events_replayed), (35, Some(30), 5));
    assert_eq!(&*read.state, b"{\"balance\":35,\"moves\":35}");
    let again = database.aggregate("account", "1", At::Head).await.unwrap().0;
    assert_eq!((again.snapshot_version.map(Version::get), again.events_replayed), (Some(30), 0), "it is at hand");
    let past = database.aggregate("account", "1", At::Version(Version::new(32))).await.unwrap().0;
    assert_eq!((past.snapshot_version.map(Version::get), past.events_replayed), (Some(30), 2));

    // Another module: the old snapshots are not taken, and make room for its own.
    let doubled = ACCOUNT.replace("state.balance + event.data.amount", "state.balance + 2 * event.data.amount");
    assert_eq!(database.define(Kind::Aggregate, "account", Format::Javascript, &doubled, false).await.unwrap(), Change::Changed);
    let read = database.aggregate("account", "1", At::Head).await.unwrap().0;
    assert_eq!(&*read.state, b"{\"balance\":70,\"moves\":35}");
    snapshot_at(&database, "1", 30).await;
    let listed = database.aggregate_snapshots("account", "1").await.unwrap();
    assert!(listed.iter().all(|snapshot| snapshot.is_current), "{listed:?}");
    database.close().await.unwrap();
}

/// I6: whatever is wrong with a snapshot, the state is what the events say.
#[tokio::test]
async fn i6_snapshot_that_does_not_fit_the_log_is_ignored() {
    let directory = tempfile::tempdir().unwrap();
    let database = Database::open(Options::new(directory.path())).await.unwrap();
    with_accounts(&database).await;
    let events = (0..25).map(|number| moved(number, "Deposited", &json!({"amount": 1}))).collect();
    append(&database, "account-1", ExpectedVersion::Any, events).await.unwrap();
    snapshot_at(&database, "1", 20).await;
    database.close().await.unwrap();

    // As if the log had lost its end and grown another: the snapshot is whole, and of an event that is not there.
    let disk = std::sync::Arc::new(storage::RealDisk::new(directory.path().join("shards/0")));
    let clock = std::sync::Arc::new(storage::SystemClock);
    let (store, _) = storage::Store::open(disk, clock, storage::Options::default(), &mut |_| {}).unwrap();
    let (reader, stream) = (store.reader(), name("account-1"));
    let snapshots = reader.snapshots(&stream).unwrap();
    assert!(!snapshots.is_empty());
    for snapshot in snapshots {
        for state in [b"".to_vec(), [[7; 16].as_slice(), b"{\"balance\":-1,\"moves\":0}"].concat()] {
            reader.put_snapshot(&stream, snapshot.version, snapshot.definition_hash, &state).unwrap();
        }
    }
    store.close().unwrap();

    let database = Database::open(Options::new(directory.path())).await.unwrap();
    let read = database.aggregate("account", "1", At::Head).await.unwrap().0;
    assert_eq!((&*read.state, read.snapshot_version), (b"{\"balance\":25,\"moves\":25}".as_slice(), None));
    assert_eq!(read.events_replayed, 25);
    database.close().await.unwrap();
}

#[tokio::test]
async fn clients_keep_snapshots_of_their_own() {
    let database = memory().await;
    with_accounts(&database).await;
    let events = (0..25).map(|number| moved(number, "Deposited", &json!({"amount": 1}))).collect();
    append(&database, "account-1", ExpectedVersion::Any, events).await.unwrap();
    let put = |version, state: &'static str| {
        database.put_aggregate_snapshot("account", "1", Version::new(version), Bytes::from_static(state.as_bytes()))
    };
    put(7, "{\"mine\":1}").await.unwrap();
    put(7, "{\"mine\":2}").await.unwrap();
    for version in [0, 26] {
        assert!(matches!(put(version, "{}").await, Err(Error::EventNotFound { .. })), "{version}");
    }
    assert!(matches!(put(7, "{").await, Err(Error::Invalid { .. })));
    snapshot_at(&database, "1", 20).await;
    let listed = database.aggregate_snapshots("account", "1").await.unwrap();
    let own: Vec<_> = listed.iter().filter_map(|snapshot| Some((snapshot.version.get(), snapshot.client_state.clone()?))).collect();
    assert_eq!(own, [(7, Bytes::from_static(b"{\"mine\":2}"))]);
    assert_eq!(state(&database, "account", "1", At::Version(Version::new(8))).await.unwrap().1, json!({"balance": 8, "moves": 8}));
    database.close().await.unwrap();
}
