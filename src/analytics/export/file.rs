//! How does a Parquet file of events look, so that it is small, quickly read by others, and tells what it holds?

use std::sync::Arc;

use arrow::array::ArrayRef;
use arrow::array::RecordBatch;
use arrow::datatypes::DataType;
use arrow::datatypes::Field;
use arrow::datatypes::Schema;
use arrow::datatypes::SchemaRef;
use bytes::Bytes;
use parquet::arrow::ArrowSchemaConverter;
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_writer::ArrowColumnChunk;
use parquet::arrow::arrow_writer::ArrowColumnWriter;
use parquet::arrow::arrow_writer::ArrowRowGroupWriterFactory;
use parquet::arrow::arrow_writer::ArrowWriterOptions;
use parquet::arrow::arrow_writer::compute_leaves;
use parquet::basic::Compression;
use parquet::basic::Encoding;
use parquet::basic::LogicalType;
use parquet::basic::Repetition;
use parquet::basic::Type as PhysicalType;
use parquet::basic::ZstdLevel;
use parquet::errors::ParquetError;
use parquet::file::metadata::KeyValue;
use parquet::file::metadata::ParquetMetaDataReader;
use parquet::file::metadata::SortingColumn;
use parquet::file::properties::EnabledStatistics;
use parquet::file::properties::WriterProperties;
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::types::ColumnPath;
use parquet::schema::types::SchemaDescriptor;
use parquet::schema::types::Type;
use serde::Deserialize;
use serde::Serialize;

use super::encoding::Choice;
use super::encoding::choose;
use super::fault::Fault;
use super::manifest::ColumnEntry;
use super::threads::Threads;
use crate::analytics::columns::CategoryColumns;
use crate::analytics::rows::EnvelopeColumn;
use crate::analytics::rows::Wanted;
use crate::analytics::rows::schema;

/// What a file says of itself, in its footer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct FileNote {
    /// Which intent it was made for: what tells it from another file of its name.
    pub(super) mark: String,
    pub(super) rows: u64,
    pub(super) positions: Vec<Option<(u64, u64)>>,
    pub(super) recorded: (i64, i64),
    pub(super) occurred: (i64, i64),
    pub(super) columns: Vec<ColumnEntry>,
    pub(super) shapes: u64,
}

/// The columns of a file.
#[derive(Clone, Debug)]
pub(super) struct FileShape {
    pub(super) schema: SchemaRef,
    /// All of them but `id`.
    pub(super) wanted: Vec<Wanted>,
    pub(super) columns: Vec<ColumnEntry>,
}

impl FileShape {
    /// The columns of a file of one category, or of several.
    pub(super) fn of(columns: Option<&CategoryColumns>, says_category: bool) -> Self {
        let none = CategoryColumns::default();
        let known = columns.unwrap_or(&none);
        // What the folder's name says does not stand in the file too: that is how readers of such folders want it.
        let envelope = EnvelopeColumn::ALL.into_iter().filter(|column| {
            let is_said = *column == EnvelopeColumn::Category && says_category;
            !is_said && *column != EnvelopeColumn::Id
        });
        let members = (0..known.fields().len()).map(Wanted::Member);
        let wanted: Vec<Wanted> = envelope.map(Wanted::Envelope).chain(members).collect();
        let mut fields: Vec<Arc<Field>> = schema(&wanted, known).fields().iter().cloned().collect();
        let place = fields.iter().position(|field| field.name() == EnvelopeColumn::Tags.name()).unwrap_or(fields.len());
        fields.insert(place, Arc::new(Field::new(ID, DataType::FixedSizeBinary(16), false)));
        let entry = |field: &crate::analytics::columns::Field| ColumnEntry {
            name: field.column.clone(),
            member: field.member.clone(),
            field_type: field.field_type(),
        };
        Self { schema: Arc::new(Schema::new(fields)), wanted, columns: known.fields().iter().map(entry).collect() }
    }

    /// How a file lies in memory that has these typed columns in the place of today's.
    pub(super) fn of_columns(&self, columns: &[ColumnEntry]) -> SchemaRef {
        let envelope = self.schema.fields().len().saturating_sub(self.columns.len());
        let envelope = self.schema.fields().iter().take(envelope).cloned();
        let typed = columns.iter().map(|column| Arc::new(Field::new(&column.name, column.field_type.data_type(), true)));
        Arc::new(Schema::new(envelope.chain(typed).collect::<Vec<_>>()))
    }

    /// Puts the ids among the other columns.
    pub(super) fn with_ids(&self, others: &RecordBatch, ids: ArrayRef) -> Result<RecordBatch, Fault> {
        let mut columns = others.columns().to_vec();
        columns.insert(self.schema.index_of(ID).map_err(|error| bug(&error))?, ids);
        RecordBatch::try_new(Arc::clone(&self.schema), columns).map_err(|error| bug(&error))
    }
}

/// A file that grows, in memory.
pub(super) struct FileWriter {
    schema: SchemaRef,
    writer: SerializedFileWriter<Vec<u8>>,
    factory: ArrowRowGroupWriterFactory,
    row_groups: usize,
}

impl FileWriter {
    /// A new file. How columns are best written is told by some rows that will be in it.
    pub(super) fn new(shape: &FileShape, sample: &RecordBatch, level: i32) -> Result<Self, Fault> {
        let properties = properties(&shape.schema, sample, level).map_err(|error| bug(&error))?;
        let options = ArrowWriterOptions::new()
            .with_properties(properties)
            .with_parquet_schema(parquet_schema(&shape.schema).map_err(|error| bug(&error))?)
            // Readers go by the file's own types, not by what they were in this program's memory.
            .with_skip_arrow_metadata(true);
        let writer = ArrowWriter::try_new_with_options(Vec::new(), Arc::clone(&shape.schema), options);
        let (writer, factory) = writer.and_then(ArrowWriter::into_serialized_writer).map_err(|error| bug(&error))?;
        Ok(Self { schema: Arc::clone(&shape.schema), writer, factory, row_groups: 0 })
    }

    /// Adds rows as a row group. Each column is encoded and compressed by itself, several at a time.
    pub(super) async fn write(&mut self, rows: Vec<RecordBatch>, threads: &Threads) -> Result<(), Fault> {
        let writers = self.factory.create_column_writers(self.row_groups).map_err(|error| bug(&error))?;
        let columns = writers.into_iter().enumerate().map(|(place, writer)| {
            let arrays: Vec<ArrayRef> = rows.iter().map(|batch| Arc::clone(batch.column(place))).collect();
            let field = self.schema.fields().get(place).cloned();
            threads.run(move || encode(writer, field.as_deref(), &arrays).map_err(|error| bug(&error)))
        });
        let chunks = futures::future::try_join_all(columns).await?;
        let mut group = self.writer.next_row_group().map_err(|error| bug(&error))?;
        for chunk in chunks {
            chunk?.append_to_row_group(&mut group).map_err(|error| bug(&error))?;
        }
        group.close().map_err(|error| bug(&error))?;
        self.row_groups += 1;
        Ok(())
    }

    /// The whole file.
    pub(super) fn finish(mut self, note: &FileNote) -> Result<Bytes, Fault> {
        let text = serde_json::to_string(note).map_err(|error| bug(&error))?;
        self.writer.append_key_value_metadata(KeyValue::new(NOTE_KEY.to_owned(), text));
        self.writer.into_inner().map(Bytes::from).map_err(|error| bug(&error))
    }
}

fn encode(mut writer: ArrowColumnWriter, field: Option<&Field>, arrays: &[ArrayRef]) -> Result<ArrowColumnChunk, ParquetError> {
    let field = field.ok_or_else(|| ParquetError::General("a column without a field".to_owned()))?;
    for array in arrays {
        for leaf in compute_leaves(field, array)? {
            writer.write(&leaf)?;
        }
    }
    writer.close()
}

/// What a file says of itself.
///
/// # Errors
///
/// Why that can't be read: it is damaged, or somebody else's.
pub(super) fn note_of(file: &Bytes) -> Result<FileNote, String> {
    let metadata = ParquetMetaDataReader::new().parse_and_finish(file).map_err(|error| error.to_string())?;
    let pairs = metadata.file_metadata().key_value_metadata();
    let text = pairs.into_iter().flatten().find(|pair| pair.key == NOTE_KEY).and_then(|pair| pair.value.as_deref());
    serde_json::from_str(text.ok_or("it is not a file of an export")?).map_err(|error| error.to_string())
}

/// As the columns lie in memory, but that ids are said to be UUIDs: readers then show them as such.
fn parquet_schema(schema: &Schema) -> Result<SchemaDescriptor, ParquetError> {
    let plain = ArrowSchemaConverter::new().convert(schema)?;
    let uuid = Type::primitive_type_builder(ID, PhysicalType::FIXED_LEN_BYTE_ARRAY)
        .with_length(16)
        .with_repetition(Repetition::REQUIRED)
        .with_logical_type(Some(LogicalType::Uuid))
        .build()?;
    let uuid = Arc::new(uuid);
    let fields = plain.root_schema().get_fields().iter();
    let fields = fields.map(|field| if field.name() == ID { Arc::clone(&uuid) } else { Arc::clone(field) }).collect();
    let root = Type::group_type_builder("event").with_fields(fields).build()?;
    Ok(SchemaDescriptor::new(Arc::new(root)))
}

fn properties(schema: &Schema, sample: &RecordBatch, level: i32) -> Result<WriterProperties, ParquetError> {
    let path = |name: &str| ColumnPath::from(name.to_owned());
    let mut properties = WriterProperties::builder()
        .set_compression(Compression::ZSTD(ZstdLevel::try_new(level)?))
        .set_created_by(format!("factum {}", env!("CARGO_PKG_VERSION")))
        .set_statistics_enabled(EnabledStatistics::Chunk)
        .set_max_row_group_row_count(Some(ROW_GROUP_ROWS));
    for name in [EnvelopeColumn::Stream.name(), ID] {
        properties = properties.set_column_bloom_filter_enabled(path(name), true);
        properties = properties.set_column_bloom_filter_fpp(path(name), BLOOM_FALSE_POSITIVES);
    }
    // Where a page may be passed over. Of opaque texts the least and the greatest say nothing.
    for column in
        [EnvelopeColumn::Stream, EnvelopeColumn::Version, EnvelopeColumn::Position, EnvelopeColumn::RecordedAt, EnvelopeColumn::OccurredAt]
    {
        properties = properties.set_column_statistics_enabled(path(column.name()), EnabledStatistics::Page);
    }
    for column in [EnvelopeColumn::Data, EnvelopeColumn::Metadata] {
        properties = properties.set_column_statistics_enabled(path(column.name()), EnabledStatistics::None);
    }
    let mut sorting = Vec::new();
    for (place, (field, array)) in schema.fields().iter().zip(sample.columns()).enumerate() {
        // Of a list the texts in it are what is written.
        let column = if matches!(field.data_type(), DataType::List(_)) {
            ColumnPath::new(vec![field.name().clone(), "list".to_owned(), "item".to_owned()])
        } else {
            path(field.name())
        };
        properties = match choose(array) {
            Choice::Dictionary => properties.set_column_dictionary_enabled(column, true),
            Choice::Plain => properties.set_column_dictionary_enabled(column.clone(), false).set_column_encoding(column, Encoding::PLAIN),
            Choice::Prefixes => {
                properties.set_column_dictionary_enabled(column.clone(), false).set_column_encoding(column, Encoding::DELTA_BYTE_ARRAY)
            }
            Choice::Differences => {
                properties.set_column_dictionary_enabled(column.clone(), false).set_column_encoding(column, Encoding::DELTA_BINARY_PACKED)
            }
        };
        let place = i32::try_from(place).unwrap_or(i32::MAX);
        if [EnvelopeColumn::Stream.name(), EnvelopeColumn::Version.name()].contains(&field.name().as_str()) {
            sorting.push(SortingColumn { column_idx: place, descending: false, nulls_first: false });
        }
    }
    Ok(properties.set_sorting_columns(Some(sorting)).build())
}

/// A refusal that only a mistake in this program can cause.
pub(super) fn bug(error: &dyn std::error::Error) -> Fault {
    Fault::Lasting(format!("a file can't be put together: {error}"))
}

/// How many rows stand together: enough to compress well, few enough to pass over and to share out.
pub(super) const ROW_GROUP_ROWS: usize = 128 << 10;
/// One look in twenty for what is not there is in vain; half as many would cost a quarter byte an event more.
const BLOOM_FALSE_POSITIVES: f64 = 0.05;
const NOTE_KEY: &str = "factum.file";
/// The column of ids.
pub(super) const ID: &str = "id";
