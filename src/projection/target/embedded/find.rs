//! Which rows have these values?

use redb::Database;
use redb::ReadableDatabase;
use redb::ReadableTable;

use super::super::super::row::Row;
use super::super::super::spec::Columns;
use super::super::super::value::Value;
use super::encoding;
use super::fault::Trouble;
use super::sortable::behind;
use super::sortable::push_sortable;
use super::tables;

/// All rows that have all of these values in these columns, in the order of the best way to them: by key, by an index, else all of them
/// are looked at.
pub(super) fn matching(database: &Database, columns: &Columns, matching: &[(usize, Value)]) -> Result<Vec<Row>, Trouble> {
    let transaction = database.begin_read()?;
    let rows = transaction.open_table(tables::ROWS)?;
    let mut found = Vec::new();
    let mut take = |bytes: &[u8]| -> Result<(), Trouble> {
        for (place, value) in matching {
            if encoding::value_at(bytes, columns, *place)? != *value {
                return Ok(());
            }
        }
        found.push(encoding::row(bytes, columns)?);
        Ok(())
    };
    let column = |place: usize| columns.list().get(place);
    if let Some((place, value)) = matching.iter().find(|(place, _)| *place == columns.primary_key()) {
        let mut key = Vec::new();
        if let Some(column) = column(*place) {
            push_sortable(&mut key, value, column.column_type);
        }
        if let Some(bytes) = rows.get(key.as_slice())? {
            take(bytes.value())?;
        }
    } else if let Some((place, value)) = matching.iter().find(|(place, _)| column(*place).is_some_and(|column| column.is_indexed)) {
        let mut prefix = tables::index_prefix(*place).to_vec();
        if let Some(column) = column(*place) {
            push_sortable(&mut prefix, value, column.column_type);
        }
        let end = behind(prefix.clone());
        let indexes = transaction.open_table(tables::INDEXES)?;
        for entry in indexes.range::<&[u8]>(prefix.as_slice()..end.as_slice())? {
            let (entry, _) = entry?;
            let key = entry.value().get(prefix.len()..).unwrap_or_default();
            let bytes = rows.get(key)?.ok_or_else(|| Trouble::unusable("an index names a row that is not there"))?;
            take(bytes.value())?;
        }
    } else {
        for entry in rows.iter()? {
            take(entry?.1.value())?;
        }
    }
    Ok(found)
}
