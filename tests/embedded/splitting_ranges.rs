//! Does a database of `range` split what has too much, by itself, and nothing else?

use std::path::Path;
use std::time::Duration;

use factum::Database;
use factum::database::ExpectedVersion;
use factum::database::Job;
use factum::database::JobState;
use factum::database::Options;
use factum::database::Severity;
use factum::database::Splitting;
use factum::database::Strategy;
use factum::database::TopologyChange;

use crate::fixture::append;
use crate::fixture::event;
use crate::fixture::everything;
use crate::fixture::fill;
use crate::fixture::log;
use crate::fixture::stream_events;
use crate::moving_shards::options;
use crate::moving_shards::range;

const NEVER: Splitting =
    Splitting { above_events: None, above_appends_per_second: None, shards_max: 16, check_every: Duration::from_millis(2) };

async fn open(root: &Path, splitting: Splitting) -> Database {
    Database::open(Options { splitting, ..options(root, None, Some(range("m"))) }).await.unwrap()
}

/// Waits until it has looked so many times more.
async fn looked(database: &Database, times: u64) {
    let mut checks = database.split_checks();
    let goal = *checks.borrow_and_update() + times;
    tokio::time::timeout(WAIT, checks.wait_for(|checks| *checks >= goal)).await.unwrap().unwrap();
}

/// Waits until jobs are as they should be.
async fn jobs(database: &Database, is_right: impl Fn(&[Job]) -> bool) -> Vec<Job> {
    let mut changes = database.job_changes();
    let right = async {
        loop {
            let jobs = database.jobs();
            if is_right(&jobs) {
                return jobs;
            }
            changes.changed().await.unwrap();
        }
    };
    tokio::time::timeout(WAIT, right).await.unwrap()
}

#[tokio::test]
async fn a_range_that_has_too_many_events_is_split_until_none_has() {
    let directory = tempfile::tempdir().unwrap();
    let database = open(directory.path(), NEVER).await;
    for stream in 0..16 {
        fill(&database, &format!("o-{stream:02}"), stream * 100..stream * 100 + 10).await;
    }
    fill(&database, "a-1", 10_000..10_010).await;
    database.close().await.unwrap();
    // 160 events of the upper range, of which no part may have more than 40.
    let database = open(directory.path(), Splitting { above_events: Some(40), ..NEVER }).await;
    let done = jobs(&database, |jobs| jobs.len() >= 3 && jobs.iter().all(Job::has_ended)).await;
    looked(&database, 2).await;
    assert_eq!((database.jobs().len(), done.len()), (3, 3));
    assert!(done.iter().all(|job| job.state == JobState::Done && job.why.as_ref().unwrap().contains("more than 40")), "{done:?}");
    assert_eq!(database.splits(), ["m", "o-04", "o-08", "o-12"]);
    for stream in 0..16 {
        assert_eq!(stream_events(&database, &format!("o-{stream:02}")).await.unwrap().len(), 10);
    }
    let told = log(&database, everything()).await;
    let whys = told
        .iter()
        .filter(|(_, event)| event.stream() == "$topology" && String::from_utf8_lossy(event.data()).contains("\"why\":\"a range"));
    assert!(whys.count() >= 3);
    assert_eq!(database.overview().await.unwrap().troubles, []);
    database.close().await.unwrap();
}

#[tokio::test]
async fn a_range_that_is_appended_to_too_fast_is_split_by_what_is_new() {
    let directory = tempfile::tempdir().unwrap();
    let database = open(directory.path(), NEVER).await;
    // Old events, by which it would be split elsewhere.
    fill(&database, "a-1", 0..50).await;
    fill(&database, "b-1", 100..150).await;
    database.close().await.unwrap();
    let splitting = Splitting { above_appends_per_second: Some(1), check_every: Duration::from_millis(20), shards_max: 3, ..NEVER };
    let database = open(directory.path(), splitting).await;
    let mut number = 1_000;
    while database.jobs().is_empty() {
        fill(&database, &format!("h-{}", number % 10), [number]).await;
        number += 1;
        assert!(number < 1_000_000);
    }
    let job = jobs(&database, |jobs| jobs.iter().all(Job::has_ended)).await.remove(0);
    assert!(job.why.as_ref().unwrap().contains("events a second, more than 1"), "{job:?}");
    assert!(database.splits()[0].starts_with("h-"), "{:?}", database.splits());
    database.close().await.unwrap();
}

#[tokio::test]
async fn a_range_of_one_key_is_left_alone_and_told() {
    let directory = tempfile::tempdir().unwrap();
    let database = open(directory.path(), Splitting { above_events: Some(10), shards_max: 3, ..NEVER }).await;
    fill(&database, "order-{one}-1", 0..15).await;
    fill(&database, "order-{one}-2", 100..115).await;
    looked(&database, 2).await;
    assert_eq!(database.jobs(), []);
    let told = database.overview().await.unwrap().troubles;
    assert_eq!((told.len(), told[0].severity, told[0].part, told[0].name.as_str()), (1, Severity::Warning, "shard", "1"), "{told:?}");
    assert!(told[0].problem.contains("30 events, more than 10") && told[0].problem.contains("one partition key"), "{told:?}");
    // Once there are more keys it is split, up to the number of shards that there may be; then that is told.
    fill(&database, "p-1", 200..215).await;
    fill(&database, "q-1", 300..315).await;
    jobs(&database, |jobs| jobs.len() == 1 && jobs[0].has_ended()).await;
    looked(&database, 2).await;
    assert_eq!((database.jobs().len(), database.status().await.unwrap().len()), (1, 3));
    let told = database.overview().await.unwrap().troubles;
    assert!(told.iter().any(|trouble| trouble.problem.contains("shards.max_shards")), "{told:?}");
    database.close().await.unwrap();
}

/// One change at a time: what somebody has paused is not overtaken.
#[tokio::test]
async fn nothing_is_split_while_another_change_is_under_way() {
    let directory = tempfile::tempdir().unwrap();
    let splits = ["k", "l", "m"].map(str::to_owned).to_vec();
    let asked = Some(Strategy::Range { splits });
    let database = Database::open(options(directory.path(), None, asked.clone())).await.unwrap();
    for stream in 0..40 {
        append(&database, &format!("a-{stream:02}"), ExpectedVersion::Any, vec![event(stream, "E")]).await.unwrap();
    }
    let job = database.change_shards(TopologyChange::Rebalance).await.unwrap();
    assert_eq!((job.total, database.pause_job(&job.id).await.unwrap().state), (3, JobState::Paused));
    database.close().await.unwrap();
    let splitting = Splitting { above_events: Some(4), ..NEVER };
    let database = Database::open(Options { splitting, ..options(directory.path(), None, asked) }).await.unwrap();
    looked(&database, 3).await;
    assert_eq!(database.jobs().len(), 1);
    database.cancel_job(&job.id).await.unwrap();
    jobs(&database, |jobs| jobs.len() > 1).await;
    database.close().await.unwrap();
}

const WAIT: Duration = Duration::from_secs(60);
