//! What happens to one question? It is asked, and its rows are shown, passed on or saved.

use std::path::Path;
use std::time::Duration;
use std::time::Instant;

use futures::StreamExt;
use serde_json::Value;
use tokio::runtime::Runtime;

use super::super::failure::Failure;
use super::super::output::Output;
use super::super::output::grouped;
use super::Format;
use super::document::Column;
use super::document::Document;
use super::document::Line;
use super::document::Row;
use super::sink::Lines;
use super::sink::Sink;
use super::sink::Whole;
use super::source::Question;
use super::source::Source;
use super::source::Table;
use super::table;
use super::table::Layout;
use crate::analytics::output::OutputFormat;
use crate::config::bytes_text;
use crate::config::duration_text;

/// Who asks whom, and how answers are shown.
pub(super) struct Session {
    runtime: Runtime,
    source: Source,
    format: Format,
    params: Vec<Value>,
    min_position: Option<String>,
    allow_partial: bool,
    pub(super) layout: Layout,
    pub(super) shows_time: bool,
}

impl Session {
    pub(super) fn new(runtime: Runtime, source: Source, format: Format, params: Vec<Value>, min_position: Option<String>) -> Self {
        Self { runtime, source, format, params, min_position, allow_partial: false, layout: Layout::Auto, shows_time: true }
    }

    /// Takes a part of an answer while a shard is missing.
    pub(super) fn allowing_partial(self, allow_partial: bool) -> Self {
        Self { allow_partial, ..self }
    }

    pub(super) fn format(&self) -> Format {
        self.format
    }

    pub(super) fn source_name(&self) -> &str {
        self.source.name()
    }

    pub(super) fn tables(&self) -> Result<Vec<Table>, Failure> {
        self.runtime.block_on(self.source.tables())
    }

    pub(super) fn close(self) -> Result<(), Failure> {
        self.runtime.block_on(self.source.close())
    }

    /// Asks, and prints the answer.
    pub(super) fn show(&self, text: &str, output: &mut Output) -> Result<(), Failure> {
        self.runtime.block_on(self.answer(text, output)).map_err(|failure| failure.pointed_at(text))
    }

    /// The same until Ctrl-C, which gives the question up; whether that happened.
    pub(super) fn show_until_interrupted(&self, text: &str, output: &mut Output) -> Result<bool, Failure> {
        let interrupted = async {
            // Without the signal nothing is given up early.
            if tokio::signal::ctrl_c().await.is_err() {
                std::future::pending::<()>().await;
            }
        };
        self.runtime.block_on(async {
            tokio::select! {
                done = self.answer(text, output) => done.map(|()| false).map_err(|failure| failure.pointed_at(text)),
                () = interrupted => Ok(true),
            }
        })
    }

    /// Asks, and writes the answer into a file.
    pub(super) fn save(&self, text: &str, path: &Path, output: &mut Output) -> Result<(), Failure> {
        let started = Instant::now();
        let mut file = Whole::create(path)?;
        let bytes = self.runtime.block_on(self.pass(text, &mut file)).map_err(|failure| failure.pointed_at(text))?;
        file.finish()?;
        if output.is_human() {
            let line = format!("{} in {} ({})", path.display(), duration_text(started.elapsed()), bytes_text(bytes));
            output.line(&line)?;
        }
        Ok(())
    }

    fn question(&self, text: &str) -> Question {
        Question {
            text: text.to_owned(),
            params: self.params.clone(),
            min_position: self.min_position.clone(),
            allow_partial: self.allow_partial,
        }
    }

    async fn answer(&self, text: &str, output: &mut Output) -> Result<(), Failure> {
        if self.format == Format::Table {
            return self.print(text, output).await;
        }
        self.pass(text, output).await?;
        output.flush()?;
        Ok(())
    }

    /// Hands the answer on as it comes; how many bytes it had.
    async fn pass(&self, text: &str, sink: &mut dyn Sink) -> Result<u64, Failure> {
        let format = match self.format {
            Format::Csv => OutputFormat::Csv,
            Format::Parquet => OutputFormat::Parquet,
            Format::Json | Format::Table => OutputFormat::Ndjson,
        };
        let mut parts = self.source.ask(&self.question(text), format).await?;
        let mut lines = Lines::default();
        let mut bytes = 0;
        while let Some(part) = parts.next().await {
            // Rows say no reason when they break off; lines do.
            let part = part.map_err(|failure| if format == OutputFormat::Ndjson { failure } else { failure.next(ASK_FOR_LINES) })?;
            bytes += part.len() as u64;
            if format == OutputFormat::Ndjson {
                lines.pass(&part, sink)?;
            } else {
                sink.take(&part)?;
            }
        }
        lines.finish()?;
        Ok(bytes)
    }

    async fn print(&self, text: &str, output: &mut Output) -> Result<(), Failure> {
        let started = Instant::now();
        let mut parts = self.source.ask(&self.question(text), OutputFormat::Json).await?;
        let mut document = Document::default();
        let mut shown = Shown { columns: Vec::new(), rows: Vec::new(), count: 0, layout: self.layout };
        let mut cursor = String::new();
        let mut broken = None;
        while let Some(part) = parts.next().await {
            let lines = match part {
                Ok(part) => document.push(&part)?,
                Err(failure) => {
                    broken = Some(failure);
                    break;
                }
            };
            for line in lines {
                match line {
                    Line::Columns(columns) => shown.columns = columns,
                    Line::Row(row) => shown.push(row, output)?,
                    Line::End(end) => cursor = end,
                }
            }
        }
        if let Some(failure) = broken {
            return Err(failure);
        }
        document.finish()?;
        let time = started.elapsed();
        shown.flush(output)?;
        let line = output.dim(&footer(shown.count, time, &cursor, self.shows_time));
        output.line(&line)?;
        output.flush()?;
        Ok(())
    }
}

/// Rows that wait for their columns' widths.
struct Shown {
    columns: Vec<Column>,
    rows: Vec<Row>,
    count: u64,
    layout: Layout,
}

impl Shown {
    fn push(&mut self, row: Row, output: &mut Output) -> Result<(), Failure> {
        self.rows.push(row);
        self.count += 1;
        if self.rows.len() == BLOCK_ROWS { self.flush(output) } else { Ok(()) }
    }

    fn flush(&mut self, output: &mut Output) -> Result<(), Failure> {
        let rows = std::mem::take(&mut self.rows);
        if !rows.is_empty() || self.count == 0 {
            let first = self.count - rows.len() as u64 + 1;
            table::print(&self.columns, &rows, first, self.layout, output)?;
        }
        output.flush()?;
        Ok(())
    }
}

fn footer(count: u64, time: Duration, cursor: &str, shows_time: bool) -> String {
    let rows = if count == 1 { "1 row".to_owned() } else { format!("{} rows", grouped(count)) };
    let time = if shows_time { format!(" in {}", duration_text(time)) } else { String::new() };
    format!("{rows}{time}, as of position {cursor}")
}

/// So many rows are held to find out how wide their columns are; the next ones get a head of their own.
const BLOCK_ROWS: usize = 1_000;
const ASK_FOR_LINES: &str = "ask with --format json: lines end with the reason";
