//! What is in the lake? Manifests say it: one object for each change, never changed itself; the one with the highest sequence counts.
//!
//! A manifest holds the files with the cursor that they cover, and so is the export's checkpoint. Before a file is put, a manifest tells
//! what is about to be put (its intent): whoever comes after a crash finishes that first, under the same names and with the same events.
//! `docs/format.md` describes it for other programs.

use std::collections::BTreeMap;

use factum_storage::Filter;
use factum_storage::Position;
use serde::Deserialize;
use serde::Serialize;
use uuid::Uuid;
use xxhash_rust::xxh3::xxh3_64;

use super::file::FileNote;
use super::spec::Spec;
use crate::analytics::columns::CategoryColumns;
use crate::analytics::columns::FieldType;
use crate::subscription::Cursor;

/// One state of a lake.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Manifest {
    /// Of this layout; a newer one is refused.
    pub(super) format: u32,
    /// One more than that of the manifest before.
    pub(super) sequence: u64,
    /// Drawn by whoever wrote it, when it took the lake over.
    pub(super) writer: Uuid,
    /// One more each time that a writer takes the lake over.
    pub(super) epoch: u64,
    /// RFC 3339.
    pub(super) written_at: String,
    /// What the lake is of: it can't change.
    pub(super) origin: Origin,
    /// All events up to here that the filter wants are in the files: a position a shard.
    pub(super) through: Vec<u64>,
    /// For each shard the last event in the files: what proves that the log is the same.
    pub(super) last: Vec<Option<LastEvent>>,
    /// What is about to be put. Files that it names may be there already, and must not be counted yet.
    pub(super) intent: Option<Intent>,
    /// In the order of their names.
    pub(super) files: Vec<FileEntry>,
    /// What the columns of files are: `files` say which by its place here.
    pub(super) schemas: Vec<Vec<ColumnEntry>>,
    /// Files whose rows are in others now; they are out of the way, and go after a grace.
    pub(super) retired: Vec<Retired>,
    /// What is known of each category's members.
    pub(super) columns: BTreeMap<String, CategoryColumns>,
}

/// What a lake is of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Origin {
    pub(super) export: String,
    pub(super) partition_by: Vec<String>,
    pub(super) filter: FilterEntry,
}

/// A filter as it is written.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct FilterEntry {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) categories: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) types: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) tags: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) stream_prefix: Option<String>,
}

/// An event that is in the files.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct LastEvent {
    pub(super) position: u64,
    pub(super) id: Uuid,
}

/// What is about to be put.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Intent {
    /// Files of the events behind the manifest's cursor, up to another one.
    Flush { through: Vec<u64>, last: Vec<Option<LastEvent>>, files: Vec<PlannedFile> },
    /// One file of the rows of others.
    Merge { inputs: Vec<String>, output: PlannedFile },
}

/// A file that is about to be put, and the partition that it belongs to.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(super) struct PlannedFile {
    pub(super) path: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) category: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) date: Option<String>,
}

/// A file of the lake.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct FileEntry {
    #[serde(flatten)]
    pub(super) planned: PlannedFile,
    pub(super) rows: u64,
    pub(super) bytes: u64,
    /// For each shard the lowest and the highest position in it.
    pub(super) positions: Vec<Option<(u64, u64)>>,
    /// The earliest and the latest `recorded_at`, in microseconds since 1970.
    pub(super) recorded: (i64, i64),
    /// The same of `occurred_at`.
    pub(super) occurred: (i64, i64),
    /// Which of the manifest's `schemas`.
    pub(super) schema: usize,
    /// Names the shapes that the events were brought into.
    pub(super) shapes: u64,
}

/// A column of files that comes from a member of `data`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(super) struct ColumnEntry {
    pub(super) name: String,
    pub(super) member: String,
    #[serde(rename = "type")]
    pub(super) field_type: FieldType,
}

/// A file that is out of the way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Retired {
    pub(super) path: String,
    /// RFC 3339.
    pub(super) since: String,
}

impl Origin {
    pub(super) fn of(spec: &Spec) -> Self {
        let Filter { categories, types, tags, stream_prefix, .. } = spec.filter.clone();
        Self {
            export: spec.name.clone(),
            partition_by: spec.layout.names().into_iter().map(str::to_owned).collect(),
            filter: FilterEntry { categories, types, tags, stream_prefix },
        }
    }
}

impl FilterEntry {
    pub(super) fn to_filter(&self) -> Filter {
        let Self { categories, types, tags, stream_prefix } = self.clone();
        Filter { categories, types, tags, stream_prefix, ..Filter::default() }
    }
}

impl Manifest {
    /// That of a lake in which there is nothing yet.
    pub(super) fn empty(origin: Origin, shards: u16) -> Self {
        Self {
            format: FORMAT,
            sequence: 0,
            writer: Uuid::nil(),
            epoch: 0,
            written_at: String::new(),
            origin,
            through: vec![0; usize::from(shards)],
            last: vec![None; usize::from(shards)],
            intent: None,
            files: Vec::new(),
            schemas: Vec::new(),
            retired: Vec::new(),
            columns: BTreeMap::new(),
        }
    }

    pub(super) fn through(&self) -> Cursor {
        cursor(&self.through)
    }

    /// The category of all events of a file, by its folder or by what the lake is of.
    pub(super) fn category_of<'a>(&'a self, file: &'a PlannedFile) -> Option<&'a str> {
        file.category.as_deref().or_else(|| self.only_category())
    }

    /// The one category that the lake is of.
    pub(super) fn only_category(&self) -> Option<&str> {
        match self.origin.filter.categories.as_slice() {
            [only] => Some(only),
            _ => None,
        }
    }

    /// Adds a file that is in the lake.
    pub(super) fn add(&mut self, planned: PlannedFile, bytes: u64, note: FileNote) {
        let FileNote { rows, positions, recorded, occurred, columns, shapes, .. } = note;
        let schema = self.schema_of(columns);
        let entry = FileEntry { planned, rows, bytes, positions, recorded, occurred, schema, shapes };
        let place = self.files.partition_point(|file| file.planned.path < entry.planned.path);
        self.files.insert(place, entry);
    }

    /// The columns of a file.
    pub(super) fn columns_of(&self, file: &FileEntry) -> &[ColumnEntry] {
        self.schemas.get(file.schema).map_or(&[], Vec::as_slice)
    }

    /// The place of these columns in the manifest, where they are put if they are not there yet.
    pub(super) fn schema_of(&mut self, columns: Vec<ColumnEntry>) -> usize {
        if let Some(place) = self.schemas.iter().position(|present| *present == columns) {
            return place;
        }
        self.schemas.push(columns);
        self.schemas.len() - 1
    }

    /// Takes out schemas that no file has any more.
    pub(super) fn drop_unused_schemas(&mut self) {
        let mut places = vec![None; self.schemas.len()];
        let mut kept = Vec::new();
        for file in &mut self.files {
            let Some(slot) = places.get_mut(file.schema) else { continue };
            file.schema = *slot.get_or_insert_with(|| {
                kept.push(self.schemas.get(file.schema).cloned().unwrap_or_default());
                kept.len() - 1
            });
        }
        self.schemas = kept;
    }

    /// The object that it is kept in.
    pub(super) fn encode(&self) -> Vec<u8> {
        let body = serde_json::to_string(self).expect("a manifest is text and numbers");
        format!("{CHECKSUM_BEGINS}{:016x}{MANIFEST_BEGINS}{body}}}\n", xxh3_64(body.as_bytes())).into_bytes()
    }

    /// Reads an object.
    ///
    /// # Errors
    ///
    /// Why it can't be.
    pub(super) fn decode(bytes: &[u8]) -> Result<Self, String> {
        let text = std::str::from_utf8(bytes).map_err(|_| "it is not UTF-8")?;
        let inside =
            text.strip_prefix(CHECKSUM_BEGINS).and_then(|rest| rest.strip_suffix("}\n")).ok_or("it is cut short, or not a manifest")?;
        let (checksum, body) = inside.split_once(MANIFEST_BEGINS).ok_or("it is not a manifest")?;
        #[derive(Deserialize)]
        struct Head {
            format: u32,
        }
        if checksum != format!("{:016x}", xxh3_64(body.as_bytes())) {
            return Err("its checksum does not pass".to_owned());
        }
        let Head { format } = serde_json::from_str(body).map_err(|error| error.to_string())?;
        if format != FORMAT {
            return Err(format!("it is of format {format}, and this version knows {FORMAT}"));
        }
        serde_json::from_str(body).map_err(|error| error.to_string())
    }
}

/// A cursor of positions.
pub(super) fn cursor(positions: &[u64]) -> Cursor {
    Cursor::new(positions.iter().copied().map(Position::new).collect())
}

/// The positions of a cursor.
pub(super) fn positions(cursor: &Cursor) -> Vec<u64> {
    cursor.positions().iter().map(|position| position.get()).collect()
}

const FORMAT: u32 = 1;
const CHECKSUM_BEGINS: &str = "{\"checksum\":\"";
const MANIFEST_BEGINS: &str = "\",\"manifest\":";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::definition::Format;

    fn manifest() -> Manifest {
        let spec = Spec::parse("lake", Format::Json, r#"{"filter": {"categories": ["order"]}}"#).unwrap();
        let mut manifest = Manifest::empty(Origin::of(&spec), 2);
        let planned = |path: &str| PlannedFile { path: path.to_owned(), category: Some("order".to_owned()), date: None };
        for (number, column) in ["a", "b", "a"].iter().enumerate() {
            let column = ColumnEntry { name: (*column).to_owned(), member: (*column).to_owned(), field_type: FieldType::Bigint };
            let schema = manifest.schema_of(vec![column]);
            manifest.files.push(FileEntry {
                planned: planned(&format!("{number}.parquet")),
                rows: 1,
                bytes: 2,
                positions: vec![Some((1, 2)), None],
                recorded: (1, 2),
                occurred: (-3, 4),
                schema,
                shapes: 0,
            });
        }
        manifest.intent = Some(Intent::Merge { inputs: vec!["0.parquet".to_owned()], output: planned("3.parquet") });
        manifest
    }

    #[test]
    fn what_is_written_is_read_back() {
        let manifest = manifest();
        assert_eq!(Manifest::decode(&manifest.encode()), Ok(manifest.clone()));
        assert_eq!(manifest.schemas.len(), 2);
        let text: serde_json::Value = serde_json::from_slice(&manifest.encode()).expect("it is JSON for everybody");
        assert_eq!(text["manifest"]["files"][0]["path"], "0.parquet");
    }

    #[test]
    fn every_cut_and_every_flipped_bit_is_noticed() {
        let bytes = manifest().encode();
        for length in 0..bytes.len() {
            assert!(Manifest::decode(&bytes[..length]).is_err(), "cut at {length}");
        }
        for at in 0..bytes.len() {
            for bit in 0..8 {
                let mut flipped = bytes.clone();
                flipped[at] ^= 1 << bit;
                assert!(Manifest::decode(&flipped).is_err(), "bit {bit} of byte {at}");
            }
        }
        let newer = String::from_utf8(bytes).unwrap().replace("\"format\":1,", "\"format\":2,");
        let body = newer.split_once(MANIFEST_BEGINS).unwrap().1.strip_suffix("}\n").unwrap();
        let newer = format!("{CHECKSUM_BEGINS}{:016x}{MANIFEST_BEGINS}{body}}}\n", xxh3_64(body.as_bytes()));
        assert!(Manifest::decode(newer.as_bytes()).unwrap_err().contains("format 2"));
    }

    #[test]
    fn schemas_that_no_file_has_are_dropped() {
        let mut manifest = manifest();
        manifest.files.remove(0);
        manifest.files.remove(1);
        manifest.drop_unused_schemas();
        assert_eq!((manifest.schemas.len(), manifest.files[0].schema, manifest.schemas[0][0].name.as_str()), (1, 0, "b"));
    }
}
