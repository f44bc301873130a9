//! `factum apply`: a folder of definitions, sent to a server one by one.

mod sample;

use std::collections::HashSet;
use std::path::PathBuf;
use std::process::ExitCode;

use reqwest::Method;
use reqwest::header::CONTENT_TYPE;
use serde::Deserialize;
use serde::Serialize;
use serde_json::Value;
use serde_json::value::RawValue;

use super::client::ANSWER_TIMEOUT;
use super::client::Client;
use super::client::Connection;
use super::failure::Failure;
use super::failure::Problem;
use super::output::Output;
use super::output::printable;
use crate::definition::Format;
use crate::definition::Kind;
use crate::definition::folder;
use crate::definition::folder::FolderFault;
use crate::definition::folder::Found;
use sample::Sample;

#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  factum apply ./definitions --dry-run\n  factum apply ./definitions\n\n\
    The folder holds aggregates/<category>.js or .json, schemas/<type>/<version>.json, with\n\
    <version>.upcast.js beside it if the upcaster is kept apart, projections/<view>.toml or .json with\n\
    their modules (.js), subscriptions/<name>.toml or .json, and exports/<name>.toml or .json. Schemas go\n\
    first, by version.\n\
    Applying twice changes nothing.\n\n\
    --dry-run also shows which rows a changed projection would make otherwise of the first events of\n\
    the log. Changed rows are built beside those in use: `factum projections --wait` waits for them.")]
pub(crate) struct Arguments {
    /// The folder of definitions.
    #[arg(value_name = "DIR")]
    folder: PathBuf,
    /// Only check, and print what would change, in the rows of projections too.
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    connection: Connection,
}

#[derive(Deserialize)]
struct Answer {
    change: String,
    /// Of a projection that was only tried.
    sample: Option<Box<RawValue>>,
}

/// What is printed of a definition for programs.
#[derive(Serialize)]
struct Line<'a> {
    file: &'a str,
    kind: Kind,
    name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    change: Option<&'a str>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    dry_run: bool,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    unchecked: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    sample: Option<&'a RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<&'a Problem>,
}

/// Whether a definition was only tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Trial {
    No,
    Checked,
    /// A version of a schema can be checked against the one before only once that is there.
    Unchecked,
}

pub(crate) async fn run(arguments: &Arguments, output: &mut Output) -> Result<ExitCode, Failure> {
    let client = Client::new(&arguments.connection)?;
    let found = folder::read(&arguments.folder).map_err(|fault| unusable(&arguments.folder, &fault))?;
    let mut refused = Vec::new();
    let mut begun = HashSet::new();
    for definition in &found {
        let begins = (definition.kind == Kind::Schema).then(|| event_type(definition).0.to_owned());
        if begins.as_ref().is_some_and(|event_type| begun.contains(event_type)) {
            print(output, definition, &Answer { change: "created".to_owned(), sample: None }, Trial::Unchecked)?;
            continue;
        }
        match send(&client, definition, arguments.dry_run).await {
            Ok(answer) => {
                print(output, definition, &answer, if arguments.dry_run { Trial::Checked } else { Trial::No })?;
                if arguments.dry_run && answer.change == "created" {
                    begun.extend(begins);
                }
            }
            // Without a server's word there is no sense in trying the others.
            Err(failure) => match failure.as_problem() {
                None => return Err(failure),
                Some(problem) => {
                    refused.push(told(definition, problem));
                    print_refused(output, definition, problem)?;
                }
            },
        }
        output.flush()?;
    }
    if refused.is_empty() {
        return Ok(ExitCode::SUCCESS);
    }
    Err(Failure::failed(format!("{} of {} definitions were refused", refused.len(), found.len()))
        .detail(refused.join("\n"))
        .next("correct them and apply the folder again; what was in force before them still is"))
}

async fn send(client: &Client, definition: &Found, dry_run: bool) -> Result<Answer, Failure> {
    let path = match definition.kind {
        Kind::Aggregate => vec!["v1", "aggregates", &definition.name],
        Kind::Schema => {
            let (event_type, version) = event_type(definition);
            vec!["v1", "schemas", event_type, version]
        }
        Kind::Projection => vec!["v1", "projections", &definition.name],
        Kind::Subscription => vec!["v1", "subscriptions", &definition.name],
        Kind::Export => vec!["v1", "exports", &definition.name],
    };
    let content_type = match definition.format {
        Format::Javascript => "text/javascript",
        Format::Json => "application/json",
        Format::Toml => "application/toml",
    };
    let query: Vec<_> = dry_run.then(|| ("dry_run", "true".to_owned())).into_iter().collect();
    let request = client.request(Method::PUT, &path, &query)?.header(CONTENT_TYPE, content_type).timeout(ANSWER_TIMEOUT);
    let response = client.send(request.body(definition.text.clone())).await?;
    client.json(response).await
}

/// Type and version of a schema.
fn event_type(definition: &Found) -> (&str, &str) {
    definition.name.rsplit_once('/').unwrap_or((&definition.name, ""))
}

fn print(output: &mut Output, definition: &Found, answer: &Answer, trial: Trial) -> Result<(), Failure> {
    let unchecked = trial == Trial::Unchecked;
    let (change, sample) = (answer.change.as_str(), answer.sample.as_deref());
    if !output.is_human() {
        return Ok(output.json(&Line { change: Some(change), dry_run: trial != Trial::No, unchecked, sample, ..line(definition) })?);
    }
    let word = match (change, trial) {
        ("created", Trial::Checked | Trial::Unchecked) => "would create",
        ("changed", Trial::Checked | Trial::Unchecked) => "would change",
        (change, _) => change,
    };
    let note = if unchecked { "  (not checked: the version before is not there yet)" } else { "" };
    let text = format!("{word:<12}  {}{note}", printable(&definition.file));
    let text = if change == "same" { output.dim(&text) } else { output.green(&text) };
    output.line(&text)?;
    match sample.filter(|_| change != "same") {
        Some(sample) => Sample::read(sample)?.print(output),
        None => Ok(()),
    }
}

fn print_refused(output: &mut Output, definition: &Found, problem: &Problem) -> Result<(), Failure> {
    if !output.is_human() {
        return Ok(output.json(&Line { error: Some(problem), ..line(definition) })?);
    }
    let text = output.yellow(&format!("{:<12}  {}", "refused", printable(&definition.file)));
    Ok(output.line(&text)?)
}

fn line(definition: &Found) -> Line<'_> {
    Line {
        file: &definition.file,
        kind: definition.kind,
        name: &definition.name,
        change: None,
        dry_run: false,
        unchecked: false,
        sample: None,
        error: None,
    }
}

/// The place in the definition's files, and what is wrong there.
fn told(definition: &Found, problem: &Problem) -> String {
    let number = |name: &str| problem.members.get(name).and_then(Value::as_u64);
    let mut text = format!("{}: {}", definition.place(number("line"), number("column")), problem.detail);
    if let Some(pointer) = problem.members.get("pointer").and_then(Value::as_str) {
        text.push_str(&format!(" (at {pointer})"));
    }
    for broken in problem.members.get("breaks").and_then(Value::as_array).into_iter().flatten() {
        let part = |name: &str| broken.get(name).and_then(Value::as_str).unwrap_or_default();
        text.push_str(&format!("\n  {}: {}", part("pointer"), part("detail")));
    }
    printable_lines(&text)
}

fn printable_lines(text: &str) -> String {
    text.lines().map(printable).collect::<Vec<_>>().join("\n")
}

fn unusable(folder: &std::path::Path, fault: &FolderFault) -> Failure {
    Failure::failed(format!("{} cannot be applied", folder.display()))
        .detail(fault.to_string())
        .next("nothing was sent; correct the folder")
}
