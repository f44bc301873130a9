//! How is a column declared? `<type> [primary key] [index] [default <value>]`.

use serde_json::Value as Json;

use super::super::value::Value;
use super::column::Column;
use super::column::ColumnType;
use super::column::Columns;

impl Columns {
    /// Reads the columns of a definition.
    ///
    /// # Errors
    ///
    /// The column's name (none: all of them), and what is wrong with it.
    pub(super) fn read<'a>(declared: impl Iterator<Item = (&'a str, &'a str)>) -> Result<Self, (Option<String>, String)> {
        let mut list = Vec::new();
        for (name, text) in declared {
            let column = read(name, text).map_err(|detail| (Some(name.to_owned()), detail))?;
            list.push(column);
        }
        if list.len() > COLUMNS_MAX {
            return Err((None, format!("there are {} columns, at most {COLUMNS_MAX} are allowed", list.len())));
        }
        let mut keys = list.iter().enumerate().filter(|(_, column)| column.is_primary_key).map(|(place, _)| place);
        let primary_key = keys.next().ok_or((None, "one of the columns must be the `primary key`".to_owned()))?;
        if let Some(second) = keys.next().and_then(|place| list.get(place)) {
            return Err((Some(second.name.clone()), "is a second primary key; a view has one".to_owned()));
        }
        Ok(Self { list, primary_key })
    }
}

fn read(name: &str, text: &str) -> Result<Column, String> {
    check_name(name)?;
    if text.len() > DECLARATION_BYTES_MAX {
        return Err(format!("is declared in {} bytes, at most {DECLARATION_BYTES_MAX} are allowed", text.len()));
    }
    let (head, default) = match find_word(text, "default") {
        Some(at) => (text.get(..at).unwrap_or_default(), text.get(at + "default".len()..).map(str::trim)),
        None => (text, None),
    };
    let head = head.trim();
    let end = head.find(|character: char| !(character.is_ascii_alphanumeric() || character == '_')).unwrap_or(head.len());
    let (word, mut rest) = head.split_at(end);
    let mut column_type = type_named(&word.to_ascii_lowercase()).ok_or_else(|| format!("{word:?} is no type; there are {TYPES}"))?;
    rest = rest.trim_start();
    if let (ColumnType::Decimal { .. }, Some(inside)) = (column_type, rest.strip_prefix('(')) {
        let (digits, behind) = inside.split_once(')').ok_or("the decimal's `(` has no `)`")?;
        column_type = decimal(digits)?;
        rest = behind;
    }
    if column_type == ColumnType::Double {
        rest = rest.trim_start().strip_prefix("precision").unwrap_or(rest);
    }
    let (mut is_primary_key, mut is_indexed) = (false, false);
    let mut words = rest.split_whitespace();
    while let Some(word) = words.next() {
        match word.to_ascii_lowercase().as_str() {
            "primary" if words.next().is_some_and(|key| key.eq_ignore_ascii_case("key")) => is_primary_key = true,
            "index" => is_indexed = true,
            _ => return Err(format!("{word:?} is not known behind the type; there are `primary key`, `index` and `default <value>`")),
        }
    }
    if is_primary_key && (column_type == ColumnType::Json || column_type == ColumnType::Double || column_type == ColumnType::Boolean) {
        return Err("a primary key is text, bigint, integer, decimal, timestamp, date or uuid".to_owned());
    }
    if is_indexed && column_type == ColumnType::Json {
        return Err("json has no order, so it can't be an index".to_owned());
    }
    let default = match default {
        Some(_) if is_primary_key => return Err("a primary key has no default: every row has its own".to_owned()),
        Some(text) => literal(text, column_type)?,
        None => Value::Null,
    };
    Ok(Column { name: name.to_owned(), column_type, is_primary_key, is_indexed: is_indexed && !is_primary_key, default })
}

/// Where a word stands by itself.
fn find_word(text: &str, word: &str) -> Option<usize> {
    let lower = text.to_ascii_lowercase();
    let is_alone = |at: usize| {
        let before = lower[..at].chars().next_back();
        let behind = lower[at + word.len()..].chars().next();
        before.is_some_and(char::is_whitespace) && behind.is_none_or(char::is_whitespace)
    };
    lower.match_indices(word).map(|(at, _)| at).find(|at| is_alone(*at))
}

/// `0`, `'new'`, `new` (a text without spaces), `true`, `null`, `{"json": 1}`.
fn literal(text: &str, column_type: ColumnType) -> Result<Value, String> {
    let quoted = text.strip_prefix('\'').and_then(|text| text.strip_suffix('\''));
    let json = match (quoted, column_type) {
        _ if text.is_empty() => return Err("a value is missing behind `default`".to_owned()),
        (Some(inside), ColumnType::Json) => {
            serde_json::from_str(&inside.replace("''", "'")).map_err(|error| format!("default: {error}"))?
        }
        (Some(inside), _) => Json::from(inside.replace("''", "'")),
        (None, _) if text.eq_ignore_ascii_case("null") => Json::Null,
        (None, ColumnType::Text | ColumnType::Timestamp | ColumnType::Date | ColumnType::Uuid) => Json::from(text),
        (None, _) => serde_json::from_str(text).map_err(|_| format!("the default {text:?} can't be read"))?,
    };
    column_type.of_json(&json).map_err(|detail| format!("the default {detail}"))
}

fn type_named(word: &str) -> Option<ColumnType> {
    Some(match word {
        "text" | "varchar" | "string" => ColumnType::Text,
        "bigint" | "int8" => ColumnType::Bigint,
        "integer" | "int" | "int4" => ColumnType::Integer,
        "double" | "float8" => ColumnType::Double,
        "decimal" | "numeric" => ColumnType::Decimal { precision: 28, scale: 6 },
        "boolean" | "bool" => ColumnType::Boolean,
        "timestamp" | "timestamptz" => ColumnType::Timestamp,
        "date" => ColumnType::Date,
        "uuid" => ColumnType::Uuid,
        "json" | "jsonb" => ColumnType::Json,
        _ => return None,
    })
}

fn decimal(digits: &str) -> Result<ColumnType, String> {
    let (precision, scale) = digits.split_once(',').unwrap_or((digits, "0"));
    let number = |text: &str| text.trim().parse::<u32>().ok();
    match (number(precision), number(scale)) {
        (Some(precision), Some(scale)) if (1..=DIGITS_MAX).contains(&precision) && scale <= precision => {
            Ok(ColumnType::Decimal { precision, scale })
        }
        _ => Err(format!("decimal({digits}) is not possible: the digits are 1 to {DIGITS_MAX}, those behind the point no more than these")),
    }
}

fn check_name(name: &str) -> Result<(), String> {
    let shape_holds = name.starts_with(|first: char| first.is_ascii_lowercase())
        && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_')
        && name.len() <= NAME_BYTES_MAX;
    if shape_holds { Ok(()) } else { Err(format!("a column's name is a-z, then a-z, 0-9 and _, at most {NAME_BYTES_MAX} bytes")) }
}

const TYPES: &str = "text, bigint, integer, double, decimal(precision,scale), boolean, timestamp, date, uuid and json";
const COLUMNS_MAX: usize = 256;
const NAME_BYTES_MAX: usize = 63;
const DECLARATION_BYTES_MAX: usize = 4_096;
/// What 96 bits hold of any number.
const DIGITS_MAX: u32 = 28;
