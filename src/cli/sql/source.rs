//! Who is asked: a server, or a data directory that is opened here?

use std::io;
use std::io::Write;
use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt;
use futures::stream::BoxStream;
use reqwest::Method;
use reqwest::header::ACCEPT;
use serde::Deserialize;
use serde_json::Value;
use serde_json::json;

use super::super::client::Client;
use super::super::client::Connection;
use super::super::client::chain;
use super::super::failure::Failure;
use super::super::failure::Problem;
use super::super::offline::DataDirectory;
use super::super::output::printable;
use super::super::read::token;
use super::document::Column;
use crate::Database;
use crate::Error;
use crate::analytics::output::OutputFormat;
use crate::analytics::output::chunks;
use crate::database::LeftOut;
use crate::database::Options;
use crate::database::SqlQuery;
use crate::database::TableKind;

/// Where answers come from.
pub(super) enum Source {
    Server(Client),
    Directory(Database),
}

/// A question.
pub(super) struct Question {
    pub(super) text: String,
    pub(super) params: Vec<Value>,
    pub(super) min_position: Option<String>,
    /// A part will do, while a shard is missing.
    pub(super) allow_partial: bool,
}

/// A table that can be asked about.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Table {
    pub(super) name: String,
    pub(super) kind: String,
    pub(super) columns: Vec<Column>,
}

/// The bytes of an answer, as they come.
pub(super) type Parts = BoxStream<'static, Result<Bytes, Failure>>;

impl Source {
    pub(super) fn connect(connection: &Connection) -> Result<Self, Failure> {
        Client::new(connection).map(Self::Server)
    }

    pub(super) async fn open(directory: &Path) -> Result<Self, Failure> {
        // It says what is wrong with the directory, and never makes one.
        drop(DataDirectory::open(directory)?);
        let opened = Database::open(Options::new(directory)).await;
        opened.map(Self::Directory).map_err(|error| {
            Failure::failed(format!("{} cannot be opened", directory.display()))
                .detail(chain(&error))
                .next(format!("if it is damaged, `factum verify {}` says where", directory.display()))
        })
    }

    /// Who it is, for the prompt.
    pub(super) fn name(&self) -> &str {
        match self {
            Self::Server(client) => client.base(),
            Self::Directory(_) => "a data directory, opened here",
        }
    }

    pub(super) async fn ask(&self, question: &Question, format: OutputFormat) -> Result<Parts, Failure> {
        match self {
            Self::Server(client) => ask_server(client, question, format).await,
            Self::Directory(database) => ask_directory(database, question, format).await,
        }
    }

    pub(super) async fn tables(&self) -> Result<Vec<Table>, Failure> {
        match self {
            Self::Server(client) => tables_of_server(client).await,
            Self::Directory(database) => tables_of_directory(database).await,
        }
    }

    pub(super) async fn close(&self) -> Result<(), Failure> {
        match self {
            Self::Server(_) => Ok(()),
            Self::Directory(database) => database.close().await.map_err(|error| failure(&error)),
        }
    }
}

async fn ask_server(client: &Client, question: &Question, format: OutputFormat) -> Result<Parts, Failure> {
    let body = json!({"query": question.text, "params": question.params});
    // However long it takes: the server has limits for queries, and Ctrl-C ends them.
    let asked: &[_] = if question.allow_partial { &[("allow_partial", "true".to_owned())] } else { &[] };
    let mut request = client.request(Method::POST, &["v1", "sql"], asked)?.header(ACCEPT, media_type(format)).json(&body);
    if let Some(cursor) = &question.min_position {
        request = request.header("Factum-Min-Position", cursor);
    }
    let response = client.send(request).await?;
    if let Some(missing) = response.headers().get("factum-missing-shards") {
        tell_missing(&String::from_utf8_lossy(missing.as_bytes()))?;
    }
    let client = client.clone();
    Ok(response.bytes_stream().map(move |part| part.map_err(|error| client.unreachable(&error))).boxed())
}

async fn ask_directory(database: &Database, question: &Question, format: OutputFormat) -> Result<Parts, Failure> {
    let min = question.min_position.as_deref().map(|text| database.parse_cursor(text)).transpose().map_err(|error| failure(&error))?;
    let query = SqlQuery { text: question.text.clone(), params: question.params.clone(), min, wait: WAIT, only: None };
    let left_out = LeftOut::default();
    let database = if question.allow_partial { &database.leaving_out(&left_out) } else { database };
    let answer = database.sql(query).await.map_err(|error| failure(&error))?;
    let missing: Vec<String> = left_out.shards().iter().map(u16::to_string).collect();
    if !missing.is_empty() {
        tell_missing(&missing.join(", "))?;
    }
    Ok(chunks(answer, format).map(|part| part.map_err(|error| failure(&error))).boxed())
}

/// Rows alone do not show that some are missing.
fn tell_missing(shards: &str) -> Result<(), Failure> {
    writeln!(io::stderr().lock(), "a part of the answer: shards that can't be used are missing: {}", printable(shards))?;
    Ok(())
}

async fn tables_of_server(client: &Client) -> Result<Vec<Table>, Failure> {
    #[derive(Deserialize)]
    struct Page {
        tables: Vec<Table>,
        next: Value,
    }
    let mut tables = Vec::new();
    let mut after: Option<String> = None;
    loop {
        let mut query = vec![("limit", PAGE.to_owned())];
        query.extend(after.take().map(|after| ("after", after)));
        let page: Page = client.get(&["v1", "tables"], &query).await?;
        after = token(&page.next).filter(|_| !page.tables.is_empty());
        tables.extend(page.tables);
        if after.is_none() {
            return Ok(tables);
        }
    }
}

async fn tables_of_directory(database: &Database) -> Result<Vec<Table>, Failure> {
    let tables = database.tables().await.map_err(|error| failure(&error))?;
    let told = tables.into_iter().map(|table| Table {
        name: table.name,
        kind: match table.kind {
            TableKind::Events => "events",
            TableKind::Category => "category",
            TableKind::View => "view",
            TableKind::Export => "export",
            TableKind::Telemetry => "telemetry",
        }
        .to_owned(),
        columns: table.columns.into_iter().map(|column| Column { name: column.name, data_type: column.data_type }).collect(),
    });
    Ok(told.collect())
}

/// What the database says, as a server would have said it.
fn failure(error: &Error) -> Failure {
    let problem = crate::http::problem::document(error.clone());
    match serde_json::from_slice::<Problem>(&problem) {
        Ok(problem) => Failure::problem(problem),
        Err(_) => Failure::failed("the database cannot answer").detail(chain(error)),
    }
}

fn media_type(format: OutputFormat) -> &'static str {
    match format {
        OutputFormat::Json => "application/json",
        OutputFormat::Ndjson => "application/x-ndjson",
        OutputFormat::Csv => "text/csv",
        OutputFormat::Arrow => "application/vnd.apache.arrow.stream",
        OutputFormat::Parquet => "application/vnd.apache.parquet",
    }
}

/// As long as a server waits when nobody says.
const WAIT: Duration = Duration::from_secs(5);
const PAGE: &str = "1000";
