//! Do queries say the same whether events are read from files, from the log, or from both?

use std::time::Duration;

use factum::Database;
use factum::Error;
use factum::database::Format;
use factum::database::Kind;
use factum::database::Options;
use factum::database::Retention;
use factum::database::SqlQuery;
use factum::database::StreamName;
use factum::database::VisibleStreams;
use futures::StreamExt;
use serde_json::json;

use crate::fixture::*;

async fn open(folder: &tempfile::TempDir, shards: u16) -> Database {
    Database::open(Options { shards: Some(shards), ..Options::new(folder.path()) }).await.unwrap()
}

async fn export(database: &Database, name: &str, document: serde_json::Value) {
    database.define(Kind::Export, name, Format::Json, &document.to_string(), false).await.unwrap();
}

async fn flush(database: &Database, name: &str) {
    let (is_done, status) = database.flush_export(name, Duration::from_secs(60)).await.unwrap();
    assert!(is_done, "{status:?}");
}

async fn plan(database: &Database, text: &str) -> String {
    rows_of(database, &format!("explain {text}")).await.concat().join("\n")
}

/// Questions of all kinds about one event; in each the order of the rows is given.
fn questions(sample: &[String]) -> Vec<String> {
    let [position, recorded_at, stream, event_type, role] = sample else { panic!("{sample:?}") };
    vec![
        "select count(*), count(distinct id), count(distinct stream), min(position), max(position) from events".to_owned(),
        "select type, count(*), sum(version) from events group by type order by type".to_owned(),
        "select type, count(*), round(sum(amount), 2), count(role), max(role) from declaration group by type order by type".to_owned(),
        format!(
            "select shard, position, id, stream, version, type, tags, data, metadata, occurred_at, recorded_at, category, schema_version \
                 from events where position < {position} order by shard, position, id"
        ),
        format!("select * from declaration where recorded_at >= '{recorded_at}' order by shard, position"),
        format!("select count(*), round(sum(amount), 2) from declaration where type = '{event_type}' and amount > 100"),
        format!("select count(*) from declaration where role = '{role}' and not array_has(tags, 'v:2')"),
        format!("select count(*), max(version) from declaration where array_has(tags, 'v:2') or type = '{event_type}'"),
        format!("select count(*) from events where stream like '{}%'", &stream[..14]),
        format!("select count(*) from events where stream = '{stream}'"),
        format!("select count(*) from events where stream <> '{stream}' and id <> '0' and category = 'declaration'"),
        "select count(*) from events where category in ('other', 'nothing')".to_owned(),
        "select count(*), count(n) from other".to_owned(),
        "select position from events order by position desc limit 9".to_owned(),
        "select recorded_at from events where type = 'Placed' order by recorded_at limit 3".to_owned(),
        "select count(*) from (select stream, version from events group by stream, version having count(*) > 1)".to_owned(),
        "select count(*) from (select position from declaration limit 777)".to_owned(),
        "select e.type, count(*) from events e join declaration d on e.id = d.id group by e.type order by 1".to_owned(),
    ]
}

/// Without the cells that say when something was recorded: those of the real data say when it occurred.
fn without_times(rows: Rows) -> Rows {
    let is_time = |cell: &String| {
        cell.len() >= 20 && cell.starts_with("20") && cell.ends_with('Z') && !cell.starts_with("2017") && !cell.starts_with("2018")
    };
    rows.into_iter().map(|row| row.into_iter().filter(|cell| !is_time(cell)).collect()).collect()
}

/// The answers with and without files must be the same, at every stage of a growing log.
async fn files_and_log_say_the_same(shards: u16, layout: serde_json::Value) {
    let mut random = Random::seeded(0x5EED_0003 + u64::from(shards));
    let folder = tempfile::tempdir().unwrap();
    let with = open(&folder, shards).await;
    let plain = memory(shards).await;
    let facts = facts(4_000);
    // Both have one definition, so that positions are the same.
    plain.define(Kind::Schema, "Nothing/1", Format::Json, r#"{"schema": {}}"#, false).await.unwrap();
    export(&with, "lake", json!({"partition_by": layout, "flush_seconds": 3600, "target_file_bytes": 65536})).await;
    let name = |stream: &str| StreamName::new(stream).unwrap();
    let streams: Vec<&str> = facts.iter().map(|fact| fact.stream.as_str()).take(400).collect();
    let mut has_read_files = 0;
    for (stage, part) in facts.chunks(1_000).enumerate() {
        for database in [&with, &plain] {
            record(database, part).await;
            let number = 1_000 * stage as u64;
            let data = if stage == 2 { r#"{"n": "text now"}"# } else { r#"{"n": 7}"# };
            append(database, "other-1", (0..100).map(|n| event(number + n, "Placed", data)).collect()).await;
        }
        if stage < 3 {
            flush(&with, "lake").await;
        }
        if stage == 2 {
            // What was published is hidden afterwards.
            for database in [&with, &plain] {
                database.delete_stream(name(streams[0]), false).await.unwrap();
                database.delete_stream(name(streams[200]), true).await.unwrap();
                database.set_retention(name(streams[300]), Retention { max_count: Some(1), ..Retention::default() }).await.unwrap();
                append(database, streams[0], vec![event(77_777, "Again", r#"{"amount": 1}"#)]).await;
            }
        }
        // Times differ between the two databases; everything else is the same.
        let of_all = "select position, recorded_at, stream, type, coalesce(role, 'none') from declaration order by shard, position";
        let (samples, others) = (rows_of(&with, of_all).await, rows_of(&plain, of_all).await);
        assert_eq!(samples.len(), others.len());
        // Where clocks did not move between two appends, the time of one is not between the same events in both.
        let since = |rows: &Rows, place: usize| rows.iter().map(|row| row[1] >= rows[place][1]).collect::<Vec<_>>();
        let places = (0..100).map(|_| random.below(samples.len()));
        let place = places.into_iter().find(|place| since(&samples, *place) == since(&others, *place)).expect("clocks move");
        for (text, other) in questions(&samples[place]).into_iter().zip(questions(&others[place])) {
            let (found, expected) = (rows_of(&with, &text).await, rows_of(&plain, &other).await);
            assert_eq!(without_times(found), without_times(expected), "stage {stage}: {text}");
            has_read_files += usize::from(plan(&with, &text).await.contains("HotCold"));
        }
    }
    assert!(has_read_files > 20, "files were read {has_read_files} times");
    with.close().await.unwrap();
}

#[tokio::test]
async fn files_by_category_and_date_and_the_log_say_the_same() {
    files_and_log_say_the_same(1, json!(["category", "date"])).await;
}

#[tokio::test]
async fn files_without_folders_and_the_logs_of_three_shards_say_the_same() {
    files_and_log_say_the_same(3, json!([])).await;
}

/// Asks both some questions about an event, which the first knows as one sample and the second as the other; how often files were read.
async fn some_say_the_same(
    random: &mut Random,
    (with, plain): (&Database, &Database),
    (sample, other): (&[String], &[String]),
    done: &[String],
) -> usize {
    let mut has_read_files = 0;
    for (text, other) in questions(sample).into_iter().zip(questions(other)) {
        // Times are not the same in both, and there are no others.
        if random.below(4) > 0 || text.contains("recorded_at >=") || text.contains("other") {
            continue;
        }
        let (found, expected) = (rows_of(with, &text).await, rows_of(plain, &other).await);
        assert_eq!(without_times(found), without_times(expected), "{text} after {done:?}");
        has_read_files += usize::from(plan(with, &text).await.contains("HotCold"));
    }
    has_read_files
}

/// What can be done to streams, in any order, while files are published and merged and the store is opened anew: the answers are those
/// of a store without files to which the same was done.
async fn any_life_says_the_same(seed: u64) {
    let mut random = Random::seeded(seed);
    let folder = tempfile::tempdir().unwrap();
    let mut with = open(&folder, 2).await;
    let plain = memory(2).await;
    plain.define(Kind::Schema, "Nothing/1", Format::Json, r#"{"schema": {}}"#, false).await.unwrap();
    export(&with, "lake", json!({"partition_by": ["category"], "flush_seconds": 3600, "target_file_bytes": 65536})).await;
    let facts = facts(3_000);
    let mut left = &facts[..];
    let mut streams: Vec<&str> = Vec::new();
    let mut gone: Vec<&str> = Vec::new();
    let mut has_read_files = 0;
    let mut done = Vec::new();
    for number in 0..50 {
        let name = |stream: &str| StreamName::new(stream).unwrap();
        let stream = streams.get(random.below(streams.len().max(1))).copied();
        match (random.below(12), stream) {
            (0..=3, _) | (_, None) => {
                let part;
                (part, left) = left.split_at(random.below(150).min(left.len()));
                let part: Vec<Fact> = part.iter().filter(|fact| !gone.contains(&fact.stream.as_str())).cloned().collect();
                record(&with, &part).await;
                record(&plain, &part).await;
                let named = facts.iter().map(|fact| fact.stream.as_str()).filter(|name| part.iter().any(|fact| fact.stream == *name));
                streams.extend(named.take(20));
                done.push(format!("{} appended", part.len()));
            }
            (4 | 5, _) => {
                flush(&with, "lake").await;
                done.push("published".to_owned());
            }
            (6, Some(stream)) if !gone.contains(&stream) => {
                // One that is deleted already is not there.
                let deleted = with.delete_stream(name(stream), false).await.is_ok();
                assert_eq!(deleted, plain.delete_stream(name(stream), false).await.is_ok());
                done.push(format!("{stream} deleted"));
            }
            (7, Some(stream)) if !gone.contains(&stream) => {
                // One that is deleted already is not there.
                let deleted = with.delete_stream(name(stream), true).await.is_ok();
                assert_eq!(deleted, plain.delete_stream(name(stream), true).await.is_ok());
                gone.push(stream);
                done.push(format!("{stream} deleted for good"));
            }
            (8..=10, Some(stream)) if !gone.contains(&stream) => {
                let max_count = [None, Some(1), Some(2), Some(100)][random.below(4)];
                let retention = Retention { max_count, ..Retention::default() };
                let kept = with.set_retention(name(stream), retention).await.is_ok();
                assert_eq!(kept, plain.set_retention(name(stream), retention).await.is_ok());
                done.push(format!("{stream} keeps {max_count:?}"));
            }
            _ => {
                with.close().await.unwrap();
                with = open(&folder, 2).await;
                done.push("opened anew".to_owned());
            }
        }
        let of_all = "select position, recorded_at, stream, type, 'none' from events order by shard, position";
        let (samples, others) = (rows_of(&with, of_all).await, rows_of(&plain, of_all).await);
        let places = |rows: &Rows| rows.iter().map(|row| (row[0].clone(), row[2].clone())).collect::<Vec<_>>();
        assert_eq!(places(&samples), places(&others), "step {number} after {done:?}");
        // Questions about amounts and roles have an answer once there is one.
        if !samples.is_empty() && number >= 10 {
            let place = random.below(samples.len());
            has_read_files += some_say_the_same(&mut random, (&with, &plain), (&samples[place], &others[place]), &done).await;
        }
    }
    assert!(has_read_files > 10, "files were read {has_read_files} times");
    with.close().await.unwrap();
}

#[tokio::test]
async fn any_life_of_streams_says_the_same_with_and_without_files() {
    match std::env::var("SEED") {
        Ok(_) => Box::pin(any_life_says_the_same(0)).await,
        Err(_) => {
            for seed in 0..2 {
                Box::pin(any_life_says_the_same(0x5EED_0100 + seed)).await;
            }
        }
    }
}

#[tokio::test]
async fn each_event_is_there_once_while_files_are_published_and_merged() {
    let folder = tempfile::tempdir().unwrap();
    let database = open(&folder, 1).await;
    export(&database, "lake", json!({"flush_seconds": 1, "target_file_bytes": 65536})).await;
    let write = |database: Database, n: u64| async move {
        let events = (0..20).map(|m| event(n * 100 + m, "Placed", &format!(r#"{{"n": {m}}}"#))).collect();
        append(&database, &format!("order-{}", n % 7), events).await;
    };
    // There is no table before there is an event.
    write(database.clone(), 0).await;
    let writer = {
        let database = database.clone();
        tokio::spawn(async move {
            for n in 1..400_u64 {
                write(database.clone(), n).await;
                if n % 40 == 39 {
                    flush(&database, "lake").await;
                }
            }
        })
    };
    let mut last = 0_u64;
    let mut has_read_files = false;
    while last < 8_000 {
        let counted = rows_of(&database, "select count(*), count(distinct id), sum(n), max(position) from \"order\"").await;
        let number = |at: usize| counted[0][at].parse::<u64>().unwrap_or(0);
        // `$definitions` has an event of its own at the beginning of the log.
        assert_eq!((number(0), number(1)), (number(1), number(3).saturating_sub(1)), "{counted:?}");
        assert!(number(0) >= last);
        last = number(0);
        has_read_files |= plan(&database, "select count(*), sum(n) from \"order\"").await.contains("HotCold");
    }
    writer.await.unwrap();
    assert!(has_read_files);
    let files = value_of(&database, "select count(*) from exports.lake").await;
    assert_eq!(files, "8000");
    database.close().await.unwrap();
}

#[tokio::test]
async fn files_that_say_something_else_are_not_read() {
    let folder = tempfile::tempdir().unwrap();
    let database = open(&folder, 1).await;
    append(&database, "order-1", (0..1_000).map(|n| event(n, "Paid", r#"{"amount": 1, "x": 1}"#)).collect()).await;
    export(&database, "lake", json!({"flush_seconds": 3600})).await;
    flush(&database, "lake").await;
    let text = "select sum(amount) from \"order\"";
    assert!(plan(&database, text).await.contains("HotCold"));
    // A wider number is the same number.
    append(&database, "order-2", vec![event(5_000, "Paid", r#"{"amount": 0.5, "x": 1.5}"#)]).await;
    assert!(plan(&database, text).await.contains("HotCold"));
    assert_eq!(value_of(&database, text).await, "1000.5");
    flush(&database, "lake").await;
    // A text of a number that was a fraction is not.
    append(&database, "order-2", vec![event(5_001, "Paid", r#"{"x": "text"}"#)]).await;
    assert!(plan(&database, text).await.contains("HotCold"));
    assert!(!plan(&database, "select max(x) from \"order\"").await.contains("HotCold"));
    assert_eq!(
        rows_of(&database, "select x, count(*) from \"order\" group by x order by x").await,
        [["1", "1000"], ["1.5", "1"], ["text", "1"]]
    );
    // Other shapes.
    for version in [1, 2] {
        let mut schema = json!({"schema": {}});
        if version == 2 {
            schema["upcast"] = json!("(data) => ({ ...data, amount: data.amount * 2 })");
        }
        database.define(Kind::Schema, &format!("Paid/{version}"), Format::Json, &schema.to_string(), false).await.unwrap();
    }
    assert!(!plan(&database, text).await.contains("HotCold"));
    assert_eq!(value_of(&database, text).await, "2001");
    database.close().await.unwrap();
}

#[tokio::test]
async fn a_lake_that_is_gone_or_damaged_is_told_and_then_passed_by() {
    for damage in ["gone", "cut", "flipped"] {
        let folder = tempfile::tempdir().unwrap();
        let database = open(&folder, 1).await;
        append(&database, "order-1", (0..2_000).map(|n| event(n, "Paid", &format!(r#"{{"amount": {n}}}"#))).collect()).await;
        export(&database, "lake", json!({"flush_seconds": 3600})).await;
        flush(&database, "lake").await;
        let text = "select count(*), sum(amount) from \"order\"";
        let path = database.export("lake").unwrap().files[0].url.strip_prefix("file://").unwrap().to_owned();
        let file = std::fs::read(&path).unwrap();
        match damage {
            "gone" => std::fs::remove_file(&path).unwrap(),
            "cut" => std::fs::write(&path, &file[..file.len() / 2]).unwrap(),
            _ => std::fs::write(&path, file.iter().map(|byte| byte ^ 0x55).collect::<Vec<u8>>()).unwrap(),
        }
        match query(&database, text).await {
            Err(Error::LakeUnavailable { .. }) => {}
            other => panic!("{damage}: {other:?}"),
        }
        assert_eq!(rows_of(&database, text).await, [["2000", "1999000"]], "{damage}");
        append(&database, "order-1", vec![event(9_999, "Paid", r#"{"amount": 1}"#)]).await;
        assert_eq!(rows_of(&database, text).await, [["2001", "1999001"]], "{damage}");
        database.close().await.unwrap();
    }
}

#[tokio::test]
async fn an_export_is_a_table_of_what_it_has_published() {
    let folder = tempfile::tempdir().unwrap();
    let database = open(&folder, 1).await;
    append(&database, "order-1", (0..100).map(|n| event(n, "Paid", r#"{"amount": 1}"#)).collect()).await;
    append(&database, "invoice-1", (100..150).map(|n| event(n, "Sent", r#"{"due": "x"}"#)).collect()).await;
    export(&database, "all", json!({"flush_seconds": 3600})).await;
    export(&database, "orders", json!({"flush_seconds": 3600, "filter": {"categories": ["order"]}, "partition_by": []})).await;
    flush(&database, "all").await;
    flush(&database, "orders").await;
    append(&database, "order-1", vec![event(200, "Paid", r#"{"amount": 1}"#)]).await;
    assert_eq!(
        rows_of(&database, "select category, count(*), sum(amount), max(due) from exports.\"all\" group by 1 order by 1").await,
        [["invoice", "50", "∅", "x"], ["order", "100", "100", "∅"]]
    );
    assert_eq!(value_of(&database, "select count(*) from orders").await, "100");
    let joined = "select count(*) from exports.orders o join events e on o.id = e.id where o.type = 'Paid' and o.position <= 50";
    assert_eq!(value_of(&database, joined).await, "50");
    assert_eq!(value_of(&database, "select count(*) from exports.orders where id like '%-%' and stream = 'order-1'").await, "100");
    assert_eq!(value_of(&database, "select count(*) from \"order\"").await, "101");
    assert!(
        database
            .tables()
            .await
            .unwrap()
            .iter()
            .any(|table| table.name == "orders" && table.columns.iter().any(|column| column.name == "amount"))
    );
    database.close().await.unwrap();
}

/// A3: who sees some streams alone sees them whole, and no others, whether or not files hold them too.
#[tokio::test]
async fn a3_who_sees_some_streams_sees_the_same_with_and_without_files() {
    let folder = tempfile::tempdir().unwrap();
    let database = open(&folder, 2).await;
    append(&database, "other-1", vec![event(1, "Placed", "{}")]).await;
    let facts = facts(4_000);
    let (before, behind) = facts.split_at(3_000);
    record(&database, before).await;
    export(&database, "lake", json!({})).await;
    flush(&database, "lake").await;
    record(&database, behind).await;
    assert!(plan(&database, "select count(*) from events").await.contains("HotCold"));
    let all = rows_of(&database, "select stream, version from events order by stream, version").await;
    let name = all[all.len() / 2][0].as_str();
    let beginning = &name[..name.len() - 2];
    for shown in [vec![(name, true)], vec![(beginning, false)], vec![(beginning, false), ("other-1", true)], vec![]] {
        let is_shown =
            |stream: &str| shown.iter().any(|(text, is_whole)| if *is_whole { stream == *text } else { stream.starts_with(*text) });
        let only = VisibleStreams::new(shown.iter().copied());
        let text = "select stream, version from events order by stream, version".to_owned();
        let answer = database.sql(SqlQuery { text, only: Some(only), ..SqlQuery::default() }).await.unwrap();
        let batches: Vec<_> = answer.collect().await;
        let seen: Rows = batches.iter().flat_map(|batch| rows(batch.as_ref().unwrap())).collect();
        let expected: Rows = all.iter().filter(|row| is_shown(&row[0])).cloned().collect();
        assert_eq!(seen, expected, "{shown:?}");
    }
}
