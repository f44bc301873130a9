//! Which part of an event is meant? JSONPath ([RFC 9535](https://www.rfc-editor.org/rfc/rfc9535)) into the event as readers see it.
//!
//! Most paths are a few names in a row. They are followed without building the event's JSON; the others go through a library.

use std::borrow::Cow;
use std::fmt;

use serde_json::Value as Json;
use serde_json_path::JsonPath;

use super::super::source_event::SourceEvent;

/// A path into an event.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Path {
    text: String,
    way: Way,
}

#[derive(Clone, Debug, PartialEq)]
enum Way {
    /// Member by member from the event down; the first is a member of the event.
    Names(Vec<Step>),
    /// Anything else that the standard allows.
    Query(Box<JsonPath>),
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Step {
    Name(String),
    Index(usize),
}

/// What a path finds.
#[derive(Debug)]
pub(crate) enum Found<'a> {
    Nothing,
    Text(&'a str),
    Number(u64),
    /// Microseconds since 1970.
    Time(i64),
    Json(Cow<'a, Json>),
}

impl Path {
    /// Reads a path.
    ///
    /// # Errors
    ///
    /// What is wrong with it, and where.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        if text.len() > PATH_BYTES_MAX {
            return Err(format!("the path has {} bytes, at most {PATH_BYTES_MAX} are allowed", text.len()));
        }
        let query = JsonPath::parse(text).map_err(|error| format!("{text:?} is not a JSONPath (RFC 9535): {error}"))?;
        let steps = names(text);
        let way = match steps {
            Some(steps) if !steps.is_empty() => {
                if let Some(Step::Name(first)) = steps.first()
                    && !MEMBERS.contains(&first.as_str())
                {
                    return Err(format!("{text:?} finds nothing in any event; an event has {}", MEMBERS.join(", ")));
                }
                Way::Names(steps)
            }
            Some(_) | None => Way::Query(Box::new(query)),
        };
        Ok(Self { text: text.to_owned(), way })
    }

    /// The first name below `data` that it needs; `None` if it may need anything of it.
    pub(crate) fn data_member(&self) -> DataMember<'_> {
        match &self.way {
            Way::Names(steps) => match steps.as_slice() {
                [Step::Name(first), Step::Name(second), ..] if first == "data" => DataMember::One(second),
                [Step::Name(first), ..] if first != "data" => DataMember::No,
                _ => DataMember::All,
            },
            Way::Query(_) => DataMember::All,
        }
    }

    /// Follows the path.
    ///
    /// # Errors
    ///
    /// Why the event can't be looked into: its data is not JSON, or the path finds several values.
    pub(crate) fn find<'a>(&self, event: &'a SourceEvent<'a>) -> Result<Found<'a>, String> {
        match &self.way {
            Way::Names(steps) => Ok(follow(steps, event)?),
            Way::Query(query) => {
                let nodes = query.query(event.whole()?).all();
                match nodes.as_slice() {
                    [] => Ok(Found::Nothing),
                    [one] => Ok(Found::Json(Cow::Borrowed(*one))),
                    several => Err(format!("{} finds {} values, and one is wanted", self.text, several.len())),
                }
            }
        }
    }
}

/// What of an event's data a path looks at.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum DataMember<'a> {
    /// None of it.
    No,
    /// One member.
    One(&'a str),
    /// Perhaps everything.
    All,
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

fn follow<'a>(steps: &[Step], event: &'a SourceEvent<'a>) -> Result<Found<'a>, String> {
    let Some((Step::Name(first), rest)) = steps.split_first() else { return Ok(Found::Nothing) };
    let json = match first.as_str() {
        "data" => match rest {
            [Step::Name(member), rest @ ..] => below(event.data_member(member)?, rest),
            _ => below(Some(event.data()?), rest),
        },
        "metadata" => below(Some(event.metadata()?), rest),
        _ => {
            let scalar = event.member(first)?;
            // Below a scalar there is nothing, except in the list of tags.
            if rest.is_empty() {
                return Ok(scalar);
            }
            let Found::Json(json) = scalar else { return Ok(Found::Nothing) };
            return Ok(below(Some(json.as_ref()), rest).map_or(Found::Nothing, |found| Found::Json(Cow::Owned(found.clone()))));
        }
    };
    Ok(json.map_or(Found::Nothing, |json| Found::Json(Cow::Borrowed(json))))
}

fn below<'a>(from: Option<&'a Json>, steps: &[Step]) -> Option<&'a Json> {
    steps.iter().try_fold(from?, |json, step| match step {
        Step::Name(name) => json.as_object()?.get(name),
        Step::Index(index) => json.as_array()?.get(*index),
    })
}

/// The steps of a path that is names and indexes alone: `$.data.amount`, `$.tags[0]`, `$['data']['a b']` without escapes.
fn names(text: &str) -> Option<Vec<Step>> {
    let mut rest = text.strip_prefix('$')?;
    let mut steps = Vec::new();
    while !rest.is_empty() {
        if let Some(behind) = rest.strip_prefix('.') {
            let end = behind.find(|character: char| !(character.is_ascii_alphanumeric() || character == '_')).unwrap_or(behind.len());
            let (name, behind) = behind.split_at_checked(end)?;
            if name.is_empty() || name.starts_with(|first: char| first.is_ascii_digit()) {
                return None;
            }
            steps.push(Step::Name(name.to_owned()));
            rest = behind;
        } else {
            let (inside, behind) = rest.strip_prefix('[')?.split_once(']')?;
            let quoted = inside.strip_prefix('\'').and_then(|inside| inside.strip_suffix('\''));
            steps.push(match quoted {
                Some(name) if !name.is_empty() && !name.contains(['\\', '\'']) => Step::Name(name.to_owned()),
                Some(_) => return None,
                None => Step::Index(inside.parse().ok()?),
            });
            rest = behind;
        }
    }
    Some(steps)
}

/// The members of an event, as `GET /v1/events` tells it.
const MEMBERS: &[&str] =
    &["id", "stream", "version", "type", "schema_version", "data", "metadata", "tags", "occurred_at", "recorded_at", "shard", "position"];
const PATH_BYTES_MAX: usize = 1_024;
