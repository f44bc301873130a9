//! How do a batch's rows and its checkpoint get into Postgres in one transaction?

use std::collections::HashMap;
use std::pin::pin;
use std::sync::Arc;

use futures::TryStreamExt;
use futures::future::BoxFuture;
use tokio_postgres::Row as Line;
use tokio_postgres::Statement;
use tokio_postgres::types::ToSql;

use super::super::Batch;
use super::super::Fault;
use super::super::LOAD_BYTES;
use super::super::Writer;
use super::PostgresTarget;
use super::cell::Cell;
use super::cell::Found;
use super::cell::refusal;
use super::culprit;
use super::fault;
use super::fault::Trouble;
use super::fault::with_causes;
use super::name::Table;
use super::portion::Portion;
use super::session::Session;
use super::statements;
use super::statements::Statements;
use crate::projection::row::Row;
use crate::projection::row::Write;
use crate::projection::spec::Columns;
use crate::projection::value::Value;
use crate::subscription::Cursor;

/// One generation, opened. Only `commit` has a transaction: what was loaded before it holds if the epoch is still the same then, because
/// nobody else writes these rows without counting it up. So nothing is locked while a batch is worked out, or comes to nothing.
pub(super) struct PostgresWriter {
    checkpoint: Option<Cursor>,
    /// Given up at the first fault: a transaction that nobody goes on with must not keep the next writer waiting.
    work: Option<Work>,
}

/// The connection of a writer and what it needs to know.
pub(super) struct Work {
    pub(super) session: Session,
    pub(super) statements: Statements,
    pub(super) table: Table,
    pub(super) columns: Arc<Columns>,
    pub(super) ownership: Ownership,
    /// Prepared for each set of columns that was looked for; a definition has few.
    finds: HashMap<Vec<(usize, bool)>, Statement>,
    portion: Arc<Portion>,
}

/// What the ownership row must say for a batch to count.
#[derive(Clone, Debug)]
pub(super) struct Ownership {
    pub(super) projection: String,
    pub(super) generation: String,
    pub(super) epoch: i64,
}

impl Writer for PostgresWriter {
    fn checkpoint(&self) -> Option<&Cursor> {
        self.checkpoint.as_ref()
    }

    fn load<'a>(&'a mut self, keys: &'a [Value]) -> BoxFuture<'a, Result<Vec<Option<Row>>, Fault>> {
        Box::pin(self.do_or_give_up(async move |work| work.load_rows(keys).await.map_err(Trouble::into_fault)))
    }

    fn find<'a>(&'a mut self, matching: &'a [(usize, Value)]) -> BoxFuture<'a, Result<Vec<Row>, Fault>> {
        Box::pin(self.do_or_give_up(async move |work| work.find_rows(matching).await.map_err(Trouble::into_fault)))
    }

    fn commit(&mut self, batch: Batch) -> BoxFuture<'_, Result<(), Fault>> {
        Box::pin(async move {
            self.do_or_give_up(async |work| match work.write(&batch).await {
                Ok(()) => Ok(()),
                Err(trouble @ (Trouble::Fault(_) | Trouble::Aborted(_))) => Err(trouble.into_fault()),
                Err(Trouble::Refused(detail)) => Err(culprit::find(work, &batch.writes, detail).await),
            })
            .await?;
            self.checkpoint = Some(batch.through);
            Ok(())
        })
    }

    /// A commit is durable.
    fn flush(&mut self) -> BoxFuture<'_, Result<(), Fault>> {
        Box::pin(async { Ok(()) })
    }
}

impl PostgresWriter {
    pub(super) fn new(work: Work, checkpoint: Option<Cursor>) -> Self {
        Self { checkpoint, work: Some(work) }
    }

    /// Taken out until it is done: who stops waiting in the middle has given up too.
    async fn do_or_give_up<T>(&mut self, act: impl AsyncFnOnce(&mut Work) -> Result<T, Fault>) -> Result<T, Fault> {
        let text = "postgres: an earlier part of the batch failed; it begins again on a new connection";
        let mut work = self.work.take().ok_or_else(|| Fault::Passing(text.to_owned()))?;
        let done = act(&mut work).await?;
        self.work = Some(work);
        Ok(done)
    }
}

impl Work {
    pub(super) fn new(
        target: &PostgresTarget,
        session: Session,
        statements: Statements,
        place: (Table, Arc<Columns>),
        ownership: Ownership,
    ) -> Self {
        let (table, columns) = place;
        Self { session, statements, table, columns, ownership, finds: HashMap::new(), portion: Arc::clone(&target.portion) }
    }

    /// Asks for as many rows at once as will be about [`LOAD_BYTES`], by what rows were like so far.
    async fn load_rows(&self, keys: &[Value]) -> Result<Vec<Option<Row>>, Trouble> {
        let mut rows = Vec::with_capacity(keys.len());
        let mut bytes = 0;
        let mut rest = keys;
        while !rest.is_empty() && (rows.is_empty() || bytes < LOAD_BYTES) {
            let count = self.portion.keys(bytes);
            let (asked, behind) = rest.split_at_checked(count).unwrap_or((rest, &[]));
            let lines = self.read_bounded(asked).await?;
            bytes += lines.iter().map(Line::raw_size_bytes).sum::<usize>();
            let mut found = HashMap::with_capacity(lines.len());
            for line in &lines {
                let row = read_row(line, &self.columns)?;
                found.insert(row.key(&self.columns).clone(), row);
            }
            rows.extend(asked.iter().map(|key| found.get(key).cloned()));
            rest = behind;
        }
        Ok(rows)
    }

    /// Reads what there is of these keys. If it is much more than was to be expected, the rest of it is not taken.
    async fn read_bounded(&self, keys: &[Value]) -> Result<Vec<Line>, Trouble> {
        // What Postgres can't keep it does not have; as a parameter it would be an error.
        let asked: Vec<Cell<'_>> = keys.iter().filter(|key| self.refusal(self.columns.primary_key(), key).is_none()).map(Cell).collect();
        let (mut lines, mut bytes) = (Vec::with_capacity(keys.len()), 0);
        let reading = async {
            let mut stream = pin!(self.session.client().query_raw(&self.statements.load, [asked]).await?);
            while let Some(line) = stream.try_next().await? {
                bytes += line.raw_size_bytes();
                lines.push(line);
                if bytes > LOAD_BYTES_MAX && lines.len() > 1 {
                    break;
                }
            }
            Ok(())
        };
        if let Err(trouble) = self.session.wait("reading rows", reading).await {
            self.portion.broke_off(keys.len(), lines.len(), bytes);
            return Err(trouble);
        }
        if bytes > LOAD_BYTES_MAX && lines.len() > 1 {
            self.portion.came(lines.len(), bytes);
            // Postgres goes on sending: a new connection is the quicker way out.
            let text = format!("postgres: rows of {} are larger than those before; fewer are read at once", self.table.described());
            return Err(Fault::Passing(text).into());
        }
        self.portion.came(keys.len(), bytes);
        Ok(lines)
    }

    async fn find_rows(&mut self, matching: &[(usize, Value)]) -> Result<Vec<Row>, Trouble> {
        if matching.iter().any(|(place, value)| self.refusal(*place, value).is_some()) {
            return Ok(Vec::new());
        }
        let shape: Vec<(usize, bool)> = matching.iter().map(|(place, value)| (*place, value.is_null())).collect();
        let statement = match self.finds.get(&shape) {
            Some(statement) => statement.clone(),
            None => {
                let statement = self.session.prepare(&statements::find(&self.table, &self.columns, &shape)).await?;
                if self.finds.len() >= FINDS_MAX {
                    self.finds.clear();
                }
                self.finds.insert(shape, statement.clone());
                statement
            }
        };
        let cells: Vec<Cell<'_>> = matching.iter().filter(|(_, value)| !value.is_null()).map(|(_, value)| Cell(value)).collect();
        let lines = self.read(&statement, &as_parameters(&cells)).await?;
        let mut rows = Vec::with_capacity(lines.len());
        for line in &lines {
            rows.push(read_row(line, &self.columns)?);
        }
        Ok(rows)
    }

    async fn read(&self, statement: &Statement, values: &[&(dyn ToSql + Sync)]) -> Result<Vec<Line>, Trouble> {
        self.session.wait("reading rows", self.session.client().query(statement, values)).await
    }

    /// Begins a transaction, if it is still ours to begin.
    pub(super) async fn begin(&self, sql: &str) -> Result<(), Trouble> {
        let client = self.session.client();
        let Ownership { projection, generation, epoch } = &self.ownership;
        let values: [&(dyn ToSql + Sync); 3] = [projection, generation, epoch];
        let (begun, owned) = futures::join!(
            self.session.run("beginning", sql),
            self.session.wait("beginning", client.query_opt(&self.statements.fence, &values)),
        );
        begun?;
        match owned? {
            Some(_) => Ok(()),
            None => {
                let text = format!("postgres: another server has taken over {}, or it was dropped", self.table.described());
                Err(Fault::Fenced(text).into())
            }
        }
    }

    fn refusal(&self, place: usize, value: &Value) -> Option<&'static str> {
        self.columns.list().get(place).and_then(|column| refusal(value, column.column_type))
    }

    async fn write(&self, batch: &Batch) -> Result<(), Trouble> {
        for write in &batch.writes {
            let mut values = write.row.iter().flat_map(|row| row.values.iter().enumerate());
            if let Some(detail) = values.find_map(|(place, value)| self.refusal(place, value)) {
                return Err(Fault::Row { key: write.key.clone(), detail: detail.to_owned() }.into());
            }
        }
        // Nothing is sent along with it: if there is no transaction after all, each statement would be one of its own.
        self.begin(BEGIN).await?;
        // Only when all of it has been answered: a statement that could not even be sent must not be missing from what is committed.
        let (rows, parked, checkpoint) =
            futures::join!(self.write_rows(&batch.writes), self.write_parked(batch), self.write_checkpoint(&batch.through));
        fault::first_cause([rows, parked, checkpoint])?;
        self.session.run("committing", "COMMIT").await
    }

    /// Writes rows, a bounded number of bytes at a time. Deletes are first: another row may get the value of a DBA's unique column.
    pub(super) async fn write_rows(&self, writes: &[Write]) -> Result<(), Trouble> {
        let key = self.columns.primary_key();
        let gone = writes.iter().filter(|write| write.row.is_none() && self.refusal(key, &write.key).is_none());
        let gone: Vec<Cell<'_>> = gone.map(|write| Cell(&write.key)).collect();
        let mut pending = Vec::new();
        if !gone.is_empty() {
            self.execute(&self.statements.delete, &[&gone]).await?;
        }
        let mut bytes = 0;
        for row in writes.iter().filter_map(|write| write.row.as_ref()) {
            bytes += row.bytes();
            pending.push(row);
            if bytes >= CHUNK_BYTES {
                self.upsert(&pending).await?;
                pending.clear();
                bytes = 0;
            }
        }
        if pending.is_empty() { Ok(()) } else { self.upsert(&pending).await }
    }

    async fn upsert(&self, rows: &[&Row]) -> Result<(), Trouble> {
        let places = 0..self.columns.list().len();
        let columns: Vec<Vec<Cell<'_>>> =
            places.map(|place| rows.iter().map(|row| Cell(row.values.get(place).unwrap_or(&Value::Null))).collect()).collect();
        let versions: Vec<i64> = rows.iter().map(|row| bigint(row.version)).collect::<Result<_, _>>()?;
        let positions: Vec<i64> = rows.iter().map(|row| bigint(row.position)).collect::<Result<_, _>>()?;
        let mut parameters = as_parameters(&columns);
        parameters.push(&versions);
        parameters.push(&positions);
        self.execute(&self.statements.upsert, &parameters).await
    }

    async fn write_parked(&self, batch: &Batch) -> Result<(), Trouble> {
        if batch.parked.is_empty() {
            return Ok(());
        }
        let parked = &batch.parked;
        let shards: Vec<i32> = parked.iter().map(|parked| i32::from(parked.shard)).collect();
        let positions: Vec<i64> = parked.iter().map(|parked| bigint(parked.position)).collect::<Result<_, _>>()?;
        let streams: Vec<String> = parked.iter().map(|parked| storable(&parked.stream)).collect();
        let versions: Vec<i64> = parked.iter().map(|parked| bigint(parked.version)).collect::<Result<_, _>>()?;
        let types: Vec<String> = parked.iter().map(|parked| storable(&parked.event_type)).collect();
        let reasons: Vec<String> = parked.iter().map(|parked| storable(&parked.reason)).collect();
        let times: Vec<Value> = parked.iter().map(|parked| Value::Timestamp(parked.parked_at.as_micros())).collect();
        let times: Vec<Cell<'_>> = times.iter().map(Cell).collect();
        let Ownership { projection, generation, .. } = &self.ownership;
        let parameters: [&(dyn ToSql + Sync); 9] =
            [projection, generation, &shards, &positions, &streams, &versions, &types, &reasons, &times];
        self.execute(&self.statements.park, &parameters).await
    }

    async fn write_checkpoint(&self, through: &Cursor) -> Result<(), Trouble> {
        let positions: Vec<i64> = through.positions().iter().map(|position| bigint(position.get())).collect::<Result<_, _>>()?;
        let Ownership { projection, generation, .. } = &self.ownership;
        self.execute(&self.statements.checkpoint, &[projection, generation, &positions]).await
    }

    async fn execute(&self, statement: &Statement, parameters: &[&(dyn ToSql + Sync)]) -> Result<(), Trouble> {
        self.session.wait("writing rows", self.session.client().execute(statement, parameters)).await.map(|_| ())
    }
}

/// A row as it comes from the statements of [`statements`].
pub(super) fn read_row(line: &Line, columns: &Columns) -> Result<Row, Fault> {
    try_read_row(line, columns)
        .map_err(|error| Fault::Lasting(format!("postgres: a row holds what no event wrote: {}", with_causes(&error))))
}

fn try_read_row(line: &Line, columns: &Columns) -> Result<Row, tokio_postgres::Error> {
    let count = columns.list().len();
    let mut values = Vec::with_capacity(count);
    for place in 0..count {
        values.push(line.try_get::<_, Found>(place)?.0);
    }
    let (version, position): (i64, i64) = (line.try_get(count)?, line.try_get(count + 1)?);
    Ok(Row { values: values.into(), version: version.unsigned_abs(), position: position.unsigned_abs() })
}

fn as_parameters<T: ToSql + Sync>(values: &[T]) -> Vec<&(dyn ToSql + Sync)> {
    values.iter().map(|value| -> &(dyn ToSql + Sync) { value }).collect()
}

fn bigint(number: u64) -> Result<i64, Fault> {
    i64::try_from(number).map_err(|_| Fault::Lasting(format!("postgres: {number} is more than a bigint holds")))
}

/// Text about an event must be kept whatever is in it.
fn storable(text: &str) -> String {
    text.replace('\0', "\u{fffd}")
}

const BEGIN: &str = "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE";

/// How much of a batch is sent at once.
const CHUNK_BYTES: usize = 16 << 20;

/// What is more than this in one answer is not taken.
const LOAD_BYTES_MAX: usize = 4 * LOAD_BYTES;

/// How many statements for `find` are kept.
const FINDS_MAX: usize = 64;
