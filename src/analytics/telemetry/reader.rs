//! How are the rows read back? File by file, each as it was when it was opened.

use std::io;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::array::new_null_array;
use arrow::compute::cast;
use arrow::datatypes::SchemaRef;
use bytes::Bytes;
use factum_storage::Disk;
use factum_storage::disk::read_exact_at;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use super::files::began;
use super::rows::Table;

/// The names of a table's files, the oldest first. None are there before anything was written.
pub(in crate::analytics) fn names(disk: &dyn Disk, table: Table) -> io::Result<Vec<String>> {
    match disk.list(table.name()) {
        Ok(names) => Ok(names.into_iter().filter(|name| began(name).is_some()).collect()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}

/// Reads a file's rows with the columns of `wanted`; ends when `give` wants no more. A file that was removed meanwhile has none.
///
/// # Errors
///
/// A sentence: it can't be read.
pub(in crate::analytics) fn read(
    (disk, table): (&dyn Disk, Table),
    name: &str,
    wanted: &SchemaRef,
    batch_rows: usize,
    give: &mut dyn FnMut(RecordBatch) -> bool,
) -> Result<bool, String> {
    let told = |error: &dyn std::error::Error| format!("{}/{name}: {error}", table.name());
    // All of it at once: the file may be replaced while it is read.
    let bytes = match whole(disk, &format!("{}/{name}", table.name())) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(true),
        Err(error) => return Err(told(&error)),
    };
    let builder = ParquetRecordBatchReaderBuilder::try_new(bytes).map_err(|error| told(&error))?;
    let known = wanted.fields().iter().map(|field| field.name().as_str());
    let mask = ProjectionMask::columns(builder.parquet_schema(), known);
    let reader = builder.with_projection(mask).with_batch_size(batch_rows).build().map_err(|error| told(&error))?;
    for batch in reader {
        let batch = batch.and_then(|batch| shaped(&batch, wanted)).map_err(|error| told(&error))?;
        if !give(batch) {
            return Ok(false);
        }
    }
    Ok(true)
}

fn whole(disk: &dyn Disk, path: &str) -> io::Result<Bytes> {
    let file = disk.open(path)?;
    let length = usize::try_from(file.len()?).map_err(io::Error::other)?;
    let mut bytes = vec![0; length];
    read_exact_at(&*file, &mut bytes, 0)?;
    Ok(bytes.into())
}

/// The columns as this version has them: another one may have written the file.
fn shaped(batch: &RecordBatch, wanted: &SchemaRef) -> Result<RecordBatch, arrow::error::ArrowError> {
    let columns = wanted.fields().iter().map(|field| match batch.column_by_name(field.name()) {
        Some(column) => cast(column, field.data_type()),
        None => Ok(new_null_array(field.data_type(), batch.num_rows())),
    });
    let options = arrow::array::RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    RecordBatch::try_new_with_options(Arc::clone(wanted), columns.collect::<Result<_, _>>()?, &options)
}
