//! What does `factum.toml` say?

use std::path::Path;

use super::Error;
use super::SETTINGS;
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
        for (name, value) in flat(&section, content) {
            let text = scalar_text(&value)
                .or_else(|| tables_text(&value))
                .or_else(|| list_text(&name, &value))
                .ok_or_else(|| failed(format!("{name}: a text, a number or true/false is needed")));
            put(values, &name, text?, source.clone())?;
        }
    }
    Ok(())
}

/// The keys of a section with its name in front, those of a table within it too: `[auth.shared_secret]`.
fn flat(section: &str, content: toml::Table) -> Vec<(String, toml::Value)> {
    let mut found = Vec::new();
    for (key, value) in content {
        let name = format!("{section}.{key}");
        if let toml::Value::Table(inner) = value {
            found.extend(inner.into_iter().map(|(key, value)| (format!("{name}.{key}"), value)));
        } else {
            found.push((name, value));
        }
    }
    found
}

/// An array of tables, as JSON: for settings that are lists of such.
fn tables_text(value: &toml::Value) -> Option<String> {
    let list = value.as_array().filter(|list| !list.is_empty() && list.iter().all(toml::Value::is_table))?;
    serde_json::to_string(list).ok()
}

/// An array of texts or numbers, as JSON: for settings that are lists of such.
fn list_text(name: &str, value: &toml::Value) -> Option<String> {
    let is_list = SETTINGS.iter().any(|setting| setting.name() == name && setting.form.starts_with("list of"));
    let list = value.as_array().filter(|list| is_list && list.iter().all(|item| item.is_str() || item.is_integer()))?;
    serde_json::to_string(list).ok()
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
