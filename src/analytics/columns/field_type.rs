//! What is the narrowest type that all values of a member fit?

use arrow::datatypes::DataType;
use arrow::datatypes::TimeUnit;
use serde::Deserialize;
use serde::Serialize;

use super::super::members;
use crate::subscription::time::parse_timestamp;

/// The type of a column.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum FieldType {
    /// Nothing but null: a text, until there is something.
    #[default]
    Null,
    /// `boolean`.
    Boolean,
    /// `bigint`: whole numbers of 64 bits.
    Bigint,
    /// `double`: any other number, and a mix of both.
    Double,
    /// A point in time, of microseconds.
    Timestamp,
    /// A string as it is; of a mix, everything else as its JSON text. Also objects and arrays.
    Text,
}

impl FieldType {
    /// What values of both types fit.
    pub(crate) fn widened(self, other: Self) -> Self {
        match (self, other) {
            (one, other) if one == other => one,
            (Self::Null, one) | (one, Self::Null) => one,
            (Self::Bigint, Self::Double) | (Self::Double, Self::Bigint) => Self::Double,
            _ => Self::Text,
        }
    }

    /// What this value fits too. A string that reads as a time is one here.
    pub(super) fn widened_by(self, json: &str) -> Self {
        if self == Self::Text {
            return self;
        }
        let kind = match json.as_bytes().first() {
            Some(b'n') => Self::Null,
            Some(b't' | b'f') => Self::Boolean,
            // Once one was no time, the others need not be looked at.
            Some(b'"') if matches!(self, Self::Null | Self::Timestamp) && parse_timestamp(&members::text(json)).is_ok() => Self::Timestamp,
            Some(b'-' | b'0'..=b'9') if self == Self::Double && !is_finite(json) => Self::Text,
            Some(b'-' | b'0'..=b'9') if self == Self::Double => Self::Double,
            // Of all whole numbers it alone is written in two ways.
            Some(b'-' | b'0'..=b'9') if json != "-0" && json.parse::<i64>().is_ok() => Self::Bigint,
            Some(b'-' | b'0'..=b'9') if is_finite(json) => Self::Double,
            _ => Self::Text,
        };
        self.widened(kind)
    }

    /// As it lies in memory.
    pub(crate) fn data_type(self) -> DataType {
        match self {
            Self::Null | Self::Text => DataType::Utf8View,
            Self::Boolean => DataType::Boolean,
            Self::Bigint => DataType::Int64,
            Self::Double => DataType::Float64,
            Self::Timestamp => timestamp(),
        }
    }
}

/// The type of all times.
pub(crate) fn timestamp() -> DataType {
    DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()))
}

fn is_finite(json: &str) -> bool {
    json.parse::<f64>().is_ok_and(f64::is_finite)
}
