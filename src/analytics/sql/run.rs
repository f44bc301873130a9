//! How does a query work to its end, or to its limit?

use std::collections::HashSet;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering;
use std::time::Duration;
use std::time::Instant;

use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::execution::SendableRecordBatchStream;
use datafusion::physical_plan::execute_stream;
use futures::StreamExt;
use futures::future::BoxFuture;
use futures::stream;
use serde_json::Value as Json;
use tokio::sync::mpsc;
use tokio::sync::oneshot;
use tokio::task::AbortHandle;

use super::super::answer::SqlAnswer;
use super::Engine;
use super::Limits;
use super::Parsed;
use super::Tables;
use super::failure;
use super::guard;
use super::meters::Outcome;
use super::params;
use super::session;
use super::steady;
use super::watch::Watched;
use crate::Error;
use crate::subscription::Cursor;
use crate::telemetry::request;
use crate::telemetry::traces;
use crate::telemetry::traces::Active;

/// What is to be answered, and over which tables.
pub(in crate::analytics) struct Work {
    pub(in crate::analytics) parsed: Parsed,
    pub(in crate::analytics) params: Vec<Json>,
    pub(in crate::analytics) cut: Cursor,
    /// Finds the tables, up to the cut, and the names that are meant as they are written.
    pub(in crate::analytics) tables: BoxFuture<'static, Result<(Tables, HashSet<String>), Error>>,
    /// Called when a file of a lake can't be read; names the exports that it may be of.
    pub(in crate::analytics) lake_failed: Box<dyn Fn() -> String + Send + Sync>,
}

/// Time that may still be worked.
pub(in crate::analytics) struct Budget {
    left: Duration,
    whole: Duration,
}

impl Budget {
    fn new(whole: Duration) -> Self {
        Self { left: whole, whole }
    }

    /// Works on something, for as long as there is time.
    async fn spend<T>(&mut self, work: impl Future<Output = T>) -> Result<T, Error> {
        let began = Instant::now();
        let done = tokio::time::timeout(self.left, work).await;
        self.left = self.left.saturating_sub(began.elapsed());
        done.map_err(|_elapsed| self.used_up())
    }

    fn used_up(&self) -> Error {
        let detail = format!(
            "a query may work for {} (sql.time): ask for less, by position, time, stream, category or type, or read an export",
            crate::config::duration_text(self.whole)
        );
        Error::QueryLimit { limit: "time", detail }
    }
}

/// Ends the query when nobody wants its answer any more.
struct EndsOnDrop {
    task: AbortHandle,
    has_ended: Arc<AtomicBool>,
}

impl Drop for EndsOnDrop {
    fn drop(&mut self) {
        self.has_ended.store(true, Ordering::Relaxed);
        self.task.abort();
    }
}

/// Answers a query on the engine's threads. Returns once its columns are known.
///
/// # Errors
///
/// [`Error::InvalidQuery`], [`Error::QueryLimit`], [`Error::SqlBusy`], [`Error::Storage`].
pub(in crate::analytics) async fn answer(engine: Arc<Engine>, work: Work) -> Result<SqlAnswer, Error> {
    let permit = engine.admit().await.inspect_err(|error| engine.refused(error))?;
    let began = Instant::now();
    let limits = *engine.limits();
    let cut = work.cut.clone();
    let (head_sender, head) = oneshot::channel();
    let (sender, batches) = mpsc::channel(BATCHES_AHEAD);
    let (outcome_sender, outcome) = oneshot::channel();
    let handle = engine.handle()?;
    let has_ended = Arc::new(AtomicBool::new(false));
    let (working, ended) = (Arc::clone(&engine), Arc::clone(&has_ended));
    let performed = request::carried(request::current(), async move { Box::pin(perform(working, work, ended, head_sender, sender)).await });
    let task = handle.spawn(async move {
        // It may have been given up: nobody then is there to be told.
        outcome_sender.send(performed.await).unwrap_or_default();
        drop(permit);
    });
    let (query, watched) = (EndsOnDrop { task: task.abort_handle(), has_ended }, engine.watch.over(task.abort_handle()));
    let mut reader = Reader {
        batches,
        outcome,
        watched,
        engine,
        _query: query,
        budget: Budget::new(limits.time + STUCK),
        began,
        outcome_so_far: Outcome::Abandoned,
        trace: traces::current(),
    };
    let schema = match reader.budget.spend(head).await {
        Ok(Ok(schema)) => schema,
        Ok(Err(_ended)) => return Err(reader.end().await.unwrap_or_else(|| reader.given_up(died()))),
        Err(_stuck) => return Err(reader.given_up(Budget::new(limits.time).used_up())),
    };
    let batches = stream::unfold(Some(reader), |reader| async move {
        let mut reader = reader?;
        match reader.next().await? {
            Ok(batch) => Some((Ok(batch), Some(reader))),
            Err(error) => Some((Err(error), None)),
        }
    });
    Ok(SqlAnswer::new(schema, cut, batches.boxed()))
}

/// Where the answer comes out.
struct Reader {
    batches: mpsc::Receiver<RecordBatch>,
    /// How it went, once there are no more batches.
    outcome: oneshot::Receiver<Result<(), Error>>,
    watched: Watched,
    engine: Arc<Engine>,
    _query: EndsOnDrop,
    /// A query that does not come to a point where it could be stopped is given up by its reader.
    budget: Budget,
    began: Instant,
    /// What the measurements say if it ends here.
    outcome_so_far: Outcome,
    trace: Option<Arc<Active>>,
}

impl Reader {
    async fn next(&mut self) -> Option<Result<RecordBatch, Error>> {
        match self.budget.spend(self.batches.recv()).await {
            Ok(Some(batch)) => {
                self.engine.meters.rows(batch.num_rows());
                Some(Ok(batch))
            }
            Ok(None) => self.end().await.map(Err),
            Err(_stuck) => Some(Err(self.given_up(Budget::new(self.budget.whole.saturating_sub(STUCK)).used_up()))),
        }
    }

    fn given_up(&mut self, error: Error) -> Error {
        self.outcome_so_far = Outcome::of(&error);
        error
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.engine.meters.ended(self.outcome_so_far, self.began.elapsed());
        if let Some(trace) = &self.trace {
            let is_error = !matches!(self.outcome_so_far, Outcome::Answered | Outcome::Abandoned);
            trace.note_late("sql.query", self.began, vec![("factum.outcome", self.outcome_so_far.as_str().into())], is_error);
        }
    }
}

impl Reader {
    /// Why the query ended, if not because it was done.
    async fn end(&mut self) -> Option<Error> {
        let error = self.why_ended().await;
        self.outcome_so_far = error.as_ref().map_or(Outcome::Answered, Outcome::of);
        error
    }

    async fn why_ended(&mut self) -> Option<Error> {
        match (&mut self.outcome).await {
            Ok(outcome) => outcome.err(),
            Err(_aborted) if self.watched.was_ended() => Some(failure::out_of_memory()),
            Err(_aborted) if self.engine.is_closed() => Some(Error::Unavailable { shard: 0, detail: "the database closes".to_owned() }),
            Err(_died) => Some(died()),
        }
    }
}

/// The query's own task.
async fn perform(
    engine: Arc<Engine>,
    work: Work,
    has_ended: Arc<AtomicBool>,
    head: oneshot::Sender<SchemaRef>,
    sender: mpsc::Sender<RecordBatch>,
) -> Result<(), Error> {
    let limits = *engine.limits();
    let mut budget = Budget::new(limits.time);
    let Work { parsed, params, tables, lake_failed, .. } = work;
    let outcome = match budget.spend(Box::pin(plan(&engine, (parsed, params), tables, &has_ended))).await.flatten() {
        Ok(batches) => match head.send(batches.schema()) {
            Ok(()) => deliver(batches, &limits, &mut budget, &sender).await,
            Err(_given_up) => Ok(()),
        },
        Err(error) => Err(error),
    };
    match outcome {
        Err(Error::LakeUnavailable { detail, .. }) => Err(Error::LakeUnavailable { export: lake_failed(), detail }),
        outcome => outcome,
    }
}

/// Plans a query over its tables, and holds the plan to reading.
async fn plan(
    engine: &Engine,
    (parsed, params): (Parsed, Vec<Json>),
    tables: BoxFuture<'static, Result<(Tables, HashSet<String>), Error>>,
    has_ended: &Arc<AtomicBool>,
) -> Result<SendableRecordBatchStream, Error> {
    let values = params::values(&parsed, &params)?;
    let limits = engine.limits();
    let batch_rows = batch_rows(limits, params::bytes(&parsed, &params));
    let (tables, exact) = tables.await?;
    let statement = parsed.statement(&exact)?;
    let running = engine.running()?;
    let of_planning = |error| failure::of_planning(&error, None);
    let state = session::state(&running, tables, limits.threads.max(1), batch_rows).map_err(of_planning)?;
    let plan = state.statement_to_plan(statement).await.map_err(of_planning)?;
    let plan = guard::hold(plan).map_err(of_planning)?.with_param_values(values).map_err(of_planning)?;
    let plan = state.create_physical_plan(&plan).await.map_err(of_planning)?;
    let plan = steady::stoppable(plan, has_ended).map_err(of_planning)?;
    execute_stream(plan, state.task_ctx()).map_err(|error| failure::of_running(&error))
}

/// Hands the rows over as they are worked out.
async fn deliver(
    mut batches: SendableRecordBatchStream,
    limits: &Limits,
    budget: &mut Budget,
    sender: &mpsc::Sender<RecordBatch>,
) -> Result<(), Error> {
    let mut rows = 0_u64;
    while let Some(batch) = budget.spend(batches.next()).await? {
        let batch = batch.map_err(|error| failure::of_running(&error))?;
        rows = rows.saturating_add(batch.num_rows() as u64);
        if rows > limits.rows {
            let detail = format!("an answer has at most {} rows (sql.rows): ask for fewer, or page by position", limits.rows);
            return Err(Error::QueryLimit { limit: "rows", detail });
        }
        if batch.num_rows() == 0 {
            continue;
        }
        match tokio::time::timeout(limits.time, sender.send(batch)).await {
            Ok(Ok(())) => {}
            Ok(Err(_given_up)) => return Ok(()),
            Err(_elapsed) => {
                let detail = "the answer was not read for longer than a query may work (sql.time)";
                return Err(Error::QueryLimit { limit: "time", detail: detail.to_owned() });
            }
        }
    }
    Ok(())
}

/// A literal or a parameter is repeated for every row of a batch: long ones make small batches.
fn batch_rows(limits: &Limits, literal_bytes: usize) -> usize {
    let fit = limits.memory_bytes / LITERAL_SHARE / literal_bytes.max(1);
    fit.clamp(BATCH_ROWS_MIN, BATCH_ROWS)
}

fn died() -> Error {
    failure::engine_failed(&std::io::Error::other("panic"))
}

/// Batches that are worked out before somebody takes them.
const BATCHES_AHEAD: usize = 2;
/// A query that has not been stopped so long after its time was over can't be.
const STUCK: Duration = Duration::from_millis(500);
const BATCH_ROWS: usize = 8_192;
const BATCH_ROWS_MIN: usize = 16;
/// What literals of a batch may take of the memory.
const LITERAL_SHARE: usize = 16;
