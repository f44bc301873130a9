//! What do queries and tables look like on the wire?

use serde_json::Value;
use utoipa::ToSchema;

/// The rows of a query.
#[derive(ToSchema)]
pub(crate) struct SqlAnswer {
    columns: Vec<SqlColumn>,
    /// Each is a list of values, in the order of the columns.
    rows: Vec<Vec<Value>>,
    /// The cut of the log that the rows are of. It is the last member: without it the answer is not whole.
    #[schema(example = "55628")]
    cursor: String,
}

/// A column of an answer.
#[derive(ToSchema)]
pub(crate) struct SqlColumn {
    #[schema(example = "events")]
    name: String,
    #[schema(rename = "type", example = "bigint")]
    r#type: String,
}

/// A row, by the names of the columns.
#[derive(ToSchema)]
pub(crate) struct SqlRow {
    #[schema(additional_properties, value_type = Object)]
    #[serde(flatten)]
    columns: Value,
}

/// A page of the tables that can be queried.
#[derive(ToSchema)]
pub(crate) struct TableList {
    tables: Vec<Table>,
    next: Option<String>,
}

/// A table.
#[derive(ToSchema)]
pub(crate) struct Table {
    #[schema(example = "declaration")]
    name: String,
    /// `events`, `category`, `view`, `export` or `telemetry`.
    #[schema(example = "category")]
    kind: String,
    columns: Vec<TableColumn>,
}

/// A column of a table.
#[derive(ToSchema)]
pub(crate) struct TableColumn {
    #[schema(example = "amount")]
    name: String,
    #[schema(rename = "type", example = "double")]
    r#type: String,
    nullable: bool,
}
