//! `factum token`: gets an access token for a client, says what a token comes to, or ends it.

use std::io::Read;
use std::path::PathBuf;
use std::process::ExitCode;

use reqwest::Method;
use reqwest::RequestBuilder;
use reqwest::Url;
use reqwest::header::CONTENT_TYPE;
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use super::client::ANSWER_TIMEOUT;
use super::client::Client;
use super::client::Connection;
use super::failure::Failure;
use super::output::Output;
use super::output::printable;

#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  factum token --client root --secret-file root.secret\n  \
    export FACTUM_TOKEN=$(factum token --client mail --secret-file mail.secret --scope events:read)\n  \
    factum token --client root --secret-file root.secret --inspect < leaked.token\n  \
    factum token --client root --secret-file root.secret --revoke < leaked.token\n\n\
    Prints the token alone; with --json the whole answer, the refresh token with it. A token to be inspected or revoked is read\n\
    from the standard input: other users of the machine can see flags.")]
pub(crate) struct Arguments {
    /// The client's name.
    #[arg(long, value_name = "NAME", env = "FACTUM_CLIENT_ID")]
    client: String,
    /// The file that holds its secret; without one FACTUM_CLIENT_SECRET counts.
    #[arg(long, value_name = "FILE")]
    secret_file: Option<PathBuf>,
    /// Fewer scopes than the client has, with spaces between them.
    #[arg(long, value_name = "SCOPES")]
    scope: Option<String>,
    /// Fewer streams than the client has, with spaces between them.
    #[arg(long, value_name = "PATTERNS")]
    streams: Option<String>,
    /// Say what the token on the standard input comes to.
    #[arg(long, conflicts_with_all = ["scope", "streams", "revoke"])]
    inspect: bool,
    /// End the token on the standard input before its time.
    #[arg(long, conflicts_with_all = ["scope", "streams"])]
    revoke: bool,
    #[command(flatten)]
    connection: Connection,
}

#[derive(Deserialize)]
struct Issued {
    access_token: String,
}

pub(crate) async fn run(arguments: &Arguments, output: &mut Output) -> Result<ExitCode, Failure> {
    let client = Client::without_token(&arguments.connection)?;
    if arguments.inspect || arguments.revoke {
        return about(arguments, &client, output).await;
    }
    let mut form = vec![("grant_type", "client_credentials")];
    form.extend(arguments.scope.as_deref().map(|scope| ("scope", scope)));
    form.extend(arguments.streams.as_deref().map(|streams| ("streams", streams)));
    let answer: Box<RawValue> = ask(arguments, &client, "token", &form).await?;
    if output.is_json() {
        output.line(answer.get())?;
        return Ok(ExitCode::SUCCESS);
    }
    let issued: Issued = read(&answer)?;
    output.line(&printable(&issued.access_token))?;
    Ok(ExitCode::SUCCESS)
}

async fn about(arguments: &Arguments, client: &Client, output: &mut Output) -> Result<ExitCode, Failure> {
    let mut token = String::new();
    let bounded = std::io::stdin().lock().take(TOKEN_BYTES_MAX).read_to_string(&mut token);
    bounded.map_err(|error| Failure::usage("no token can be read from the standard input").detail(error.to_string()))?;
    let verb = if arguments.revoke { "revoke" } else { "introspect" };
    let answer: Box<RawValue> = ask(arguments, client, verb, &[("token", token.trim())]).await?;
    if arguments.revoke {
        if output.is_human() {
            output.line("it does not count any more")?;
        }
        return Ok(ExitCode::SUCCESS);
    }
    if !output.is_human() {
        output.line(answer.get())?;
        return Ok(ExitCode::SUCCESS);
    }
    let found: serde_json::Map<String, Value> = read(&answer)?;
    for (name, value) in found {
        let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        output.line(&printable(&format!("{name:<12} {text}")))?;
    }
    Ok(ExitCode::SUCCESS)
}

async fn ask(arguments: &Arguments, client: &Client, verb: &str, form: &[(&str, &str)]) -> Result<Box<RawValue>, Failure> {
    let request = client.request(Method::POST, &["oauth", verb], &[])?;
    let request = request.header(CONTENT_TYPE, "application/x-www-form-urlencoded").body(encoded(form)?);
    let request = with_secret(arguments, request)?.timeout(ANSWER_TIMEOUT);
    let response = client.send(request).await?;
    client.json(response).await
}

/// Name and secret, each of them form-encoded, as RFC 6749 has it.
fn with_secret(arguments: &Arguments, request: RequestBuilder) -> Result<RequestBuilder, Failure> {
    let secret = match &arguments.secret_file {
        Some(file) => std::fs::read_to_string(file)
            .map_err(|error| Failure::usage(format!("cannot read {}", file.display())).detail(error.to_string()))?,
        None => std::env::var("FACTUM_CLIENT_SECRET")
            .map_err(|_| Failure::usage("no secret").next("name its file with --secret-file, or set FACTUM_CLIENT_SECRET"))?,
    };
    // A name without a value: `=` stands behind it, and belongs to nobody.
    let alone = |text: &str| Ok::<_, Failure>(encoded(&[(text, "")])?.trim_end_matches('=').to_owned());
    Ok(request.basic_auth(alone(&arguments.client)?, Some(alone(secret.trim())?)))
}

/// As a form is written.
fn encoded(pairs: &[(&str, &str)]) -> Result<String, Failure> {
    let mut address = Url::parse("http://form").map_err(|error| Failure::failed(error.to_string()))?;
    address.query_pairs_mut().extend_pairs(pairs);
    Ok(address.query().unwrap_or_default().to_owned())
}

fn read<'a, T: Deserialize<'a>>(text: &'a RawValue) -> Result<T, Failure> {
    serde_json::from_str(text.get()).map_err(|error| Failure::failed("the answer cannot be read").detail(error.to_string()))
}

const TOKEN_BYTES_MAX: u64 = 64 << 10;
