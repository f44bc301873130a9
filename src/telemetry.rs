//! Where do logs go, and how do they look? Everyone else only uses the `tracing` macros.

use std::io;

use tracing_subscriber::EnvFilter;

use crate::config::LogFormat;
use crate::config::LogSettings;

/// Sends the log of this process to stderr from here on.
///
/// # Errors
///
/// The level cannot be read, or a log was installed before.
pub fn install(settings: &LogSettings) -> Result<(), String> {
    let filter = EnvFilter::builder().parse(&settings.level).map_err(|error| format!("log level {:?}: {error}", settings.level))?;
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr);
    let installed = match settings.format {
        LogFormat::Pretty => {
            let colours = io::IsTerminal::is_terminal(&io::stderr()) && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
            builder.with_ansi(colours).try_init()
        }
        LogFormat::Json => builder.json().flatten_event(true).try_init(),
    };
    installed.map_err(|error| error.to_string())
}
