//! Shards that other servers have: a database over them is like one that has all of its shards itself, and one that is not there, or not
//! the right one, is told as such. Real servers on real sockets.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use factum::Database;
use factum::Error;
use factum::database::After;
use factum::database::ConditionRequest;
use factum::database::Direction;
use factum::database::Elsewhere;
use factum::database::EventsQuery;
use factum::database::ExpectedVersion;
use factum::database::Filter;
use factum::database::NewEvent;
use factum::database::Options;
use factum::database::QueryItem;
use factum::database::RecordedEvent;
use factum::database::Retention;
use factum::database::StreamsQuery;
use factum::database::Timestamp;
use factum::database::TransactionRequest;
use factum::database::Version;
use factum::http::HttpSettings;
use factum_storage as storage;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::fixture::Random;
use crate::fixture::append;
use crate::fixture::event;
use crate::fixture::id;
use crate::fixture::log;
use crate::fixture::name;
use crate::fixture::pages;
use crate::fixture::query;
use crate::fixture::tagged;
use crate::fixture::to;
use crate::fixture::version;

/// A server with one shard.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    pub(crate) database: Database,
    stop: oneshot::Sender<()>,
    task: JoinHandle<std::io::Result<()>>,
}

impl Server {
    pub(crate) async fn start(database: Database, address: Option<SocketAddr>) -> Self {
        // The one before has just let go of the port.
        let bind = async || loop {
            match TcpListener::bind(address.unwrap_or(([127, 0, 0, 1], 0).into())).await {
                Ok(listener) => return listener,
                Err(_) => tokio::task::yield_now().await,
            }
        };
        let listener = within(bind()).await;
        let address = listener.local_addr().unwrap();
        let settings = HttpSettings { shutdown_deadline: Duration::ZERO, ..HttpSettings::default() };
        let router = factum::http::router(database.clone(), settings.clone());
        let (stop, stopped) = oneshot::channel::<()>();
        let task = tokio::spawn(factum::http::serve(listener, router, settings, async move { drop(stopped.await) }));
        Self { address, database, stop, task }
    }

    pub(crate) async fn in_memory() -> Self {
        Self::start(Database::in_memory().await.unwrap(), None).await
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Ends it, and says where it was.
    pub(crate) async fn end(self) -> SocketAddr {
        drop(self.stop);
        within(self.task).await.unwrap().unwrap();
        self.database.close().await.unwrap();
        self.address
    }
}

pub(crate) async fn within<F: Future>(future: F) -> F::Output {
    tokio::time::timeout(Duration::from_secs(60), future).await.expect("done within a minute")
}

pub(crate) fn options(place: &Path, urls: Vec<String>) -> Options {
    let elsewhere = Elsewhere { urls, timeout: Duration::from_secs(20), ..Elsewhere::default() };
    Options { elsewhere, storage: storage::Options::small(), ..Options::new(place) }
}

pub(crate) async fn open(place: &Path, servers: &[&Server]) -> Result<Database, Error> {
    Database::open(options(place, servers.iter().map(|server| server.url()).collect())).await
}

/// What came of something, in words that are the same wherever it happens.
fn told<T>(outcome: Result<T, Error>, say: impl FnOnce(T) -> String) -> String {
    match outcome {
        Ok(done) => say(done),
        Err(Error::Storage(storage::Error::EventIdReused { id, .. })) => format!("reused {id:?}"),
        Err(Error::Storage(storage::Error::Conflict(failed))) => {
            let told = failed.iter().map(|check| match check {
                storage::FailedCheck::Version { .. } => format!("{check:?}"),
                storage::FailedCheck::Condition { index, event_id, .. } => format!("condition {index} {event_id:?}"),
            });
            told.collect::<Vec<_>>().join(", ")
        }
        Err(error) => format!("{error:?}"),
    }
}

fn shown(event: &RecordedEvent) -> String {
    format!(
        "{} {} {:?} {} {} {:?} {:?} {:?} {:?}",
        event.stream(),
        event.version(),
        event.id(),
        event.event_type(),
        event.schema_version(),
        event.client_occurred_at(),
        event.tags().collect::<Vec<_>>(),
        String::from_utf8_lossy(event.metadata()),
        String::from_utf8_lossy(event.data()),
    )
}

/// One random thing, done to a database.
async fn done(database: &Database, step: u64, mut random: Random) -> String {
    let key = random.below(8);
    let stream = format!("s-{{{key}}}-{}", random.below(2));
    let expected = match random.below(6) {
        0 => version(random.below(6)),
        1 => ExpectedVersion::Exists,
        _ => ExpectedVersion::Any,
    };
    // Some ids come again, with the same content or another.
    let number = if random.below(5) == 0 { random.below(step + 1) * 10 } else { step * 10 };
    let events: Vec<NewEvent> = (0..=random.below(3))
        .map(|n| NewEvent {
            metadata: if n == 1 { Bytes::from_static(b"{\"correlation_id\": \"c 1\"}") } else { Bytes::new() },
            occurred_at: (n == 2).then(|| Timestamp::from_micros(1_600_000_000_123_456)),
            schema_version: 1 + u16::try_from(n).unwrap(),
            ..tagged(number + n, if n == 0 { "Placed" } else { "Paid\u{e4}" }, &["customer:7", "ü"][..usize::try_from(n % 3).unwrap()])
        })
        .collect();
    match random.below(12) {
        0 => told(database.delete_stream(name(&stream), random.below(4) == 0).await, |_| "deleted".to_owned()),
        1 => {
            let retention =
                Retention { max_count: Some(1 + random.below(4)), before_version: Some(Version::new(random.below(4))), max_age_us: None };
            told(database.set_retention(name(&stream), retention).await, |_| "retained".to_owned())
        }
        2 => {
            let query = vec![QueryItem { types: vec!["Placed".into()], tags: Vec::new() }];
            let conditions = vec![ConditionRequest { query, after: if random.below(2) == 0 { After::Start } else { After::End } }];
            let other = format!("t-{{{key}}}");
            let appends = vec![to(&stream, expected, events), to(&other, ExpectedVersion::Any, vec![event(step * 10 + 9, "E")])];
            let result = database.transact(TransactionRequest { appends, conditions }).await;
            told(result, |done| format!("{:?} {}", done.appended.streams, done.appended.duplicate))
        }
        3 => told(database.import(name(&stream), events).await, |done| format!("{} {}", done.imported, done.duplicates)),
        4 => {
            let from = Some(random.below(5)).filter(|from| *from > 0).map(Version::new);
            let direction = if random.below(2) == 0 { Direction::Forward } else { Direction::Backward };
            let (stream, limit) = (name(&stream), 1 + usize::try_from(random.below(3)).unwrap());
            told(database.read_stream(&stream, from, direction, limit, usize::MAX).await, |page| {
                let events: Vec<String> = page.events.iter().map(shown).collect();
                format!("{} {} {:?} {events:?}", page.info.version, page.info.first_version, page.next)
            })
        }
        5 => told(database.event_by_id(id(number)).await, |event| shown(&event.record)),
        6 => told(database.stream(&name(&stream)).await, |(shard, info, _)| format!("{shard} {} {}", info.version, info.first_version)),
        _ => told(append(database, &stream, expected, events).await, |done| {
            format!("{:?} {}", done.appended.streams, done.appended.duplicate)
        }),
    }
}

/// All that can be seen, in words that are the same wherever it is.
async fn seen(database: &Database, random: &mut Random) -> Vec<String> {
    let mut all = Vec::new();
    let direction = if random.below(2) == 0 { Direction::Forward } else { Direction::Backward };
    let after = if direction == Direction::Forward { After::Start } else { After::End };
    let filter = match random.below(4) {
        0 => Filter { types: vec!["Paid\u{e4}".into()], ..Filter::default() },
        1 => Filter { tags: vec!["ü".into()], stream_prefix: Some("s-{".into()), ..Filter::default() },
        2 => Filter { categories: vec!["t".into()], ..Filter::default() },
        _ => Filter::default(),
    };
    let limit = 1 + usize::try_from(random.below(30)).unwrap();
    let mut events = Vec::new();
    for page in pages(database, EventsQuery { filter, direction, limit, ..query(after) }).await {
        events.extend(page.events.iter().map(|event| format!("{} {}", event.shard, shown(&event.record))));
    }
    events.sort();
    all.extend(events);
    let listed = database.streams(StreamsQuery { limit: 1_000, ..StreamsQuery::default() }).await.unwrap();
    all.extend(listed.iter().map(|(shard, info)| format!("{shard} {} {}", info.stream, info.version)));
    all.extend(database.categories(false).await.unwrap().iter().map(|info| format!("{} {} {}", info.category, info.streams, info.events)));
    #[cfg(feature = "analytics")]
    for text in [
        "select type, count(*) as n, max(version) from events group by type order by type",
        "select stream, version, id from s where version > 1 and stream like 's-{3%' order by stream, version",
        "select count(*) from t",
        "select shard, stream from events where stream = 's-{2}-1' order by version desc limit 2",
        "select count(*) from events where recorded_at > '2020-01-01T00:00:00Z' and recorded_at < '2100-01-01T00:00:00Z'",
    ] {
        all.extend(asked(database, text).await);
    }
    all.extend(database.types(false).await.unwrap().iter().map(|info| format!("{} {}", info.event_type, info.events)));
    all
}

/// The rows of a query, as text.
#[cfg(feature = "analytics")]
async fn asked(database: &Database, text: &str) -> Vec<String> {
    use futures::StreamExt;
    let query = factum::database::SqlQuery { text: text.to_owned(), ..factum::database::SqlQuery::default() };
    // Before the first event of a category there is no table of it.
    let Ok(answer) = database.sql(query).await else { return vec![format!("no answer: {text}")] };
    let batches: Vec<_> = answer.map(|batch| batch.expect("rows")).collect().await;
    let columns = |batch: &arrow::array::RecordBatch, row: usize| {
        let column = |column: &arrow::array::ArrayRef| arrow::util::display::array_value_to_string(column, row).expect("a value");
        batch.columns().iter().map(column).collect::<Vec<_>>().join(" | ")
    };
    batches.iter().flat_map(|batch| (0..batch.num_rows()).map(move |row| columns(batch, row))).collect()
}

/// The same random things come to the same in a database over two other servers as in one that has all three shards itself.
#[tokio::test]
async fn s3_a_database_over_other_servers_is_like_one_of_its_own() {
    let place = tempfile::tempdir().unwrap();
    let servers = [Server::in_memory().await, Server::in_memory().await];
    let far = open(place.path(), &[&servers[0], &servers[1]]).await.unwrap();
    let near = crate::fixture::sharded(3).await;
    let mut random = Random::new("a database over other servers");
    for step in 1..=400 {
        let seed = random.below(u64::MAX);
        let (one, other) = (done(&far, step, Random::from(seed)).await, done(&near, step, Random::from(seed)).await);
        assert_eq!(one, other, "step {step}");
        if step % 40 == 0 {
            let seed = random.below(u64::MAX);
            assert_eq!(seen(&far, &mut Random::from(seed)).await, seen(&near, &mut Random::from(seed)).await, "step {step}");
        }
    }
    // Each server has its part, and nothing of the system.
    for (number, server) in (1..).zip(&servers) {
        let own = log(&server.database, Filter { include_system: true, ..Filter::default() }).await;
        assert!(own.iter().any(|(_, event)| far.shard_of(event.stream()) == number));
        assert!(own.iter().all(|(_, event)| event.is_control() || far.shard_of(event.stream()) == number));
    }
    let status = far.status().await.unwrap();
    assert_eq!(
        status.iter().map(|shard| shard.location.clone()).collect::<Vec<_>>(),
        [None, Some(servers[0].url()), Some(servers[1].url())]
    );
    far.close().await.unwrap();
}
