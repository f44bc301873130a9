//! Which columns can every reader take? Types that only some know are brought to those that all do, and names are made unique.

use std::sync::Arc;

use arrow::array::Array;
use arrow::array::ArrayRef;
use arrow::array::RecordBatch;
use arrow::array::RecordBatchOptions;
use arrow::array::StringBuilder;
use arrow::compute::cast;
use arrow::datatypes::DataType;
use arrow::datatypes::Field;
use arrow::datatypes::Fields;
use arrow::datatypes::Schema;
use arrow::datatypes::SchemaRef;

use super::cells::Column;
use super::cells::bare;
use super::cells::unsupported;
use crate::Error;

/// For whom columns are made plain.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Readers {
    /// Whoever reads text: everything has a text.
    Texts,
    /// Whoever reads Arrow or Parquet: no unions, intervals, views, dictionaries.
    Columns,
}

/// How batches are made plain.
pub(super) struct Plain {
    schema: SchemaRef,
    steps: Vec<Step>,
}

#[derive(Clone, PartialEq)]
enum Step {
    Keep,
    Cast(DataType),
    /// The value's JSON; a text as it is.
    Text,
}

impl Plain {
    pub(super) fn new(schema: &Schema, readers: Readers) -> Self {
        let mut names: Vec<String> = Vec::new();
        let mut fields = Vec::new();
        let mut steps = Vec::new();
        for field in schema.fields() {
            let step = step(field.data_type(), readers);
            let data_type = match &step {
                Step::Keep => field.data_type().clone(),
                Step::Cast(data_type) => data_type.clone(),
                Step::Text => DataType::Utf8,
            };
            let name = unique(field.name(), &names);
            let mut plain = Field::new(&name, data_type, true);
            if readers == Readers::Texts {
                plain.set_metadata(field.metadata().clone());
            }
            names.push(name);
            fields.push(plain);
            steps.push(step);
        }
        Self { schema: Arc::new(Schema::new(fields)), steps }
    }

    pub(super) fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// # Errors
    ///
    /// [`Error::InvalidQuery`] for a column that has no plain form.
    pub(super) fn apply(&self, batch: &RecordBatch) -> Result<RecordBatch, Error> {
        let schema = batch.schema_ref();
        let made = batch.columns().iter().zip(&self.steps).zip(schema.fields()).map(|((array, step), field)| match step {
            Step::Keep => Ok(Arc::clone(array)),
            Step::Cast(to) => cast(array, to).map_err(|_| unsupported(field)),
            Step::Text => texts(array, field),
        });
        let columns: Vec<ArrayRef> = made.collect::<Result<_, Error>>()?;
        // A query may have no columns, and rows all the same.
        let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
        RecordBatch::try_new_with_options(Arc::clone(&self.schema), columns, &options).map_err(|error| Error::InvalidQuery {
            detail: format!("the columns of the answer do not fit together: {error}"),
            line: None,
            column: None,
        })
    }
}

fn step(data_type: &DataType, readers: Readers) -> Step {
    if readers == Readers::Columns && holds(data_type, &|inner| matches!(inner, DataType::Union(_, _) | DataType::Interval(_))) {
        return Step::Text;
    }
    let plain = plain_type(data_type, readers);
    if plain == *data_type { Step::Keep } else { Step::Cast(plain) }
}

/// Whether a type, or one inside of it, is such.
fn holds(data_type: &DataType, is_such: &dyn Fn(&DataType) -> bool) -> bool {
    if is_such(data_type) {
        return true;
    }
    let inner = |field: &Field| holds(field.data_type(), is_such);
    match data_type {
        DataType::List(field)
        | DataType::LargeList(field)
        | DataType::FixedSizeList(field, _)
        | DataType::ListView(field)
        | DataType::LargeListView(field)
        | DataType::Map(field, _)
        | DataType::RunEndEncoded(_, field) => inner(field),
        DataType::Struct(fields) => fields.iter().any(|field| inner(field)),
        DataType::Dictionary(_, value) => holds(value, is_such),
        _ => false,
    }
}

fn plain_type(data_type: &DataType, readers: Readers) -> DataType {
    let inner = |field: &Arc<Field>| Arc::new(field.as_ref().clone().with_data_type(plain_type(field.data_type(), readers)));
    match data_type {
        DataType::Utf8View if readers == Readers::Columns => DataType::Utf8,
        DataType::BinaryView if readers == Readers::Columns => DataType::Binary,
        DataType::Dictionary(_, value) => plain_type(value, readers),
        DataType::RunEndEncoded(_, values) => plain_type(values.data_type(), readers),
        DataType::List(field) | DataType::ListView(field) => DataType::List(inner(field)),
        DataType::LargeList(field) | DataType::LargeListView(field) => DataType::LargeList(inner(field)),
        DataType::FixedSizeList(field, length) => DataType::FixedSizeList(inner(field), *length),
        DataType::Struct(fields) => DataType::Struct(fields.iter().map(inner).collect::<Fields>()),
        DataType::Map(entries, is_sorted) => DataType::Map(inner(entries), *is_sorted),
        other => other.clone(),
    }
}

fn texts(array: &ArrayRef, field: &Field) -> Result<ArrayRef, Error> {
    let column = Column::new(array, field)?;
    let mut builder = StringBuilder::with_capacity(array.len(), array.len() * 8);
    let mut json = Vec::new();
    for row in 0..array.len() {
        json.clear();
        column.push_json(&mut json, row);
        builder.append_option(bare(&json));
    }
    Ok(Arc::new(builder.finish()))
}

/// The second `id` is `id_2`: objects, data frames and tables have one column of a name.
fn unique(name: &str, taken: &[String]) -> String {
    let candidates = (2_u32..).map(|number| format!("{name}_{number}"));
    let mut all = std::iter::once(name.to_owned()).chain(candidates);
    all.find(|candidate| !taken.contains(candidate)).expect("there is always one more number")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_made_unique() {
        let fields: Vec<Field> = ["id", "id", "id_2", "id"].iter().map(|name| Field::new(*name, DataType::Int64, true)).collect();
        let plain = Plain::new(&Schema::new(fields), Readers::Texts);
        let names: Vec<&str> = plain.schema().fields().iter().map(|field| field.name().as_str()).collect();
        assert_eq!(names, ["id", "id_2", "id_2_2", "id_3"]);
    }

    #[test]
    fn types_that_few_know_are_cast() {
        let dictionary = DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Utf8View));
        assert!(step(&dictionary, Readers::Columns) == Step::Cast(DataType::Utf8));
        assert!(step(&dictionary, Readers::Texts) == Step::Cast(DataType::Utf8View));
        assert!(step(&DataType::Utf8View, Readers::Texts) == Step::Keep);
        let list = DataType::new_list(DataType::Utf8View, true);
        assert!(step(&list, Readers::Columns) == Step::Cast(DataType::new_list(DataType::Utf8, true)));
        let intervals = DataType::new_list(DataType::Interval(arrow::datatypes::IntervalUnit::MonthDayNano), true);
        assert!(step(&intervals, Readers::Columns) == Step::Text);
        assert!(step(&intervals, Readers::Texts) == Step::Keep);
    }
}
