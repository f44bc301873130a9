//! How is a definition's document read, and how is it told what is wrong with it and where?

use factum_storage as storage;
use serde_json::Map;
use serde_json::Value;
use storage::Filter;

use super::Format;
use crate::error::DefinitionFault;

/// The members of a JSON or TOML document; `what` is told to whoever gives something else.
///
/// # Errors
///
/// What is wrong, with line and column.
pub(crate) fn members(format: Format, text: &str, what: &str) -> Result<Map<String, Value>, DefinitionFault> {
    let value: Value = match format {
        Format::Json => serde_json::from_str(text).map_err(|error| {
            let place = |number: usize| u32::try_from(number).ok();
            DefinitionFault {
                detail: format!("is not JSON: {error}"),
                line: place(error.line()),
                column: place(error.column()),
                ..DefinitionFault::default()
            }
        })?,
        Format::Toml => toml::from_str(text).map_err(|error| toml_fault(text, &error))?,
        Format::Javascript => return Err(at("", &format!("{what} is a JSON or TOML document"))),
    };
    match value {
        Value::Object(members) => Ok(members),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => Err(at("", "must be an object")),
    }
}

/// Which events, as `filter` says it.
///
/// # Errors
///
/// What is wrong, and where.
pub(crate) fn filter(value: &Value) -> Result<Filter, DefinitionFault> {
    let Value::Object(members) = value else { return Err(at("/filter", "must be an object")) };
    let mut filter = Filter::default();
    for name in members.keys() {
        let names = |max| names(members, name, max);
        match name.as_str() {
            "categories" => filter.categories = names(NAMES_MAX)?,
            "types" => filter.types = names(NAMES_MAX)?,
            "tags" => filter.tags = names(NAMES_MAX)?,
            "stream_prefix" => {
                let pointer = "/filter/stream_prefix";
                let prefix = members.get(name).and_then(Value::as_str).ok_or_else(|| at(pointer, "must be a string"))?;
                storage::check_name(prefix).map_err(|error| at(pointer, &error.to_string()))?;
                filter.stream_prefix = Some(prefix.to_owned());
            }
            _ => return Err(unknown(&format!("/filter/{name}"), FILTER_FIELDS)),
        }
    }
    Ok(filter)
}

fn names(members: &Map<String, Value>, name: &str, max: usize) -> Result<Vec<String>, DefinitionFault> {
    let pointer = format!("/filter/{name}");
    let Some(Value::Array(items)) = members.get(name) else { return Err(at(&pointer, "must be an array of strings")) };
    if items.len() > max {
        return Err(at(&pointer, &format!("at most {max} are allowed")));
    }
    let read = |(index, item): (usize, &Value)| {
        let pointer = format!("{pointer}/{index}");
        let text = item.as_str().ok_or_else(|| at(&pointer, "must be a string"))?;
        storage::check_name(text).map_err(|error| at(&pointer, &error.to_string()))?;
        Ok(text.to_owned())
    };
    items.iter().enumerate().map(read).collect()
}

/// A whole number within bounds.
///
/// # Errors
///
/// The bounds.
pub(crate) fn number(value: &Value, pointer: &str, least: u64, most: u64) -> Result<u64, DefinitionFault> {
    let found = value.as_u64().filter(|number| (least..=most).contains(number));
    found.ok_or_else(|| at(pointer, &format!("must be a number from {least} to {most}")))
}

/// A member that nobody knows; `known` are those that there are.
pub(crate) fn unknown(pointer: &str, known: &str) -> DefinitionFault {
    at(pointer, &format!("is not a field that is known here; there are {known}"))
}

/// A fault at a place of the document.
pub(crate) fn at(pointer: &str, detail: &str) -> DefinitionFault {
    let detail = if pointer.is_empty() { detail.to_owned() } else { format!("{pointer}: {detail}") };
    DefinitionFault { detail, pointer: (!pointer.is_empty()).then(|| pointer.to_owned()), ..DefinitionFault::default() }
}

fn toml_fault(text: &str, error: &toml::de::Error) -> DefinitionFault {
    let before = error.span().and_then(|span| text.get(..span.start)).unwrap_or_default();
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
    DefinitionFault {
        detail: format!("is not TOML: {}", error.message()),
        line: u32::try_from(line).ok(),
        column: u32::try_from(column).ok(),
        ..DefinitionFault::default()
    }
}

const FILTER_FIELDS: &str = "categories, types, tags and stream_prefix";
const NAMES_MAX: usize = 1_000;
