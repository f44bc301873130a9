//! How does a plan read the files of a lake as rows of a table?

use std::sync::Arc;

use datafusion::arrow::datatypes::DataType;
use datafusion::arrow::datatypes::Field;
use datafusion::arrow::datatypes::FieldRef;
use datafusion::arrow::datatypes::Schema;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::catalog::Session;
use datafusion::common::ColumnStatistics;
use datafusion::common::DFSchema;
use datafusion::common::Result;
use datafusion::common::Statistics;
use datafusion::common::stats::Precision;
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::physical_plan::FileGroup;
use datafusion::datasource::physical_plan::FileScanConfigBuilder;
use datafusion::datasource::physical_plan::ParquetSource;
use datafusion::datasource::source::DataSourceExec;
use datafusion::datasource::table_schema::TableSchema;
use datafusion::error::DataFusionError;
use datafusion::execution::object_store::ObjectStoreUrl;
use datafusion::logical_expr::Expr;
use datafusion::logical_expr::ScalarUDF;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::Column;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::filter::FilterExec;
use datafusion::physical_plan::projection::ProjectionExec;
use datafusion::scalar::ScalarValue;
use object_store::path::Path;

use super::super::super::export::PublishedFile;
use super::super::super::rows::EnvelopeColumn;
use super::super::super::sql::LAKE;
use super::reader::Footers;
use super::reader::Location;
use super::reader::Readers;
use super::uuid_text::UuidText;

/// A typed column of the table: its name and type.
pub(in crate::analytics::tables) type Typed = (String, DataType);

/// A read of files.
pub(in crate::analytics::tables) struct FileScan<'a> {
    pub(in crate::analytics::tables) files: Vec<PublishedFile>,
    /// The table's typed columns, all of them.
    pub(in crate::analytics::tables) typed: Vec<Typed>,
    /// What must hold of a row.
    pub(in crate::analytics::tables) condition: Option<Expr>,
    /// The table's columns that are wanted, in order, by name.
    pub(in crate::analytics::tables) wanted: Vec<&'a str>,
    pub(in crate::analytics::tables) limit: Option<usize>,
    pub(in crate::analytics::tables) footers: Arc<Footers>,
}

impl FileScan<'_> {
    /// The plan of the read.
    ///
    /// # Errors
    ///
    /// None but for a bug.
    pub(in crate::analytics::tables) fn plan(self, session: &dyn Session) -> Result<Arc<dyn ExecutionPlan>> {
        let says_category = self.files.first().is_some_and(|file| file.category.is_some());
        let table = table_schema(&self.typed, says_category);
        let readers = Arc::new(Readers { footers: self.footers });
        let source = ParquetSource::new(table.clone())
            .with_pushdown_filters(true)
            .with_table_parquet_options(session.default_table_options().parquet)
            .with_parquet_file_reader_factory(readers);
        // Every column that a condition names is read too, and what is read in vain is taken out again by the planner.
        let schema = Arc::clone(table.table_schema());
        let groups = groups(self.files, &schema, says_category, session.config_options().execution.target_partitions)?;
        let config = FileScanConfigBuilder::new(ObjectStoreUrl::parse(LAKE)?, Arc::new(source)).with_file_groups(groups);
        let limit = self.limit.filter(|_| self.condition.is_none());
        let scan: Arc<dyn ExecutionPlan> = DataSourceExec::from_data_source(config.with_limit(limit).build());
        let scan = match self.condition {
            Some(condition) => {
                let names = DFSchema::try_from(Arc::clone(&schema))?;
                let condition = session.create_physical_expr(condition, &names)?;
                Arc::new(FilterExec::try_new(condition, scan)?)
            }
            None => scan,
        };
        let names = DFSchema::try_from(Arc::clone(&schema))?;
        let columns: Result<Vec<(Arc<dyn PhysicalExpr>, String)>> =
            self.wanted.iter().map(|name| Ok((column(name, &schema, &names, session)?, (*name).to_owned()))).collect();
        Ok(Arc::new(ProjectionExec::try_new(columns?, scan)?))
    }
}

/// A column of the table, made of those of the files.
fn column(name: &str, schema: &SchemaRef, names: &DFSchema, session: &dyn Session) -> Result<Arc<dyn PhysicalExpr>> {
    if name == EnvelopeColumn::Id.name() {
        let id = Expr::Column(datafusion::common::Column::new_unqualified(name));
        return session.create_physical_expr(ScalarUDF::from(UuidText::new()).call(vec![id]), names);
    }
    Ok(Arc::new(Column::new_with_schema(name, schema)?))
}

/// What files hold, with the types that the table gives it.
fn table_schema(typed: &[Typed], says_category: bool) -> TableSchema {
    let envelope = EnvelopeColumn::ALL.into_iter().filter(|column| !(says_category && *column == EnvelopeColumn::Category));
    let envelope = envelope.map(|column| match column {
        EnvelopeColumn::Id => Field::new(column.name(), DataType::FixedSizeBinary(16), false),
        _ => column.field(),
    });
    let typed = typed.iter().map(|(name, data_type)| Field::new(name, data_type.clone(), true));
    let schema = Arc::new(Schema::new(envelope.chain(typed).collect::<Vec<Field>>()));
    let folders: Vec<FieldRef> = if says_category { vec![Arc::new(EnvelopeColumn::Category.field())] } else { Vec::new() };
    TableSchema::new(schema, folders)
}

/// Deals the files out, the largest first, so that each reader gets about as much.
fn groups(mut files: Vec<PublishedFile>, schema: &SchemaRef, says_category: bool, readers: usize) -> Result<Vec<FileGroup>> {
    files.sort_by_key(|file| std::cmp::Reverse(file.bytes));
    let mut groups: Vec<(u64, Vec<PartitionedFile>)> = vec![(0, Vec::new()); readers.clamp(1, files.len().max(1))];
    for file in files {
        let bytes = file.bytes;
        let Some(least) = groups.iter_mut().min_by_key(|(bytes, _)| *bytes) else { break };
        least.0 += bytes;
        least.1.push(partitioned(file, schema, says_category)?);
    }
    Ok(groups.into_iter().map(|(_, files)| FileGroup::new(files)).collect())
}

fn partitioned(file: PublishedFile, schema: &SchemaRef, says_category: bool) -> Result<PartitionedFile> {
    let path = Path::parse(&file.location).map_err(|error| DataFusionError::External(Box::new(error)))?;
    let folders = if says_category { vec![ScalarValue::Utf8View(file.category.clone())] } else { Vec::new() };
    let statistics = Arc::new(statistics(&file, schema, says_category));
    let location = Location { store: Arc::clone(&file.store), path, url: file.url };
    let own = PartitionedFile::new(file.location, file.bytes).with_partition_values(folders).with_extension(location);
    Ok(own.with_statistics(statistics))
}

/// What the manifest says of a file, so that it need not be opened to be passed over.
fn statistics(file: &PublishedFile, schema: &SchemaRef, says_category: bool) -> Statistics {
    let time = |micros: i64| ScalarValue::TimestampMicrosecond(Some(micros), Some("UTC".into()));
    let number = |number: u64| ScalarValue::Int64(i64::try_from(number).ok());
    let own = schema.fields().len() - usize::from(says_category);
    let of = |field: &FieldRef| {
        let (least, greatest) = match EnvelopeColumn::named(field.name()) {
            Some(EnvelopeColumn::RecordedAt) => (time(file.recorded.0), time(file.recorded.1)),
            Some(EnvelopeColumn::OccurredAt) => (time(file.occurred.0), time(file.occurred.1)),
            Some(EnvelopeColumn::Position) => {
                let positions = file.positions.iter().flatten();
                match (positions.clone().map(|(first, _)| *first).min(), positions.map(|(_, last)| *last).max()) {
                    (Some(first), Some(last)) => (number(first), number(last)),
                    _ => return ColumnStatistics::new_unknown(),
                }
            }
            _ => return ColumnStatistics::new_unknown(),
        };
        ColumnStatistics { min_value: Precision::Exact(least), max_value: Precision::Exact(greatest), ..ColumnStatistics::new_unknown() }
    };
    let rows = usize::try_from(file.rows).unwrap_or(usize::MAX);
    Statistics {
        num_rows: Precision::Exact(rows),
        total_byte_size: Precision::Absent,
        column_statistics: schema.fields().iter().take(own).map(of).collect(),
    }
}
