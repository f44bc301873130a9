//! What is one span, and how is it said to a collector?

use std::sync::Arc;

use crate::telemetry::otlp::message::Message;
use crate::telemetry::otlp::message::Value;
use crate::telemetry::request::TraceId;

/// A piece of work within a trace.
#[derive(Clone, Debug)]
pub(crate) struct Span {
    pub(crate) place: Place,
    /// The span that it is a part of; 0 if it is of none.
    pub(crate) parent: u64,
    pub(crate) name: &'static str,
    pub(crate) kind: SpanKind,
    /// In nanoseconds since 1970.
    pub(crate) began: i128,
    pub(crate) ended: i128,
    pub(crate) attributes: Vec<Attribute>,
    /// Other spans that have caused it.
    pub(crate) links: Vec<Place>,
    pub(crate) is_error: bool,
    /// What the client's own tracing has sent along.
    pub(crate) state: Option<Arc<str>>,
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
pub(crate) enum SpanKind {
    Internal = 1,
    Server = 2,
    Consumer = 5,
}

#[cfg(feature = "analytics")]
impl SpanKind {
    /// As people write it.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Internal => "internal",
            Self::Server => "server",
            Self::Consumer => "consumer",
        }
    }
}

/// One `Span` of OTLP.
pub(in crate::telemetry) fn message(span: &Span) -> Message {
    let time = |nanoseconds: i128| Value::Fixed(u64::try_from(nanoseconds).unwrap_or_default());
    let attributes = span.attributes.iter().map(|(name, value)| Message::attribute(name, any(value)));
    let links = span.links.iter().map(|link| placed(Message::new(), *link));
    let status = if span.is_error { Message::new().with(3, "code", Value::Choice(2)) } else { Message::new() };
    let message = placed(Message::new(), span.place)
        .with(5, "name", Value::Text(span.name.to_owned()))
        .with(6, "kind", Value::Choice(span.kind as u8))
        .with(7, "startTimeUnixNano", time(span.began))
        .with(8, "endTimeUnixNano", time(span.ended))
        .with(9, "attributes", Value::Messages(attributes.collect()))
        .with(13, "links", Value::Messages(links.collect()))
        .with(15, "status", Value::Message(status));
    let message = match &span.state {
        Some(state) => message.with(3, "traceState", Value::Text(state.to_string())),
        None => message,
    };
    if span.parent == 0 { message } else { message.with(4, "parentSpanId", id(span.parent)) }
}

/// With `trace_id` and `span_id`, which spans and links have at the same place.
fn placed(message: Message, place: Place) -> Message {
    message.with(1, "traceId", Value::Id(place.trace.0.to_be_bytes().to_vec())).with(2, "spanId", id(place.span))
}

fn id(span: u64) -> Value {
    Value::Id(span.to_be_bytes().to_vec())
}

fn any(value: &AttributeValue) -> Message {
    match value {
        AttributeValue::Text(text) => Message::text(text),
        AttributeValue::Number(number) => Message::integer(*number),
    }
}
