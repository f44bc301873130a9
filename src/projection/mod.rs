//! How do events become the rows of a view, each exactly once?
//!
//! A definition (`spec`) says which rows an event changes; a worker takes the events of the log in order, folds what they do to the rows
//! of a batch in memory (`working`), and commits rows and checkpoint together to the `target`. A `supervisor` for each projection
//! decides which generations of its rows are worked on.

mod convert;
mod handle;
mod intake;
mod memory;
pub(crate) mod meters;
mod module;
mod native;
mod place;
mod project;
pub(crate) mod query;
mod registry;
mod row;
mod source_event;
mod spec;
mod status;
mod supervisor;
pub(crate) mod target;
mod threads;
mod trial;
mod value;
mod worker;
mod working;

pub(crate) use handle::Handle;
pub use native::ProjectError;
pub use native::Projection;
pub use native::Rows;
pub(crate) use place::Place;
pub use query::Comparison;
pub use query::Order;
pub use query::Test;
pub use query::ViewPage;
pub use query::ViewQuery;
pub(crate) use registry::Options;
pub(crate) use registry::Projections;
pub(crate) use registry::Refused;
pub use row::Row;
pub use spec::Column;
pub use spec::ColumnType;
pub use spec::Columns;
pub use spec::OnError;
pub(crate) use spec::Spec;
pub use status::FailedEvent;
pub use status::Failure;
pub use status::State;
pub(crate) use status::Status;
pub use trial::Difference;
pub use trial::Trial;
pub use value::Value;
