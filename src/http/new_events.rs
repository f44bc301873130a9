//! Is this an event? Turns what a client sent into what the database stores, or says which field breaks which rule.

use std::borrow::Cow;
use std::sync::Arc;

use bytes::Bytes;
use factum_storage::EventId;
use factum_storage::NewEvent;
use factum_storage::check_name;
use http::HeaderMap;
use serde_json::value::RawValue;

use crate::http::ids::IdSource;
use crate::http::problem::Problem;
use crate::http::problem::Slug;
use crate::http::settings::HttpSettings;
use crate::http::wire::EventWire;
use crate::subscription::json_text::is_deeper_than;
use crate::subscription::time::parse_timestamp;
use crate::telemetry::traces;

/// What is wrong with one event.
#[derive(Debug)]
pub(crate) struct EventFault {
    slug: Slug,
    field: String,
    detail: String,
}

impl EventFault {
    pub(crate) fn malformed(field: impl Into<String>, detail: impl Into<String>) -> Self {
        Self { slug: Slug::MalformedRequest, field: field.into(), detail: detail.into() }
    }

    /// The same fault under the name that the client used for the field.
    pub(crate) fn renamed(mut self, ours: &str, theirs: &str) -> Self {
        if self.field == ours {
            theirs.clone_into(&mut self.field);
        }
        self
    }

    /// The answer, with the event's own path before the field.
    pub(crate) fn into_problem(self, prefix: &str) -> Problem {
        let field = if prefix.is_empty() { self.field } else { format!("{prefix}.{}", self.field) };
        Problem::new(self.slug, format!("{field}: {}", self.detail)).with_text("field", &field)
    }
}

/// Makes the events of one request.
pub(crate) struct EventMaker<'a> {
    body: &'a Bytes,
    event_bytes_max: usize,
    traceparent: Option<Cow<'a, str>>,
    ids: IdSource<'a>,
    last_type: Option<Arc<str>>,
}

impl<'a> EventMaker<'a> {
    /// For the events whose text is borrowed from `body`.
    ///
    /// # Errors
    ///
    /// 400 for a broken `Idempotency-Key`.
    pub(crate) fn new(body: &'a Bytes, headers: &'a HeaderMap, settings: &HttpSettings) -> Result<Self, Problem> {
        Ok(Self {
            body,
            event_bytes_max: settings.event_bytes_max,
            traceparent: cause(headers),
            ids: IdSource::new(headers)?,
            last_type: None,
        })
    }

    /// Checks the event at `index` of `stream` and makes it.
    ///
    /// # Errors
    ///
    /// The first field that breaks a rule.
    pub(crate) fn make(&mut self, wire: &EventWire<'_>, stream: &str, index: usize) -> Result<NewEvent, EventFault> {
        let event_type = self.event_type(&wire.event_type.0)?;
        let occurred_at = wire
            .occurred_at
            .as_ref()
            .map(|text| parse_timestamp(&text.0).map_err(|detail| EventFault::malformed("occurred_at", detail)))
            .transpose()?;
        let metadata = self.metadata(wire.metadata)?;
        let data = wire.data.get().as_bytes();
        check_depth("data", data)?;
        let bytes = data.len() + metadata.len();
        if bytes > self.event_bytes_max {
            let detail = format!("data and metadata have {bytes} bytes, at most {} are allowed", self.event_bytes_max);
            return Err(EventFault { slug: Slug::PayloadTooLarge, field: "data".to_owned(), detail });
        }
        let (id, id_is_fresh) = match &wire.id {
            Some(text) => (parse_id(&text.0)?, false),
            None => self.ids.next(stream, index),
        };
        Ok(NewEvent {
            id,
            id_is_fresh,
            event_type,
            schema_version: schema_version(wire.schema_version)?,
            occurred_at,
            tags: tags(wire)?,
            metadata,
            data: self.slice(data),
        })
    }

    /// Events of one request are mostly of few types: neighbours share theirs.
    fn event_type(&mut self, text: &str) -> Result<Arc<str>, EventFault> {
        if let Some(last) = &self.last_type
            && **last == *text
        {
            return Ok(Arc::clone(last));
        }
        check_name(text).map_err(|fault| EventFault::malformed("type", fault.to_string()))?;
        let own: Arc<str> = text.into();
        self.last_type = Some(Arc::clone(&own));
        Ok(own)
    }

    fn metadata(&self, raw: Option<&RawValue>) -> Result<Bytes, EventFault> {
        let own = match raw {
            None => Bytes::new(),
            Some(raw) => {
                let json = raw.get().as_bytes();
                if json.first() != Some(&b'{') {
                    return Err(EventFault::malformed("metadata", "must be a JSON object"));
                }
                check_depth("metadata", json)?;
                self.slice(json)
            }
        };
        Ok(match &self.traceparent {
            None => own,
            Some(traceparent) => with_traceparent(own, traceparent),
        })
    }

    /// The same bytes as a slice of the body, so that they are not copied on their way to the log. What was made apart from it is copied.
    fn slice(&self, part: &[u8]) -> Bytes {
        let at = (part.as_ptr() as usize).checked_sub(self.body.as_ptr() as usize);
        match at.and_then(|at| Some(at..at.checked_add(part.len())?)) {
            Some(range) if range.end <= self.body.len() => self.body.slice(range),
            _ => Bytes::copy_from_slice(part),
        }
    }
}

fn tags(wire: &EventWire<'_>) -> Result<Vec<Arc<str>>, EventFault> {
    let Some(tags) = &wire.tags else { return Ok(Vec::new()) };
    let mut own = Vec::with_capacity(tags.0.len());
    for (index, tag) in tags.0.iter().enumerate() {
        check_name(&tag.0).map_err(|fault| EventFault::malformed(format!("tags[{index}]"), fault.to_string()))?;
        own.push(Arc::from(&*tag.0));
    }
    Ok(own)
}

fn schema_version(version: Option<u64>) -> Result<u16, EventFault> {
    match version {
        // The newest of its type; the database knows which.
        None => Ok(0),
        Some(version) => u16::try_from(version)
            .ok()
            .filter(|version| *version > 0)
            .ok_or_else(|| EventFault::malformed("schema_version", "must be a number from 1 to 65535")),
    }
}

fn parse_id(text: &str) -> Result<EventId, EventFault> {
    // Only the usual form: braces, URNs and bare digits would be other spellings of the same id in the answers.
    let id = if text.len() == 36 { uuid::Uuid::try_parse(text).ok() } else { None };
    id.map(|id| EventId::from_bytes(id.into_bytes()))
        .ok_or_else(|| EventFault::malformed("id", "must be a UUID such as 0190a2b4-7c1e-7d3f-8a5b-1c2d3e4f5a6b"))
}

/// As deep as what reads it again can follow.
fn check_depth(field: &str, json: &[u8]) -> Result<(), EventFault> {
    if is_deeper_than(json, DEPTH_MAX) {
        Err(EventFault::malformed(field, format!("is nested deeper than {DEPTH_MAX} levels")))
    } else {
        Ok(())
    }
}

/// The request's trace context, if it is one; a broken header is ignored, as W3C Trace Context asks.
pub(crate) fn traceparent(headers: &HeaderMap) -> Option<&str> {
    let text = headers.get("traceparent")?.to_str().ok()?;
    let mut parts = text.split('-');
    let mut is_hex = |length: usize| {
        parts.next().is_some_and(|part| part.len() == length && part.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')))
    };
    let is_valid = is_hex(2) && is_hex(32) && is_hex(16) && is_hex(2) && text.len() == 55;
    is_valid.then_some(text)
}

/// What events remember of the request that makes them: its own trace context, or the one that it was given here.
pub(crate) fn cause(headers: &HeaderMap) -> Option<Cow<'_, str>> {
    traceparent(headers).map(Cow::Borrowed).or_else(|| traces::traceparent().map(Cow::Owned))
}

/// Puts the trace context first into the object and leaves the client's bytes as they are; the client's own wins.
fn with_traceparent(metadata: Bytes, traceparent: &str) -> Bytes {
    let own = metadata.get(1..).unwrap_or_default();
    let is_empty = own.trim_ascii() == b"}" || own.is_empty();
    if !is_empty && has_key(&metadata, "traceparent") {
        return metadata;
    }
    let mut out = Vec::with_capacity(metadata.len() + 80);
    out.extend_from_slice(b"{\"traceparent\":\"");
    out.extend_from_slice(traceparent.as_bytes());
    out.push(b'"');
    if is_empty {
        out.push(b'}');
    } else {
        out.push(b',');
        out.extend_from_slice(own);
    }
    out.into()
}

fn has_key(object: &[u8], key: &str) -> bool {
    serde_json::from_slice::<std::collections::HashMap<String, serde::de::IgnoredAny>>(object)
        .is_ok_and(|members| members.contains_key(key))
}

/// Arrays and objects within each other, of data and of metadata.
pub(crate) const DEPTH_MAX: usize = 128;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn traceparent_leaves_the_clients_bytes_alone() {
        let parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        let check = |metadata: &'static [u8], expected: &str| {
            let out = with_traceparent(Bytes::from_static(metadata), parent);
            assert_eq!(String::from_utf8_lossy(&out), expected.replace("TP", parent));
            serde_json::from_slice::<serde_json::Value>(&out).unwrap();
        };
        check(b"", r#"{"traceparent":"TP"}"#);
        check(b"{ }", r#"{"traceparent":"TP"}"#);
        check(b"{ \"a\" : 1 }", r#"{"traceparent":"TP", "a" : 1 }"#);
        check(br#"{"traceparent":"mine"}"#, r#"{"traceparent":"mine"}"#);
        check(br#"{"\u0074raceparent":"mine"}"#, r#"{"\u0074raceparent":"mine"}"#);
        check(br#"{"x":{"traceparent":1}}"#, r#"{"traceparent":"TP","x":{"traceparent":1}}"#);
    }
}
