//! What does exactly once cost? `cargo test --release --lib bench_postgres -- --ignored --nocapture` compares a catch-up with a plain COPY
//! of the rows that it ends with, in the same run and the same cluster.

use std::collections::HashMap;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use std::time::Instant;

use factum_storage::disk::sim::Rng;
use rust_decimal::Decimal;
use tokio_postgres::binary_copy::BinaryCopyInWriter;
use tokio_postgres::types::ToSql;
use tokio_postgres::types::Type;

use super::super::super::Opening;
use super::super::super::Target;
use super::super::cell::Cell;
use super::cluster::Cluster;
use super::fixture::*;
use crate::projection::row::Row;
use crate::projection::row::Write;
use crate::projection::spec::ColumnType;
use crate::projection::spec::Columns;
use crate::projection::value::Value;

const EVENTS: u64 = 400_000;
const BATCH_EVENTS: u64 = 10_000;

/// As of the guide's declarations: about 5 events a row, of rows that are busy at the same time.
fn columns() -> Arc<Columns> {
    let mut list = vec![
        column("declaration", ColumnType::Text),
        column("status", ColumnType::Text),
        column("amount", ColumnType::Decimal { precision: 12, scale: 2 }),
        column("submitted_at", ColumnType::Timestamp),
        column("rejections", ColumnType::Bigint),
        column("payer_name", ColumnType::Text),
    ];
    list[0].is_primary_key = true;
    list[1].is_indexed = true;
    Arc::new(Columns { list, primary_key: 0 })
}

fn row_of(key: u64, version: u64, position: u64) -> Row {
    let status = ["submitted", "approved", "rejected", "paid"][usize::try_from(version % 4).unwrap()];
    let values = [
        text(&format!("declaration-{key:06}")),
        text(status),
        Value::Decimal(Decimal::new(i64::try_from(key).unwrap() * 17, 2)),
        Value::Timestamp(1_480_000_000_000_000 + i64::try_from(key).unwrap() * 60_000_000),
        Value::Integer(i64::try_from(version).unwrap() / 4),
        text(&format!("employee {}", key % 700)),
    ];
    Row { values: values.into(), version, position }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a measurement of some seconds"]
async fn bench_postgres_catch_up() {
    let Some(cluster) = started(&[]) else { return };
    let mut rng = Rng::new(1);
    let target = target(&cluster);
    let mut writer = target.open(Opening { columns: columns(), ..opening(HASH, true) }).await.unwrap();
    let mut rows: HashMap<u64, (u64, u64)> = HashMap::new();
    let (mut loading, mut committing, mut written) = (Duration::ZERO, Duration::ZERO, 0);
    for first in (0..EVENTS).step_by(usize::try_from(BATCH_EVENTS).unwrap()) {
        let mut touched: HashMap<u64, bool> = HashMap::new();
        for event in first..first + BATCH_EVENTS {
            let key = event / 5 + rng.below(2_000);
            touched.entry(key).or_insert(rows.contains_key(&key));
            rows.entry(key).and_modify(|row| *row = (row.0 + 1, event)).or_insert((1, event));
        }
        let keys: Vec<Value> = touched.keys().map(|key| text(&format!("declaration-{key:06}"))).collect();
        let writes: Vec<Write> = touched
            .keys()
            .map(|key| {
                let (version, position) = rows[key];
                put(row_of(*key, version, position))
            })
            .collect();
        written += writes.len();
        let began = Instant::now();
        let found = writer.load(&keys).await.unwrap();
        loading += began.elapsed();
        assert_eq!(found.iter().flatten().count(), touched.values().filter(|is_stored| **is_stored).count());
        let began = Instant::now();
        writer.commit(batch(writes, [first + BATCH_EVENTS, 0])).await.unwrap();
        committing += began.elapsed();
    }
    let caught_up = loading + committing;
    let copied = copy(&cluster, &rows).await;
    let rate = |count: f64, time: Duration| count / time.as_secs_f64();
    println!("{EVENTS} events, {} rows, {written} row writes: load {loading:?}, commit {committing:?}", rows.len());
    println!("catch-up: {:.0} events/s, {:.0} row writes/s", rate(EVENTS as f64, caught_up), rate(written as f64, caught_up));
    println!("COPY of the final rows: {:.0} rows/s, {copied:?}", rate(rows.len() as f64, copied));
}

async fn copy(cluster: &Cluster, rows: &HashMap<u64, (u64, u64)>) -> Duration {
    sql(&cluster.url(), "CREATE TABLE copied (LIKE declarations INCLUDING ALL)").await;
    let client = client(&cluster.url()).await;
    let rows: Vec<Row> = rows.iter().map(|(key, (version, position))| row_of(*key, *version, *position)).collect();
    let began = Instant::now();
    let sink = client.copy_in("COPY copied FROM STDIN (FORMAT binary)").await.unwrap();
    let types = [Type::TEXT, Type::TEXT, Type::NUMERIC, Type::TIMESTAMPTZ, Type::INT8, Type::TEXT, Type::INT8, Type::INT8];
    let mut copy = pin!(BinaryCopyInWriter::new(sink, &types));
    for row in &rows {
        let own = [Value::Integer(row.version.cast_signed()), Value::Integer(row.position.cast_signed())];
        let cells: Vec<Cell<'_>> = row.values.iter().chain(&own).map(Cell).collect();
        let values: Vec<&(dyn ToSql + Sync)> = cells.iter().map(|cell| -> &(dyn ToSql + Sync) { cell }).collect();
        copy.as_mut().write(&values).await.unwrap();
    }
    copy.finish().await.unwrap();
    began.elapsed()
}
