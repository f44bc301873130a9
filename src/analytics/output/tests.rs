//! Do rows read in every format as they were worked out?

mod formats;
mod streaming;
mod values;

use std::sync::Arc;

use arrow::array::ArrayRef;
use arrow::array::RecordBatch;
use arrow::datatypes::Field;
use arrow::datatypes::Schema;
use arrow::datatypes::SchemaRef;
use bytes::Bytes;
use factum_storage::Position;
use futures::StreamExt;

use super::OutputFormat;
use super::chunks;
use crate::Error;
use crate::analytics::SqlAnswer;
use crate::subscription::Cursor;

fn batch(columns: Vec<(&str, ArrayRef)>) -> RecordBatch {
    let fields: Vec<Field> = columns.iter().map(|(name, array)| Field::new(*name, array.data_type().clone(), true)).collect();
    let arrays = columns.into_iter().map(|(_, array)| array).collect();
    RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays).unwrap()
}

/// An answer of these batches, at position 42.
fn answer(schema: SchemaRef, batches: Vec<Result<RecordBatch, Error>>) -> SqlAnswer {
    // Each is waited for, as in life.
    let batches = futures::stream::iter(batches).then(async |batch| {
        tokio::task::yield_now().await;
        batch
    });
    SqlAnswer::new(schema, Cursor::new([Position::new(42)].into()), batches.boxed())
}

fn of_batches(batches: Vec<RecordBatch>) -> SqlAnswer {
    answer(batches[0].schema(), batches.into_iter().map(Ok).collect())
}

async fn collect(answer: SqlAnswer, format: OutputFormat) -> Vec<u8> {
    let parts: Vec<Result<Bytes, Error>> = chunks(answer, format).collect().await;
    parts.into_iter().map(|part| part.expect("no error")).collect::<Vec<Bytes>>().concat()
}

async fn text(answer: SqlAnswer, format: OutputFormat) -> String {
    String::from_utf8(collect(answer, format).await).unwrap()
}
