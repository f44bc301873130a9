//! What does a folder of definitions hold? `aggregates/<category>.js` or `.json`, `schemas/<type>/<version>.json` with an
//! `<version>.upcast.js` beside it if the upcaster is kept apart, `projections/<view>.toml` or `.json` with the modules (`.js`) that they
//! name, `subscriptions/<name>.toml` or `.json`, and `exports/<name>.toml` or `.json`.
//!
//! Names are percent-decoded, so that a type with a slash has a file too. What is not known is refused: a definition that is passed over
//! in silence is one that is not in force.

use std::fs;
use std::path::Path;
use std::path::PathBuf;

use serde_json::Value;

use super::Format;
use super::Kind;
use crate::Error;

/// A definition of a folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// What it defines.
    pub kind: Kind,
    /// Its name: a category, or `<type>/<version>`.
    pub name: String,
    /// How its text is to be read.
    pub format: Format,
    /// Its text; that of a schema with its upcaster in it, that of a projection with its module in it.
    pub text: String,
    /// Its file, seen from the folder.
    pub file: String,
    /// The file of its JavaScript, if that is one of its own: a schema's upcaster, a projection's module.
    pub upcast_file: Option<String>,
}

/// Why a folder, or one of its definitions, can't be put in force.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{place}: {detail}")]
pub struct FolderFault {
    /// Which file, with line and column where that is known.
    pub place: String,
    /// What is wrong.
    pub detail: String,
}

impl FolderFault {
    /// Something is wrong at a place.
    pub fn new(place: impl Into<String>, detail: impl Into<String>) -> Self {
        Self { place: place.into(), detail: detail.into() }
    }
}

impl Found {
    /// The place in its files that an error is about. Only the JavaScript has lines in a document that was put together.
    #[must_use]
    pub fn place(&self, line: Option<u64>, column: Option<u64>) -> String {
        let file = self.upcast_file.as_ref().filter(|_| line.is_some()).unwrap_or(&self.file);
        match (line, column) {
            (Some(line), Some(column)) => format!("{file}:{line}:{column}"),
            (Some(line), None) => format!("{file}:{line}"),
            (None, _) => file.clone(),
        }
    }

    /// What is wrong with it, at the place in its files.
    #[must_use]
    pub fn refused(&self, error: &Error) -> FolderFault {
        let Error::InvalidDefinition(fault) = error else { return FolderFault::new(self.file.clone(), error.to_string()) };
        let pointer = fault.pointer.as_ref().map(|pointer| format!("{pointer}: ")).unwrap_or_default();
        let place = self.place(fault.line.map(u64::from), fault.column.map(u64::from));
        FolderFault::new(place, format!("{pointer}{}", fault.detail))
    }
}

/// Reads a folder: schemas by type and version, then aggregates, projections, subscriptions and exports by name.
///
/// # Errors
///
/// The first file or folder that can't be read or is not known, with what is.
pub fn read(folder: &Path) -> Result<Vec<Found>, FolderFault> {
    let (mut schemas, mut aggregates) = (Vec::new(), Vec::new());
    let (mut projections, mut subscriptions, mut exports) = (Vec::new(), Vec::new(), Vec::new());
    for entry in entries(folder, folder)? {
        match (entry.name.as_str(), entry.is_folder) {
            ("aggregates", true) => read_aggregates(folder, &entry.path, &mut aggregates)?,
            ("schemas", true) => read_schemas(folder, &entry.path, &mut schemas)?,
            ("projections", true) => read_documents(folder, &entry.path, Kind::Projection, &mut projections)?,
            ("subscriptions", true) => read_documents(folder, &entry.path, Kind::Subscription, &mut subscriptions)?,
            ("exports", true) => read_documents(folder, &entry.path, Kind::Export, &mut exports)?,
            _ => return Err(FolderFault::new(entry.shown, format!("is not known here; a folder of definitions holds {SUPPORTED}"))),
        }
        let found = [&schemas, &aggregates, &projections, &subscriptions, &exports];
        if found.iter().map(|found| found.len()).sum::<usize>() > DEFINITIONS_MAX {
            return Err(FolderFault::new(folder.display().to_string(), format!("holds more than {DEFINITIONS_MAX} definitions")));
        }
    }
    schemas.append(&mut aggregates);
    schemas.append(&mut projections);
    schemas.append(&mut subscriptions);
    schemas.append(&mut exports);
    Ok(schemas)
}

fn read_aggregates(root: &Path, folder: &Path, found: &mut Vec<Found>) -> Result<(), FolderFault> {
    for entry in entries(root, folder)? {
        let split = entry.name.rsplit_once('.').filter(|_| !entry.is_folder);
        let (name, format) = match split {
            Some((name, "js")) => (name, Format::Javascript),
            Some((name, "json")) => (name, Format::Json),
            _ => return Err(FolderFault::new(entry.shown, "is not known here; aggregates/ holds <category>.js and <category>.json")),
        };
        let name = decoded(name).ok_or_else(|| FolderFault::new(entry.shown.clone(), "has a % in its name that is no percent-encoding"))?;
        if found.iter().any(|other: &Found| other.name == name) {
            return Err(FolderFault::new(entry.shown, format!("defines category {name} a second time")));
        }
        let text = text(&entry)?;
        found.push(Found { kind: Kind::Aggregate, name, format, text, file: entry.shown, upcast_file: None });
    }
    Ok(())
}

/// Documents in TOML or JSON, one a name. A projection's module may lie beside it: its text comes along in the document.
fn read_documents(root: &Path, folder: &Path, kind: Kind, found: &mut Vec<Found>) -> Result<(), FolderFault> {
    let mut modules = Vec::new();
    for entry in entries(root, folder)? {
        let split = entry.name.rsplit_once('.').filter(|_| !entry.is_folder);
        let (name, format) = match split {
            Some((name, "toml")) => (name, Format::Toml),
            Some((name, "json")) => (name, Format::Json),
            Some((_, "js")) if kind == Kind::Projection => {
                modules.push(entry);
                continue;
            }
            _ if kind == Kind::Projection => {
                return Err(FolderFault::new(
                    entry.shown,
                    "is not known here; projections/ holds <view>.toml, <view>.json and modules (.js)",
                ));
            }
            _ => {
                let folder = if kind == Kind::Export { "exports" } else { "subscriptions" };
                return Err(FolderFault::new(entry.shown, format!("is not known here; {folder}/ holds <name>.toml and <name>.json")));
            }
        };
        let name = decoded(name).ok_or_else(|| FolderFault::new(entry.shown.clone(), "has a % in its name that is no percent-encoding"))?;
        if found.iter().any(|other: &Found| other.name == name) {
            return Err(FolderFault::new(entry.shown, format!("defines {name} a second time")));
        }
        let text = text(&entry)?;
        found.push(Found { kind, name, format, text, file: entry.shown, upcast_file: None });
    }
    let mut named = Vec::new();
    for document in found.iter_mut().filter(|_| kind == Kind::Projection) {
        if let Some(module) = embed_module(document, &modules)? {
            named.push(module);
        }
    }
    match modules.into_iter().find(|module| !named.contains(&module.name)) {
        Some(module) => Err(FolderFault::new(module.shown, "is named by no projection: `module = \"<file>\"` in a .toml beside it does")),
        None => Ok(()),
    }
}

/// Puts the text of the module that a document names in its place (`script`), and answers the module's file name.
fn embed_module(document: &mut Found, modules: &[Entry]) -> Result<Option<String>, FolderFault> {
    let value: Option<Value> = match document.format {
        Format::Toml => toml::from_str(&document.text).ok(),
        Format::Json => serde_json::from_str(&document.text).ok(),
        Format::Javascript => None,
    };
    // What can't be read is told by whoever puts it in force, with line and column.
    let Some(Value::Object(mut members)) = value else { return Ok(None) };
    let Some(name) = members.get("module").and_then(Value::as_str).map(str::to_owned) else { return Ok(None) };
    let fault = |detail: String| FolderFault::new(document.file.clone(), detail);
    let module = modules.iter().find(|module| module.name == name);
    let module = module.ok_or_else(|| fault(format!("names the module {name:?}, which does not lie beside it")))?;
    if members.contains_key("script") {
        return Err(fault("has a script, and names a module too".to_owned()));
    }
    members.insert("script".to_owned(), Value::from(text(module)?));
    let text = serde_json::to_string_pretty(&members).map_err(|error| fault(error.to_string()))?;
    (document.text, document.format) = (text, Format::Json);
    document.upcast_file = Some(module.shown.clone());
    Ok(Some(name))
}

fn read_schemas(root: &Path, folder: &Path, found: &mut Vec<Found>) -> Result<(), FolderFault> {
    for of_type in entries(root, folder)? {
        if !of_type.is_folder {
            return Err(FolderFault::new(of_type.shown, format!("is not known here; schemas/ holds {SCHEMA_FILES}")));
        }
        let event_type = decoded(&of_type.name)
            .ok_or_else(|| FolderFault::new(of_type.shown.clone(), "has a % in its name that is no percent-encoding"))?;
        let (mut documents, mut upcasters) = (Vec::new(), Vec::new());
        for entry in entries(root, &of_type.path)? {
            let number = |name: &str| name.parse::<u16>().ok().filter(|number| *number > 0 && number.to_string() == name);
            let document = entry.name.strip_suffix(".json").and_then(number);
            let upcaster = entry.name.strip_suffix(".upcast.js").and_then(number);
            match (document, upcaster, entry.is_folder) {
                (Some(version), _, false) => documents.push((version, entry)),
                (None, Some(version), false) => upcasters.push((version, entry)),
                _ => return Err(FolderFault::new(entry.shown, format!("is not known here; schemas/ holds {SCHEMA_FILES}"))),
            }
        }
        documents.sort_by_key(|(version, _)| *version);
        for (version, document) in documents {
            let upcaster = upcasters.iter().position(|(other, _)| *other == version).map(|at| upcasters.swap_remove(at).1);
            found.push(schema(&event_type, version, document, upcaster)?);
        }
        if let Some((version, entry)) = upcasters.into_iter().next() {
            return Err(FolderFault::new(entry.shown, format!("has no {version}.json beside it")));
        }
    }
    Ok(())
}

fn schema(event_type: &str, version: u16, document: Entry, upcaster: Option<Entry>) -> Result<Found, FolderFault> {
    let mut text = text(&document)?;
    if let Some(entry) = &upcaster {
        let function = self::text(entry)?;
        text = with_upcaster(&text, &function).map_err(|detail| FolderFault::new(document.shown.clone(), detail))?;
    }
    let name = format!("{event_type}/{version}");
    let upcast_file = upcaster.map(|entry| entry.shown);
    Ok(Found { kind: Kind::Schema, name, format: Format::Json, text, file: document.shown, upcast_file })
}

/// The document with the upcaster as its member `upcast`; what else it says stays as it is written.
fn with_upcaster(document: &str, function: &str) -> Result<String, String> {
    let value: Value = serde_json::from_str(document).map_err(|error| format!("is not JSON: {error}"))?;
    let object = value.as_object().ok_or("must be a JSON object")?;
    if object.contains_key("upcast") {
        return Err("has an upcast, and there is another in the file beside it".to_owned());
    }
    let inside = document.trim_end().strip_suffix('}').unwrap_or_default().trim_end();
    let comma = if object.is_empty() { "" } else { "," };
    Ok(format!("{inside}{comma}\"upcast\":{}}}", Value::from(function.trim_end())))
}

/// What lies in a folder.
struct Entry {
    name: String,
    path: PathBuf,
    /// The path as it is seen from the folder of definitions.
    shown: String,
    is_folder: bool,
}

/// What lies in a folder, by name; hidden files are nobody's definitions.
fn entries(root: &Path, folder: &Path) -> Result<Vec<Entry>, FolderFault> {
    let shown = |path: &Path| path.strip_prefix(root).unwrap_or(path).display().to_string();
    let failed = |error: std::io::Error| FolderFault::new(folder.display().to_string(), format!("cannot be read: {error}"));
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        let Some(name) = path.file_name().and_then(|name| name.to_str()).map(str::to_owned) else {
            return Err(FolderFault::new(shown(&path), "has a name that is not UTF-8"));
        };
        if name.starts_with('.') {
            continue;
        }
        if found.len() >= DEFINITIONS_MAX {
            return Err(FolderFault::new(shown(folder), format!("holds more than {DEFINITIONS_MAX} files")));
        }
        found.push(Entry { shown: shown(&path), is_folder: path.is_dir(), name, path });
    }
    found.sort_by(|one, other| one.name.cmp(&other.name));
    Ok(found)
}

fn text(entry: &Entry) -> Result<String, FolderFault> {
    let failed = |detail: String| FolderFault::new(entry.shown.clone(), detail);
    let length = fs::metadata(&entry.path).map_err(|error| failed(format!("cannot be read: {error}")))?.len();
    if length > TEXT_BYTES_MAX {
        return Err(failed(format!("has {length} bytes, at most {TEXT_BYTES_MAX} are allowed")));
    }
    fs::read_to_string(&entry.path).map_err(|error| failed(format!("cannot be read: {error}")))
}

/// A file's name as what it names.
fn decoded(name: &str) -> Option<String> {
    let mut bytes = name.bytes();
    let mut out = Vec::with_capacity(name.len());
    while let Some(byte) = bytes.next() {
        if byte == b'%' {
            let mut digit = || bytes.next().and_then(|digit| char::from(digit).to_digit(16));
            let (high, low) = (digit()?, digit()?);
            out.push(u8::try_from(high * 16 + low).ok()?);
        } else {
            out.push(byte);
        }
    }
    String::from_utf8(out).ok()
}

const SUPPORTED: &str = "aggregates/<category>.js, aggregates/<category>.json, schemas/<type>/<version>.json, \
    schemas/<type>/<version>.upcast.js, projections/<view>.toml, subscriptions/<name>.toml and exports/<name>.toml";
const SCHEMA_FILES: &str = "<type>/<version>.json and <type>/<version>.upcast.js";
/// As long as a module may be.
const TEXT_BYTES_MAX: u64 = 256 << 10;
const DEFINITIONS_MAX: usize = 10_000;

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().expect("a temporary directory");
        for (file, text) in files {
            let path = folder.path().join(file);
            fs::create_dir_all(path.parent().expect("a file lies in a folder")).unwrap();
            fs::write(path, text).unwrap();
        }
        folder
    }

    #[test]
    fn schemas_come_by_number_and_before_aggregates() {
        let folder = folder(&[
            ("aggregates/order.js", "export const evolve = {};"),
            ("aggregates/user.json", "{\"evolve\": \"merge\"}"),
            ("schemas/a%2Fb/10.json", "{\"schema\": {}}"),
            ("schemas/a%2Fb/2.json", "{\"schema\": true }\n"),
            ("schemas/a%2Fb/2.upcast.js", "(data) => data\n"),
            ("aggregates/.hidden", ""),
            ("projections/b.toml", "module = \"b.js\"\n"),
            ("projections/b.js", "export {};"),
            ("projections/c.json", "{}"),
            ("subscriptions/mail.toml", ""),
            ("exports/lake.toml", ""),
        ]);
        let found = read(folder.path()).unwrap();
        let names: Vec<_> = found.iter().map(|found| (found.kind, found.name.as_str(), found.file.as_str())).collect();
        assert_eq!(
            names,
            [
                (Kind::Schema, "a/b/2", "schemas/a%2Fb/2.json"),
                (Kind::Schema, "a/b/10", "schemas/a%2Fb/10.json"),
                (Kind::Aggregate, "order", "aggregates/order.js"),
                (Kind::Aggregate, "user", "aggregates/user.json"),
                (Kind::Projection, "b", "projections/b.toml"),
                (Kind::Projection, "c", "projections/c.json"),
                (Kind::Subscription, "mail", "subscriptions/mail.toml"),
                (Kind::Export, "lake", "exports/lake.toml"),
            ]
        );
        assert_eq!(found[0].text, "{\"schema\": true,\"upcast\":\"(data) => data\"}");
        assert_eq!(found[0].place(Some(3), Some(4)), "schemas/a%2Fb/2.upcast.js:3:4");
        assert_eq!(found[4].text, "{\n  \"module\": \"b.js\",\n  \"script\": \"export {};\"\n}");
        assert_eq!((found[4].format, found[4].place(Some(1), None).as_str()), (Format::Json, "projections/b.js:1"));
        assert_eq!(found[0].place(None, None), "schemas/a%2Fb/2.json");
    }

    #[test]
    fn what_is_not_known_is_refused_with_what_is() {
        for (files, place, detail) in [
            (&[("views/a.toml", "")][..], "views", "projections/<view>.toml"),
            (&[("projections/a.yaml", "")], "projections/a.yaml", "<view>.toml"),
            (&[("projections/a.js", "")], "projections/a.js", "named by no projection"),
            (&[("projections/a.toml", "module = 'b.js'")], "projections/a.toml", "does not lie beside it"),
            (&[("projections/a.toml", ""), ("projections/a.json", "{}")], "projections/a.toml", "a second time"),
            (&[("subscriptions/a.js", "")], "subscriptions/a.js", "<name>.toml"),
            (&[("exports/a.yaml", "")], "exports/a.yaml", "exports/ holds <name>.toml"),
            (&[("readme.md", "")], "readme.md", "aggregates/<category>.js"),
            (&[("aggregates/a.ts", "")], "aggregates/a.ts", "<category>.js"),
            (&[("aggregates/a.js", ""), ("aggregates/a.json", "")], "aggregates/a.json", "a second time"),
            (&[("aggregates/%.js", "")], "aggregates/%.js", "percent-encoding"),
            (&[("schemas/a.json", "")], "schemas/a.json", "<version>.json"),
            (&[("schemas/a/one.json", "")], "schemas/a/one.json", "<version>.json"),
            (&[("schemas/a/01.json", "")], "schemas/a/01.json", "<version>.json"),
            (&[("schemas/a/2.upcast.js", "")], "schemas/a/2.upcast.js", "no 2.json beside it"),
            (&[("schemas/a/2.json", "{"), ("schemas/a/2.upcast.js", "")], "schemas/a/2.json", "is not JSON"),
            (&[("schemas/a/2.json", "{\"upcast\":\"x\"}"), ("schemas/a/2.upcast.js", "")], "schemas/a/2.json", "another"),
        ] {
            let folder = folder(files);
            let fault = read(folder.path()).unwrap_err();
            assert_eq!(fault.place, place, "{files:?}: {fault}");
            assert!(fault.detail.contains(detail), "{files:?}: {fault}");
        }
        let folder = folder(&[]);
        assert!(read(&folder.path().join("nowhere")).unwrap_err().detail.contains("cannot be read"));
        fs::create_dir_all(folder.path().join("aggregates")).unwrap();
        fs::write(folder.path().join("aggregates/long.js"), " ".repeat((256 << 10) + 1)).unwrap();
        assert!(read(folder.path()).unwrap_err().detail.contains("at most"));
    }
}
