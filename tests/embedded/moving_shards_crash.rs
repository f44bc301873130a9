//! What if the power goes in the middle of a hand-over, at any call of a disk? What if what is found then does not fit together?

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::sync::Arc;

use factum::Database;
use factum::Error;
use factum::database::After;
use factum::database::EventsQuery;
use factum::database::ExpectedVersion;
use factum::database::JobState;
use factum::database::LeftOut;
use factum::database::NewShard;
use factum::database::Options;
use factum::database::ShardDisks;
use factum::database::Strategy;
use factum::database::StreamsQuery;
use factum::database::TopologyChange;
use factum_storage as storage;
use storage::Disk;
use storage::DiskFile;
use storage::LockGuard;
use storage::disk::sim::Call;
use storage::disk::sim::Cut;
use storage::disk::sim::Fault;
use storage::disk::sim::Rule;
use storage::disk::sim::SimDisk;

use crate::fixture::Random;
use crate::fixture::append;
use crate::fixture::copy;
use crate::fixture::event;
use crate::fixture::id;
use crate::fixture::pages;
use crate::fixture::query;
use crate::fixture::stream_events;
use crate::fixture::version;
use crate::moving_shards::add;
use crate::moving_shards::changed;
use crate::moving_shards::ended;
use crate::moving_shards::range;

/// A folder of a disk, as a disk of its own.
struct Below {
    disk: Arc<dyn Disk>,
    folder: String,
}

impl Below {
    fn path(&self, path: &str) -> String {
        if path.is_empty() { self.folder.clone() } else { format!("{}/{path}", self.folder) }
    }
}

impl Disk for Below {
    fn open(&self, path: &str) -> io::Result<Arc<dyn DiskFile>> {
        self.disk.open(&self.path(path))
    }
    fn create_new(&self, path: &str) -> io::Result<Arc<dyn DiskFile>> {
        self.disk.create_new(&self.path(path))
    }
    fn create_dir(&self, path: &str) -> io::Result<()> {
        self.disk.create_dir(&self.path(path))
    }
    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.disk.rename(&self.path(from), &self.path(to))
    }
    fn remove(&self, path: &str) -> io::Result<()> {
        self.disk.remove(&self.path(path))
    }
    fn list(&self, dir: &str) -> io::Result<Vec<String>> {
        self.disk.list(&self.path(dir))
    }
    fn sync_dir(&self, dir: &str) -> io::Result<()> {
        self.disk.sync_dir(&self.path(dir))
    }
    fn available(&self) -> io::Result<u64> {
        self.disk.available()
    }
    fn lock(&self, path: &str, owner: &str) -> io::Result<Box<dyn LockGuard>> {
        self.disk.lock(&self.path(path), owner)
    }
}

/// A whole data directory on one disk, so that all of it stops at the same moment.
async fn on(disk: &SimDisk, strategy: &Strategy) -> Result<Database, Error> {
    let root: Arc<dyn Disk> = Arc::new(disk.clone());
    let below = Arc::clone(&root);
    let shard: ShardDisks = Arc::new(move |shard| Arc::new(Below { disk: Arc::clone(&below), folder: format!("shards/{shard}") }));
    Database::open_in(root, shard, Options { shards: Some(2), strategy: Some(strategy.clone()), ..Options::in_memory() }).await
}

/// What was acknowledged of each stream, and whether one more append is in doubt.
#[derive(Default)]
struct Acknowledged {
    events: BTreeMap<String, u64>,
    in_doubt: Option<String>,
}

fn number(stream: u64, version: u64) -> u64 {
    stream << 32 | version
}

async fn append_next(database: &Database, known: &mut Acknowledged, stream: u64) -> bool {
    let name = format!("s-{stream}");
    let at = known.events.get(&name).copied().unwrap_or(0);
    match append(database, &name, version(at), vec![event(number(stream, at + 1), "E")]).await {
        Ok(_) => {
            known.events.insert(name, at + 1);
            true
        }
        Err(_) => {
            known.in_doubt = Some(name);
            false
        }
    }
}

async fn check(database: &Database, known: &mut Acknowledged) {
    let mut all = 0;
    for stream in 0..STREAMS {
        let name = format!("s-{stream}");
        let acknowledged = known.events.get(&name).copied().unwrap_or(0);
        let found = stream_events(database, &name).await.unwrap_or_default();
        let most = acknowledged + u64::from(known.in_doubt.as_ref() == Some(&name));
        assert!((acknowledged..=most).contains(&(found.len() as u64)), "{name}: {acknowledged} acknowledged, {} found", found.len());
        for (at, (version, found)) in (1..).zip(&found) {
            assert_eq!((*version, *found), (at, id(number(stream, at))), "{name}");
        }
        known.events.insert(name, found.len() as u64);
        all += found.len();
    }
    known.in_doubt = None;
    let read = pages(database, EventsQuery { limit: 100, ..query(After::Start) }).await;
    assert_eq!(read.iter().map(|page| page.events.len()).sum::<usize>(), all);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn l1_power_cut_at_any_call_of_a_hand_over_loses_nothing() {
    check_power_cuts("l1_power_cut_at_any_call_of_a_hand_over_loses_nothing", ring(), [add(), TopologyChange::Drain(0)], (40, 150)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn l1_power_cut_while_a_range_is_handed_over_loses_nothing() {
    let name = "l1_power_cut_while_a_range_is_handed_over_loses_nothing";
    check_power_cuts(name, range("s-2"), [add(), TopologyChange::Drain(1)], (3, 25)).await;
}

fn ring() -> Strategy {
    Strategy::Ring { weights: vec![1, 1] }
}

/// L1: the power goes at each call of the disk while a shard joins and another is drained. What was acknowledged is there, each event
/// once and under its version, and the job goes on by itself.
async fn check_power_cuts(test: &str, strategy: Strategy, changes: [TopologyChange; 2], (step_max, calls_min): (u64, u64)) {
    let begun = SimDisk::new();
    let mut before = Acknowledged::default();
    let database = on(&begun, &strategy).await.unwrap();
    for round in 0..3 * STREAMS {
        assert!(append_next(&database, &mut before, round % STREAMS).await);
    }
    database.close().await.unwrap();
    drop(database);
    let begun = begun.restart();
    // Every call takes minutes; without a flag, some of them do.
    let is_soak = std::env::var_os("CUTS").is_some();
    let mut random = Random::new(test);
    let (mut at, mut survived) = (1, 0);
    loop {
        let disk = begun.fork();
        let database = on(&disk, &strategy).await.unwrap();
        let mut known = Acknowledged { events: before.events.clone(), in_doubt: None };
        disk.power_off_at(at);
        let job = database.change_shards(changes[(at % 2) as usize].clone()).await;
        let mut appended = 0;
        while append_next(&database, &mut known, (at + appended) % STREAMS).await {
            appended += 1;
            if appended > 20 && job.as_ref().is_ok_and(|job| database.job(&job.id).is_ok_and(|job| job.state != JobState::Running)) {
                break;
            }
        }
        let is_over = job.as_ref().is_ok_and(|job| database.job(&job.id).is_ok_and(|job| job.state == JobState::Done));
        drop(job);
        // What closing says is about a disk that is gone.
        drop(database.close().await);
        drop(database);
        let cut = [Cut::Random, Cut::LoseAll, Cut::KeepAll][(at % 3) as usize];
        let disk = disk.crash(cut, at);
        let database = on(&disk, &strategy).await.unwrap_or_else(|error| panic!("stopped at call {at}, {cut:?}: {error}"));
        check(&database, &mut known).await;
        for job in database.jobs() {
            // One that had met the failing disk before the power was gone stands still and says so.
            let job = if job.state == JobState::Paused { database.resume_job(&job.id).await.unwrap() } else { job };
            assert_eq!(ended(&database, &job).await.state, JobState::Done);
        }
        for stream in 0..STREAMS {
            assert!(append_next(&database, &mut known, stream).await, "stopped at call {at}, {cut:?}");
        }
        check(&database, &mut known).await;
        database.close().await.unwrap();
        if is_over {
            survived += 1;
            if survived == 3 {
                break;
            }
        }
        at += if is_soak { 1 } else { 1 + random.below(step_max) };
    }
    assert!(at > calls_min, "the job was over after {at} calls");
}

const STREAMS: u64 = 24;

fn options(root: &Path) -> Options {
    Options { storage: storage::Options::small(), ..Options::new(root) }
}

async fn moved(root: &Path) {
    filled(root, ring()).await;
}

async fn filled(root: &Path, strategy: Strategy) {
    let database = Database::open(Options { shards: Some(2), strategy: Some(strategy), ..options(root) }).await.unwrap();
    for number in 1..=60 {
        append(&database, &format!("s-{}", number % 20), ExpectedVersion::Any, vec![event(number, "E")]).await.unwrap();
    }
    database.close().await.unwrap();
}

/// S6: a log that is older than the topology lacks what others rely on, and is not served; the others are.
#[tokio::test]
async fn s6_a_log_that_is_older_than_the_topology_is_not_served() {
    let (place, older) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    moved(place.path()).await;
    copy(place.path(), older.path());
    let database = Database::open(options(place.path())).await.unwrap();
    changed(&database, add()).await;
    database.close().await.unwrap();
    std::fs::remove_dir_all(place.path().join("shards/1")).unwrap();
    copy(&older.path().join("shards/1"), &place.path().join("shards/1"));
    let database = Database::open(options(place.path())).await.unwrap();
    let status = database.status().await.unwrap();
    assert_eq!(status.iter().map(|shard| shard.is_absent).collect::<Vec<_>>(), [false, true, false]);
    let told = status[1].appends.as_ref().unwrap_err().to_string();
    assert!(told.contains("older than the topology"), "{told}");
    database.close().await.unwrap();
}

/// L15: a topology that is older than the logs would lead streams to where their newest events are not.
#[tokio::test]
async fn l15_a_topology_that_is_older_than_the_logs_is_refused() {
    for strategy in [ring(), range("s-2")] {
        let (place, older) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        filled(place.path(), strategy).await;
        copy(place.path(), older.path());
        let database = Database::open(options(place.path())).await.unwrap();
        changed(&database, TopologyChange::Drain(1)).await;
        append(&database, "s-1", ExpectedVersion::Any, vec![event(1_000, "E")]).await.unwrap();
        database.close().await.unwrap();
        let newest = std::fs::read(place.path().join("factum.meta")).unwrap();
        std::fs::copy(older.path().join("factum.meta"), place.path().join("factum.meta")).unwrap();
        let refused = Database::open(options(place.path())).await.err().unwrap().to_string();
        assert!(refused.contains("put back the factum.meta that belongs to these logs"), "{refused}");
        std::fs::write(place.path().join("factum.meta"), newest).unwrap();
        Database::open(options(place.path())).await.unwrap().close().await.unwrap();
    }
}

/// One change at a time; it can rest over a restart, and be given up; what has moved by then stays, and the rest is evened out later.
#[tokio::test]
async fn a_change_rests_over_a_restart_and_can_be_given_up() {
    let directory = tempfile::tempdir().unwrap();
    moved(directory.path()).await;
    let database = Database::open(options(directory.path())).await.unwrap();
    let job = database.change_shards(add()).await.unwrap();
    let second = database.change_shards(TopologyChange::Drain(0)).await.unwrap_err();
    assert!(matches!(&second, Error::TopologyConflict { detail } if detail.contains(&job.id)), "{second:?}");
    let paused = database.pause_job(&job.id).await.unwrap();
    assert!(paused.state == JobState::Paused && paused.done < paused.total, "{paused:?}");
    database.close().await.unwrap();
    let database = Database::open(options(directory.path())).await.unwrap();
    let found = database.job(&job.id).unwrap();
    assert_eq!((found.state, found.done, found.total), (JobState::Paused, paused.done, paused.total));
    assert_eq!(database.cancel_job(&job.id).await.unwrap().state, JobState::Cancelled);
    let gone = database.resume_job(&job.id).await.unwrap_err();
    assert!(matches!(gone, Error::TopologyConflict { .. }), "{gone:?}");
    let plan = database.plan_shards(TopologyChange::Rebalance).await.unwrap();
    assert_eq!(plan.slots, paused.total - paused.done);
    assert_eq!(changed(&database, TopologyChange::Rebalance).await.done, plan.slots);
    assert_eq!(database.plan_shards(TopologyChange::Rebalance).await.unwrap().slots, 0);
    for change in [TopologyChange::Drain(7), TopologyChange::Add(NewShard { weight: Some(0), ..NewShard::default() })] {
        assert!(matches!(database.change_shards(change).await.unwrap_err(), Error::NoSuchPart { .. } | Error::Invalid { .. }));
    }
    for shard in [0, 1] {
        changed(&database, TopologyChange::Drain(shard)).await;
    }
    let last = database.change_shards(TopologyChange::Drain(2)).await.unwrap_err();
    assert!(matches!(&last, Error::TopologyConflict { detail } if detail.contains("last one")), "{last:?}");
    for number in 0..20 {
        assert_eq!(stream_events(&database, &format!("s-{number}")).await.unwrap().len(), 3);
    }
    database.close().await.unwrap();
}

/// Conditions hold over what was appended before a hand-over, in the log that has it.
#[tokio::test]
async fn a_condition_sees_what_another_shard_has_kept() {
    let directory = tempfile::tempdir().unwrap();
    moved(directory.path()).await;
    let database = Database::open(options(directory.path())).await.unwrap();
    let before = database.end();
    append(&database, "s-1", ExpectedVersion::Any, vec![crate::fixture::tagged(500, "Booked", &["seat:1"])]).await.unwrap();
    let after = database.end();
    let home = database.shard_of("s-1");
    changed(&database, TopologyChange::Drain(home)).await;
    assert_ne!(database.shard_of("s-1"), home);
    let asked = |cursor: &factum::database::Cursor, number| factum::database::TransactionRequest {
        appends: vec![crate::fixture::to("s-1", ExpectedVersion::Any, vec![event(number, "E")])],
        conditions: vec![factum::database::ConditionRequest {
            query: vec![factum::database::QueryItem { types: Vec::new(), tags: vec!["seat:1".into()] }],
            after: After::Cursor(database.parse_cursor(&cursor.to_string()).unwrap()),
        }],
    };
    let refused = database.transact(asked(&before, 600)).await.unwrap_err();
    assert!(matches!(&refused, Error::Storage(storage::Error::Conflict(_))), "{refused:?}");
    database.transact(asked(&after, 601)).await.unwrap();
    database.close().await.unwrap();
}

/// R6: slots are not handed to a shard that takes no appends, and a job that meets one says so and can be given up.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r6_nothing_is_handed_to_a_shard_that_takes_no_appends() {
    let disk = SimDisk::new();
    let database = on(&disk, &ring()).await.unwrap();
    let mut known = Acknowledged::default();
    for stream in 0..STREAMS {
        assert!(append_next(&database, &mut known, stream).await);
    }
    disk.add_rule(Rule::next(Call::Sync, Fault::Eio).on("shards/1/log").for_ever());
    let poisoned = (0..STREAMS).find(|stream| database.shard_of(&format!("s-{stream}")) == 1).unwrap();
    assert!(!append_next(&database, &mut known, poisoned).await);
    known.in_doubt = None;
    let job = database.change_shards(TopologyChange::Drain(0)).await.unwrap();
    let mut changes = database.job_changes();
    while database.job(&job.id).unwrap().state == JobState::Running {
        changes.changed().await.unwrap();
    }
    let failed = database.job(&job.id).unwrap();
    assert!(failed.state == JobState::Failed && failed.done == 0 && failed.error.is_some(), "{failed:?}");
    let told = database.overview().await.unwrap().troubles;
    assert!(told.iter().any(|trouble| trouble.part == "job" && trouble.todo.contains(&job.id)), "{told:?}");
    let served = (0..STREAMS).find(|stream| database.shard_of(&format!("s-{stream}")) == 0).unwrap();
    assert!(append_next(&database, &mut known, served).await, "it serves on where it is");
    assert_eq!(database.cancel_job(&job.id).await.unwrap().state, JobState::Cancelled);
    drop(database.close().await);
}

/// R6: what a shard has deleted that is missing now is not given by those that had the stream before.
#[tokio::test]
async fn r6_what_a_missing_shard_has_deleted_stays_hidden() {
    let directory = tempfile::tempdir().unwrap();
    moved(directory.path()).await;
    let database = Database::open(options(directory.path())).await.unwrap();
    changed(&database, add()).await;
    let (before, event) = (database.shard_of("s-1"), id(1));
    changed(&database, TopologyChange::Drain(before)).await;
    let owner = database.shard_of("s-1");
    database.delete_stream(crate::fixture::name("s-1"), false).await.unwrap();
    assert!(matches!(database.event_by_id(event).await, Err(Error::EventNotFound { .. })));
    database.close().await.unwrap();
    let (there, aside) = (directory.path().join(format!("shards/{owner}")), directory.path().join("aside"));
    std::fs::rename(&there, &aside).unwrap();
    let database = Database::open(options(directory.path())).await.unwrap();
    // Of what has moved only the missing shard knows what is hidden: whoever takes a part gets nothing of it.
    let left_out = LeftOut::default();
    let part = database.leaving_out(&left_out);
    let (page, listed) = (
        part.read_events(query(After::Start)).await.unwrap(),
        part.streams(StreamsQuery { limit: 1_000, ..StreamsQuery::default() }).await,
    );
    let (streams, listed): (Vec<&str>, _) = (page.events.iter().map(|event| event.record.stream()).collect(), listed.unwrap());
    assert!(page.at_end && !streams.is_empty() && !streams.contains(&"s-1"), "{streams:?}");
    assert!(!listed.is_empty() && listed.iter().all(|(_, info)| database.shard_of(info.stream.as_str()) != owner));
    assert_eq!(left_out.shards(), [owner]);
    let answer = database.event_by_id(event).await;
    assert!(matches!(&answer, Err(Error::ShardFailed { shard, .. }) if *shard == owner), "{answer:?}");
    database.close().await.unwrap();
    std::fs::rename(&aside, &there).unwrap();
    let database = Database::open(options(directory.path())).await.unwrap();
    assert!(matches!(database.event_by_id(event).await, Err(Error::EventNotFound { .. })));
    database.close().await.unwrap();
}
