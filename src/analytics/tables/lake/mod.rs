//! Which part of what a query wants is read from Parquet files, and which from the log?
//!
//! The files of an export hold every event up to a cursor, once. A table takes these from there if the export covers it and its files say
//! what the log would say; everything behind the cursor, and the streams that hide some of their events, it takes from the log.

mod condition;
mod files;
mod hot_cold;
mod reader;
mod uuid_text;

use std::sync::Arc;
use std::time::Duration;
use std::time::Instant;

use factum_storage::Filter;
use parking_lot::Mutex;

use super::super::columns::CategoryColumns;
use super::super::columns::FieldType;
use super::super::export::Published;
use super::super::export::PublishedFile;
use super::super::rows::Wanted;
use super::demand::Demand;
use crate::subscription::Cursor;

pub(super) use condition::condition;
pub(super) use files::FileScan;
pub(super) use files::Typed;
pub(super) use hot_cold::HotCold;
pub(in crate::analytics) use reader::Footers;

/// What an export has published, for a table that it covers.
#[derive(Clone, Debug)]
pub(in crate::analytics) struct Cold {
    published: Arc<Published>,
    /// Names the shapes that events have today.
    generation: u64,
}

impl Cold {
    /// Of these exports, the one that covers a table and has come the furthest.
    pub(in crate::analytics) fn best(exports: &[(String, Arc<Published>)], category: Option<&str>, generation: u64) -> Option<Self> {
        let covers = |filter: &Filter| {
            let names_it = category.is_some_and(|category| filter.categories == [category]);
            let of_category = Filter { categories: filter.categories.clone(), ..Filter::default() };
            filter.is_everything() || (names_it && *filter == of_category)
        };
        let reach = |published: &Published| published.through.positions().iter().map(|position| position.get()).sum::<u64>();
        let best = exports
            .iter()
            .map(|(_, published)| published)
            .filter(|published| covers(&published.filter))
            .max_by_key(|published| reach(published))?;
        Some(Self { published: Arc::clone(best), generation })
    }

    /// Everything up to here is in the files.
    pub(super) fn through(&self) -> &Cursor {
        &self.published.through
    }

    /// The files in which there may be something that is wanted; `None` if one of them says other things than the log would.
    pub(super) fn files(&self, demand: &Demand, wanted: &[Wanted], columns: &CategoryColumns) -> Option<Vec<PublishedFile>> {
        let mut files = Vec::new();
        for file in self.published.files.iter().filter(|file| may_hold(file, demand)) {
            if file.shapes != self.generation || !wanted.iter().all(|wanted| fits(file, *wanted, columns)) {
                return None;
            }
            files.push(file.clone());
        }
        Some(files)
    }
}

/// Whether there may be an event in the file that is wanted.
pub(super) fn may_hold(file: &PublishedFile, demand: &Demand) -> bool {
    let is_in = |number: u64, span: super::demand::Span, other: u64| {
        let (first, last) = (i64::try_from(number).unwrap_or(i64::MAX), i64::try_from(other).unwrap_or(i64::MAX));
        span.first <= last && first <= span.last
    };
    let mut shards = (0_i64..).zip(&file.positions).filter_map(|(shard, positions)| Some((shard, (*positions)?)));
    shards.any(|(shard, (first, last))| demand.shards.contains(shard) && is_in(first, demand.positions, last))
        && demand.recorded.first <= file.recorded.1
        && file.recorded.0 <= demand.recorded.last
        && file.category.as_ref().is_none_or(|category| demand.categories.as_ref().is_none_or(|wanted| wanted.contains(category)))
}

/// Whether a column of the file says what the log says: its values are those of the table's type, or become them without a change.
fn fits(file: &PublishedFile, wanted: Wanted, columns: &CategoryColumns) -> bool {
    let Wanted::Member(place) = wanted else { return true };
    let Some(field) = columns.fields().get(place) else { return true };
    match file.columns.iter().find(|column| column.member == field.member) {
        Some(column) => column.name == field.column && becomes(column.field_type, field.field_type()),
        // It holds no event that has the member, unless it has no room for more columns, or none at all.
        None => {
            let has_room = file.is_typed && file.columns.len() < CategoryColumns::COLUMNS_MAX;
            has_room && file.columns.iter().all(|column| column.name != field.column)
        }
    }
}

fn becomes(from: FieldType, to: FieldType) -> bool {
    let widens = matches!((from, to), (FieldType::Bigint, FieldType::Double) | (FieldType::Boolean | FieldType::Bigint, FieldType::Text));
    from == to || from == FieldType::Null || widens
}

/// Whether lakes are read at all: not for a while after one could not be.
#[derive(Debug, Default)]
pub(in crate::analytics) struct Confidence(Mutex<Option<Instant>>);

impl Confidence {
    /// A file could not be read.
    pub(in crate::analytics) fn lose(&self) {
        *self.0.lock() = Some(Instant::now());
    }

    /// Whether it is time to try again.
    pub(in crate::analytics) fn holds(&self) -> bool {
        self.0.lock().is_none_or(|lost| lost.elapsed() >= DISTRUST)
    }
}

/// For so long the log is read alone.
const DISTRUST: Duration = Duration::from_mins(1);
