//! What can be asked, under which names?
//!
//! `events`; then, each under its own name and always as `categories.x`, `views.x`, `exports.x` and `telemetry.x`, in this order of
//! precedence. A table is made for the query that names it, and shows the log up to that query's cut.

mod demand;
mod events;
mod export;
mod lake;
mod names;
mod pieces;
mod pushdown;
mod scan;
mod source;
mod telemetry;
mod view;
mod view_columns;

pub(super) use events::EventsTable;
pub(super) use events::Place;
pub(super) use export::ExportTable;
pub(super) use lake::Cold;
pub(super) use lake::Confidence;
pub(super) use lake::Footers;
pub(super) use names::Found;
pub(crate) use names::Named;
pub(super) use names::all;
pub(super) use names::find;
pub(super) use telemetry::TelemetryTable;
pub(super) use view::ViewTable;
