//! What is the type of a column called, where people read it? As definitions of views call theirs, and SQL.

use arrow::datatypes::DataType;
use arrow::datatypes::Field;

/// The type of a column in words: `bigint`, `decimal(12,2)`, `text[]`.
pub(crate) fn type_name(field: &Field) -> String {
    if is_json(field) { "json".to_owned() } else { name_of(field.data_type()) }
}

/// Text that the JSON functions mark as JSON.
pub(crate) fn is_json(field: &Field) -> bool {
    field.metadata().get("ARROW:extension:name").is_some_and(|name| name == "arrow.json")
}

fn name_of(data_type: &DataType) -> String {
    use DataType as T;
    let name = match data_type {
        T::Null => "null",
        T::Boolean => "boolean",
        T::Int8 => "tinyint",
        T::Int16 => "smallint",
        T::Int32 => "integer",
        T::Int64 => "bigint",
        T::UInt8 => "utinyint",
        T::UInt16 => "usmallint",
        T::UInt32 => "uinteger",
        T::UInt64 => "ubigint",
        T::Float16 | T::Float32 => "real",
        T::Float64 => "double",
        T::Utf8 | T::LargeUtf8 | T::Utf8View => "text",
        T::Binary | T::LargeBinary | T::BinaryView | T::FixedSizeBinary(_) => "binary",
        T::Timestamp(_, _) => "timestamp",
        T::Date32 | T::Date64 => "date",
        T::Time32(_) | T::Time64(_) => "time",
        T::Duration(_) | T::Interval(_) => "interval",
        // What the JSON functions give when nobody says which type is wanted.
        T::Union(_, _) => "json",
        T::Decimal32(precision, scale)
        | T::Decimal64(precision, scale)
        | T::Decimal128(precision, scale)
        | T::Decimal256(precision, scale) => return format!("decimal({precision},{scale})"),
        T::List(item) | T::LargeList(item) | T::FixedSizeList(item, _) | T::ListView(item) | T::LargeListView(item) => {
            return format!("{}[]", type_name(item));
        }
        T::Struct(fields) => {
            let fields: Vec<String> = fields.iter().map(|field| format!("{} {}", field.name(), type_name(field))).collect();
            return format!("struct({})", fields.join(", "));
        }
        T::Map(entries, _) => return map_name(entries),
        T::Dictionary(_, value) => return name_of(value),
        T::RunEndEncoded(_, values) => return type_name(values),
    };
    name.to_owned()
}

fn map_name(entries: &Field) -> String {
    let DataType::Struct(fields) = entries.data_type() else { return "map".to_owned() };
    let names: Vec<String> = fields.iter().map(|field| type_name(field)).collect();
    format!("map({})", names.join(", "))
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use arrow::datatypes::Fields;
    use arrow::datatypes::TimeUnit;

    use super::*;

    #[test]
    fn types_have_the_names_that_people_know() {
        let check = |data_type, expected: &str| assert_eq!(type_name(&Field::new("c", data_type, true)), expected);
        check(DataType::Utf8View, "text");
        check(DataType::Int64, "bigint");
        check(DataType::Decimal128(12, 2), "decimal(12,2)");
        check(DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())), "timestamp");
        check(DataType::new_list(DataType::Utf8, true), "text[]");
        check(DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Utf8)), "text");
        let fields =
            Fields::from(vec![Field::new("a", DataType::Int64, true), Field::new("b", DataType::new_list(DataType::Date32, true), true)]);
        check(DataType::Struct(fields), "struct(a bigint, b date[])");
        let json = HashMap::from([("ARROW:extension:name".to_owned(), "arrow.json".to_owned())]);
        assert_eq!(type_name(&Field::new("c", DataType::Utf8, true).with_metadata(json)), "json");
    }
}
