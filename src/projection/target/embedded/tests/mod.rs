//! Does the embedded target keep what it promises?

use std::sync::Arc;

use factum_storage::Disk;
use factum_storage::Position;
use factum_storage::disk::sim::Rng;
use rust_decimal::Decimal;

use super::super::super::row::Row;
use super::super::super::row::Write;
use super::super::super::spec::Column;
use super::super::super::spec::ColumnType;
use super::super::super::spec::Columns;
use super::super::super::value::Value;
use super::super::Batch;
use super::super::Opening;
use super::super::Target;
use super::super::Writer;
use super::EmbeddedTarget;
use crate::subscription::Cursor;

mod crashes;
pub(crate) mod encodings;
mod files;
mod model;
mod speed;

/// A view with a column of every type; `id` is the key.
pub(crate) fn columns() -> Arc<Columns> {
    let column = |name: &str, column_type, is_indexed| Column {
        name: name.to_owned(),
        column_type,
        is_primary_key: name == "id",
        is_indexed,
        default: Value::Null,
    };
    let list = vec![
        column("id", ColumnType::Text, false),
        column("status", ColumnType::Text, true),
        column("amount", ColumnType::Decimal { precision: 12, scale: 2 }, true),
        column("count", ColumnType::Bigint, false),
        column("small", ColumnType::Integer, false),
        column("rate", ColumnType::Double, false),
        column("is_open", ColumnType::Boolean, true),
        column("paid_at", ColumnType::Timestamp, false),
        column("due", ColumnType::Date, false),
        column("token", ColumnType::Uuid, false),
        column("notes", ColumnType::Json, false),
    ];
    Arc::new(Columns { list, primary_key: 0 })
}

/// Any value of a column of this type, often null, and of few enough kinds that values meet again.
pub(crate) fn any_value(rng: &mut Rng, column_type: ColumnType) -> Value {
    if rng.chance(15) {
        return Value::Null;
    }
    let number = i64::try_from(rng.below(41)).unwrap() - 20;
    match column_type {
        ColumnType::Text => Value::Text(Arc::from(["", "a", "ab", "a\0", "a\0b", "b", "paid", "ü", "\u{10FFFF}"][rng.index(9)])),
        ColumnType::Bigint => Value::Integer(number * [1, 1 << 20, 1 << 50][rng.index(3)]),
        ColumnType::Integer => Value::Integer(number),
        ColumnType::Double => Value::Double(number as f64 * [1.0, 0.125, 1e300][rng.index(3)]),
        ColumnType::Decimal { scale, .. } => Value::Decimal(Decimal::new(number * [1, 12_345][rng.index(2)], scale)),
        ColumnType::Boolean => Value::Boolean(rng.chance(50)),
        ColumnType::Timestamp => Value::Timestamp(number * 1_000_000_007),
        ColumnType::Date => Value::Date(i32::try_from(number).unwrap() * 100),
        ColumnType::Uuid => Value::Uuid([u8::try_from(number + 20).unwrap(); 16]),
        ColumnType::Json => Value::Json(Arc::from(["{}", "[1,2]", "null", "\"a\""][rng.index(4)])),
    }
}

/// A row with this key and anything else in it.
pub(crate) fn any_row(rng: &mut Rng, columns: &Columns, key: Value, position: u64) -> Row {
    let mut row = Row::blank(columns, key);
    for (place, column) in columns.list().iter().enumerate().skip(1) {
        row.values[place] = any_value(rng, column.column_type);
    }
    Row { version: rng.below(1 << 40), position, ..row }
}

pub(crate) fn key(number: u64) -> Value {
    Value::Text(Arc::from(format!("row-{number}")))
}

pub(crate) fn cursor(position: u64) -> Cursor {
    Cursor::new(vec![Position::new(position)])
}

pub(crate) fn opening(hash: u8, is_live: bool) -> Opening {
    Opening { hash: [hash; 16], definition: format!("{{\"n\":{hash}}}"), columns: columns(), database: [1; 16], shards: 1, is_live }
}

pub(crate) fn batch(rows: impl IntoIterator<Item = (Value, Option<Row>)>, through: u64) -> Batch {
    let writes = rows.into_iter().map(|(key, row)| Write { key, row }).collect();
    Batch { writes, parked: Vec::new(), through: cursor(through) }
}

pub(crate) fn target(disk: &Arc<dyn Disk>) -> EmbeddedTarget {
    EmbeddedTarget::on("declarations", Arc::clone(disk), 1 << 20)
}

pub(crate) async fn writer(target: &EmbeddedTarget, hash: u8, is_live: bool) -> Box<dyn Writer> {
    target.open(opening(hash, is_live)).await.unwrap()
}

/// The seed of a random test: `SEED=n` replays one.
pub(crate) fn seeds(count: u64) -> std::ops::Range<u64> {
    match std::env::var("SEED").ok().and_then(|seed| seed.parse().ok()) {
        Some(seed) => seed..seed + 1,
        None => 0..count,
    }
}
