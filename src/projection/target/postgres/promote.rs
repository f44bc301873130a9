//! How does a table that was built take the place of the one in use, and how does one go?

use super::super::Fault;
use super::bookkeeping;
use super::bookkeeping::Entry;
use super::fault::Trouble;
use super::name::Table;
use super::name::quoted;
use super::session::Session;
use super::table;

/// Puts the generation's table in the place of the live one, in one transaction. A reader sees the old rows or the new ones: a query that
/// comes while the tables are locked waits, and looks the name up again.
pub(super) async fn promote(session: &Session, projection: &str, generation: &str, place: &Table) -> Result<(), Trouble> {
    if !bookkeeping::is_there(session).await? {
        return Err(missing(projection, generation));
    }
    begin(session).await?;
    let entries = bookkeeping::entries(session, projection, true).await?;
    let Some(entry) = entries.iter().find(|entry| entry.generation == generation) else { return Err(missing(projection, generation)) };
    let others: Vec<&Entry> = entries.iter().filter(|other| other.generation != generation).collect();
    let grants = match others.iter().find(|other| other.is_live) {
        Some(live) => grants(session, &live.table, place).await?,
        None => Vec::new(),
    };
    for other in others {
        session.run("dropping the table before", &format!("DROP TABLE IF EXISTS {}", other.table)).await?;
        bookkeeping::forget(session, projection, &other.generation).await?;
    }
    if entry.table != *place {
        table::refuse_foreign(session, place).await?;
        rename(session, &entry.table, place).await?;
    }
    for grant in grants {
        session.run("granting again", &grant).await?;
    }
    let sql = "UPDATE factum.projections SET is_live = true, epoch = epoch + 1, table_schema = $3, table_name = $4 \
               WHERE projection = $1 AND generation = $2";
    session.wait("promoting", session.client().execute(sql, &[&projection, &generation, &place.schema, &place.name])).await?;
    session.run("promoting", "COMMIT").await
}

/// Forgets a generation and drops its table, or leaves it to whoever reads it.
pub(super) async fn drop_generation(session: &Session, projection: &str, generation: &str, keep_rows: bool) -> Result<(), Trouble> {
    if !bookkeeping::is_there(session).await? {
        return Ok(());
    }
    begin(session).await?;
    let entries = bookkeeping::entries(session, projection, true).await?;
    if let Some(entry) = entries.iter().find(|entry| entry.generation == generation) {
        if !keep_rows {
            session.run("dropping the table", &format!("DROP TABLE IF EXISTS {}", entry.table)).await?;
        }
        bookkeeping::forget(session, projection, generation).await?;
    }
    session.run("dropping", "COMMIT").await
}

/// Readers queue behind a lock that waits for a long query: it gives up soon, and is tried again.
async fn begin(session: &Session) -> Result<(), Trouble> {
    session.run("beginning", "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE; SET LOCAL lock_timeout = '3s'").await
}

async fn rename(session: &Session, from: &Table, to: &Table) -> Result<(), Trouble> {
    if from.schema != to.schema {
        session.run("moving the table", &format!("ALTER TABLE {from} SET SCHEMA {}", quoted(&to.schema))).await?;
    }
    let moved = Table { schema: to.schema.clone(), name: from.name.clone() };
    let sql = "SELECT i.relname::text, a.attname::text, x.indisprimary FROM pg_index x JOIN pg_class i ON i.oid = x.indexrelid \
               JOIN pg_class t ON t.oid = x.indrelid JOIN pg_namespace n ON n.oid = t.relnamespace \
               JOIN pg_attribute a ON a.attrelid = t.oid AND a.attnum = x.indkey[0] WHERE n.nspname = $1 AND t.relname = $2";
    let rows = session.wait("looking at the indexes", session.client().query(sql, &[&moved.schema, &moved.name])).await?;
    let mut sql = format!("ALTER TABLE {moved} RENAME TO {}", quoted(&to.name));
    for row in &rows {
        let (index, column, is_primary): (String, String, bool) = (row.get(0), row.get(1), row.get(2));
        let (ours, name) = if is_primary { (moved.primary_key(), to.primary_key()) } else { (moved.index(&column), to.index(&column)) };
        // One that somebody else made keeps its name.
        if index == ours {
            sql.push_str(&format!("; ALTER INDEX {}.{} RENAME TO {}", quoted(&to.schema), quoted(&index), quoted(&name)));
        }
    }
    session.run("renaming the table", &sql).await
}

/// What others may do with the live table, to be said again of the one that takes its place.
async fn grants(session: &Session, live: &Table, place: &Table) -> Result<Vec<String>, Trouble> {
    let sql = "SELECT a.privilege_type, CASE WHEN a.grantee = 0 THEN 'PUBLIC' ELSE quote_ident(r.rolname) END, a.is_grantable \
               FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace, \
               aclexplode(c.relacl) a LEFT JOIN pg_roles r ON r.oid = a.grantee \
               WHERE n.nspname = $1 AND c.relname = $2 AND a.grantee <> c.relowner AND (a.grantee = 0 OR r.oid IS NOT NULL)";
    let rows = session.wait("reading grants", session.client().query(sql, &[&live.schema, &live.name])).await?;
    let statements = rows.iter().map(|row| {
        let (privilege, role, is_grantable): (String, String, bool) = (row.get(0), row.get(1), row.get(2));
        let option = if is_grantable { " WITH GRANT OPTION" } else { "" };
        format!("GRANT {privilege} ON TABLE {place} TO {role}{option}")
    });
    Ok(statements.collect())
}

fn missing(projection: &str, generation: &str) -> Trouble {
    Fault::Lasting(format!("postgres: the projection {projection:?} has no generation {generation}")).into()
}
