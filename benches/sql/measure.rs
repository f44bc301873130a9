//! What is measured, and how.

use std::path::Path;
use std::time::Duration;
use std::time::Instant;

use factum::Database;
use factum::database::Durability;
use factum::database::Format;
use factum::database::Kind;
use factum::database::Options;
use factum::database::SqlQuery;
use futures::StreamExt;

use crate::data::fill;
use crate::data::real_data;

pub(crate) fn main() {
    // Asked for by `cargo test --benches`, which only wants to know that it runs.
    let is_trial = std::env::args().any(|argument| argument == "--test");
    let events =
        std::env::var("EVENTS").map_or(if is_trial { 2_000 } else { 1_000_000 }, |events| events.parse().expect("EVENTS is a number"));
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    runtime.block_on(measure(events));
}

async fn measure(events: usize) {
    let folder = tempfile::tempdir().expect("a temporary directory");
    let mut options = Options::new(folder.path());
    options.durability = Durability::Relaxed;
    options.sql.time = Duration::from_mins(10);
    let database = Database::open(options).await.expect("opens");
    let began = Instant::now();
    fill(&database, &real_data(), events).await;
    println!("{events} events appended in {:?}", began.elapsed());
    let log = [
        ("three columns", "select type, count(*), max(version), min(recorded_at) from events group by type"),
        ("one column", "select count(distinct type) from events"),
        ("no column", "select count(*) from events"),
        ("a typed column", "select type, sum(amount), count(*) from declaration group by type"),
        ("a typed column, again", "select type, sum(amount), count(*) from declaration group by type"),
        ("a JSON function", "select sum(json_get_float(data, 'amount')) from events"),
        ("a rare type", "select count(*) from events where type = 'DeclarationSavedByEmployee'"),
        ("a fifth of the time", "select count(*) from events where position between 100 and 100 + (select max(position) from events) / 5"),
    ];
    println!("\nthe log alone");
    report(&database, events, &log).await;
    latency(&database).await;
    export(&database, folder.path()).await;
    println!("\nParquet, and the log behind it");
    report(&database, events, &log).await;
    latency(&database).await;
    database.close().await.expect("closes");
}

async fn report(database: &Database, events: usize, queries: &[(&str, &str)]) {
    for (what, text) in queries {
        let mut best = Duration::MAX;
        for _round in 0..5 {
            let began = Instant::now();
            run(database, text).await;
            best = best.min(began.elapsed());
        }
        println!("{what:24} {:9.1} ms {:12.0} events/s", best.as_secs_f64() * 1e3, events as f64 / best.as_secs_f64());
    }
}

/// Short questions, warm.
async fn latency(database: &Database) {
    let stream = run(database, "select min(stream) from events").await;
    for (what, text) in [
        ("one stream", format!("select * from events where stream = '{stream}' order by version")),
        ("one stream, typed", format!("select version, amount from declaration where stream = '{stream}'")),
        ("the newest twenty", "select * from events order by position desc limit 20".to_owned()),
        ("any ten", "select * from events limit 10".to_owned()),
    ] {
        let mut times = Vec::new();
        for _round in 0..200 {
            let began = Instant::now();
            run(database, &text).await;
            times.push(began.elapsed());
        }
        times.sort_unstable();
        println!("{what:24} p50 {:7.2} ms   p99 {:7.2} ms", times[100].as_secs_f64() * 1e3, times[197].as_secs_f64() * 1e3);
    }
}

/// Reads an answer to its end; gives its first value.
async fn run(database: &Database, text: &str) -> String {
    let mut answer = database.sql(SqlQuery { text: text.to_owned(), ..SqlQuery::default() }).await.expect("an answer");
    let mut first = String::new();
    while let Some(batch) = answer.next().await {
        let batch = batch.expect("rows");
        if first.is_empty() && batch.num_columns() > 0 {
            first = arrow::util::display::array_value_to_string(batch.column(0), 0).expect("a value");
        }
    }
    first
}

async fn export(database: &Database, folder: &Path) {
    let document = serde_json::json!({ "flush_seconds": 3600 }).to_string();
    database.define(Kind::Export, "lake", Format::Json, &document, false).await.expect("a definition");
    let began = Instant::now();
    let (is_done, status) = database.flush_export("lake", Duration::from_mins(30)).await.expect("it is published");
    let (rows, bytes) = status.files.iter().fold((0, 0), |(rows, bytes), file| (rows + file.rows, bytes + file.bytes));
    let seconds = began.elapsed().as_secs_f64();
    println!(
        "\nexported {rows} events in {seconds:.1} s ({:.0} events/s, {:.1} bytes each, {} files, done: {is_done}) below {}",
        rows as f64 / seconds,
        bytes as f64 / rows.max(1) as f64,
        status.files.len(),
        folder.display()
    );
}
