//! Columns, rows and targets that the tests share.

use std::sync::Arc;

use factum_storage::Position;
use factum_storage::Timestamp;
use tokio_postgres::SimpleQueryMessage;

use super::super::super::Batch;
use super::super::super::Fault;
use super::super::super::Opening;
use super::super::super::Parked;
use super::super::super::Target;
use super::super::super::Writer;
use super::super::Options;
use super::super::PostgresTarget;
use super::super::Timeouts;
use super::cluster::Cluster;
use crate::projection::row::Row;
use crate::projection::row::Write;
use crate::projection::spec::Column;
use crate::projection::spec::ColumnType;
use crate::projection::spec::Columns;
use crate::projection::value::Value;
use crate::subscription::Cursor;

pub(super) const HASH: [u8; 16] = [0xab; 16];
pub(super) const NEXT: [u8; 16] = [0xcd; 16];

/// A cluster of the test's own; `None` where there is no Postgres, and the test is skipped.
pub(super) fn started(settings: &[&str]) -> Option<Cluster> {
    Cluster::start(settings).map_err(|reason| eprintln!("SKIPPED: {reason}")).ok()
}

pub(super) fn column(name: &str, column_type: ColumnType) -> Column {
    Column { name: name.to_owned(), column_type, is_primary_key: false, is_indexed: false, default: Value::Null }
}

/// `id text primary key, amount bigint default 0, note text index`.
pub(super) fn columns() -> Arc<Columns> {
    let mut list = vec![column("id", ColumnType::Text), column("amount", ColumnType::Bigint), column("note", ColumnType::Text)];
    list[0].is_primary_key = true;
    list[1].default = Value::Integer(0);
    list[2].is_indexed = true;
    Arc::new(Columns { list, primary_key: 0 })
}

pub(super) fn options(url: &str) -> Options {
    Options {
        name: "declarations".to_owned(),
        url: url.to_owned(),
        schema: "public".to_owned(),
        table: "declarations".to_owned(),
        timeouts: Timeouts::default(),
    }
}

pub(super) fn target(cluster: &Cluster) -> PostgresTarget {
    PostgresTarget::new(options(&cluster.url())).unwrap()
}

pub(super) fn opening(hash: [u8; 16], is_live: bool) -> Opening {
    Opening { hash, definition: format!("{{\"of\":{}}}", hash[0]), columns: columns(), database: [1; 16], shards: 2, is_live }
}

pub(super) async fn open(target: &PostgresTarget) -> Box<dyn Writer> {
    target.open(opening(HASH, true)).await.unwrap()
}

pub(super) fn text(text: &str) -> Value {
    Value::Text(Arc::from(text))
}

pub(super) fn row(id: &str, amount: i64, note: Value) -> Row {
    Row { values: vec![text(id), Value::Integer(amount), note].into(), version: 1, position: amount.unsigned_abs() }
}

pub(super) fn put(row: Row) -> Write {
    Write { key: row.values[0].clone(), row: Some(row) }
}

pub(super) fn delete(id: &str) -> Write {
    Write { key: text(id), row: None }
}

pub(super) fn cursor(positions: [u64; 2]) -> Cursor {
    Cursor::new(positions.map(Position::new).to_vec())
}

pub(super) fn batch(writes: Vec<Write>, through: [u64; 2]) -> Batch {
    Batch { writes, parked: Vec::new(), through: cursor(through) }
}

pub(super) fn parked(shard: u16, position: u64, reason: &str) -> Parked {
    Parked {
        shard,
        position,
        stream: "declaration-1".to_owned(),
        version: 7,
        event_type: "Submitted".to_owned(),
        reason: reason.to_owned(),
        parked_at: Timestamp::from_micros(1_700_000_000_123_456),
    }
}

/// Runs SQL as the superuser, on a connection of its own.
pub(super) async fn sql(url: &str, statements: &str) -> Vec<Vec<String>> {
    let client = client(url).await;
    let messages = client.simple_query(statements).await.unwrap_or_else(|error| panic!("{statements}: {error:?}"));
    let rows = messages.iter().filter_map(|message| if let SimpleQueryMessage::Row(row) = message { Some(row) } else { None });
    rows.map(|row| (0..row.len()).map(|place| row.get(place).unwrap_or("(null)").to_owned()).collect()).collect()
}

pub(super) async fn client(url: &str) -> tokio_postgres::Client {
    let (client, connection) = tokio_postgres::connect(url, tokio_postgres::NoTls).await.unwrap();
    tokio::spawn(connection);
    client
}

pub(super) fn passing<T: std::fmt::Debug>(result: Result<T, Fault>) -> String {
    match result {
        Err(Fault::Passing(text)) => text,
        other => panic!("not a passing fault: {other:?}"),
    }
}

pub(super) fn lasting<T>(result: Result<T, Fault>) -> String {
    match result {
        Err(Fault::Lasting(text)) => text,
        Err(other) => panic!("not a lasting fault: {other:?}"),
        Ok(_) => panic!("no fault"),
    }
}
