//! What may stand in a projection's document, in TOML or in JSON?

use std::fmt;
use std::marker::PhantomData;

use serde::Deserialize;
use serde::Deserializer;
use serde::Serialize;
use serde::Serializer;
use serde::de::MapAccess;
use serde::de::Visitor;
use serde_json::Value as Json;

use crate::definition::Format;
use crate::error::DefinitionFault;

/// A projection as it is written.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Document {
    #[serde(default)]
    pub(super) source: Source,
    #[serde(default)]
    pub(super) target: Target,
    pub(super) columns: Entries<String>,
    #[serde(default, skip_serializing_if = "Entries::is_empty")]
    pub(super) on: Entries<Handlers>,
    #[serde(default)]
    pub(super) on_error: OnError,
    /// The name of a file; the text of it is in `script`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) module: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) script: Option<String>,
}

#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Source {
    pub(super) categories: Vec<String>,
    pub(super) types: Vec<String>,
    pub(super) tags: Vec<String>,
    pub(super) stream_prefix: Option<String>,
}

#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Target {
    pub(super) kind: TargetKind,
    pub(super) url_env: Option<String>,
    pub(super) schema: Option<String>,
    pub(super) table: Option<String>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum TargetKind {
    #[default]
    Embedded,
    Postgres,
}

/// What happens at an event that the definition can't digest.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum OnError {
    /// The projection stops there, visibly.
    #[default]
    Fail,
    /// The event is kept in the parked list, and the projection goes on behind it.
    Park,
}

impl OnError {
    /// The name in a definition.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Fail => "fail",
            Self::Park => "park",
        }
    }
}

/// One handler of a type, or several.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(untagged)]
pub(super) enum Handlers {
    One(Box<Handler>),
    Several(Vec<Handler>),
}

#[derive(Clone, Debug, Default, Serialize)]
pub(super) struct Handler {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) key: Option<Json>,
    #[serde(rename = "where", skip_serializing_if = "Option::is_none")]
    pub(super) matching: Option<Entries<Json>>,
    #[serde(skip_serializing_if = "Entries::is_empty")]
    pub(super) set: Entries<Json>,
    #[serde(skip_serializing_if = "Entries::is_empty")]
    pub(super) add: Entries<Json>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(super) delete: bool,
    /// Members that are none of the above.
    #[serde(skip)]
    pub(super) unknown: Vec<String>,
}

impl<'de> Deserialize<'de> for Handler {
    /// An `untagged` enum swallows what is wrong inside, so what is wrong is kept for whoever can name the place.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let members = Entries::<Json>::deserialize(deserializer)?;
        let mut handler = Self::default();
        for (name, value) in members.0 {
            let entries = |value: Json| if let Json::Object(members) = value { Some(Entries(members.into_iter().collect())) } else { None };
            match (name.as_str(), value) {
                ("key", value) => handler.key = Some(value),
                ("where", value @ Json::Object(_)) => handler.matching = entries(value),
                ("set", value @ Json::Object(_)) => handler.set = entries(value).unwrap_or_default(),
                ("add", value @ Json::Object(_)) => handler.add = entries(value).unwrap_or_default(),
                ("delete", Json::Bool(delete)) => handler.delete = delete,
                _ => handler.unknown.push(name),
            }
        }
        Ok(handler)
    }
}

/// The members of a table in the order in which they are written.
#[derive(Clone, Debug)]
pub(super) struct Entries<T>(pub(super) Vec<(String, T)>);

impl<T> Default for Entries<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T> Entries<T> {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl<T: Serialize> Serialize for Entries<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(name, value)| (name, value)))
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Entries<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct InOrder<T>(PhantomData<T>);

        impl<'de, T: Deserialize<'de>> Visitor<'de> for InOrder<T> {
            type Value = Entries<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a table")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Entries<T>, A::Error> {
                let mut entries: Vec<(String, T)> = Vec::new();
                while let Some((name, value)) = access.next_entry::<String, T>()? {
                    if entries.iter().any(|(other, _)| *other == name) {
                        return Err(serde::de::Error::custom(format!("{name:?} stands there twice")));
                    }
                    entries.push((name, value));
                }
                Ok(Entries(entries))
            }
        }

        deserializer.deserialize_map(InOrder(PhantomData))
    }
}

impl Document {
    /// Reads a document.
    pub(super) fn read(what: &str, format: Format, text: &str) -> Result<Self, DefinitionFault> {
        let fault = |detail: String, line: Option<usize>, column: Option<usize>| {
            let place = |number: Option<usize>| number.and_then(|number| u32::try_from(number).ok());
            DefinitionFault { what: what.to_owned(), detail, line: place(line), column: place(column), ..DefinitionFault::default() }
        };
        match format {
            Format::Json => serde_json::from_str(text)
                .map_err(|error| fault(without_place(&error.to_string()), Some(error.line()), Some(error.column()))),
            Format::Toml => toml::from_str(text).map_err(|error| {
                let before = error.span().and_then(|span| text.get(..span.start));
                let line = before.map(|before| before.matches('\n').count() + 1);
                let column = before.map(|before| before.chars().rev().take_while(|character| *character != '\n').count() + 1);
                fault(error.message().to_owned(), line, column)
            }),
            Format::Javascript => {
                Err(fault("a projection is a TOML or a JSON document; its module goes into `script`".to_owned(), None, None))
            }
        }
    }
}

/// The library's message ends in the place, which is told apart from it.
fn without_place(message: &str) -> String {
    message.rsplit_once(" at line ").map_or(message, |(message, _)| message).to_owned()
}
