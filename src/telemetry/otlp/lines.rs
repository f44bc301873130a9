//! What is a line of the log, as OTLP has it?

use tracing::Level;

use super::message::Message;
use super::message::Value;
use crate::telemetry::records::Record;

/// One `LogRecord`.
pub(super) fn log_record(record: &Record) -> Message {
    let at = Value::Fixed(u64::try_from(record.at).unwrap_or_default());
    let (number, name) = severity(record.level);
    let mut attributes = vec![Message::attribute("code.namespace", Message::text(record.target))];
    attributes.extend(record.request.iter().map(|request| Message::attribute("request_id", Message::text(request))));
    attributes.extend(record.fields.iter().map(|(name, value)| Message::attribute(name, Message::text(value))));
    let mut message = Message::new()
        .with(1, "timeUnixNano", at.clone())
        .with(2, "severityNumber", Value::Choice(number))
        .with(3, "severityText", Value::Text(name.to_owned()))
        .with(5, "body", Value::Message(Message::text(&record.message)))
        .with(6, "attributes", Value::Messages(attributes))
        .with(11, "observedTimeUnixNano", at);
    if let Some(trace) = record.trace {
        message = message.with(9, "traceId", Value::Id(trace.0.to_be_bytes().to_vec()));
    }
    if let Some(span) = record.span {
        message = message.with(10, "spanId", Value::Id(span.to_be_bytes().to_vec()));
    }
    message
}

fn severity(level: Level) -> (u8, &'static str) {
    match level {
        Level::TRACE => (1, "TRACE"),
        Level::DEBUG => (5, "DEBUG"),
        Level::INFO => (9, "INFO"),
        Level::WARN => (13, "WARN"),
        Level::ERROR => (17, "ERROR"),
    }
}
