//! How do the rows of a query go out? As JSON, lines, CSV, an Arrow stream or a Parquet file: in chunks as they are worked out, never
//! collected. However large an answer is, one chunk and one batch of it are in memory (with Parquet, one row group).

mod cells;
mod columnar;
mod nested;
mod plain;
mod text;
mod times;

use std::io;

use arrow::array::Array;
use arrow::array::ArrayRef;
use arrow::array::RecordBatch;
use bytes::Bytes;
use futures::FutureExt;
use futures::Stream;
use futures::StreamExt;

use self::columnar::ArrowEncoder;
use self::columnar::ParquetEncoder;
use self::plain::Plain;
use self::plain::Readers;
use self::text::TextEncoder;
use self::text::TextFormat;
use super::SqlAnswer;
use crate::Error;

/// In which form rows go out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OutputFormat {
    /// `{"columns": [{name, type}], "rows": [[…]], "cursor"}`. Each row is on a line of its own.
    Json,
    /// One JSON object a line, by the names of the columns.
    Ndjson,
    /// A line of names, then one line a row; null is nothing, an empty text is `""`.
    Csv,
    /// The IPC stream of Apache Arrow.
    Arrow,
    /// A Parquet file, zstd, in row groups of some megabytes.
    Parquet,
}

/// The bytes of an answer. Nothing comes before its first rows are there, so that what goes wrong until then can still be answered instead.
///
/// An error ends the chunks: what came is then no whole document of its format (but for lines, each of which is whole).
pub fn chunks(answer: SqlAnswer, format: OutputFormat) -> impl Stream<Item = Result<Bytes, Error>> + Send + 'static {
    let output = Output { answer, format, encoder: None, batch: None, out: Vec::new(), stage: Stage::Head };
    futures::stream::unfold(output, |mut output| async move {
        let part = output.next_part().await.transpose()?;
        if part.is_err() {
            // What was written and is not out yet belongs to an answer that there will not be.
            output.stage = Stage::Ended;
            output.out.clear();
        }
        Some((part, output))
    })
}

struct Output {
    answer: SqlAnswer,
    format: OutputFormat,
    /// Away while a blocking thread has it.
    encoder: Option<Encoder>,
    /// Rows that are being written, and the first that is not yet.
    batch: Option<(RecordBatch, usize)>,
    out: Vec<u8>,
    stage: Stage,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    Head,
    /// Nothing but the head is in `out`.
    NoRows,
    Rows,
    Ended,
}

impl Output {
    async fn next_part(&mut self) -> Result<Option<Bytes>, Error> {
        if self.stage == Stage::Head {
            let encoder = Encoder::new(self.format, &self.answer, &mut self.out)?;
            self.encoder = Some(encoder);
            self.stage = Stage::NoRows;
        }
        while self.stage != Stage::Ended && self.out.len() < CHUNK_BYTES {
            if let Some((batch, from)) = self.batch.take() {
                let (left, batch) = self.on_blocking_thread(move |encoder, out| encoder.push_rows(out, batch, from)).await?;
                self.batch = batch.filter(|batch| left < batch.num_rows()).map(|batch| (batch, left));
                self.stage = Stage::Rows;
                continue;
            }
            let next = match self.answer.next().now_or_never() {
                Some(next) => next,
                // What there is goes out before more is waited for.
                None if self.stage == Stage::Rows && !self.out.is_empty() => break,
                None => self.answer.next().await,
            };
            match next.transpose()? {
                Some(batch) if batch.num_rows() == 0 => {}
                Some(batch) => self.batch = Some((batch, 0)),
                None => {
                    self.on_blocking_thread(Encoder::push_tail).await?;
                    self.stage = Stage::Ended;
                }
            }
        }
        let part = std::mem::take(&mut self.out);
        Ok((!part.is_empty()).then(|| part.into()))
    }

    /// Encoding is work for a processor, and the runtime's threads serve everybody.
    async fn on_blocking_thread<T: Send + 'static>(
        &mut self,
        work: impl FnOnce(&mut Encoder, &mut Vec<u8>) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let mut encoder = self.encoder.take().expect("the encoder is away only while a future that nobody polls any more has it");
        let mut out = std::mem::take(&mut self.out);
        let done = tokio::task::spawn_blocking(move || {
            let done = work(&mut encoder, &mut out);
            (encoder, out, done)
        });
        let (encoder, out, done) = done.await.map_err(|error| broken(&error))?;
        self.encoder = Some(encoder);
        self.out = out;
        done
    }
}

enum Encoder {
    Text(Plain, TextEncoder),
    Arrow(Plain, ArrowEncoder),
    Parquet(Plain, ParquetEncoder),
}

impl Encoder {
    fn new(format: OutputFormat, answer: &SqlAnswer, out: &mut Vec<u8>) -> Result<Self, Error> {
        let cursor = answer.cursor().to_string();
        let plain = |readers| Plain::new(answer.schema(), readers);
        let text = |format, out: &mut Vec<u8>| {
            let plain = plain(Readers::Texts);
            let encoder = TextEncoder::new(format, plain.schema().clone(), cursor.clone());
            encoder.push_head(out);
            Self::Text(plain, encoder)
        };
        Ok(match format {
            OutputFormat::Json => text(TextFormat::Json, out),
            OutputFormat::Ndjson => text(TextFormat::Ndjson, out),
            OutputFormat::Csv => text(TextFormat::Csv, out),
            OutputFormat::Arrow => {
                let plain = plain(Readers::Columns);
                let encoder = ArrowEncoder::new(plain.schema(), &cursor, out)?;
                Self::Arrow(plain, encoder)
            }
            OutputFormat::Parquet => {
                let plain = plain(Readers::Columns);
                let encoder = ParquetEncoder::new(plain.schema(), cursor.clone())?;
                Self::Parquet(plain, encoder)
            }
        })
    }

    /// Writes rows from `from` on, about a chunk of them; the row to go on with, and the batch back.
    fn push_rows(&mut self, out: &mut Vec<u8>, batch: RecordBatch, from: usize) -> Result<(usize, Option<RecordBatch>), Error> {
        let piece = |batch: &RecordBatch| batch.slice(from, rows_of_a_chunk(batch).min(batch.num_rows() - from));
        match self {
            Self::Text(plain, encoder) => {
                let batch = if from == 0 { plain.apply(&batch)? } else { batch };
                let left = encoder.push_rows(out, &batch, from, CHUNK_BYTES)?;
                Ok((left, Some(batch)))
            }
            Self::Arrow(plain, encoder) => {
                let piece = piece(&batch);
                encoder.push_rows(out, &plain.apply(&piece)?)?;
                Ok((from + piece.num_rows(), Some(batch)))
            }
            Self::Parquet(plain, encoder) => {
                let piece = piece(&batch);
                encoder.push_rows(out, &plain.apply(&piece)?)?;
                Ok((from + piece.num_rows(), Some(batch)))
            }
        }
    }

    fn push_tail(&mut self, out: &mut Vec<u8>) -> Result<(), Error> {
        match self {
            Self::Text(_, encoder) => encoder.push_tail(out),
            Self::Arrow(_, encoder) => encoder.push_tail(out)?,
            Self::Parquet(_, encoder) => encoder.push_tail(out)?,
        }
        Ok(())
    }
}

/// How many rows take about a chunk, by what they take in memory.
fn rows_of_a_chunk(batch: &RecordBatch) -> usize {
    let bytes = |array: &ArrayRef| array.to_data().get_slice_memory_size().unwrap_or_else(|_| array.get_array_memory_size());
    let bytes = batch.columns().iter().map(bytes).sum::<usize>().max(1);
    (batch.num_rows().saturating_mul(CHUNK_BYTES) / bytes).max(ROWS_MIN)
}

/// What should never happen while memory is written: told like any trouble of the server's own.
fn broken(error: &dyn std::error::Error) -> Error {
    let source = io::Error::other(error.to_string());
    Error::Storage(factum_storage::Error::Io { context: "writing the answer of a query".into(), source: source.into() })
}

/// Large enough to be worth a call, small enough that many answers at once are nothing.
const CHUNK_BYTES: usize = 256 << 10;
/// A batch of a few rows costs more in heads than in rows.
const ROWS_MIN: usize = 8;

#[cfg(test)]
mod tests;
