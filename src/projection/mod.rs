//! How do events become the rows of a view, each exactly once?

pub(crate) mod query;
mod row;
mod spec;
pub(crate) mod target;
mod value;

pub use query::Comparison;
pub use query::Order;
pub use query::Test;
pub use query::ViewPage;
pub use query::ViewQuery;
pub use row::Row;
pub use spec::Column;
pub use spec::ColumnType;
pub use spec::Columns;
pub use value::Value;
