//! How does one column grow?

use std::sync::Arc;

use arrow::array::ArrayRef;
use arrow::array::BooleanBuilder;
use arrow::array::Float64Builder;
use arrow::array::Int32Builder;
use arrow::array::Int64Builder;
use arrow::array::ListBuilder;
use arrow::array::StringBuilder;
use arrow::array::StringViewBuilder;
use arrow::array::TimestampMicrosecondBuilder;

use super::super::columns::FieldType;
use super::super::columns::timestamp;
use super::super::members;
use super::EnvelopeColumn;
use super::slots::Found;
use crate::subscription::Event;
use crate::subscription::event_json::push_uuid;
use crate::subscription::time::parse_timestamp;

/// A column that grows.
pub(super) enum Builder {
    Position(Int64Builder),
    Version(Int64Builder),
    Shard(Int32Builder),
    SchemaVersion(Int32Builder),
    RecordedAt(TimestampMicrosecondBuilder),
    OccurredAt(TimestampMicrosecondBuilder),
    Stream(StringViewBuilder),
    Category(StringViewBuilder),
    Type(StringViewBuilder),
    Id(StringViewBuilder, Vec<u8>),
    Tags(ListBuilder<StringBuilder>),
    Data(StringViewBuilder),
    Metadata(StringViewBuilder),
    Boolean(usize, BooleanBuilder),
    Bigint(usize, Int64Builder),
    Double(usize, Float64Builder),
    Timestamp(usize, TimestampMicrosecondBuilder),
    Text(usize, StringViewBuilder),
}

impl Builder {
    pub(super) fn of_envelope(column: EnvelopeColumn, capacity: usize) -> Self {
        let bigint = || Int64Builder::with_capacity(capacity);
        let integer = || Int32Builder::with_capacity(capacity);
        match column {
            EnvelopeColumn::Position => Self::Position(bigint()),
            EnvelopeColumn::Version => Self::Version(bigint()),
            EnvelopeColumn::Shard => Self::Shard(integer()),
            EnvelopeColumn::SchemaVersion => Self::SchemaVersion(integer()),
            EnvelopeColumn::RecordedAt => Self::RecordedAt(times(capacity)),
            EnvelopeColumn::OccurredAt => Self::OccurredAt(times(capacity)),
            EnvelopeColumn::Stream => Self::Stream(texts(capacity)),
            EnvelopeColumn::Category => Self::Category(texts(capacity)),
            EnvelopeColumn::Type => Self::Type(texts(capacity)),
            EnvelopeColumn::Id => Self::Id(texts(capacity), Vec::with_capacity(UUID_TEXT_BYTES)),
            EnvelopeColumn::Tags => Self::Tags(ListBuilder::with_capacity(StringBuilder::new(), capacity)),
            EnvelopeColumn::Data => Self::Data(texts(capacity)),
            EnvelopeColumn::Metadata => Self::Metadata(texts(capacity)),
        }
    }

    pub(super) fn of_member(slot: usize, field_type: FieldType, capacity: usize) -> Self {
        match field_type {
            FieldType::Boolean => Self::Boolean(slot, BooleanBuilder::with_capacity(capacity)),
            FieldType::Bigint => Self::Bigint(slot, Int64Builder::with_capacity(capacity)),
            FieldType::Double => Self::Double(slot, Float64Builder::with_capacity(capacity)),
            FieldType::Timestamp => Self::Timestamp(slot, times(capacity)),
            FieldType::Null | FieldType::Text => Self::Text(slot, texts(capacity)),
        }
    }

    pub(super) fn push(&mut self, event: &Event, data: &Found<'_>) {
        let record = &event.record;
        match self {
            Self::Position(builder) => builder.append_value(signed(record.position().get())),
            Self::Version(builder) => builder.append_value(signed(record.version().get())),
            Self::Shard(builder) => builder.append_value(i32::from(event.shard)),
            Self::SchemaVersion(builder) => builder.append_value(i32::from(record.schema_version())),
            Self::RecordedAt(builder) => builder.append_value(record.recorded_at().as_micros()),
            Self::OccurredAt(builder) => builder.append_value(record.occurred_at().as_micros()),
            Self::Stream(builder) => builder.append_value(record.stream()),
            Self::Category(builder) => builder.append_value(factum_storage::category(record.stream())),
            Self::Type(builder) => builder.append_value(record.event_type()),
            Self::Id(builder, text) => {
                text.clear();
                push_uuid(text, record.id().as_bytes());
                builder.append_value(std::str::from_utf8(text).unwrap_or_default());
            }
            Self::Tags(builder) => {
                record.tags().for_each(|tag| builder.values().append_value(tag));
                builder.append(true);
            }
            Self::Data(builder) => push_bytes(builder, record.data()),
            Self::Metadata(builder) => push_bytes(builder, record.metadata()),
            Self::Boolean(..) | Self::Bigint(..) | Self::Double(..) | Self::Timestamp(..) | Self::Text(..) => self.push_member(data),
        }
    }

    /// Adds what the data says; a column that is no member of it stays as it is.
    pub(super) fn push_member(&mut self, data: &Found<'_>) {
        match self {
            Self::Boolean(slot, builder) => builder.append_option(data.json(*slot).and_then(boolean)),
            Self::Bigint(slot, builder) => builder.append_option(data.json(*slot).and_then(|json| json.parse().ok())),
            Self::Double(slot, builder) => builder.append_option(data.json(*slot).and_then(double)),
            Self::Timestamp(slot, builder) => builder.append_option(data.json(*slot).and_then(time)),
            Self::Text(slot, builder) => match data.json(*slot).filter(|json| *json != "null") {
                Some(json) => builder.append_value(members::text(json)),
                None => builder.append_null(),
            },
            Self::Position(_)
            | Self::Version(_)
            | Self::Shard(_)
            | Self::SchemaVersion(_)
            | Self::RecordedAt(_)
            | Self::OccurredAt(_)
            | Self::Stream(_)
            | Self::Category(_)
            | Self::Type(_)
            | Self::Id(..)
            | Self::Tags(_)
            | Self::Data(_)
            | Self::Metadata(_) => {}
        }
    }

    pub(super) fn finish(&mut self) -> ArrayRef {
        match self {
            Self::Position(builder) | Self::Version(builder) | Self::Bigint(_, builder) => Arc::new(builder.finish()),
            Self::Shard(builder) | Self::SchemaVersion(builder) => Arc::new(builder.finish()),
            Self::RecordedAt(builder) | Self::OccurredAt(builder) | Self::Timestamp(_, builder) => Arc::new(builder.finish()),
            Self::Stream(builder)
            | Self::Category(builder)
            | Self::Type(builder)
            | Self::Id(builder, _)
            | Self::Data(builder)
            | Self::Metadata(builder)
            | Self::Text(_, builder) => Arc::new(builder.finish()),
            Self::Tags(builder) => Arc::new(builder.finish()),
            Self::Boolean(_, builder) => Arc::new(builder.finish()),
            Self::Double(_, builder) => Arc::new(builder.finish()),
        }
    }
}

fn times(capacity: usize) -> TimestampMicrosecondBuilder {
    TimestampMicrosecondBuilder::with_capacity(capacity).with_data_type(timestamp())
}

fn texts(capacity: usize) -> StringViewBuilder {
    StringViewBuilder::with_capacity(capacity)
}

/// Positions and versions are counts, and no log is that long.
fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// What a program has put in need not be text; a column of texts must be.
fn push_bytes(builder: &mut StringViewBuilder, bytes: &[u8]) {
    if bytes.is_empty() {
        builder.append_null();
    } else {
        builder.append_value(String::from_utf8_lossy(bytes));
    }
}

fn boolean(json: &str) -> Option<bool> {
    match json {
        "true" => Some(true),
        "false" => Some(false),
        _ => None,
    }
}

fn double(json: &str) -> Option<f64> {
    let is_number = json.starts_with(|first: char| first == '-' || first.is_ascii_digit());
    if is_number { json.parse().ok().filter(|number: &f64| number.is_finite()) } else { None }
}

fn time(json: &str) -> Option<i64> {
    if !json.starts_with('"') {
        return None;
    }
    parse_timestamp(&members::text(json)).ok().map(factum_storage::Timestamp::as_micros)
}

const UUID_TEXT_BYTES: usize = 36;
