//! How does a command end when it can't do its work?

use std::io;

use serde::Deserialize;
use serde_json::Map;
use serde_json::Value;

/// Why a command stops: what is printed to stderr, and the exit code.
#[derive(Debug)]
pub(crate) enum Failure {
    /// Something the user can read and act on.
    Told(Box<Told>),
    /// Whoever read our output went away; nobody is there to be told.
    BrokenPipe,
}

/// What is told to the user.
#[derive(Debug)]
pub(crate) struct Told {
    pub(crate) exit: u8,
    pub(crate) title: String,
    pub(crate) detail: Option<String>,
    pub(crate) next: Option<String>,
    /// The server's own answer, if it was a problem document.
    pub(crate) problem: Option<Problem>,
    /// No server was reached, so nothing can have happened.
    pub(crate) was_never_sent: bool,
}

/// The server's `application/problem+json`.
#[derive(Clone, Debug, Default, Deserialize, serde::Serialize)]
pub(crate) struct Problem {
    #[serde(rename = "type", default)]
    pub(crate) kind: String,
    #[serde(default)]
    pub(crate) title: String,
    #[serde(default)]
    pub(crate) status: u16,
    #[serde(default)]
    pub(crate) detail: String,
    #[serde(flatten)]
    pub(crate) members: Map<String, Value>,
}

impl Problem {
    /// What stands behind `urn:factum:problem:`.
    pub(crate) fn slug(&self) -> &str {
        self.kind.rsplit(':').next().unwrap_or_default()
    }
}

impl Failure {
    /// The work could not be done.
    pub(crate) fn failed(title: impl Into<String>) -> Self {
        Self::told(EXIT_FAILED, title.into())
    }

    /// The command line or the input is wrong.
    pub(crate) fn usage(title: impl Into<String>) -> Self {
        Self::told(EXIT_USAGE, title.into())
    }

    fn told(exit: u8, title: String) -> Self {
        Self::Told(Box::new(Told { exit, title, detail: None, next: None, problem: None, was_never_sent: false }))
    }

    /// Adds what exactly is wrong.
    #[must_use]
    pub(crate) fn detail(mut self, detail: impl Into<String>) -> Self {
        if let Self::Told(told) = &mut self {
            told.detail = Some(detail.into());
        }
        self
    }

    /// Adds what to do about it.
    #[must_use]
    pub(crate) fn next(mut self, next: impl Into<String>) -> Self {
        if let Self::Told(told) = &mut self {
            told.next = Some(next.into());
        }
        self
    }

    /// Marks that no server was reached.
    #[must_use]
    pub(crate) fn never_sent(mut self) -> Self {
        if let Self::Told(told) = &mut self {
            told.was_never_sent = true;
        }
        self
    }

    /// Adds what to do if nobody answered: without an answer nobody knows whether it was done.
    #[must_use]
    pub(crate) fn in_doubt(mut self, again: &str) -> Self {
        if let Self::Told(told) = &mut self
            && told.problem.is_none()
            && !told.was_never_sent
        {
            told.next = Some(again.to_owned());
        }
        self
    }

    /// Shows where in a query the fault is, if it is the query's and the place is known.
    #[cfg(feature = "analytics")]
    #[must_use]
    pub(crate) fn pointed_at(mut self, query: &str) -> Self {
        let Self::Told(told) = &mut self else { return self };
        let Some(problem) = told.problem.as_ref().filter(|problem| problem.members.get("field") == Some(&"query".into())) else {
            return self;
        };
        told.title = "the query cannot be answered".to_owned();
        told.detail = Some(match place(problem, query) {
            Some(place) => format!("{}\n{place}", problem.detail),
            None => problem.detail.clone(),
        });
        self
    }

    /// What the server refused, with what to do about it.
    pub(crate) fn problem(problem: Problem) -> Self {
        let exit = if matches!(problem.status, 409 | 412) { EXIT_CONFLICT } else { EXIT_FAILED };
        let title = if problem.title.is_empty() { format!("the server answered {}", problem.status) } else { problem.title.clone() };
        let detail = Some(detail(&problem)).filter(|detail| !detail.is_empty());
        Self::Told(Box::new(Told { exit, title, detail, next: next_step(&problem), problem: Some(problem), was_never_sent: false }))
    }

    /// The server's answer, if that is what it was.
    pub(crate) fn as_problem(&self) -> Option<&Problem> {
        match self {
            Self::Told(told) => told.problem.as_ref(),
            Self::BrokenPipe => None,
        }
    }

    /// It in one line, for whoever goes on all the same.
    pub(crate) fn summary(&self) -> String {
        match self {
            Self::Told(told) => match &told.detail {
                Some(detail) => format!("{}: {detail}", told.title),
                None => told.title.clone(),
            },
            Self::BrokenPipe => "nobody reads the output".to_owned(),
        }
    }

    /// The process's exit code.
    pub(crate) fn exit(&self) -> u8 {
        match self {
            Self::Told(told) => told.exit,
            Self::BrokenPipe => 0,
        }
    }

    /// Says it on stderr, as one JSON object if `json`.
    pub(crate) fn print(&self, json: bool, colour: bool) {
        let Self::Told(told) = self else { return };
        let text = if json { told.as_json() } else { told.as_text(colour) };
        // Nobody is left to be told if stderr is closed.
        drop(io::Write::write_all(&mut io::stderr().lock(), text.as_bytes()));
    }
}

impl Told {
    fn as_text(&self, colour: bool) -> String {
        let (red, dim, plain) = if colour { ("\u{1b}[1;31m", "\u{1b}[2m", "\u{1b}[0m") } else { ("", "", "") };
        let mut text = format!("{red}error:{plain} {}\n", self.title);
        if let Some(detail) = &self.detail {
            text.push_str(&format!("  {}\n", detail.trim_end().replace('\n', "\n  ")));
        }
        if let Some(next) = &self.next {
            text.push_str(&format!("  {dim}next:{plain} {}\n", next.replace('\n', "\n        ")));
        }
        text
    }

    fn as_json(&self) -> String {
        let value = serde_json::json!({
            "error": {"title": self.title, "detail": self.detail, "next": self.next, "exit": self.exit, "problem": self.problem}
        });
        format!("{value}\n")
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::BrokenPipe {
            Self::BrokenPipe
        } else {
            Self::failed("cannot write the output").detail(error.to_string())
        }
    }
}

/// The line that a problem is about, with a mark below the place.
#[cfg(feature = "analytics")]
fn place(problem: &Problem, text: &str) -> Option<String> {
    let number = |name: &str| problem.members.get(name).and_then(Value::as_u64).and_then(|number| usize::try_from(number).ok());
    let (line, column) = (number("line")?, number("column")?);
    let shown = super::output::printable(&text.lines().nth(line.checked_sub(1)?)?.replace('\t', " "));
    Some(format!("line {line}: {shown}\n{:>width$}", '^', width = format!("line {line}: ").len() + column))
}

/// What exactly was refused, with its place where there is one.
fn detail(problem: &Problem) -> String {
    let text = |name: &str| problem.members.get(name).and_then(Value::as_str);
    let number = |name: &str| problem.members.get(name).and_then(Value::as_u64);
    if let ("malformed-request", Some(field)) = (problem.slug(), text("field")) {
        return format!("{field}: {}", problem.detail);
    }
    match (text("code"), text("file"), number("line"), number("column")) {
        (Some(code), ..) => format!("{} ({code})", problem.detail),
        (None, Some(file), Some(line), Some(column)) => format!("{file}:{line}:{column}: {}", problem.detail),
        (None, Some(file), ..) => format!("{file}: {}", problem.detail),
        _ => problem.detail.clone(),
    }
}

fn next_step(problem: &Problem) -> Option<String> {
    let text = match (problem.slug(), problem.status) {
        ("wrong-expected-version", _) | (_, 412) => {
            let stream = problem.members.get("stream").and_then(Value::as_str).unwrap_or("STREAM");
            match problem.members.get("actual_version").and_then(Value::as_u64) {
                Some(actual) => {
                    format!("read what came in between (`factum read {stream}`), decide again, and append with --expect {actual}")
                }
                None => format!("read the stream again (`factum read {stream}`), decide again, and append with the version it has now"),
            }
        }
        ("event-id-reused", _) => "this id belongs to another event; leave --id out to get a fresh one, or take another --key".to_owned(),
        ("unauthenticated", _) => "get a token with `factum token --client NAME --secret-file FILE`, and set FACTUM_TOKEN to it".to_owned(),
        ("forbidden", _) if problem.members.contains_key("scope") => {
            "`factum token` gives one with the scope, if the client has it; `factum clients` says so".to_owned()
        }
        ("stream-not-found", _) => "`factum streams` lists what there is".to_owned(),
        ("command-not-found", _) => match problem.members.get("known").and_then(Value::as_array) {
            Some(known) if !known.is_empty() => {
                let known: Vec<_> = known.iter().filter_map(Value::as_str).collect();
                format!("it has {}", known.join(", "))
            }
            _ => "define the category with a module that decides it: `factum apply DIR`".to_owned(),
        },
        ("view-not-found", _) => match problem.members.get("known").and_then(Value::as_array) {
            Some(known) if known.is_empty() => "`factum apply DIR` defines projections; each has a view".to_owned(),
            _ => "`factum views` lists what there is".to_owned(),
        },
        ("row-not-found", _) => match problem.members.get("view").and_then(Value::as_str) {
            Some(view) => format!("`factum views {view}` lists rows; one that was written just now comes with --min-position CURSOR"),
            None => return None,
        },
        ("read-model-behind", _) => "`factum projections` says how it fares; wait longer, or ask without a position".to_owned(),
        ("projection-conflict", _) => "`factum projections` says how it fares".to_owned(),
        ("target-unavailable", _) => "`factum projections` says what is wrong with it".to_owned(),
        ("stream-deleted", _) => "the stream has been ended for ever; use another name".to_owned(),
        ("storage-full", _) => "free space on the server's disk; it goes on by itself. Reads work meanwhile".to_owned(),
        ("store-read-only", _) => "stop the server and run `factum verify DIR` on its data directory".to_owned(),
        (_, 401) => "give a token with --token or FACTUM_TOKEN".to_owned(),
        (_, 403) => "this token may not do that; `$` streams belong to the system".to_owned(),
        (_, 413) => "send less at once, or raise limits.body or limits.event in the server's settings".to_owned(),
        (_, 429 | 503) => "try again in a moment".to_owned(),
        _ => return None,
    };
    Some(text)
}

/// The work could not be done.
pub(crate) const EXIT_FAILED: u8 = 1;
/// The command line or the input is wrong.
pub(crate) const EXIT_USAGE: u8 = 2;
/// Somebody else was faster, or the id is taken.
pub(crate) const EXIT_CONFLICT: u8 = 3;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_conflict_exits_with_3_and_says_where_the_stream_is() {
        let body = r#"{"type":"urn:factum:problem:wrong-expected-version","title":"Wrong expected version","status":409,
            "detail":"stream order-1 is at version 3, expected 2","stream":"order-1","expected_version":2,"actual_version":3}"#;
        let failure = Failure::problem(serde_json::from_str(body).unwrap());
        assert_eq!(failure.exit(), EXIT_CONFLICT);
        let Failure::Told(told) = failure else { panic!("it is told") };
        assert_eq!(
            told.as_text(false),
            "error: Wrong expected version\n  stream order-1 is at version 3, expected 2\n  next: read what came in between \
             (`factum read order-1`), decide again, and append with --expect 3\n"
        );
        let json: Value = serde_json::from_str(&told.as_json()).unwrap();
        assert_eq!(json.pointer("/error/problem/actual_version"), Some(&Value::from(3)));
    }

    #[cfg(feature = "analytics")]
    #[test]
    fn the_place_in_a_query_is_shown() {
        let body = r#"{"type":"urn:factum:problem:malformed-request","title":"t","status":400,"detail":"no column b","field":"query","line":2,"column":8}"#;
        let problem: Problem = serde_json::from_str(body).unwrap();
        let Failure::Told(told) = Failure::problem(problem.clone()).pointed_at("-- first\nselect b\tfrom t") else { panic!("it is told") };
        let expected = "error: the query cannot be answered\n  no column b\n  line 2: select b from t\n                 ^\n";
        assert_eq!(told.as_text(false), expected);
        // A place that the text does not have is not shown.
        let Failure::Told(told) = Failure::problem(problem).pointed_at("select b") else { panic!("it is told") };
        assert_eq!(told.detail.as_deref(), Some("no column b"));
    }

    #[test]
    fn other_problems_exit_with_1_and_a_broken_pipe_is_silent() {
        let failure = Failure::problem(Problem { status: 503, ..Problem::default() });
        assert_eq!(failure.exit(), EXIT_FAILED);
        let failure = Failure::from(io::Error::from(io::ErrorKind::BrokenPipe));
        assert_eq!(failure.exit(), 0);
        assert!(matches!(failure, Failure::BrokenPipe));
    }
}
