//! How do CloudEvents 1.0 become events? `type`, `time` and the data are the event's own; every other attribute is kept in the
//! metadata under `cloudevents`.

use std::borrow::Cow;
use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use factum_storage::NewEvent;
use factum_storage::StreamName;
use http::HeaderMap;
use http::header;
use serde::Deserialize;
use serde::Deserializer;
use serde::de::Error as _;
use serde::de::MapAccess;
use serde::de::Visitor;
use serde_json::value::RawValue;

use crate::http::append::check_count;
use crate::http::decode::from_body;
use crate::http::ids::cloud_event_id;
use crate::http::new_events::EventFault;
use crate::http::new_events::EventMaker;
use crate::http::problem::Problem;
use crate::http::query::percent_decode;
use crate::http::request::media_type;
use crate::http::settings::HttpSettings;
use crate::http::wire::EventWire;
use crate::http::wire::Text;
use crate::subscription::event_json::push_uuid;
use crate::subscription::json_text::push_string;

/// How CloudEvents lie in a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// One JSON object.
    Structured,
    /// A JSON array of them.
    Batch,
    /// Attributes in `ce-*` headers, the data as body.
    Binary,
}

/// Whether the request holds CloudEvents, and how.
pub(crate) fn mode(headers: &HeaderMap) -> Option<Mode> {
    let value = headers.get(header::CONTENT_TYPE);
    let is_plain = value.is_some_and(|value| value == "application/json");
    let named = if is_plain { String::new() } else { media_type(headers) };
    match named.as_str() {
        "application/cloudevents+json" => Some(Mode::Structured),
        "application/cloudevents-batch+json" => Some(Mode::Batch),
        _ => headers.contains_key("ce-specversion").then_some(Mode::Binary),
    }
}

/// Reads the events of a request.
///
/// # Errors
///
/// 400 that names the attribute, 413 for too many or too large.
pub(crate) fn read(
    mode: Mode,
    headers: &HeaderMap,
    body: &Bytes,
    stream: &StreamName,
    settings: &HttpSettings,
    maker: &mut EventMaker<'_>,
) -> Result<Vec<NewEvent>, Problem> {
    match mode {
        Mode::Structured => {
            let wire: Attributes<'_> = from_body(body)?;
            Ok(vec![make(wire, stream, 0, maker).map_err(|fault| fault.into_problem(""))?])
        }
        Mode::Batch => {
            let wires: Vec<Attributes<'_>> = from_body(body)?;
            check_count(wires.len(), "body", settings)?;
            let made = wires.into_iter().enumerate();
            made.map(|(index, wire)| make(wire, stream, index, maker).map_err(|fault| fault.into_problem(&format!("[{index}]")))).collect()
        }
        Mode::Binary => {
            let wire = from_headers(headers, body)?;
            let borrowed = Attributes(wire.iter().map(|(name, value)| (Text(Cow::Borrowed(name.as_str())), &**value)).collect());
            Ok(vec![make(borrowed, stream, 0, maker).map_err(|fault| fault.into_problem(""))?])
        }
    }
}

/// The members of one CloudEvent in JSON.
struct Attributes<'a>(Vec<(Text<'a>, &'a RawValue)>);

impl<'de: 'a, 'a> Deserialize<'de> for Attributes<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct AttributesVisitor;
        impl<'de> Visitor<'de> for AttributesVisitor {
            type Value = Attributes<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a CloudEvent")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Self::Value, A::Error> {
                let mut attributes: Vec<(Text<'de>, &'de RawValue)> = Vec::new();
                while let Some((name, value)) = members.next_entry::<Text<'de>, &'de RawValue>()? {
                    if attributes.len() == ATTRIBUTES_MAX {
                        return Err(A::Error::custom("at most 64 attributes are allowed"));
                    }
                    if attributes.iter().any(|(known, _)| known.0 == name.0) {
                        return Err(A::Error::custom("an attribute is given twice"));
                    }
                    attributes.push((name, value));
                }
                Ok(Attributes(attributes))
            }
        }
        deserializer.deserialize_map(AttributesVisitor)
    }
}

fn make(attributes: Attributes<'_>, stream: &StreamName, index: usize, maker: &mut EventMaker<'_>) -> Result<NewEvent, EventFault> {
    let mut taken = Taken::default();
    let mut kept = Vec::from(b"{\"cloudevents\":{".as_slice());
    let first = kept.len();
    for (name, value) in &attributes.0 {
        match &*name.0 {
            "type" => taken.event_type = Some(text("type", value)?),
            "time" => taken.time = Some(text("time", value)?),
            "id" => taken.id = Some(text("id", value)?),
            "data" => taken.data = Some(value),
            "data_base64" => taken.data_base64 = Some(value),
            other => {
                if other == "source" {
                    taken.source = Some(text("source", value)?);
                } else if other == "specversion" {
                    taken.specversion = Some(text("specversion", value)?);
                }
                push_attribute(&mut kept, first, other, value)?;
            }
        }
    }
    if taken.specversion.as_deref() != Some("1.0") {
        return Err(EventFault::malformed("specversion", "must be \"1.0\""));
    }
    let source = required("source", taken.source)?;
    let id = required("id", taken.id)?;
    let id_text = if id.len() == 36 && uuid::Uuid::try_parse(&id).is_ok() {
        id
    } else {
        let mut quoted = Vec::new();
        push_string(&mut quoted, &id);
        push_member(&mut kept, first, "id", &quoted);
        let mut own = Vec::new();
        push_uuid(&mut own, cloud_event_id(&source, &id).as_bytes());
        Cow::Owned(String::from_utf8_lossy(&own).into_owned())
    };
    let data = match (taken.data, taken.data_base64) {
        (Some(_), Some(_)) => return Err(EventFault::malformed("data_base64", "cannot stand beside data")),
        (Some(data), None) => data,
        (None, Some(encoded)) => {
            check_base64(encoded)?;
            push_member(&mut kept, first, "datacontentencoding", b"\"base64\"");
            encoded
        }
        (None, None) => RawValue::NULL,
    };
    kept.extend_from_slice(b"}}");
    let metadata = RawValue::from_string(String::from_utf8_lossy(&kept).into_owned())
        .map_err(|_| EventFault::malformed("body", "has an attribute that is not JSON"))?;
    let wire = EventWire {
        stream: None,
        event_type: Text(required("type", taken.event_type)?),
        data,
        id: Some(Text(id_text)),
        metadata: Some(&metadata),
        tags: None,
        occurred_at: taken.time.map(Text),
        schema_version: None,
    };
    maker.make(&wire, stream.as_str(), index).map_err(|fault| fault.renamed("occurred_at", "time"))
}

/// The attributes that have a place of their own in an event.
#[derive(Default)]
struct Taken<'a> {
    specversion: Option<Cow<'a, str>>,
    event_type: Option<Cow<'a, str>>,
    source: Option<Cow<'a, str>>,
    id: Option<Cow<'a, str>>,
    time: Option<Cow<'a, str>>,
    data: Option<&'a RawValue>,
    data_base64: Option<&'a RawValue>,
}

fn required<'a>(name: &'static str, value: Option<Cow<'a, str>>) -> Result<Cow<'a, str>, EventFault> {
    value.filter(|text| !text.is_empty()).ok_or_else(|| EventFault::malformed(name, "is required"))
}

fn text<'a>(name: &'static str, value: &'a RawValue) -> Result<Cow<'a, str>, EventFault> {
    serde_json::from_str::<Text<'a>>(value.get()).map(|text| text.0).map_err(|_| EventFault::malformed(name, "must be a string"))
}

fn push_attribute(kept: &mut Vec<u8>, first: usize, name: &str, value: &RawValue) -> Result<(), EventFault> {
    let is_name = (1..=64).contains(&name.len()) && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit());
    if !is_name {
        let shown: String = name.chars().take(64).collect();
        return Err(EventFault::malformed(shown, "is not the name of an attribute: lower-case letters and digits"));
    }
    if matches!(value.get().as_bytes().first(), Some(b'{' | b'[')) {
        return Err(EventFault::malformed(name, "must be a string, a number or a boolean"));
    }
    push_member(kept, first, name, value.get().as_bytes());
    Ok(())
}

fn push_member(kept: &mut Vec<u8>, first: usize, name: &str, json: &[u8]) {
    if kept.len() > first {
        kept.push(b',');
    }
    push_string(kept, name);
    kept.push(b':');
    kept.extend_from_slice(json);
}

fn check_base64(encoded: &RawValue) -> Result<(), EventFault> {
    let text = text("data_base64", encoded)?;
    STANDARD.decode(text.as_bytes()).map(drop).map_err(|_| EventFault::malformed("data_base64", "is not base64"))
}

/// The binary mode as the members that the structured mode would have.
fn from_headers(headers: &HeaderMap, body: &Bytes) -> Result<Vec<(String, Box<RawValue>)>, Problem> {
    let mut members = Vec::new();
    for (name, value) in headers {
        let Some(attribute) = name.as_str().strip_prefix("ce-") else { continue };
        let text = value.to_str().map_err(|_| Problem::malformed(name.as_str(), "must be visible ASCII, percent-encoded"))?;
        let text = percent_decode(text.trim(), false).map_err(|detail| Problem::malformed(name.as_str(), detail))?;
        if members.iter().any(|(known, _)| known == attribute) {
            return Err(Problem::malformed(name.as_str(), "is given more than once"));
        }
        members.push((attribute.to_owned(), quoted(&text)));
    }
    let content_type = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    if !content_type.is_empty() {
        members.push(("datacontenttype".to_owned(), quoted(content_type)));
    }
    let media = media_type(headers);
    if body.is_empty() {
        return Ok(members);
    }
    if media.ends_with("/json") || media.ends_with("+json") {
        let data: &RawValue = from_body(body)?;
        members.push(("data".to_owned(), data.to_owned()));
    } else {
        members.push(("data_base64".to_owned(), quoted(&STANDARD.encode(body))));
    }
    Ok(members)
}

fn quoted(text: &str) -> Box<RawValue> {
    let mut json = Vec::new();
    push_string(&mut json, text);
    RawValue::from_string(String::from_utf8_lossy(&json).into_owned()).expect("text escaped is JSON")
}

const ATTRIBUTES_MAX: usize = 64;
