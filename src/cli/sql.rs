//! `factum sql`: what do all events say together? One question, a file of them, or a prompt.

mod document;
mod prompt;
mod session;
mod sink;
mod source;
mod statements;
mod table;
mod words;

use std::io;
use std::io::IsTerminal;
use std::io::Read;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::ValueEnum;

use super::client::Connection;
use super::failure::Failure;
use super::output::Output;
use session::Session;
use source::Source;
use statements::split;

#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  factum sql 'select type, count(*) from events group by type'\n  \
    factum sql \"select stream, amount from declaration where amount > \\$1\" --param 1000\n  factum sql < report.sql\n  \
    factum sql --format csv -o declarations.csv 'select * from declaration'\n  factum sql --data ./data 'select count(*) from events'\n  \
    factum sql\n\n\
    Without a query, a prompt: \\d lists the tables, \\d TABLE the columns of one, \\? says more, \\q leaves.\n\
    Tables are events, one for each category with the members of its events' data as columns, views and exports.")]
pub(crate) struct Arguments {
    /// What to ask; several are separated by `;`. Without it, stdin is read, or a prompt opens.
    query: Option<String>,
    /// How rows are printed [default: table on a terminal, else json; of a file, as its name ends]
    #[arg(long, value_name = "FORMAT", value_enum)]
    format: Option<Format>,
    /// What `$1` stands for, the next one `$2` …: JSON, or else the text that it is.
    #[arg(long = "param", value_name = "VALUE", allow_hyphen_values = true)]
    params: Vec<String>,
    /// Write the rows into this file. It is there once it is whole.
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Ask a data directory that no server has open. It is opened as a server would: projections and exports go on meanwhile.
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Wait until the views that are named have applied everything up to this cursor, such as an append has answered.
    #[arg(long, value_name = "CURSOR")]
    min_position: Option<String>,
    /// While a shard can't be used, answer without its events, and say so on stderr.
    #[arg(long)]
    allow_partial: bool,
    #[command(flatten)]
    connection: Connection,
}

/// How rows are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Format {
    /// For people, as wide as the terminal.
    Table,
    /// A line of names, then one line a row.
    Csv,
    /// One object a line.
    Json,
    /// A file for DuckDB, pandas, Polars and Spark.
    Parquet,
}

pub(crate) fn run(arguments: &Arguments, output: &mut Output) -> Result<ExitCode, Failure> {
    let format = format(arguments, output)?;
    let (runtime, source) = match &arguments.data {
        // A database has threads and work of its own; a client only waits for the server.
        Some(directory) => {
            let runtime = super::server_runtime()?;
            let source = runtime.block_on(Source::open(directory))?;
            (runtime, source)
        }
        None => (super::client_runtime()?, Source::connect(&arguments.connection)?),
    };
    let params = arguments.params.iter().map(|text| param(text)).collect();
    let mut session =
        Session::new(runtime, source, format, params, arguments.min_position.clone()).allowing_partial(arguments.allow_partial);
    let done = match &arguments.query {
        Some(text) => ask(&mut session, text, arguments, output),
        None if !io::stdin().is_terminal() => {
            let mut text = String::new();
            let read = io::stdin().take(SCRIPT_BYTES_MAX).read_to_string(&mut text);
            read.map_err(|error| Failure::usage("stdin cannot be read").detail(error.to_string()))?;
            ask(&mut session, &text, arguments, output)
        }
        None if arguments.output.is_some() => {
            Err(Failure::usage("there is nothing to ask").next("write the query behind `factum sql`, or send it through stdin"))
        }
        None => prompt::run(&mut session, output),
    };
    let closed = session.close();
    done?;
    closed?;
    Ok(ExitCode::SUCCESS)
}

fn ask(session: &mut Session, text: &str, arguments: &Arguments, output: &mut Output) -> Result<(), Failure> {
    let (mut statements, rest) = split(text);
    statements.extend(rest);
    let only = match &statements[..] {
        [] => return Err(Failure::usage("there is nothing to ask").next("write a query such as 'select count(*) from events'")),
        [only] => only,
        _ if arguments.output.is_some() || session.format() == Format::Parquet => {
            return Err(Failure::usage(format!("a file holds the rows of one query, and here are {}", statements.len())));
        }
        several => return several.iter().try_for_each(|statement| session.show(statement, output)),
    };
    match &arguments.output {
        Some(path) => session.save(only, path, output),
        None => session.show(only, output),
    }
}

fn format(arguments: &Arguments, output: &Output) -> Result<Format, Failure> {
    let ending = arguments.output.as_ref().and_then(|path| path.extension()).and_then(|ending| ending.to_str());
    let format = match (arguments.format, ending) {
        (Some(format), _) => format,
        (None, Some("csv")) => Format::Csv,
        (None, Some("parquet")) => Format::Parquet,
        (None, None) if arguments.output.is_none() && output.is_human() => Format::Table,
        (None, _) => Format::Json,
    };
    if format == Format::Table && arguments.output.is_some() {
        return Err(Failure::usage("a table is for looking at").next("save rows with --format csv, json or parquet"));
    }
    if format == Format::Parquet && arguments.output.is_none() && io::stdout().is_terminal() {
        return Err(Failure::usage("Parquet is nothing to look at").next("name a file with -o FILE, or redirect stdout"));
    }
    Ok(format)
}

/// JSON if it is that, else the text.
fn param(text: &str) -> serde_json::Value {
    serde_json::from_str(text).unwrap_or_else(|_| text.into())
}

/// More than anybody writes by hand.
const SCRIPT_BYTES_MAX: u64 = 16 << 20;

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn parameters_are_json_or_text() {
        for (text, expected) in
            [("5", json!(5)), ("-1.5", json!(-1.5)), ("null", json!(null)), ("paid", json!("paid")), ("\"5\"", json!("5"))]
        {
            assert_eq!(param(text), expected, "{text}");
        }
    }
}
