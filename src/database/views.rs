//! What do the rows of a view say?

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
use crate::projection::query::QueryFault;
use crate::projection::query::run;
use crate::projection::target::embedded::EmbeddedTarget;
use crate::subscription::Cursor;

/// A view whose rows are kept here.
#[derive(Clone, Debug)]
pub struct ViewInfo {
    /// Its name.
    pub view: String,
    /// The columns of its rows.
    pub columns: Arc<Columns>,
    /// Everything up to here is in its rows.
    pub position: Cursor,
}

impl Database {
    /// The views whose rows are kept here, by name.
    #[must_use]
    pub fn views(&self) -> Vec<ViewInfo> {
        let handles = self.inner.projections.all();
        let embedded = handles.iter().filter(|handle| matches!(handle.place, Place::Embedded(_)));
        embedded.map(|handle| ViewInfo { view: handle.name.clone(), columns: handle.columns(), position: handle.live.applied() }).collect()
    }

    /// The columns of a view.
    ///
    /// # Errors
    ///
    /// [`Error::ViewNotFound`].
    pub fn view_columns(&self, view: &str) -> Result<Arc<Columns>, Error> {
        Ok(self.view_handle(view)?.0.columns())
    }

    /// Rows of a view, all from one state of it. With `min`, of one that has everything up to there: that is waited for, for at most
    /// `wait`.
    ///
    /// # Errors
    ///
    /// [`Error::ViewNotFound`], [`Error::ReadModelBehind`], [`Error::Invalid`] for a query that the columns can't answer,
    /// [`Error::TargetUnavailable`].
    pub async fn query_view(&self, view: &str, query: ViewQuery, min: Option<&Cursor>, wait: Duration) -> Result<ViewPage, Error> {
        self.query_view_of(view, self.view_columns(view)?, query, min, wait).await
    }

    /// The same for a query that was made for these columns; [`Error::TargetUnavailable`] if the view has others by now.
    pub(crate) async fn query_view_of(
        &self,
        view: &str,
        columns: Arc<Columns>,
        query: ViewQuery,
        min: Option<&Cursor>,
        wait: Duration,
    ) -> Result<ViewPage, Error> {
        let (handle, target) = self.view_handle(view)?;
        if let Some(min) = min {
            reach(&handle, min, wait).await?;
        }
        // Taken before the rows are read, so these are of it or of something later.
        let applied = handle.live.applied();
        let read = move || {
            let reader = target.reader(&columns).map_err(|fault| fault.to_string())?;
            Ok(run(&reader, &query, QUERY_TIME_MAX))
        };
        match off_runtime(view, read).await? {
            Ok(mut page) => {
                page.cursor = later(page.cursor, applied);
                Ok(page)
            }
            Err(QueryFault::Invalid { field, detail }) => Err(Error::Invalid { field, detail }),
            Err(QueryFault::TooSlow(detail)) => Err(Error::Invalid { field: "query".to_owned(), detail }),
            Err(QueryFault::Unread(trouble)) => {
                let fault = crate::projection::target::Fault::from(trouble);
                Err(Error::TargetUnavailable { view: view.to_owned(), detail: fault.to_string() })
            }
        }
    }

    /// One row of a view, and what state of the view that is of; `min` and `wait` as in [`Database::query_view`].
    ///
    /// # Errors
    ///
    /// As [`Database::query_view`].
    pub async fn view_row(&self, view: &str, key: Value, min: Option<&Cursor>, wait: Duration) -> Result<(Option<Row>, Cursor), Error> {
        self.view_row_of(view, self.view_columns(view)?, key, min, wait).await
    }

    /// The same for a key of these columns; [`Error::TargetUnavailable`] if the view has others by now.
    pub(crate) async fn view_row_of(
        &self,
        view: &str,
        columns: Arc<Columns>,
        key: Value,
        min: Option<&Cursor>,
        wait: Duration,
    ) -> Result<(Option<Row>, Cursor), Error> {
        let (handle, target) = self.view_handle(view)?;
        if let Some(min) = min {
            reach(&handle, min, wait).await?;
        }
        let applied = handle.live.applied();
        let read = move || target.reader(&columns).and_then(|reader| reader.row(&key)).map_err(|fault| fault.to_string());
        let (row, cursor) = off_runtime(view, read).await?;
        Ok((row, later(cursor, applied)))
    }

    fn view_handle(&self, view: &str) -> Result<(Arc<Handle>, Arc<EmbeddedTarget>), Error> {
        let handle = self.inner.projections.get(view);
        let target = handle.as_ref().and_then(|handle| match &handle.place {
            Place::Embedded(target) => Some(Arc::clone(target)),
            Place::Postgres(_) | Place::Absent(_) => None,
        });
        let known = || self.views().into_iter().map(|info| info.view).take(KNOWN_MAX).collect();
        match (handle, target) {
            (Some(handle), Some(target)) => Ok((handle, target)),
            (Some(handle), None) => {
                let elsewhere = Some(handle.place.target().described());
                Err(Error::ViewNotFound { view: view.to_owned(), known: known(), elsewhere })
            }
            (None, _) => Err(Error::ViewNotFound { view: view.to_owned(), known: known(), elsewhere: None }),
        }
    }
}

/// Runs what may wait for the disk beside the runtime's own threads.
async fn off_runtime<T: Send + 'static>(view: &str, read: impl FnOnce() -> Result<T, String> + Send + 'static) -> Result<T, Error> {
    let done = match tokio::task::spawn_blocking(read).await {
        Ok(done) => done,
        Err(error) => Err(format!("reading was given up: {error}")),
    };
    done.map_err(|detail| Error::TargetUnavailable { view: view.to_owned(), detail })
}

/// A checkpoint stands still while nothing changes the rows; the worker has come further then.
fn later(checkpoint: Cursor, applied: Cursor) -> Cursor {
    if applied.covers(&checkpoint) { applied } else { checkpoint }
}

/// A query that takes longer needs an index, or a narrower question.
const QUERY_TIME_MAX: Duration = Duration::from_secs(10);
/// How many names are told to whoever asks for one that is not there.
const KNOWN_MAX: usize = 100;
