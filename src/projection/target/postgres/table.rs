//! Does a view's table look as its definition says, and how is it made?

use tokio_postgres::types::Oid;

use super::super::Fault;
use super::bookkeeping;
use super::fault::Trouble;
use super::name::Table;
use super::name::quoted;
use super::session::Session;
use crate::projection::spec::Column;
use crate::projection::spec::ColumnType;
use crate::projection::spec::Columns;
use crate::projection::value::Value;

/// A column's type as Postgres prints it.
pub(super) fn type_name(column_type: ColumnType) -> String {
    match column_type {
        ColumnType::Text => "text".to_owned(),
        ColumnType::Bigint => "bigint".to_owned(),
        ColumnType::Integer => "integer".to_owned(),
        ColumnType::Double => "double precision".to_owned(),
        ColumnType::Decimal { precision, scale } => format!("numeric({precision},{scale})"),
        ColumnType::Boolean => "boolean".to_owned(),
        ColumnType::Timestamp => "timestamp with time zone".to_owned(),
        ColumnType::Date => "date".to_owned(),
        ColumnType::Uuid => "uuid".to_owned(),
        ColumnType::Json => "jsonb".to_owned(),
    }
}

/// Makes table, primary key and indexes. Refuses if something of that name is there already: it is not ours.
pub(super) async fn make(session: &Session, table: &Table, columns: &Columns) -> Result<(), Trouble> {
    let sql = "SELECT 1 FROM pg_namespace WHERE nspname = $1";
    let schema = session.wait("looking for the schema", session.client().query_opt(sql, &[&table.schema])).await?;
    if schema.is_none() {
        session.run("making the schema", &format!("CREATE SCHEMA {}", quoted(&table.schema))).await?;
    }
    refuse_foreign(session, table).await?;
    let mut lines: Vec<String> = columns.list().iter().map(|column| line(table, column)).collect();
    lines.push("_version bigint NOT NULL".to_owned());
    lines.push("_position bigint NOT NULL".to_owned());
    let mut sql = format!("CREATE TABLE {table} ({})", lines.join(", "));
    for column in columns.list().iter().filter(|column| column.is_indexed && !column.is_primary_key) {
        let index = quoted(&table.index(&column.name));
        sql.push_str(&format!("; CREATE INDEX {index} ON {table} ({})", quoted(&column.name)));
    }
    session.run("making the table", &sql).await
}

/// A table of that name that Factum did not make is neither written to nor dropped.
pub(super) async fn refuse_foreign(session: &Session, table: &Table) -> Result<(), Trouble> {
    let owner = bookkeeping::owner(session, table).await?;
    if let Some(owner) = owner {
        let text = format!("postgres: {} is the table of the projection {:?} already", table.described(), owner.projection);
        return Err(Fault::Lasting(text).into());
    }
    if oid(session, table).await?.is_some() {
        let text = format!(
            "postgres: there is a {} already that Factum did not make; drop or rename it, or name another table",
            table.described()
        );
        return Err(Fault::Lasting(text).into());
    }
    Ok(())
}

/// Checks that the table takes the rows that the definition makes.
pub(super) async fn check(session: &Session, table: &Table, columns: &Columns) -> Result<(), Trouble> {
    let Some(oid) = oid(session, table).await? else {
        return Err(altered(table, "it is not there any more; rebuild the projection"));
    };
    let sql = "SELECT attname::text, format_type(atttypid, atttypmod), attnotnull AND NOT atthasdef AND attidentity = '' \
               FROM pg_attribute WHERE attrelid = $1 AND attnum > 0 AND NOT attisdropped";
    let rows = session.wait("looking at the table", session.client().query(sql, &[&oid])).await?;
    let found: Vec<(String, String, bool)> = rows.iter().map(|row| (row.get(0), row.get(1), row.get(2))).collect();
    let mut expected: Vec<(&str, String)> =
        columns.list().iter().map(|column| (column.name.as_str(), type_name(column.column_type))).collect();
    expected.extend(OWN.map(|name| (name, "bigint".to_owned())));
    for (name, column_type) in &expected {
        match found.iter().find(|(found, _, _)| found == name) {
            Some((_, found, _)) if found == column_type => {}
            Some((_, found, _)) => {
                let detail =
                    format!("its column {name} is {found} where the definition says {column_type}; put it back, or rebuild the projection");
                return Err(altered(table, &detail));
            }
            None => {
                let detail = format!("its column {name} ({column_type}) is not there any more; put it back, or rebuild the projection");
                return Err(altered(table, &detail));
            }
        }
    }
    let asks_more = found.iter().find(|(name, _, is_asked)| *is_asked && !expected.iter().any(|(expected, _)| expected == name));
    if let Some((name, _, _)) = asks_more {
        return Err(altered(table, &format!("its column {name} is not in the definition and must not be null; give it a default")));
    }
    check_key(session, table, oid, columns).await
}

async fn check_key(session: &Session, table: &Table, oid: Oid, columns: &Columns) -> Result<(), Trouble> {
    let key = columns.list().get(columns.primary_key()).map(|column| column.name.as_str()).unwrap_or_default();
    let sql = "SELECT 1 FROM pg_index i JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = i.indkey[0] \
               WHERE i.indrelid = $1 AND i.indisunique AND i.indisvalid AND i.indimmediate AND i.indpred IS NULL AND i.indnkeyatts = 1 \
               AND a.attname = $2::text LIMIT 1";
    let index = session.wait("looking at the table", session.client().query_opt(sql, &[&oid, &key])).await?;
    match index {
        Some(_) => Ok(()),
        None => Err(altered(table, &format!("its primary key ({key}) is not there any more; put it back, or rebuild the projection"))),
    }
}

/// The table's number, or that of whatever else has its name.
pub(super) async fn oid(session: &Session, table: &Table) -> Result<Option<Oid>, Trouble> {
    let sql = "SELECT c.oid FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = $1 AND c.relname = $2";
    let row = session.wait("looking for the table", session.client().query_opt(sql, &[&table.schema, &table.name])).await?;
    Ok(row.map(|row| row.get(0)))
}

fn altered(table: &Table, detail: &str) -> Trouble {
    Fault::Lasting(format!("postgres: the table {} was altered: {detail}", table.described())).into()
}

fn line(table: &Table, column: &Column) -> String {
    let mut line = format!("{} {}", quoted(&column.name), type_name(column.column_type));
    if column.is_primary_key {
        line.push_str(&format!(" CONSTRAINT {} PRIMARY KEY", quoted(&table.primary_key())));
    }
    if let Some(default) = default(&column.default) {
        line.push_str(&format!(" DEFAULT {default}::{}", type_name(column.column_type)));
    }
    line
}

/// A default is only for who reads the table's definition: Factum writes every column.
fn default(value: &Value) -> Option<String> {
    let text = match value {
        Value::Null => return None,
        Value::Text(text) | Value::Json(text) if text.contains('\0') => return None,
        Value::Text(text) | Value::Json(text) => text.to_string(),
        Value::Integer(number) => number.to_string(),
        Value::Double(number) => number.to_string(),
        Value::Decimal(number) => number.to_string(),
        Value::Boolean(boolean) => boolean.to_string(),
        Value::Timestamp(micros) => jiff::Timestamp::from_microsecond(*micros).ok()?.to_string(),
        Value::Date(days) => {
            let span = jiff::Span::new().try_days(*days).ok()?;
            jiff::civil::date(1970, 1, 1).checked_add(span).ok()?.to_string()
        }
        Value::Uuid(bytes) => uuid::Uuid::from_bytes(*bytes).to_string(),
    };
    // Not as E'': a backslash is a backslash, whatever the server's `standard_conforming_strings` says.
    Some(if text.contains('\\') {
        format!("E'{}'", text.replace('\\', "\\\\").replace('\'', "''"))
    } else {
        format!("'{}'", text.replace('\'', "''"))
    })
}

/// What every row carries beside the definition's columns.
pub(super) const OWN: [&str; 2] = ["_version", "_position"];
