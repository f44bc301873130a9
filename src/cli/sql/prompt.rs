//! What does the prompt do with a line? A statement is asked, a command of its own is obeyed; nothing that goes wrong ends it.

use std::io::IsTerminal;
use std::path::PathBuf;

use rustyline::CompletionType;
use rustyline::Config;
use rustyline::Editor;
use rustyline::error::ReadlineError;
use rustyline::history::FileHistory;

use super::super::failure::Failure;
use super::super::output;
use super::super::output::Column;
use super::super::output::Output;
use super::session::Session;
use super::statements::split;
use super::table::Layout;
use super::words::COMMANDS;
use super::words::Words;
use super::words::is_word_of_leave;
use super::words::quoted;

/// Asks until there is nothing more to be asked.
pub(super) fn run(session: &mut Session, output: &mut Output) -> Result<(), Failure> {
    let config = Config::builder().completion_type(CompletionType::List).history_ignore_space(true).build();
    let mut editor: Editor<Words, FileHistory> = Editor::with_config(config).map_err(|error| broken(&error))?;
    // Whether anybody is there shows at once, and not after the first statement.
    editor.set_helper(Some(Words { tables: session.tables()? }));
    let history = history_file();
    if let Some(file) = &history {
        // The first time there is none; one that cannot be read is not worth a word either.
        drop(editor.load_history(file));
    }
    let line = output.dim(&format!("{} (\\? for help, \\q to leave; a statement ends with ;)", session.source_name()));
    output.line(&line)?;
    loop {
        output.flush()?;
        let text = match editor.readline("sql> ") {
            Ok(text) => text,
            // Ctrl-C gives up what was being typed.
            Err(ReadlineError::Interrupted) => continue,
            Err(ReadlineError::Eof) => return Ok(()),
            Err(error) => return Err(broken(&error)),
        };
        let text = text.trim();
        if text.is_empty() {
            continue;
        }
        remember(&mut editor, text, history.as_ref());
        if is_word_of_leave(text.trim_end_matches(';')) {
            return Ok(());
        }
        let done = if text.starts_with('\\') { command(session, text, &mut editor, output) } else { statements(session, text, output) };
        match done {
            Ok(Next::Line) => {}
            Ok(Next::Leave) => return Ok(()),
            Err(Failure::BrokenPipe) => return Err(Failure::BrokenPipe),
            Err(failure) => {
                output.flush()?;
                failure.print(false, std::io::stderr().is_terminal() && output::colours_wanted());
            }
        }
    }
}

enum Next {
    Line,
    Leave,
}

fn statements(session: &Session, text: &str, output: &mut Output) -> Result<Next, Failure> {
    let (statements, rest) = split(text);
    for statement in statements.into_iter().chain(rest) {
        if session.show_until_interrupted(statement, output)? {
            let line = output.yellow("given up; the query has ended");
            output.line(&line)?;
            break;
        }
    }
    Ok(Next::Line)
}

fn command(session: &mut Session, text: &str, editor: &mut Editor<Words, FileHistory>, output: &mut Output) -> Result<Next, Failure> {
    let text = text.trim_end_matches(';').trim_end();
    let (name, argument) = text.split_once(char::is_whitespace).map_or((text, ""), |(name, argument)| (name, argument.trim()));
    match name {
        "\\q" => return Ok(Next::Leave),
        "\\?" => {
            for (name, what) in COMMANDS {
                output.line(&format!("  {}  {what}", output.bold(&format!("{name:<8}"))))?;
            }
        }
        "\\d" | "\\dt" => describe(session, argument, editor, output)?,
        "\\timing" => {
            session.shows_time = !session.shows_time;
            output.line(if session.shows_time { "times are shown" } else { "times are not shown" })?;
        }
        "\\x" => {
            let (next, told) = match session.layout {
                Layout::Auto => (Layout::Always, "one column a line"),
                Layout::Always => (Layout::Never, "columns side by side"),
                Layout::Never => (Layout::Auto, "columns side by side if they fit"),
            };
            session.layout = next;
            output.line(told)?;
        }
        _ => return Err(Failure::usage(format!("{name} is no command here")).next("\\? lists those that are")),
    }
    Ok(Next::Line)
}

fn describe(session: &Session, name: &str, editor: &mut Editor<Words, FileHistory>, output: &mut Output) -> Result<(), Failure> {
    let tables = session.tables()?;
    if name.is_empty() {
        let rows = tables.iter().map(|table| vec![table.name.clone(), table.kind.clone(), table.columns.len().to_string()]).collect();
        output.table(&[Column::left("table"), Column::left("kind"), Column::right("columns")], rows)?;
    } else {
        let bare = name.trim_matches('"');
        let Some(table) = tables.iter().find(|table| table.name == bare || quoted(&table.name) == name) else {
            return Err(Failure::usage(format!("there is no table {name}")).next("\\d lists those that there are"));
        };
        let rows = table.columns.iter().map(|column| vec![quoted(&column.name), column.data_type.clone()]).collect();
        output.table(&[Column::left("column"), Column::left("type")], rows)?;
    }
    if let Some(words) = editor.helper_mut() {
        words.tables = tables;
    }
    Ok(())
}

/// Each line is kept as it is typed: a prompt that is killed has forgotten nothing.
fn remember(editor: &mut Editor<Words, FileHistory>, text: &str, file: Option<&PathBuf>) {
    let added = editor.add_history_entry(text).unwrap_or(false);
    if let (true, Some(file)) = (added, file) {
        let made = file.parent().map_or(Ok(()), std::fs::create_dir_all);
        // Nobody is stopped from asking because a line could not be kept.
        if made.is_ok() {
            drop(editor.append_history(file));
        }
    }
}

/// Where the system wants such things: `$XDG_STATE_HOME/factum/sql_history`, or below `~/.local/state`.
fn history_file() -> Option<PathBuf> {
    let of = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from).filter(|path| path.is_absolute());
    let folder = of("XDG_STATE_HOME").or_else(|| of("HOME").map(|home| home.join(".local/state")))?;
    Some(folder.join("factum").join("sql_history"))
}

fn broken(error: &ReadlineError) -> Failure {
    Failure::failed("the prompt cannot go on").detail(error.to_string())
}
