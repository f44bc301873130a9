//! What do events do, according to a module in JavaScript? The sandbox is asked about many events at once, ahead of the one whose turn it
//! is, and told the rows that it misses.

mod apart;
mod habit;
mod operation;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::collections::HashMap;
use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use futures::StreamExt as _;
use futures::future::BoxFuture;
use futures::stream;
use serde_json::Map;
use serde_json::Value as Json;

pub(super) use self::habit::Asked;
pub(super) use self::habit::Habit;
use self::operation::Told;
use super::intake::Outcome;
use super::intake::Taken;
use super::native;
use super::project::named;
use super::row::Change;
use super::spec::Logic;
use super::spec::Spec;
use super::target::Fault;
use super::target::Writer;
use super::value::Value;
use super::working::Refusal;
use super::working::Working;
use crate::script::Kind;
use crate::script::Module;
use crate::script::Projected;
use crate::script::Projecting;
use crate::script::Sandbox;
use crate::script::ScriptError;
use crate::script::Stop;

/// Rows of other views.
pub(crate) trait Lookup: Send + Sync {
    /// A row of another view as JSON, `None` if it is not there.
    ///
    /// # Errors
    ///
    /// Why it can't be told.
    fn row<'a>(&'a self, view: &'a str, key: &'a Json) -> BoxFuture<'a, Result<Option<Json>, Unanswered>>;
}

/// Why a row of another view can't be told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Unanswered {
    /// The module asks for what can't be a key there: it is told so where it asks, and the event is to blame.
    Key(String),
    /// Nobody can tell for now. No event is to blame: the batch is over.
    Fault(Fault),
}

/// Checks that a module can make rows of events, by running it once.
///
/// # Errors
///
/// What the sandbox says of it; or it exports no `project`.
pub(crate) async fn check(sandbox: &Sandbox, module: &Arc<Module>) -> Result<(), ScriptError> {
    if sandbox.inspect(module).await?.project {
        return Ok(());
    }
    let message = "a projection's module must export a function project(event, rows)".to_owned();
    Err(ScriptError { kind: Kind::Definition, message, file: module.name().to_owned(), line: None, column: None, at: None })
}

/// The calls of a module for the events of one batch.
pub(super) struct Calls<'a> {
    /// The view that the rows are of.
    view: &'a str,
    module: &'a Arc<Module>,
    sandbox: &'a Sandbox,
    lookup: &'a dyn Lookup,
    habit: &'a mut Habit,
    /// What the view is like, once somebody has to be told.
    shape: Option<Bytes>,
    /// `None` where the module is not asked.
    events: Vec<Option<Asked>>,
    /// What the events from `next` on do, as far as it was told ahead.
    ahead: VecDeque<Vec<Change>>,
    next: usize,
    /// Why the event behind those can't be digested.
    poison: Option<String>,
    /// How many events the next call is to be asked about, and at most.
    count: usize,
    count_max: usize,
    /// This event is asked about without those behind it.
    alone: Option<usize>,
    /// JSON texts of keys: what the next call will look at.
    wanted: BTreeSet<String>,
    /// The same for other views, whose rows are the same for the whole batch.
    wanted_elsewhere: BTreeSet<(String, String)>,
    found_elsewhere: HashMap<(String, String), Json>,
}

impl<'a> Calls<'a> {
    /// `None` if the definition has no module.
    pub(super) fn new(spec: &'a Spec, sandbox: &'a Sandbox, lookup: &'a dyn Lookup, habit: &'a mut Habit, batch: &[Taken]) -> Option<Self> {
        let Logic::Module(module) = &spec.logic else { return None };
        let asked = |taken: &Taken| if let Outcome::Module(asked) = &taken.outcome { Some(asked.clone()) } else { None };
        Some(Self::of_events((&spec.name, module), sandbox, lookup, habit, batch.iter().map(asked).collect()))
    }

    fn of_events(
        (view, module): (&'a str, &'a Arc<Module>),
        sandbox: &'a Sandbox,
        lookup: &'a dyn Lookup,
        habit: &'a mut Habit,
        events: Vec<Option<Asked>>,
    ) -> Self {
        Self {
            view,
            module,
            sandbox,
            lookup,
            habit,
            shape: None,
            events,
            ahead: VecDeque::new(),
            next: 0,
            poison: None,
            count: EVENTS_MAX,
            count_max: EVENTS_MAX,
            alone: None,
            wanted: BTreeSet::new(),
            wanted_elsewhere: BTreeSet::new(),
            found_elsewhere: HashMap::new(),
        }
    }

    /// What the event at this place of the batch does. The changes of the event before, if they were not refused, have been applied to
    /// `working`.
    pub(super) async fn changes(&mut self, at: usize, working: &mut Working, writer: &mut dyn Writer) -> Result<Vec<Change>, Refusal> {
        if at != self.next {
            // Some event was stepped over that counted in what was told ahead.
            self.forget();
            self.next = at;
        }
        for _look in 0..LOOKS_MAX {
            if let Some(changes) = self.ahead.pop_front() {
                self.next += 1;
                return Ok(changes);
            }
            if let Some(reason) = self.poison.take() {
                self.next += 1;
                return Err(Refusal::Poison(reason));
            }
            self.run(working, writer).await?;
        }
        Err(Refusal::Poison(format!("it looked at other rows {LOOKS_MAX} times in a row")))
    }

    /// Takes back what was told ahead: to be called when changes that were given have not been applied.
    pub(super) fn forget(&mut self) {
        self.ahead.clear();
        self.poison = None;
    }

    /// Asks the sandbox about the next events.
    async fn run(&mut self, working: &mut Working, writer: &mut dyn Writer) -> Result<(), Refusal> {
        if working.is_full() && self.alone != Some(self.next) {
            // So that no more rows are loaded than it needs.
            self.ask_alone();
        }
        let count = if self.alone == Some(self.next) { 1 } else { self.count };
        self.load_own(count * 2, working, writer).await?;
        if self.run_apart(working, writer).await? {
            return Ok(());
        }
        let behind = self.events.get(self.next..).unwrap_or_default();
        let asked: Vec<Asked> = behind.iter().take(count).map_while(Option::clone).collect();
        let count = asked.len();
        if count == 0 {
            return Err(Refusal::Poison("the module is not asked about this event".to_owned()));
        }
        let rows = self.rows(&asked, working, writer).await?;
        let lookups = match self.rows_elsewhere().await {
            Ok(lookups) => lookups,
            // Events behind the next one may have guessed what to look up: they were called before those in front of them were applied.
            Err(_) if self.alone != Some(self.next) => {
                self.ask_alone();
                return Ok(());
            }
            Err(fault) => return Err(Refusal::Waits(fault)),
        };
        let lookups = Bytes::from(Json::Object(lookups).to_string());
        let events = asked.iter().map(|asked| asked.text.clone()).collect();
        let call = Projecting { events, rows, lookups, view: self.shape(working) };
        match self.sandbox.project(self.module, call).await {
            Ok(projected) => {
                if let Some(Stop::Needs { own, .. }) = &projected.stop {
                    self.habit.learn(&asked, own);
                }
                self.take(projected, working, writer).await
            }
            Err(error) => self.step_back(&error, count),
        }
    }

    fn shape(&mut self, working: &Working) -> Bytes {
        self.shape.get_or_insert_with(|| operation::view(working.columns())).clone()
    }

    /// Loads the rows that the next events probably look at.
    async fn load_own(&self, count: usize, working: &mut Working, writer: &mut dyn Writer) -> Result<(), Fault> {
        let behind = self.events.get(self.next..).unwrap_or_default();
        let keys: Vec<&Value> = behind.iter().take(count).flatten().filter_map(|asked| self.habit.key(asked)).collect();
        if working.is_full() { Ok(()) } else { working.load_ahead(writer, keys.into_iter()).await }
    }

    /// From here on the next event is asked about without those behind it, and what it needs is found out anew.
    fn ask_alone(&mut self) {
        self.alone = Some(self.next);
        self.wanted.clear();
        self.wanted_elsewhere.clear();
    }

    /// Keeps what was told.
    async fn take(&mut self, projected: Projected, working: &mut Working, writer: &mut dyn Writer) -> Result<(), Refusal> {
        let done = projected.operations.len();
        for operations in &projected.operations {
            match operation::changes(working.columns(), operations) {
                Ok(changes) => self.ahead.push_back(changes),
                Err(reason) => {
                    // What the events behind it do rests on it.
                    self.poison = Some(reason);
                    break;
                }
            }
        }
        self.load_changed(working, writer).await?;
        if !matches!(projected.stop, Some(Stop::Needs { .. })) {
            self.wanted.clear();
            self.wanted_elsewhere.clear();
        }
        match projected.stop {
            None => self.count = (self.count * 2).min(self.count_max),
            Some(Stop::Needs { own, lookups }) => {
                self.wanted.extend(own);
                self.wanted_elsewhere.extend(lookups);
            }
            Some(Stop::Barrier) => self.count = (done * 2).max(EVENTS_FEW).min(self.count_max),
            Some(Stop::Failed(error)) => {
                self.poison.get_or_insert_with(|| error.to_string());
            }
        }
        Ok(())
    }

    /// Loads the rows that are changed by what was told.
    async fn load_changed(&self, working: &mut Working, writer: &mut dyn Writer) -> Result<(), Fault> {
        working.load_ahead(writer, self.ahead.iter().flatten().filter_map(named)).await
    }

    /// What a call that came to nothing means: the sandbox is at fault, or the module, or there were too many events for one call.
    fn step_back(&mut self, error: &ScriptError, count: usize) -> Result<(), Refusal> {
        match error.kind {
            Kind::Busy | Kind::Died => Err(Refusal::Fault(Fault::Passing(error.to_string()))),
            Kind::Time | Kind::Memory | Kind::Stack | Kind::Output | Kind::Threw if count > 1 => {
                // The event that did it is asked about alone, or first.
                self.count_max = error.at.unwrap_or(0).min(count / 2).max(1);
                self.count = self.count_max;
                Ok(())
            }
            Kind::Time
            | Kind::Memory
            | Kind::Stack
            | Kind::Output
            | Kind::Threw
            | Kind::Syntax
            | Kind::Definition
            | Kind::Missing
            | Kind::Impure => {
                self.poison = Some(error.to_string());
                Ok(())
            }
        }
    }

    /// The rows that are wanted, and those at hand that probably will be, as they are now.
    async fn rows(&self, asked: &[Asked], working: &mut Working, writer: &mut dyn Writer) -> Result<Bytes, Fault> {
        let columns = Arc::clone(working.columns());
        let key =
            |text: &String| serde_json::from_str(text).map_err(|error| error.to_string()).and_then(|json| native::key(&columns, &json));
        let keys: Vec<_> = self.wanted.iter().map(|text| (text, key(text))).collect();
        working.load_ahead(writer, keys.iter().filter_map(|(_, key)| key.as_ref().ok())).await?;
        let mut told = Told::new(&columns);
        for (text, key) in &keys {
            match key {
                Ok(key) => {
                    // One that has not come yet is asked for again.
                    if let Some(row) = working.get(key) {
                        told.push(text, Ok(row));
                    }
                }
                Err(reason) => told.push(text, Err(reason)),
            }
        }
        told.push_own(working, asked.iter().filter_map(|asked| self.habit.key(asked)));
        Ok(told.into_text())
    }

    /// The rows of other views that are wanted, by view and key.
    async fn rows_elsewhere(&mut self) -> Result<Map<String, Json>, Fault> {
        if let Some((view, _)) = self.wanted_elsewhere.iter().find(|(view, _)| view == self.view) {
            // It would be the state before the batch, which depends on how events happen to be batched.
            let text = format!("the module looks up its own view with rows.lookup({view:?}, …); that is what rows.get(key) is for");
            return Err(Fault::Lasting(text));
        }
        let lookup = self.lookup;
        let missing = self.wanted_elsewhere.iter().filter(|place| !self.found_elsewhere.contains_key(*place));
        let missing: Vec<(String, String)> = missing.cloned().collect();
        let found = stream::iter(missing).map(|(view, text)| async move {
            let row = match serde_json::from_str::<Json>(&text) {
                Ok(key) => lookup.row(&view, &key).await,
                Err(error) => Err(Unanswered::Key(error.to_string())),
            };
            ((view, text), row)
        });
        let found: Vec<_> = found.buffered(LOOKUPS_AT_ONCE).collect().await;
        for (place, row) in found {
            let row = match row {
                Ok(row) => row.unwrap_or(Json::Null),
                Err(Unanswered::Key(reason)) => Json::from(reason),
                Err(Unanswered::Fault(fault)) => return Err(fault),
            };
            self.found_elsewhere.insert(place, row);
        }
        let mut views: Map<String, Json> = Map::new();
        for (view, text) in &self.wanted_elsewhere {
            let row = self.found_elsewhere.get(&(view.clone(), text.clone())).cloned().unwrap_or_default();
            if let Json::Object(rows) = views.entry(view.clone()).or_insert_with(|| Json::Object(Map::new())) {
                rows.insert(text.clone(), row);
            }
        }
        Ok(views)
    }
}

/// How many events a call is asked about at most, and at least after it had to end early.
const EVENTS_MAX: usize = 512;
const EVENTS_FEW: usize = 8;
/// One event may follow a chain of so many rows.
const LOOKS_MAX: usize = 1_000;
const LOOKUPS_AT_ONCE: usize = 16;
