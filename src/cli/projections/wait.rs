//! When has a projection caught up, and when are the rows in use those of the definition in force?

use std::time::Duration;
use std::time::Instant;

use indicatif::ProgressBar;
use indicatif::ProgressStyle;
use reqwest::Method;
use serde_json::value::RawValue;

use super::state::State;
use super::state::pace;
use crate::cli::client::ANSWER_TIMEOUT;
use crate::cli::client::Client;
use crate::cli::failure::Failure;
use crate::cli::output::grouped;
use crate::cli::output::printable;
use crate::config::duration_text;

/// Waits until a projection has everything that is in the log now, and builds nothing beside its rows; the server's answer then.
///
/// `seen` is told what it fares like meanwhile, and may give up.
pub(crate) async fn caught_up(
    client: &Client,
    name: &str,
    limit: Option<Duration>,
    mut seen: impl FnMut(&State) -> Result<(), Failure>,
) -> Result<Box<RawValue>, Failure> {
    let started = Instant::now();
    let first: Box<RawValue> = client.get(&["v1", "projections", name], &[]).await?;
    let head = State::read(&first)?.head;
    loop {
        let left = limit.map_or(PAUSE, |limit| limit.saturating_sub(started.elapsed()).min(PAUSE));
        let reached = reached(client, name, &head, left).await?;
        let has_all = reached.is_some();
        let answer = match reached {
            Some(answer) => answer,
            None => client.get(&["v1", "projections", name], &[]).await?,
        };
        let state = State::read(&answer)?;
        if has_all && state.is_settled() {
            return Ok(answer);
        }
        seen(&state)?;
        if state.stands_still() {
            return Err(stopped(&state));
        }
        if limit.is_some_and(|limit| started.elapsed() >= limit) {
            return Err(too_late(&state, started.elapsed()));
        }
        if has_all {
            tokio::time::sleep(left).await;
        }
    }
}

/// The state once the rows in use have come so far; `None` if they don't within the wait.
async fn reached(client: &Client, name: &str, head: &str, wait: Duration) -> Result<Option<Box<RawValue>>, Failure> {
    let request = client.request(Method::GET, &["v1", "projections", name], &[])?.header("Factum-Min-Position", head);
    let request = request.header("Prefer", format!("wait={:.3}", wait.as_secs_f64())).timeout(ANSWER_TIMEOUT);
    match client.send(request).await {
        Ok(response) => Ok(Some(client.json(response).await?)),
        Err(failure) if failure.as_problem().is_some_and(|problem| problem.slug() == "read-model-behind") => Ok(None),
        Err(failure) => Err(failure),
    }
}

fn stopped(state: &State) -> Failure {
    let name = printable(&state.name);
    let how = if state.state == "paused" { "is paused" } else { "has failed" };
    let mut failure = Failure::failed(format!("projection {name} {how}, so there is nothing to wait for"));
    if let Some(trouble) = state.trouble() {
        failure = failure.detail(printable(&trouble));
    }
    match state.next_step() {
        Some(next) => failure.next(next),
        None => failure,
    }
}

fn too_late(state: &State, waited: Duration) -> Failure {
    let name = printable(&state.name);
    let how = match (state.trouble(), state.progress()) {
        (Some(trouble), _) => format!("it is {}: {}", state.state, printable(&trouble)),
        (None, Some(progress)) => progress,
        (None, None) => format!("it is {}, {} events behind", state.state, grouped(state.lag_events)),
    };
    Failure::failed(format!("projection {name} has not caught up in {}", duration_text(waited)))
        .detail(how)
        .next("it goes on by itself; wait longer with --timeout")
}

/// A bar on stderr, if that is a terminal.
pub(super) fn bar() -> ProgressBar {
    let bar = ProgressBar::new(1);
    bar.set_style(ProgressStyle::with_template("  {bar:24} {percent:>3}%  {wide_msg}").expect("a constant template is valid"));
    bar
}

/// Shows on the bar how a projection fares.
pub(super) fn show(bar: &ProgressBar, state: &State) {
    let name = printable(&state.name);
    let (done, total) = match &state.rebuild {
        Some(rebuild) => (rebuild.done, rebuild.total),
        None => (positions(&state.checkpoint), positions(&state.head)),
    };
    bar.set_length(total.max(1));
    bar.set_position(done.min(total));
    let what = match (state.trouble(), state.progress()) {
        (Some(trouble), None) => format!("{}: {}", state.state, printable(&trouble)),
        (_, Some(_)) => state.left().unwrap_or_default(),
        (None, None) => format!("{} events to go{}", grouped(state.lag_events), pace(state.events_per_second)),
    };
    bar.set_message(format!("{name}: {what}"));
}

/// How many positions of the log lie before a cursor: for a bar, which may be wrong about a cursor that it can't read.
fn positions(cursor: &str) -> u64 {
    cursor.split('.').filter_map(|position| position.parse::<u64>().ok()).sum()
}

/// How long one request waits, and how often is looked at a rebuild.
const PAUSE: Duration = Duration::from_millis(250);
