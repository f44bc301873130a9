//! What can be asked of a projection's tables without being their writer?

use factum_storage::Timestamp;
use tokio_postgres::types::ToSql;

use super::super::Parked;
use super::bookkeeping;
use super::bookkeeping::Entry;
use super::cell::Cell;
use super::cell::refusal;
use super::fault::Trouble;
use super::session::Session;
use super::statements;
use super::writer::read_row;
use crate::projection::row::Row;
use crate::projection::spec::Columns;
use crate::projection::value::Value;

/// All generations; none where nothing was ever opened.
pub(super) async fn entries(session: &Session, projection: &str) -> Result<Vec<Entry>, Trouble> {
    if bookkeeping::is_there(session).await? { bookkeeping::entries(session, projection, false).await } else { Ok(Vec::new()) }
}

/// A row of the live table.
pub(super) async fn row(session: &Session, projection: &str, columns: &Columns, key: &Value) -> Result<Option<Row>, Trouble> {
    let Some(live) = entries(session, projection).await?.into_iter().find(|entry| entry.is_live) else { return Ok(None) };
    let key_type = columns.list().get(columns.primary_key()).map(|column| column.column_type);
    if key_type.is_none_or(|key_type| refusal(key, key_type).is_some()) {
        return Ok(None);
    }
    let sql = statements::one(&live.table, columns);
    let line = session.wait("reading a row", session.client().query_opt(&sql, &[&Cell(key)])).await?;
    Ok(line.map(|line| read_row(&line, columns)).transpose()?)
}

/// Parked events behind a place.
pub(super) async fn parked(
    session: &Session,
    projection: &str,
    generation: &str,
    after: Option<(u16, u64)>,
    limit: usize,
) -> Result<Vec<Parked>, Trouble> {
    if !bookkeeping::is_there(session).await? {
        return Ok(Vec::new());
    }
    let (shard, position) = match after {
        Some((shard, position)) => (i32::from(shard), i64::try_from(position).unwrap_or(i64::MAX)),
        None => (-1, 0),
    };
    let sql = "SELECT shard, position, stream, version, event_type, reason, parked_at FROM factum.parked \
               WHERE projection = $1 AND generation = $2 AND (shard, position) > ($3, $4) ORDER BY shard, position LIMIT $5";
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let values: [&(dyn ToSql + Sync); 5] = [&projection, &generation, &shard, &position, &limit];
    let rows = session.wait("reading parked events", session.client().query(sql, &values)).await?;
    Ok(rows.iter().map(parked_event).collect())
}

fn parked_event(row: &tokio_postgres::Row) -> Parked {
    let (shard, position, version): (i32, i64, i64) = (row.get(0), row.get(1), row.get(3));
    Parked {
        shard: u16::try_from(shard).unwrap_or_default(),
        position: position.unsigned_abs(),
        stream: row.get(2),
        version: version.unsigned_abs(),
        event_type: row.get(4),
        reason: row.get(5),
        parked_at: Timestamp::from_micros(row.get::<_, jiff::Timestamp>(6).as_microsecond()),
    }
}
