//! `factum tail`: events as they are recorded, also across restarts of the server, without a gap or a repeat.

use std::process::ExitCode;
use std::time::Duration;

use reqwest::Method;
use reqwest::header::ACCEPT;
use serde::Deserialize;

use super::client::Client;
use super::client::Connection;
use super::event::Event;
use super::failure::Failure;
use super::failure::Problem;
use super::output::Output;
use super::output::terminal_width;
use super::sse::SseEvent;
use super::sse::SseParser;

#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  factum tail\n  factum tail --category order --type OrderPaid\n  \
    factum tail --from-start --tag customer:7 | jq .data\n\n\
    Ends with Ctrl-C. When the server restarts it goes on where it was.")]
pub(crate) struct Arguments {
    /// Only events of this category; may be given several times.
    #[arg(long)]
    category: Vec<String>,
    /// Only events of this type; may be given several times.
    #[arg(long = "type", value_name = "TYPE")]
    event_type: Vec<String>,
    /// Only events with this tag; may be given several times.
    #[arg(long)]
    tag: Vec<String>,
    /// Begin behind this cursor instead of now.
    #[arg(long, value_name = "CURSOR", conflicts_with = "from_start")]
    after: Option<String>,
    /// Begin with the first event.
    #[arg(long)]
    from_start: bool,
    #[command(flatten)]
    connection: Connection,
}

pub(crate) async fn run(arguments: &Arguments, output: &mut Output) -> Result<ExitCode, Failure> {
    let client = Client::new(&arguments.connection)?;
    let cursor = start(&client, arguments).await?;
    let mut feed = Feed { client, filter: filter(arguments), cursor };
    let mut pause = PAUSE_MIN;
    let mut was_connected = false;
    loop {
        match feed.connect().await {
            Ok(response) => {
                was_connected = true;
                pause = PAUSE_MIN;
                feed.drain(response, output).await?;
            }
            // The first connection must work: nobody wants to wait for a server that was never there.
            Err(failure) if !was_connected || !is_passing(&failure) => return Err(failure),
            Err(_) => {}
        }
        if output.is_human() {
            let line = output.yellow(&format!("connection lost; going on behind cursor {} …", feed.cursor));
            output.line(&line)?;
            output.flush()?;
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(PAUSE_MAX);
    }
}

/// Where the feed begins, always as a cursor: `end` would mean another place after a reconnect.
async fn start(client: &Client, arguments: &Arguments) -> Result<String, Failure> {
    if arguments.from_start {
        return Ok("0".to_owned());
    }
    if let Some(cursor) = &arguments.after {
        return Ok(cursor.clone());
    }
    let now: Now = client.get(&["v1", "events"], &[("after", "end".to_owned()), ("limit", "1".to_owned())]).await?;
    Ok(now.cursor)
}

#[derive(Deserialize)]
struct Now {
    cursor: String,
}

fn filter(arguments: &Arguments) -> Vec<(&'static str, String)> {
    let named = |name, values: &[String]| values.iter().map(move |value| (name, value.clone())).collect::<Vec<_>>();
    [named("category", &arguments.category), named("type", &arguments.event_type), named("tag", &arguments.tag)].concat()
}

/// Trouble that a restart or a moment's patience ends.
fn is_passing(failure: &Failure) -> bool {
    match failure {
        Failure::Told(told) => told.problem.as_ref().is_none_or(|problem| problem.status == 429 || problem.status >= 500),
        Failure::BrokenPipe => false,
    }
}

struct Feed {
    client: Client,
    filter: Vec<(&'static str, String)>,
    /// Behind the last event that was printed.
    cursor: String,
}

impl Feed {
    async fn connect(&self) -> Result<reqwest::Response, Failure> {
        let mut query = self.filter.clone();
        query.push(("after", self.cursor.clone()));
        let request = self.client.request(Method::GET, &["v1", "events"], &query)?.header(ACCEPT, "text/event-stream");
        self.client.send(request).await
    }

    /// Prints until the connection ends, for whatever reason.
    async fn drain(&mut self, mut response: reqwest::Response, output: &mut Output) -> Result<(), Failure> {
        let mut parser = SseParser::default();
        // The server sends a heartbeat every 15 s: silence means that nobody is there any more.
        while let Ok(Ok(Some(chunk))) = tokio::time::timeout(SILENCE_MAX, response.chunk()).await {
            let events = parser.push(&chunk).map_err(Failure::failed)?;
            for event in events {
                if !self.take(&event, output)? {
                    return Ok(());
                }
            }
            output.flush()?;
        }
        Ok(())
    }

    /// Prints one event and moves the cursor behind it; `false` if the server says that the connection is of no use any more.
    fn take(&mut self, event: &SseEvent, output: &mut Output) -> Result<bool, Failure> {
        match event.event.as_str() {
            "event" if output.is_human() => {
                let parsed =
                    Event::parse(&event.data).map_err(|error| Failure::failed("the feed cannot be read").detail(error.to_string()))?;
                let line = parsed.feed_line(terminal_width());
                output.line(&line)?;
            }
            "event" => output.line(&event.data)?,
            "error" => {
                let problem: Problem = serde_json::from_str(&event.data).unwrap_or_default();
                let failure = Failure::problem(problem);
                return if is_passing(&failure) { Ok(false) } else { Err(failure) };
            }
            // `caught-up` and `fell-behind` carry a cursor too; names of a later version are passed over.
            _ => {}
        }
        if !event.id.is_empty() {
            event.id.clone_into(&mut self.cursor);
        }
        Ok(true)
    }
}

const PAUSE_MIN: Duration = Duration::from_millis(250);
const PAUSE_MAX: Duration = Duration::from_secs(5);
const SILENCE_MAX: Duration = Duration::from_secs(45);
