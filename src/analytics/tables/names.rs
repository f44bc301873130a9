//! Which table does a name in a query mean?

use std::sync::Arc;

use datafusion::common::TableReference;
use factum_storage::Filter;
use factum_storage::is_system;

use super::super::Analytics;
use super::super::query::Whose;
use super::super::sql::nearest;
use super::super::telemetry::Table;
use crate::Error;
use crate::projection::Place;
use crate::shard::ask_all;

/// A table.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Named {
    /// All events.
    Events,
    /// The events of a category.
    Category(String),
    /// The rows of a view.
    View(String),
    /// What an export has published.
    Export(String),
    /// What the server tells of itself.
    Telemetry(Table),
}

/// What a name in a query means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Found {
    /// Where the plan looks for it.
    pub(in crate::analytics) schema: &'static str,
    /// Under which name, as it is written.
    pub(in crate::analytics) written: String,
    /// The name that the table really has.
    pub(in crate::analytics) name: String,
    pub(in crate::analytics) table: Named,
}

/// Finds the table of a name: as it is written, else in lower case. There are no tables but of what whoever asks may see.
///
/// # Errors
///
/// [`Error::InvalidQuery`]: there is none; [`Error::Storage`].
pub(in crate::analytics) async fn find(analytics: &Analytics, reference: &TableReference, whose: &Whose) -> Result<Found, Error> {
    let written = reference.table().to_owned();
    let schema = match reference.schema() {
        None => PUBLIC,
        Some(schema) => {
            let known = SCHEMAS.into_iter().find(|known| known.eq_ignore_ascii_case(schema));
            known.ok_or_else(|| no_schema(schema, &written))?
        }
    };
    if let Some(catalog) = reference.catalog().filter(|catalog| !catalog.eq_ignore_ascii_case("factum")) {
        return Err(no_schema(catalog, &written));
    }
    for name in [written.clone(), written.to_lowercase()] {
        if let Some(table) = named(analytics, schema, &name, whose).await?.filter(|table| table.is_seen_by(whose)) {
            return Ok(Found { schema, name, written, table });
        }
    }
    Err(no_table(analytics, schema, &written, whose).await)
}

async fn named(analytics: &Analytics, schema: &str, name: &str, whose: &Whose) -> Result<Option<Named>, Error> {
    if schema == PUBLIC && name == EVENTS {
        return Ok(Some(Named::Events));
    }
    if [PUBLIC, CATEGORIES].contains(&schema) && is_category(analytics, name, whose).await? {
        return Ok(Some(Named::Category(name.to_owned())));
    }
    let is_view = || analytics.projections.get(name).is_some_and(|handle| matches!(handle.place, Place::Embedded(_)));
    if [PUBLIC, VIEWS].contains(&schema) && is_view() {
        return Ok(Some(Named::View(name.to_owned())));
    }
    if [PUBLIC, EXPORTS].contains(&schema) && analytics.exports.get(name).is_some() {
        return Ok(Some(Named::Export(name.to_owned())));
    }
    if [PUBLIC, TELEMETRY].contains(&schema) && analytics.telemetry.is_some() {
        return Ok(Table::ALL.into_iter().find(|table| table.name() == name).map(Named::Telemetry));
    }
    Ok(None)
}

/// Whether any event of the category was ever appended.
async fn is_category(analytics: &Analytics, name: &str, whose: &Whose) -> Result<bool, Error> {
    if is_system(name) {
        return Ok(false);
    }
    let filter = Arc::new(Filter { categories: vec![name.to_owned()], ..Filter::default() });
    let shards = analytics.router.shards();
    let counts = ask_all(&shards, whose.left_out.as_ref(), |shard| shard.matches_at_most(Arc::clone(&filter))).await?;
    Ok(counts.into_iter().filter_map(|(_, count)| count).any(|count| count > 0))
}

fn no_schema(schema: &str, table: &str) -> Error {
    let detail = format!("there is no schema {schema:?}, in which {table:?} could be; there are categories, views, exports and telemetry");
    Error::InvalidQuery { detail, line: None, column: None }
}

async fn no_table(analytics: &Analytics, schema: &'static str, written: &str, whose: &Whose) -> Error {
    let known = match all(analytics, whose).await {
        Ok(known) => known,
        Err(error) => return error,
    };
    let of_schema = |table: &&Named| match table {
        Named::Events => schema == PUBLIC,
        Named::Category(_) => [PUBLIC, CATEGORIES].contains(&schema),
        Named::View(_) => [PUBLIC, VIEWS].contains(&schema),
        Named::Export(_) => [PUBLIC, EXPORTS].contains(&schema),
        Named::Telemetry(_) => [PUBLIC, TELEMETRY].contains(&schema),
    };
    let nearest = nearest(written, known.iter().filter(of_schema).map(Named::name));
    let advice = if whose.only.is_some() {
        "for this token there are events, and the categories all of whose streams it is for".to_owned()
    } else if nearest.is_empty() {
        "GET /v1/tables lists those that there are".to_owned()
    } else {
        format!("did you mean {}?", nearest.join(" or "))
    };
    Error::InvalidQuery { detail: format!("there is no table {written:?}; {advice}"), line: None, column: None }
}

/// All tables that whoever asks may see, `events` first, then categories, views and exports by name, then those of telemetry.
///
/// # Errors
///
/// [`Error::Storage`].
pub(in crate::analytics) async fn all(analytics: &Analytics, whose: &Whose) -> Result<Vec<Named>, Error> {
    let shards = analytics.router.shards();
    let listed = ask_all(&shards, whose.left_out.as_ref(), |shard| shard.categories(false)).await?;
    let mut categories: Vec<Named> = listed.into_iter().flat_map(|(_, infos)| infos).map(|info| Named::Category(info.category)).collect();
    categories.sort_unstable();
    categories.dedup();
    let handles = analytics.projections.all();
    let views = handles.iter().filter(|handle| matches!(handle.place, Place::Embedded(_))).map(|handle| Named::View(handle.name.clone()));
    let exports = analytics.exports.all().into_iter().map(|handle| Named::Export(handle.spec.name.clone()));
    let telemetry = Table::ALL.into_iter().filter(|_| analytics.telemetry.is_some()).map(Named::Telemetry);
    let all = std::iter::once(Named::Events).chain(categories).chain(views).chain(exports).chain(telemetry);
    Ok(all.filter(|table| table.is_seen_by(whose)).collect())
}

impl Named {
    /// Whether it is there for who sees these streams alone. What a row of a view or a file was made of can't be told any more.
    fn is_seen_by(&self, whose: &Whose) -> bool {
        let Some(only) = &whose.only else { return true };
        match self {
            Self::Events => true,
            Self::Category(name) => only.shows_category(name),
            Self::View(_) | Self::Export(_) | Self::Telemetry(_) => false,
        }
    }

    /// The table's own name.
    pub(crate) fn name(&self) -> &str {
        match self {
            Self::Events => EVENTS,
            Self::Category(name) | Self::View(name) | Self::Export(name) => name,
            Self::Telemetry(table) => table.name(),
        }
    }
}

const EVENTS: &str = "events";
const PUBLIC: &str = "public";
const CATEGORIES: &str = "categories";
const VIEWS: &str = "views";
const EXPORTS: &str = "exports";
const TELEMETRY: &str = "telemetry";
const SCHEMAS: [&str; 5] = [PUBLIC, CATEGORIES, VIEWS, EXPORTS, TELEMETRY];
