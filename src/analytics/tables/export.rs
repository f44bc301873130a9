//! The table of an export: what is in its files, and nothing else.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use datafusion::arrow::datatypes::Field;
use datafusion::arrow::datatypes::Schema;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::catalog::Session;
use datafusion::catalog::TableProvider;
use datafusion::common::Result;
use datafusion::logical_expr::Expr;
use datafusion::logical_expr::Operator;
use datafusion::logical_expr::TableProviderFilterPushDown;
use datafusion::logical_expr::TableType;
use datafusion::logical_expr::binary_expr;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::empty::EmptyExec;

use super::super::columns::FieldType;
use super::super::export::Published;
use super::super::rows::EnvelopeColumn;
use super::demand::Demand;
use super::lake::FileScan;
use super::lake::Footers;
use super::lake::Typed;
use super::lake::condition;
use super::pushdown;

/// The files of one manifest.
pub(in crate::analytics) struct ExportTable {
    export: String,
    published: Option<Arc<Published>>,
    footers: Arc<Footers>,
    typed: Vec<Typed>,
    schema: SchemaRef,
}

impl ExportTable {
    /// What is published; nothing, if there is nothing yet.
    pub(in crate::analytics) fn new(export: &str, published: Option<Arc<Published>>, footers: Arc<Footers>) -> Self {
        let typed = typed(published.as_deref());
        let envelope = EnvelopeColumn::ALL.into_iter().map(EnvelopeColumn::field);
        let columns = typed.iter().map(|(name, data_type)| Field::new(name, data_type.clone(), true));
        let schema = Arc::new(Schema::new(envelope.chain(columns).collect::<Vec<Field>>()));
        Self { export: export.to_owned(), published, footers, typed, schema }
    }
}

/// The typed columns of all files: each as wide as the widest.
fn typed(published: Option<&Published>) -> Vec<Typed> {
    let mut found: Vec<(String, FieldType)> = Vec::new();
    let mut last = None;
    for file in published.iter().flat_map(|published| published.files.iter()) {
        // Most files have the columns of the one before.
        if last.as_ref().is_some_and(|last| Arc::ptr_eq(last, &file.columns)) {
            continue;
        }
        for column in file.columns.iter() {
            match found.iter_mut().find(|(name, _)| *name == column.name) {
                Some((_, known)) => *known = known.widened(column.field_type),
                None => found.push((column.name.clone(), column.field_type)),
            }
        }
        last = Some(Arc::clone(&file.columns));
    }
    found.into_iter().map(|(name, field_type)| (name, field_type.data_type())).collect()
}

impl fmt::Debug for ExportTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ExportTable").field("export", &self.export).finish_non_exhaustive()
    }
}

#[async_trait]
impl TableProvider for ExportTable {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    fn supports_filters_pushdown(&self, filters: &[&Expr]) -> Result<Vec<TableProviderFilterPushDown>> {
        let names_id = |filter: &Expr| filter.column_refs().iter().any(|column| column.name == EnvelopeColumn::Id.name());
        let supports = |filter: &&Expr| match !names_id(filter) && pushdown::narrow(&mut Demand::default(), filter) {
            true => TableProviderFilterPushDown::Exact,
            false => TableProviderFilterPushDown::Unsupported,
        };
        Ok(filters.iter().map(supports).collect())
    }

    async fn scan(
        &self,
        session: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let places: Vec<usize> = projection.map_or_else(|| (0..self.schema.fields().len()).collect(), Clone::clone);
        let schema = Arc::new(self.schema.project(&places)?);
        let files = self.published.as_ref().map(|published| published.files.to_vec()).unwrap_or_default();
        if files.is_empty() {
            return Ok(Arc::new(EmptyExec::new(schema)));
        }
        let mut demand = Demand::default();
        let left: Vec<Expr> = filters.iter().filter(|filter| !pushdown::narrow(&mut demand, filter)).cloned().collect();
        let says_category = files.first().is_some_and(|file| file.category.is_some());
        let files = files.into_iter().filter(|file| super::lake::may_hold(file, &demand)).collect();
        let exact = condition(&demand, &[], !says_category);
        let condition = exact.into_iter().chain(left).reduce(|all, part| binary_expr(all, Operator::And, part));
        let wanted = schema.fields().iter().map(|field| field.name().as_str()).collect();
        FileScan { files, typed: self.typed.clone(), condition, wanted, limit, footers: Arc::clone(&self.footers) }.plan(session)
    }
}
