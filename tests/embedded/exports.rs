//! Is what was appended in the files, once, and what is refused refused before anything is written anywhere?

use std::collections::BTreeMap;
use std::path::Path;
use std::path::PathBuf;
use std::time::Duration;

use arrow::array::AsArray;
use arrow::datatypes::Int64Type;
use factum::Database;
use factum::Error;
use factum::database::Change;
use factum::database::ExportState;
use factum::database::ExportStatus;
use factum::database::Format;
use factum::database::Kind;
use factum::database::Options;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use crate::fixture::fill;
use crate::fixture::memory;
use crate::fixture::name;
use crate::fixture::sharded;

async fn define(database: &Database, export: &str, json: &str) -> Result<Change, Error> {
    database.define(Kind::Export, export, Format::Json, json, false).await
}

async fn flush(database: &Database, export: &str) -> ExportStatus {
    let (is_done, status) = database.flush_export(export, Duration::from_secs(60)).await.expect("the lake answers");
    assert!(is_done, "{status:?}");
    status
}

/// The Parquet files below a folder.
fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).into_iter().flatten() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path));
        } else if path.extension().is_some_and(|extension| extension == "parquet") {
            found.push(path);
        }
    }
    found
}

/// How often each version of each stream is in the files below a folder.
fn rows(folder: &Path) -> BTreeMap<(String, i64), usize> {
    let mut found = BTreeMap::new();
    for file in files(folder) {
        let bytes = bytes::Bytes::from(std::fs::read(file).unwrap());
        for batch in ParquetRecordBatchReaderBuilder::try_new(bytes).unwrap().build().unwrap() {
            let batch = batch.unwrap();
            let streams = batch.column_by_name("stream").unwrap().as_string::<i32>();
            let versions = batch.column_by_name("version").unwrap().as_primitive::<Int64Type>();
            for row in 0..batch.num_rows() {
                *found.entry((streams.value(row).to_owned(), versions.value(row))).or_default() += 1;
            }
        }
    }
    found
}

fn assert_each_once(folder: &Path, streams: &[(&str, i64)]) {
    let expected: BTreeMap<(String, i64), usize> =
        streams.iter().flat_map(|(stream, versions)| (1..=*versions).map(|version| (((*stream).to_owned(), version), 1))).collect();
    assert_eq!(rows(folder), expected);
}

/// What is wrong with a definition, and where.
fn refusal(result: Result<Change, Error>) -> (Option<String>, String) {
    match result {
        Err(Error::InvalidDefinition(fault)) => (fault.pointer.clone(), fault.detail.clone()),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_lake_in_the_data_directory_goes_on_after_a_restart() {
    let place = tempfile::tempdir().unwrap();
    let lake = place.path().join("parquet/lake");
    let database = Database::open(Options::new(place.path())).await.unwrap();
    fill(&database, "order-1", 1..=5).await;
    assert_eq!(define(&database, "lake", "{}").await.unwrap(), Change::Created);
    fill(&database, "user-1", 6..=8).await;
    let status = flush(&database, "lake").await;
    assert_eq!((status.state, status.lag_events, status.error), (ExportState::Running, 0, None));
    assert_eq!(status.files.iter().map(|file| file.rows).sum::<u64>(), 8);
    assert!(status.files.iter().all(|file| file.url.starts_with("file:///") && file.url.contains("parquet/lake/category=")));
    assert_each_once(&lake, &[("order-1", 5), ("user-1", 3)]);
    fill(&database, "order-1", 9..=9).await;
    database.close().await.unwrap();
    assert_each_once(&lake, &[("order-1", 5), ("user-1", 3)]);
    drop(database);
    let database = Database::open(Options::new(place.path())).await.unwrap();
    fill(&database, "order-2", 10..=10).await;
    let status = flush(&database, "lake").await;
    assert_eq!((status.checkpoint, status.head.clone()), (status.head, database.end()));
    assert_each_once(&lake, &[("order-1", 6), ("order-2", 1), ("user-1", 3)]);
    database.close().await.unwrap();
}

#[tokio::test]
async fn several_shards_are_one_lake() {
    let place = tempfile::tempdir().unwrap();
    let options = Options { shards: Some(3), ..Options::new(place.path()) };
    let database = Database::open(options).await.unwrap();
    define(&database, "lake", r#"{"partition_by": ["category"]}"#).await.unwrap();
    let streams: Vec<(String, i64)> = (1..=12).map(|number| (format!("order-{number}"), number % 4 + 1)).collect();
    let mut number = 0;
    for (stream, versions) in &streams {
        let from = number + 1;
        number += versions.unsigned_abs();
        fill(&database, stream, from..=number).await;
        if number % 2 == 0 {
            flush(&database, "lake").await;
        }
    }
    flush(&database, "lake").await;
    let streams: Vec<(&str, i64)> = streams.iter().map(|(stream, versions)| (stream.as_str(), *versions)).collect();
    assert_each_once(&place.path().join("parquet/lake"), &streams);
    database.close().await.unwrap();
}

#[tokio::test]
async fn a_lake_lies_where_it_is_allowed_and_nowhere_else() {
    let (place, outside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let outside_url = format!("file://{}", outside.path().display());
    let open = |allow: Vec<String>| Database::open(Options { export_allow: allow, ..Options::new(place.path()) });
    let database = open(Vec::new()).await.unwrap();
    let own = std::path::absolute(place.path()).unwrap();
    let refused = [
        outside_url.clone(),
        format!("file://{}", own.display()),
        format!("file://{}/parquet", own.display()),
        format!("file://{}/shards", own.display()),
        "file:///etc".to_owned(),
        "s3://bucket/lake".to_owned(),
    ];
    for url in refused {
        let (pointer, detail) = refusal(define(&database, "lake", &serde_json::json!({ "url": url }).to_string()).await);
        assert_eq!(pointer.as_deref(), Some("/url"), "{url}");
        assert!(detail.contains("exports.allow"), "{url}: {detail}");
    }
    assert!(database.exports().is_empty() && std::fs::read_dir(outside.path()).unwrap().next().is_none(), "nothing is left of it");
    let inside = format!(r#"{{"url": "file://{}/parquet/own"}}"#, own.display());
    assert_eq!(define(&database, "lake", &inside).await.unwrap(), Change::Created);
    let (pointer, detail) = refusal(define(&database, "other", &inside.replace("own", "own/inner")).await);
    assert!(pointer.as_deref() == Some("/url") && detail.contains("the lake of export lake"), "{detail}");
    database.close().await.unwrap();
    drop(database);
    let database = open(vec![outside_url.clone()]).await.unwrap();
    fill(&database, "order-1", 1..=2).await;
    define(&database, "out", &serde_json::json!({ "url": format!("{outside_url}/deeper") }).to_string()).await.unwrap();
    flush(&database, "out").await;
    assert_each_once(&outside.path().join("deeper"), &[("order-1", 2)]);
    database.close().await.unwrap();
    drop(database);
    // What is not allowed any more is told, and not written to.
    let database = open(Vec::new()).await.unwrap();
    let status = database.export("out").unwrap();
    assert_eq!(status.state, ExportState::Failed);
    assert!(status.error.unwrap().reason.contains("exports.allow"));
    assert_eq!(flush(&database, "lake").await.state, ExportState::Running, "others go on");
    database.remove_export("out", false).await.unwrap();
    database.close().await.unwrap();
    assert!(Database::open(Options { export_allow: vec!["lake".to_owned()], ..Options::in_memory() }).await.is_err());
}

#[tokio::test]
async fn what_is_written_under_other_terms_can_not_change() {
    let database = memory().await;
    define(&database, "lake", r#"{"filter": {"categories": ["order"]}}"#).await.unwrap();
    fill(&database, "order-1", 1..=3).await;
    fill(&database, "user-1", 4..=5).await;
    assert_eq!(flush(&database, "lake").await.files.iter().map(|file| file.rows).sum::<u64>(), 3);
    let same = r#"{"filter": {"categories": ["order"]}, "partition_by": ["category", "date"]}"#;
    assert_eq!(define(&database, "lake", same).await.unwrap(), Change::Same);
    for (json, pointer) in [("{}", "/filter"), (r#"{"filter": {"categories": ["order"]}, "partition_by": []}"#, "/partition_by")] {
        let (found, detail) = refusal(define(&database, "lake", json).await);
        assert_eq!(found.as_deref(), Some(pointer));
        assert!(detail.contains("another name"), "{detail}");
    }
    let changed = r#"{"filter": {"categories": ["order"]}, "flush_seconds": 1, "target_file_bytes": 1000000}"#;
    assert_eq!(define(&database, "lake", changed).await.unwrap(), Change::Changed);
    assert_eq!(database.export("lake").unwrap().files.len(), 1, "it goes on with what is there");
    fill(&database, "order-1", 6..=6).await;
    assert_eq!(flush(&database, "lake").await.files.iter().map(|file| file.rows).sum::<u64>(), 4);
    for (json, pointer) in [(r#"{"colour": 1}"#, "/colour"), (r#"{"flush_seconds": 0}"#, "/flush_seconds")] {
        assert_eq!(refusal(define(&database, "lake", json).await).0.as_deref(), Some(pointer));
    }
    for bad in ["a/b", "$own"] {
        assert!(matches!(define(&database, bad, "{}").await, Err(Error::Invalid { field, .. }) if field == "name"), "{bad}");
    }
    database.close().await.unwrap();
}

#[tokio::test]
async fn files_outlive_their_export_unless_they_are_to_go() {
    let place = tempfile::tempdir().unwrap();
    let lake = place.path().join("parquet/lake");
    let database = Database::open(Options::new(place.path())).await.unwrap();
    fill(&database, "order-1", 1..=3).await;
    define(&database, "lake", "{}").await.unwrap();
    flush(&database, "lake").await;
    database.remove_export("lake", false).await.unwrap();
    assert!(matches!(database.export("lake"), Err(Error::DefinitionNotFound { .. })));
    assert!(matches!(database.remove_export("lake", true).await, Err(Error::DefinitionNotFound { .. })));
    assert_each_once(&lake, &[("order-1", 3)]);
    // Defined again it goes on with them.
    fill(&database, "order-1", 4..=4).await;
    define(&database, "lake", "{}").await.unwrap();
    flush(&database, "lake").await;
    assert_each_once(&lake, &[("order-1", 4)]);
    std::fs::write(lake.join("mine.parquet"), "not an export's").unwrap();
    database.remove_export("lake", true).await.unwrap();
    assert_eq!(files(&lake), [lake.join("mine.parquet")], "what others have put there stays");
    std::fs::remove_file(lake.join("mine.parquet")).unwrap();
    // And once more from the beginning.
    define(&database, "lake", r#"{"partition_by": []}"#).await.unwrap();
    flush(&database, "lake").await;
    assert_each_once(&lake, &[("order-1", 4)]);
    database.close().await.unwrap();
}

#[tokio::test]
async fn what_is_deleted_before_it_is_exported_is_not_and_what_was_exported_stays() {
    let place = tempfile::tempdir().unwrap();
    let lake = place.path().join("parquet/lake");
    let database = Database::open(Options::new(place.path())).await.unwrap();
    fill(&database, "order-1", 1..=3).await;
    fill(&database, "order-2", 4..=5).await;
    database.delete_stream(name("order-2"), false).await.unwrap();
    define(&database, "lake", "{}").await.unwrap();
    flush(&database, "lake").await;
    assert_each_once(&lake, &[("order-1", 3)]);
    database.delete_stream(name("order-1"), true).await.unwrap();
    flush(&database, "lake").await;
    assert_each_once(&lake, &[("order-1", 3)]);
    database.close().await.unwrap();
}

#[tokio::test]
async fn a_folder_that_can_not_be_written_to_is_told_and_the_store_goes_on() {
    let (place, outside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    // A file where the lake's folder should be: nothing can be written, whoever one is.
    let blocked = outside.path().join("blocked");
    std::fs::write(&blocked, "").unwrap();
    let allow = vec!["file:///".to_owned()];
    let database = Database::open(Options { export_allow: allow, ..Options::new(place.path()) }).await.unwrap();
    define(&database, "lake", &format!(r#"{{"url": "file://{}/lake"}}"#, blocked.display())).await.unwrap();
    fill(&database, "order-1", 1..=3).await;
    let refused = database.flush_export("lake", Duration::from_secs(1)).await;
    assert!(matches!(&refused, Err(Error::LakeUnavailable { detail, .. }) if detail.contains("blocked")), "{refused:?}");
    let status = database.export("lake").unwrap();
    assert_eq!((status.state, status.lag_events > 0, status.files.len()), (ExportState::Retrying, true, 0));
    std::fs::remove_file(&blocked).unwrap();
    flush(&database, "lake").await;
    assert_each_once(&blocked.join("lake"), &[("order-1", 3)]);
    database.close().await.unwrap();
}

#[tokio::test]
async fn exports_are_listed_by_name_and_a_trial_puts_nothing_in_force() {
    let database = sharded(2).await;
    assert_eq!(database.define(Kind::Export, "b", Format::Toml, "", true).await.unwrap(), Change::Created);
    assert!(database.exports().is_empty());
    define(&database, "b", "{}").await.unwrap();
    define(&database, "a", "{}").await.unwrap();
    let names: Vec<String> = database.exports().into_iter().map(|status| status.name).collect();
    assert_eq!(names, ["a", "b"]);
    assert_eq!(database.export("a").unwrap().url, "memory:///a");
    assert!(matches!(database.flush_export("c", Duration::ZERO).await, Err(Error::DefinitionNotFound { .. })));
    assert!(database.remove_definition(Kind::Export, "a").await.is_err(), "its files are asked about: `remove_export`");
    database.close().await.unwrap();
}
