//! What may readers of a lake rely on? One manifest, which does not change under them.

use std::sync::Arc;

use factum_storage::Filter;
use object_store::ObjectStore;

use super::manifest::FileEntry;
use super::manifest::Manifest;
use crate::analytics::columns::FieldType;
use crate::subscription::Cursor;

/// What an export has published: one manifest.
#[derive(Debug)]
pub(crate) struct Published {
    /// All events up to here that the filter wants are in the files, each once, and none behind it.
    pub(crate) through: Cursor,
    pub(crate) filter: Filter,
    pub(crate) files: Arc<[PublishedFile]>,
}

/// One file. Its rows are sorted by stream and version. Its columns: those of the table `events` in their order (`id` as 16 bytes, and
/// `category` only if the folders do not say it), then the typed ones.
#[derive(Clone, Debug)]
pub(crate) struct PublishedFile {
    /// Its path in the store.
    pub(crate) location: String,
    /// Where it is for others.
    pub(crate) url: String,
    /// Reads it also while it is being moved out of the way; to be used for nothing but reading.
    pub(crate) store: Arc<dyn ObjectStore>,
    pub(crate) rows: u64,
    pub(crate) bytes: u64,
    /// The category of all of its rows, if folders are by category.
    pub(crate) category: Option<String>,
    /// For each shard the lowest and the highest position in it.
    pub(crate) positions: Vec<Option<(u64, u64)>>,
    /// The earliest and the latest `recorded_at` in it, in microseconds.
    pub(crate) recorded: (i64, i64),
    /// The same of `occurred_at`.
    pub(crate) occurred: (i64, i64),
    /// All of its rows are of one category, so that there are typed columns for all that they hold.
    pub(crate) is_typed: bool,
    /// The typed columns, in order.
    pub(crate) columns: Arc<[PublishedColumn]>,
    /// Names the shapes that its events were brought into.
    pub(crate) shapes: u64,
}

/// A typed column of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PublishedColumn {
    pub(crate) name: String,
    /// The member of `data` that it comes from.
    pub(crate) member: String,
    pub(crate) field_type: FieldType,
}

impl Published {
    pub(super) fn of(manifest: &Manifest, url: &str, store: &Arc<dyn ObjectStore>) -> Self {
        let schemas: Vec<Arc<[PublishedColumn]>> = manifest
            .schemas
            .iter()
            .map(|columns| {
                columns
                    .iter()
                    .map(|column| PublishedColumn {
                        name: column.name.clone(),
                        member: column.member.clone(),
                        field_type: column.field_type,
                    })
                    .collect()
            })
            .collect();
        let file = |file: &FileEntry| PublishedFile {
            location: file.planned.path.clone(),
            url: format!("{url}/{}", file.planned.path),
            store: Arc::clone(store),
            rows: file.rows,
            bytes: file.bytes,
            category: file.planned.category.clone(),
            is_typed: manifest.category_of(&file.planned).is_some(),
            positions: file.positions.clone(),
            recorded: file.recorded,
            occurred: file.occurred,
            columns: schemas.get(file.schema).cloned().unwrap_or_default(),
            shapes: file.shapes,
        };
        let files = manifest.files.iter().map(file).collect();
        Self { through: manifest.through(), filter: manifest.origin.filter.to_filter(), files }
    }
}
