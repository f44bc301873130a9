//! What does a projection do with events? Its operations on rows, for as many events as can be told without asking the host again.

use bytes::Bytes;
use rquickjs::Object;
use serde_json::value::RawValue;

use super::Kind;
use super::Module;
use super::ScriptError;
use super::calls::joined;
use super::calls::text_of;
use super::realm::Realm;
use super::realm::step;
use super::report::impure;
use super::report::told;
use super::report::unshifted;

/// What a projection is called with.
#[derive(Clone, Debug)]
pub(crate) struct Projecting {
    /// Each the JSON text of a whole event.
    pub(crate) events: Vec<Bytes>,
    /// The rows of the own view that are known, as a JSON object: by the JSON text of the key the row, null where there is none, or a
    /// text that says why there can be none.
    pub(crate) rows: Bytes,
    /// The same for other views, each below its name.
    pub(crate) lookups: Bytes,
    /// What the view is like: `{"key": …, "blank": {…}, "kinds": {…}}`. The primary key's column, the cells of a new row, and what stands
    /// in each column: `"text"`, `"integer"`, `"double"`, `"boolean"`, `"uuid"`, `"date"`, `"timestamp"`, a decimal's scale as a
    /// number, or `"other"`.
    pub(crate) view: Bytes,
}

/// What came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Projected {
    /// For each event that is done the list of what it does, as JSON: `["upsert", key, {…}]`, `["update", {where}, {changes}]`,
    /// `["delete", key]`.
    pub(crate) operations: Vec<Bytes>,
    /// Why the event behind those is not done; `None` if there is none.
    pub(crate) stop: Option<Stop>,
}

/// Why an event is not done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Stop {
    /// It, and maybe some behind it, look at rows that are not known.
    Needs {
        /// JSON texts of keys of the own view.
        own: Vec<String>,
        /// Other views, and JSON texts of their keys.
        lookups: Vec<(String, String)>,
    },
    /// What was done so far has to be applied first; or it is enough for one call.
    Barrier,
    /// It can't be digested.
    Failed(ScriptError),
}

/// An event that is to be projected once more, and what it looked at.
struct Again {
    at: usize,
    rows: String,
    lookups: String,
}

impl Realm {
    pub(super) fn project(&mut self, module: &Module, call: &Projecting) -> Result<Projected, ScriptError> {
        let rows = text_of(module, &call.rows)?;
        let lookups = text_of(module, &call.lookups)?;
        let (projected, again) = self.projected(module, &call.view, &call.events, rows, lookups)?;
        let Some(Again { at, rows, lookups }) = again else { return Ok(projected) };
        let event = call.events.get(at..=at).unwrap_or_default();
        let second = self.projected(module, &call.view, event, rows, lookups).map_err(|error| ScriptError { at: Some(at), ..error })?.0;
        if second.stop.is_some() || second.operations.first() != projected.operations.get(at) {
            return Err(impure(module, at));
        }
        Ok(projected)
    }

    fn projected(
        &mut self,
        module: &Module,
        view: &Bytes,
        events: &[Bytes],
        rows: String,
        lookups: String,
    ) -> Result<(Projected, Option<Again>), ScriptError> {
        let limit = self.options.output_bytes_max;
        let (view, list) = (text_of(module, view)?, joined(module, events.iter().map(|event| [event]))?);
        self.with_instance(module, |driver, instance| {
            let done = step(module, driver, "project", (instance, view, rows, lookups, list, events.len(), limit))?;
            let operations = separate(module, done.get("operations")?)?;
            let stop = match done.get::<_, Option<String>>("stop")?.as_deref() {
                None => None,
                Some("needs") => {
                    let lookups: Vec<Vec<String>> = done.get("lookups")?;
                    let pairs = lookups.into_iter().filter_map(|pair| <[String; 2]>::try_from(pair).ok()).map(Into::into).collect();
                    Some(Stop::Needs { own: done.get("own")?, lookups: pairs })
                }
                Some("failed") => {
                    let error = told(module, &done.get::<_, Object>("failure")?)?;
                    let error = unshifted(ScriptError { at: Some(operations.len()), ..error }, module);
                    if error.kind == Kind::Memory {
                        // It may have been taken by the events before; and the runtime is of no use any more.
                        return Err(error.into());
                    }
                    Some(Stop::Failed(error))
                }
                Some("barrier") => Some(Stop::Barrier),
                Some(other) => {
                    return Err(ScriptError::new(Kind::Died, module.name(), format!("the driver stopped for {other}")).into());
                }
            };
            let again = match done.get::<_, Option<Object>>("again")? {
                Some(again) => Some(Again { at: again.get("at")?, rows: again.get("rows")?, lookups: again.get("lookups")? }),
                None => None,
            };
            Ok((Projected { operations, stop }, again))
        })
    }
}

/// The items of a list of the driver's, each as a part of the same bytes.
fn separate(module: &Module, list: String) -> Result<Vec<Bytes>, ScriptError> {
    let list = Bytes::from(list);
    let items: Vec<&RawValue> = serde_json::from_slice(&list).map_err(|error| {
        let message = format!("the driver's list of operations can't be read: {error}");
        ScriptError::new(Kind::Died, module.name(), message)
    })?;
    Ok(items.into_iter().map(|item| list.slice_ref(item.get().as_bytes())).collect())
}
