//! Which problems are there, and what does each ask of the client? The one table; `docs/errors.md` is made from it.

use http::StatusCode;

/// One kind of problem.
#[derive(Clone, Copy, Debug)]
pub struct Entry {
    /// The last part of `urn:factum:problem:<slug>`.
    pub slug: &'static str,
    /// The status that it comes with.
    pub status: StatusCode,
    /// What it is called.
    pub title: &'static str,
    /// What has happened.
    pub meaning: &'static str,
    /// What the client does about it.
    pub action: &'static str,
}

macro_rules! problems {
    ($($name:ident, $status:ident, $slug:literal, $title:literal, $meaning:literal, $action:literal;)*) => {
        /// Every kind of problem that the server answers with.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[expect(missing_docs, reason = "each is described by its entry")]
        pub enum Slug {
            $($name,)*
        }

        impl Slug {
            /// All that is known of it.
            #[must_use]
            pub fn entry(self) -> &'static Entry {
                match self {
                    $(Self::$name => const {
                        &Entry { slug: $slug, status: StatusCode::$status, title: $title, meaning: $meaning, action: $action }
                    },)*
                }
            }

            /// The status that it comes with.
            #[must_use]
            pub fn status(self) -> StatusCode {
                self.entry().status
            }
        }

        /// Every kind of problem, ordered by status.
        #[must_use]
        pub fn catalogue() -> Vec<&'static Entry> {
            vec![$(Slug::$name.entry(),)*]
        }
    };
}

problems! {
    MalformedRequest, BAD_REQUEST, "malformed-request", "The request breaks a rule",
        "A field, parameter or header is missing, unknown, of the wrong type or out of range; `field` names it, `detail` says which rule.",
        "Correct the request; sending it again as it is cannot succeed.";
    Unauthenticated, UNAUTHORIZED, "unauthenticated", "This needs an access token that counts",
        "There is no token, or it is not one that counts: unreadable, expired, revoked, for something else. Nobody is told which.",
        "Get a new token (`POST /oauth/token`) and send it as `Authorization: Bearer …`.";
    Forbidden, FORBIDDEN, "forbidden", "This is not allowed",
        "The request is understood and not permitted: a write to a stream of the system (`$…`), or more than the token is for. `scope` names the \
        scope that it lacks.",
        "Do not repeat it; get a token that has the scope and is for the stream, or write to a stream of your own.";
    StreamNotFound, NOT_FOUND, "stream-not-found", "The stream was not found",
        "The stream was never written, or was deleted and not written since.",
        "Check the name; an append makes the stream.";
    EventNotFound, NOT_FOUND, "event-not-found", "The event was not found",
        "No event has this id, or the stream has no visible event with this version.",
        "Check the id or version; retention may have hidden the event.";
    DefinitionNotFound, NOT_FOUND, "definition-not-found", "There is no such definition",
        "Nobody has defined this category, subscription, or version of this type's schema.",
        "List what is defined; put the definition if it should be there.";
    ClientNotFound, NOT_FOUND, "client-not-found", "There is no such client",
        "Nobody has made a client of this name, or it was ended. The one of `auth.bootstrap_client_id` stands in the settings alone.",
        "List the clients; put the client if it should be there.";
    CommandNotFound, NOT_FOUND, "command-not-found", "The category has no such command",
        "The category's module exports no `decide` function of this name; `known` lists those that it has.",
        "Send one of the commands in `known`, or define a module that decides this one.";
    ViewNotFound, NOT_FOUND, "view-not-found", "There is no such view",
        "No projection keeps rows under this name that are read here; `known` lists those that do. The rows of one whose target is Postgres are \
        read there.",
        "Check the name, or define the projection.";
    RowNotFound, NOT_FOUND, "row-not-found", "The view has no such row",
        "No row of the view has this key, as of the answer's `Factum-Position`.",
        "Check the key; after a write of your own, ask with `Factum-Min-Position`.";
    PartNotFound, NOT_FOUND, "part-not-found", "There is no such shard or job",
        "No shard has this number, or no job this name. Jobs that have ended are forgotten when the server starts anew.",
        "`GET /v1/shards` lists the shards, and the job that is under way.";
    PathNotFound, NOT_FOUND, "path-not-found", "There is nothing at this path",
        "The path is not one of the interface.",
        "See `/openapi.json` for what there is.";
    MethodNotAllowed, METHOD_NOT_ALLOWED, "method-not-allowed", "The path does not take this method",
        "The path exists, the method does not apply to it; `Allow` lists those that do.",
        "Use one of the methods in `Allow`.";
    NotAcceptable, NOT_ACCEPTABLE, "not-acceptable", "None of the formats asked for is on offer",
        "`Accept` leaves nothing that this path can answer with.",
        "Ask for one of the media types named in `detail`.";
    RequestTimeout, REQUEST_TIMEOUT, "request-timeout", "The request body came too slowly",
        "The body, or its next part, did not arrive within the server's deadline. Nothing was stored, except what an import has confirmed.",
        "Send it again on a better connection; split large requests.";
    WrongExpectedVersion, CONFLICT, "wrong-expected-version", "The stream is not at the expected version",
        "Somebody else wrote first: `actual_version` is where the stream is, `conflicting_events` what came after the version the client knew. Nothing was stored.",
        "Read the new events, decide again, retry with the new version.";
    ConditionFailed, CONFLICT, "condition-failed", "A condition of the transaction does not hold",
        "An event that matches a condition stands after its cursor; `failed` lists every check that failed. Nothing was stored.",
        "Read what matches, decide again, retry with a newer cursor.";
    EventIdReused, CONFLICT, "event-id-reused", "The event id is taken",
        "An event with this id and other content is stored already. Nothing was stored.",
        "If this is a retry, send the same content; if not, draw a new id.";
    DefinitionExists, CONFLICT, "definition-exists", "The definition is there with other content",
        "A registered version of a schema never changes: events refer to it.",
        "Register the next version.";
    ProjectionConflict, CONFLICT, "projection-conflict", "The projection is not in a state for that",
        "What was asked does not go with what the projection does just now; `detail` says why.",
        "Look at `GET /v1/projections/{name}`.";
    TopologyConflict, CONFLICT, "topology-conflict", "The shards are not in a state for that",
        "Another change of the shards is under way, or their strategy knows no such change; `detail` says which. Nothing was changed.",
        "Wait for the job that `GET /v1/shards` names, or cancel it.";
    StreamDeleted, GONE, "stream-deleted", "The stream was deleted for ever",
        "The stream was ended permanently; nothing of it can be read or written again.",
        "Use another stream.";
    PreconditionFailed, PRECONDITION_FAILED, "precondition-failed", "The header's precondition does not hold",
        "As `wrong-expected-version`, for an expectation that came as `If-Match` or `If-None-Match`. Nothing was stored.",
        "Read the new events, decide again, retry with the new version.";
    PayloadTooLarge, PAYLOAD_TOO_LARGE, "payload-too-large", "The request is too large",
        "The body, one event, one line or the number of events is over a limit; `detail` says which, and how much is allowed. Nothing was stored.",
        "Split the request, or use the import for bulk loads.";
    UnsupportedMediaType, UNSUPPORTED_MEDIA_TYPE, "unsupported-media-type", "The media type is not supported",
        "`Content-Type` or `Content-Encoding` is missing or not one that this path reads; `detail` names those it does.",
        "Label the body as what it is, in one of the formats named.";
    MisdirectedRequest, MISDIRECTED_REQUEST, "misdirected-request", "The request is meant for another log",
        "The header `Factum-Log-Id` names a log that this server does not have: another server listens at its address now, or its data was exchanged. Nothing was done.",
        "Find the server that has the log; `GET /v1/shards` says which log a server has.";
    CrossShardTransaction, UNPROCESSABLE_ENTITY, "cross-shard-transaction", "The streams live on several shards",
        "A transaction holds within one shard; `streams` lists each stream with its shard, `partition_key` is one that they could share. Nothing was stored.",
        "Give streams that change together a common partition key: `{key}` in their names.";
    ResidencyViolation, UNPROCESSABLE_ENTITY, "residency-violation", "It may not be kept where it would be",
        "The stream's key belongs to no region, or an event's `metadata.residency` names another region than its stream is in. Nothing was stored.",
        "Write to a stream whose key belongs to that region; `GET /v1/shards/locate/{stream}` says to which one does.";
    InvalidDefinition, UNPROCESSABLE_ENTITY, "invalid-definition", "The definition cannot be taken",
        "A module that does not run, a schema that is none, or one that breaks its promise to the version before. `field` names the definition, \
        `line` and `column` the place in a text, `pointer` the place in a document, `breaks` every broken promise. \
        What was in force before still is.",
        "Correct the definition at the place named.";
    SchemaViolation, UNPROCESSABLE_ENTITY, "schema-violation", "The event's data breaks its schema",
        "The type has a schema, and the data does not match it: `field` names the event, `pointer` the first place in its data, `violations` all of \
        them. Nothing was stored.",
        "Correct the data, or register the next version of the schema first.";
    QueryLimitExceeded, UNPROCESSABLE_ENTITY, "query-limit-exceeded", "The query needs more than one may have",
        "A query met a limit: `limit` names it (`memory`, `spill`, `time`, `rows`), `detail` says how much there is. Nothing else was touched.",
        "Ask for less: fewer columns, a filter on position, time, stream, category or type, a LIMIT; or raise the limit in the settings.";
    CommandRejected, UNPROCESSABLE_ENTITY, "command-rejected", "The command was rejected",
        "The category's `decide` said no: `code` is for programs, `reason` for people. Nothing was stored.",
        "Show the reason; the same command succeeds only once the aggregate's state is another.";
    ScriptFailed, UNPROCESSABLE_ENTITY, "script-failed", "A function of a definition failed",
        "It threw, returned what it may not, or met a limit: `kind` says which, `file`, `line` and `column` where, `version` at which event. \
        Nothing was stored.",
        "Correct the definition and put it again; events stay as they are.";
    HistoryUnreadable, UNPROCESSABLE_ENTITY, "history-unreadable", "An event of the aggregate cannot be read",
        "The event `version` of `stream` cannot be brought to its newest shape, so no state that rests on it can be told.",
        "Correct the upcaster by a next schema version; the event itself is read with `raw=true`.";
    UpcastFailed, UNPROCESSABLE_ENTITY, "upcast-failed", "The event cannot be brought to its newest shape",
        "Stands within an event as `error`, never as an answer of its own: the upcaster failed on this event, so its `data` is null.",
        "Read it as it was stored with `raw=true`; correct the upcaster by a next schema version.";
    TooManyRequests, TOO_MANY_REQUESTS, "too-many-requests", "Too much at once",
        "The server has as much of this work as it takes on. Nothing was stored.",
        "Wait for `Retry-After` seconds and try again.";
    InternalError, INTERNAL_SERVER_ERROR, "internal-error", "The server failed",
        "A fault of the server's own: a bug, or a file that could not be read. The log has the cause under the request id.",
        "Retry a read; retry a write with the same event ids, for its outcome may be unknown.";
    ReadModelBehind, SERVICE_UNAVAILABLE, "read-model-behind", "The view has not come that far",
        "The view has not applied everything up to `Factum-Min-Position` within the time of `Prefer: wait`: it is at `position`. `detail` says \
        whether it is on its way, paused or failed.",
        "Ask again after `Retry-After` seconds or wait longer; if the projection has failed, look at `GET /v1/projections/{name}`.";
    TargetUnavailable, SERVICE_UNAVAILABLE, "target-unavailable", "What is made of the events can't be reached",
        "The database or the file that keeps the rows of a view, or the lake of an export, does not answer. The log is not concerned; the \
        projection or the export catches up by itself.",
        "Retry after `Retry-After` seconds; `GET /v1/projections/{name}` or `GET /v1/exports/{name}` says what is wrong.";
    StoreReadOnly, SERVICE_UNAVAILABLE, "store-read-only", "The shard takes no appends",
        "The shard's log is damaged: it serves reads and takes no appends until it is repaired. Nothing was stored.",
        "Call the operator; `/v1/status` says what is damaged.";
    ShardUnavailable, SERVICE_UNAVAILABLE, "shard-unavailable", "The shard is not available",
        "The shard is overloaded, stopping, or lost its disk. `outcome` says `not-stored` or `unknown`.",
        "Retry after `Retry-After` seconds, with the same event ids if the outcome is unknown.";
    SubscriptionFailed, SERVICE_UNAVAILABLE, "subscription-failed", "The subscription does not work",
        "The subscription's progress, or the log, cannot be read or written; `detail` says what is to be done. Events are not touched by that, \
        and an acknowledgement that got this answer counts for nothing: the event may come again.",
        "Call the operator; `GET /v1/subscriptions/{name}` says what is wrong.";
    StorageFull, INSUFFICIENT_STORAGE, "storage-full", "The disk is full",
        "There is no space for the append; nothing of it was stored. Reads go on.",
        "Free space or add some; appends go on by themselves then.";
}
