//! What do all events say together, in SQL?

use std::collections::HashSet;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use arrow::datatypes::Field;
use arrow::datatypes::Schema;

use super::Database;
use super::SqlLimits;
use super::projections::reach;
use crate::Error;
use crate::analytics;
use crate::analytics::Analytics;
use crate::analytics::SqlAnswer;
use crate::analytics::VisibleStreams;
use crate::analytics::export::Exports;
use crate::analytics::query::Whose;
use crate::analytics::sql::Limits;
use crate::analytics::tables::Named;
use crate::analytics::telemetry::TelemetryLake;
use crate::analytics::type_name;
use crate::projection::Projections;
use crate::schema::Registry;
use crate::shard::Router;
use crate::subscription::Cursor;

/// A query.
#[derive(Clone, Debug, Default)]
pub struct SqlQuery {
    /// One statement that reads.
    pub text: String,
    /// What `$1`, `$2` … in it stand for, as JSON values.
    pub params: Vec<serde_json::Value>,
    /// The views that it names must have come so far,
    pub min: Option<Cursor>,
    /// within this time.
    pub wait: Duration,
    /// There are no events but of these streams, and no tables that could tell of others; `None`: all streams.
    pub only: Option<VisibleStreams>,
}

/// A table that can be queried.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableInfo {
    /// Its name.
    pub name: String,
    /// What its rows are.
    pub kind: TableKind,
    /// Its columns, in order.
    pub columns: Vec<TableColumn>,
}

/// What the rows of a table are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TableKind {
    /// All events.
    Events,
    /// The events of one category.
    Category,
    /// The rows of an embedded view.
    View,
    /// What an export has published.
    Export,
    /// What the server tells of itself.
    Telemetry,
}

/// A column of a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableColumn {
    /// Its name.
    pub name: String,
    /// Its type, as SQL names it.
    pub data_type: String,
    /// It may be null.
    pub nullable: bool,
}

impl Database {
    /// Answers a query over everything that is committed, also what no view and no file has yet. `events` holds all events, and there is a
    /// table for each category, with the members of its data as columns, and for each embedded view.
    ///
    /// ```
    /// # use std::error::Error;
    /// use futures::StreamExt;
    /// use factum::database::SqlQuery;
    ///
    /// # #[tokio::main]
    /// # async fn main() -> Result<(), Box<dyn Error>> {
    /// # let database = factum::Database::in_memory().await?;
    /// let query = SqlQuery { text: "select count(*) as n from events where type = $1".into(), params: vec!["OrderPlaced".into()], ..SqlQuery::default() };
    /// let mut answer = database.sql(query).await?;
    /// while let Some(batch) = answer.next().await {
    ///     println!("{:?}", batch?); // an Arrow record batch
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::InvalidQuery`], [`Error::QueryLimit`], [`Error::SqlBusy`], [`Error::ReadModelBehind`], [`Error::BadCursor`],
    /// [`Error::Storage`].
    ///
    /// # Cancellation
    ///
    /// Dropping the future, or the answer, ends the query.
    pub async fn sql(&self, query: SqlQuery) -> Result<SqlAnswer, Error> {
        let SqlQuery { text, params, min, wait, only } = query;
        let analytics = &self.inner.analytics;
        let whose = Whose { only: only.map(Arc::new), left_out: self.left_out.clone() };
        let prepared = analytics.prepare(text, params, whose).await?;
        if let Some(min) = &min {
            min.check(self.router(), 0)?;
            for view in prepared.views() {
                if let Some(handle) = self.inner.projections.get(view) {
                    reach(&handle, min, wait).await?;
                }
            }
        }
        analytics.answer(prepared).await
    }

    /// Writes what the process tells of itself, for ever, if the options say so; ends at once else, or if it is written already.
    pub async fn write_telemetry(&self) {
        if let Some(telemetry) = &self.inner.analytics.telemetry {
            telemetry.run().await;
        }
    }

    /// The tables that can be queried: `events`, then categories, views and exports by name, then those of telemetry. One whose name
    /// somebody before it has is listed as it has to be written: `views.order`, if there is a category `order`.
    ///
    /// # Errors
    ///
    /// [`Error::Storage`].
    pub async fn tables(&self) -> Result<Vec<TableInfo>, Error> {
        self.tables_of(None).await
    }

    /// The tables that there are for who sees these streams alone; `None`: all.
    ///
    /// # Errors
    ///
    /// [`Error::Storage`].
    pub async fn tables_of(&self, only: Option<VisibleStreams>) -> Result<Vec<TableInfo>, Error> {
        let mut tables: Vec<TableInfo> = Vec::new();
        let mut names = HashSet::new();
        for (named, schema) in self.inner.analytics.list(only).await? {
            let mut table = info(&named, &schema);
            if !names.insert(table.name.clone()) {
                table.name = format!("{}.{}", qualifier(table.kind), table.name);
            }
            tables.push(table);
        }
        Ok(tables)
    }
}

/// What looks at all events of a database together.
pub(super) fn analytics(
    limits: SqlLimits,
    (router, schemas, projections, exports): (&Arc<Router>, &Arc<Registry>, &Arc<Projections>, &Arc<Exports>),
    (folder, telemetry): (Option<&Path>, Option<TelemetryLake>),
) -> Arc<Analytics> {
    let SqlLimits { threads, memory_bytes, spill_bytes, time, rows, queries, queue } = limits;
    Arc::new(Analytics::new(analytics::Options {
        router: Arc::clone(router),
        reshape: super::shape::newest(schemas),
        schemas: Arc::clone(schemas),
        projections: Arc::clone(projections),
        exports: Arc::clone(exports),
        telemetry: telemetry.map(Arc::new),
        folder: folder.map(|folder| folder.join(FOLDER)),
        limits: Limits { threads, memory_bytes, spill_bytes, time, rows, queries, queue },
    }))
}

fn info(table: &Named, schema: &Schema) -> TableInfo {
    let kind = match table {
        Named::Events => TableKind::Events,
        Named::Category(_) => TableKind::Category,
        Named::View(_) => TableKind::View,
        Named::Export(_) => TableKind::Export,
        Named::Telemetry(_) => TableKind::Telemetry,
    };
    let column = |field: &Field| TableColumn { name: field.name().clone(), data_type: type_name(field), nullable: field.is_nullable() };
    TableInfo { name: table.name().to_owned(), kind, columns: schema.fields().iter().map(|field| column(field)).collect() }
}

/// What may always stand before the name of such a table.
fn qualifier(kind: TableKind) -> &'static str {
    match kind {
        TableKind::Events => "public",
        TableKind::Category => "categories",
        TableKind::View => "views",
        TableKind::Export => "exports",
        TableKind::Telemetry => "telemetry",
    }
}

/// The folder of everything derived by analytics below the data directory.
const FOLDER: &str = "analytics";
