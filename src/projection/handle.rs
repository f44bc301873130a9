//! How is a projection told what to do, and asked how it fares?

use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::sync::mpsc;
use tokio::sync::oneshot;

use super::Failure;
use super::State;
use super::Status;
use super::place::Place;
use super::spec::Columns;
use super::spec::Spec;
use super::supervisor::Command;
use crate::subscription::Cursor;

/// A projection that is in force.
pub(crate) struct Handle {
    pub(crate) name: String,
    pub(crate) place: Place,
    /// Of the generation that readers see, whichever that is.
    pub(crate) live: Arc<Status>,
    /// Lets an idle worker look at once.
    pub(super) wake: Arc<Notify>,
    current: Mutex<Current>,
    commands: mpsc::Sender<Command>,
}

/// What changes with the generations.
struct Current {
    spec: Arc<Spec>,
    columns: Arc<Columns>,
    live_hash: [u8; 16],
    building: Option<Arc<Status>>,
    /// How many orders were given that make other rows, and how many of them are under way.
    ordered: u64,
    begun: u64,
    /// Why what was built can't be promoted.
    held_up: Option<(State, Failure)>,
}

impl Handle {
    pub(super) fn new(spec: &Arc<Spec>, place: Place, start: Cursor, commands: mpsc::Sender<Command>) -> Self {
        let (spec, columns) = (Arc::clone(spec), Arc::clone(&spec.columns));
        let name = spec.name.clone();
        let current = Current { spec, columns, live_hash: [0; 16], building: None, ordered: 0, begun: 0, held_up: None };
        Self { name, place, live: Arc::new(Status::new(start)), wake: Arc::new(Notify::new()), current: Mutex::new(current), commands }
    }

    /// The definition in force.
    pub(crate) fn spec(&self) -> Arc<Spec> {
        Arc::clone(&self.current.lock().spec)
    }

    /// The columns of the rows that readers see.
    pub(crate) fn columns(&self) -> Arc<Columns> {
        Arc::clone(&self.current.lock().columns)
    }

    /// The generation that readers see.
    pub(crate) fn live_hash(&self) -> [u8; 16] {
        self.current.lock().live_hash
    }

    /// How the generation fares that is built beside, if one is.
    pub(crate) fn building(&self) -> Option<Arc<Status>> {
        self.current.lock().building.clone()
    }

    /// Whether other rows were ordered that are not begun with yet: whoever has ordered them must not be told that all is done.
    pub(crate) fn is_turning(&self) -> bool {
        let current = self.current.lock();
        current.ordered != current.begun
    }

    /// Why the generation that is built beside can't take the place of the live one, though it has caught up.
    pub(crate) fn held_up(&self) -> Option<(State, Failure)> {
        self.current.lock().held_up.clone()
    }

    /// Makes an idle worker look at the log now.
    pub(crate) fn look(&self) {
        self.wake.notify_one();
    }

    pub(super) fn set_current(&self, columns: Arc<Columns>, live_hash: [u8; 16], building: Option<Arc<Status>>) {
        let mut current = self.current.lock();
        (current.columns, current.live_hash, current.building) = (columns, live_hash, building);
    }

    pub(super) fn set_held_up(&self, held_up: Option<(State, Failure)>) {
        self.current.lock().held_up = held_up;
    }

    pub(super) fn set_spec(&self, spec: Arc<Spec>) {
        self.current.lock().spec = spec;
    }

    /// So many of the orders are under way.
    pub(super) fn set_begun(&self, begun: u64) {
        self.current.lock().begun = begun;
    }

    /// Orders other rows; `false` if there is nobody any more who would make them.
    pub(super) async fn order(&self, command: Command) -> bool {
        self.current.lock().ordered += 1;
        self.tell(command).await
    }

    /// Tells the supervisor; `false` if there is none any more.
    pub(super) async fn tell(&self, command: Command) -> bool {
        self.commands.send(command).await.is_ok()
    }

    /// Asks the supervisor; `None` if there is none any more.
    pub(super) async fn ask<T>(&self, command: impl FnOnce(oneshot::Sender<T>) -> Command) -> Option<T> {
        let (sender, answer) = oneshot::channel();
        if self.tell(command(sender)).await { answer.await.ok() } else { None }
    }
}
