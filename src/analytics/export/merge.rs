//! How do several files become one? Read piece by piece, merged by stream and version, written anew with the columns of today.

use std::cmp::Ordering;
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::Arc;

use arrow::array::ArrayRef;
use arrow::array::AsArray;
use arrow::array::RecordBatch;
use arrow::array::StringViewArray;
use arrow::array::new_null_array;
use arrow::compute::interleave_record_batch;
use arrow::datatypes::Int64Type;
use bytes::Bytes;
use parquet::arrow::arrow_reader::ArrowReaderOptions;
use parquet::arrow::arrow_reader::ParquetRecordBatchReader;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use super::fault::Fault;
use super::file::FileNote;
use super::file::FileShape;
use super::file::FileWriter;
use super::file::ROW_GROUP_ROWS;
use super::file::bug;
use super::manifest::ColumnEntry;
use super::threads::Threads;
use super::write::MadeFile;
use crate::analytics::columns::CategoryColumns;
use crate::analytics::rows::BatchBuilder;
use crate::analytics::rows::EnvelopeColumn;
use crate::analytics::rows::Wanted;

/// A file that is to be merged.
pub(super) struct Input {
    pub(super) path: String,
    pub(super) bytes: Bytes,
    pub(super) columns: Vec<ColumnEntry>,
}

/// Why there is no merged file.
#[derive(Debug)]
pub(super) enum Trouble {
    /// This input can't be read.
    Spoilt {
        path: String,
        reason: String,
    },
    Fault(Fault),
}

impl From<Fault> for Trouble {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

/// Makes one file of several; `columns` are those of their category, if they are of one, which their folder may say.
pub(super) async fn merged(
    inputs: Vec<Input>,
    (columns, says_category): (Option<CategoryColumns>, bool),
    note: FileNote,
    threads: &Threads,
) -> Result<MadeFile, Trouble> {
    let shape = Arc::new(FileShape::of(columns.as_ref(), says_category));
    let target = Target { shape: Arc::clone(&shape), columns: Arc::new(columns.unwrap_or_default()) };
    let mut merge = threads.run(move || Merge::new(inputs, target)).await??;
    let mut writer = None;
    loop {
        let (behind, group) = threads
            .run(move || {
                let mut merge = merge;
                let group = merge.group();
                (merge, group)
            })
            .await?;
        merge = behind;
        let group = group?;
        let Some(sample) = group.first() else { break };
        let writer = match &mut writer {
            Some(writer) => writer,
            none => none.insert(FileWriter::new(&shape, sample, LEVEL)?),
        };
        writer.write(group, threads).await?;
    }
    let note = FileNote { columns: shape.columns.clone(), ..note };
    if merge.rows != note.rows {
        let reason = format!("the files hold {} rows together, and {} were put there", merge.rows, note.rows);
        return Err(Trouble::Fault(Fault::Lasting(reason)));
    }
    let writer = writer.ok_or_else(|| Fault::Lasting("files without rows were to be merged".to_owned()))?;
    Ok(MadeFile { bytes: writer.finish(&note)?, note })
}

/// What rows are to look like.
#[derive(Clone)]
struct Target {
    shape: Arc<FileShape>,
    columns: Arc<CategoryColumns>,
}

/// Inputs, each at a row.
struct Merge {
    inputs: Vec<Source>,
    /// The inputs that have a row, the least first.
    order: BinaryHeap<Reverse<Head>>,
    rows: u64,
}

/// The rows of one input.
struct Source {
    path: String,
    reader: ParquetRecordBatchReader,
    columns: Vec<ColumnEntry>,
    target: Target,
    piece: Option<Piece>,
}

/// Some rows of an input.
struct Piece {
    batch: RecordBatch,
    streams: StringViewArray,
    row: usize,
    /// Its place among the batches that are being interleaved.
    place: Option<usize>,
}

/// Which row an input is at.
#[derive(PartialEq, Eq)]
struct Head {
    stream: String,
    version: i64,
    input: usize,
}

impl Ord for Head {
    fn cmp(&self, other: &Self) -> Ordering {
        self.stream.cmp(&other.stream).then_with(|| self.version.cmp(&other.version)).then_with(|| self.input.cmp(&other.input))
    }
}

impl PartialOrd for Head {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Merge {
    fn new(inputs: Vec<Input>, target: Target) -> Result<Self, Trouble> {
        let mut merge = Self { inputs: Vec::new(), order: BinaryHeap::new(), rows: 0 };
        for (place, input) in inputs.into_iter().enumerate() {
            merge.inputs.push(Source::open(input, target.clone())?);
            merge.advance(place)?;
        }
        Ok(merge)
    }

    /// Puts an input's row in its place among the others'; the next piece of the input is read if there is no more in this one.
    fn advance(&mut self, input: usize) -> Result<(), Trouble> {
        let Some(source) = self.inputs.get_mut(input) else { return Ok(()) };
        if source.piece.as_ref().is_none_or(|piece| piece.row >= piece.batch.num_rows()) {
            source.piece = source.read()?;
        }
        if let Some(piece) = &source.piece {
            let versions = column(&piece.batch, EnvelopeColumn::Version)?;
            let version = versions.as_primitive::<Int64Type>().value(piece.row);
            self.order.push(Reverse(Head { stream: piece.streams.value(piece.row).to_owned(), version, input }));
        }
        Ok(())
    }

    /// The next rows, as many as stand together in a file; none at the end.
    fn group(&mut self) -> Result<Vec<RecordBatch>, Trouble> {
        let mut batches = Vec::new();
        let mut rows = 0;
        while rows < ROW_GROUP_ROWS {
            let Some(batch) = self.piece()? else { break };
            rows += batch.num_rows();
            batches.push(batch);
        }
        Ok(batches)
    }

    fn piece(&mut self) -> Result<Option<RecordBatch>, Trouble> {
        let (mut sources, mut indices): (Vec<RecordBatch>, Vec<(usize, usize)>) = (Vec::new(), Vec::new());
        while indices.len() < PIECE_ROWS
            && let Some(Reverse(Head { input, .. })) = self.order.pop()
        {
            if let Some(piece) = self.inputs.get_mut(input).and_then(|source| source.piece.as_mut()) {
                let place = *piece.place.get_or_insert_with(|| {
                    sources.push(piece.batch.clone());
                    sources.len() - 1
                });
                indices.push((place, piece.row));
                piece.row += 1;
            }
            self.advance(input)?;
        }
        for piece in self.inputs.iter_mut().filter_map(|source| source.piece.as_mut()) {
            piece.place = None;
        }
        if indices.is_empty() {
            return Ok(None);
        }
        self.rows += u64::try_from(indices.len()).unwrap_or(u64::MAX);
        let sources: Vec<&RecordBatch> = sources.iter().collect();
        Ok(Some(interleave_record_batch(&sources, &indices).map_err(|error| bug(&error))?))
    }
}

impl Source {
    fn open(input: Input, target: Target) -> Result<Self, Trouble> {
        let Input { path, bytes, columns } = input;
        let spoilt = |reason: String| Trouble::Spoilt { path: path.clone(), reason };
        let expected = target.shape.of_columns(&columns);
        let options = ArrowReaderOptions::new().with_schema(expected);
        let builder = ParquetRecordBatchReaderBuilder::try_new_with_options(bytes, options).map_err(|error| spoilt(error.to_string()))?;
        let reader = builder.with_batch_size(PIECE_ROWS).build().map_err(|error| spoilt(error.to_string()))?;
        Ok(Self { path, reader, columns, target, piece: None })
    }

    fn read(&mut self) -> Result<Option<Piece>, Trouble> {
        let Some(batch) = self.reader.next() else { return Ok(None) };
        let batch = batch.map_err(|error| Trouble::Spoilt { path: self.path.clone(), reason: error.to_string() })?;
        if batch.num_rows() == 0 {
            return self.read();
        }
        let batch = self.target.fit(&batch, &self.columns)?;
        let streams = column(&batch, EnvelopeColumn::Stream)?.as_string_view().clone();
        Ok(Some(Piece { batch, streams, row: 0, place: None }))
    }
}

impl Target {
    /// The rows of a file with the columns of today: what was not known then is null, what has become another type is read from the data.
    fn fit(&self, batch: &RecordBatch, columns: &[ColumnEntry]) -> Result<RecordBatch, Fault> {
        let mut fitted: Vec<Option<ArrayRef>> = Vec::new();
        let mut wanted = Vec::new();
        let envelope = self.shape.schema.fields().len() - self.shape.columns.len();
        for (place, field) in self.shape.schema.fields().iter().enumerate() {
            let present = batch.column_by_name(field.name());
            let member = place.checked_sub(envelope).and_then(|member| Some((member, self.shape.columns.get(member)?)));
            let array = match (member, present) {
                (None, present) => Some(Arc::clone(present.ok_or_else(|| absent(field.name()))?)),
                (Some((_, now)), Some(present)) if columns.contains(now) => Some(Arc::clone(present)),
                (Some((_, now)), None) if !columns.iter().any(|then| then.member == now.member) => {
                    Some(new_null_array(field.data_type(), batch.num_rows()))
                }
                (Some((member, _)), _) => {
                    wanted.push(Wanted::Member(member));
                    None
                }
            };
            fitted.push(array);
        }
        let mut read = self.read_members(batch, &wanted)?.into_iter();
        let arrays =
            fitted.into_iter().map(|array| array.or_else(|| read.next()).ok_or_else(|| absent("a member"))).collect::<Result<_, _>>()?;
        RecordBatch::try_new(Arc::clone(&self.shape.schema), arrays).map_err(|error| bug(&error))
    }

    fn read_members(&self, batch: &RecordBatch, wanted: &[Wanted]) -> Result<Vec<ArrayRef>, Fault> {
        if wanted.is_empty() {
            return Ok(Vec::new());
        }
        let data = column(batch, EnvelopeColumn::Data)?.as_string_view();
        let mut builder = BatchBuilder::new(wanted, &self.columns, batch.num_rows());
        data.iter().for_each(|data| builder.push_data(data.unwrap_or_default().as_bytes()));
        Ok(builder.finish().map_err(|error| bug(&error))?.columns().to_vec())
    }
}

fn column(batch: &RecordBatch, column: EnvelopeColumn) -> Result<&ArrayRef, Fault> {
    batch.column_by_name(column.name()).ok_or_else(|| absent(column.name()))
}

fn absent(column: &str) -> Fault {
    Fault::Lasting(format!("a file of the lake has no column {column}"))
}

const PIECE_ROWS: usize = 8 << 10;
/// How hard merged files are compressed.
const LEVEL: i32 = 9;
