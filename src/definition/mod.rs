//! What have users defined, and since when? Definitions are events of the stream `$definitions`; this is their fold.
//!
//! One event type puts a definition in force (`Defined`), another ends it (`Removed`);
//! `Paused` and `Resumed` are about what it does. The newest word counts; all of them stay in the
//! log: who changed what, when, and the way back.

pub(crate) mod document;
pub mod folder;

use std::collections::BTreeMap;

use bytes::Bytes;
use factum_storage::RecordedEvent;
use factum_storage::Timestamp;
use factum_storage::Version;
use serde::Deserialize;
use serde::Serialize;

/// Where definitions are kept.
pub(crate) const STREAM: &str = "$definitions";
/// The type of an event that puts a definition in force.
pub(crate) const DEFINED: &str = "Defined";
/// The type of an event that ends a definition.
pub(crate) const REMOVED: &str = "Removed";

/// The type of an event that makes what is defined rest.
pub(crate) const PAUSED: &str = "Paused";
/// The type of an event that ends a rest.
pub(crate) const RESUMED: &str = "Resumed";

/// What kind of thing is defined.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// How a category's events make a state.
    Aggregate,
    /// One version of the shape of an event type's data.
    Schema,
    /// How events become the rows of a view.
    Projection,
    /// Who shares the work on which events: a consumer group.
    Subscription,
    /// Which events are kept as Parquet files, and where.
    Export,
}

/// How a definition's text is to be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Format {
    /// A JavaScript module.
    Javascript,
    /// A JSON document.
    Json,
    /// A TOML document.
    Toml,
}

/// Which definition.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Key {
    /// Its kind.
    pub kind: Kind,
    /// Its name: a category, `<type>/<version>` of a schema, a view, a subscription or an export.
    pub name: String,
}

/// A definition in force.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Definition {
    /// Which.
    pub key: Key,
    /// How to read the text.
    pub format: Format,
    /// As the user wrote it.
    pub text: String,
    /// The version of `$definitions` that put it in force.
    pub version: Version,
    /// Since when.
    pub defined_at: Timestamp,
    /// Somebody has told it to rest: a projection that is paused stays so, whatever is restarted.
    pub is_paused: bool,
}

#[derive(Serialize, Deserialize)]
struct DefinedData<'a> {
    #[serde(flatten)]
    key: Key,
    format: Format,
    text: std::borrow::Cow<'a, str>,
}

/// All definitions in force.
#[derive(Clone, Debug, Default)]
pub(crate) struct Definitions {
    in_force: BTreeMap<Key, Definition>,
    /// The version of the stream that this is the fold of.
    pub(crate) version: Version,
}

impl Definitions {
    /// Takes the next event.
    ///
    /// # Errors
    ///
    /// What is wrong with its data; the event then changes nothing.
    pub(crate) fn apply(&mut self, event: &RecordedEvent) -> Result<(), String> {
        self.version = event.version();
        match event.event_type() {
            DEFINED => {
                let data: DefinedData<'_> = serde_json::from_slice(event.data()).map_err(|error| error.to_string())?;
                let DefinedData { key, format, text } = data;
                let definition = Definition {
                    key: key.clone(),
                    format,
                    text: text.into_owned(),
                    version: event.version(),
                    defined_at: event.recorded_at(),
                    is_paused: self.in_force.get(&key).is_some_and(|before| before.is_paused),
                };
                self.in_force.insert(key, definition);
            }
            REMOVED => {
                let key: Key = serde_json::from_slice(event.data()).map_err(|error| error.to_string())?;
                self.in_force.remove(&key);
            }
            PAUSED | RESUMED => {
                let key: Key = serde_json::from_slice(event.data()).map_err(|error| error.to_string())?;
                if let Some(definition) = self.in_force.get_mut(&key) {
                    definition.is_paused = event.event_type() == PAUSED;
                }
            }
            other => return Err(format!("unknown type {other:?}")),
        }
        Ok(())
    }

    pub(crate) fn get(&self, key: &Key) -> Option<&Definition> {
        self.in_force.get(key)
    }

    /// All of one kind, by name.
    pub(crate) fn of_kind(&self, kind: Kind) -> impl Iterator<Item = &Definition> {
        self.in_force.values().filter(move |definition| definition.key.kind == kind)
    }
}

/// The data of an event that puts a definition in force.
pub(crate) fn defined_data(key: &Key, format: Format, text: &str) -> Bytes {
    let data = DefinedData { key: key.clone(), format, text: text.into() };
    serde_json::to_vec(&data).expect("text is JSON").into()
}

/// The data of an event that ends, pauses or resumes a definition.
pub(crate) fn removed_data(key: &Key) -> Bytes {
    serde_json::to_vec(key).expect("text is JSON").into()
}
