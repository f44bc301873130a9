//! What do clients send? The shapes of request bodies, read in one pass; data and metadata stay the bytes that they are.

use std::borrow::Cow;
use std::fmt;

use factum_storage::ExpectedVersion;
use factum_storage::TAGS_MAX;
use factum_storage::TRANSACTION_EVENTS_MAX;
use factum_storage::Version;
use serde::Deserialize;
use serde::Deserializer;
use serde::de::Error as _;
use serde::de::IgnoredAny;
use serde::de::SeqAccess;
use serde::de::Visitor;
use serde_json::value::RawValue;
use utoipa::ToSchema;

/// Text that is borrowed from the body unless it has escapes.
#[derive(Clone, Debug, Deserialize)]
#[serde(transparent)]
pub(crate) struct Text<'a>(#[serde(borrow)] pub(crate) Cow<'a, str>);

/// A struct that is read from an object only. By itself `serde_json` takes an array of the fields' values as well, which nobody means
/// to send.
#[derive(Debug)]
pub(crate) struct Object<T>(pub(crate) T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        T::deserialize(ObjectOnly(deserializer)).map(Object)
    }
}

struct ObjectOnly<D>(D);

impl<'de, D: Deserializer<'de>> Deserializer<'de> for ObjectOnly<D> {
    type Error = D::Error;

    fn deserialize_struct<V: Visitor<'de>>(self, _: &'static str, _: &'static [&'static str], visitor: V) -> Result<V::Value, D::Error> {
        self.0.deserialize_map(visitor)
    }

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, D::Error> {
        self.0.deserialize_any(visitor)
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit unit_struct
        newtype_struct seq tuple tuple_struct map enum identifier ignored_any
    }
}

/// An event proposed for a stream.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, expecting = "an event: a JSON object")]
#[schema(as = NewEvent)]
pub(crate) struct EventWire<'a> {
    /// The stream; only lines of an import name it here.
    #[serde(borrow, default)]
    #[schema(ignore)]
    pub(crate) stream: Option<Text<'a>>,
    /// 1 to 255 bytes without control characters.
    #[serde(borrow, rename = "type")]
    #[schema(value_type = String, example = "OrderPaid", max_length = 255)]
    pub(crate) event_type: Text<'a>,
    /// Any JSON; stored as sent, at most 128 levels deep.
    #[serde(borrow)]
    #[schema(value_type = Value, example = json!({"amount": 100}))]
    pub(crate) data: &'a RawValue,
    /// Makes a retry harmless. Drawn by the server if absent.
    #[serde(borrow, default)]
    #[schema(value_type = Option<String>, format = "uuid")]
    pub(crate) id: Option<Text<'a>>,
    /// A JSON object; takes `correlation_id` and `causation_id`.
    #[serde(borrow, default)]
    #[schema(value_type = Option<Object>)]
    pub(crate) metadata: Option<&'a RawValue>,
    /// Up to 64, each 1 to 255 bytes without control characters.
    #[serde(borrow, default)]
    #[schema(value_type = Option<Vec<String>>, example = json!(["customer:7"]))]
    pub(crate) tags: Option<Tags<'a>>,
    /// When it happened (RFC 3339), if that is not when it is recorded.
    #[serde(borrow, default)]
    #[schema(value_type = Option<String>, format = "date-time")]
    pub(crate) occurred_at: Option<Text<'a>>,
    /// Which shape `data` has: 1 (the default) to 65535.
    #[serde(default)]
    #[schema(minimum = 1, maximum = 65535)]
    pub(crate) schema_version: Option<u64>,
}

/// The tags of an event, no more than may be.
#[derive(Debug)]
pub(crate) struct Tags<'a>(pub(crate) Vec<Text<'a>>);

impl<'de: 'a, 'a> Deserialize<'de> for Tags<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct TagsVisitor;
        impl<'de> Visitor<'de> for TagsVisitor {
            type Value = Vec<Text<'de>>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an array of strings")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Self::Value, A::Error> {
                let mut tags = Vec::new();
                while let Some(tag) = elements.next_element()? {
                    if tags.len() == TAGS_MAX {
                        return Err(A::Error::custom("at most 64 tags are allowed"));
                    }
                    tags.push(tag);
                }
                Ok(tags)
            }
        }
        deserializer.deserialize_seq(TagsVisitor).map(Tags)
    }
}

/// The events of one append. Those over the engine's limit are counted and not kept, so a hostile batch costs no memory.
#[derive(Debug, Default)]
pub(crate) struct Events<'a> {
    /// In order.
    pub(crate) list: Vec<EventWire<'a>>,
    /// How many the client sent.
    pub(crate) total: usize,
}

impl<'de: 'a, 'a> Deserialize<'de> for Events<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct EventsVisitor;
        impl<'de> Visitor<'de> for EventsVisitor {
            type Value = Events<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an array of events")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Self::Value, A::Error> {
                let mut events = Events::default();
                while events.list.len() < TRANSACTION_EVENTS_MAX {
                    let Some(Object(event)) = elements.next_element()? else { return Ok(events) };
                    events.list.push(event);
                    events.total += 1;
                }
                while elements.next_element::<IgnoredAny>()?.is_some() {
                    events.total += 1;
                }
                Ok(events)
            }
        }
        deserializer.deserialize_seq(EventsVisitor)
    }
}

/// Body of an append.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, expecting = "an append: a JSON object")]
#[schema(as = AppendRequest)]
pub(crate) struct AppendWire<'a> {
    /// In order; stored all or none.
    #[serde(borrow)]
    #[schema(value_type = Vec<EventWire>, min_items = 1, max_items = 10000)]
    pub(crate) events: Events<'a>,
    /// Where the client believes the stream to be: a version, `"any"` or `"exists"`.
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = Option<Value>, example = json!(2))]
    pub(crate) expected_version: Option<ExpectedWire>,
}

/// Body of a transaction.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, expecting = "a transaction: a JSON object")]
#[schema(as = TransactionRequest)]
pub(crate) struct TransactionWire<'a> {
    /// In order; stored all or none.
    #[serde(borrow)]
    #[schema(value_type = Vec<TransactionAppendWire>)]
    pub(crate) appends: Vec<Object<TransactionAppendWire<'a>>>,
    /// All must hold.
    #[serde(borrow, default)]
    #[schema(value_type = Vec<ConditionWire>)]
    pub(crate) conditions: Vec<Object<ConditionWire<'a>>>,
}

/// One stream of a transaction.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, expecting = "an append: a JSON object")]
#[schema(as = TransactionAppend)]
pub(crate) struct TransactionAppendWire<'a> {
    /// Its name.
    #[serde(borrow)]
    #[schema(value_type = String, example = "order-42")]
    pub(crate) stream: Text<'a>,
    /// Where the client believes it to be.
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = Option<Value>, example = json!(2))]
    pub(crate) expected_version: Option<ExpectedWire>,
    /// In order; none checks `expected_version` alone.
    #[serde(borrow)]
    #[schema(value_type = Vec<EventWire>)]
    pub(crate) events: Events<'a>,
}

/// "No event that matches any item of `query` stands after `after`."
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, expecting = "a condition: a JSON object")]
#[schema(as = Condition)]
pub(crate) struct ConditionWire<'a> {
    /// ORed; an empty array matches every event.
    #[serde(borrow)]
    #[schema(value_type = Vec<QueryItemWire>)]
    pub(crate) query: Vec<Object<QueryItemWire<'a>>>,
    /// A cursor, exclusive.
    #[serde(borrow)]
    #[schema(value_type = String, example = "1042")]
    pub(crate) after: CursorWire<'a>,
}

/// An event matches if its type is one of `types` and it has all of `tags`.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, expecting = "a query item: a JSON object")]
#[schema(as = QueryItem)]
pub(crate) struct QueryItemWire<'a> {
    /// ORed; none means any type.
    #[serde(borrow, default)]
    #[schema(value_type = Vec<String>)]
    pub(crate) types: Vec<Text<'a>>,
    /// ANDed.
    #[serde(borrow, default)]
    #[schema(value_type = Vec<String>)]
    pub(crate) tags: Vec<Text<'a>>,
}

/// Body of a stream's retention. What is absent or null does not limit.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, expecting = "a retention: a JSON object")]
#[schema(as = RetentionRequest)]
pub(crate) struct RetentionWire<'a> {
    /// The newest so many stay visible.
    #[serde(default)]
    #[schema(minimum = 1)]
    pub(crate) max_count: Option<u64>,
    /// Events recorded longer ago than this are hidden: `30d`, `12h`, `250ms`.
    #[serde(borrow, default)]
    #[schema(value_type = Option<String>, example = "30d")]
    pub(crate) max_age: Option<Text<'a>>,
    /// Events below this version are hidden.
    #[serde(default)]
    pub(crate) before_version: Option<u64>,
}

/// A client's own state of an aggregate.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, expecting = "a snapshot: a JSON object")]
#[schema(as = NewSnapshot)]
pub(crate) struct SnapshotWire<'a> {
    /// Any JSON; given back as it was sent.
    #[serde(borrow)]
    #[schema(value_type = Value)]
    pub(crate) state: &'a RawValue,
}

/// An expected version on the wire: a number from 0 on, `"any"` or `"exists"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ExpectedWire(pub(crate) ExpectedVersion);

impl<'de> Deserialize<'de> for ExpectedWire {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct ExpectedVisitor;
        impl Visitor<'_> for ExpectedVisitor {
            type Value = ExpectedWire;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a version from 0 on, \"any\" or \"exists\"")
            }

            fn visit_u64<E: serde::de::Error>(self, version: u64) -> Result<Self::Value, E> {
                Ok(ExpectedWire(ExpectedVersion::Exact(Version::new(version))))
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Self::Value, E> {
                match text {
                    "any" => Ok(ExpectedWire(ExpectedVersion::Any)),
                    "exists" => Ok(ExpectedWire(ExpectedVersion::Exists)),
                    _ => Err(E::invalid_value(serde::de::Unexpected::Str(text), &self)),
                }
            }
        }
        deserializer.deserialize_any(ExpectedVisitor)
    }
}

/// A cursor on the wire: text; a plain number is taken too, for that is how it reads with one shard.
#[derive(Debug)]
pub(crate) struct CursorWire<'a>(pub(crate) Cow<'a, str>);

impl<'de: 'a, 'a> Deserialize<'de> for CursorWire<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct CursorVisitor;
        impl<'de> Visitor<'de> for CursorVisitor {
            type Value = CursorWire<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a cursor")
            }

            fn visit_u64<E: serde::de::Error>(self, position: u64) -> Result<Self::Value, E> {
                Ok(CursorWire(Cow::Owned(position.to_string())))
            }

            fn visit_borrowed_str<E: serde::de::Error>(self, text: &'de str) -> Result<Self::Value, E> {
                Ok(CursorWire(Cow::Borrowed(text)))
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Self::Value, E> {
                Ok(CursorWire(Cow::Owned(text.to_owned())))
            }
        }
        deserializer.deserialize_any(CursorVisitor)
    }
}

/// `null` is not the same as absent where a condition is meant: a belief that got lost on the way must not pass as "any".
fn present<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<Option<T>, D::Error> {
    T::deserialize(deserializer).map(Some)
}
