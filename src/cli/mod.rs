//! What does each `factum` command do? Arguments become one subcommand a file.
//!
//! All commands but the offline ones are clients of a server's HTTP contract. Exit codes: 0 done, 1 failed, 2 wrong usage, 3 conflict.

mod append;
mod apply;
mod bench;
mod client;
mod clients;
mod command;
mod config;
mod demo;
mod event;
#[cfg(feature = "analytics")]
mod exports;
mod failure;
mod import;
mod keys;
mod offline;
mod output;
mod projections;
mod read;
mod reindex;
mod repair;
mod serve;
mod shards;
#[cfg(feature = "analytics")]
mod sql;
mod sse;
mod state;
mod status;
mod streams;
mod subscriptions;
mod tail;
mod token;
mod verify;
mod views;

use std::io;
use std::io::IsTerminal;
use std::process::ExitCode;

use clap::Parser;
use clap::Subcommand;

use failure::Failure;
use output::Output;

/// An event-store database: a durable log with a versioned index, served over HTTP.
#[derive(Debug, Parser)]
#[command(name = "factum", version, arg_required_else_help = true, max_term_width = 100)]
struct Arguments {
    /// Print JSON lines, also on a terminal.
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the server.
    Serve(serve::Arguments),
    /// See Factum do its main job on 55,628 real events.
    Demo(demo::Arguments),
    /// Say whether all is well, what is not, and what to do.
    Status(status::Arguments),
    /// Load NDJSON files into the log.
    Import(import::Arguments),
    /// Append one event to a stream.
    Append(append::Arguments),
    /// Read a stream's events.
    Read(read::Arguments),
    /// Follow events as they are recorded.
    Tail(tail::Arguments),
    /// List streams.
    Streams(streams::Arguments),
    /// List shards, and say where a stream lives.
    Shards(shards::Arguments),
    /// List projections, and tell them to pause, resume, rebuild or skip.
    Projections(projections::Arguments),
    /// List subscriptions (consumer groups), and see to what they have put aside.
    Subscriptions(subscriptions::Arguments),
    /// List exports (Parquet files that follow the log), and tell them to publish at once.
    #[cfg(feature = "analytics")]
    Exports(exports::Arguments),
    /// Get an access token, or see to one.
    Token(token::Arguments),
    /// List the clients that get tokens; make, change or end one.
    Clients(clients::Arguments),
    /// List the keys that sign tokens, or let the next one sign.
    Keys(keys::Arguments),
    /// Print what a stream's events come to, now or in the past.
    State(state::Arguments),
    /// Tell an aggregate to do something.
    #[command(name = "command")]
    Tell(command::Arguments),
    /// Put a folder of definitions in force.
    Apply(apply::Arguments),
    /// Print the rows of a read model.
    Views(views::Arguments),
    /// Ask in SQL, over everything that is committed.
    #[cfg(feature = "analytics")]
    Sql(sql::Arguments),
    /// Check every byte of a data directory (offline).
    Verify(verify::Arguments),
    /// Give up damaged events so that the rest takes appends again (offline).
    Repair(repair::Arguments),
    /// Rebuild the index from the log (offline).
    Reindex(reindex::Arguments),
    /// Put load on a running server and measure it.
    Bench(bench::Arguments),
    /// Print the settings and where each value came from.
    Config(config::Arguments),
}

/// Runs the command that the process was started with, to its exit code.
#[must_use]
pub fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let json = arguments.json;
    match run(arguments) {
        Ok(code) => code,
        Err(failure) => {
            failure.print(json, io::stderr().is_terminal() && output::colours_wanted());
            ExitCode::from(failure.exit())
        }
    }
}

fn run(arguments: Arguments) -> Result<ExitCode, Failure> {
    let mut output = Output::of_process(arguments.json);
    let code = match arguments.command {
        Command::Serve(arguments) => return serve::run(&arguments),
        Command::Demo(arguments) => return demo::run(&arguments),
        Command::Verify(arguments) => verify::run(&arguments, &mut output)?,
        Command::Repair(arguments) => repair::run(&arguments, &mut output)?,
        Command::Reindex(arguments) => reindex::run(&arguments, &mut output)?,
        #[cfg(feature = "analytics")]
        Command::Sql(arguments) => sql::run(&arguments, &mut output)?,
        Command::Config(arguments) => config::run(&arguments, &mut output)?,
        Command::Bench(arguments) => block_on(bench::run(&arguments, &mut output))?,
        Command::Import(arguments) => block_on(import::run(&arguments, &mut output))?,
        Command::Append(arguments) => block_on(append::run(&arguments, &mut output))?,
        Command::Read(arguments) => block_on(read::run(&arguments, &mut output))?,
        Command::Tail(arguments) => block_on(tail::run(&arguments, &mut output))?,
        Command::Streams(arguments) => block_on(streams::run(&arguments, &mut output))?,
        Command::Shards(arguments) => block_on(shards::run(&arguments, &mut output))?,
        Command::Projections(arguments) => block_on(projections::run(&arguments, &mut output))?,
        Command::Subscriptions(arguments) => block_on(subscriptions::run(&arguments, &mut output))?,
        #[cfg(feature = "analytics")]
        Command::Exports(arguments) => block_on(exports::run(&arguments, &mut output))?,
        Command::Status(arguments) => block_on(status::run(&arguments, &mut output))?,
        Command::Token(arguments) => block_on(token::run(&arguments, &mut output))?,
        Command::Clients(arguments) => block_on(clients::run(&arguments, &mut output))?,
        Command::Keys(arguments) => block_on(keys::run(&arguments, &mut output))?,
        Command::State(arguments) => block_on(state::run(&arguments, &mut output))?,
        Command::Tell(arguments) => block_on(command::run(&arguments, &mut output))?,
        Command::Views(arguments) => block_on(views::run(&arguments, &mut output))?,
        Command::Apply(arguments) => block_on(apply::run(&arguments, &mut output))?,
    };
    output.flush()?;
    Ok(code)
}

fn block_on<T>(future: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    client_runtime()?.block_on(future)
}

/// Clients need one thread: what they wait for is the server.
fn client_runtime() -> Result<tokio::runtime::Runtime, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.map_err(|error| Failure::failed("cannot start").detail(error.to_string()))
}

/// The server's runtime: a thread for each core.
fn server_runtime() -> Result<tokio::runtime::Runtime, Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().thread_name("factum").build();
    runtime.map_err(|error| Failure::failed("cannot start").detail(error.to_string()))
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn each_command_shows_an_example() {
        for mut command in Arguments::command().get_subcommands().cloned() {
            let help = command.render_long_help().to_string();
            assert!(help.contains("Example"), "`factum {} --help` shows no example", command.get_name());
            assert!(help.contains(&format!("factum {}", command.get_name())), "{}", command.get_name());
        }
    }
}
