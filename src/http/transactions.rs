//! `POST /v1/transactions`: how are several streams of one shard written together, under conditions?

use std::sync::Arc;

use axum::extract::Request;
use axum::extract::State;
use axum::response::Response;
use factum_storage::ExpectedVersion;
use factum_storage::QueryItem;
use factum_storage::StreamAppend;
use factum_storage::StreamName;
use factum_storage::check_name;
use http::StatusCode;

use crate::database::After;
use crate::database::AppendResult;
use crate::database::ConditionRequest;
use crate::database::Database;
use crate::database::TransactionRequest;
use crate::http::Shared;
use crate::http::access::Caller;
use crate::http::access::authorise_write;
use crate::http::answer;
use crate::http::append::check_count;
use crate::http::append::make_events;
use crate::http::body::read_whole;
use crate::http::conditional::refuse_conditions;
use crate::http::decode::from_body;
use crate::http::new_events::EventMaker;
use crate::http::problem::Problem;
use crate::http::query::Query;
use crate::http::request::require_json;
use crate::http::schema;
use crate::http::settings::HttpSettings;
use crate::http::wire::ConditionWire;
use crate::http::wire::Object;
use crate::http::wire::Text;
use crate::http::wire::TransactionAppendWire;
use crate::http::wire::TransactionWire;
use crate::subscription::event_json::push_number;
use crate::subscription::json_text::push_string;

/// Write several streams of one shard, all or nothing, under conditions.
#[utoipa::path(
    post, path = "/v1/transactions", tag = "append",
    params(("Idempotency-Key" = Option<String>, Header, description = "Ids of events without one are derived from it, so a retry is harmless")),
    request_body(content = TransactionWire, content_type = "application/json"),
    responses(
        (status = 201, description = "Stored", body = schema::TransactionAnswer, headers(("Factum-Position" = String))),
        (status = 200, description = "Everything was there already, or there was nothing to write and every check held", body = schema::TransactionAnswer),
        (status = 400, description = "`malformed-request`", body = schema::ProblemDocument, content_type = "application/problem+json"),
        (status = 403, description = "`forbidden`", body = schema::ProblemDocument, content_type = "application/problem+json"),
        (status = 409, description = "`wrong-expected-version`, `condition-failed` (both with every failed check in `failed`), `event-id-reused`", body = schema::FailedDocument, content_type = "application/problem+json"),
        (status = 410, description = "`stream-deleted`", body = schema::ProblemDocument, content_type = "application/problem+json"),
        (status = 413, description = "`payload-too-large`", body = schema::ProblemDocument, content_type = "application/problem+json"),
        (status = 415, description = "`unsupported-media-type`", body = schema::ProblemDocument, content_type = "application/problem+json"),
        (status = 422, description = "`cross-shard-transaction`", body = schema::ProblemDocument, content_type = "application/problem+json"),
        (status = 503, description = "`store-read-only`, `shard-unavailable`", body = schema::ProblemDocument, content_type = "application/problem+json"),
        (status = 507, description = "`storage-full`", body = schema::ProblemDocument, content_type = "application/problem+json"),
    ),
)]
pub(crate) async fn transact(State(app): State<Shared>, request: Request) -> Result<Response, Problem> {
    let (parts, body) = request.into_parts();
    let caller = Caller::of(&app, &parts);
    Query::parse(parts.uri.query())?.finish()?;
    require_json(&parts.headers)?;
    refuse_conditions(&parts.headers)?;
    let body = read_whole(&parts.headers, body, &app.settings).await?;
    let mut maker = EventMaker::new(&body, &parts.headers, &app.settings)?;
    let Object(wire) = from_body(&body)?;
    let request = read(wire, &app.database, &app.settings, (&caller, &mut maker))?;
    let has_events = request.appends.iter().any(|append| !append.events.is_empty());
    let result = app.database.transact(request).await?;
    Ok(committed(&result, has_events))
}

fn read(
    wire: TransactionWire<'_>,
    database: &Database,
    settings: &HttpSettings,
    (caller, maker): (&Caller, &mut EventMaker<'_>),
) -> Result<TransactionRequest, Problem> {
    if wire.appends.is_empty() {
        return Err(Problem::malformed("appends", "must name at least one stream"));
    }
    for (path, count) in [("appends", wire.appends.len()), ("conditions", wire.conditions.len())] {
        if count > PARTS_MAX {
            return Err(Problem::malformed(path, format!("has {count} elements, at most {PARTS_MAX} are allowed")));
        }
    }
    if !wire.conditions.is_empty() {
        // A condition asks about the events of every stream.
        caller.reads_all()?;
    }
    check_count(wire.appends.iter().map(|append| append.0.events.total).sum(), "appends", settings)?;
    let appends = wire
        .appends
        .iter()
        .enumerate()
        .map(|(index, append)| read_append(&append.0, index, settings, (caller, &mut *maker)))
        .collect::<Result<_, _>>()?;
    let conditions =
        wire.conditions.iter().enumerate().map(|(index, wire)| read_condition(&wire.0, index, database)).collect::<Result<_, _>>()?;
    Ok(TransactionRequest { appends, conditions })
}

fn read_append(
    wire: &TransactionAppendWire<'_>,
    index: usize,
    settings: &HttpSettings,
    (caller, maker): (&Caller, &mut EventMaker<'_>),
) -> Result<StreamAppend, Problem> {
    let path = format!("appends[{index}]");
    let stream = StreamName::new(&wire.stream.0).map_err(|fault| Problem::malformed(&format!("{path}.stream"), fault.to_string()))?;
    authorise_write(caller, &stream)?;
    if wire.events.total == 0 && wire.expected_version.is_none() {
        return Err(Problem::malformed(&path, "has neither events nor an expected_version: nothing to write and nothing to check"));
    }
    // The index of an event counts through its stream's part, so a derived id does not hang on what stands in other parts.
    let events = make_events(&wire.events, &format!("{path}.events"), stream.as_str(), settings, maker)?;
    let expected = wire.expected_version.map_or(ExpectedVersion::Any, |expected| expected.0);
    Ok(StreamAppend { stream, expected, events })
}

fn read_condition(wire: &ConditionWire<'_>, index: usize, database: &Database) -> Result<ConditionRequest, Problem> {
    let path = format!("conditions[{index}]");
    if wire.query.len() > PARTS_MAX {
        return Err(Problem::malformed(&format!("{path}.query"), format!("at most {PARTS_MAX} items are allowed")));
    }
    let after = match &*wire.after.0 {
        "0" => After::Start,
        "end" => After::End,
        text => After::Cursor(database.parse_cursor(text).map_err(|error| cursor_problem(&format!("{path}.after"), error))?),
    };
    let mut query = Vec::with_capacity(wire.query.len());
    for (number, Object(item)) in wire.query.iter().enumerate() {
        let types = names(&item.types, &format!("{path}.query[{number}].types"))?;
        let tags = names(&item.tags, &format!("{path}.query[{number}].tags"))?;
        query.push(QueryItem { types, tags });
    }
    Ok(ConditionRequest { query, after })
}

fn names(texts: &[Text<'_>], path: &str) -> Result<Vec<Arc<str>>, Problem> {
    if texts.len() > PARTS_MAX {
        return Err(Problem::malformed(path, format!("at most {PARTS_MAX} are allowed")));
    }
    let checked = texts.iter().enumerate().map(|(index, text)| {
        check_name(&text.0).map_err(|fault| Problem::malformed(&format!("{path}[{index}]"), fault.to_string()))?;
        Ok(Arc::from(&*text.0))
    });
    checked.collect()
}

/// The answer to an error about a cursor that came in this field.
pub(crate) fn cursor_problem(field: &str, error: crate::Error) -> Problem {
    if let crate::Error::BadCursor { detail, .. } = error {
        Problem::malformed(field, format!("not a cursor of this database: {detail}"))
    } else {
        error.into()
    }
}

fn committed(result: &AppendResult, has_events: bool) -> Response {
    let mut body = Vec::with_capacity(64 + result.appended.streams.len() * 64);
    body.extend_from_slice(b"{\"appends\":[");
    for (number, (stream, first, last)) in result.appended.streams.iter().enumerate() {
        if number > 0 {
            body.push(b',');
        }
        body.extend_from_slice(b"{\"stream\":");
        push_string(&mut body, stream.as_str());
        body.extend_from_slice(b",\"first_version\":");
        push_number(&mut body, first.get());
        body.extend_from_slice(b",\"last_version\":");
        push_number(&mut body, last.get());
        body.push(b'}');
    }
    body.extend_from_slice(b"],\"position\":");
    push_number(&mut body, result.appended.position.get());
    body.extend_from_slice(b",\"cursor\":\"");
    answer::push_cursor(&mut body, &result.cursor);
    body.extend_from_slice(b"\"}");
    let status = if has_events && !result.appended.duplicate { StatusCode::CREATED } else { StatusCode::OK };
    let mut response = answer::whole(status, answer::JSON, body);
    answer::set(response.headers_mut(), answer::FACTUM_POSITION, answer::cursor_text(&result.cursor));
    response
}

/// Streams, conditions, items of a condition, names of an item.
const PARTS_MAX: usize = 1_000;
