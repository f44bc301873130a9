//! Where do lines of the log go, how do they look, and which are written? To stderr; for people or as JSON; by a level that can be changed
//! while the server runs.

use std::fmt;
use std::io;
use std::io::IsTerminal;
use std::sync::OnceLock;

use parking_lot::Mutex;
use tracing::Event;
use tracing::Level;
use tracing::Metadata;
use tracing::Subscriber;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::Layer;
use tracing_subscriber::Registry;
use tracing_subscriber::filter::FilterFn;
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::fmt::FmtContext;
use tracing_subscriber::fmt::FormatEvent;
use tracing_subscriber::fmt::FormatFields;
use tracing_subscriber::fmt::format;
use tracing_subscriber::fmt::format::JsonFields;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::reload;
use tracing_subscriber::util::SubscriberInitExt;

use super::records::Records;
use super::request;

/// How a line of the log looks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum LogFormat {
    /// For people.
    #[default]
    Pretty,
    /// One JSON object a line.
    Json,
}

/// Sends the log of this process to stderr from here on: what `level` (a level, or directives such as `info,factum=debug`) lets through.
///
/// # Errors
///
/// A sentence: the level cannot be read, or a log was installed before.
pub fn install(format: LogFormat, level: &str) -> Result<(), String> {
    let (filter, handle) = reload::Layer::new(parse(level)?);
    let lines = match format {
        LogFormat::Pretty => {
            let colours = io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
            let lines = tracing_subscriber::fmt::layer().with_writer(io::stderr).with_ansi(colours);
            lines.event_format(WithIds { inner: format::format().with_ansi(colours), format }).boxed()
        }
        LogFormat::Json => {
            let lines = tracing_subscriber::fmt::layer().with_writer(io::stderr).fmt_fields(JsonFields::new());
            lines.event_format(WithIds { inner: format::json().flatten_event(true), format }).boxed()
        }
    };
    let own = lines.with_filter(FilterFn::new(may_be_written));
    let records = Records.with_filter(FilterFn::new(may_be_written));
    tracing_subscriber::registry().with(filter).with(own).with(records).try_init().map_err(|error| error.to_string())?;
    let control = Control { filter: handle, level: Mutex::new(level.to_owned()) };
    CONTROL.set(control).map_err(|_| "the log was installed before".to_owned())
}

/// What the log lets through, if this process has one.
#[must_use]
pub fn level() -> Option<String> {
    CONTROL.get().map(|control| control.level.lock().clone())
}

/// Lets something else through from here on, until the process ends; `None` if it has no log.
///
/// # Errors
///
/// A sentence: it is neither a level nor directives.
pub fn set_level(level: &str) -> Option<Result<(), String>> {
    let control = CONTROL.get()?;
    Some(parse(level).and_then(|filter| {
        let mut present = control.level.lock();
        control.filter.reload(filter).map_err(|error| error.to_string())?;
        tracing::info!(before = *present, level, "the level of the log was changed");
        level.clone_into(&mut present);
        Ok(())
    }))
}

/// Reads a level or directives.
///
/// # Errors
///
/// A sentence.
pub fn parse(level: &str) -> Result<EnvFilter, String> {
    if level.len() > LEVEL_BYTES_MAX {
        return Err(format!("log level: {} bytes, at most {LEVEL_BYTES_MAX} are allowed", level.len()));
    }
    // A word alone would be taken for a module, of which all is told, and nothing of the others.
    let is_word = |piece: &str| !piece.is_empty() && piece.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b':'));
    if let Some(word) = level.split(',').map(str::trim).find(|piece| is_word(piece) && piece.parse::<LevelFilter>().is_err()) {
        return Err(format!("log level {word:?}: must be error, warn, info, debug, trace or off, or name a module as in {word}=debug"));
    }
    EnvFilter::builder().with_regex(false).parse(level).map_err(|error| format!("log level {level:?}: {error}"))
}

/// Libraries tell of what goes through them, which is what clients have sent: the text of queries, headers, bodies. Their warnings do not.
fn may_be_written(metadata: &Metadata<'_>) -> bool {
    *metadata.level() <= Level::WARN || OWN.iter().any(|own| metadata.target().starts_with(own))
}

/// A format whose lines bear the ids of the request that they are about.
struct WithIds<F> {
    inner: F,
    format: LogFormat,
}

impl<S, N, F> FormatEvent<S, N> for WithIds<F>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
    F: FormatEvent<S, N>,
{
    fn format_event(&self, context: &FmtContext<'_, S, N>, mut writer: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let Some(ids) = request::current() else { return self.inner.format_event(context, writer, event) };
        let mut line = String::new();
        self.inner.format_event(context, Writer::new(&mut line), event)?;
        let line = line.trim_end_matches('\n');
        match self.format {
            LogFormat::Pretty => writeln!(writer, "{line} request_id={} trace_id={}", ids.request, ids.trace),
            LogFormat::Json => {
                let members = line.strip_suffix('}').unwrap_or(line);
                let request = serde_json::Value::from(&*ids.request);
                writeln!(writer, "{members},\"request_id\":{request},\"trace_id\":\"{}\"}}", ids.trace)
            }
        }
    }
}

/// The level of this process's log.
struct Control {
    filter: reload::Handle<EnvFilter, Registry>,
    level: Mutex<String>,
}

static CONTROL: OnceLock<Control> = OnceLock::new();

/// How the names of our own modules begin.
const OWN: &[&str] = &["factum", "factum_storage"];
const LEVEL_BYTES_MAX: usize = 1024;
