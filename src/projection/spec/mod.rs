//! What does a projection's definition say?

use std::collections::BTreeSet;
use std::collections::HashMap;
use std::sync::Arc;

use factum_storage::Filter;
use foldhash::fast::RandomState;

use super::source_event::Wanted;
use crate::definition::Format;
use crate::error::DefinitionFault;
use crate::script::Module;
use crate::script::Sandbox;
use crate::script::ScriptError;

mod column;
mod column_text;
mod document;
mod handler;
mod path;

#[cfg(test)]
mod tests;

pub use column::Column;
pub use column::ColumnType;
pub use column::Columns;
pub use document::OnError;
pub(crate) use handler::Handler;
pub(crate) use path::Found;
pub(crate) use path::Path;

use document::Document;
use document::Handlers;
use document::TargetKind;
use path::DataMember;

/// A projection's definition, understood.
#[derive(Clone, Debug)]
pub(crate) struct Spec {
    pub(crate) name: String,
    pub(crate) source: Filter,
    pub(crate) target: TargetSpec,
    pub(crate) columns: Arc<Columns>,
    pub(crate) on_error: OnError,
    pub(crate) logic: Logic,
    /// All that decides what the rows are, as JSON: two definitions of the same text make the same rows in the same place.
    pub(crate) text: String,
}

/// Where the rows go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum TargetSpec {
    Embedded,
    Postgres { url_env: String, schema: String, table: String },
}

/// What makes changes of events.
#[derive(Clone, Debug)]
pub(crate) enum Logic {
    Declared(Arc<Declared>),
    Module(Arc<Module>),
    /// A Rust type of the program that embeds Factum.
    Native(Arc<dyn super::Projection>),
}

/// The handlers of a definition without a module.
#[derive(Debug)]
pub(crate) struct Declared {
    pub(crate) handlers: HashMap<String, Vec<Handler>, RandomState>,
    pub(crate) wanted: Wanted,
}

impl Spec {
    /// Reads a definition. `what` is its file, for messages.
    ///
    /// # Errors
    ///
    /// What is wrong with it, and where.
    pub(crate) fn read(name: &str, what: &str, format: Format, text: &str) -> Result<Self, DefinitionFault> {
        let fault = |pointer: String, detail: String| {
            let pointer = Some(pointer).filter(|pointer| !pointer.is_empty());
            DefinitionFault { what: what.to_owned(), detail, pointer, ..DefinitionFault::default() }
        };
        if text.len() > TEXT_BYTES_MAX {
            return Err(fault(String::new(), format!("has {} bytes, at most {TEXT_BYTES_MAX} are allowed", text.len())));
        }
        let document = Document::read(what, format, text)?;
        let declared = document.columns.0.iter().map(|(name, text)| (name.as_str(), text.as_str()));
        let columns = Columns::read(declared).map_err(|(column, detail)| {
            let pointer = column.map_or_else(|| "/columns".to_owned(), |column| format!("/columns/{column}"));
            fault(pointer, detail)
        })?;
        let logic = logic(&columns, &document, what).map_err(|(pointer, detail)| fault(pointer, detail))?;
        let target = target(name, &document.target).map_err(|(pointer, detail)| fault(pointer, detail))?;
        let source = Filter {
            categories: document.source.categories.clone(),
            types: document.source.types.clone(),
            tags: document.source.tags.clone(),
            stream_prefix: document.source.stream_prefix.clone(),
            ..Filter::default()
        };
        let same = Document { on_error: OnError::Fail, module: None, ..document.clone() };
        let text = serde_json::to_string(&same).map_err(|error| fault(String::new(), error.to_string()))?;
        Ok(Self { name: name.to_owned(), source, target, columns: Arc::new(columns), on_error: document.on_error, logic, text })
    }
}

impl Columns {
    /// Their names, in order.
    #[must_use]
    pub fn names(&self) -> Vec<&str> {
        self.list.iter().map(|column| column.name.as_str()).collect()
    }
}

fn logic(columns: &Columns, document: &Document, what: &str) -> Result<Logic, handler::Wrong> {
    match (&document.script, &document.module) {
        (Some(_), _) if !document.on.is_empty() => {
            return Err(("/on".to_owned(), "there is a module, whose `project` is called for every event".to_owned()));
        }
        (Some(script), module) => {
            let file = module.clone().unwrap_or_else(|| what.to_owned());
            return Ok(Logic::Module(Arc::new(Module::new(file, script))));
        }
        (None, Some(_)) => {
            let detail = "names a file that only `factum apply` can read; put the module's text into `script`";
            return Err(("/module".to_owned(), detail.to_owned()));
        }
        (None, None) if document.on.is_empty() => {
            return Err(("/on".to_owned(), "says nothing: it needs a table `[on.<event type>]`, or a module".to_owned()));
        }
        (None, None) => {}
    }
    let mut handlers: HashMap<String, Vec<Handler>, RandomState> = HashMap::default();
    for (event_type, documents) in &document.on.0 {
        let below = format!("/on/{}", event_type.replace('~', "~0").replace('/', "~1"));
        factum_storage::check_name(event_type).map_err(|error| (below.clone(), format!("the event type {error}")))?;
        let read = match documents {
            Handlers::One(handler) => {
                vec![Handler::read(columns, handler).map_err(|(pointer, detail)| (format!("{below}{pointer}"), detail))?]
            }
            Handlers::Several(list) => {
                let each = list.iter().enumerate().map(|(index, handler)| {
                    Handler::read(columns, handler).map_err(|(pointer, detail)| (format!("{below}/{index}{pointer}"), detail))
                });
                each.collect::<Result<_, _>>()?
            }
        };
        handlers.insert(event_type.clone(), read);
    }
    let mut wanted = BTreeSet::new();
    let mut wants_all = false;
    for path in handlers.values().flatten().flat_map(Handler::paths) {
        match path.data_member() {
            DataMember::No => {}
            DataMember::One(member) => {
                wanted.insert(member.to_owned());
            }
            DataMember::All => wants_all = true,
        }
    }
    let wanted = if wants_all { Wanted::All } else { Wanted::Members(wanted) };
    Ok(Logic::Declared(Arc::new(Declared { handlers, wanted })))
}

fn target(name: &str, document: &document::Target) -> Result<TargetSpec, handler::Wrong> {
    let given = [("url_env", &document.url_env), ("schema", &document.schema), ("table", &document.table)];
    match document.kind {
        TargetKind::Embedded => match given.iter().find(|(_, value)| value.is_some()) {
            Some((field, _)) => Err((format!("/target/{field}"), "only means something with kind = \"postgres\"".to_owned())),
            None => Ok(TargetSpec::Embedded),
        },
        TargetKind::Postgres => {
            let url_env = document.url_env.clone().unwrap_or_else(|| "FACTUM_POSTGRES_URL".to_owned());
            let schema = document.schema.clone().unwrap_or_else(|| "public".to_owned());
            let table = document.table.clone().unwrap_or_else(|| name.to_owned());
            for (field, value, bytes_max) in [("schema", &schema, IDENTIFIER_BYTES_MAX), ("table", &table, TABLE_BYTES_MAX)] {
                if value.is_empty() || value.len() > bytes_max || value.chars().any(char::is_control) {
                    return Err((
                        format!("/target/{field}"),
                        format!("{value:?} must be 1 to {bytes_max} bytes without control characters"),
                    ));
                }
            }
            if schema == "factum" {
                return Err(("/target/schema".to_owned(), "factum is where the checkpoints are kept; take another".to_owned()));
            }
            if url_env.is_empty() || !url_env.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_') {
                return Err(("/target/url_env".to_owned(), "must be the name of an environment variable of the server".to_owned()));
            }
            Ok(TargetSpec::Postgres { url_env, schema, table })
        }
    }
}

/// As long as a module may be, and its document around it.
const TEXT_BYTES_MAX: usize = 256 << 10;
/// What Postgres keeps of a name.
const IDENTIFIER_BYTES_MAX: usize = 63;
/// What is left of it for names that are made of the table's.
const TABLE_BYTES_MAX: usize = 48;

impl Spec {
    /// The definition that [`Spec::text`] is of.
    ///
    /// # Errors
    ///
    /// What this program can't run of it.
    pub(crate) fn of_text(name: &str, text: &str) -> Result<Self, DefinitionFault> {
        Self::read(name, name, Format::Json, text)
    }
}

impl Columns {
    /// The columns of a definition's [`Spec::text`], whatever else stands in it.
    pub(crate) fn of_text(text: &str) -> Option<Self> {
        #[derive(serde::Deserialize)]
        struct Only {
            columns: document::Entries<String>,
        }
        let Only { columns } = serde_json::from_str(text).ok()?;
        Self::read(columns.0.iter().map(|(name, text)| (name.as_str(), text.as_str()))).ok()
    }
}

impl Spec {
    /// What a Rust projection says of itself.
    ///
    /// # Errors
    ///
    /// What is wrong with its columns.
    pub(crate) fn native(projection: Arc<dyn super::Projection>) -> Result<Self, DefinitionFault> {
        let name = projection.name().to_owned();
        let fault = |pointer: String, detail| DefinitionFault {
            what: format!("projection {name}"),
            detail,
            pointer: Some(pointer),
            ..DefinitionFault::default()
        };
        let declared = projection.columns();
        let columns = Columns::read(declared.iter().copied()).map_err(|(column, detail)| {
            fault(column.map_or_else(|| "/columns".to_owned(), |column| format!("/columns/{column}")), detail)
        })?;
        let source = projection.source();
        #[derive(serde::Serialize)]
        struct Same<'a> {
            columns: document::Entries<&'a str>,
            source: String,
            native: u32,
        }
        let entries = declared.iter().map(|(name, text)| ((*name).to_owned(), *text)).collect();
        let same = Same { columns: document::Entries(entries), source: format!("{source:?}"), native: projection.version() };
        let text = serde_json::to_string(&same).map_err(|error| fault(String::new(), error.to_string()))?;
        Ok(Self {
            name: name.clone(),
            source,
            target: TargetSpec::Embedded,
            columns: Arc::new(columns),
            on_error: OnError::Fail,
            logic: Logic::Native(projection),
            text,
        })
    }

    /// Checks that a module exports what it must, by running it once.
    ///
    /// # Errors
    ///
    /// What is wrong with it.
    pub(crate) async fn check_module(&self, sandbox: &Sandbox) -> Result<(), ScriptError> {
        match &self.logic {
            Logic::Module(module) => super::module::check(sandbox, module).await,
            Logic::Declared(_) | Logic::Native(_) => Ok(()),
        }
    }
}
