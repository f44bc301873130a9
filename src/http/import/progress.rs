//! From batches to progress: commits what was read, and tells the client how far it is.

use std::convert::Infallible;
use std::time::Duration;

use bytes::Bytes;
use factum_storage as storage;
use futures::Stream;
use futures::StreamExt;
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::lines::Batch;
use super::lines::Group;
use super::lines::Part;
use crate::Error;
use crate::database::Database;
use crate::database::ImportResult;
use crate::database::Kind;
use crate::database::NewEvent;
use crate::database::StreamName;
use crate::http::answer::cursor_text;
use crate::http::problem::Problem;
use crate::http::problem::Slug;

/// The answer's lines. It is the asking for them that commits: a client that hangs up stops its import.
pub(super) fn stream(database: Database, parts: mpsc::Receiver<Part>) -> impl Stream<Item = Result<Bytes, Infallible>> {
    let told = Instant::now();
    let import = Import { database, parts, has_schemas: false, imported: 0, duplicates: 0, bytes: 0, told, has_ended: false };
    futures::stream::unfold(import, |mut import| async move {
        let line = import.next_line().await?;
        Some((Ok(line.into()), import))
    })
}

struct Import {
    database: Database,
    parts: mpsc::Receiver<Part>,
    /// Data may break a schema: what stands before it has to be told from what does not.
    has_schemas: bool,
    imported: u64,
    duplicates: u64,
    bytes: u64,
    told: Instant,
    has_ended: bool,
}

impl Import {
    async fn next_line(&mut self) -> Option<String> {
        while !self.has_ended {
            let line = match self.parts.recv().await {
                Some(Part::Batch(batch)) => {
                    self.has_schemas = !self.database.definitions(Kind::Schema).await.is_empty();
                    self.commit(batch).await
                }
                Some(Part::Fault { problem, line }) => Some(self.end(&problem, line)),
                Some(Part::End) => {
                    self.has_ended = true;
                    Some(self.progress(true))
                }
                // The reading thread died without a word: a panic, which its own report names.
                None => Some(self.end(&Problem::new(Slug::InternalError, "the import could not go on"), 0)),
            };
            if line.is_some() {
                return line;
            }
        }
        None
    }

    async fn commit(&mut self, batch: Batch) -> Option<String> {
        let database = &self.database;
        let may_be_refused = self.has_schemas;
        let mut calls = futures::stream::iter(batch.groups)
            .map(|group| async move {
                let Group { stream, events, lines } = group;
                let ids: Vec<storage::EventId> = events.iter().map(|event| event.id).collect();
                let (done, error) = import(database, stream, events, may_be_refused).await;
                (done, error.map(|error| line_of(error, &ids, &lines)))
            })
            .buffer_unordered(CALLS_MAX);
        let mut fault: Option<(Error, u64)> = None;
        while let Some((done, refused)) = calls.next().await {
            if let Some(done) = done {
                self.imported += done.imported;
                self.duplicates += done.duplicates;
            }
            // The first line that was refused is told, whichever answer came first.
            if let Some((error, line)) = refused
                && fault.as_ref().is_none_or(|(_, known)| line < *known)
            {
                fault = Some((error, line));
            }
        }
        drop(calls);
        if let Some((error, line)) = fault {
            return Some(self.end(&Problem::from(error), line));
        }
        self.bytes += batch.bytes;
        if self.told.elapsed() < PROGRESS_EVERY {
            return None;
        }
        self.told = Instant::now();
        Some(self.progress(false))
    }

    fn progress(&self, is_done: bool) -> String {
        let done = if is_done { ",\"done\":true" } else { "" };
        let cursor = cursor_text(&self.database.end());
        let Self { imported, duplicates, bytes, .. } = self;
        format!("{{\"imported\":{imported},\"duplicates\":{duplicates},\"bytes\":{bytes},\"cursor\":\"{cursor}\"{done}}}\n")
    }

    fn end(&mut self, problem: &Problem, line: u64) -> String {
        self.has_ended = true;
        if let Some(cause) = problem.cause() {
            tracing::error!(slug = problem.slug().entry().slug, cause, "an import broke off");
        }
        let mut json = String::from_utf8_lossy(&problem.to_json()).into_owned();
        json.pop();
        let progress = self.progress(false);
        format!("{progress}{{\"$error\":{json},\"line\":{line}}}}}\n")
    }
}

/// Imports the events of one stream. Data that breaks its schema ends them there; what stands before it is imported.
async fn import(
    database: &Database,
    stream: StreamName,
    events: Vec<NewEvent>,
    may_be_refused: bool,
) -> (Option<ImportResult>, Option<Error>) {
    let kept = if may_be_refused { events.clone() } else { Vec::new() };
    let error = match database.import(stream.clone(), events).await {
        Ok(done) => return (Some(done), None),
        Err(error) => error,
    };
    let before = index_of(&error).and_then(|index| kept.get(..index)).filter(|before| !before.is_empty());
    let Some(before) = before else { return (None, Some(error)) };
    match database.import(stream, before.to_vec()).await {
        Ok(done) => (Some(done), Some(error)),
        // What stands before it is refused too: that line comes first.
        Err(first) => (None, Some(first)),
    }
}

/// The line that an error is about: the event it names, else the first of its stream.
fn line_of(error: Error, ids: &[storage::EventId], lines: &[u64]) -> (Error, u64) {
    let index: Option<usize> = if let Error::Storage(storage::Error::EventIdReused { id, .. }) = &error {
        // If an id is there twice, the first had it to itself.
        ids.iter().rposition(|own| own == id)
    } else {
        index_of(&error)
    };
    let line = lines.get(index.unwrap_or(0)).copied().unwrap_or(0);
    (error, line)
}

/// Which event of its list an error is about, as its field says.
fn index_of(error: &Error) -> Option<usize> {
    let field = if let Error::Invalid { field, .. } = error {
        field
    } else if let Error::SchemaViolation(fault) = error {
        &fault.field
    } else {
        return None;
    };
    field.strip_prefix("events[").and_then(|rest| rest.split_once(']')).and_then(|(index, _)| index.parse().ok())
}

/// Streams of one batch that are under way at once; they share syncs.
const CALLS_MAX: usize = 512;
const PROGRESS_EVERY: Duration = Duration::from_millis(250);
