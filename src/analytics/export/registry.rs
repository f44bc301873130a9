//! Which exports are in force?

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use factum_storage::Clock;
use futures::future::join_all;
use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::control::Orders;
use super::control::Told;
use super::log::Log;
use super::place::Place;
use super::place::Places;
use super::published::Published;
use super::remove::remove_files;
use super::runner;
use super::spec::Spec;
use super::status::ExportState;
use super::status::Status;
use super::threads::Threads;
use super::url::Allowed;
use crate::definition::document::at;
use crate::error::DefinitionFault;
use crate::schema::Registry;
use crate::shard::Router;
use crate::subscription::Cursor;
use crate::subscription::Reshape;

/// What the exports of a database need.
pub(crate) struct Options {
    pub(crate) router: Arc<Router>,
    /// Brings events into their newest shape.
    pub(crate) reshape: Option<Arc<dyn Reshape>>,
    /// What schemas say of the columns of events.
    pub(crate) schemas: Arc<Registry>,
    /// The folder that lakes have in the data directory; `None`: they are in memory.
    pub(crate) folder: Option<PathBuf>,
    /// Where else lakes may lie.
    pub(crate) allowed: Allowed,
    pub(crate) clock: Arc<dyn Clock>,
}

/// All exports of a database. Dropped, it ends what they do where that stands: the lakes are whole at any time.
pub(crate) struct Exports {
    router: Arc<Router>,
    reshape: Option<Arc<dyn Reshape>>,
    schemas: Arc<Registry>,
    clock: Arc<dyn Clock>,
    places: Places,
    threads: Arc<Threads>,
    handles: Mutex<BTreeMap<String, Arc<Handle>>>,
}

/// An export that is in force.
pub(crate) struct Handle {
    pub(crate) spec: Arc<Spec>,
    /// Where its lake is.
    pub(crate) url: String,
    pub(crate) status: Arc<Status>,
    /// `None` if it can't be told where that is.
    place: Option<Place>,
    orders: watch::Sender<Orders>,
    task: tokio::sync::Mutex<Option<JoinHandle<()>>>,
}

impl Exports {
    pub(crate) fn new(options: Options) -> Self {
        let Options { router, reshape, schemas, folder, allowed, clock } = options;
        let places = Places::new(folder, allowed);
        Self { router, reshape, schemas, clock, places, threads: Arc::default(), handles: Mutex::default() }
    }

    pub(crate) fn get(&self, name: &str) -> Option<Arc<Handle>> {
        self.handles.lock().get(name).cloned()
    }

    /// By name.
    pub(crate) fn all(&self) -> Vec<Arc<Handle>> {
        self.handles.lock().values().cloned().collect()
    }

    /// What readers may use of each lake, by the export's name.
    pub(crate) fn published(&self) -> Vec<(String, Arc<Published>)> {
        let handles = self.handles.lock();
        handles.iter().filter_map(|(name, handle)| Some((name.clone(), handle.status.published()?))).collect()
    }

    /// Checks what can only be told here: that the lake may lie there, in no other export's, and is the one that the export has already.
    pub(crate) fn check(&self, spec: &Spec) -> Result<(), DefinitionFault> {
        let place = self.places.of(spec)?;
        for other in self.all() {
            if other.spec.name != spec.name {
                if other.place.as_ref().is_some_and(|other| other.overlaps(&place)) {
                    return Err(at("/url", &format!("lies within the lake of export {}, or that one within it", other.spec.name)));
                }
                continue;
            }
            let fixed = [
                ("/url", other.spec.url != spec.url),
                ("/partition_by", other.spec.layout != spec.layout),
                ("/filter", other.spec.filter != spec.filter),
            ];
            if let Some((pointer, _)) = fixed.into_iter().find(|(_, is_changed)| *is_changed) {
                let detail = "can't change, as the files that are there are of what was said before; define an export of another name, or \
                    delete this one with its files (?files=true) and define it anew";
                return Err(at(pointer, detail));
            }
        }
        Ok(())
    }

    /// Puts a definition in force. One that is there goes on where it is, under the new terms.
    pub(crate) async fn put(&self, spec: Spec) -> Result<(), DefinitionFault> {
        let place = self.places.of(&spec)?;
        let status = Arc::new(Status::new(Cursor::start(&self.router)));
        let before = self.handles.lock().remove(&spec.name);
        if let Some(before) = before {
            before.stop().await;
            status.set_reached(before.status.reached());
            before.status.published().into_iter().for_each(|published| status.set_published(published));
        }
        let (orders, told) = watch::channel(Orders::default());
        let spec = Arc::new(spec);
        let filter = Arc::new(spec.filter.clone());
        let options = runner::Options {
            spec: Arc::clone(&spec),
            place: place.clone(),
            log: Log { router: Arc::clone(&self.router), reshape: self.reshape.clone(), filter },
            status: Arc::clone(&status),
            threads: Arc::clone(&self.threads),
            schemas: Arc::clone(&self.schemas),
            clock: Arc::clone(&self.clock),
            told: Told::new(told),
        };
        let task = self.threads.spawn(runner::run(options)).map_err(|detail| at("", &detail))?;
        let (url, task) = (place.url(), tokio::sync::Mutex::new(Some(task)));
        let handle = Handle { url, spec: Arc::clone(&spec), status, place: Some(place), orders, task };
        self.handles.lock().insert(spec.name.clone(), Arc::new(handle));
        Ok(())
    }

    /// Keeps a definition that was accepted once and can't be put in force now, so that what is wrong is told where people look for it.
    pub(crate) fn put_failed(&self, spec: Spec, reason: &str) {
        let status = Arc::new(Status::new(Cursor::start(&self.router)));
        status.set_failure(ExportState::Failed, reason, 1);
        let url = spec.url.as_ref().map(ToString::to_string).unwrap_or_default();
        let (orders, _) = watch::channel(Orders::default());
        let name = spec.name.clone();
        let handle = Handle { spec: Arc::new(spec), url, status, place: None, orders, task: tokio::sync::Mutex::default() };
        self.handles.lock().insert(name, Arc::new(handle));
    }

    /// Ends an export; with `files` its lake is emptied.
    ///
    /// # Errors
    ///
    /// Why files are still there. The export has ended all the same.
    pub(crate) async fn remove(&self, name: &str, files: bool) -> Result<(), String> {
        let Some(handle) = self.handles.lock().remove(name) else { return Ok(()) };
        handle.stop().await;
        if !files {
            return Ok(());
        }
        let Some(place) = &handle.place else { return Err("its files are where they were, as their place can't be reached".to_owned()) };
        let removed = remove_files(place, handle.status.writer());
        let removed = tokio::time::timeout(REMOVE_TIMEOUT, removed).await;
        removed.unwrap_or_else(|_| Err(format!("not all files could be deleted within {} s", REMOVE_TIMEOUT.as_secs())))
    }

    /// Ends all of them where they stand. Nothing is flushed: what is not in the lakes yet is in the log.
    pub(crate) async fn close(&self) {
        join_all(self.all().iter().map(|handle| handle.stop())).await;
    }
}

impl Handle {
    /// Has everything up to a cursor published as soon as that can be done; what has failed tries again.
    pub(crate) fn flush_to(&self, cursor: &Cursor) {
        self.orders.send_modify(|orders| {
            if orders.flush_to.as_ref().is_none_or(|before| cursor.covers(before)) {
                orders.flush_to = Some(cursor.clone());
            }
            orders.nudges += 1;
        });
    }

    async fn stop(&self) {
        self.orders.send_modify(|orders| orders.is_stopped = true);
        let Some(mut task) = self.task.lock().await.take() else { return };
        if tokio::time::timeout(STOP_TIMEOUT, &mut task).await.is_err() {
            // Between two manifests a lake may be left at any time.
            task.abort();
        }
    }
}

const STOP_TIMEOUT: Duration = Duration::from_secs(5);
const REMOVE_TIMEOUT: Duration = Duration::from_secs(60);
