//! What does Factum note in Postgres beside the rows? Schema `factum`: who owns which table, the checkpoints, the parked events.

use tokio_postgres::Row;

use super::super::Fault;
use super::super::Generation;
use super::fault::Trouble;
use super::name::Table;
use super::session::Session;

/// A line of `factum.projections`.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) projection: String,
    /// The hash of the definition, in hexadecimal.
    pub(super) generation: String,
    pub(super) is_live: bool,
    pub(super) definition: String,
    pub(super) table: Table,
    /// The database whose events the rows are of, in hexadecimal; empty if that was not noted.
    pub(super) database: String,
}

impl Entry {
    fn of(row: &Row) -> Self {
        Self {
            projection: row.get(0),
            generation: row.get(1),
            is_live: row.get(2),
            definition: row.get(3),
            table: Table { schema: row.get(4), name: row.get(5) },
            database: row.get(6),
        }
    }

    pub(super) fn into_generation(self) -> Result<Generation, Fault> {
        let hash = u128::from_str_radix(&self.generation, 16).map_err(|_| {
            Fault::Lasting(format!("postgres: factum.projections has {:?} as a generation, which Factum did not write", self.generation))
        })?;
        Ok(Generation { hash: hash.to_be_bytes(), definition: self.definition, is_live: self.is_live })
    }
}

/// A hash as it stands in the tables.
pub(super) fn hexadecimal(hash: [u8; 16]) -> String {
    format!("{:032x}", u128::from_be_bytes(hash))
}

/// Whether the tables are there. Asking needs no permission to make them.
pub(super) async fn is_there(session: &Session) -> Result<bool, Trouble> {
    let answer = session.client().query_one(IS_THERE, &[]);
    let row = session.wait("looking for the schema factum", answer).await?;
    Ok(row.get(0))
}

/// Makes the tables unless they are there.
pub(super) async fn make(session: &Session) -> Result<(), Trouble> {
    if is_there(session).await? {
        return Ok(());
    }
    session.run("making the schema factum", MAKE).await
}

/// What there is of a projection. With `is_owner`, nobody else changes it until the transaction ends.
pub(super) async fn entries(session: &Session, projection: &str, is_owner: bool) -> Result<Vec<Entry>, Trouble> {
    let lock = if is_owner { " FOR UPDATE" } else { "" };
    let sql = format!("SELECT {ENTRY} FROM factum.projections WHERE projection = $1 ORDER BY generation{lock}");
    let rows = session.wait("reading factum.projections", session.client().query(&sql, &[&projection])).await?;
    Ok(rows.iter().map(Entry::of).collect())
}

/// Whose table it is, if it is one of Factum's.
pub(super) async fn owner(session: &Session, table: &Table) -> Result<Option<Entry>, Trouble> {
    let sql = format!("SELECT {ENTRY} FROM factum.projections WHERE table_schema = $1 AND table_name = $2");
    let row = session.wait("reading factum.projections", session.client().query_opt(&sql, &[&table.schema, &table.name])).await?;
    Ok(row.as_ref().map(Entry::of))
}

/// Forgets a generation. Whoever writes it is fenced by that.
pub(super) async fn forget(session: &Session, projection: &str, generation: &str) -> Result<(), Trouble> {
    for table in ["parked", "checkpoints", "projections"] {
        let sql = format!("DELETE FROM factum.{table} WHERE projection = $1 AND generation = $2");
        session.wait("forgetting a generation", session.client().execute(&sql, &[&projection, &generation])).await?;
    }
    Ok(())
}

const ENTRY: &str = "projection, generation, is_live, definition, table_schema, table_name, database_id";

/// The last of what [`MAKE`] makes.
const IS_THERE: &str =
    "SELECT EXISTS (SELECT FROM pg_attribute WHERE attrelid = to_regclass('factum.projections') AND attname = 'database_id')";

/// Two servers that begin at once must not both make them: whoever comes second waits, and finds them. The number is `factum` in ASCII.
const MAKE: &str = "\
BEGIN;
SELECT pg_advisory_xact_lock(112568466437485);
CREATE SCHEMA IF NOT EXISTS factum;
CREATE TABLE IF NOT EXISTS factum.projections (
    projection   text NOT NULL,
    generation   text NOT NULL,
    is_live      boolean NOT NULL,
    epoch        bigint NOT NULL,
    definition   text NOT NULL,
    table_schema text NOT NULL,
    table_name   text NOT NULL,
    created_at   timestamptz NOT NULL DEFAULT now(),
    opened_at    timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (projection, generation),
    UNIQUE (table_schema, table_name)
);
CREATE TABLE IF NOT EXISTS factum.checkpoints (
    projection   text NOT NULL,
    generation   text NOT NULL,
    shard        integer NOT NULL,
    position     bigint NOT NULL,
    updated_at   timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (projection, generation, shard)
) WITH (fillfactor = 50);
CREATE TABLE IF NOT EXISTS factum.parked (
    projection   text NOT NULL,
    generation   text NOT NULL,
    shard        integer NOT NULL,
    position     bigint NOT NULL,
    stream       text NOT NULL,
    version      bigint NOT NULL,
    event_type   text NOT NULL,
    reason       text NOT NULL,
    parked_at    timestamptz NOT NULL,
    PRIMARY KEY (projection, generation, shard, position)
);
ALTER TABLE factum.projections ADD COLUMN IF NOT EXISTS database_id text NOT NULL DEFAULT '';
COMMENT ON SCHEMA factum IS 'Kept by Factum: which tables it fills, and how far. Read it; do not write to it.';
COMMIT";
