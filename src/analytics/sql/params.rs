//! Which values do `$1`, `$2` … stand for?

use datafusion::common::ParamValues;
use datafusion::scalar::ScalarValue;
use serde_json::Value as Json;

use super::Parsed;
use crate::Error;

/// The values of a query's placeholders.
///
/// # Errors
///
/// [`Error::InvalidQuery`]: one has no value, or is not called `$` and a number.
pub(super) fn values(parsed: &Parsed, params: &[Json]) -> Result<ParamValues, Error> {
    for name in parsed.placeholders() {
        let number: Option<usize> = name.strip_prefix('$').and_then(|number| number.parse().ok());
        let detail = match number {
            Some(number) if (1..=params.len()).contains(&number) => continue,
            Some(_) => format!("{name} has no value: there are {} params", params.len()),
            None => format!("{name:?} is no placeholder: they are called $1, $2 …"),
        };
        return Err(Error::InvalidQuery { detail, line: None, column: None });
    }
    Ok(ParamValues::from(params.iter().map(scalar).collect::<Vec<ScalarValue>>()))
}

/// Objects and arrays stand for their JSON text.
fn scalar(json: &Json) -> ScalarValue {
    match json {
        Json::Null => ScalarValue::Null,
        Json::Bool(boolean) => ScalarValue::Boolean(Some(*boolean)),
        Json::Number(number) => match (number.as_i64(), number.as_u64()) {
            (Some(number), _) => ScalarValue::Int64(Some(number)),
            (None, Some(number)) => ScalarValue::UInt64(Some(number)),
            (None, None) => ScalarValue::Float64(number.as_f64()),
        },
        Json::String(text) => ScalarValue::Utf8(Some(text.clone())),
        Json::Array(_) | Json::Object(_) => ScalarValue::Utf8(Some(json.to_string())),
    }
}

/// What the texts of a query take: its literals, and its parameters as often as they are used.
pub(super) fn bytes(parsed: &Parsed, params: &[Json]) -> usize {
    let of = |name: &str| {
        let number: usize = name.strip_prefix('$')?.parse().ok()?;
        params.get(number.checked_sub(1)?)
    };
    let used: usize = parsed.placeholders().filter_map(of).map(|json| json.as_str().map_or_else(|| json.to_string().len(), str::len)).sum();
    used + parsed.literal_bytes()
}
