//! How is an event looked into, at the cost of what is looked at?

use std::borrow::Cow;
use std::cell::OnceCell;
use std::collections::BTreeSet;
use std::fmt;

use serde::Deserializer;
use serde::de::DeserializeSeed;
use serde::de::IgnoredAny;
use serde::de::MapAccess;
use serde::de::Visitor;
use serde_json::Map;
use serde_json::Value as Json;

use super::spec::Found;
use crate::subscription::Event;
use crate::subscription::event_json::Lines;
use crate::subscription::event_json::push_event;
use crate::subscription::event_json::push_uuid;

/// What of every event's data is ever looked at; the rest of it is never built.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Wanted {
    /// These members of it.
    Members(BTreeSet<String>),
    /// All of it.
    All,
}

/// An event, parsed where and when it is looked at.
pub(crate) struct SourceEvent<'a> {
    event: &'a Event,
    wanted: &'a Wanted,
    data: OnceCell<Json>,
    metadata: OnceCell<Json>,
    whole: OnceCell<Json>,
}

impl<'a> SourceEvent<'a> {
    pub(crate) fn new(event: &'a Event, wanted: &'a Wanted) -> Self {
        Self { event, wanted, data: OnceCell::new(), metadata: OnceCell::new(), whole: OnceCell::new() }
    }

    /// One member of its data.
    pub(crate) fn data_member(&self, name: &str) -> Result<Option<&Json>, String> {
        Ok(self.data()?.as_object().and_then(|members| members.get(name)))
    }

    /// Its data: all of what is [`Wanted`], perhaps no more.
    pub(crate) fn data(&self) -> Result<&Json, String> {
        if let Some(data) = self.data.get() {
            return Ok(data);
        }
        let bytes = self.event.record.data();
        let data = match self.wanted {
            _ if bytes.is_empty() => Json::Null,
            Wanted::All => serde_json::from_slice(bytes).map_err(|error| not_json("data", &error))?,
            Wanted::Members(members) => {
                let mut deserializer = serde_json::Deserializer::from_slice(bytes);
                let picked = Pick(members).deserialize(&mut deserializer).and_then(|json| deserializer.end().map(|()| json));
                picked.map_err(|error| not_json("data", &error))?
            }
        };
        Ok(self.data.get_or_init(|| data))
    }

    pub(crate) fn metadata(&self) -> Result<&Json, String> {
        if let Some(metadata) = self.metadata.get() {
            return Ok(metadata);
        }
        let bytes = self.event.record.metadata();
        let metadata = match bytes {
            [] => Json::Object(Map::new()),
            bytes => serde_json::from_slice(bytes).map_err(|error| not_json("metadata", &error))?,
        };
        Ok(self.metadata.get_or_init(|| metadata))
    }

    /// All of it, as `GET /v1/events` tells it.
    pub(crate) fn whole(&self) -> Result<&Json, String> {
        if let Some(whole) = self.whole.get() {
            return Ok(whole);
        }
        let mut text = Vec::new();
        push_event(&mut text, self.event.shard, &self.event.record, Lines::Any);
        let whole = serde_json::from_slice(&text).map_err(|error| not_json("event", &error))?;
        Ok(self.whole.get_or_init(|| whole))
    }

    /// A member of the event other than `data` and `metadata`.
    pub(crate) fn member(&self, name: &str) -> Result<Found<'_>, String> {
        let record = &self.event.record;
        Ok(match name {
            "stream" => Found::Text(record.stream()),
            "type" => Found::Text(record.event_type()),
            "version" => Found::Number(record.version().get()),
            "schema_version" => Found::Number(u64::from(record.schema_version())),
            "position" => Found::Number(record.position().get()),
            "shard" => Found::Number(u64::from(self.event.shard)),
            "occurred_at" => Found::Time(record.occurred_at().as_micros()),
            "recorded_at" => Found::Time(record.recorded_at().as_micros()),
            "id" => {
                let mut id = Vec::with_capacity(36);
                push_uuid(&mut id, record.id().as_bytes());
                Found::Json(Cow::Owned(Json::String(String::from_utf8(id).map_err(|error| error.to_string())?)))
            }
            "tags" => Found::Json(Cow::Owned(record.tags().map(Json::from).collect())),
            _ => Found::Nothing,
        })
    }
}

fn not_json(part: &str, error: &serde_json::Error) -> String {
    format!("its {part} can't be read as JSON: {error}")
}

/// Builds an object with the wanted members alone; what is no object is built as it is.
struct Pick<'a>(&'a BTreeSet<String>);

impl<'de> DeserializeSeed<'de> for Pick<'_> {
    type Value = Json;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Json, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Pick<'_> {
    type Value = Json;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Json, A::Error> {
        let mut members = Map::new();
        while let Some(name) = access.next_key::<Cow<'de, str>>()? {
            if self.0.contains(name.as_ref()) {
                members.insert(name.into_owned(), access.next_value()?);
            } else {
                access.next_value::<IgnoredAny>()?;
            }
        }
        Ok(Json::Object(members))
    }

    // Nothing is wanted below a scalar or a list: a path that goes by names finds nothing there.
    fn visit_unit<E>(self) -> Result<Json, E> {
        Ok(Json::Null)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Json, E> {
        Ok(Json::Null)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Json, E> {
        Ok(Json::Null)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Json, E> {
        Ok(Json::Null)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Json, E> {
        Ok(Json::Null)
    }

    fn visit_str<E>(self, _: &str) -> Result<Json, E> {
        Ok(Json::Null)
    }

    fn visit_seq<A: serde::de::SeqAccess<'de>>(self, mut access: A) -> Result<Json, A::Error> {
        while access.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Json::Null)
    }
}
