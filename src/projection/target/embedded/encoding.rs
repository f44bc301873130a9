//! How does a row stand in the file? See `docs/format.md`, "Views".

use std::sync::Arc;

use rust_decimal::Decimal;

use super::super::super::row::Row;
use super::super::super::spec::Column;
use super::super::super::spec::ColumnType;
use super::super::super::spec::Columns;
use super::super::super::value::Value;
use super::fault::Trouble;
use super::sortable::mantissa_at;
use super::sortable::scale_of;

/// Appends a row.
///
/// # Errors
///
/// What is wrong with a value that is not of its column's type.
pub(super) fn push_row(out: &mut Vec<u8>, row: &Row, columns: &Columns) -> Result<(), String> {
    if row.values.len() != columns.list().len() {
        return Err(format!("has {} values for {} columns", row.values.len(), columns.list().len()));
    }
    out.push(ROW_FORMAT);
    push_varint(out, row.version);
    push_varint(out, row.position);
    for eight in row.values.chunks(8) {
        out.push(eight.iter().rev().fold(0, |bits, value| bits << 1 | u8::from(value.is_null())));
    }
    for (value, column) in row.values.iter().zip(columns.list()) {
        if !value.is_null() && !push_value(out, value, column.column_type) {
            return Err(format!("column {} cannot hold {value:?}", column.name));
        }
    }
    Ok(())
}

fn push_value(out: &mut Vec<u8>, value: &Value, column_type: ColumnType) -> bool {
    match (value, column_type) {
        (Value::Text(text), ColumnType::Text) | (Value::Json(text), ColumnType::Json) => push_bytes(out, text.as_bytes()),
        (Value::Integer(number), ColumnType::Bigint | ColumnType::Integer) | (Value::Timestamp(number), ColumnType::Timestamp) => {
            push_varint(out, zigzag(*number));
        }
        (Value::Date(days), ColumnType::Date) => push_varint(out, zigzag(i64::from(*days))),
        (Value::Double(number), ColumnType::Double) => out.extend_from_slice(&number.to_bits().to_le_bytes()),
        (Value::Decimal(number), ColumnType::Decimal { scale, .. }) => {
            let mantissa = mantissa_at(*number, scale);
            push_long_varint(out, mantissa.cast_unsigned() << 1 ^ (mantissa >> 127).cast_unsigned());
        }
        (Value::Boolean(boolean), ColumnType::Boolean) => out.push(u8::from(*boolean)),
        (Value::Uuid(bytes), ColumnType::Uuid) => out.extend_from_slice(bytes),
        (
            Value::Null
            | Value::Text(_)
            | Value::Integer(_)
            | Value::Double(_)
            | Value::Decimal(_)
            | Value::Boolean(_)
            | Value::Timestamp(_)
            | Value::Date(_)
            | Value::Uuid(_)
            | Value::Json(_),
            _,
        ) => return false,
    }
    true
}

/// Reads a row.
///
/// # Errors
///
/// [`Trouble::Unusable`]: these are not the bytes of a row with these columns.
pub(crate) fn row(bytes: &[u8], columns: &Columns) -> Result<Row, Trouble> {
    let read = || {
        let mut input = Input(bytes);
        let (version, position, nulls) = input.head(columns)?;
        let mut values = Vec::with_capacity(columns.list().len());
        for (place, column) in columns.list().iter().enumerate() {
            values.push(if is_null(nulls, place) { Value::Null } else { input.value(column)? });
        }
        input.0.is_empty().then(|| Row { values: values.into_boxed_slice(), version, position })
    };
    read().ok_or_else(unreadable)
}

/// Reads one value of a row.
///
/// # Errors
///
/// As [`row`].
pub(crate) fn value_at(bytes: &[u8], columns: &Columns, place: usize) -> Result<Value, Trouble> {
    let read = || {
        let mut input = Input(bytes);
        let (_, _, nulls) = input.head(columns)?;
        if is_null(nulls, place) {
            return Some(Value::Null);
        }
        for (before, column) in columns.list().iter().enumerate().take(place) {
            if !is_null(nulls, before) {
                input.skip(column)?;
            }
        }
        input.value(columns.list().get(place)?)
    };
    read().ok_or_else(unreadable)
}

fn unreadable() -> Trouble {
    Trouble::unusable("a row cannot be read")
}

fn is_null(nulls: &[u8], place: usize) -> bool {
    nulls.get(place / 8).is_some_and(|bits| bits >> (place % 8) & 1 == 1)
}

/// What is still to be read.
pub(super) struct Input<'a>(pub(super) &'a [u8]);

impl<'a> Input<'a> {
    fn head(&mut self, columns: &Columns) -> Option<(u64, u64, &'a [u8])> {
        if self.byte()? != ROW_FORMAT {
            return None;
        }
        let (version, position) = (self.varint()?, self.varint()?);
        Some((version, position, self.take(columns.list().len().div_ceil(8))?))
    }

    fn value(&mut self, column: &Column) -> Option<Value> {
        Some(match column.column_type {
            ColumnType::Text => Value::Text(Arc::from(self.text()?)),
            ColumnType::Json => Value::Json(Arc::from(self.text()?)),
            ColumnType::Bigint | ColumnType::Integer => Value::Integer(unzigzag(self.varint()?)),
            ColumnType::Timestamp => Value::Timestamp(unzigzag(self.varint()?)),
            ColumnType::Date => Value::Date(i32::try_from(unzigzag(self.varint()?)).ok()?),
            ColumnType::Double => Value::Double(f64::from_bits(u64::from_le_bytes(self.take(8)?.try_into().ok()?))),
            ColumnType::Decimal { .. } => {
                let folded = self.long_varint()?;
                let mantissa = (folded >> 1).cast_signed() ^ -(folded & 1).cast_signed();
                Value::Decimal(Decimal::try_from_i128_with_scale(mantissa, scale_of(column.column_type)).ok()?)
            }
            ColumnType::Boolean => Value::Boolean(self.byte()? == 1),
            ColumnType::Uuid => Value::Uuid(self.take(16)?.try_into().ok()?),
        })
    }

    fn skip(&mut self, column: &Column) -> Option<()> {
        match column.column_type {
            ColumnType::Text | ColumnType::Json => self.bytes().map(drop),
            ColumnType::Bigint | ColumnType::Integer | ColumnType::Timestamp | ColumnType::Date => self.varint().map(drop),
            ColumnType::Double => self.take(8).map(drop),
            ColumnType::Decimal { .. } => self.long_varint().map(drop),
            ColumnType::Boolean => self.byte().map(drop),
            ColumnType::Uuid => self.take(16).map(drop),
        }
    }

    pub(super) fn byte(&mut self) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*first)
    }

    pub(super) fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    pub(super) fn varint(&mut self) -> Option<u64> {
        let mut number = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            number |= u64::from(byte & 0x7F) << shift;
            if byte < 0x80 {
                return Some(number);
            }
        }
        None
    }

    fn long_varint(&mut self) -> Option<u128> {
        let mut number = 0;
        for shift in (0..128).step_by(7) {
            let byte = self.byte()?;
            number |= u128::from(byte & 0x7F) << shift;
            if byte < 0x80 {
                return Some(number);
            }
        }
        None
    }

    fn bytes(&mut self) -> Option<&'a [u8]> {
        let length = usize::try_from(self.varint()?).ok()?;
        self.take(length)
    }

    pub(super) fn text(&mut self) -> Option<&'a str> {
        std::str::from_utf8(self.bytes()?).ok()
    }
}

/// LEB128.
pub(super) fn push_varint(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push((number & 0x7F | 0x80).to_le_bytes()[0]);
        number >>= 7;
    }
    out.push(number.to_le_bytes()[0]);
}

fn push_long_varint(out: &mut Vec<u8>, mut number: u128) {
    while number >= 0x80 {
        out.push((number & 0x7F | 0x80).to_le_bytes()[0]);
        number >>= 7;
    }
    out.push(number.to_le_bytes()[0]);
}

pub(super) fn push_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    push_varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

fn zigzag(number: i64) -> u64 {
    (number << 1 ^ number >> 63).cast_unsigned()
}

fn unzigzag(folded: u64) -> i64 {
    (folded >> 1).cast_signed() ^ -(folded & 1).cast_signed()
}

const ROW_FORMAT: u8 = 1;
