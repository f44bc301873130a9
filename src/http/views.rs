//! What do the rows of a view say? Filters, order, pages and single rows, as far as the reader has written itself.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::Request;
use axum::extract::State;
use axum::response::IntoResponse;
use axum::response::Response;
use http::request::Parts;

use crate::Error;
use crate::database::ViewInfo;
use crate::http::Shared;
use crate::http::answer;
use crate::http::answer::FACTUM_POSITION;
use crate::http::answer::ReadAnswer;
use crate::http::answer::cursor_text;
use crate::http::listings::PageOf;
use crate::http::min_position::MinPosition;
use crate::http::negotiate::json_only;
use crate::http::negotiate::wants_lines;
use crate::http::partial::Partial;
use crate::http::problem::Problem;
use crate::http::problem::Slug;
use crate::http::query::Query;
use crate::http::query::with_parameter;
use crate::http::request::segment;
use crate::http::schema;
use crate::http::view_query;
use crate::projection::Columns;
use crate::projection::ViewPage;
use crate::projection::ViewQuery;
use crate::projection::query::json::push_row;
use crate::projection::query::text::type_name;
use crate::subscription::event_json::push_number;
use crate::subscription::json_text::push_string;

/// List the views that are read here, by name.
#[utoipa::path(
    get, path = "/v1/views", tag = "views",
    params(
        ("limit" = Option<u64>, Query, minimum = 1, maximum = 10000),
        ("after" = Option<String>, Query, description = "The `next` of the page before"),
    ),
    responses(
        (status = 200, description = "Views", body = schema::ViewList, headers(("Link" = String))),
        (status = 400, description = "`malformed-request`", body = schema::ProblemDocument, content_type = "application/problem+json"),
    ),
)]
pub(crate) async fn list(State(app): State<Shared>, request: Request) -> Result<Response, Problem> {
    let (parts, _) = request.into_parts();
    let mut query = Query::parse(parts.uri.query())?;
    let page = PageOf::take_plain(&mut query, &parts)?;
    query.finish()?;
    let mut named = Vec::new();
    for (name, view) in page.cut(app.database.views().into_iter().map(|info| (info.view.clone(), info))) {
        let counting = ViewQuery { limit: 1, count: true, ..ViewQuery::default() };
        // A view that is only being made has no rows to be counted yet.
        let count = app.database.query_view(&name, counting, None, Duration::ZERO).await.ok().and_then(|page| page.count);
        named.push((name, (view, count)));
    }
    let answer = page.answer(&parts, "views", named, |out, _, (view, count)| push_view(out, view, *count));
    Ok(answer.into_response(&parts.headers).await)
}

fn push_view(out: &mut Vec<u8>, view: &ViewInfo, count: Option<u64>) {
    out.extend_from_slice(b"{\"view\":");
    push_string(out, &view.view);
    out.extend_from_slice(b",\"columns\":[");
    for (number, column) in view.columns.list().iter().enumerate() {
        out.extend_from_slice(if number > 0 { b",{\"name\":" } else { b"{\"name\":" });
        push_string(out, &column.name);
        out.extend_from_slice(b",\"type\":");
        push_string(out, &type_name(column.column_type));
        let rest = format!(",\"primary_key\":{},\"index\":{}}}", column.is_primary_key, column.is_indexed);
        out.extend_from_slice(rest.as_bytes());
    }
    out.extend_from_slice(b"],\"rows\":");
    match count {
        Some(count) => push_number(out, count),
        None => out.extend_from_slice(b"null"),
    }
    out.extend_from_slice(b",\"position\":");
    push_string(out, &cursor_text(&view.position));
    out.push(b'}');
}

/// Read rows of a view, filtered by its columns. `column=value` asks for equality, and so does `column__eq`; further operators are `ne`,
/// `gt`, `gte`, `lt`, `lte`, `in` (a list with commas), `prefix` and `null` (`true` or `false`). All must hold; the same column given again
/// with `=` is one more value that will do. Null is neither equal nor unequal to anything, and sorts last.
#[utoipa::path(
    get, path = "/v1/views/{view}", tag = "views",
    params(
        ("view" = String, Path, description = "The name of its projection", example = "declarations"),
        ("limit" = Option<u64>, Query, minimum = 1, maximum = 10000, description = "Default 100; a page ends earlier when it has 16 MiB"),
        ("after" = Option<String>, Query, description = "The `next` of the page before, of the same order"),
        ("order_by" = Option<String>, Query, description = "Columns, each with `-` in front for the other direction; default: the primary key", example = "-amount,id"),
        ("allow_partial" = Option<bool>, Query, description = "Name the shards that can't be used in `missing_shards`: the view stands still until they are back"),
        ("count" = Option<bool>, Query, description = "Count all rows that match, on all pages; only in a JSON page"),
        ("Factum-Min-Position" = Option<String>, Header, description = "The cursor that the view must have come to"),
        ("Prefer" = Option<String>, Header, description = "How long to wait for that, such as `wait=2.5`: default 5 seconds, at most 60"),
        ("If-None-Match" = Option<String>, Header),
    ),
    responses(
        (status = 200, description = "A page, or one row a line, as `Accept` asks", content(
            (schema::ViewPage = "application/json"), (schema::ViewRow = "application/x-ndjson"),
        ), headers(("ETag" = String), ("Link" = String), ("Factum-Position" = String), ("Preference-Applied" = String))),
        (status = 304, description = "Not modified"),
        (status = 400, description = "`malformed-request`", body = schema::ProblemDocument, content_type = "application/problem+json"),
        (status = 404, description = "`view-not-found`", body = schema::ProblemDocument, content_type = "application/problem+json"),
        (status = 406, description = "`not-acceptable`", body = schema::ProblemDocument, content_type = "application/problem+json"),
        (status = 503, description = "`read-model-behind`, `target-unavailable`", body = schema::ProblemDocument, content_type = "application/problem+json"),
    ),
)]
pub(crate) async fn rows(State(app): State<Shared>, request: Request) -> Result<Response, Problem> {
    let (parts, _) = request.into_parts();
    let view = segment(&parts.uri, 2, "view")?;
    let is_lines = wants_lines(&parts.headers)?;
    let min = MinPosition::read(&app.database, &parts.headers)?;
    let mut tries = Tries::default();
    let (page, columns, partial) = loop {
        let columns = app.database.view_columns(&view)?;
        let mut query = Query::parse(parts.uri.query())?;
        let partial = Partial::take(&mut query)?;
        let query = view_query::read(query, &view, &columns)?;
        if query.count && is_lines {
            return Err(Problem::malformed("count", "cannot be asked for with application/x-ndjson, which has rows alone"));
        }
        let page = app.database.query_view_of(&view, Arc::clone(&columns), query, min.cursor.as_ref(), min.wait).await;
        if let Some(page) = tries.settled(page).await? {
            // A view is as far as its position says, and follows no shard further while one of them is missing.
            partial.note_missing(&app.database);
            break (page, columns, partial);
        }
    };
    let response = page_answer(&page, &columns, (is_lines, &parts), &partial).into_response(&parts.headers).await;
    Ok(min.applied(response))
}

fn page_answer(page: &ViewPage, columns: &Columns, (is_lines, parts): (bool, &Parts), partial: &Partial) -> ReadAnswer {
    let mut body = Vec::with_capacity(page.rows.len() * 160 + 96);
    if is_lines {
        for row in &page.rows {
            push_row(&mut body, row, columns);
            body.push(b'\n');
        }
    } else {
        body.extend_from_slice(b"{\"rows\":[");
        for (number, row) in page.rows.iter().enumerate() {
            if number > 0 {
                body.push(b',');
            }
            push_row(&mut body, row, columns);
        }
        body.extend_from_slice(b"],\"next\":");
        match &page.next {
            Some(next) => push_string(&mut body, next),
            None => body.extend_from_slice(b"null"),
        }
        if let Some(count) = page.count {
            body.extend_from_slice(b",\"count\":");
            push_number(&mut body, count);
        }
        partial.push_member(&mut body);
        body.push(b'}');
    }
    let link = page.next.as_ref().map(|next| format!("{}?{}", parts.uri.path(), with_parameter(parts.uri.query(), "after", next)));
    let content_type = if is_lines { answer::NDJSON } else { answer::JSON };
    let missing = partial.missing().unwrap_or_default();
    ReadAnswer { content_type, etag: Some(etag(&body)), cursor: Some(cursor_text(&page.cursor)), next: link, body, missing }
}

/// Read one row of a view by its primary key.
#[utoipa::path(
    get, path = "/v1/views/{view}/{key}", tag = "views",
    params(
        ("view" = String, Path, example = "declarations"),
        ("key" = String, Path, description = "The primary key, percent-encoded", example = "declaration-86791"),
        ("Factum-Min-Position" = Option<String>, Header, description = "The cursor that the view must have come to"),
        ("Prefer" = Option<String>, Header, description = "How long to wait for that, such as `wait=2.5`: default 5 seconds, at most 60"),
        ("If-None-Match" = Option<String>, Header),
    ),
    responses(
        (status = 200, description = "The row", body = schema::ViewRow, headers(
            ("ETag" = String), ("Factum-Position" = String), ("Preference-Applied" = String),
        )),
        (status = 304, description = "Not modified"),
        (status = 400, description = "`malformed-request`", body = schema::ProblemDocument, content_type = "application/problem+json"),
        (status = 404, description = "`view-not-found`; `row-not-found`, with `Factum-Position`", body = schema::ProblemDocument, content_type = "application/problem+json"),
        (status = 503, description = "`read-model-behind`, `target-unavailable`", body = schema::ProblemDocument, content_type = "application/problem+json"),
    ),
)]
pub(crate) async fn row(State(app): State<Shared>, request: Request) -> Result<Response, Problem> {
    let (parts, _) = request.into_parts();
    let view = segment(&parts.uri, 2, "view")?;
    let key = segment(&parts.uri, 3, "key")?;
    json_only(&parts.headers)?;
    Query::parse(parts.uri.query())?.finish()?;
    let min = MinPosition::read(&app.database, &parts.headers)?;
    let mut tries = Tries::default();
    let (row, cursor, columns) = loop {
        let columns = app.database.view_columns(&view)?;
        let column = columns.list().get(columns.primary_key()).ok_or_else(|| Problem::malformed("key", "the view has no primary key"))?;
        let value = view_query::value(column, &key).map_err(|detail| Problem::malformed("key", detail))?;
        let found = app.database.view_row_of(&view, Arc::clone(&columns), value, min.cursor.as_ref(), min.wait).await;
        if let Some((row, cursor)) = tries.settled(found).await? {
            break (row, cursor, columns);
        }
    };
    let cursor = cursor_text(&cursor);
    let Some(row) = row else {
        let problem = Problem::new(Slug::RowNotFound, format!("view {view} has no row with this key"))
            .with_text("view", &view)
            .with_text("key", &key);
        let mut response = problem.into_response();
        answer::set(response.headers_mut(), FACTUM_POSITION, cursor);
        return Ok(min.applied(response));
    };
    let mut body = Vec::with_capacity(256);
    push_row(&mut body, &row, &columns);
    let answer = ReadAnswer { etag: Some(etag(&body)), cursor: Some(cursor), ..ReadAnswer::json(body) };
    Ok(min.applied(answer.into_response(&parts.headers).await))
}

/// While new rows come into force, the columns that a query was read with may be those of the rows before: it is read again then, so that
/// a rebuild is never seen from outside.
#[derive(Default)]
struct Tries(u32);

impl Tries {
    /// The answer; `None` if it is to be asked again.
    async fn settled<T>(&mut self, answer: Result<T, Error>) -> Result<Option<T>, Error> {
        match answer {
            Err(Error::TargetUnavailable { .. }) if self.0 < TRIES_MAX => {
                self.0 += 1;
                tokio::time::sleep(TRIES_PAUSE).await;
                Ok(None)
            }
            answer => answer.map(Some),
        }
    }
}

fn etag(body: &[u8]) -> String {
    format!("W/\"{:016x}\"", xxhash_rust::xxh3::xxh3_64(body))
}

/// New rows come into force within some milliseconds; a new view has its first rows soon after.
const TRIES_MAX: u32 = 20;
const TRIES_PAUSE: Duration = Duration::from_millis(25);
