//! What does a projection's definition say?

mod column;

pub use column::Column;
pub use column::ColumnType;
pub use column::Columns;
