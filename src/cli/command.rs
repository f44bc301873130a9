//! `factum command`: an aggregate is told to do something, and its category decides.

use std::process::ExitCode;

use reqwest::Method;
use reqwest::header::CONTENT_TYPE;
use serde::Deserialize;
use uuid::Uuid;

use super::append;
use super::client::ANSWER_TIMEOUT;
use super::client::Client;
use super::client::Connection;
use super::failure::Failure;
use super::output::Output;
use super::state::aggregate;

#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  factum command declaration-7 reject '{\"by\": \"me\", \"reason\": \"no receipt\"}'\n  \
    factum command order-42 cancel\n  factum command order-42 pay - --key payment-1 < payment.json\n\n\
    Exit codes: 0 done, 1 rejected (the reason is printed), 3 lost every race against other writers.")]
pub(crate) struct Arguments {
    /// The stream: a category, `-`, and what stands behind it. It need not have events yet.
    stream: String,
    /// The command: a function of the category's `decide`.
    name: String,
    /// The command's content as JSON; `-` reads it from stdin.
    #[arg(value_name = "JSON", default_value = "{}")]
    content: String,
    /// Makes it once only: the same command under the same key changes nothing again.
    #[arg(long, value_name = "KEY")]
    key: Option<String>,
    #[command(flatten)]
    connection: Connection,
}

#[derive(Deserialize)]
struct Answer {
    version: u64,
    events: Vec<Event>,
    #[serde(default)]
    duplicate: bool,
}

#[derive(Deserialize)]
struct Event {
    #[serde(rename = "type")]
    event_type: String,
}

pub(crate) async fn run(arguments: &Arguments, output: &mut Output) -> Result<ExitCode, Failure> {
    let client = Client::new(&arguments.connection)?;
    let (category, id) = aggregate(&arguments.stream)?;
    let content = append::json_argument("the command", &arguments.content)?;
    // The key is drawn here, so that a command whose answer got lost can be sent again without harm.
    let key = arguments.key.clone().unwrap_or_else(|| Uuid::now_v7().to_string());
    let path = ["v1", "aggregates", category, id, "commands", &arguments.name];
    let request = client.request(Method::POST, &path, &[])?.header(CONTENT_TYPE, "application/json").header("Idempotency-Key", &key);
    let again = format!("it may be done or not: run the same command with --key {key}, that is harmless");
    let sent = client.send(request.body(content.get().to_owned()).timeout(ANSWER_TIMEOUT)).await;
    let response = sent.map_err(|failure| failure.in_doubt(&again))?;
    let text = response.text().await.map_err(|error| client.unreachable(&error).in_doubt(&again))?;
    if !output.is_human() {
        output.line(text.trim_end())?;
        return Ok(ExitCode::SUCCESS);
    }
    let answer: Answer =
        serde_json::from_str(&text).map_err(|error| Failure::failed("the answer cannot be read").detail(error.to_string()))?;
    let types: Vec<_> = answer.events.iter().map(|event| event.event_type.as_str()).collect();
    let what = match (answer.duplicate, types.is_empty()) {
        (true, _) => format!("was done already: {}", types.join(", ")),
        (false, true) => "nothing to do".to_owned(),
        (false, false) => format!("done: {}", types.join(", ")),
    };
    output.line(&format!("{what}; {} is at version {}", arguments.stream, answer.version))?;
    Ok(ExitCode::SUCCESS)
}
