//! `factum append`: one event for a stream.

use std::io::Read;
use std::process::ExitCode;

use reqwest::Method;
use serde::Deserialize;
use serde::Serialize;
use serde_json::value::RawValue;
use uuid::Uuid;

use super::client::ANSWER_TIMEOUT;
use super::client::Client;
use super::client::Connection;
use super::failure::Failure;
use super::output::Output;

#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    factum append order-42 OrderPlaced '{\"amount\": 19.90}' --expect 0\n  \
    factum append order-42 OrderPaid '{\"by\": \"card\"}' --expect 1 --tag customer:7\n  \
    jq -c .payload order.json | factum append order-42 OrderImported -\n\n\
    --expect N fails with exit code 3 if the stream is not at version N: somebody else was faster.")]
pub(crate) struct Arguments {
    /// The stream.
    stream: String,
    /// The event's type.
    #[arg(value_name = "TYPE")]
    event_type: String,
    /// The event's data as JSON; `-` reads it from stdin.
    data: String,
    /// The version that the stream must be at (0: nothing there yet), `any` or `exists`.
    #[arg(long, value_name = "N|any|exists", value_parser = parse_expectation)]
    expect: Option<Expectation>,
    /// A tag; may be given several times.
    #[arg(long = "tag", value_name = "TAG")]
    tags: Vec<String>,
    /// Metadata as a JSON object.
    #[arg(long, value_name = "JSON")]
    metadata: Option<String>,
    /// The event's id. A second append with the same id and content changes nothing.
    #[arg(long, value_name = "UUID")]
    id: Option<Uuid>,
    #[command(flatten)]
    connection: Connection,
}

/// What the writer believes about the stream.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(untagged)]
enum Expectation {
    Version(u64),
    Word(&'static str),
}

fn parse_expectation(text: &str) -> Result<Expectation, String> {
    match text {
        "any" => Ok(Expectation::Word("any")),
        "exists" => Ok(Expectation::Word("exists")),
        number => number.parse().map(Expectation::Version).map_err(|_| "a version (0, 1, 2 …), `any` or `exists` is needed".to_owned()),
    }
}

#[derive(Serialize)]
struct Request<'a> {
    events: [NewEvent<'a>; 1],
    #[serde(skip_serializing_if = "Option::is_none")]
    expected_version: Option<&'a Expectation>,
}

#[derive(Serialize)]
struct NewEvent<'a> {
    id: Uuid,
    #[serde(rename = "type")]
    event_type: &'a str,
    data: &'a RawValue,
    #[serde(skip_serializing_if = "Option::is_none")]
    metadata: Option<&'a RawValue>,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    tags: &'a [String],
}

#[derive(Deserialize)]
struct Answer {
    stream: String,
    last_version: u64,
    cursor: String,
    duplicate: bool,
}

pub(crate) async fn run(arguments: &Arguments, output: &mut Output) -> Result<ExitCode, Failure> {
    let client = Client::new(&arguments.connection)?;
    let data = json_argument("the event's data", &arguments.data)?;
    let metadata = arguments.metadata.as_deref().map(|text| json("--metadata", text)).transpose()?;
    // The id is drawn here, so that an append whose answer got lost can be sent again without harm.
    let id = arguments.id.unwrap_or_else(Uuid::now_v7);
    let body = Request {
        events: [NewEvent { id, event_type: &arguments.event_type, data: &data, metadata: metadata.as_deref(), tags: &arguments.tags }],
        expected_version: arguments.expect.as_ref(),
    };
    let request = client.request(Method::POST, &["v1", "streams", &arguments.stream, "events"], &[])?.json(&body).timeout(ANSWER_TIMEOUT);
    let sent = client.send(request).await;
    let again = format!("the event may be there or not: run the same command with --id {id}, that is harmless");
    let response = sent.map_err(|failure| failure.in_doubt(&again))?;
    let text = response.text().await.map_err(|error| client.unreachable(&error).in_doubt(&again))?;
    if !output.is_human() {
        output.line(text.trim_end())?;
        return Ok(ExitCode::SUCCESS);
    }
    let answer: Answer =
        serde_json::from_str(&text).map_err(|error| Failure::failed("the answer cannot be read").detail(error.to_string()))?;
    let what = if answer.duplicate { "was there already" } else { "appended" };
    let line = format!("{what}: {} is at version {}  (cursor {})", answer.stream, answer.last_version, answer.cursor);
    output.line(&line)?;
    Ok(ExitCode::SUCCESS)
}

/// JSON of the command line, or of stdin if that is `-`.
pub(crate) fn json_argument(what: &str, argument: &str) -> Result<Box<RawValue>, Failure> {
    if argument != "-" {
        return json(what, argument);
    }
    let mut text = String::new();
    // One byte more than can be taken, so that too much is noticed.
    std::io::stdin()
        .lock()
        .take(DATA_BYTES_MAX + 1)
        .read_to_string(&mut text)
        .map_err(|error| Failure::usage("stdin cannot be read").detail(error.to_string()))?;
    if text.len() as u64 > DATA_BYTES_MAX {
        return Err(Failure::usage(format!("{what} has more than 16 MiB")).next("`factum import -` takes many events, one a line"));
    }
    json(&format!("{what} (stdin)"), &text)
}

fn json(what: &str, text: &str) -> Result<Box<RawValue>, Failure> {
    serde_json::from_str(text.trim()).map_err(|error| {
        Failure::usage(format!("{what} is not JSON"))
            .detail(error.to_string())
            .next("quote it for the shell, such as '{\"amount\": 19.90}'; a text needs its quotes: '\"text\"'")
    })
}

const DATA_BYTES_MAX: u64 = 16 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_body_is_what_the_contract_says() {
        let data = json("data", r#"{"n": 1.50}"#).unwrap();
        let tags = ["a:1".to_owned()];
        let expected = parse_expectation("3").unwrap();
        let event = NewEvent { id: Uuid::nil(), event_type: "T", data: &data, metadata: None, tags: &tags };
        let text = serde_json::to_string(&Request { events: [event], expected_version: Some(&expected) }).unwrap();
        assert_eq!(
            text,
            concat!(
                r#"{"events":[{"id":"00000000-0000-0000-0000-000000000000","type":"T","#,
                r#""data":{"n": 1.50},"tags":["a:1"]}],"expected_version":3}"#
            )
        );
        assert_eq!(serde_json::to_string(&parse_expectation("exists").unwrap()).unwrap(), "\"exists\"");
        assert!(parse_expectation("-1").is_err());
    }
}
