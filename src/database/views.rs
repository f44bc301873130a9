//! What do the rows of a view say, as far as the reader wants to see them?

use std::sync::Arc;
use std::time::Duration;

use super::Database;
use super::projections::reach;
use crate::Error;
use crate::projection::Columns;
use crate::projection::Handle;
use crate::projection::Place;
use crate::projection::Row;
use crate::projection::Value;
use crate::projection::ViewPage;
use crate::projection::ViewQuery;
use crate::projection::query;
use crate::projection::query::QueryFault;
use crate::projection::target::Fault;
use crate::projection::target::embedded::EmbeddedTarget;
use crate::projection::target::embedded::Reader;
use crate::subscription::Cursor;

/// A view whose rows are read here.
#[derive(Clone, Debug)]
pub struct ViewStatus {
    /// Its name, and that of its projection.
    pub name: String,
    /// Of the rows that readers see.
    pub columns: Arc<Columns>,
    /// How many rows there are.
    pub rows: u64,
    /// Everything up to here is in them.
    pub position: Cursor,
}

impl Database {
    /// All views whose rows are kept here and can be read now, by name.
    pub async fn views(&self) -> Vec<ViewStatus> {
        let embedded = self.inner.projections.all().into_iter().filter(|handle| embedded(handle).is_some());
        let counted = embedded.map(|handle| async move {
            let columns = handle.columns();
            let applied = handle.live.applied();
            let (rows, position) = read(&handle, &columns, |reader| Ok(reader.count()?)).await.ok()?;
            Some(ViewStatus { name: handle.name.clone(), columns, rows, position: later(position, applied) })
        });
        futures::future::join_all(counted).await.into_iter().flatten().collect()
    }

    /// The columns of a view.
    ///
    /// # Errors
    ///
    /// [`Error::ViewNotFound`].
    pub fn view_columns(&self, view: &str) -> Result<Arc<Columns>, Error> {
        Ok(self.view_handle(view)?.columns())
    }

    /// Waits until the view has applied everything up to `min`, for at most `wait`, then answers from one state of it.
    ///
    /// # Errors
    ///
    /// [`Error::ViewNotFound`]; [`Error::ReadModelBehind`]; [`Error::Invalid`] if the query does not fit the columns, or takes too long
    /// without an index; [`Error::TargetUnavailable`].
    pub async fn query_view(&self, view: &str, query: ViewQuery, min: Option<&Cursor>, wait: Duration) -> Result<ViewPage, Error> {
        let columns = self.view_columns(view)?;
        self.query_view_of(view, &columns, query, min, wait).await
    }

    /// The same for a query that was made for these columns.
    ///
    /// # Errors
    ///
    /// As [`Database::query_view`]; [`Error::TargetUnavailable`] if the view has got other columns since.
    pub(crate) async fn query_view_of(
        &self,
        view: &str,
        columns: &Arc<Columns>,
        query: ViewQuery,
        min: Option<&Cursor>,
        wait: Duration,
    ) -> Result<ViewPage, Error> {
        let handle = self.view_handle(view)?;
        if let Some(min) = min {
            reach(&handle, min, wait).await?;
        }
        let applied = handle.live.applied();
        let mut page = read(&handle, columns, move |reader| query::run(reader, &query, QUERY_TIME)).await?;
        page.cursor = later(page.cursor, applied);
        Ok(page)
    }

    /// The row of a key, if there is one, and the point up to which that is so. Waits as [`Database::query_view`].
    ///
    /// # Errors
    ///
    /// As [`Database::query_view`].
    pub async fn view_row(&self, view: &str, key: Value, min: Option<&Cursor>, wait: Duration) -> Result<(Option<Row>, Cursor), Error> {
        let columns = self.view_columns(view)?;
        self.view_row_of(view, &columns, key, min, wait).await
    }

    /// The same for a key of these columns.
    ///
    /// # Errors
    ///
    /// As [`Database::query_view_of`].
    pub(crate) async fn view_row_of(
        &self,
        view: &str,
        columns: &Arc<Columns>,
        key: Value,
        min: Option<&Cursor>,
        wait: Duration,
    ) -> Result<(Option<Row>, Cursor), Error> {
        let handle = self.view_handle(view)?;
        if let Some(min) = min {
            reach(&handle, min, wait).await?;
        }
        let applied = handle.live.applied();
        let (row, position) = read(&handle, columns, move |reader| Ok(reader.row(&key)?)).await?;
        Ok((row, later(position, applied)))
    }

    fn view_handle(&self, view: &str) -> Result<Arc<Handle>, Error> {
        let found = self.inner.projections.get(view).filter(|handle| embedded(handle).is_some());
        found.ok_or_else(|| {
            let all = self.inner.projections.all();
            let known = all.iter().filter(|handle| embedded(handle).is_some()).map(|handle| handle.name.clone()).collect();
            Error::ViewNotFound { view: view.to_owned(), known }
        })
    }
}

fn embedded(handle: &Handle) -> Option<&Arc<EmbeddedTarget>> {
    match &handle.place {
        Place::Embedded(target) => Some(target),
        Place::Postgres(_) => None,
    }
}

/// Reads beside the runtime's own threads.
async fn read<T: Send + 'static>(
    handle: &Arc<Handle>,
    columns: &Arc<Columns>,
    work: impl FnOnce(&Reader) -> Result<T, QueryFault> + Send + 'static,
) -> Result<T, Error> {
    let unavailable = |detail: String| Error::TargetUnavailable { view: handle.name.clone(), detail };
    let target = embedded(handle).cloned().ok_or_else(|| Error::ViewNotFound { view: handle.name.clone(), known: Vec::new() })?;
    let columns = Arc::clone(columns);
    let reading = tokio::task::spawn_blocking(move || match target.reader(&columns) {
        Ok(reader) => work(&reader),
        Err(fault) => Err(QueryFault::from(fault)),
    });
    let answer = reading.await.map_err(|error| unavailable(format!("reading was given up: {error}")))?;
    answer.map_err(|fault| match fault {
        QueryFault::Invalid { field, detail } => Error::Invalid { field, detail },
        QueryFault::TooSlow(detail) => Error::Invalid { field: "query".to_owned(), detail },
        QueryFault::Unread(trouble) => unavailable(Fault::from(trouble).to_string()),
    })
}

/// Where a view is: its checkpoint stands still while nothing changes its rows, and what was applied before they were read is in them.
fn later(checkpoint: Cursor, applied: Cursor) -> Cursor {
    if applied.covers(&checkpoint) { applied } else { checkpoint }
}

/// How long a query may look at rows.
const QUERY_TIME: Duration = Duration::from_secs(10);
