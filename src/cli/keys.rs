//! `factum keys`: which keys sign and verify tokens, and lets the next one sign.

use std::process::ExitCode;

use reqwest::Method;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::client::ANSWER_TIMEOUT;
use super::client::Client;
use super::client::Connection;
use super::event::seconds;
use super::failure::Failure;
use super::output::Column;
use super::output::Output;

#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  factum keys\n  factum keys --rotate\n\n\
    The next key is published before it signs, and the one before verifies until the last token that it has signed has\n\
    expired: a rotation logs nobody out.")]
pub(crate) struct Arguments {
    /// Let the next key sign.
    #[arg(long)]
    rotate: bool,
    #[command(flatten)]
    connection: Connection,
}

#[derive(Deserialize)]
struct Listed {
    keys: Vec<Box<RawValue>>,
}

#[derive(Deserialize)]
struct Key {
    kid: String,
    algorithm: String,
    state: String,
    created_at: String,
    verifies_until: Option<String>,
}

pub(crate) async fn run(arguments: &Arguments, output: &mut Output) -> Result<ExitCode, Failure> {
    let client = Client::new(&arguments.connection)?;
    let listed: Listed = if arguments.rotate {
        let request = client.request(Method::POST, &["v1", "keys", "rotate"], &[])?.timeout(ANSWER_TIMEOUT);
        client.json(client.send(request).await?).await?
    } else {
        client.get(&["v1", "keys"], &[]).await?
    };
    let mut rows = Vec::new();
    for key in &listed.keys {
        if !output.is_human() {
            output.line(key.get())?;
            continue;
        }
        let key: Key =
            serde_json::from_str(key.get()).map_err(|error| Failure::failed("the answer cannot be read").detail(error.to_string()))?;
        let until = key.verifies_until.as_deref().map(seconds).unwrap_or_default();
        rows.push(vec![key.kid, key.algorithm, key.state, seconds(&key.created_at), until]);
    }
    if output.is_human() {
        output.table(&COLUMNS, rows)?;
    }
    Ok(ExitCode::SUCCESS)
}

const COLUMNS: [Column; 5] =
    [Column::left("key"), Column::left("algorithm"), Column::left("state"), Column::left("created at"), Column::left("verifies until")];
