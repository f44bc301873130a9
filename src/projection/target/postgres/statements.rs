//! Which SQL reads and writes the rows of a view?

use tokio_postgres::Statement;

use super::fault::Trouble;
use super::name::Table;
use super::name::quoted;
use super::session::Session;
use super::table::OWN;
use super::table::type_name;
use crate::projection::spec::ColumnType;
use crate::projection::spec::Columns;

/// What a writer has prepared, once.
pub(super) struct Statements {
    pub(super) fence: Statement,
    pub(super) load: Statement,
    pub(super) upsert: Statement,
    pub(super) delete: Statement,
    pub(super) park: Statement,
    pub(super) checkpoint: Statement,
}

impl Statements {
    pub(super) async fn prepare(session: &Session, table: &Table, columns: &Columns) -> Result<Self, Trouble> {
        let (load, upsert, delete) = (load(table, columns), upsert(table, columns), delete(table, columns));
        let (fence, load, upsert, delete, park, checkpoint) = futures::future::try_join4(
            futures::future::try_join(session.prepare(FENCE), session.prepare(&load)),
            futures::future::try_join(session.prepare(&upsert), session.prepare(&delete)),
            session.prepare(PARK),
            session.prepare(CHECKPOINT),
        )
        .await
        .map(|((fence, load), (upsert, delete), park, checkpoint)| (fence, load, upsert, delete, park, checkpoint))?;
        Ok(Self { fence, load, upsert, delete, park, checkpoint })
    }
}

/// All columns of a row, in the order of the definition, then Factum's own.
fn listed(columns: &Columns) -> String {
    let names = columns.list().iter().map(|column| column.name.as_str()).chain(OWN);
    names.map(quoted).collect::<Vec<_>>().join(", ")
}

fn key(columns: &Columns) -> (String, ColumnType) {
    let column = columns.list().get(columns.primary_key());
    column.map_or((String::new(), ColumnType::Text), |column| (quoted(&column.name), column.column_type))
}

/// The type of an array of a column's values. Of `numeric` without its scale: it is the column that sees to that.
fn array(column_type: ColumnType) -> String {
    match column_type {
        ColumnType::Decimal { .. } => "numeric[]".to_owned(),
        ColumnType::Text
        | ColumnType::Bigint
        | ColumnType::Integer
        | ColumnType::Double
        | ColumnType::Boolean
        | ColumnType::Timestamp
        | ColumnType::Date
        | ColumnType::Uuid
        | ColumnType::Json => format!("{}[]", type_name(column_type)),
    }
}

fn load(table: &Table, columns: &Columns) -> String {
    let (key, key_type) = key(columns);
    format!("SELECT {} FROM {table} WHERE {key} = ANY($1::{})", listed(columns), array(key_type))
}

/// The row of one key.
pub(super) fn one(table: &Table, columns: &Columns) -> String {
    format!("SELECT {} FROM {table} WHERE {} = $1", listed(columns), key(columns).0)
}

/// The rows with these values; each place says whether nothing is looked for, which an index finds by `IS NULL` only.
pub(super) fn find(table: &Table, columns: &Columns, matching: &[(usize, bool)]) -> String {
    let mut conditions = Vec::new();
    let mut parameter = 0;
    for (place, is_null) in matching {
        let Some(column) = columns.list().get(*place) else { continue };
        if *is_null {
            conditions.push(format!("{} IS NULL", quoted(&column.name)));
        } else {
            parameter += 1;
            conditions.push(format!("{} = ${parameter}", quoted(&column.name)));
        }
    }
    let condition = if conditions.is_empty() { "true".to_owned() } else { conditions.join(" AND ") };
    format!("SELECT {} FROM {table} WHERE {condition}", listed(columns))
}

fn upsert(table: &Table, columns: &Columns) -> String {
    let (key, _) = key(columns);
    let arrays = columns.list().iter().map(|column| array(column.column_type)).chain(OWN.map(|_| "bigint[]".to_owned()));
    let parameters: Vec<String> = arrays.zip(1..).map(|(array, place)| format!("${place}::{array}")).collect();
    let places = columns.list().iter().map(|column| column.name.as_str()).chain(OWN).map(quoted);
    let set: Vec<String> = places.filter(|name| *name != key).map(|name| format!("{name} = excluded.{name}")).collect();
    format!(
        "INSERT INTO {table} ({}) SELECT * FROM unnest({}) ON CONFLICT ({key}) DO UPDATE SET {}",
        listed(columns),
        parameters.join(", "),
        set.join(", ")
    )
}

fn delete(table: &Table, columns: &Columns) -> String {
    let (key, key_type) = key(columns);
    format!("DELETE FROM {table} WHERE {key} = ANY($1::{})", array(key_type))
}

/// Whoever has taken the generation over has counted up; whoever is about to waits until this transaction has ended.
const FENCE: &str = "SELECT 1 FROM factum.projections WHERE projection = $1 AND generation = $2 AND epoch = $3 FOR NO KEY UPDATE";

const PARK: &str = "\
INSERT INTO factum.parked (projection, generation, shard, position, stream, version, event_type, reason, parked_at) \
SELECT $1, $2, * FROM unnest($3::integer[], $4::bigint[], $5::text[], $6::bigint[], $7::text[], $8::text[], $9::timestamptz[]) \
ON CONFLICT DO NOTHING";

/// Shards that did not move are left alone.
const CHECKPOINT: &str = "\
INSERT INTO factum.checkpoints AS old (projection, generation, shard, position) \
SELECT $1, $2, (place - 1)::integer, position FROM unnest($3::bigint[]) WITH ORDINALITY AS new (position, place) \
ON CONFLICT (projection, generation, shard) DO UPDATE SET position = excluded.position, updated_at = now() \
WHERE old.position <> excluded.position";
