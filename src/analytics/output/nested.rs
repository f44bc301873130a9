//! How do lists, structures and maps read? As JSON arrays and objects.

use arrow::array::Array;
use arrow::array::AsArray;
use arrow::array::MapArray;
use arrow::array::StructArray;
use arrow::datatypes::DataType;

use super::cells::Cells;
use super::cells::Column;
use super::cells::text;
use crate::Error;
use crate::subscription::json_text::push_string;

/// The cells of a nested type; `None` for any other.
pub(super) fn cells(array: &dyn Array) -> Result<Option<Cells<'_>>, Error> {
    match array.data_type() {
        DataType::List(item) => {
            let array = array.as_list::<i32>();
            let values = Column::new(array.values(), item)?;
            let range = |row: usize| offsets(array.value_offsets(), row);
            Ok(Some(list(values, range)))
        }
        DataType::LargeList(item) => {
            let array = array.as_list::<i64>();
            let values = Column::new(array.values(), item)?;
            let range = |row: usize| offsets(array.value_offsets(), row);
            Ok(Some(list(values, range)))
        }
        DataType::FixedSizeList(item, _) => {
            let array = array.as_fixed_size_list();
            let values = Column::new(array.values(), item)?;
            let length = usize::try_from(array.value_length()).unwrap_or_default();
            let range = move |row: usize| {
                let start = usize::try_from(array.value_offset(row)).unwrap_or_default();
                start..start + length
            };
            Ok(Some(list(values, range)))
        }
        DataType::Struct(_) => Ok(Some(structure(array.as_struct())?)),
        DataType::Map(_, _) => Ok(Some(map(array.as_map())?)),
        _ => Ok(None),
    }
}

fn offsets<O: Copy + TryInto<usize>>(all: &[O], row: usize) -> std::ops::Range<usize> {
    let at = |row: usize| all.get(row).and_then(|offset| (*offset).try_into().ok()).unwrap_or_default();
    at(row)..at(row + 1)
}

fn list<'a>(values: Column<'a>, range: impl Fn(usize) -> std::ops::Range<usize> + 'a) -> Cells<'a> {
    Cells::Json(Box::new(move |out, row| {
        out.push(b'[');
        for (number, place) in range(row).enumerate() {
            if number > 0 {
                out.push(b',');
            }
            values.push_json(out, place);
        }
        out.push(b']');
    }))
}

fn structure(array: &StructArray) -> Result<Cells<'_>, Error> {
    let columns = array.columns().iter().zip(array.fields()).map(|(column, field)| Ok((field.name(), Column::new(column, field)?)));
    let columns: Vec<(&String, Column<'_>)> = columns.collect::<Result<_, Error>>()?;
    Ok(Cells::Json(Box::new(move |out, row| {
        out.push(b'{');
        for (number, (name, column)) in columns.iter().enumerate() {
            if number > 0 {
                out.push(b',');
            }
            push_string(out, name);
            out.push(b':');
            column.push_json(out, row);
        }
        out.push(b'}');
    })))
}

/// An object if the keys are text, else a list of pairs.
fn map(array: &MapArray) -> Result<Cells<'_>, Error> {
    let entries = array.entries();
    let field = |place: usize| entries.fields().get(place).expect("a map has keys and values");
    let keys = Column::new(array.keys(), field(0))?;
    let values = Column::new(array.values(), field(1))?;
    let is_object = text(array.keys()).is_some();
    Ok(Cells::Json(Box::new(move |out, row| {
        out.push(if is_object { b'{' } else { b'[' });
        for (number, place) in offsets(array.value_offsets(), row).enumerate() {
            if number > 0 {
                out.push(b',');
            }
            if !is_object {
                out.push(b'[');
            }
            keys.push_json(out, place);
            out.push(if is_object { b':' } else { b',' });
            values.push_json(out, place);
            if !is_object {
                out.push(b']');
            }
        }
        out.push(if is_object { b'}' } else { b']' });
    })))
}
