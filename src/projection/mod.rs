//! How do events become the rows of a view, each exactly once?

mod row;
mod spec;
pub(crate) mod target;
mod value;

pub use row::Row;
pub use spec::Column;
pub use spec::ColumnType;
pub use spec::Columns;
pub use value::Value;
