//! How does a writer get hold of a generation?

use factum_storage::Position;
use tokio_postgres::types::ToSql;

use super::super::Fault;
use super::super::Opening;
use super::PostgresTarget;
use super::bookkeeping;
use super::fault::Trouble;
use super::name::Table;
use super::session::Session;
use super::statements::Statements;
use super::table;
use super::writer::Ownership;
use super::writer::PostgresWriter;
use super::writer::Work;
use crate::subscription::Cursor;

/// Takes the generation over, or makes it, in one transaction; then reads how far it is.
pub(super) async fn open(target: &PostgresTarget, session: Session, opening: Opening) -> Result<PostgresWriter, Trouble> {
    let Opening { hash, definition, columns, database, shards, is_live } = opening;
    let database = bookkeeping::hexadecimal(database);
    let generation = bookkeeping::hexadecimal(hash);
    bookkeeping::make(&session).await?;
    session.run("opening", "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE").await?;
    // Two that open at once come one after the other, also where there is no row yet to lock.
    let lock = "SELECT pg_advisory_xact_lock(hashtextextended('factum:' || $1, 0))";
    session.wait("opening", session.client().execute(lock, &[&target.projection])).await?;
    let entries = bookkeeping::entries(&session, &target.projection, false).await?;
    let (table, epoch) = match entries.iter().find(|entry| entry.generation == generation) {
        Some(entry) if !entry.database.is_empty() && entry.database != database => {
            let text = format!(
                "postgres: the rows in {} are of the events of another database; rebuild the projection to have them made of this one's, \
                 or give it a table of its own",
                entry.table.described()
            );
            return Err(Fault::Lasting(text).into());
        }
        Some(entry) => {
            let epoch = take_over(&session, &target.projection, &generation, &database).await?;
            table::check(&session, &entry.table, &columns).await?;
            (entry.table.clone(), epoch)
        }
        None if is_live && entries.iter().any(|entry| entry.is_live) => {
            let text =
                format!("postgres: the projection {:?} has another live table already, of another server perhaps", target.projection);
            return Err(Fault::Lasting(text).into());
        }
        None => {
            // Where it is to go must be free, or its own, before a long rebuild begins.
            let own = entries.iter().any(|entry| entry.table == target.table);
            if !own && !is_live {
                table::refuse_foreign(&session, &target.table).await?;
            }
            let table = if is_live { target.table.clone() } else { target.table.beside(&generation) };
            table::make(&session, &table, &columns).await?;
            let made =
                Made { projection: &target.projection, generation: &generation, is_live, definition: &definition, database: &database };
            (table.clone(), made.note(&session, &table).await?)
        }
    };
    let checkpoint = checkpoint(&session, &target.projection, &generation, shards).await?;
    session.run("opening", "COMMIT").await?;
    let statements = Statements::prepare(&session, &table, &columns).await?;
    let ownership = Ownership { projection: target.projection.clone(), generation, epoch };
    Ok(PostgresWriter::new(Work::new(target, session, statements, (table, columns), ownership), checkpoint))
}

/// Counts up: whoever had it open before can't commit any more. Waits for a batch that is being committed.
async fn take_over(session: &Session, projection: &str, generation: &str, database: &str) -> Result<i64, Trouble> {
    let sql = "UPDATE factum.projections SET epoch = epoch + 1, opened_at = now(), database_id = $3 \
               WHERE projection = $1 AND generation = $2 RETURNING epoch";
    let row = session.wait("taking over", session.client().query_one(sql, &[&projection, &generation, &database])).await?;
    Ok(row.get(0))
}

struct Made<'a> {
    projection: &'a str,
    generation: &'a str,
    is_live: bool,
    definition: &'a str,
    database: &'a str,
}

impl Made<'_> {
    async fn note(&self, session: &Session, table: &Table) -> Result<i64, Trouble> {
        let sql = "INSERT INTO factum.projections (projection, generation, is_live, epoch, definition, table_schema, table_name, database_id) \
                   VALUES ($1, $2, $3, 1, $4, $5, $6, $7) RETURNING epoch";
        let definition = self.definition.replace('\0', "\u{fffd}");
        let values: [&(dyn ToSql + Sync); 7] =
            [&self.projection, &self.generation, &self.is_live, &definition, &table.schema, &table.name, &self.database];
        Ok(session.wait("noting the generation", session.client().query_one(sql, &values)).await?.get(0))
    }
}

async fn checkpoint(session: &Session, projection: &str, generation: &str, shards: u16) -> Result<Option<Cursor>, Trouble> {
    let sql = "SELECT shard, position FROM factum.checkpoints WHERE projection = $1 AND generation = $2 ORDER BY shard";
    let rows = session.wait("reading the checkpoint", session.client().query(sql, &[&projection, &generation])).await?;
    if rows.is_empty() {
        return Ok(None);
    }
    let found: Vec<(i32, i64)> = rows.iter().map(|row| (row.get(0), row.get(1))).collect();
    // Shards that have joined since are read from their start.
    let known = i32::try_from(found.len()).unwrap_or(i32::MAX).min(i32::from(shards));
    let is_whole = found.iter().map(|(shard, _)| *shard).eq(0..known) && found.iter().all(|(_, position)| *position >= 0);
    if !is_whole {
        let text = format!(
            "postgres: factum.checkpoints has {} shard(s) of the projection {projection:?}, this database has {shards}; rebuild the projection",
            found.len()
        );
        return Err(Fault::Lasting(text).into());
    }
    Ok(Some(Cursor::new(found.iter().map(|(_, position)| Position::new(position.unsigned_abs())).collect())))
}
