//! Do shards come and go without anybody noticing?

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::path::Path;

use factum::Database;
use factum::Error;
use factum::database::After;
use factum::database::Direction;
use factum::database::EventId;
use factum::database::EventsQuery;
use factum::database::ExpectedVersion;
use factum::database::Filter;
use factum::database::Job;
use factum::database::JobState;
use factum::database::NewShard;
use factum::database::Options;
use factum::database::Reason;
use factum::database::Region;
use factum::database::Retention;
use factum::database::Strategy;
use factum::database::StreamsQuery;
use factum::database::TopologyChange;
use factum::database::Version;
use factum::subscription::FeedItem;
use factum_storage as storage;

use crate::fixture::Random;
use crate::fixture::append;
use crate::fixture::event;
use crate::fixture::name;
use crate::fixture::pages;
use crate::fixture::query;
use crate::fixture::version;

pub(crate) fn options(root: &Path, shards: Option<u16>, strategy: Option<Strategy>) -> Options {
    Options { shards, strategy, storage: storage::Options::small(), ..Options::new(root) }
}

/// Two shards by the order of keys.
pub(crate) fn range(split: &str) -> Strategy {
    Strategy::Range { splits: vec![split.to_owned()] }
}

/// Two regions: one with the keys that match, on the shards 0 and 1, and one with all others on shard 2.
pub(crate) fn geo(keys: &str) -> Strategy {
    let region =
        |name: &str, shards: &[u16], keys: &str| Region { name: name.into(), shards: shards.to_vec(), keys: vec![keys.to_owned()] };
    Strategy::Geo { regions: vec![region("eu", &[0, 1], keys), region("us", &[2], "*")], default_region: None }
}

pub(crate) fn add() -> TopologyChange {
    TopologyChange::Add(NewShard::default())
}

pub(crate) fn split_at(key: &str) -> TopologyChange {
    TopologyChange::Add(NewShard { split: Some(key.to_owned()), ..NewShard::default() })
}

pub(crate) fn add_to(region: &str) -> TopologyChange {
    TopologyChange::Add(NewShard { region: Some(region.to_owned()), ..NewShard::default() })
}

/// Checks that an event is on a shard of the region that its stream belongs to, if there are regions.
pub(crate) fn check_residence(database: &Database, stream: &str, shard: u16) {
    if let Reason::Region { region, .. } = database.locate(&name(stream)).reason {
        assert_eq!(database.share_of(shard).region, region, "{stream} on shard {shard}");
    }
}

/// Waits until a job has ended.
pub(crate) async fn ended(database: &Database, job: &Job) -> Job {
    let mut changes = database.job_changes();
    loop {
        let now = database.job(&job.id).unwrap();
        assert_ne!(now.state, JobState::Failed, "{now:?}");
        if now.has_ended() {
            return now;
        }
        changes.changed().await.unwrap();
    }
}

pub(crate) async fn changed(database: &Database, change: TopologyChange) -> Job {
    let job = database.change_shards(change).await.unwrap();
    ended(database, &job).await
}

/// A stream as it should be.
#[derive(Clone, Debug, Default)]
struct Stream {
    ids: Vec<EventId>,
    /// Versions up to here are deleted.
    deleted_through: usize,
    is_deleted: bool,
    is_tombstoned: bool,
    max_count: Option<usize>,
}

impl Stream {
    fn first(&self) -> usize {
        self.deleted_through.max(self.max_count.map_or(0, |max| self.ids.len().saturating_sub(max)))
    }

    fn visible(&self) -> Vec<(u64, EventId)> {
        if self.is_deleted || self.is_tombstoned {
            return Vec::new();
        }
        (1..).zip(self.ids.iter().copied()).skip(self.first()).collect()
    }

    fn is_there(&self) -> bool {
        !self.ids.is_empty() && !self.is_deleted && !self.is_tombstoned
    }
}

type Model = BTreeMap<String, Stream>;

async fn check_stream(database: &Database, stream: &str, model: &Stream, random: &mut Random) {
    let expected = model.visible();
    let (limit, is_backward) = (1 + random.below(7) as usize, random.below(2) == 0);
    let direction = if is_backward { Direction::Backward } else { Direction::Forward };
    let (mut read, mut from, mut rounds) = (Vec::new(), None, 0);
    loop {
        let page = match database.read_stream(&name(stream), from, direction, limit, 1 << 20).await {
            Ok(page) => page,
            Err(Error::StreamNotFound { .. }) if !model.is_there() && !model.is_tombstoned => break,
            Err(Error::Storage(storage::Error::StreamDeleted(_))) if model.is_tombstoned => break,
            Err(error) => panic!("{stream}: {error} {model:?}"),
        };
        assert!(page.events.len() <= limit);
        assert_eq!(page.info.version.get(), model.ids.len() as u64, "{stream}");
        read.extend(page.events.iter().map(|event| (event.version().get(), event.id())));
        from = page.next;
        rounds += 1;
        assert!(rounds < 1_000, "{stream} does not come to an end: {from:?} {model:?}");
        if from.is_none() {
            break;
        }
    }
    if is_backward {
        read.reverse();
    }
    assert_eq!(read, expected, "{stream}, {direction:?} by {limit}");
}

async fn check(database: &Database, model: &Model, random: &mut Random) {
    for (stream, expected) in model {
        check_stream(database, stream, expected, random).await;
    }
    let asked = StreamsQuery { after: None, prefix: String::new(), category: None, include_system: false, limit: 10_000 };
    let listed: Vec<(String, u64)> =
        database.streams(asked).await.unwrap().into_iter().map(|(_, info)| (info.stream.to_string(), info.version.get())).collect();
    let there: Vec<(String, u64)> =
        model.iter().filter(|(_, stream)| stream.is_there()).map(|(name, stream)| (name.clone(), stream.ids.len() as u64)).collect();
    assert_eq!(listed, there);
    let limit = 1 + random.below(50) as usize;
    let read = pages(database, EventsQuery { limit, ..query(After::Start) }).await;
    let mut by_stream: BTreeMap<String, Vec<(u64, EventId)>> = BTreeMap::new();
    for event in read.iter().flat_map(|page| &page.events) {
        check_residence(database, event.record.stream(), event.shard);
        by_stream.entry(event.record.stream().to_owned()).or_default().push((event.record.version().get(), event.record.id()));
    }
    let visible: BTreeMap<String, Vec<(u64, EventId)>> =
        model.iter().map(|(name, stream)| (name.clone(), stream.visible())).filter(|(_, events)| !events.is_empty()).collect();
    assert_eq!(by_stream, visible, "the log of all shards");
    let categories = database.categories(false).await.unwrap();
    let counted: u64 = categories.iter().map(|category| category.streams).sum();
    assert_eq!(counted, model.values().filter(|stream| !stream.ids.is_empty()).count() as u64);
    let events: u64 = categories.iter().map(|category| category.events).sum();
    assert_eq!(events, model.values().map(|stream| stream.ids.len() as u64).sum::<u64>());
    for stream in model.values().filter(|stream| stream.is_there()) {
        if let Some((_, id)) = stream.visible().first() {
            assert_eq!(database.event_by_id(*id).await.unwrap().record.id(), *id);
        }
    }
}

/// One thing that a client does, and what must come of it.
async fn act(database: &Database, model: &mut Model, number: u64, random: &mut Random) {
    let stream = format!("s{}-{}", random.below(3), random.below(40));
    let known = model.entry(stream.clone()).or_default();
    let at = known.ids.len() as u64;
    match random.below(16) {
        0 if known.is_there() => {
            database.delete_stream(name(&stream), false).await.unwrap();
            (known.deleted_through, known.is_deleted) = (known.ids.len(), true);
        }
        1 if known.is_there() && random.below(8) == 0 => {
            database.delete_stream(name(&stream), true).await.unwrap();
            known.is_tombstoned = true;
        }
        2 if known.is_there() => {
            let max = 1 + random.below(6);
            database.set_retention(name(&stream), Retention { max_count: Some(max), ..Retention::default() }).await.unwrap();
            known.max_count = Some(max as usize);
        }
        // The same again: it is there, wherever that is.
        3 | 4 if known.is_there() => {
            let again = random.below(at) as usize;
            let mut event = event(0, "E");
            event.id = known.ids[again];
            event.data = data_of(event.id);
            let done = append(database, &stream, ExpectedVersion::Any, vec![event.clone()]).await.unwrap();
            assert!(done.appended.duplicate);
            assert_eq!(done.appended.streams[0].1, Version::new(again as u64 + 1), "{stream}");
            event.data = "1".into();
            let refused = append(database, &stream, ExpectedVersion::Any, vec![event]).await.unwrap_err();
            assert!(matches!(refused, Error::Storage(storage::Error::EventIdReused { .. })), "{refused:?}");
        }
        5 if !known.is_tombstoned => {
            let refused = append(database, &stream, version(at + 1), vec![event(number * 10, "E")]).await.unwrap_err();
            let Error::Storage(storage::Error::Conflict(failed)) = refused else { panic!("{refused:?}") };
            assert!(matches!(failed[0], storage::FailedCheck::Version { actual, .. } if actual.get() == at), "{stream} {at}: {failed:?}");
        }
        _ => {
            let mut events: Vec<_> = (0..1 + random.below(3)).map(|n| event(number * 10 + n, "E")).collect();
            events.iter_mut().for_each(|event| event.data = data_of(event.id));
            let ids: Vec<EventId> = events.iter().map(|event| event.id).collect();
            let expected = if random.below(2) == 0 { version(at) } else { ExpectedVersion::Any };
            match append(database, &stream, expected, events).await {
                Ok(done) => {
                    assert_eq!(done.appended.streams[0].1, Version::new(at + 1), "{stream}");
                    known.ids.extend(ids);
                    known.is_deleted = false;
                }
                Err(Error::Storage(storage::Error::StreamDeleted(_))) if known.is_tombstoned => {}
                Err(error) => panic!("{stream}: {error}"),
            }
        }
    }
    if model.get(&stream).is_some_and(|stream| stream.ids.is_empty()) {
        model.remove(&stream);
    }
}

fn data_of(id: EventId) -> bytes::Bytes {
    format!("{{\"id\":\"{id:?}\"}}").into()
}

/// A change that may make sense, for some strategy at least.
fn any_change(strategy: &Strategy, shards: u16, random: &mut Random) -> TopologyChange {
    match (random.below(3), strategy) {
        (0, _) if shards >= 6 => TopologyChange::Rebalance,
        (0, Strategy::Range { .. }) => split_at(&format!("s{}-{}x", random.below(3), random.below(40))),
        (0, Strategy::Geo { .. }) => add_to(if random.below(2) == 0 { "eu" } else { "us" }),
        (0, Strategy::Hash | Strategy::Ring { .. }) => add(),
        (1, _) => TopologyChange::Drain(random.below(u64::from(shards)) as u16),
        (_, _) => TopologyChange::Rebalance,
    }
}

/// Carries a change out, or is told that it makes no sense here.
async fn tried(database: &Database, change: TopologyChange) {
    match database.change_shards(change.clone()).await {
        Ok(job) => {
            let job = ended(database, &job).await;
            assert_eq!((job.state, job.done), (JobState::Done, job.total));
            if let TopologyChange::Drain(shard) = change {
                let share = database.share_of(shard);
                assert!(share.is_drained && share.slots.unwrap_or(0) == 0 && share.ranges.unwrap_or_default().is_empty());
            }
        }
        Err(error) => assert!(matches!(error, Error::TopologyConflict { .. }), "{change:?}: {error}"),
    }
}

/// S3: whatever is appended, deleted and sent again, and whatever shards come and go meanwhile: every answer is as with one log.
#[tokio::test]
async fn s3_a_database_whose_shards_come_and_go_answers_as_one_that_stays() {
    let mut random = Random::new("s3_a_database_whose_shards_come_and_go_answers_as_one_that_stays");
    for strategy in [Strategy::Hash, Strategy::Ring { weights: Vec::new() }, range("s1-2"), geo("s0-*")] {
        let directory = tempfile::tempdir().unwrap();
        let asked = (matches!(strategy, Strategy::Hash | Strategy::Ring { .. })).then_some(1);
        let mut database = Database::open(options(directory.path(), asked, Some(strategy.clone()))).await.unwrap();
        let mut model = Model::new();
        let mut marks: Vec<(String, usize)> = Vec::new();
        for number in 0..700_u64 {
            act(&database, &mut model, number, &mut random).await;
            let shards = database.status().await.unwrap().len() as u16;
            match random.below(60) {
                0 | 1 => tried(&database, any_change(&strategy, shards, &mut random)).await,
                2 => {
                    database.close().await.unwrap();
                    // What it began with is still right to ask for.
                    database = Database::open(options(directory.path(), asked, Some(strategy.clone()))).await.unwrap();
                }
                3 => {
                    database.close().await.unwrap();
                    let shard = random.below(u64::from(shards));
                    std::fs::remove_file(directory.path().join(format!("shards/{shard}/index.redb"))).unwrap();
                    database = Database::open(options(directory.path(), None, None)).await.unwrap();
                }
                4 | 5 => check(&database, &model, &mut random).await,
                6 => marks.push((database.end().to_string(), model.values().map(|stream| stream.ids.len()).sum())),
                _ => {}
            }
        }
        check(&database, &model, &mut random).await;
        assert!(database.strategy().1 > 15, "much has moved: {}", database.strategy().1);
        let all: usize = model.values().map(|stream| stream.ids.len()).sum();
        for (cursor, before) in marks {
            let after = After::Cursor(database.parse_cursor(&cursor).unwrap());
            let read = pages(&database, EventsQuery { limit: 37, ..query(after.clone()) }).await;
            let read: Vec<_> = read.iter().flat_map(|page| &page.events).map(|event| (event.shard, event.record.position())).collect();
            assert!(read.len() <= all - before, "nothing comes twice");
            assert_eq!(read.iter().collect::<BTreeSet<_>>().len(), read.len());
            let mut feed = database.follow(Filter::default(), after).unwrap();
            let mut given = Vec::new();
            while let FeedItem::Events(events) = feed.next().await.unwrap() {
                given.extend(events.iter().map(|(event, _)| (event.shard, event.record.position())));
            }
            assert_eq!(given, read, "a feed gives what pages have");
        }
        database.close().await.unwrap();
    }
}
