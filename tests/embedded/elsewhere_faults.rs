//! R3, R6: what if a server that has a shard is away, hangs, has another log, or an older one? The others serve, and nothing is lost or
//! there twice.

use std::path::Path;
use std::time::Duration;
use std::time::Instant;

use factum::Database;
use factum::Error;
use factum::database::After;
use factum::database::ExpectedVersion;
use factum::database::Filter;
use factum::database::Format;
use factum::database::Kind;
use factum::database::LeftOut;
use factum::database::NewShard;
use factum::database::Options;
use factum::database::RecordedEvent;
use factum::database::StreamsQuery;
use factum::database::TopologyChange;
use factum::database::ViewQuery;
use factum::subscription::Feed;
use factum::subscription::FeedItem;
use tokio::net::TcpListener;

use crate::elsewhere::Server;
use crate::elsewhere::open;
use crate::elsewhere::options;
use crate::elsewhere::within;
use crate::fixture::append;
use crate::fixture::copy;
use crate::fixture::event;
use crate::fixture::fill;
use crate::fixture::id;
use crate::fixture::log;
use crate::fixture::name;
use crate::fixture::query;
use crate::fixture::stream_events;

/// A stream of each shard.
fn homes(database: &Database) -> Vec<String> {
    (0..3).map(|shard| (0..).map(|n| format!("s-{n}")).find(|name| database.shard_of(name) == shard).unwrap()).collect()
}

/// Waits until a shard is there again, or is not.
async fn until(database: &Database, shard: u16, is_there: bool) {
    let looked = async {
        while database.status().await.unwrap()[usize::from(shard)].is_absent == is_there {
            tokio::task::yield_now().await;
        }
    };
    within(looked).await;
}

fn check_failed<T: std::fmt::Debug>(answer: Result<T, Error>, shard: u16, expected: &str) {
    match answer {
        Err(Error::ShardFailed { shard: found, detail }) if found == shard && detail.contains(expected) => {}
        answer => panic!("{expected}: {answer:?}"),
    }
}

/// Who began to follow while a server was away, and looks when it is there again, is given all of its 20 events, and what comes live.
async fn check_is_given_all(database: &Database, mut feed: Feed, home: &str) {
    let mut given = std::collections::BTreeSet::new();
    while given.len() < 20 {
        if let FeedItem::Events(events) = within(feed.next()).await.unwrap() {
            let shard = |event: &RecordedEvent| database.shard_of(event.stream());
            assert!(events.iter().all(|(event, _)| event.shard == shard(&event.record)));
            given.extend(events.iter().map(|(event, _)| event.record.id()));
        }
    }
    fill(database, home, [105]).await;
    loop {
        if let FeedItem::Events(events) = within(feed.next()).await.unwrap() {
            assert_eq!(events.iter().map(|(event, _)| event.record.id()).collect::<Vec<_>>(), [id(105)]);
            return;
        }
    }
}

/// R6, S3: who follows is given everything once, also what comes while a server is away.
#[tokio::test]
async fn r6_a_server_that_comes_back_is_there_again_and_nobody_misses_anything() {
    let (place, second) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let servers = [Server::in_memory().await, Server::start(Database::open(Options::new(second.path())).await.unwrap(), None).await];
    let database = open(place.path(), &[&servers[0], &servers[1]]).await.unwrap();
    let homes = homes(&database);
    let counts = "[source]\ncategories = [\"s\"]\n[columns]\nstream = \"text primary key\"\nevents = \"bigint default 0\"\n[on.Happened]\n\
                  key = \"$.stream\"\nadd = { events = 1 }\n";
    database.define(Kind::Projection, "counts", Format::Toml, counts, false).await.unwrap();
    let mut live = database.follow(Filter::default(), After::Start).unwrap();
    for (number, home) in (0..).zip(&homes) {
        fill(&database, home, number * 10..number * 10 + 5).await;
    }
    let mut given: Vec<(String, u64)> = Vec::new();
    while given.len() < 15 {
        if let FeedItem::Events(events) = within(live.next()).await.unwrap() {
            given.extend(events.iter().map(|(event, _)| (event.record.stream().to_owned(), event.record.version().get())));
        }
    }
    // What comes now comes live, over the feed of the server.
    fill(&database, &homes[2], 25..26).await;
    let item = loop {
        if let FeedItem::Events(events) = within(live.next()).await.unwrap() {
            break events;
        }
    };
    assert_eq!(item.iter().map(|(event, _)| (event.shard, event.record.version().get())).collect::<Vec<_>>(), [(2, 6)]);
    let cursor = item.last().unwrap().1.clone();
    drop(live);
    let [first, away] = servers;
    let address = away.end().await;
    until(&database, 2, false).await;
    check_failed(append(&database, &homes[2], ExpectedVersion::Any, vec![event(100, "Happened")]).await, 2, "");
    check_failed(database.read_events(query(After::Start)).await, 2, "");
    fill(&database, &homes[0], [101]).await;
    fill(&database, &homes[1], [102]).await;
    let left_out = LeftOut::default();
    let part = database.leaving_out(&left_out).read_events(query(After::Start)).await.unwrap();
    assert_eq!((part.events.len(), left_out.shards()), (12, vec![2]));
    assert!(database.overview().await.unwrap().troubles.iter().any(|trouble| trouble.todo.contains(&address.to_string())));
    // While it is away from the start, the others serve as well.
    database.close().await.unwrap();
    let urls = vec![first.url(), format!("http://{address}")];
    let database = Database::open(options(place.path(), urls)).await.unwrap();
    check_failed(stream_events(&database, &homes[2]).await, 2, "can't be reached");
    fill(&database, &homes[1], [103]).await;
    let early = database.follow(Filter::default(), After::Start).unwrap();
    let back = Server::start(Database::open(Options::new(second.path())).await.unwrap(), Some(address)).await;
    until(&database, 2, true).await;
    fill(&database, &homes[2], [104]).await;
    check_is_given_all(&database, early, &homes[2]).await;
    assert_eq!(log(&database, Filter::default()).await.len(), 15 + 1 + 5);
    // Whoever goes on from where they were finds the rest, once.
    let mut rest = database.follow(Filter::default(), After::Cursor(database.parse_cursor(&cursor.to_string()).unwrap())).unwrap();
    let mut numbers = Vec::new();
    while numbers.len() < 5 {
        if let FeedItem::Events(events) = within(rest.next()).await.unwrap() {
            numbers.extend(events.iter().map(|(event, _)| event.record.id()));
        }
    }
    numbers.sort();
    assert_eq!(numbers, [101, 102, 103, 104, 105].map(id));
    let page = database.query_view("counts", ViewQuery::default(), Some(&database.end()), Duration::from_secs(60)).await.unwrap();
    assert_eq!(page.rows.len(), 3);
    database.close().await.unwrap();
    first.end().await;
    back.end().await;
}

/// R3: a server that takes calls and does not answer them holds nobody up for longer than it may.
#[tokio::test]
async fn r3_a_server_that_hangs_is_given_up_in_time() {
    let place = tempfile::tempdir().unwrap();
    let servers = [Server::in_memory().await, Server::in_memory().await];
    let urls = servers.iter().map(Server::url).collect();
    let mut asked = options(place.path(), urls);
    asked.elsewhere.timeout = Duration::from_millis(500);
    let database = Database::open(asked).await.unwrap();
    let homes = homes(&database);
    fill(&database, &homes[2], [1]).await;
    let [first, hung] = servers;
    let address = hung.end().await;
    // Takes connections and never says a word.
    let mute = within(async {
        loop {
            match TcpListener::bind(address).await {
                Ok(listener) => return listener,
                Err(_) => tokio::task::yield_now().await,
            }
        }
    })
    .await;
    let muted = tokio::spawn(async move {
        let mut held = Vec::new();
        while let Ok((socket, _)) = mute.accept().await {
            held.push(socket);
        }
    });
    until_told(&database, 2, "has not answered within 500 ms").await;
    let began = Instant::now();
    let refused = append(&database, &homes[2], ExpectedVersion::Any, vec![event(2, "E")]).await;
    check_failed(refused, 2, "");
    fill(&database, &homes[1], [3]).await;
    check_failed(database.streams(StreamsQuery { limit: 10, ..StreamsQuery::default() }).await, 2, "");
    assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
    database.close().await.unwrap();
    muted.abort();
    first.end().await;
}

/// R6: another log at the address, or an older one, is not written to and not read from.
#[tokio::test]
async fn r6_another_log_at_the_address_or_an_older_one_is_refused() {
    let (place, older) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let data = tempfile::tempdir().unwrap();
    let open_data = |path: &Path| Database::open(Options::new(path.to_owned()));
    let servers = [Server::in_memory().await, Server::start(open_data(data.path()).await.unwrap(), None).await];
    let database = open(place.path(), &[&servers[0], &servers[1]]).await.unwrap();
    let homes = homes(&database);
    fill(&database, &homes[2], 1..4).await;
    let [first, second] = servers;
    let address = second.end().await;
    copy(data.path(), older.path());
    until(&database, 2, false).await;
    // Another database at the same address.
    let stranger = Server::start(Database::in_memory().await.unwrap(), Some(address)).await;
    until_told(&database, 2, "and the shard's is").await;
    check_failed(append(&database, &homes[2], ExpectedVersion::Any, vec![event(9, "E")]).await, 2, "has the log");
    assert!(log(&stranger.database, Filter::default()).await.is_empty());
    stranger.end().await;
    let right = Server::start(open_data(data.path()).await.unwrap(), Some(address)).await;
    until(&database, 2, true).await;
    fill(&database, &homes[2], 4..7).await;
    right.end().await;
    until(&database, 2, false).await;
    // Its own log, as it was before.
    let aged = Server::start(open_data(older.path()).await.unwrap(), Some(address)).await;
    until_told(&database, 2, "it is an older one").await;
    check_failed(append(&database, &homes[2], ExpectedVersion::Any, vec![event(10, "E")]).await, 2, "older one");
    check_failed(stream_events(&database, &homes[2]).await, 2, "older one");
    // It grows past what was known of it: by its length nobody could tell.
    fill(&aged.database, &homes[2], 20..30).await;
    until_told(&database, 2, "another event at position").await;
    check_failed(stream_events(&database, &homes[2]).await, 2, "written to since");
    // Neither can somebody who has been away meanwhile be told otherwise.
    database.close().await.unwrap();
    let urls = vec![first.url(), format!("http://{address}")];
    let database = Database::open(options(place.path(), urls)).await.unwrap();
    until_told(&database, 2, "another event at position").await;
    aged.end().await;
    let aged = Server::start(open_data(older.path()).await.unwrap(), Some(address)).await;
    until_told(&database, 2, "another event at position").await;
    aged.end().await;
    let right = Server::start(open_data(data.path()).await.unwrap(), Some(address)).await;
    until(&database, 2, true).await;
    assert_eq!(stream_events(&database, &homes[2]).await.unwrap().len(), 6);
    database.close().await.unwrap();
    first.end().await;
    right.end().await;
}

async fn until_told(database: &Database, shard: u16, expected: &str) {
    let looked = async {
        loop {
            let status = database.status().await.unwrap();
            if status[usize::from(shard)].appends.as_ref().is_err_and(|error| error.to_string().contains(expected)) {
                return;
            }
            tokio::task::yield_now().await;
        }
    };
    within(looked).await;
}

/// What can't be: each is told by the setting that is wrong, and nothing is begun.
#[tokio::test]
async fn servers_that_can_be_no_shards_are_refused_at_the_start() {
    let place = tempfile::tempdir().unwrap();
    let server = Server::in_memory().await;
    let many = Server::start(crate::fixture::sharded(2).await, None).await;
    let free = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let refused = async |urls: Vec<String>, expected: &str| {
        let place = tempfile::tempdir().unwrap();
        let error = Database::open(options(place.path(), urls)).await.map(drop).expect_err(expected).to_string();
        assert!(error.contains(expected), "{error} lacks {expected}");
    };
    refused(vec!["http://".to_owned()], "is not the address of a server").await;
    refused(vec!["http://me:secret@127.0.0.1:1".to_owned()], "that of 127.0.0.1 has a name or password").await;
    refused(vec![format!("http://{free}")], "can't be reached").await;
    refused(vec![many.url()], "has 2 shards").await;
    refused(vec![server.url(), server.url()], "two addresses lead to one server").await;
    let database = open(place.path(), &[&server]).await.unwrap();
    let change = database.plan_shards(TopologyChange::Add(NewShard::default())).await.unwrap_err();
    assert!(matches!(&change, Error::TopologyConflict { detail } if detail.contains("shards.urls")), "{change:?}");
    let moved = database.locate(&name("$definitions"));
    assert_eq!((moved.shard, moved.reason), (0, factum::database::Reason::System));
    database.close().await.unwrap();
    let error = Database::open(Options::new(place.path())).await.map(drop).unwrap_err().to_string();
    assert!(error.contains("shards.urls: 1 shard(s) of the database are at other servers"), "{error}");
    let here = tempfile::tempdir().unwrap();
    Database::open(Options::new(here.path())).await.unwrap().close().await.unwrap();
    let error = open(here.path(), &[&server]).await.map(drop).unwrap_err().to_string();
    assert!(error.contains("begin another data directory"), "{error}");
}
