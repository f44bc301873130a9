//! What may a definition of a consumer group say, and what does it mean?

use std::time::Duration;

use factum_storage::Filter;
use serde_json::Value;

use crate::definition::Format;
use crate::definition::document;
use crate::definition::document::at;
use crate::definition::document::number;
use crate::definition::document::unknown;
use crate::error::DefinitionFault;

/// What a consumer group's definition says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Terms {
    /// Which events.
    pub filter: Filter,
    /// Where a new group begins.
    pub after: Begin,
    /// How many deliveries one consumer may have at once without an acknowledgement.
    pub max_in_flight: usize,
    /// How long a consumer may take.
    pub ack_timeout: Duration,
    /// How often an event is tried before it is parked.
    pub max_attempts: u32,
    /// What order is kept.
    pub ordering: Ordering,
}

/// Where a new group begins (exclusive).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Begin {
    /// Before the first event.
    Start,
    /// Behind what is committed when the group is made.
    End,
    /// Behind a cursor, as the user wrote it.
    Cursor(String),
}

/// What order a consumer group keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ordering {
    /// The events of a stream go to one consumer at a time, in their order.
    Stream,
    /// None: any event goes to anybody.
    None,
}

impl Default for Terms {
    fn default() -> Self {
        Self {
            filter: Filter::default(),
            after: Begin::Start,
            max_in_flight: 1_000,
            ack_timeout: Duration::from_secs(30),
            max_attempts: 10,
            ordering: Ordering::Stream,
        }
    }
}

impl Begin {
    /// As it is written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        match self {
            Self::Start => "0",
            Self::End => "end",
            Self::Cursor(text) => text,
        }
    }
}

impl Ordering {
    /// As it is written.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Stream => "stream",
            Self::None => "none",
        }
    }
}

impl Terms {
    /// Reads a definition. Whether its cursor is one of this database is not looked at here.
    ///
    /// # Errors
    ///
    /// What is wrong, and where.
    pub(crate) fn parse(format: Format, text: &str) -> Result<Self, DefinitionFault> {
        let members = document::members(format, text, "a subscription")?;
        let mut terms = Self::default();
        for (name, value) in &members {
            let pointer = format!("/{name}");
            match name.as_str() {
                "filter" => terms.filter = document::filter(value)?,
                "after" => terms.after = begin(value)?,
                "max_in_flight" => terms.max_in_flight = narrow(number(value, &pointer, 1, IN_FLIGHT_MAX)?, &pointer)?,
                "ack_timeout_ms" => terms.ack_timeout = Duration::from_millis(number(value, &pointer, 100, ACK_TIMEOUT_MS_MAX)?),
                "max_attempts" => terms.max_attempts = narrow(number(value, &pointer, 1, ATTEMPTS_MAX)?, &pointer)?,
                "ordering" => terms.ordering = ordering(value)?,
                _ => return Err(unknown(&pointer, FIELDS)),
            }
        }
        Ok(terms)
    }
}

fn begin(value: &Value) -> Result<Begin, DefinitionFault> {
    let text = match value {
        Value::String(text) => text.clone(),
        // With one shard a cursor reads as a number, and so it is written.
        Value::Number(number) if number.is_u64() => number.to_string(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => {
            return Err(at("/after", "must be \"0\" (the start), \"end\" or a cursor"));
        }
    };
    Ok(match text.as_str() {
        "0" => Begin::Start,
        "end" => Begin::End,
        _ => Begin::Cursor(text),
    })
}

fn ordering(value: &Value) -> Result<Ordering, DefinitionFault> {
    match value.as_str() {
        Some("stream") => Ok(Ordering::Stream),
        Some("none") => Ok(Ordering::None),
        _ => Err(at("/ordering", "must be \"stream\" or \"none\"")),
    }
}

fn narrow<T: TryFrom<u64>>(number: u64, pointer: &str) -> Result<T, DefinitionFault> {
    T::try_from(number).map_err(|_| at(pointer, "is too large"))
}

const FIELDS: &str = "filter, after, max_in_flight, ack_timeout_ms, max_attempts and ordering";
const IN_FLIGHT_MAX: u64 = 100_000;
const ACK_TIMEOUT_MS_MAX: u64 = 86_400_000;
const ATTEMPTS_MAX: u64 = 1_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_fields_are_read_from_both_formats() {
        let json = r#"{"filter": {"categories": ["order"], "types": ["A"], "tags": ["x:1"], "stream_prefix": "order-4"},
            "after": "end", "max_in_flight": 5, "ack_timeout_ms": 100, "max_attempts": 3, "ordering": "none"}"#;
        let toml = "after = \"end\"\nmax_in_flight = 5\nack_timeout_ms = 100\nmax_attempts = 3\nordering = \"none\"\n\
            [filter]\ncategories = [\"order\"]\ntypes = [\"A\"]\ntags = [\"x:1\"]\nstream_prefix = \"order-4\"\n";
        let terms = Terms::parse(Format::Json, json).unwrap();
        assert_eq!(terms, Terms::parse(Format::Toml, toml).unwrap());
        assert_eq!((terms.max_in_flight, terms.max_attempts, terms.ordering), (5, 3, Ordering::None));
        assert_eq!((terms.after.as_str(), terms.filter.stream_prefix.as_deref()), ("end", Some("order-4")));
        assert_eq!(Terms::parse(Format::Json, "{}").unwrap(), Terms::parse(Format::Toml, "").unwrap());
        assert_eq!(Terms::parse(Format::Json, "{\"after\": 7}").unwrap().after, Begin::Cursor("7".to_owned()));
    }

    #[test]
    fn faults_name_their_place() {
        for (text, pointer) in [
            ("[]", None),
            (r#"{"colour": 1}"#, Some("/colour")),
            (r#"{"filter": {"colour": 1}}"#, Some("/filter/colour")),
            (r#"{"filter": {"types": ["a", 5]}}"#, Some("/filter/types/1")),
            (r#"{"filter": {"tags": "a"}}"#, Some("/filter/tags")),
            (r#"{"filter": {"stream_prefix": ""}}"#, Some("/filter/stream_prefix")),
            (r#"{"filter": null}"#, Some("/filter")),
            (r#"{"after": true}"#, Some("/after")),
            (r#"{"max_in_flight": 0}"#, Some("/max_in_flight")),
            (r#"{"max_in_flight": 100001}"#, Some("/max_in_flight")),
            (r#"{"ack_timeout_ms": 99}"#, Some("/ack_timeout_ms")),
            (r#"{"max_attempts": 1001}"#, Some("/max_attempts")),
            (r#"{"ordering": "both"}"#, Some("/ordering")),
        ] {
            let fault = Terms::parse(Format::Json, text).unwrap_err();
            assert_eq!(fault.pointer.as_deref(), pointer, "{text}: {fault:?}");
        }
        let fault = Terms::parse(Format::Json, "{\n nonsense").unwrap_err();
        assert_eq!((fault.line, fault.column), (Some(2), Some(2)));
        let fault = Terms::parse(Format::Toml, "after = \"0\"\nmax = = 1").unwrap_err();
        assert_eq!(fault.line, Some(2));
    }
}
