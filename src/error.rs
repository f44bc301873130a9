//! What can go wrong between a caller of [`crate::Database`] and the disk; `http::problem` maps each variant to its answer.

use std::sync::Arc;

use factum_storage as storage;

/// Why the database said no. One variant for each thing that a caller does differently; cheap to clone.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Error {
    /// What the engine of one shard says.
    #[error(transparent)]
    Storage(#[from] storage::Error),
    /// Something in the request breaks a rule: `field` names it (as a path such as `events[2].type`), `detail` says which rule.
    #[error("{field}: {detail}")]
    Invalid {
        /// The field, as the caller wrote it.
        field: String,
        /// What is wrong with it, and what would be right.
        detail: String,
    },
    /// A client may not write to a stream of the system.
    #[error("stream {stream} belongs to the system")]
    SystemStream {
        /// Its name.
        stream: String,
    },
    /// The streams (with their shards) of one transaction live on several shards.
    #[error("the streams live on several shards; give them a common partition key: {{{partition_key}}} in their names")]
    CrossShard {
        /// Each stream with its shard.
        streams: Arc<[(String, u16)]>,
        /// One that would lead all of them to one shard.
        partition_key: String,
    },
    /// The stream was never written, or is deleted.
    #[error("stream {stream} was not found")]
    StreamNotFound {
        /// Its name.
        stream: String,
    },
    /// The stream has no event with this version, or no event has this id.
    #[error("{what} was not found")]
    EventNotFound {
        /// Which event, in words.
        what: String,
    },
    /// The cursor is not one of this database: garbage, from the future, or of another number of shards.
    #[error("cursor {cursor:?}: {detail}")]
    BadCursor {
        /// As given.
        cursor: String,
        /// What is wrong.
        detail: String,
    },
    /// The queue of a shard is full: try again in a moment.
    #[error("shard {shard} has too much to do")]
    Overloaded {
        /// Which shard.
        shard: u16,
    },
    /// The database is closing or a shard's thread has died: try again after a restart.
    #[error("shard {shard} is not available: {detail}")]
    Unavailable {
        /// Which shard.
        shard: u16,
        /// Why.
        detail: String,
    },
    /// A shard's files are missing, not its own, or can't be opened: nothing was stored. The other shards serve; a restart looks again.
    #[error("shard {shard} can't be used: {detail}")]
    ShardFailed {
        /// Which shard.
        shard: u16,
        /// Why.
        detail: String,
    },
    /// What was to be written may not be kept where it would be: its region is another, or it has none.
    #[error("{field}: {detail}")]
    Residency {
        /// The field, as the caller wrote it.
        field: String,
        /// Which region it would have to be.
        detail: String,
    },
    /// What was asked of the shards does not go with how they are: another change is under way, or the strategy knows no such change.
    #[error("{detail}")]
    TopologyConflict {
        /// Why, and what to do.
        detail: String,
    },
    /// There is no shard of this number, or no job of this name.
    #[error("there is no {what}")]
    NoSuchPart {
        /// Which, in words.
        what: String,
    },
    /// A definition (a module, a schema) that can't be taken: what was in force before still is.
    #[error("{}: {}", .0.what, .0.detail)]
    InvalidDefinition(Box<DefinitionFault>),
    /// There is no definition of this name.
    #[error("{what} is not defined")]
    DefinitionNotFound {
        /// Which, in words.
        what: String,
    },
    /// A subscription's progress can't be read or written, or its work has failed: `detail` says what is to be done.
    #[error("subscription {name}: {detail}")]
    SubscriptionFailed {
        /// Which.
        name: String,
        /// What has failed, and what to do.
        detail: String,
    },
    /// A definition that never changes is there with other content.
    #[error("{what} is there with other content")]
    DefinitionExists {
        /// Which, in words.
        what: String,
    },
    /// An event's data breaks the schema of its type.
    #[error("{}: {}", .0.field, .0.detail)]
    SchemaViolation(Box<SchemaFault>),
    /// `decide` has said no.
    #[error("{code}: {message}")]
    CommandRejected {
        /// The module's code.
        code: String,
        /// The module's reason.
        message: String,
    },
    /// The category's module decides no such command.
    #[error("category {category} has no command {command}")]
    CommandNotFound {
        /// Of which category.
        category: String,
        /// Which command.
        command: String,
        /// Those that it has.
        known: Vec<String>,
    },
    /// A function of a definition broke its rules or its limits while it was called.
    #[error("{}: {}", .0.file, .0.message)]
    Script(Box<ScriptFault>),
    /// There is no view of this name.
    #[error("view {view} was not found")]
    ViewNotFound {
        /// Its name.
        view: String,
        /// Some that there are.
        known: Vec<String>,
        /// Where its rows are, if a projection of this name keeps them somewhere else.
        elsewhere: Option<String>,
    },
    /// A view has not come as far as the reader wants it to, within the time that the reader waits.
    #[error("view {view} is at {position}, and {min_position} is wanted: {detail}")]
    ReadModelBehind {
        /// Which view.
        view: String,
        /// Where it is.
        position: String,
        /// Where it should be.
        min_position: String,
        /// Why, and what can be done.
        detail: String,
    },
    /// What was asked of a projection does not go with what it does just now.
    #[error("projection {name}: {detail}")]
    ProjectionConflict {
        /// Which projection.
        name: String,
        /// Why.
        detail: String,
    },
    /// The place where the rows of a view are kept does not answer.
    #[error("the rows of {view}: {detail}")]
    TargetUnavailable {
        /// Which view.
        view: String,
        /// Why.
        detail: String,
    },
    /// The lake of an export does not answer, or the export has failed.
    #[error("export {export}: {detail}")]
    LakeUnavailable {
        /// Which export.
        export: String,
        /// Why.
        detail: String,
    },
    /// A query that can't be answered as it stands.
    #[error("query: {detail}")]
    InvalidQuery {
        /// What is wrong, and what would be right.
        detail: String,
        /// Where in the text, from 1.
        line: Option<u32>,
        /// Where in the line, from 1.
        column: Option<u32>,
    },
    /// A query that wants more than a query may have.
    #[error("the query needs more {limit} than one may have: {detail}")]
    QueryLimit {
        /// Of what: `memory`, `time`, `rows`, `spill`.
        limit: &'static str,
        /// How much it may have, and how to go on.
        detail: String,
    },
    /// Enough queries run, and enough wait: try again in a moment.
    #[error("too many queries are running")]
    SqlBusy,
    /// All threads for scripts are busy and enough callers wait already: try again in a moment.
    #[error("too many scripts are waiting")]
    ScriptsBusy,
    /// An event can't be brought to its newest shape, or is lost: no state that rests on it can be told.
    #[error("event {version} of stream {stream}: {detail}")]
    HistoryUnreadable {
        /// Which stream.
        stream: String,
        /// Which event.
        version: u64,
        /// Why.
        detail: String,
    },
}

/// What is wrong with a definition, and where.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DefinitionFault {
    /// Which definition, such as `aggregates/order.js`.
    pub what: String,
    /// What is wrong.
    pub detail: String,
    /// Where in the text, from 1.
    pub line: Option<u32>,
    /// Where in the line, from 1.
    pub column: Option<u32>,
    /// Where in the document, as a JSON Pointer.
    pub pointer: Option<String>,
    /// What a new version of a schema breaks: JSON Pointer into it, and the reason.
    pub breaks: Vec<(String, String)>,
}

/// How an event's data breaks its schema.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SchemaFault {
    /// Which part of the request, such as `events[0].data`.
    pub field: String,
    /// What is wrong, in one line.
    pub detail: String,
    /// The event's type.
    pub event_type: String,
    /// The version of the schema.
    pub schema_version: u16,
    /// JSON Pointer into the data, and what is wrong there.
    pub violations: Vec<(String, String)>,
}

/// How a call of a definition's function went wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScriptFault {
    /// In one word: `threw`, `time`, `memory`, `stack`, `output` …
    pub kind: &'static str,
    /// What was thrown, or which limit was met.
    pub message: String,
    /// The definition's file.
    pub file: String,
    /// From 1.
    pub line: Option<u32>,
    /// From 1.
    pub column: Option<u32>,
    /// The version of the event that was being applied.
    pub version: Option<u64>,
}
