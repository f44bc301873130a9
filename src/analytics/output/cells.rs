//! How does one value read, as JSON and in a line of CSV?
//!
//! Whole numbers and decimals have all their digits, times are RFC 3339 in UTC with microseconds, intervals are ISO 8601, bytes are base64;
//! lists, structures and maps are JSON. A number that is none (NaN, infinity) is null in JSON, which has no word for it.

use std::borrow::Cow;
use std::io::Write;

use arrow::array::Array;
use arrow::array::ArrowPrimitiveType;
use arrow::array::AsArray;
use arrow::array::PrimitiveArray;
use arrow::array::UnionArray;
use arrow::buffer::NullBuffer;
use arrow::datatypes as t;
use arrow::datatypes::DataType;
use arrow::datatypes::DecimalType;
use arrow::datatypes::Field;
use base64::prelude::BASE64_STANDARD;

use super::super::type_name::is_json;
use super::super::type_name::type_name;
use super::nested;
use super::times;
use crate::Error;
use crate::subscription::event_json::push_number;
use crate::subscription::json_text::push_string;

/// The values of one column of a batch.
pub(super) struct Column<'a> {
    nulls: Option<NullBuffer>,
    cells: Cells<'a>,
}

pub(super) type Push<'a> = Box<dyn Fn(&mut Vec<u8>, usize) + 'a>;

/// How the values that are not null are written.
pub(super) enum Cells<'a> {
    /// Any text.
    Text(Box<dyn Fn(usize) -> &'a str + 'a>),
    /// Text in which nothing ever needs an escape: a time, bytes.
    Plain(Push<'a>),
    /// A number or boolean: written the same everywhere.
    Bare(Push<'a>),
    Float(Box<dyn Fn(usize) -> f64 + 'a>),
    /// A JSON value on one line.
    Json(Push<'a>),
}

impl<'a> Column<'a> {
    /// # Errors
    ///
    /// [`Error::InvalidQuery`] for a type that cannot be written.
    pub(super) fn new(array: &'a dyn Array, field: &Field) -> Result<Self, Error> {
        let cells = if is_json(field) { json_text(text(array)) } else { Some(cells(array)?) };
        let cells = cells.ok_or_else(|| unsupported(field))?;
        Ok(Self { nulls: array.logical_nulls(), cells })
    }

    fn is_null(&self, row: usize) -> bool {
        self.nulls.as_ref().is_some_and(|nulls| nulls.is_null(row))
    }

    /// Appends the value as JSON, without a line break.
    pub(super) fn push_json(&self, out: &mut Vec<u8>, row: usize) {
        if self.is_null(row) {
            out.extend_from_slice(b"null");
            return;
        }
        match &self.cells {
            Cells::Text(text) => push_string(out, text(row)),
            Cells::Plain(push) => {
                out.push(b'"');
                push(out, row);
                out.push(b'"');
            }
            Cells::Bare(push) | Cells::Json(push) => push(out, row),
            Cells::Float(number) => push_float(out, number(row)),
        }
    }

    /// Appends the value as a field of CSV: nothing for null, `""` for an empty text.
    pub(super) fn push_csv(&self, out: &mut Vec<u8>, row: usize) {
        if self.is_null(row) {
            return;
        }
        match &self.cells {
            Cells::Text(text) => push_csv_text(out, text(row).as_bytes()),
            Cells::Plain(push) | Cells::Bare(push) => push(out, row),
            Cells::Json(push) => {
                let mut json = Vec::new();
                push(&mut json, row);
                if let Some(text) = bare(&json) {
                    push_csv_text(out, text.as_bytes());
                }
            }
            Cells::Float(number) => match number(row) {
                number if number.is_nan() => out.extend_from_slice(b"NaN"),
                number if number.is_infinite() => out.extend_from_slice(if number > 0.0 { b"Infinity" } else { b"-Infinity" }),
                number => push_float(out, number),
            },
        }
    }
}

/// A JSON value where there is only text: a text without its quotes, null as none. (A union has a null of its own.)
pub(super) fn bare(json: &[u8]) -> Option<Cow<'_, str>> {
    match json.first() {
        Some(b'n') => None,
        Some(b'"') => serde_json::from_slice::<String>(json).ok().map(Cow::Owned).or_else(|| Some(String::from_utf8_lossy(json))),
        _ => Some(String::from_utf8_lossy(json)),
    }
}

/// Appends a field of CSV, in quotes where it needs them.
pub(super) fn push_csv_text(out: &mut Vec<u8>, text: &[u8]) {
    let needs_quotes = text.is_empty()
        || text.iter().any(|byte| matches!(byte, b'"' | b',' | b'\n' | b'\r'))
        || text.first() == Some(&b' ')
        || text.last() == Some(&b' ');
    if !needs_quotes {
        out.extend_from_slice(text);
        return;
    }
    out.push(b'"');
    for &byte in text {
        if byte == b'"' {
            out.push(b'"');
        }
        out.push(byte);
    }
    out.push(b'"');
}

fn push_float(out: &mut Vec<u8>, number: f64) {
    // Into memory, of a number: NaN and the infinities become null by themselves.
    serde_json::to_writer(out, &number).expect("a number is JSON");
}

fn cells(array: &dyn Array) -> Result<Cells<'_>, Error> {
    use DataType as T;
    Ok(match array.data_type() {
        T::Null => Cells::Bare(Box::new(|out, _| out.extend_from_slice(b"null"))),
        T::Boolean => {
            let array = array.as_boolean();
            Cells::Bare(Box::new(|out, row| out.extend_from_slice(if array.value(row) { b"true" } else { b"false" })))
        }
        T::Utf8 | T::LargeUtf8 | T::Utf8View => Cells::Text(text(array).ok_or_else(|| unsupported_type(array))?),
        T::Float16 => float(array.as_primitive::<t::Float16Type>(), f64::from),
        // By its shortest digits, not by those of the double that it is.
        T::Float32 => float(array.as_primitive::<t::Float32Type>(), |number| number.to_string().parse().unwrap_or(f64::NAN)),
        T::Float64 => float(array.as_primitive::<t::Float64Type>(), |number| number),
        T::Int8 => whole(array.as_primitive::<t::Int8Type>()),
        T::Int16 => whole(array.as_primitive::<t::Int16Type>()),
        T::Int32 => whole(array.as_primitive::<t::Int32Type>()),
        T::Int64 => whole(array.as_primitive::<t::Int64Type>()),
        T::UInt8 => whole(array.as_primitive::<t::UInt8Type>()),
        T::UInt16 => whole(array.as_primitive::<t::UInt16Type>()),
        T::UInt32 => whole(array.as_primitive::<t::UInt32Type>()),
        T::UInt64 => whole(array.as_primitive::<t::UInt64Type>()),
        T::Decimal32(_, _) => decimal(array.as_primitive::<t::Decimal32Type>()),
        T::Decimal64(_, _) => decimal(array.as_primitive::<t::Decimal64Type>()),
        T::Decimal128(_, _) => decimal(array.as_primitive::<t::Decimal128Type>()),
        T::Decimal256(_, _) => decimal(array.as_primitive::<t::Decimal256Type>()),
        T::Binary | T::LargeBinary | T::BinaryView | T::FixedSizeBinary(_) => bytes(array).ok_or_else(|| unsupported_type(array))?,
        T::Union(_, _) => union(array)?,
        _ => match times::cells(array) {
            Some(cells) => cells,
            None => nested::cells(array)?.ok_or_else(|| unsupported_type(array))?,
        },
    })
}

pub(super) fn text<'a>(array: &'a dyn Array) -> Option<Box<dyn Fn(usize) -> &'a str + 'a>> {
    if let Some(array) = array.as_string_opt::<i32>() {
        return Some(Box::new(|row| array.value(row)));
    }
    if let Some(array) = array.as_string_opt::<i64>() {
        return Some(Box::new(|row| array.value(row)));
    }
    let array = array.as_string_view_opt()?;
    Some(Box::new(|row| array.value(row)))
}

/// Text that is JSON goes out as JSON, on one line; should it be none after all, as the text that it is.
fn json_text<'a>(text: Option<Box<dyn Fn(usize) -> &'a str + 'a>>) -> Option<Cells<'a>> {
    let text = text?;
    Some(Cells::Json(Box::new(move |out, row| {
        let text = text(row);
        if serde_json::from_str::<serde::de::IgnoredAny>(text).is_err() {
            push_string(out, text);
            return;
        }
        // Valid JSON has raw line breaks between tokens only.
        out.extend(text.bytes().map(|byte| if matches!(byte, b'\n' | b'\r') { b' ' } else { byte }));
    })))
}

fn float<'a, T: ArrowPrimitiveType>(array: &'a PrimitiveArray<T>, read: impl Fn(T::Native) -> f64 + 'a) -> Cells<'a> {
    Cells::Float(Box::new(move |row| read(array.value(row))))
}

fn whole<T: ArrowPrimitiveType>(array: &PrimitiveArray<T>) -> Cells<'_>
where
    T::Native: Into<i128>,
{
    Cells::Bare(Box::new(|out, row| {
        let number: i128 = array.value(row).into();
        if number < 0 {
            out.push(b'-');
        }
        push_number(out, u64::try_from(number.unsigned_abs()).expect("64 bits hold the magnitude of every whole number"));
    }))
}

fn decimal<T: DecimalType>(array: &PrimitiveArray<T>) -> Cells<'_> {
    Cells::Bare(Box::new(|out, row| out.extend_from_slice(array.value_as_string(row).as_bytes())))
}

fn bytes<'a>(array: &'a dyn Array) -> Option<Cells<'a>> {
    let value: Box<dyn Fn(usize) -> &'a [u8] + 'a> = if let Some(array) = array.as_binary_opt::<i32>() {
        Box::new(|row| array.value(row))
    } else if let Some(array) = array.as_binary_opt::<i64>() {
        Box::new(|row| array.value(row))
    } else if let Some(array) = array.as_binary_view_opt() {
        Box::new(|row| array.value(row))
    } else {
        let array = array.as_fixed_size_binary_opt()?;
        Box::new(|row| array.value(row))
    };
    Some(Cells::Plain(Box::new(move |out, row| {
        write!(out, "{}", base64::display::Base64Display::new(value(row), &BASE64_STANDARD)).expect("memory takes everything");
    })))
}

/// What the JSON functions give: each row is of one of several types.
fn union(array: &dyn Array) -> Result<Cells<'_>, Error> {
    let array: &UnionArray = array.as_any().downcast_ref().ok_or_else(|| unsupported_type(array))?;
    let DataType::Union(fields, _) = array.data_type() else { return Err(unsupported_type(array)) };
    let children = fields.iter().map(|(id, field)| Ok((id, Column::new(array.child(id), field)?)));
    let children: Vec<(i8, Column<'_>)> = children.collect::<Result<_, Error>>()?;
    Ok(Cells::Json(Box::new(move |out, row| {
        let (id, place) = (array.type_id(row), array.value_offset(row));
        match children.iter().find(|(own, _)| *own == id) {
            Some((_, column)) => column.push_json(out, place),
            None => out.extend_from_slice(b"null"),
        }
    })))
}

pub(super) fn unsupported(field: &Field) -> Error {
    let detail = format!("column {} is of type {}, which has no form here; cast it to text", field.name(), type_name(field));
    Error::InvalidQuery { detail, line: None, column: None }
}

fn unsupported_type(array: &dyn Array) -> Error {
    unsupported(&Field::new("?", array.data_type().clone(), true))
}
