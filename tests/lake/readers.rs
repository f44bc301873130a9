//! DuckDB, pandas, Polars and Factum itself over the same events: counts, sums and a window, equal to what a program of our own finds.

use serde_json::Value;
use serde_json::json;

use crate::process::Place;
use crate::python::ask;
use crate::python::interpreter;
use crate::stand::Api;
use crate::stand::EVENTS;
use crate::stand::Fold;
use crate::stand::files;

#[tokio::test]
async fn the_lake_reads_the_same_everywhere() {
    let Some(python) = interpreter("the_lake_reads_the_same_everywhere") else { return };
    let fold = Fold::of_the_data();
    let place = Place::new();
    let server = place.start().ready();
    let api = Api::new(&server.url);
    api.import().await;
    // Each definition of an export is an event too.
    let check = async |table: &str, definitions: i64| {
        let (rows, cursor) = api.sql(&of_types(table)).await;
        assert_eq!((rows, cursor), (fold.type_rows(), (EVENTS + definitions).to_string()), "{table}");
        let (rows, _) = api.sql(&of_steps(table)).await;
        assert_eq!(rows, fold.step_rows(), "{table}");
    };
    // From the log alone, and then with the files, which may hold some or all of it.
    check("declaration", 0).await;
    api.export("all", &json!({"target_file_bytes": 1 << 20, "flush_seconds": 1})).await;
    check("declaration", 1).await;
    let status = api.flush("all").await;
    check("declaration", 1).await;
    check("exports.all", 1).await;
    let files = files(&status);
    let folder = files[0].split("/category=").next().expect("a folder").to_owned();
    let rows = status["files"].as_array().expect("files").iter().map(|file| file["rows"].as_i64().expect("a number")).sum::<i64>();
    assert_eq!(rows, EVENTS);
    for source in [json!(format!("{folder}/**/*.parquet")), json!(files)] {
        let found = ask(&python, "duckdb_query", &json!({"query": DUCKDB_TYPES, "files": source}));
        assert_eq!(found, Value::from(fold.type_rows()), "{source}");
        let found = ask(&python, "duckdb_query", &json!({"query": DUCKDB_STEPS, "files": source}));
        assert_eq!(found, Value::from(fold.step_rows()), "{source}");
        assert_eq!(ask(&python, "polars_sums", &json!({"files": source})), Value::from(fold.type_rows()), "{source}");
    }
    assert_eq!(ask(&python, "pandas_sums", &json!({"folder": folder})), Value::from(fold.type_rows()));
    // What the columns are is what DuckDB takes them for.
    let query =
        "select column_name, column_type from (describe lake) where column_name in ('stream', 'version', 'amount', 'occurred_at', 'tags')";
    let types = ask(&python, "duckdb_query", &json!({"query": query, "files": files}));
    let expected = [
        ["amount", "DOUBLE"],
        ["occurred_at", "TIMESTAMP WITH TIME ZONE"],
        ["stream", "VARCHAR"],
        ["tags", "VARCHAR[]"],
        ["version", "BIGINT"],
    ];
    let mut types: Vec<[String; 2]> = serde_json::from_value(types).expect("pairs of texts");
    types.sort();
    assert_eq!(types, expected);
}

#[tokio::test]
async fn answers_read_the_same_everywhere() {
    let Some(python) = interpreter("answers_read_the_same_everywhere") else { return };
    let fold = Fold::of_the_data();
    let place = Place::new();
    let server = place.start().ready();
    Api::new(&server.url).import().await;
    let cents: i64 = fold.types.values().map(|(_, cents)| cents).sum();
    let query = "select stream, version, type, occurred_at, tags, amount, coalesce(cast(round(amount * 100) as bigint), 0) as cents from declaration";
    let found = ask(&python, "arrow_answer", &json!({"url": server.url, "query": format!("{query} where version = 1 order by stream")}));
    assert_eq!((&found["rows"], &found["cursor"]), (&json!(10_357), &json!(EVENTS.to_string())));
    let expected = json!({
        "stream": "string", "version": "int64", "type": "string", "occurred_at": "timestamp[us, tz=UTC]", "tags": "list<item: string>",
        "amount": "double", "cents": "int64"
    });
    assert_eq!(found["types"], expected);
    let path = place.path("answer.parquet");
    let found = ask(&python, "parquet_answer", &json!({"url": server.url, "query": query, "path": path, "column": "cents"}));
    for reader in ["duckdb", "pyarrow", "pandas", "polars"] {
        let numbers: Vec<i64> = found[reader].as_array().expect("two numbers").iter().map(number).collect();
        assert_eq!(numbers, [EVENTS, cents], "{reader}: {found}");
    }
    let query = "select stream, data, coalesce(cast(round(amount * 100) as bigint), 0) as cents from declaration";
    let found = ask(&python, "csv_answer", &json!({"url": server.url, "query": query, "column": "cents"}));
    for reader in ["duckdb", "pandas", "polars"] {
        let numbers: Vec<i64> = found[reader].as_array().expect("two numbers").iter().map(number).collect();
        assert_eq!(numbers, [EVENTS, cents], "{reader}: {found}");
    }
}

/// DuckDB adds up 64 bits into 128, which Python writes as it likes.
fn number(value: &Value) -> i64 {
    value.as_i64().or_else(|| value.as_str()?.parse().ok()).unwrap_or_else(|| panic!("{value} is no number"))
}

fn of_types(table: &str) -> String {
    format!("select type, count(*), sum(coalesce(cast(round(amount * 100) as bigint), 0)) from {table} group by type order by type")
}

/// From each event of a stream to the next.
fn of_steps(table: &str) -> String {
    format!(
        "select count(step), sum(step), max(step) from (select cast(occurred_at as bigint) - \
         lag(cast(occurred_at as bigint)) over (partition by stream order by version) as step from {table})"
    )
}

const DUCKDB_TYPES: &str =
    "select type, count(*), cast(sum(coalesce(cast(round(amount * 100) as bigint), 0)) as bigint) from lake group by type order by type";
const DUCKDB_STEPS: &str = "select count(step), cast(sum(step) as bigint), max(step) from (select epoch_us(occurred_at) - \
    lag(epoch_us(occurred_at)) over (partition by stream order by version) as step from lake)";
