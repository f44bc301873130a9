//! What does `factum.toml` say?

use std::path::Path;

use super::Error;
use super::Source;
use super::Value;
use super::put;

/// Lays what the file says over `values`.
///
/// # Errors
///
/// The file can't be read, is not TOML, or names what is not a setting.
pub(super) fn apply(values: &mut [Value], path: &Path) -> Result<(), Error> {
    let failed = |detail: String| Error::File { file: path.to_owned(), detail };
    let text = std::fs::read_to_string(path).map_err(|error| failed(error.to_string()))?;
    let table: toml::Table = text.parse().map_err(|error: toml::de::Error| failed(error.to_string().trim_end().to_owned()))?;
    let source = Source::File(path.to_owned());
    for (section, content) in table {
        let toml::Value::Table(content) = content else {
            // A key above all sections; it may be one that only lacks its section.
            put(values, &section, String::new(), source.clone())?;
            continue;
        };
        for (key, value) in content {
            let name = format!("{section}.{key}");
            let text = scalar_text(&value).ok_or_else(|| failed(format!("{name}: a text, a number or true/false is needed")));
            put(values, &name, text?, source.clone())?;
        }
    }
    Ok(())
}

fn scalar_text(value: &toml::Value) -> Option<String> {
    match value {
        toml::Value::String(text) => Some(text.clone()),
        toml::Value::Integer(number) => Some(number.to_string()),
        toml::Value::Float(number) => Some(number.to_string()),
        toml::Value::Boolean(truth) => Some(truth.to_string()),
        toml::Value::Datetime(_) | toml::Value::Array(_) | toml::Value::Table(_) => None,
    }
}
