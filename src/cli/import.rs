//! `factum import`: NDJSON files into the log, streamed.

mod progress;
mod source;

use std::process::ExitCode;
use std::time::Instant;

use reqwest::Body;
use reqwest::Method;
use reqwest::Response;
use reqwest::header::CONTENT_TYPE;
use serde::Deserialize;
use serde::Serialize;
use tokio_stream::wrappers::ReceiverStream;

use super::client::Client;
use super::client::Connection;
use super::failure::Failure;
use super::failure::Problem;
use super::output::Output;
use super::output::grouped;
use crate::config::bytes_text;
use progress::ProgressLines;
pub(crate) use progress::bar;
pub(crate) use progress::rate;
pub(crate) use source::Source;

#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  factum import events.ndjson.gz\n  zcat old/*.gz | factum import -\n\n\
    A line is an event with its stream:\n  \
    {\"stream\": \"order-42\", \"type\": \"OrderPlaced\", \"id\": \"…\", \"data\": {\"amount\": 19.90}}\n\
    With `id`s an import may be repeated: what is there already is skipped.")]
pub(crate) struct Arguments {
    /// The files; `-` is stdin. gzip and zstd are recognised.
    #[arg(required = true, value_name = "FILE")]
    files: Vec<String>,
    #[command(flatten)]
    connection: Connection,
}

/// What the server says while it imports.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub(crate) struct Totals {
    pub(crate) imported: u64,
    pub(crate) duplicates: u64,
    pub(crate) bytes: u64,
    pub(crate) cursor: String,
    #[serde(default, skip_serializing)]
    done: bool,
}

pub(crate) async fn run(arguments: &Arguments, output: &mut Output) -> Result<ExitCode, Failure> {
    let client = Client::new(&arguments.connection)?;
    for name in &arguments.files {
        let source = Source::open(name)?;
        let bar = bar(source.bytes_total());
        let started = Instant::now();
        let totals = import(&client, source, &bar).await.map_err(|failure| prefix(failure, name));
        bar.finish_and_clear();
        let totals = totals?;
        let seconds = started.elapsed().as_secs_f64();
        report(name, &totals, seconds, output)?;
        output.flush()?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Sends one source as one import, and returns the server's last word.
pub(crate) async fn import(client: &Client, source: Source, bar: &indicatif::ProgressBar) -> Result<Totals, Failure> {
    let (chunks, broken) = source.chunks(bar.clone());
    let request = client
        .request(Method::POST, &["v1", "import"], &[])?
        .header(CONTENT_TYPE, "application/x-ndjson")
        .body(Body::wrap_stream(ReceiverStream::new(chunks)));
    let answered = match client.send(request).await {
        Ok(response) => follow(client, response, bar).await,
        Err(failure) => Err(failure),
    };
    // A source that could not be read explains the broken connection, so it comes first.
    match broken.await {
        Ok(Some(failure)) => Err(failure),
        Ok(None) | Err(_) => answered,
    }
}

async fn follow(client: &Client, mut response: Response, bar: &indicatif::ProgressBar) -> Result<Totals, Failure> {
    let mut lines = ProgressLines::default();
    let mut totals = Totals::default();
    loop {
        let chunk = response.chunk().await.map_err(|error| cut_short(client.unreachable(&error), &totals))?;
        let Some(chunk) = chunk else { break };
        for line in lines.push(&chunk)? {
            totals = match progress::read(&line)? {
                Ok(totals) => totals,
                Err(refused) => return Err(bad_line(refused.problem, refused.line, &totals)),
            };
            bar.set_message(progress::message(&totals, bar.elapsed()));
        }
    }
    if totals.done { Ok(totals) } else { Err(cut_short(Failure::failed("the server ended the import early"), &totals)) }
}

fn cut_short(failure: Failure, totals: &Totals) -> Failure {
    let text = format!(
        "{} events are known to be in; run the same import again:\nevents with an `id` that are there already are skipped",
        grouped(totals.imported + totals.duplicates)
    );
    failure.next(text)
}

fn bad_line(problem: Problem, line: Option<u64>, totals: &Totals) -> Failure {
    let Some(line) = line else { return Failure::problem(problem) };
    let detail = if problem.detail.is_empty() { problem.title } else { problem.detail };
    Failure::failed(format!("line {line} was refused")).detail(detail).next(format!(
        "what came before it stays ({} events); mend the line and run the import again:\n\
        events with an `id` that are there already are skipped",
        grouped(totals.imported + totals.duplicates)
    ))
}

fn prefix(failure: Failure, name: &str) -> Failure {
    match failure {
        Failure::Told(mut told) => {
            told.title = format!("{name}: {}", told.title);
            Failure::Told(told)
        }
        Failure::BrokenPipe => Failure::BrokenPipe,
    }
}

fn report(name: &str, totals: &Totals, seconds: f64, output: &mut Output) -> Result<(), Failure> {
    let rate = rate(totals, seconds);
    if output.is_human() {
        let line = format!(
            "{name}: {} events imported, {} there already, {} in {seconds:.1} s ({} events/s), cursor {}",
            grouped(totals.imported),
            grouped(totals.duplicates),
            bytes_text(totals.bytes),
            grouped(rate),
            totals.cursor
        );
        output.line(&line)?;
    } else {
        output.json(&serde_json::json!({
            "file": name, "imported": totals.imported, "duplicates": totals.duplicates, "bytes": totals.bytes,
            "seconds": seconds, "events_per_second": rate, "cursor": totals.cursor
        }))?;
    }
    Ok(())
}
