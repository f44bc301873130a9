//! Do exports, SQL and projections have each event once, wherever its stream went?

use std::path::Path;
use std::time::Duration;

use arrow::array::AsArray;
use arrow::datatypes::Int64Type;
use factum::Database;
use factum::database::ExpectedVersion;
use factum::database::Format;
use factum::database::Kind;
use factum::database::Options;
use factum::database::SqlQuery;
use factum::database::TopologyChange;
use factum::database::Value;
use factum::database::ViewQuery;
use factum_storage as storage;
use futures::TryStreamExt;

use crate::fixture::append;
use crate::fixture::event;
use crate::fixture::name;
use crate::moving_shards::add;
use crate::moving_shards::changed;

const TOTALS: &str = r#"
[columns]
name = "text primary key"
events = "bigint default 0"

[on.E]
key = "$.stream"
add = { events = 1 }
"#;
const STREAMS: u64 = 60;

async fn open(root: &Path) -> Database {
    Database::open(Options { shards: Some(1), storage: storage::Options::small(), ..Options::new(root) }).await.unwrap()
}

/// One event to each stream.
async fn round(database: &Database, round: u64) {
    for stream in 0..STREAMS {
        let event = event(round << 32 | stream, "E");
        append(database, &format!("item-{stream}"), ExpectedVersion::Any, vec![event]).await.unwrap();
    }
}

async fn number(database: &Database, text: &str) -> i64 {
    let answer = database.sql(SqlQuery { text: text.to_owned(), ..SqlQuery::default() }).await.unwrap();
    let batches: Vec<_> = answer.try_collect().await.unwrap();
    batches[0].column(0).as_primitive::<Int64Type>().value(0)
}

/// How many events each stream has, as all who read say it; the last one's first `hidden` are deleted.
async fn check(database: &Database, rounds: i64, hidden: i64) {
    let all = rounds * i64::from(STREAMS as u16) - hidden;
    assert_eq!(number(database, "select count(*) from events").await, all);
    assert_eq!(number(database, "select count(distinct id) from item").await, all);
    assert_eq!(number(database, "select sum(version) from item where stream = 'item-7'").await, rounds * (rounds + 1) / 2);
    assert_eq!(number(database, "select count(*) from events where stream = 'item-59'").await, rounds - hidden);
    let (is_done, status) = database.flush_export("lake", Duration::from_secs(60)).await.unwrap();
    assert!(is_done && status.lag_events == 0 && status.error.is_none(), "{status:?}");
    // Now from the files, and what is hidden by the log.
    assert_eq!(number(database, "select count(*) from item").await, all);
    assert_eq!(
        number(database, "select count(distinct id) from exports.lake").await,
        number(database, "select count(*) from exports.lake").await
    );
    let end = database.end();
    let page = database.query_view("totals", ViewQuery { limit: 1_000, ..ViewQuery::default() }, Some(&end), Duration::from_secs(60));
    let rows = page.await.unwrap().rows;
    assert_eq!(rows.len() as u64, STREAMS);
    assert!(rows.iter().all(|row| row.values[1] == Value::Integer(rounds)), "{rows:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p6_exports_sql_and_projections_have_each_event_once_wherever_its_stream_went() {
    let directory = tempfile::tempdir().unwrap();
    let database = open(directory.path()).await;
    database.define(Kind::Export, "lake", Format::Json, "{}", false).await.unwrap();
    database.define(Kind::Projection, "totals", Format::Toml, TOTALS, false).await.unwrap();
    round(&database, 1).await;
    check(&database, 1, 0).await;
    // From one shard, whose cursors are numbers, to two; while they run, and over a restart.
    changed(&database, add()).await;
    round(&database, 2).await;
    check(&database, 2, 0).await;
    database.close().await.unwrap();
    drop(database);
    let database = open(directory.path()).await;
    check(&database, 2, 0).await;
    changed(&database, add()).await;
    changed(&database, TopologyChange::Drain(0)).await;
    round(&database, 3).await;
    check(&database, 3, 0).await;
    database.delete_stream(name("item-59"), false).await.unwrap();
    round(&database, 4).await;
    check(&database, 4, 3).await;
    changed(&database, TopologyChange::Drain(1)).await;
    round(&database, 5).await;
    check(&database, 5, 3).await;
    database.close().await.unwrap();
    drop(database);
    let database = open(directory.path()).await;
    check(&database, 5, 3).await;
    database.close().await.unwrap();
}
