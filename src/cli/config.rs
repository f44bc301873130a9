//! `factum config`: which settings hold, and why?

use std::path::PathBuf;
use std::process::ExitCode;

use super::failure::Failure;
use super::output::Column;
use super::output::Output;
use crate::config as settings;

#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  factum config\n  FACTUM_LIMITS__BODY=128MiB factum config --config /etc/factum.toml\n\n\
    Built-in default < factum.toml < environment (FACTUM_SECTION__KEY) < flags of `factum serve`.")]
pub(crate) struct Arguments {
    /// The settings file; ./factum.toml is read if it is there.
    #[arg(long, value_name = "FILE", env = "FACTUM_CONFIG")]
    config: Option<PathBuf>,
    /// Print the reference of all settings in Markdown.
    #[arg(long, hide = true)]
    markdown: bool,
}

pub(crate) fn run(arguments: &Arguments, output: &mut Output) -> Result<ExitCode, Failure> {
    if arguments.markdown {
        output.line(settings::markdown().trim_end())?;
        return Ok(ExitCode::SUCCESS);
    }
    let config = load(arguments.config.clone(), Vec::new())?;
    if output.is_human() {
        let rows = config.values.iter().map(|value| vec![value.setting.name(), value.text.clone(), value.source.to_string()]).collect();
        output.table(&[Column::left("setting"), Column::left("value"), Column::left("source")], rows)?;
        return Ok(ExitCode::SUCCESS);
    }
    for value in &config.values {
        output.json(&serde_json::json!({"setting": value.setting.name(), "value": value.text, "source": value.source.to_string()}))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Reads all layers of this process.
pub(crate) fn load(file: Option<PathBuf>, flags: Vec<(&'static str, String)>) -> Result<settings::Config, Failure> {
    settings::load(&settings::Sources::of_process(file, flags)).map_err(|error| {
        Failure::usage("the settings are wrong")
            .detail(error.to_string())
            .next("`factum config` prints all settings and where they come from")
    })
}
