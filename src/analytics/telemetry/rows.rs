//! How do lines of the log and spans lie in columns?

use std::sync::Arc;

use arrow::array::ArrayRef;
use arrow::array::BooleanArray;
use arrow::array::Float64Array;
use arrow::array::RecordBatch;
use arrow::array::StringArray;
use arrow::array::TimestampMicrosecondArray;
use arrow::datatypes::DataType;
use arrow::datatypes::Field;
use arrow::datatypes::Schema;
use arrow::datatypes::SchemaRef;
use arrow::datatypes::TimeUnit;
use arrow::error::ArrowError;
use serde_json::Map;
use serde_json::Value;

use crate::telemetry::records::Record;
use crate::telemetry::traces::AttributeValue;
use crate::telemetry::traces::span::Span;

/// One of the two tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Table {
    /// Lines of the log.
    Logs,
    /// Spans of traces.
    Spans,
}

impl Table {
    pub(crate) const ALL: [Self; 2] = [Self::Logs, Self::Spans];

    /// Its name, which is that of its folder too.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Logs => "logs",
            Self::Spans => "spans",
        }
    }

    pub(crate) fn schema(self) -> SchemaRef {
        let field = |(name, data_type, nullable): &(&str, DataType, bool)| Field::new(*name, data_type.clone(), *nullable);
        let text = |name, nullable| (name, DataType::Utf8, nullable);
        let time = |name| (name, DataType::Timestamp(TimeUnit::Microsecond, Some(UTC.into())), false);
        let fields = match self {
            Self::Logs => vec![
                time("time"),
                text("level", false),
                text("target", false),
                text("message", false),
                text("fields", false),
                text("request_id", true),
                text("trace_id", true),
                text("span_id", true),
            ],
            Self::Spans => vec![
                time("began"),
                ("seconds", DataType::Float64, false),
                text("name", false),
                text("kind", false),
                ("is_error", DataType::Boolean, false),
                text("trace_id", false),
                text("span_id", false),
                text("parent_span_id", true),
                text("attributes", false),
                text("links", false),
            ],
        };
        Arc::new(Schema::new(fields.iter().map(field).collect::<Vec<_>>()))
    }
}

/// Lines of the log, in the order of the columns.
pub(super) fn logs(records: &[Record]) -> Result<RecordBatch, ArrowError> {
    let fields = |record: &Record| {
        let members = record.fields.iter().map(|(name, value)| ((*name).to_owned(), Value::from(value.as_str())));
        Value::Object(members.collect::<Map<_, _>>()).to_string()
    };
    let columns: Vec<ArrayRef> = vec![
        Arc::new(times(records.iter().map(|record| record.at))),
        Arc::new(texts(records.iter().map(|record| record.level.as_str().to_owned()))),
        Arc::new(texts(records.iter().map(|record| record.target.to_owned()))),
        Arc::new(texts(records.iter().map(|record| record.message.clone()))),
        Arc::new(texts(records.iter().map(fields))),
        Arc::new(records.iter().map(|record| record.request.as_deref().map(str::to_owned)).collect::<StringArray>()),
        Arc::new(records.iter().map(|record| record.trace.map(|trace| trace.to_string())).collect::<StringArray>()),
        Arc::new(records.iter().map(|record| record.span.map(id)).collect::<StringArray>()),
    ];
    RecordBatch::try_new(Table::Logs.schema(), columns)
}

/// Spans, in the order of the columns. What a client's own tracing has sent along is not among them.
pub(super) fn spans(spans: &[Span]) -> Result<RecordBatch, ArrowError> {
    let attributes = |span: &Span| {
        let members = span.attributes.iter().map(|(name, value)| {
            let value = match value {
                AttributeValue::Text(text) => Value::from(&**text),
                AttributeValue::Number(number) => Value::from(*number),
            };
            ((*name).to_owned(), value)
        });
        Value::Object(members.collect::<Map<_, _>>()).to_string()
    };
    let links = |span: &Span| {
        let links = span.links.iter().map(|link| serde_json::json!({"trace_id": link.trace.to_string(), "span_id": id(link.span)}));
        Value::Array(links.collect()).to_string()
    };
    let seconds = |span: &Span| (span.ended - span.began) as f64 / 1e9;
    let columns: Vec<ArrayRef> = vec![
        Arc::new(times(spans.iter().map(|span| span.began))),
        Arc::new(spans.iter().map(|span| Some(seconds(span))).collect::<Float64Array>()),
        Arc::new(texts(spans.iter().map(|span| span.name.to_owned()))),
        Arc::new(texts(spans.iter().map(|span| span.kind.as_str().to_owned()))),
        Arc::new(spans.iter().map(|span| Some(span.is_error)).collect::<BooleanArray>()),
        Arc::new(texts(spans.iter().map(|span| span.place.trace.to_string()))),
        Arc::new(texts(spans.iter().map(|span| id(span.place.span)))),
        Arc::new(spans.iter().map(|span| Some(span.parent).filter(|parent| *parent != 0).map(id)).collect::<StringArray>()),
        Arc::new(texts(spans.iter().map(attributes))),
        Arc::new(texts(spans.iter().map(links))),
    ];
    RecordBatch::try_new(Table::Spans.schema(), columns)
}

fn times(nanoseconds: impl Iterator<Item = i128>) -> TimestampMicrosecondArray {
    let micros = nanoseconds.map(|nanoseconds| i64::try_from(nanoseconds.div_euclid(1_000)).unwrap_or(i64::MAX));
    TimestampMicrosecondArray::from_iter_values(micros).with_timezone(UTC)
}

fn texts(texts: impl Iterator<Item = String>) -> StringArray {
    StringArray::from_iter_values(texts)
}

fn id(span: u64) -> String {
    format!("{span:016x}")
}

const UTC: &str = "UTC";
