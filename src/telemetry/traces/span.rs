//! What is one span, and how is it written for a collector? As OTLP asks for it in JSON.

use std::sync::Arc;

use serde_json::Value;
use serde_json::json;

use crate::telemetry::request::TraceId;

/// A piece of work within a trace.
#[derive(Clone, Debug)]
pub(super) struct Span {
    pub(super) place: Place,
    /// The span that it is a part of; 0 if it is of none.
    pub(super) parent: u64,
    pub(super) name: &'static str,
    pub(super) kind: SpanKind,
    /// In nanoseconds since 1970.
    pub(super) began: i128,
    pub(super) ended: i128,
    pub(super) attributes: Vec<Attribute>,
    /// Other spans that have caused it.
    pub(super) links: Vec<Place>,
    pub(super) is_error: bool,
    /// What the client's own tracing has sent along.
    pub(super) state: Option<Arc<str>>,
}

/// Where a span stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// In which trace.
    pub trace: TraceId,
    /// Which one there; never 0.
    pub span: u64,
}

/// What is said of a span: a name and a value.
pub type Attribute = (&'static str, AttributeValue);

/// A value that is said of a span.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AttributeValue {
    /// A word or a name.
    Text(Arc<str>),
    /// A number.
    Number(i64),
}

impl From<&str> for AttributeValue {
    fn from(text: &str) -> Self {
        Self::Text(text.into())
    }
}

impl From<u64> for AttributeValue {
    fn from(number: u64) -> Self {
        Self::Number(i64::try_from(number).unwrap_or(i64::MAX))
    }
}

/// Which side of a call a span is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SpanKind {
    Internal = 1,
    Server = 2,
    Consumer = 5,
}

/// The body of `POST …/v1/traces`.
pub(super) fn body(spans: &[Span]) -> Vec<u8> {
    let spans: Vec<Value> = spans.iter().map(written).collect();
    let service = [text_attribute("service.name", "factum"), text_attribute("service.version", env!("CARGO_PKG_VERSION"))];
    let document = json!({"resourceSpans": [{
        "resource": {"attributes": service},
        "scopeSpans": [{"scope": {"name": "factum", "version": env!("CARGO_PKG_VERSION")}, "spans": spans}],
    }]});
    document.to_string().into_bytes()
}

fn written(span: &Span) -> Value {
    let attributes: Vec<Value> = span.attributes.iter().map(|(name, value)| attribute(name, value)).collect();
    let links: Vec<Value> = span.links.iter().map(|link| json!({"traceId": link.trace.to_string(), "spanId": id(link.span)})).collect();
    let mut document = json!({
        "traceId": span.place.trace.to_string(),
        "spanId": id(span.place.span),
        "name": span.name,
        "kind": span.kind as u8,
        // As texts: JSON's numbers end at 2^53.
        "startTimeUnixNano": span.began.to_string(),
        "endTimeUnixNano": span.ended.to_string(),
        "attributes": attributes,
        "links": links,
        "status": if span.is_error { json!({"code": 2}) } else { json!({}) },
    });
    if span.parent != 0 {
        document["parentSpanId"] = Value::from(id(span.parent));
    }
    if let Some(state) = &span.state {
        document["traceState"] = Value::from(&**state);
    }
    document
}

fn id(span: u64) -> String {
    format!("{span:016x}")
}

fn attribute(name: &str, value: &AttributeValue) -> Value {
    match value {
        AttributeValue::Text(text) => text_attribute(name, text),
        AttributeValue::Number(number) => json!({"key": name, "value": {"intValue": number.to_string()}}),
    }
}

fn text_attribute(name: &str, text: &str) -> Value {
    json!({"key": name, "value": {"stringValue": text}})
}
