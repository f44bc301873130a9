//! What are the server's settings, and where did each of them come from?
//!
//! Every setting is one line of [`SETTINGS`]: it drives reading, checking, `factum config` and `docs/config.md`.
//! Later layers win: built-in default, `factum.toml`, environment (`FACTUM_SECTION__KEY`), flag.

mod auth;
mod file;
mod issuers;
mod quotas;
mod reference;
mod shards;
mod table;
mod telemetry;
#[cfg(test)]
mod tests;
mod value;

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

pub use auth::AuthSettings;
pub use auth::Secret;
pub use auth::SharedSecretSettings;
pub use auth::SigningAlgorithm;
pub use issuers::IssuerSettings;
pub use quotas::QuotaSettings;
pub use reference::markdown;
pub use shards::RegionSettings;
pub use shards::ShardSettings;
pub use shards::StrategyName;
pub use table::SETTINGS;
pub use table::Setting;
pub use telemetry::TelemetrySettings;
pub use value::bytes_text;
pub use value::duration_text;
pub use value::parse_bytes;
pub use value::parse_duration;

use crate::telemetry::LogFormat;

/// All settings, checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// `[server]`
    pub server: ServerSettings,
    /// `[shards]`
    pub shards: ShardSettings,
    /// `[tls]`
    pub tls: TlsSettings,
    /// `[auth]`
    pub auth: AuthSettings,
    /// `[limits]`
    pub limits: LimitSettings,
    /// `[quotas]`
    pub quotas: QuotaSettings,
    /// `[storage]`
    pub storage: StorageSettings,
    /// `[scripts]`
    pub scripts: ScriptSettings,
    /// `[sql]`
    pub sql: SqlSettings,
    /// `[exports]`
    pub exports: ExportSettings,
    /// `[log]`
    pub log: LogSettings,
    /// `[telemetry]`
    pub telemetry: TelemetrySettings,
}

/// Where the server is and how it stops.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerSettings {
    /// Where it listens; port 0 takes a free one.
    pub listen: SocketAddr,
    /// The data directory.
    pub data: PathBuf,
    /// A folder of definitions that are put in force at the start.
    pub definitions: Option<PathBuf>,
    /// Whether it may listen beyond loopback without authentication.
    pub insecure: bool,
    /// How long work under way may take when the server stops.
    pub shutdown_timeout: Duration,
}

/// What connections are encrypted with: nothing without a certificate.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TlsSettings {
    /// The server's certificate with those that lead to its authority, in PEM.
    pub certificate: Option<PathBuf>,
    /// Its private key, in PEM.
    pub key: Option<PathBuf>,
    /// The authorities of clients, in PEM: without a certificate of theirs nobody gets in.
    pub client_ca: Option<PathBuf>,
}

/// What one client may ask for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LimitSettings {
    /// Most bytes of a request's body, decompressed. Imports are streamed and not bound by it.
    pub body: u64,
    /// Most bytes of one event's data.
    pub event: u64,
    /// Most events of one append or transaction.
    pub batch_events: usize,
    /// Most connections at once.
    pub connections: usize,
    /// How long a client may take to send a request's head.
    pub header_read_timeout: Duration,
    /// How long a client may pause while it sends a body.
    pub body_read_timeout: Duration,
}

/// How the log and its index are kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StorageSettings {
    /// What an acknowledgement means.
    pub durability: Durability,
    /// Bytes of a segment file.
    pub segment: u64,
    /// The index is flushed when it is so many events behind the log.
    pub index_flush_events: u64,
    /// Bytes of the index's page cache, for each shard.
    pub index_cache: u64,
    /// Bytes for the states of aggregates that were asked for lately.
    pub aggregate_cache: u64,
}

/// What one call of a definition's function may use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScriptSettings {
    /// Bytes of memory.
    pub memory: u64,
    /// Time by the wall.
    pub time: Duration,
    /// How many calls run at once; `None` is one for each core.
    pub threads: Option<usize>,
}

/// What queries in SQL may use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SqlSettings {
    /// Bytes of memory, all queries together.
    pub memory: u64,
    /// Bytes of disk, all queries together.
    pub spill: u64,
    /// How long one query may work.
    pub time: Duration,
    /// Rows of one answer.
    pub rows: u64,
    /// How many run at once.
    pub queries: usize,
    /// How many wait.
    pub queue: usize,
    /// How many threads work on one; `None` is one for each core.
    pub threads: Option<usize>,
}

/// What exports may do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExportSettings {
    /// Where their lakes may lie beside `parquet/` in the data directory: urls that theirs may be or begin with.
    pub allow: Vec<String>,
}

/// What is logged and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogSettings {
    /// For people or for machines.
    pub format: LogFormat,
    /// A level, or directives such as `info,factum=debug`.
    pub level: String,
}

/// What an acknowledgement means.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Durability {
    /// What is acknowledged is on disk.
    #[default]
    Strict,
    /// What is acknowledged is with the operating system.
    Relaxed,
}

impl Default for Settings {
    fn default() -> Self {
        load(&Sources::default()).expect("the built-in defaults are valid, a test holds them so").settings
    }
}

/// What the layers above the defaults say.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    /// A file that must be there.
    pub file: Option<PathBuf>,
    /// A file that is read if it is there.
    pub file_if_present: Option<PathBuf>,
    /// Environment variables; those that do not begin with `FACTUM_` are passed over.
    pub environment: Vec<(String, String)>,
    /// Name of the setting (`server.listen`) and its value.
    pub flags: Vec<(&'static str, String)>,
}

impl Sources {
    /// What this process finds: `./factum.toml` unless a file is named, and the environment.
    #[must_use]
    pub fn of_process(file: Option<PathBuf>, flags: Vec<(&'static str, String)>) -> Self {
        let text = |text: std::ffi::OsString| text.to_string_lossy().into_owned();
        Self {
            file_if_present: file.is_none().then(|| PathBuf::from(FILE_NAME)),
            file,
            environment: std::env::vars_os().map(|(name, value)| (text(name), text(value))).collect(),
            flags,
        }
    }
}

/// The settings, and for each the text and the layer it came from.
#[derive(Clone, Debug)]
pub struct Config {
    /// All settings, checked.
    pub settings: Settings,
    /// In the order of [`SETTINGS`].
    pub values: Vec<Value>,
}

/// One setting's value as it was written.
#[derive(Clone, Debug)]
pub struct Value {
    /// Which setting.
    pub setting: &'static Setting,
    /// As written.
    pub text: String,
    /// Where.
    pub source: Source,
}

/// Where a value came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// Built in.
    Default,
    /// This file.
    File(PathBuf),
    /// This environment variable.
    Environment(String),
    /// This flag.
    Flag(&'static str),
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File(path) => write!(f, "file {}", path.display()),
            Self::Environment(name) => write!(f, "environment {name}"),
            Self::Flag(flag) => write!(f, "flag {flag}"),
        }
    }
}

/// Why there are no settings.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The file can't be read or is not TOML.
    #[error("{}: {detail}", .file.display())]
    File {
        /// Which file.
        file: PathBuf,
        /// What is wrong.
        detail: String,
    },
    /// A name that is no setting's.
    #[error("{source_text} sets {name:?}, which is not a setting{}", nearest_text(.nearest.as_deref()))]
    UnknownName {
        /// Where it stands.
        source_text: String,
        /// As written.
        name: String,
        /// What may have been meant.
        nearest: Option<String>,
    },
    /// A value that the setting cannot have.
    #[error("{name} = {value:?} ({source_text}): {detail}")]
    BadValue {
        /// Which setting.
        name: String,
        /// As written.
        value: String,
        /// Where it stands.
        source_text: String,
        /// What is wrong with it.
        detail: String,
    },
}

/// Reads all layers.
///
/// # Errors
///
/// [`Error`] names the layer, the setting and what would be right.
pub fn load(sources: &Sources) -> Result<Config, Error> {
    let mut values: Vec<Value> =
        SETTINGS.iter().map(|setting| Value { setting, text: setting.default.to_owned(), source: Source::Default }).collect();
    if let Some(path) = &sources.file {
        file::apply(&mut values, path)?;
    } else if let Some(path) = sources.file_if_present.as_ref().filter(|path| path.exists()) {
        file::apply(&mut values, path)?;
    }
    apply_environment(&mut values, &sources.environment)?;
    for (name, text) in &sources.flags {
        let setting = SETTINGS.iter().find(|setting| setting.name() == *name).expect("flags name settings of the table");
        let flag = setting.flag.expect("a setting that is set by a flag has one");
        put(&mut values, name, text.clone(), Source::Flag(flag))?;
    }
    let mut settings = table::blank();
    for value in &values {
        (value.setting.apply)(&mut settings, &value.text).map_err(|detail| Error::BadValue {
            name: value.setting.name(),
            value: value.text.clone(),
            source_text: value.source.to_string(),
            detail,
        })?;
    }
    if let Err((name, detail)) = settings.shards.settle() {
        let value = values.iter().find(|value| value.setting.name() == name).expect("it names a setting");
        let (value, source_text) = (value.text.clone(), value.source.to_string());
        return Err(Error::BadValue { name: name.to_owned(), value, source_text, detail });
    }
    for value in values.iter_mut().filter(|value| value.setting.is_secret() && value.source != Source::Default) {
        auth::HIDDEN.clone_into(&mut value.text);
    }
    Ok(Config { settings, values })
}

fn apply_environment(values: &mut [Value], environment: &[(String, String)]) -> Result<(), Error> {
    // FACTUM_LOG is the short form that people type; the long form wins over it.
    if let Some((name, text)) = environment.iter().find(|(name, _)| name == LOG_VARIABLE) {
        put(values, "log.level", text.clone(), Source::Environment(name.clone()))?;
    }
    for (variable, text) in environment {
        let Some((section, key)) = variable.strip_prefix("FACTUM_").and_then(|rest| rest.split_once("__")) else { continue };
        let name = format!("{section}.{}", key.replace("__", ".")).to_lowercase();
        put(values, &name, text.clone(), Source::Environment(variable.clone()))?;
    }
    Ok(())
}

fn put(values: &mut [Value], name: &str, text: String, source: Source) -> Result<(), Error> {
    let Some(value) = values.iter_mut().find(|value| value.setting.name() == name) else {
        return Err(unknown(name, &source));
    };
    value.text = text;
    value.source = source;
    Ok(())
}

fn unknown(name: &str, source: &Source) -> Error {
    let (written, nearest) = match source {
        Source::Environment(variable) => (variable.clone(), nearest(name).map(Setting::variable)),
        Source::Default | Source::File(_) | Source::Flag(_) => (name.to_owned(), nearest(name).map(Setting::name)),
    };
    let source_text = match source {
        Source::Environment(_) => "the environment".to_owned(),
        Source::Default | Source::File(_) | Source::Flag(_) => source.to_string(),
    };
    Error::UnknownName { source_text, name: written, nearest }
}

/// The setting whose name is most like this one: as a whole, or by its key alone when only the section is wrong.
fn nearest(name: &str) -> Option<&'static Setting> {
    let key = name.rsplit_once('.').map_or(name, |(_, key)| key);
    let distance = |setting: &Setting| {
        let whole = strsim::damerau_levenshtein(name, &setting.name());
        let by_key = strsim::damerau_levenshtein(key, setting.key) + 1;
        whole.min(by_key)
    };
    let bound = 2 + key.len() / 3;
    SETTINGS.iter().map(|setting| (distance(setting), setting)).filter(|(far, _)| *far <= bound).min_by_key(|(far, _)| *far).map(|(_, s)| s)
}

fn nearest_text(nearest: Option<&str>) -> String {
    match nearest {
        Some(name) => format!("; did you mean {name}?"),
        None => "; `factum config` lists all".to_owned(),
    }
}

/// Read from the working directory if no other file is named.
pub const FILE_NAME: &str = "factum.toml";
const LOG_VARIABLE: &str = "FACTUM_LOG";
