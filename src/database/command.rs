//! What are the events of a command? Those that `decide` returned, with ids and metadata that say which command made them.

use std::sync::Arc;

use bytes::Bytes;
use factum_storage::EventId;
use factum_storage::NewEvent;
use factum_storage::StreamName;
use serde::Deserialize;
use serde_json::Map;
use serde_json::Value;
use serde_json::value::RawValue;
use uuid::Uuid;

use super::CommandRequest;
use crate::Error;
use crate::error::ScriptFault;
use crate::subscription::time::parse_timestamp;

/// What all tries of one command have in common.
pub(super) struct Command {
    /// Its events' ids derive from it.
    id: Uuid,
    is_fresh: bool,
    file: String,
    name: String,
    /// Of its name and input: another command under the same key is told apart.
    pub(super) hash: String,
}

impl Command {
    pub(super) fn new(stream: &StreamName, request: &CommandRequest, input: &[u8]) -> Self {
        let mut hasher = blake3::Hasher::new();
        hasher.update(request.command.as_bytes());
        hasher.update(&[0]);
        hasher.update(input);
        let hash = hasher.finalize().to_hex().chars().take(HASH_CHARS).collect();
        let id = match &request.idempotency_key {
            Some(key) => Uuid::new_v5(&COMMAND_NAMESPACE, format!("{key}\0{stream}").as_bytes()),
            None => Uuid::now_v7(),
        };
        let is_fresh = request.idempotency_key.is_none();
        Self { id, is_fresh, file: format!("aggregates/{}.js", request.category), name: request.command.clone(), hash }
    }

    pub(super) fn event_id(&self, index: usize) -> EventId {
        EventId::from_bytes(*Uuid::new_v5(&self.id, &(index as u64).to_be_bytes()).as_bytes())
    }

    /// The events that `decide` has returned.
    pub(super) fn events(&self, request: &CommandRequest, texts: &[Bytes]) -> Result<Vec<NewEvent>, Error> {
        let id = self.id.to_string();
        let mut shared = request.metadata.clone();
        shared.insert("causation_id".to_owned(), id.clone().into());
        shared.insert("correlation_id".to_owned(), request.correlation_id.clone().unwrap_or(id).into());
        shared.insert("command".to_owned(), self.name.clone().into());
        if !self.is_fresh {
            shared.insert(COMMAND_HASH.to_owned(), self.hash.clone().into());
        }
        let plain: Bytes = serde_json::to_vec(&shared).expect("metadata is JSON").into();
        let mut events = Vec::with_capacity(texts.len());
        for (index, text) in texts.iter().enumerate() {
            let decided: Decided<'_> = serde_json::from_slice(text)
                .map_err(|error| self.fault(format!("decide.{} returned event [{index}]: {error}", self.name)))?;
            let wrong = |detail: &str| self.fault(format!("decide.{} returned event [{index}]: {detail}", self.name));
            let occurred_at = match decided.occurred_at.as_deref() {
                Some(time) => Some(parse_timestamp(time).map_err(|detail| wrong(&format!("occurred_at {detail}")))?),
                None => None,
            };
            if decided.schema_version == Some(0) {
                return Err(wrong("schema_version must be a number from 1 to 65535"));
            }
            let metadata = match decided.metadata {
                None => plain.clone(),
                Some(own) => {
                    // What the module says is meant; what identifies the command is not its to say.
                    let mut all = shared.clone();
                    all.extend(own.into_iter().filter(|(name, _)| name != COMMAND_HASH));
                    serde_json::to_vec(&all).expect("metadata is JSON").into()
                }
            };
            events.push(NewEvent {
                id: self.event_id(index),
                id_is_fresh: self.is_fresh,
                event_type: decided.event_type.into(),
                schema_version: decided.schema_version.unwrap_or(0),
                occurred_at,
                tags: decided.tags.into_iter().map(Arc::from).collect(),
                metadata,
                data: decided.data.map_or(Bytes::from_static(b"{}"), |data| Bytes::copy_from_slice(data.get().as_bytes())),
            });
        }
        Ok(events)
    }

    /// What an append refuses was the module's doing, not the caller's.
    pub(super) fn blame(&self, error: Error) -> Error {
        #[expect(clippy::wildcard_enum_match_arm, reason = "all that is not about the events themselves is the caller's as it is")]
        match error {
            Error::Invalid { field, detail } => self.fault(format!("decide.{} returned {field}: {detail}", self.name)),
            Error::SchemaViolation(found) => self.fault(format!(
                "decide.{} returned {} that breaks schema {}/{}: {}",
                self.name, found.field, found.event_type, found.schema_version, found.detail
            )),
            other => other,
        }
    }

    fn fault(&self, message: String) -> Error {
        Error::Script(Box::new(ScriptFault { kind: "output", message, file: self.file.clone(), line: None, column: None, version: None }))
    }
}

/// An event as a module returns it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Decided<'a> {
    #[serde(rename = "type")]
    event_type: String,
    #[serde(borrow)]
    data: Option<&'a RawValue>,
    #[serde(default)]
    metadata: Option<Map<String, Value>>,
    #[serde(default)]
    tags: Vec<String>,
    occurred_at: Option<String>,
    schema_version: Option<u16>,
}

/// Member of the metadata of a command's events.
pub(super) const COMMAND_HASH: &str = "command_hash";
const HASH_CHARS: usize = 16;
/// Under it, keys become ids of commands.
const COMMAND_NAMESPACE: Uuid = Uuid::from_u128(0x6b8f_2a51_9c0e_4d7b_8e35_f1d2_7a94_c06d);
