//! `factum clients`: which clients get tokens, and for what; makes, changes and ends them.

use std::path::PathBuf;
use std::process::ExitCode;

use reqwest::Method;
use reqwest::header::CONTENT_TYPE;
use serde::Deserialize;
use serde_json::json;
use serde_json::value::RawValue;

use super::client::ANSWER_TIMEOUT;
use super::client::Client;
use super::client::Connection;
use super::event::seconds;
use super::failure::Failure;
use super::output::Column;
use super::output::Output;
use super::read::token;

#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  factum clients\n  factum clients mail --scopes events:read,events:append --streams 'order-*'\n  \
    factum clients mail --scopes events:read --secret-file mail.secret\n  factum clients mail --delete\n\n\
    A new client gets a secret, which is printed once, unless --secret-file brings one. Scopes: events:read, events:append,\n\
    views:read, sql:read, projections:write, admin.")]
pub(crate) struct Arguments {
    /// One client instead of all.
    name: Option<String>,
    /// Make it or change it: what its tokens may do, with commas between them.
    #[arg(long, value_delimiter = ',', value_name = "SCOPES", requires = "name")]
    scopes: Option<Vec<String>>,
    /// To which streams, with commas between them; all unless said.
    #[arg(long, value_delimiter = ',', value_name = "PATTERNS", requires = "scopes")]
    streams: Option<Vec<String>>,
    /// The file that holds its secret.
    #[arg(long, value_name = "FILE", requires = "scopes")]
    secret_file: Option<PathBuf>,
    /// End it with all its tokens.
    #[arg(long, requires = "name", conflicts_with = "scopes")]
    delete: bool,
    #[command(flatten)]
    connection: Connection,
}

#[derive(Deserialize)]
struct Page {
    clients: Vec<Box<RawValue>>,
    next: serde_json::Value,
}

#[derive(Deserialize)]
struct Found {
    id: String,
    secret: Option<String>,
    scopes: Vec<String>,
    streams: Vec<String>,
    updated_at: String,
}

pub(crate) async fn run(arguments: &Arguments, output: &mut Output) -> Result<ExitCode, Failure> {
    let client = Client::new(&arguments.connection)?;
    let Some(name) = &arguments.name else {
        let clients = all(&client).await?;
        return show(&clients, output);
    };
    if arguments.delete {
        let request = client.request(Method::DELETE, &["v1", "clients", name], &[])?.timeout(ANSWER_TIMEOUT);
        client.send(request).await?;
        if output.is_human() {
            output.line("it has ended, with all its tokens")?;
        }
        return Ok(ExitCode::SUCCESS);
    }
    let found: Box<RawValue> = match &arguments.scopes {
        None => client.get(&["v1", "clients", name], &[]).await?,
        Some(scopes) => put(arguments, &client, name, scopes).await?,
    };
    show(&[found], output)
}

async fn put(arguments: &Arguments, client: &Client, name: &str, scopes: &[String]) -> Result<Box<RawValue>, Failure> {
    let scopes: Vec<&String> = scopes.iter().filter(|scope| !scope.is_empty()).collect();
    let mut body = json!({ "scopes": scopes });
    if let Some(map) = body.as_object_mut() {
        map.extend(arguments.streams.as_ref().map(|streams| ("streams".to_owned(), json!(streams))));
        if let Some(file) = &arguments.secret_file {
            let secret = std::fs::read_to_string(file)
                .map_err(|error| Failure::usage(format!("cannot read {}", file.display())).detail(error.to_string()))?;
            map.insert("secret".to_owned(), secret.trim().into());
        }
    }
    let request = client.request(Method::PUT, &["v1", "clients", name], &[])?;
    let request = request.header(CONTENT_TYPE, "application/json").body(body.to_string()).timeout(ANSWER_TIMEOUT);
    client.json(client.send(request).await?).await
}

async fn all(client: &Client) -> Result<Vec<Box<RawValue>>, Failure> {
    let mut found = Vec::new();
    let mut after: Option<String> = None;
    loop {
        let mut query = vec![("limit", "1000".to_owned())];
        query.extend(after.take().map(|after| ("after", after)));
        let page: Page = client.get(&["v1", "clients"], &query).await?;
        after = token(&page.next).filter(|_| !page.clients.is_empty());
        found.extend(page.clients);
        if after.is_none() {
            return Ok(found);
        }
    }
}

fn show(clients: &[Box<RawValue>], output: &mut Output) -> Result<ExitCode, Failure> {
    let mut rows = Vec::new();
    let mut secret = None;
    for client in clients {
        if !output.is_human() {
            output.line(client.get())?;
            continue;
        }
        let found: Found =
            serde_json::from_str(client.get()).map_err(|error| Failure::failed("the answer cannot be read").detail(error.to_string()))?;
        rows.push(vec![found.id, found.scopes.join(" "), found.streams.join(" "), seconds(&found.updated_at)]);
        secret = found.secret;
    }
    if output.is_human() {
        output.table(&COLUMNS, rows)?;
        if let Some(secret) = secret {
            output.line(&format!("its secret, which is told this once: {secret}"))?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

const COLUMNS: [Column; 4] = [Column::left("client"), Column::left("scopes"), Column::left("streams"), Column::left("updated at")];
