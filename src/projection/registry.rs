//! Which projections are in force?

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::Weak;
use std::time::Duration;

use futures::future::BoxFuture;
use futures::future::join_all;
use parking_lot::Mutex;
use serde_json::Value as Json;
use tokio::sync::mpsc;
use tokio::sync::oneshot;
use tokio::task::JoinSet;

use super::convert::row_json;
use super::handle::Handle;
use super::meters;
use super::module::Lookup;
use super::module::Unanswered;
use super::native;
use super::place::Place;
use super::spec::Spec;
use super::supervisor::Command;
use super::supervisor::Promotion;
use super::supervisor::Shared;
use super::supervisor::Supervisor;
use super::target::Fault;
use super::threads::Threads;
use super::trial;
use super::trial::Trial;
use crate::Error;
use crate::script::Sandbox;
use crate::shard::Router;
use crate::subscription::Cursor;
use crate::subscription::Reshape;

/// What the projections of a database need.
pub(crate) struct Options {
    pub(crate) router: Arc<Router>,
    /// Brings events into the shape that definitions are written for.
    pub(crate) reshape: Option<Arc<dyn Reshape>>,
    pub(crate) sandbox: Sandbox,
    /// Where embedded views are kept; `None`: in memory.
    pub(crate) folder: Option<PathBuf>,
    /// What the pages of each embedded view may take in memory.
    pub(crate) cache_bytes: usize,
}

/// All projections of a database. Dropped, it ends what they do where that stands.
pub(crate) struct Projections {
    shared: Arc<Shared>,
    folder: Option<PathBuf>,
    cache_bytes: usize,
    handles: Mutex<BTreeMap<String, Arc<Handle>>>,
    supervisors: Mutex<JoinSet<()>>,
    threads: Threads,
}

/// Why a projection can't be put in force.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    /// What is wrong with the definition, and the JSON Pointer to it.
    Definition { pointer: &'static str, detail: String },
    /// The database closes.
    Closing,
}

impl Projections {
    pub(crate) fn new(options: Options) -> Arc<Self> {
        let Options { router, reshape, sandbox, folder, cache_bytes } = options;
        Arc::new_cyclic(|own: &Weak<Self>| {
            let lookup = Arc::new(OtherViews(own.clone()));
            let shared = Arc::new(Shared { router, reshape, sandbox, lookup });
            Self { shared, folder, cache_bytes, handles: Mutex::default(), supervisors: Mutex::default(), threads: Threads::default() }
        })
    }

    pub(crate) fn get(&self, name: &str) -> Option<Arc<Handle>> {
        self.handles.lock().get(name).cloned()
    }

    /// By name.
    pub(crate) fn all(&self) -> Vec<Arc<Handle>> {
        self.handles.lock().values().cloned().collect()
    }

    /// Checks what can only be told here: that the target can be reached for at all, and is the one that the projection has already.
    pub(crate) fn check(&self, spec: &Spec) -> Result<(), Refused> {
        let refused = |pointer, detail| Refused::Definition { pointer, detail };
        if let Some(present) = self.get(&spec.name)
            && present.spec().target != spec.target
        {
            let detail = "a projection's target can't change; delete the projection first, or give the new one another name";
            return Err(refused("/target", detail.to_owned()));
        }
        self.place(spec).map(drop).map_err(|detail| refused("/target/url_env", detail))
    }

    /// What a definition would make of the first events of the log, beside the one in force.
    ///
    /// # Errors
    ///
    /// The log can't be read.
    pub(crate) async fn try_out(&self, spec: &Spec) -> Result<Trial, Error> {
        let before = self.get(&spec.name).map(|present| present.spec());
        trial::run(&self.shared, before.as_deref(), spec).await
    }

    /// Puts a definition in force: a new one begins at the first event, a changed one is built beside the rows in use.
    pub(crate) async fn put(&self, spec: Spec, is_paused: bool) -> Result<(), Refused> {
        let spec = Arc::new(spec);
        if let Some(present) = self.get(&spec.name) {
            self.check(&spec)?;
            present.set_spec(Arc::clone(&spec));
            return if present.order(Command::Redefine(spec)).await { Ok(()) } else { Err(Refused::Closing) };
        }
        // A new definition was checked. One that was accepted long ago is in force whatever the server lacks by now: whoever looks at
        // its projection must see that it stands still, and why.
        let place = self.place(&spec).unwrap_or_else(|detail| {
            tracing::error!(projection = spec.name, detail, "the target can't be reached for: the projection stands still");
            Place::absent(&spec.target, detail)
        });
        let (sender, commands) = mpsc::channel(COMMANDS_MAX);
        let handle = Arc::new(Handle::new(&spec, place, Cursor::start(&self.shared.router), sender));
        self.handles.lock().insert(spec.name.clone(), Arc::clone(&handle));
        let target = handle.place.target();
        let supervisor = Supervisor {
            shared: Arc::clone(&self.shared),
            target,
            handle,
            spec,
            is_paused,
            rebuilds: false,
            orders: 0,
            promotion: Promotion::AtOnce,
        };
        let mut supervisors = self.supervisors.lock();
        // Those that have ended are forgotten.
        while supervisors.try_join_next().is_some() {}
        supervisors.spawn_on(supervisor.run(commands), &self.threads.handle());
        Ok(())
    }

    /// Ends a projection and takes its rows away.
    pub(crate) async fn remove(&self, name: &str, keep_rows: bool) -> Result<(), String> {
        let Some(handle) = self.handles.lock().remove(name) else { return Ok(()) };
        let removed = handle.ask(|done| Command::Remove { keep_rows, done }).await;
        meters::removed(name);
        removed.unwrap_or_else(|| Err("the database closes".to_owned()))
    }

    pub(crate) async fn pause(&self, handle: &Handle) -> bool {
        handle.tell(Command::Pause).await
    }

    pub(crate) async fn resume(&self, handle: &Handle) -> bool {
        handle.tell(Command::Resume).await
    }

    pub(crate) async fn rebuild(&self, handle: &Handle) -> bool {
        handle.order(Command::Rebuild).await
    }

    /// Whether the projection stood on an event that it now steps over; `None` when the database closes.
    pub(crate) async fn skip(&self, handle: &Handle) -> Option<bool> {
        handle.ask(Command::Skip).await
    }

    /// Brings all of them to rest: what they have applied is durable then.
    pub(crate) async fn close(&self) {
        let handles = self.all();
        let stopped = join_all(handles.iter().map(|handle| handle.ask(|done: oneshot::Sender<()>| Command::Stop(done))));
        if tokio::time::timeout(CLOSE_TIMEOUT, stopped).await.is_err() {
            tracing::warn!("some projections did not come to rest in time; they go on behind their checkpoints at the next start");
        }
    }

    fn place(&self, spec: &Spec) -> Result<Place, String> {
        Place::of(&spec.name, &spec.target, self.folder.clone(), self.cache_bytes)
    }
}

/// Rows of other views, for modules that look them up.
struct OtherViews(Weak<Projections>);

impl Lookup for OtherViews {
    fn row<'a>(&'a self, view: &'a str, key: &'a Json) -> BoxFuture<'a, Result<Option<Json>, Unanswered>> {
        Box::pin(async move {
            // Whatever is the matter with the other view, it passes for this one: once the other is there again, this one goes on.
            let passing = |detail: String| Unanswered::Fault(Fault::Passing(detail));
            let handle = self.0.upgrade().and_then(|projections| projections.get(view));
            let handle = handle.ok_or_else(|| passing(format!("there is no view {view:?} to look up; it goes on once there is")))?;
            let columns = handle.columns();
            let key = native::key(&columns, key).map_err(Unanswered::Key)?;
            match handle.place.target().row(&columns, &key).await {
                Ok(row) => Ok(row.map(|row| row_json(&columns, &row))),
                Err(fault @ (Fault::Passing(_) | Fault::Lasting(_) | Fault::Fenced(_) | Fault::Row { .. })) => {
                    Err(passing(format!("the view {view:?} can't be looked up: {fault}")))
                }
            }
        })
    }
}

const COMMANDS_MAX: usize = 16;
const CLOSE_TIMEOUT: Duration = Duration::from_secs(15);
