//! What does a client learn when a query can't be answered?
//!
//! Of the query itself all there is to say; never a value from an event.

use datafusion::arrow::error::ArrowError;
use datafusion::common::Column;
use datafusion::common::SchemaError;
use datafusion::common::Span;
use datafusion::error::DataFusionError;
use datafusion::sql::sqlparser::parser::ParserError;

use crate::Error;

/// A fault of the text.
pub(super) fn of_syntax(error: &ParserError) -> Error {
    let (detail, line, column) = match error {
        ParserError::TokenizerError(text) | ParserError::ParserError(text) => split_place(text),
        ParserError::RecursionLimitExceeded => ("is nested too deeply".to_owned(), None, None),
    };
    Error::InvalidQuery { detail: one_line(&detail), line, column }
}

/// A fault that shows before anything is read. `place` is that of the innermost part, where it is known.
pub(super) fn of_planning(error: &DataFusionError, place: Option<Span>) -> Error {
    match error {
        DataFusionError::Diagnostic(diagnostic, inner) => of_planning(inner, diagnostic.span.or(place)),
        DataFusionError::Context(_, inner) => of_planning(inner, place),
        DataFusionError::Shared(inner) => of_planning(inner, place),
        DataFusionError::Collection(errors) if !errors.is_empty() => of_planning(&errors[0], place),
        DataFusionError::External(inner) => inner.downcast_ref::<Error>().map_or_else(|| engine_failed(error), Error::clone),
        DataFusionError::SQL(error, _) => of_syntax(error),
        DataFusionError::SchemaError(error, _) => at(of_schema(error), place),
        DataFusionError::Plan(text) | DataFusionError::NotImplemented(text) | DataFusionError::Configuration(text) => {
            at(text.clone(), place)
        }
        DataFusionError::Execution(text) => at(text.clone(), place),
        DataFusionError::ArrowError(arrow, _) => match &**arrow {
            ArrowError::ExternalError(inner) if inner.is::<Error>() => of_running(error),
            arrow => at(arrow.to_string(), place),
        },
        DataFusionError::ResourcesExhausted(_) | DataFusionError::ParquetError(_) => of_running(error),
        _ => engine_failed(error),
    }
}

/// A fault that shows while events are read: no word of it may come from them.
pub(super) fn of_running(error: &DataFusionError) -> Error {
    match error {
        DataFusionError::Diagnostic(_, inner) | DataFusionError::Context(_, inner) => of_running(inner),
        DataFusionError::Shared(inner) => of_running(inner),
        DataFusionError::Collection(errors) if !errors.is_empty() => of_running(&errors[0]),
        DataFusionError::External(inner) => match (inner.downcast_ref::<Error>(), inner.downcast_ref::<DataFusionError>()) {
            (Some(error), _) => error.clone(),
            (None, Some(inner)) => of_running(inner),
            (None, None) => engine_failed(error),
        },
        DataFusionError::ResourcesExhausted(text) if text.contains("disk") => out_of_disk(),
        DataFusionError::ResourcesExhausted(_) => out_of_memory(),
        DataFusionError::IoError(error) => unspilled(error),
        DataFusionError::ParquetError(error) => lake_unread(error),
        DataFusionError::ArrowError(arrow, _) => of_values(arrow),
        DataFusionError::Execution(_) => values("a function was given a value that it can't work with"),
        DataFusionError::NotImplemented(text) | DataFusionError::Plan(text) => at(text.clone(), None),
        _ => engine_failed(error),
    }
}

/// More memory than there is for queries.
pub(super) fn out_of_memory() -> Error {
    let detail = "the queries need more memory than they may have (sql.memory): ask for less at once, or for fewer columns";
    Error::QueryLimit { limit: "memory", detail: detail.to_owned() }
}

/// More disk than there is for what does not fit into memory.
fn out_of_disk() -> Error {
    let detail = "the queries need more disk than they may have for what does not fit into memory (sql.spill): ask for less";
    Error::QueryLimit { limit: "spill", detail: detail.to_owned() }
}

/// What a query spills can't be written or read. The engine's own limit comes as an error of the disk, too.
fn unspilled(error: &std::io::Error) -> Error {
    let is_limit = error.kind() == std::io::ErrorKind::Other && error.to_string().contains("used disk space");
    if is_limit || error.kind() == std::io::ErrorKind::StorageFull {
        return out_of_disk();
    }
    tracing::warn!(%error, "what a query has spilled can't be written or read");
    factum_storage::Error::Io { context: "spilling a query".into(), source: std::sync::Arc::new(std::io::Error::from(error.kind())) }.into()
}

/// DataFusion has failed, which no query should make it do.
pub(super) fn engine_failed(error: &dyn std::error::Error) -> Error {
    // The text may hold values of events: only its kind goes into the log.
    let kind = error.to_string();
    let kind: String = kind.split([':', '.', '\n']).next().unwrap_or_default().chars().take(DETAIL_CHARS_MAX).collect();
    tracing::warn!(kind, "a query has failed inside the engine");
    Error::InvalidQuery {
        detail: "makes the query engine fail, which is logged; write it in another way".to_owned(),
        line: None,
        column: None,
    }
}

/// A file of a lake is not there, does not answer, or is damaged.
fn lake_unread(error: &dyn std::error::Error) -> Error {
    tracing::warn!(%error, "a file of a lake can't be read; queries read the log alone for a while");
    Error::LakeUnavailable { export: String::new(), detail: "a file of its lake can't be read; the server's log says why".to_owned() }
}

fn of_values(error: &ArrowError) -> Error {
    match error {
        ArrowError::ExternalError(inner) => match (inner.downcast_ref::<Error>(), inner.downcast_ref::<DataFusionError>()) {
            (Some(error), _) => error.clone(),
            (None, Some(inner)) => of_running(inner),
            (None, None) => engine_failed(error),
        },
        ArrowError::CastError(_) | ArrowError::ParseError(_) => {
            values("a value can't be converted into the type that is asked for; try_cast gives null for it")
        }
        ArrowError::ParquetError(_) => lake_unread(error),
        ArrowError::IoError(_, error) => unspilled(error),
        ArrowError::DivideByZero => values("divides by zero; nullif(x, 0) gives null for it"),
        ArrowError::ArithmeticOverflow(_) => values("a number gets too large for its type; cast to double or decimal first"),
        ArrowError::OffsetOverflowError(_) => out_of_memory(),
        ArrowError::InvalidArgumentError(_) | ArrowError::ComputeError(_) => values("a function was given a value that it can't work with"),
        _ => engine_failed(error),
    }
}

fn values(detail: &str) -> Error {
    Error::InvalidQuery { detail: detail.to_owned(), line: None, column: None }
}

fn of_schema(error: &SchemaError) -> String {
    match error {
        SchemaError::FieldNotFound { field, valid_fields } => no_column(field, valid_fields),
        SchemaError::AmbiguousReference { field } => {
            format!("column {:?} is in more than one table; name the table: table.{}", field.name, field.name)
        }
        SchemaError::DuplicateQualifiedField { name, .. } | SchemaError::DuplicateUnqualifiedField { name } => {
            format!("column {name:?} is there twice; give one of them another name: … AS other")
        }
    }
}

fn no_column(field: &Column, known: &[Column]) -> String {
    let mut detail = format!("there is no column {:?}", field.name);
    let names = known.iter().map(|column| column.name.as_str());
    let nearest = nearest(&field.name, names.clone());
    if nearest.is_empty() {
        let mut names: Vec<&str> = names.collect();
        names.dedup();
        if !names.is_empty() {
            detail.push_str(&format!("; there are {}", list(&names)));
        }
    } else {
        let quoted: Vec<String> = nearest.into_iter().map(quoted).collect();
        detail.push_str(&format!("; did you mean {}?", quoted.join(" or ")));
    }
    detail
}

/// As it has to be written in a query.
fn quoted(name: &str) -> String {
    let is_plain = name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_');
    if is_plain { name.to_owned() } else { format!("\"{}\"", name.replace('"', "\"\"")) }
}

fn list(names: &[&str]) -> String {
    let shown: Vec<String> = names.iter().take(NAMES_SHOWN).map(|name| quoted(name)).collect();
    let more = names.len().saturating_sub(NAMES_SHOWN);
    if more > 0 { format!("{} and {more} more", shown.join(", ")) } else { shown.join(", ") }
}

/// The known names that are most like a given one.
pub(in crate::analytics) fn nearest<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
    let lower = name.to_lowercase();
    let mut near: Vec<(f64, &str)> = known.map(|known| (strsim::jaro_winkler(&lower, &known.to_lowercase()), known)).collect();
    near.retain(|(likeness, _)| *likeness >= LIKENESS_MIN);
    near.sort_by(|one, other| other.0.total_cmp(&one.0));
    near.dedup_by_key(|(_, known)| *known);
    near.into_iter().take(NEAREST_MAX).map(|(_, known)| known).collect()
}

fn at(detail: String, place: Option<Span>) -> Error {
    let (detail, line, column) = match place {
        Some(place) => (detail, u32::try_from(place.start.line).ok(), u32::try_from(place.start.column).ok()),
        None => split_place(&detail),
    };
    Error::InvalidQuery { detail: one_line(&detail), line, column }
}

/// A fault at a place of the text, from 1.
pub(super) fn invalid_at(detail: String, line: u64, column: u64) -> Error {
    Error::InvalidQuery { detail, line: u32::try_from(line).ok(), column: u32::try_from(column).ok() }
}

/// Takes ` at Line: 1, Column: 8` off the end.
fn split_place(text: &str) -> (String, Option<u32>, Option<u32>) {
    let found = text.rsplit_once(" at Line: ").and_then(|(detail, place)| {
        let (line, column) = place.split_once(", Column: ")?;
        let column = column.split(|character: char| !character.is_ascii_digit()).next()?;
        Some((detail.to_owned(), line.parse().ok()?, column.parse().ok()?))
    });
    found.map_or_else(|| (text.to_owned(), None, None), |(detail, line, column)| (detail, Some(line), Some(column)))
}

fn one_line(text: &str) -> String {
    let text = text.split_whitespace().collect::<Vec<&str>>().join(" ");
    if text.chars().count() <= DETAIL_CHARS_MAX { text } else { text.chars().take(DETAIL_CHARS_MAX).chain("…".chars()).collect() }
}

const DETAIL_CHARS_MAX: usize = 600;
const NAMES_SHOWN: usize = 20;
const NEAREST_MAX: usize = 3;
const LIKENESS_MIN: f64 = 0.8;
