//! Which schemas are there, may this one join them, and does data obey the one that it names?

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering;

use foldhash::HashMap;
use parking_lot::RwLock;

use crate::schema::Compatibility;
use crate::schema::compatibility;
use crate::schema::definition::SchemaDefinition;
use crate::schema::document::Document;
use crate::schema::error::SchemaError;
use crate::schema::validator::Validator;
use crate::script::Kind;
use crate::script::Module;
use crate::script::Sandbox;
use crate::script::ScriptError;

/// The schemas of a database. Readers work on a snapshot and never wait for a registration.
pub(crate) struct Registry {
    pub(in crate::schema) sandbox: Sandbox,
    snapshot: RwLock<Arc<Shapes>>,
    /// Of the snapshot: how many types there are.
    types: AtomicUsize,
    /// Of the snapshot: whether any type has more than one version.
    reshapes: AtomicBool,
}

/// All versions of all types.
#[derive(Clone, Default)]
struct Shapes {
    by_type: HashMap<String, Arc<Vec<Shape>>>,
    /// What [`Registry::shape_hash`] answers.
    hash: [u8; 32],
}

impl Shapes {
    /// Adds the next version of its type.
    fn push(&mut self, shape: Shape) {
        Arc::make_mut(self.by_type.entry(shape.definition.event_type.clone()).or_default()).push(shape);
        let mut several: Vec<&Arc<Vec<Shape>>> = self.by_type.values().filter(|versions| versions.len() > 1).collect();
        several.sort_unstable_by_key(|versions| versions.first().map(|shape| &shape.definition.event_type));
        let mut hasher = blake3::Hasher::new();
        // A definition's hash covers its type and version.
        several.iter().flat_map(|versions| versions.iter()).for_each(|shape| {
            hasher.update(&shape.hash);
        });
        self.hash = if several.is_empty() { [0; 32] } else { hasher.finalize().into() };
    }

    /// Whether any type has more than one version.
    fn reshape(&self) -> bool {
        self.hash != [0; 32]
    }
}

/// One registered version.
#[derive(Clone)]
pub(in crate::schema) struct Shape {
    pub(in crate::schema) definition: Arc<SchemaDefinition>,
    /// Of the definition.
    hash: [u8; 32],
    pub(in crate::schema) validator: Arc<Validator>,
    /// From the version before.
    pub(in crate::schema) upcaster: Option<Arc<Module>>,
}

/// What registering a definition would do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    /// Add it.
    New,
    /// Nothing: it is there.
    Same,
}

impl Registry {
    /// A registry without schemas.
    pub(crate) fn new(sandbox: Sandbox) -> Self {
        Self { sandbox, snapshot: RwLock::default(), types: AtomicUsize::new(0), reshapes: AtomicBool::new(false) }
    }

    /// Whether the definition may be registered. Changes nothing.
    ///
    /// # Errors
    ///
    /// [`SchemaError::Exists`], [`SchemaError::NotNext`], [`SchemaError::Invalid`], [`SchemaError::Incompatible`], and
    /// [`SchemaError::Script`] when the sandbox cannot say whether the upcaster compiles.
    pub(crate) async fn check(&self, definition: &SchemaDefinition) -> Result<Change, SchemaError> {
        if self.place(definition)? == Change::Same {
            return Ok(Change::Same);
        }
        if definition.schema_version == 1 && definition.upcast.is_some() {
            return Err(SchemaError::malformed("upcast", "version 1 has no version before it to come from"));
        }
        let before = self.get(&definition.event_type, definition.schema_version - 1);
        let new = definition.clone();
        let work = tokio::task::spawn_blocking(move || compile(&new).and_then(|_| check_promise(&new, before.as_deref())));
        // It is never cancelled, so what is not an answer is a panic.
        work.await.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()))?;
        if let Some(upcaster) = upcaster(definition) {
            self.sandbox.inspect(&upcaster).await.map_err(upcaster_fault)?;
        }
        Ok(Change::New)
    }

    /// Takes a definition that was checked, by this or an earlier run. One that is there already changes nothing.
    ///
    /// # Errors
    ///
    /// [`SchemaError::Exists`], [`SchemaError::NotNext`], [`SchemaError::Invalid`] when it does not compile (any more). The registry then
    /// is as it was.
    pub(crate) fn apply(&self, definition: SchemaDefinition) -> Result<(), SchemaError> {
        if self.place(&definition)? == Change::Same {
            return Ok(());
        }
        let hash = definition.hash();
        let shape =
            Shape { hash, validator: Arc::new(compile(&definition)?), upcaster: upcaster(&definition), definition: Arc::new(definition) };
        let mut snapshot = self.snapshot.write();
        if place(&snapshot, &shape.definition)? == Change::Same {
            return Ok(());
        }
        let mut shapes = Shapes::clone(&snapshot);
        shapes.push(shape);
        self.types.store(shapes.by_type.len(), Ordering::Release);
        self.reshapes.store(shapes.reshape(), Ordering::Release);
        *snapshot = Arc::new(shapes);
        Ok(())
    }

    /// One registered version.
    pub(crate) fn get(&self, event_type: &str, schema_version: u16) -> Option<Arc<SchemaDefinition>> {
        let versions = self.shapes_of(event_type)?;
        Some(shape(&versions, schema_version)?.definition.clone())
    }

    /// The versions of a type, oldest first; empty if it has no schema.
    #[cfg(test)]
    pub(crate) fn versions(&self, event_type: &str) -> Vec<Arc<SchemaDefinition>> {
        self.shapes_of(event_type)
            .into_iter()
            .flat_map(|versions| versions.iter().map(|shape| shape.definition.clone()).collect::<Vec<_>>())
            .collect()
    }

    /// The types that have a schema, by name, with their newest version.
    #[cfg(test)]
    pub(crate) fn types(&self) -> Vec<(String, u16)> {
        let snapshot = self.snapshot.read().clone();
        let mut types: Vec<(String, u16)> = snapshot.by_type.iter().map(|(name, versions)| (name.clone(), newest(versions))).collect();
        types.sort_unstable();
        types
    }

    /// The newest version of a type; none if it has no schema.
    pub(crate) fn newest(&self, event_type: &str) -> Option<u16> {
        self.shapes_of(event_type).map(|versions| newest(&versions))
    }

    /// Whether data may be appended under a schema version. Data of a type without schema always may.
    ///
    /// # Errors
    ///
    /// [`SchemaError::UnknownVersion`], [`SchemaError::Violation`].
    pub(crate) fn validate(&self, event_type: &str, schema_version: u16, data: &[u8]) -> Result<(), SchemaError> {
        let Some(versions) = self.shapes_of(event_type) else { return Ok(()) };
        let Some(shape) = shape(&versions, schema_version) else {
            return Err(SchemaError::UnknownVersion { event_type: event_type.to_owned(), schema_version, newest: newest(&versions) });
        };
        let violations = shape.validator.violations(data);
        if violations.is_empty() {
            Ok(())
        } else {
            Err(SchemaError::Violation { event_type: event_type.to_owned(), schema_version, violations })
        }
    }

    /// Whether any type has more than one version. If not, reads need nothing of this.
    pub(crate) fn reshapes(&self) -> bool {
        self.reshapes.load(Ordering::Acquire)
    }

    /// How many versions of types there are; never fewer than before.
    #[cfg(feature = "analytics")]
    pub(crate) fn count(&self) -> usize {
        self.snapshot.read().by_type.values().map(|versions| versions.len()).sum()
    }

    /// What a folded state depends on besides its own module: every version of every type that has more than one. All zero when none has.
    pub(crate) fn shape_hash(&self) -> [u8; 32] {
        self.snapshot.read().hash
    }

    /// The versions of a type, oldest first.
    pub(in crate::schema) fn shapes_of(&self, event_type: &str) -> Option<Arc<Vec<Shape>>> {
        if self.types.load(Ordering::Acquire) == 0 {
            return None;
        }
        self.snapshot.read().by_type.get(event_type).cloned()
    }

    fn place(&self, definition: &SchemaDefinition) -> Result<Change, SchemaError> {
        place(&self.snapshot.read(), definition)
    }
}

/// Whether the definition is the next one of its type, or there already.
fn place(shapes: &Shapes, definition: &SchemaDefinition) -> Result<Change, SchemaError> {
    let versions = shapes.by_type.get(&definition.event_type).map_or(&[][..], |versions| versions);
    if let Some(there) = shape(versions, definition.schema_version) {
        return if there.hash == definition.hash() { Ok(Change::Same) } else { Err(SchemaError::Exists) };
    }
    let next = newest(versions) + 1;
    if definition.schema_version != next {
        return Err(SchemaError::NotNext { next });
    }
    if versions.is_empty() && shapes.by_type.len() >= TYPES_MAX {
        return Err(SchemaError::malformed("type", format!("there are {TYPES_MAX} types with schemas, which is the most")));
    }
    Ok(Change::New)
}

/// Versions have no gap and begin with 1.
pub(in crate::schema) fn shape(versions: &[Shape], schema_version: u16) -> Option<&Shape> {
    versions.get(usize::from(schema_version).checked_sub(1)?)
}

pub(in crate::schema) fn newest(versions: &[Shape]) -> u16 {
    versions.last().map_or(0, |shape| shape.definition.schema_version)
}

fn compile(definition: &SchemaDefinition) -> Result<Validator, SchemaError> {
    Validator::new(&Document::new(&definition.schema)?)
}

/// Holds a definition to what it promises about the version before.
fn check_promise(new: &SchemaDefinition, old: Option<&SchemaDefinition>) -> Result<(), SchemaError> {
    let Some(old) = old else { return Ok(()) };
    let (backward, forward) = match new.compatibility {
        Compatibility::None => (false, false),
        Compatibility::Backward => (true, false),
        Compatibility::Forward => (false, true),
        Compatibility::Full => (true, true),
    };
    let (old_document, new_document) = (Document::new(&old.schema)?, Document::new(&new.schema)?);
    let mut breaks = Vec::new();
    if backward && new.upcast.is_none() {
        breaks.extend(compatibility::backward_breaks(&old_document, &new_document, old.schema_version, compatibility::Undescribed::Absent));
    }
    if forward {
        breaks.extend(compatibility::forward_breaks(&old_document, &new_document, old.schema_version, compatibility::Undescribed::Absent));
    }
    if breaks.is_empty() { Ok(()) } else { Err(SchemaError::Incompatible { compatibility: new.compatibility, breaks }) }
}

fn upcaster(definition: &SchemaDefinition) -> Option<Arc<Module>> {
    let text = definition.upcast.as_deref()?;
    let name = format!("schemas/{}/{}.upcast.js", definition.event_type, definition.schema_version);
    Some(Arc::new(Module::function(name, text)))
}

/// What is wrong with the function is the definition's fault; that the sandbox has no time for it is not.
fn upcaster_fault(error: ScriptError) -> SchemaError {
    if matches!(error.kind, Kind::Busy | Kind::Died) {
        return SchemaError::Script(error);
    }
    SchemaError::Invalid { detail: format!("upcast: {}", error.message), pointer: None, line: error.line, column: error.column }
}

/// How many types may have schemas.
const TYPES_MAX: usize = 1_000;
