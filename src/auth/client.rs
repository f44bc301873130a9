//! Which clients are there, and what may each of them do? The fold of `$clients`.

use std::collections::BTreeMap;

use bytes::Bytes;
use factum_storage::RecordedEvent;
use factum_storage::Timestamp;
use serde::Deserialize;
use serde::Serialize;

use super::policy::Patterns;
use super::policy::Scopes;

/// A program that gets tokens from this server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Client {
    /// Its name.
    pub id: String,
    /// What its tokens may do at most.
    pub scopes: Scopes,
    /// To which streams.
    pub streams: Patterns,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was last changed.
    pub updated_at: Timestamp,
    /// The version of `$clients` that made it: one that is made anew under the same name is another.
    pub(crate) version: u64,
    /// Its secret as Argon2id keeps it.
    pub(crate) secret: String,
}

/// All clients that were made.
#[derive(Debug, Default)]
pub(super) struct Clients {
    by_id: BTreeMap<String, Client>,
}

impl Clients {
    pub(super) fn get(&self, id: &str) -> Option<&Client> {
        self.by_id.get(id)
    }

    /// All of them by name.
    pub(super) fn list(&self) -> impl Iterator<Item = &Client> {
        self.by_id.values()
    }

    /// Takes the next event.
    ///
    /// # Errors
    ///
    /// What is wrong with its data; the event then changes nothing.
    pub(super) fn apply(&mut self, event: &RecordedEvent) -> Result<(), String> {
        match event.event_type() {
            DEFINED => {
                let data: DefinedData<'_> = serde_json::from_slice(event.data()).map_err(|error| error.to_string())?;
                let streams = Patterns::parse(data.streams.iter().map(String::as_str)).map_err(|error| error.to_string())?;
                let before = self.by_id.get(&*data.id);
                let client = Client {
                    scopes: Scopes::known_in(&data.scope),
                    streams,
                    created_at: before.map_or(event.recorded_at(), |before| before.created_at),
                    updated_at: event.recorded_at(),
                    version: before.map_or(event.version().get(), |before| before.version),
                    secret: data.secret.into_owned(),
                    id: data.id.into_owned(),
                };
                self.by_id.insert(client.id.clone(), client);
                Ok(())
            }
            REMOVED => {
                let data: RemovedData<'_> = serde_json::from_slice(event.data()).map_err(|error| error.to_string())?;
                self.by_id.remove(&*data.id);
                Ok(())
            }
            other => Err(format!("unknown type {other:?}")),
        }
    }
}

#[derive(Serialize, Deserialize)]
struct DefinedData<'a> {
    id: std::borrow::Cow<'a, str>,
    /// PHC string.
    secret: std::borrow::Cow<'a, str>,
    scope: String,
    streams: Vec<String>,
}

#[derive(Serialize, Deserialize)]
struct RemovedData<'a> {
    id: std::borrow::Cow<'a, str>,
}

/// The data of an event that makes or changes a client.
pub(super) fn defined_data(id: &str, secret: &str, scopes: Scopes, streams: &Patterns) -> Bytes {
    let data = DefinedData { id: id.into(), secret: secret.into(), scope: scopes.to_string(), streams: streams.texts() };
    serde_json::to_vec(&data).expect("text is JSON").into()
}

/// The data of an event that ends a client.
pub(super) fn removed_data(id: &str) -> Bytes {
    serde_json::to_vec(&RemovedData { id: id.into() }).expect("text is JSON").into()
}

/// Whether a client may be called so: what needs no escaping in a path, a form or a header.
pub(super) fn is_name(id: &str) -> bool {
    (1..=NAME_BYTES_MAX).contains(&id.len())
        && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.'))
        && !matches!(id, "." | "..")
}

/// Where clients are kept.
pub(super) const STREAM: &str = "$clients";
pub(super) const DEFINED: &str = "ClientDefined";
pub(super) const REMOVED: &str = "ClientRemoved";
const NAME_BYTES_MAX: usize = 100;
