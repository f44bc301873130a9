//! How do rows go out in columns: as a stream of Arrow batches, or as a Parquet file that is written row group by row group?

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::Schema;
use arrow::datatypes::SchemaRef;
use arrow::ipc::writer::StreamWriter;
use parquet::arrow::ArrowWriter;
use parquet::basic::Compression;
use parquet::basic::ZstdLevel;
use parquet::file::metadata::KeyValue;
use parquet::file::properties::WriterProperties;

use super::broken;
use crate::Error;

/// Writes an Arrow stream. The cursor is in the schema's metadata.
pub(super) struct ArrowEncoder {
    schema: SchemaRef,
    writer: StreamWriter<Vec<u8>>,
}

impl ArrowEncoder {
    pub(super) fn new(schema: &SchemaRef, cursor: &str, out: &mut Vec<u8>) -> Result<Self, Error> {
        let metadata = HashMap::from([(CURSOR.to_owned(), cursor.to_owned())]);
        let schema: SchemaRef = Arc::new(Schema::new_with_metadata(schema.fields().clone(), metadata));
        let mut writer = StreamWriter::try_new(Vec::new(), &schema).map_err(|error| broken(&error))?;
        out.append(writer.get_mut());
        Ok(Self { schema, writer })
    }

    pub(super) fn push_rows(&mut self, out: &mut Vec<u8>, batch: &RecordBatch) -> Result<(), Error> {
        let batch = batch.clone().with_schema(Arc::clone(&self.schema)).map_err(|error| broken(&error))?;
        self.writer.write(&batch).map_err(|error| broken(&error))?;
        out.append(self.writer.get_mut());
        Ok(())
    }

    pub(super) fn push_tail(&mut self, out: &mut Vec<u8>) -> Result<(), Error> {
        self.writer.finish().map_err(|error| broken(&error))?;
        out.append(self.writer.get_mut());
        Ok(())
    }
}

/// Writes a Parquet file. The cursor is in its key-value metadata.
pub(super) struct ParquetEncoder {
    writer: ArrowWriter<Vec<u8>>,
}

impl ParquetEncoder {
    pub(super) fn new(schema: &SchemaRef, cursor: String) -> Result<Self, Error> {
        let properties = WriterProperties::builder()
            .set_compression(Compression::ZSTD(ZstdLevel::default()))
            .set_created_by(concat!("factum ", env!("CARGO_PKG_VERSION")).to_owned())
            .set_key_value_metadata(Some(vec![KeyValue::new(CURSOR.to_owned(), cursor)]))
            .set_max_row_group_row_count(Some(ROW_GROUP_ROWS))
            .set_max_row_group_bytes(Some(ROW_GROUP_BYTES))
            .build();
        let writer = ArrowWriter::try_new(Vec::new(), Arc::clone(schema), Some(properties)).map_err(|error| broken(&error))?;
        Ok(Self { writer })
    }

    /// Nothing comes out before a row group is full; what is compressed of it meanwhile is bounded.
    pub(super) fn push_rows(&mut self, out: &mut Vec<u8>, batch: &RecordBatch) -> Result<(), Error> {
        self.writer.write(batch).map_err(|error| broken(&error))?;
        if self.writer.memory_size() > MEMORY_BYTES {
            self.writer.flush().map_err(|error| broken(&error))?;
        }
        // The first bytes alone are kept back, so that an error may still come in their place.
        if self.writer.flushed_row_groups().is_empty() { Ok(()) } else { self.take(out) }
    }

    pub(super) fn push_tail(&mut self, out: &mut Vec<u8>) -> Result<(), Error> {
        self.writer.finish().map_err(|error| broken(&error))?;
        self.take(out)
    }

    /// The writer counts what it has written by itself, so what it wrote to can be taken away from under it.
    fn take(&mut self, out: &mut Vec<u8>) -> Result<(), Error> {
        self.writer.sync().map_err(|error| broken(&error))?;
        out.append(self.writer.inner_mut());
        Ok(())
    }
}

/// The key under which the cut of the log is found in both formats.
const CURSOR: &str = "factum.cursor";
const ROW_GROUP_ROWS: usize = 1 << 20;
const ROW_GROUP_BYTES: usize = 16 << 20;
/// Dictionaries and pages that are not compressed yet count too.
const MEMORY_BYTES: usize = 64 << 20;
