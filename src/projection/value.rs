//! What can stand in a column?

use std::cmp::Ordering;
use std::hash::Hash;
use std::hash::Hasher;
use std::sync::Arc;

use rust_decimal::Decimal;

/// The value of one column of one row. `Null` is of every type.
#[derive(Clone, Debug)]
pub enum Value {
    /// Nothing.
    Null,
    /// Text.
    Text(Arc<str>),
    /// `bigint` and `integer`.
    Integer(i64),
    /// `double`. Never NaN, never infinite.
    Double(f64),
    /// `decimal(p,s)`, exact, with the scale of its column.
    Decimal(Decimal),
    /// `boolean`.
    Boolean(bool),
    /// `timestamp`: microseconds since 1970-01-01T00:00:00Z.
    Timestamp(i64),
    /// `date`: days since 1970-01-01.
    Date(i32),
    /// `uuid`.
    Uuid([u8; 16]),
    /// `json`: the text of a JSON value, without spaces between its tokens.
    Json(Arc<str>),
}

impl Value {
    /// Whether it is nothing.
    #[must_use]
    pub fn is_null(&self) -> bool {
        matches!(self, Self::Null)
    }

    fn rank(&self) -> u8 {
        match self {
            Self::Text(_) => 0,
            Self::Integer(_) => 1,
            Self::Double(_) => 2,
            Self::Decimal(_) => 3,
            Self::Boolean(_) => 4,
            Self::Timestamp(_) => 5,
            Self::Date(_) => 6,
            Self::Uuid(_) => 7,
            Self::Json(_) => 8,
            Self::Null => 9,
        }
    }

    /// About how many bytes it takes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        match self {
            Self::Text(text) | Self::Json(text) => text.len() + 16,
            Self::Null
            | Self::Integer(_)
            | Self::Double(_)
            | Self::Decimal(_)
            | Self::Boolean(_)
            | Self::Timestamp(_)
            | Self::Date(_)
            | Self::Uuid(_) => 16,
        }
    }
}

impl PartialEq for Value {
    /// Of one type and the same; doubles by their bits, so that a value is always equal to itself.
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Null, Self::Null) => true,
            (Self::Text(one), Self::Text(other)) | (Self::Json(one), Self::Json(other)) => one == other,
            (Self::Integer(one), Self::Integer(other)) | (Self::Timestamp(one), Self::Timestamp(other)) => one == other,
            (Self::Double(one), Self::Double(other)) => one.to_bits() == other.to_bits(),
            (Self::Decimal(one), Self::Decimal(other)) => one == other,
            (Self::Boolean(one), Self::Boolean(other)) => one == other,
            (Self::Date(one), Self::Date(other)) => one == other,
            (Self::Uuid(one), Self::Uuid(other)) => one == other,
            _ => false,
        }
    }
}

impl Eq for Value {}

impl PartialOrd for Value {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Value {
    /// Values of one type by size, texts by their bytes; null comes last. Between types there is some order, always the same.
    fn cmp(&self, other: &Self) -> Ordering {
        match (self, other) {
            (Self::Null, Self::Null) => Ordering::Equal,
            (Self::Text(one), Self::Text(other)) | (Self::Json(one), Self::Json(other)) => one.cmp(other),
            (Self::Integer(one), Self::Integer(other)) | (Self::Timestamp(one), Self::Timestamp(other)) => one.cmp(other),
            (Self::Double(one), Self::Double(other)) => one.total_cmp(other),
            (Self::Decimal(one), Self::Decimal(other)) => one.cmp(other),
            (Self::Boolean(one), Self::Boolean(other)) => one.cmp(other),
            (Self::Date(one), Self::Date(other)) => one.cmp(other),
            (Self::Uuid(one), Self::Uuid(other)) => one.cmp(other),
            _ => self.rank().cmp(&other.rank()),
        }
    }
}

impl Hash for Value {
    fn hash<H: Hasher>(&self, state: &mut H) {
        match self {
            Self::Null => {}
            Self::Text(text) | Self::Json(text) => text.hash(state),
            Self::Integer(number) | Self::Timestamp(number) => number.hash(state),
            Self::Double(number) => number.to_bits().hash(state),
            Self::Decimal(number) => number.hash(state),
            Self::Boolean(boolean) => boolean.hash(state),
            Self::Date(days) => days.hash(state),
            Self::Uuid(bytes) => bytes.hash(state),
        }
    }
}
