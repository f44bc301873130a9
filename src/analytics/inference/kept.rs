//! What is kept of the columns over a restart?

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use serde::Deserialize;
use serde::Serialize;

use super::super::columns::CategoryColumns;

/// `columns.json`.
#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Kept {
    pub(super) categories: BTreeMap<String, Category>,
}

/// What is known of a category.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Category {
    pub(super) columns: CategoryColumns,
    pub(super) through: String,
    pub(super) shapes: [u8; 32],
}

/// The file with what stands before its content.
#[derive(Serialize, Deserialize)]
struct File<T> {
    format: u32,
    content: T,
}

/// What is in the file; nothing if it is not there or can't be read: everything in it is found again in the log.
pub(super) fn read(file: &Path) -> Kept {
    let text = match std::fs::read(file) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Kept::default(),
        Err(error) => {
            tracing::warn!(%error, "the columns of categories can't be read, they are looked at again");
            return Kept::default();
        }
    };
    match serde_json::from_slice::<File<Kept>>(&text) {
        Ok(read) if read.format == FORMAT => read.content,
        Ok(_) => Kept::default(),
        Err(error) => {
            tracing::warn!(%error, "the columns of categories can't be read, they are looked at again");
            Kept::default()
        }
    }
}

/// Puts a new file in the place of the old one. Readers see one or the other.
pub(super) fn write(file: &Path, content: &Kept) -> io::Result<()> {
    if let Some(folder) = file.parent() {
        std::fs::create_dir_all(folder)?;
    }
    let beside = file.with_extension("json.tmp");
    std::fs::write(&beside, serde_json::to_vec(&File { format: FORMAT, content })?)?;
    std::fs::rename(&beside, file)
}

const FORMAT: u32 = 1;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_kept_is_read_back_and_a_broken_file_is_as_none() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("analytics").join("columns.json");
        assert_eq!(read(&file), Kept::default());
        let mut columns = CategoryColumns::default();
        columns.declare([("amount".to_owned(), super::super::super::columns::FieldType::Double)]);
        let category = Category { columns, through: "7.0".to_owned(), shapes: [3; 32] };
        let kept = Kept { categories: BTreeMap::from([("order".to_owned(), category)]) };
        write(&file, &kept).unwrap();
        let read_back = read(&file);
        assert_eq!(read_back.categories["order"].through, "7.0");
        assert_eq!(read_back.categories["order"].columns.fields()[0].member, "amount");
        let text = std::fs::read(&file).unwrap();
        for broken in [&text[..text.len() / 2], b"", b"{\"format\": 2, \"content\": {\"categories\": {}}}", b"\xff"] {
            std::fs::write(&file, broken).unwrap();
            assert_eq!(read(&file), Kept::default());
        }
    }
}
