//! How does a definition come into force? Checked first, then an event of `$definitions`, then in memory: what is refused changes nothing.

use std::sync::Arc;

use factum_storage as storage;
use serde::Deserialize;
use storage::Direction;
use storage::ExpectedVersion;
use storage::StreamAppend;
use storage::StreamName;
use storage::Transaction;
use storage::Version;

use super::Database;
use super::exports::ExportSpec;
use super::projections::check_name;
use super::projections::from_refused;
use super::refusals::from_schema;
use super::refusals::from_script;
use super::subscriptions;
use crate::Error;
use crate::aggregate::Evolver;
use crate::definition;
use crate::definition::Definition;
use crate::definition::Definitions;
use crate::definition::Format;
use crate::definition::Key;
use crate::definition::Kind;
use crate::error::DefinitionFault;
use crate::projection::Spec;
use crate::schema;
use crate::schema::SchemaDefinition;
use crate::script::Module;
use crate::shard::Write;
use crate::shard::system_event;
use crate::subscription::group::Terms;

/// What a definition changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// There was none of this name.
    Created,
    /// It replaced one.
    Changed,
    /// It was in force already.
    Same,
}

/// What a definition's text came to.
enum Compiled {
    Aggregate(Evolver),
    Schema(SchemaDefinition),
    Projection(Spec),
    Subscription(Terms),
    Export(ExportSpec),
}

impl Database {
    /// Puts a definition in force and returns once that is on disk; with `dry_run` only says what it would change. The name of an
    /// aggregate is its category, that of a schema `<type>/<version>`.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidDefinition`] with the place in the text, [`Error::Invalid`] for the name or a document that can't be read,
    /// [`Error::DefinitionExists`] for a schema that is there with other content, and as [`Database::append`].
    pub async fn define(&self, kind: Kind, name: &str, format: Format, text: &str, dry_run: bool) -> Result<Change, Error> {
        let key = Key { kind, name: name.to_owned() };
        let mut definitions = self.inner.definitions.lock().await;
        let before = definitions.get(&key);
        if before.is_some_and(|before| before.format == format && before.text == text) {
            return Ok(Change::Same);
        }
        if kind == Kind::Aggregate && self.inner.aggregates.evolver(name).is_of_type() {
            return Err(invalid("category", "a Rust type of the program that runs this database folds it"));
        }
        let change = if before.is_some() { Change::Changed } else { Change::Created };
        let compiled = match self.compile(&key, format, text, before).await? {
            // The same in other words.
            (_, true) => return Ok(Change::Same),
            (compiled, false) => compiled,
        };
        if dry_run {
            return Ok(change);
        }
        if let (Compiled::Subscription(terms), Change::Created) = (&compiled, change) {
            // Its progress has a place before anybody can ask for it.
            self.inner.groups.prepare(name, terms).await?;
        }
        let data = definition::defined_data(&key, format, text);
        self.record(&mut definitions, definition::DEFINED, data).await?;
        self.put_in_force(&key, compiled).await?;
        Ok(change)
    }

    /// Ends a definition: a category folds by merging again, a subscription is gone with its progress. A schema stays for ever.
    ///
    /// # Errors
    ///
    /// [`Error::DefinitionNotFound`], and as [`Database::append`].
    pub async fn remove_definition(&self, kind: Kind, name: &str) -> Result<(), Error> {
        if matches!(kind, Kind::Schema | Kind::Projection | Kind::Export) {
            return Err(invalid("kind", "is not one that can be removed"));
        }
        let key = Key { kind, name: name.to_owned() };
        let mut definitions = self.inner.definitions.lock().await;
        if definitions.get(&key).is_none() {
            return Err(Error::DefinitionNotFound { what: described(&key) });
        }
        self.record(&mut definitions, definition::REMOVED, definition::removed_data(&key)).await?;
        match kind {
            Kind::Aggregate => self.inner.aggregates.define(name, None),
            Kind::Subscription => self.inner.groups.remove(name).await?,
            Kind::Schema | Kind::Projection | Kind::Export => {}
        }
        Ok(())
    }

    /// A definition in force.
    ///
    /// # Errors
    ///
    /// [`Error::DefinitionNotFound`].
    pub async fn definition(&self, kind: Kind, name: &str) -> Result<Definition, Error> {
        let key = Key { kind, name: name.to_owned() };
        let definitions = self.inner.definitions.lock().await;
        definitions.get(&key).cloned().ok_or_else(|| Error::DefinitionNotFound { what: described(&key) })
    }

    /// All definitions of a kind in force, by name.
    pub async fn definitions(&self, kind: Kind) -> Vec<Definition> {
        let mut found: Vec<_> = self.inner.definitions.lock().await.of_kind(kind).cloned().collect();
        found.sort_by_cached_key(|definition| order(&definition.key));
        found
    }

    /// The commands that a category decides.
    #[must_use]
    pub fn commands(&self, category: &str) -> Vec<String> {
        self.inner.aggregates.evolver(category).commands.clone()
    }

    /// The hash of what makes a category's states; all zero if nobody has defined it.
    #[must_use]
    pub fn definition_hash(&self, category: &str) -> [u8; 32] {
        let aggregates = &self.inner.aggregates;
        aggregates.making(&aggregates.evolver(category))
    }

    /// Folds `$definitions` and puts in force what is defined.
    pub(super) async fn load_definitions(&self) -> Result<(), Error> {
        let mut definitions = self.inner.definitions.lock().await;
        let stream = definitions_stream();
        let mut from = Some(Version::new(1));
        while let Some(version) = from {
            let home = self.router().locate(stream.as_str());
            let slice = match home.read_stream(stream.clone(), Some(version), Direction::Forward, READ_EVENTS, READ_BYTES).await {
                Ok(Some(slice)) => slice,
                Ok(None) => break,
                // The rest of the log can still be read, and that is what somebody with a damaged log needs most.
                Err(error @ (Error::Storage(storage::Error::Corrupt(_)) | Error::ShardFailed { .. })) => {
                    tracing::error!(%error, "$definitions can't be read: what it defines is not in force");
                    break;
                }
                Err(error) => return Err(error),
            };
            for (_, event) in &slice.events {
                if let Err(detail) = definitions.apply(event) {
                    tracing::error!(version = event.version().get(), detail, "an event of $definitions can't be read and is left out");
                }
            }
            from = slice.next;
        }
        let mut in_force: Vec<_> = [Kind::Schema, Kind::Aggregate, Kind::Projection, Kind::Subscription, Kind::Export]
            .iter()
            .flat_map(|kind| definitions.of_kind(*kind).cloned())
            .collect();
        // Schemas first: what comes after may need them.
        in_force.sort_by_cached_key(|definition| (definition.key.kind != Kind::Schema, definition.key.kind, order(&definition.key)));
        for definition in in_force {
            self.revive(&definition).await;
        }
        Ok(())
    }

    /// Puts in force what was accepted before. What this build can't run says so when it is needed.
    async fn revive(&self, definition: &Definition) {
        let Definition { key, format, text, .. } = definition;
        let revived = match (key.kind, format) {
            (Kind::Aggregate, Format::Javascript) => {
                let module = Arc::new(Module::new(file(key), text));
                let evolver = match self.inner.aggregates.sandbox().inspect(&module).await {
                    Ok(exports) => Evolver::of_module(module, exports),
                    Err(error) => {
                        tracing::error!(category = key.name, %error, "the category's module does not run any more: its states can't be told");
                        Evolver::broken(&error)
                    }
                };
                self.inner.aggregates.define(&key.name, Some(evolver));
                Ok(())
            }
            (Kind::Aggregate, Format::Json) => merging(key, text).map(|evolver| self.inner.aggregates.define(&key.name, Some(evolver))),
            (Kind::Projection, format) => match self.projection_spec(key, *format, text).await {
                Ok(spec) => {
                    self.inner.projections.put(spec, definition.is_paused).await.map_err(|refused| from_refused(&file(key), refused))
                }
                Err(error) => Err(error),
            },
            (Kind::Subscription, _) => match subscriptions::terms(key, *format, text) {
                Ok(terms) => self.inner.groups.revive(&key.name, terms).await,
                Err(error) => Err(error),
            },
            (Kind::Export, _) => match Self::export_spec(key, *format, text) {
                Ok(spec) => self.revive_export(key, spec).await,
                Err(error) => Err(error),
            },
            (Kind::Aggregate, Format::Toml) => Err(invalid("format", "an aggregate is a JavaScript module or a JSON document")),
            (Kind::Schema, _) => {
                schema_definition(key, text).and_then(|schema| self.inner.schemas.apply(schema).map_err(|error| from_schema(key, error)))
            }
        };
        if let Err(error) = revived {
            tracing::error!(name = key.name, kind = ?key.kind, %error, "a definition that was accepted once can't be put in force");
        }
    }

    /// What the text means, and whether that is in force already.
    async fn compile(&self, key: &Key, format: Format, text: &str, before: Option<&Definition>) -> Result<(Compiled, bool), Error> {
        match (key.kind, format) {
            (Kind::Aggregate, Format::Javascript) => {
                check_category(&key.name)?;
                let module = Arc::new(Module::new(file(key), text));
                let exports = self.inner.aggregates.sandbox().inspect(&module).await.map_err(|error| from_script(key, &error))?;
                if exports.project {
                    let detail = "exports project: it is a projection's module; an aggregate's exports evolve and decide".to_owned();
                    return Err(fault(DefinitionFault { what: file(key), detail, ..DefinitionFault::default() }));
                }
                Ok((Compiled::Aggregate(Evolver::of_module(module, exports)), false))
            }
            (Kind::Aggregate, Format::Json) => {
                check_category(&key.name)?;
                Ok((Compiled::Aggregate(merging(key, text)?), false))
            }
            (Kind::Schema, Format::Json) => {
                let schema = schema_definition(key, text)?;
                let change = self.inner.schemas.check(&schema).await.map_err(|error| from_schema(key, error))?;
                Ok((Compiled::Schema(schema), change == schema::Change::Same))
            }
            (Kind::Projection, format) => {
                let spec = self.projection_spec(key, format, text).await?;
                self.inner.projections.check(&spec).map_err(|refused| from_refused(&file(key), refused))?;
                let present = self.inner.projections.get(&key.name).map(|present| present.spec());
                let is_same = present.is_some_and(|present| present.text == spec.text && present.on_error == spec.on_error);
                Ok((Compiled::Projection(spec), is_same))
            }
            (Kind::Subscription, _) => {
                let (terms, is_same) = self.check_subscription(key, format, text, before)?;
                Ok((Compiled::Subscription(terms), is_same))
            }
            (Kind::Export, _) => {
                let (spec, is_same) = self.check_export(key, format, text)?;
                Ok((Compiled::Export(spec), is_same))
            }
            (Kind::Aggregate, Format::Toml) => Err(invalid("format", "an aggregate is a JavaScript module or a JSON document")),
            (Kind::Schema, Format::Javascript | Format::Toml) => Err(invalid("format", "a schema is a JSON document")),
        }
    }

    async fn put_in_force(&self, key: &Key, compiled: Compiled) -> Result<(), Error> {
        match compiled {
            Compiled::Aggregate(evolver) => self.inner.aggregates.define(&key.name, Some(evolver)),
            Compiled::Schema(schema) => {
                self.inner.schemas.apply(schema).map_err(|error| from_schema(key, error))?;
                self.inner.aggregates.reshaped();
            }
            Compiled::Projection(spec) => {
                self.inner.projections.put(spec, false).await.map_err(|refused| from_refused(&file(key), refused))?;
            }
            Compiled::Subscription(terms) => self.inner.groups.define(&key.name, terms).await,
            Compiled::Export(spec) => self.put_export(key, spec).await?,
        }
        Ok(())
    }

    /// What a projection's text means, its module included.
    pub(super) async fn projection_spec(&self, key: &Key, format: Format, text: &str) -> Result<Spec, Error> {
        check_name(&key.name)?;
        let spec = Spec::read(&key.name, &file(key), format, text).map_err(fault)?;
        spec.check_module(self.inner.aggregates.sandbox()).await.map_err(|error| from_script(key, &error))?;
        Ok(spec)
    }

    pub(super) async fn record(&self, definitions: &mut Definitions, event_type: &str, data: bytes::Bytes) -> Result<(), Error> {
        let stream = definitions_stream();
        let event = system_event(event_type, data);
        // One that was stored and could not be read back is caught up with first.
        self.catch_up(definitions).await?;
        let append = StreamAppend { stream: stream.clone(), expected: ExpectedVersion::Exact(definitions.version), events: vec![event] };
        self.write(&stream, Write::Transaction(Transaction { appends: vec![append], conditions: Vec::new() })).await?;
        self.catch_up(definitions).await
    }

    /// Takes what was stored behind what is known.
    async fn catch_up(&self, definitions: &mut Definitions) -> Result<(), Error> {
        let stream = definitions_stream();
        let shard = self.router().locate(stream.as_str());
        let next = Some(definitions.version.next());
        let slice = shard.read_stream(stream, next, Direction::Forward, READ_EVENTS, READ_BYTES).await?;
        for (_, event) in slice.iter().flat_map(|slice| &slice.events) {
            definitions.apply(event).map_err(|detail| Error::Unavailable { shard: shard.number(), detail })?;
        }
        Ok(())
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct MergingDocument {
    #[serde(rename = "evolve")]
    _evolve: Merge,
    snapshot_every: Option<u64>,
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum Merge {
    Merge,
}

fn merging(key: &Key, text: &str) -> Result<Evolver, Error> {
    let document: MergingDocument = serde_json::from_str(text).map_err(|error| {
        let place = |number: usize| u32::try_from(number).ok();
        let detail = format!("{error}; a definition in JSON is {{\"evolve\": \"merge\", \"snapshot_every\": 100}}");
        fault(DefinitionFault {
            what: file(key),
            detail,
            line: place(error.line()),
            column: place(error.column()),
            ..DefinitionFault::default()
        })
    })?;
    let every = document.snapshot_every.unwrap_or(100);
    if !(1..=SNAPSHOT_EVERY_MAX).contains(&every) {
        let detail = format!("must be a number from 1 to {SNAPSHOT_EVERY_MAX}");
        return Err(fault(DefinitionFault {
            what: file(key),
            detail,
            pointer: Some("/snapshot_every".to_owned()),
            ..DefinitionFault::default()
        }));
    }
    Ok(Evolver::merging(every))
}

fn schema_definition(key: &Key, text: &str) -> Result<SchemaDefinition, Error> {
    let (event_type, version) = schema_name(&key.name)?;
    SchemaDefinition::parse(event_type, version, text.as_bytes()).map_err(|error| from_schema(key, error))
}

/// The type and version that a schema's name holds.
fn schema_name(name: &str) -> Result<(&str, u16), Error> {
    let split = name.rsplit_once('/').and_then(|(event_type, version)| Some((event_type, version.parse::<u16>().ok()?)));
    let (event_type, version) =
        split.filter(|(_, version)| *version > 0).ok_or_else(|| invalid("schema_version", "must be a number from 1 to 65535"))?;
    storage::check_name(event_type).map_err(|error| invalid("type", &error.to_string()))?;
    Ok((event_type, version))
}

fn check_category(category: &str) -> Result<(), Error> {
    if category.starts_with('$') {
        return Err(Error::SystemStream { stream: category.to_owned() });
    }
    // As the name of one of its streams would be checked.
    crate::aggregate::stream_of(category, "1").map(drop).map_err(|(_, detail)| invalid("category", &detail))
}

/// By name, versions by number.
fn order(key: &Key) -> (String, u16) {
    match key.kind {
        Kind::Aggregate | Kind::Projection | Kind::Subscription | Kind::Export => (key.name.clone(), 0),
        Kind::Schema => {
            schema_name(&key.name).map_or_else(|_| (key.name.clone(), 0), |(event_type, version)| (event_type.to_owned(), version))
        }
    }
}

fn definitions_stream() -> StreamName {
    StreamName::new(definition::STREAM).expect("the name keeps the rules")
}

/// Where the definition would lie in a folder of definitions.
pub(super) fn file(key: &Key) -> String {
    match key.kind {
        Kind::Aggregate => format!("aggregates/{}.js", key.name),
        Kind::Schema => format!("schemas/{}.json", key.name),
        Kind::Projection => format!("projections/{}.toml", key.name),
        Kind::Subscription => format!("subscriptions/{}.toml", key.name),
        Kind::Export => format!("exports/{}.toml", key.name),
    }
}

pub(super) fn described(key: &Key) -> String {
    match key.kind {
        Kind::Aggregate => format!("category {}", key.name),
        Kind::Schema => format!("schema {}", key.name),
        Kind::Projection => format!("projection {}", key.name),
        Kind::Subscription => format!("subscription {}", key.name),
        Kind::Export => format!("export {}", key.name),
    }
}

fn invalid(field: &str, detail: &str) -> Error {
    Error::Invalid { field: field.to_owned(), detail: detail.to_owned() }
}

pub(super) fn fault(fault: DefinitionFault) -> Error {
    Error::InvalidDefinition(Box::new(fault))
}

const READ_EVENTS: usize = 1000;
const READ_BYTES: usize = 4 << 20;
const SNAPSHOT_EVERY_MAX: u64 = 1_000_000;
