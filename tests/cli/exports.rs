//! Exports of the real binary: into real files, seen from the command line, and killed again and again.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;
use std::time::Instant;

use arrow::array::AsArray;
use arrow::datatypes::Int64Type;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use serde_json::Value;

use crate::crash::Random;
use crate::faults::SmallDisk;
use crate::http::Api;
use crate::process::Place;
use crate::process::Server;
use crate::process::note;
use crate::process::run;
use crate::process::skipped;

/// How often each position is in the Parquet files below a folder, and the event there.
fn rows(folder: &Path) -> Rows {
    try_rows(folder).expect("no file goes away meanwhile")
}

type Rows = BTreeMap<i64, Vec<(String, i64)>>;

/// The same; `None` if a file has gone away since it was listed.
fn try_rows(folder: &Path) -> Option<Rows> {
    let mut found = Rows::new();
    for entry in std::fs::read_dir(folder).into_iter().flatten() {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            try_rows(&path)?.into_iter().for_each(|(position, mut events)| found.entry(position).or_default().append(&mut events));
        } else if path.extension().is_some_and(|extension| extension == "parquet") {
            let bytes = match std::fs::read(&path) {
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => return None,
                bytes => bytes::Bytes::from(bytes.expect("a file")),
            };
            let reader = ParquetRecordBatchReaderBuilder::try_new(bytes).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
            for batch in reader.build().expect("a reader") {
                let batch = batch.expect("rows");
                let column = |name: &str| batch.column_by_name(name).expect("a column").clone();
                let (positions, versions, streams) = (column("position"), column("version"), column("stream"));
                let (positions, versions) = (positions.as_primitive::<Int64Type>(), versions.as_primitive::<Int64Type>());
                let streams = streams.as_string::<i32>();
                for row in 0..positions.len() {
                    found.entry(positions.value(row)).or_default().push((streams.value(row).to_owned(), versions.value(row)));
                }
            }
        }
    }
    Some(found)
}

/// The same beside a server, which puts files together in the background: once it has nothing to put together.
async fn settled_rows(lake: &Path) -> Rows {
    let began = Instant::now();
    loop {
        if !is_merging(lake)
            && let Some(found) = try_rows(lake)
            && !is_merging(lake)
        {
            return found;
        }
        assert!(began.elapsed() < Duration::from_mins(1), "files are put together for ever");
        tokio::task::yield_now().await;
    }
}

#[test]
fn a_folder_of_definitions_makes_a_lake_and_the_command_shows_it() {
    let place = Place::new();
    let folder = place.path("definitions");
    std::fs::create_dir_all(folder.join("exports")).expect("a folder");
    std::fs::write(folder.join("exports/lake.toml"), "partition_by = [\"category\"]\nflush_seconds = 1\n").expect("a file");
    let server = place.start().flag(&["--definitions", folder.to_str().expect("text")]).ready();
    for number in 1..=3 {
        server.run(&["append", &format!("order-{number}"), "Placed", "{\"total\": 5}"]).exits(0);
    }
    let shown = server.run(&["exports", "lake", "--flush", "--json"]).exits(0).json_lines().remove(0);
    assert_eq!((&shown["state"], &shown["rows"], &shown["lag_events"]), (&"running".into(), &3.into(), &0.into()));
    assert_eq!(rows(&place.data().join("parquet/lake")).len(), 3);
    let listed = server.run(&["exports"]).exits(0).json_lines();
    assert_eq!((listed.len(), &listed[0]["name"]), (1, &"lake".into()));
    let applied = server.run(&["apply", folder.to_str().expect("text")]).exits(0).json_lines();
    assert_eq!((&applied[0]["kind"], &applied[0]["change"]), (&"export".into(), &"same".into()));
    std::fs::write(folder.join("exports/lake.toml"), "url = \"file:///etc\"\n").expect("a file");
    server.run(&["apply", folder.to_str().expect("text")]).exits(1).says("exports.allow");
    server.run(&["exports", "nowhere"]).exits(1).says("not defined");
    server.run(&["exports", "lake", "--delete"]).exits(0);
    assert_eq!(rows(&place.data().join("parquet/lake")).len(), 3, "its files stay");
    assert_eq!(server.terminate(), Some(0));
    run(&["exports", "--flush"], "", &[]).exits(2);
}

/// Appends events over a few streams, one request each, until the server is gone.
async fn append_until_gone(api: Api, count: u64) {
    for number in 0..count {
        let stream = format!("{}-{}", if number % 4 == 0 { "cart" } else { "order" }, number % 9);
        if api.append_any(&stream, number).await.is_none() {
            return;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p7_kill_nine_while_a_lake_is_filled_leaves_each_event_once() {
    let kills: u64 = std::env::var("KILLS").ok().map_or(25, |text| text.parse().expect("KILLS is a number"));
    let (mut random, seed) = Random::of_environment();
    note(&format!("SEED={seed} KILLS={kills}"));
    let place = Place::new();
    let lake = place.data().join("parquet/lake");
    for kill in 0..kills {
        let server = place.start().ready();
        let api = Api::new(&server.url);
        if kill == 0 {
            let definition = r#"{"flush_seconds": 1, "target_file_bytes": 65536}"#;
            let (status, text) = api.put("/v1/exports/lake", "application/json", definition).await;
            assert!(matches!(status, 200 | 201), "{status}: {text}");
        }
        let appends = tokio::spawn(append_until_gone(api.clone(), 40 + random.below(200)));
        // Flushes one after the other, so that the kill meets one.
        let flushes = tokio::spawn({
            let api = api.clone();
            async move { while api.flush("lake").await.is_some() {} }
        });
        tokio::time::sleep(Duration::from_micros(20_000 + random.below(400_000))).await;
        Server::kill(server);
        appends.await.expect("does not panic");
        flushes.await.expect("does not panic");
        let context = format!("SEED={seed} after kill {kill}");
        let twice = rows(&lake).into_iter().filter(|(_, events)| events.len() > 1).count();
        // Only a merge that was cut off may leave rows twice, until the next start.
        assert!(twice == 0 || is_merging(&lake), "{context}: {twice} rows are there twice");
    }
    let server = place.start().ready();
    let api = Api::new(&server.url);
    let status = api.flush("lake").await.expect("it is flushed");
    assert_eq!((&status["state"], &status["lag_events"]), (&"running".into(), &0.into()), "SEED={seed}: {status}");
    let (events, _) = api.events_after("0").await;
    let found = settled_rows(&lake).await;
    assert_eq!(found.len(), events.len(), "SEED={seed}: events that are missing or nobody's");
    for event in &events {
        let at = event["position"].as_i64().expect("a position");
        let expected = (event["stream"].as_str().expect("a stream").to_owned(), event["version"].as_i64().expect("a version"));
        assert_eq!(found.get(&at), Some(&vec![expected]), "SEED={seed}: position {at}");
    }
    note(&format!("{} events in {} files after {kills} kills", events.len(), status["file_count"]));
    assert_eq!(server.terminate(), Some(0));
}

/// Whether the newest manifest tells of a merge, or of files that are to be moved away.
fn is_merging(lake: &Path) -> bool {
    let mut manifests: Vec<_> = std::fs::read_dir(lake.join("_factum")).expect("a folder").flatten().map(|entry| entry.path()).collect();
    manifests.retain(|path| {
        path.file_name().and_then(|name| name.to_str()).is_some_and(|name| name.starts_with("manifest-") && name.ends_with(".json"))
    });
    manifests.sort();
    let text = std::fs::read_to_string(manifests.last().expect("a manifest")).expect("text");
    let manifest: Value = serde_json::from_str(&text).expect("JSON");
    let is_there = |retired: &Value| retired["path"].as_str().is_some_and(|path| lake.join(path).exists());
    let retired = manifest["manifest"]["retired"].as_array().expect("an array");
    !manifest["manifest"]["intent"]["merge"].is_null() || retired.iter().any(is_there)
}

/// The state of an export once it is as asked for.
async fn until(api: &Api, what: impl Fn(&Value) -> bool) -> Value {
    let began = Instant::now();
    loop {
        let status = api.get("/v1/exports/lake").await.expect("a status");
        if what(&status) {
            return status;
        }
        assert!(began.elapsed() < Duration::from_mins(1), "{status}");
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn p6_a_lake_on_a_full_or_read_only_disk_is_told_and_caught_up_with() {
    let place = Place::new();
    let root = place.path("disk");
    let disk = match SmallDisk::mount(&root, "8m") {
        Ok(disk) => disk,
        Err(reason) => return skipped("p6", &format!("no tmpfs can be mounted: {reason}")),
    };
    let url = format!("file://{}", root.join("lake").display());
    let server = place.start().env("FACTUM_EXPORTS__ALLOW", &url).ready();
    let api = Api::new(&server.url);
    let definition = serde_json::json!({"url": url, "flush_seconds": 1}).to_string();
    assert_eq!(api.put("/v1/exports/lake", "application/json", &definition).await.0, 201);
    let write = async |from: u64| {
        for number in from..from + 50 {
            api.append_any(&format!("order-{}", number % 5), number).await.expect("the store takes it");
        }
        from + 50
    };
    let mut written = write(0).await;
    api.flush("lake").await.expect("it is flushed");
    let ballast = root.join("ballast");
    for trouble in ["full", "read-only"] {
        match trouble {
            "full" => drop(std::fs::write(&ballast, vec![1; 8 << 20]).expect_err("it is full")),
            _ => disk.remount("ro"),
        }
        written = write(written).await;
        let status = until(&api, |status| status["state"] == "retrying").await;
        let reason = status["error"]["reason"].as_str().expect("a reason").to_lowercase();
        assert!(reason.contains(if trouble == "full" { "no space left" } else { "read-only file system" }), "{trouble}: {status}");
        // What is not in files is read from the log: queries do not notice.
        let counted = serde_json::json!({"query": "select count(*), count(distinct id) from \"order\""}).to_string();
        let (code, answer) = api.post("/v1/sql", "application/json", counted).await.expect("an answer");
        assert!(code == 200 && answer.contains(&format!("[{written},{written}]")), "{trouble}: {answer}");
        match trouble {
            "full" => std::fs::remove_file(&ballast).expect("it can be removed"),
            _ => disk.remount("rw"),
        }
        let status = until(&api, |status| status["state"] == "running" && status["lag_events"] == 0).await;
        assert_eq!(status["rows"], written, "{trouble}: {status}");
    }
    let found = rows(&root.join("lake"));
    assert_eq!((found.len() as u64, found.values().all(|events| events.len() == 1)), (written, true));
    assert_eq!(server.terminate(), Some(0));
}
