//! How do exports fare, and how are they told to publish at once?

use std::time::Duration;

use super::Database;
use super::definitions::described;
use super::definitions::fault;
use super::definitions::file;
use super::projections::check_name;
use crate::Error;
use crate::analytics::export;
use crate::analytics::export::ExportFailure;
use crate::analytics::export::ExportState;
use crate::analytics::export::Handle;
use crate::definition;
use crate::definition::Format;
use crate::definition::Key;
use crate::definition::Kind;
use crate::error::DefinitionFault;
use crate::subscription::Cursor;

/// What an export's text comes to.
pub(super) type ExportSpec = export::Spec;

/// How an export fares.
#[derive(Clone, Debug)]
pub struct ExportStatus {
    /// Its name.
    pub name: String,
    /// Where its lake lies.
    pub url: String,
    /// What it does.
    pub state: ExportState,
    /// All events up to here that its filter wants are in the files.
    pub checkpoint: Cursor,
    /// Where the log ends.
    pub head: Cursor,
    /// How many events lie between the two, those included that the filter leaves out.
    pub lag_events: u64,
    /// How long ago the newest event in the files was recorded; 0 if there is none behind it.
    pub lag_ms: u64,
    /// How many events were published a second, over the last minute.
    pub events_per_second: f64,
    /// Why it does not go on, or what is wrong although it does.
    pub error: Option<ExportFailure>,
    /// The files of one manifest: together they hold each event once.
    pub files: Vec<ExportFile>,
    /// The cursor of that manifest. The checkpoint may be further, if there was nothing for the files since.
    pub published: Cursor,
}

/// A Parquet file of an export.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExportFile {
    /// Where it is.
    pub url: String,
    /// How many events it holds.
    pub rows: u64,
    /// Its size.
    pub bytes: u64,
}

impl Database {
    /// How all exports fare, by name.
    #[must_use]
    pub fn exports(&self) -> Vec<ExportStatus> {
        self.inner.exports.all().iter().map(|handle| self.export_status(handle)).collect()
    }

    /// How an export fares.
    ///
    /// # Errors
    ///
    /// [`Error::DefinitionNotFound`].
    pub fn export(&self, name: &str) -> Result<ExportStatus, Error> {
        Ok(self.export_status(&*self.export_handle(name)?))
    }

    /// Publishes everything up to now, and waits until that is done or `wait` is over; says whether it is, and how the export fares then.
    /// One that has failed tries again.
    ///
    /// # Errors
    ///
    /// [`Error::DefinitionNotFound`]; [`Error::LakeUnavailable`] if it does not go on.
    pub async fn flush_export(&self, name: &str, wait: Duration) -> Result<(bool, ExportStatus), Error> {
        let handle = self.export_handle(name)?;
        let end = self.end();
        handle.flush_to(&end);
        let mut reached = handle.status.watch_reached();
        let is_done = tokio::time::timeout(wait, reached.wait_for(|reached| reached.covers(&end))).await.is_ok();
        let status = self.export_status(&handle);
        match (&status.error, status.state) {
            (Some(error), ExportState::Failed | ExportState::Retrying) if !is_done => {
                Err(Error::LakeUnavailable { export: name.to_owned(), detail: error.reason.clone() })
            }
            _ => Ok((is_done, status)),
        }
    }

    /// Ends an export; its files stay where they are, unless `remove_files`.
    ///
    /// # Errors
    ///
    /// [`Error::DefinitionNotFound`]; [`Error::LakeUnavailable`] if files could not be removed (the export has ended all the same), and
    /// as [`Database::append`].
    pub async fn remove_export(&self, name: &str, remove_files: bool) -> Result<(), Error> {
        let key = export_key(name);
        let mut definitions = self.inner.definitions.lock().await;
        if definitions.get(&key).is_none() {
            return Err(Error::DefinitionNotFound { what: described(&key) });
        }
        self.record(&mut definitions, definition::REMOVED, definition::removed_data(&key)).await?;
        let removed = self.inner.exports.remove(name, remove_files).await;
        removed.map_err(|detail| Error::LakeUnavailable { export: name.to_owned(), detail: format!("it has ended; {detail}") })
    }

    /// What an export's text means.
    pub(super) fn export_spec(key: &Key, format: Format, text: &str) -> Result<ExportSpec, Error> {
        check_name(&key.name)?;
        ExportSpec::parse(&key.name, format, text).map_err(|found| of_file(key, found))
    }

    /// What an export's text means, and whether that is in force already.
    pub(super) fn check_export(&self, key: &Key, format: Format, text: &str) -> Result<(ExportSpec, bool), Error> {
        let spec = Self::export_spec(key, format, text)?;
        self.inner.exports.check(&spec).map_err(|found| of_file(key, found))?;
        let is_same = self.inner.exports.get(&key.name).is_some_and(|present| *present.spec == spec);
        Ok((spec, is_same))
    }

    /// Puts an export in force.
    pub(super) async fn put_export(&self, key: &Key, spec: ExportSpec) -> Result<(), Error> {
        self.inner.exports.put(spec).await.map_err(|found| of_file(key, found))
    }

    /// Puts an export in force that was accepted before. What is wrong now is told by its status.
    pub(super) async fn revive_export(&self, key: &Key, spec: ExportSpec) -> Result<(), Error> {
        let kept = spec.clone();
        let revived = self.put_export(key, spec).await;
        if let Err(Error::InvalidDefinition(fault)) = &revived {
            self.inner.exports.put_failed(kept, &fault.detail);
        }
        revived
    }

    fn export_handle(&self, name: &str) -> Result<std::sync::Arc<Handle>, Error> {
        self.inner.exports.get(name).ok_or_else(|| Error::DefinitionNotFound { what: described(&export_key(name)) })
    }

    fn export_status(&self, handle: &Handle) -> ExportStatus {
        let status = &handle.status;
        let (state, error) = status.state();
        let (checkpoint, head) = (status.reached(), self.end());
        let pairs = checkpoint.positions().iter().zip(head.positions());
        let lag_events = pairs.map(|(from, to)| to.get().saturating_sub(from.get())).sum();
        let lag_ms = match status.last_recorded_at() {
            Some(recorded_at) if lag_events > 0 => {
                let now = jiff::Timestamp::now().as_microsecond();
                u64::try_from(now.saturating_sub(recorded_at.as_micros()) / 1_000).unwrap_or(0)
            }
            _ => 0,
        };
        let published = status.published();
        let file = |file: &export::PublishedFile| ExportFile { url: file.url.clone(), rows: file.rows, bytes: file.bytes };
        ExportStatus {
            name: handle.spec.name.clone(),
            url: handle.url.clone(),
            state,
            lag_events,
            lag_ms,
            events_per_second: status.events_per_second(),
            error,
            files: published.iter().flat_map(|published| published.files.iter().map(file)).collect(),
            published: published.map_or_else(|| Cursor::start(self.router()), |published| published.through.clone()),
            checkpoint,
            head,
        }
    }
}

fn export_key(name: &str) -> Key {
    Key { kind: Kind::Export, name: name.to_owned() }
}

fn of_file(key: &Key, found: DefinitionFault) -> Error {
    fault(DefinitionFault { what: file(key), ..found })
}
