//! `POST /v1/sql`: what do all events say together? And `GET /v1/tables`: what can be asked about?

mod rows;

use axum::extract::Request;
use axum::extract::State;
use axum::response::Response;
use serde::Deserialize;
use serde_json::Value;
use utoipa::ToSchema;

use crate::analytics::output::OutputFormat;
use crate::database::SqlQuery;
use crate::database::TableInfo;
use crate::database::TableKind;
use crate::database::VisibleStreams;
use crate::http::Shared;
use crate::http::access::Caller;
use crate::http::body::read_at_most;
use crate::http::decode::from_body;
use crate::http::listings::PageOf;
use crate::http::min_position::MinPosition;
use crate::http::negotiate::pick;
use crate::http::partial;
use crate::http::partial::Partial;
use crate::http::problem::Problem;
use crate::http::query::Query;
use crate::http::request::require_json;
use crate::http::schema;
use crate::http::wire::Object;
use crate::http::wire::Text;
use crate::subscription::json_text::push_string;

/// A query.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, expecting = "a query: a JSON object")]
#[schema(as = SqlQuery)]
pub(crate) struct SqlWire<'a> {
    /// One statement that reads. `$1`, `$2` … stand for what `params` has.
    #[serde(borrow)]
    #[schema(value_type = String, example = "select type, count(*) as events from events group by type order by events desc")]
    query: Text<'a>,
    /// Texts, numbers, booleans or null.
    #[serde(default)]
    #[schema(value_type = Option<Vec<Value>>, example = json!([100]))]
    params: Vec<Value>,
}

/// Ask in SQL, over everything that is committed: `events`, one table a category with the members of its events' data as columns, every
/// view and every export. For a token with `streams` there are no events but of those, and no tables but `events` and the categories all of
/// whose streams it is for. One statement, which reads. The rows come as they are worked out; a client that goes away ends its query.
///
/// `Accept` picks the format. JSON: whole numbers and decimals with all their digits, times in RFC 3339 (UTC, microseconds), bytes in
/// base64,
/// NaN and the infinities as null; two columns of one name become `id` and `id_2`. CSV: null is nothing, an empty text `""`. What goes wrong
/// behind the first rows: NDJSON ends with `{"$error": {problem}}`; everything else breaks off, and so does its connection. A JSON document
/// then has the problem as its last member `$error`, and no closing brace.
#[utoipa::path(
    post, path = "/v1/sql", tag = "analytics",
    params(
        ("allow_partial" = Option<bool>, Query, description = "Answer without the events of shards that can't be used; `Factum-Missing-Shards` names them"),
        ("Factum-Min-Position" = Option<String>, Header, description = "The cursor that the views named in the query must have come to"),
        ("Prefer" = Option<String>, Header, description = "How long to wait for that, such as `wait=2.5`: default 5 seconds, at most 60"),
    ),
    request_body(content = SqlWire, content_type = "application/json"),
    responses(
        (status = 200, description = "The rows, of the one cut of the log that `Factum-Position` names", content(
            (schema::SqlAnswer = "application/json"), (schema::SqlRow = "application/x-ndjson"), (String = "text/csv"),
            (Vec<u8> = "application/vnd.apache.arrow.stream"), (Vec<u8> = "application/vnd.apache.parquet"),
        ), headers(("Factum-Position" = String), ("Factum-Missing-Shards" = String), ("Preference-Applied" = String))),
        (status = 400, description = "`malformed-request`: the query cannot be answered as it stands; with `line` and `column` where they are known", body = schema::ProblemDocument, content_type = "application/problem+json"),
        (status = 406, description = "`not-acceptable`", body = schema::ProblemDocument, content_type = "application/problem+json"),
        (status = 413, description = "`payload-too-large`", body = schema::ProblemDocument, content_type = "application/problem+json"),
        (status = 415, description = "`unsupported-media-type`", body = schema::ProblemDocument, content_type = "application/problem+json"),
        (status = 422, description = "`query-limit-exceeded`: `limit` says of what", body = schema::ProblemDocument, content_type = "application/problem+json"),
        (status = 429, description = "`too-many-requests`", body = schema::ProblemDocument, content_type = "application/problem+json"),
        (status = 503, description = "`read-model-behind`, `target-unavailable`, `shard-unavailable`", body = schema::ProblemDocument, content_type = "application/problem+json"),
    ),
)]
pub(crate) async fn query(State(app): State<Shared>, request: Request) -> Result<Response, Problem> {
    let (parts, body) = request.into_parts();
    let mut asked = Query::parse(parts.uri.query())?;
    let partial = Partial::take(&mut asked)?;
    asked.finish()?;
    let format = pick(&parts.headers, &FORMATS)?;
    require_json(&parts.headers)?;
    let min = MinPosition::read(&app.database, &parts.headers)?;
    let body = read_at_most(&parts.headers, body, &app.settings, QUERY_BYTES_MAX).await?;
    let Object(SqlWire { query, params }) = from_body(&body)?;
    let only = visible(&Caller::of(&app, &parts));
    let query = SqlQuery { text: query.0.into_owned(), params, min: min.cursor.clone(), wait: min.wait, only };
    let answer = partial.over(&app.database).sql(query).await?;
    let mut response = rows::response(answer, format, &parts.headers).await?;
    partial::tell(response.headers_mut(), &partial.missing().unwrap_or_default());
    Ok(min.applied(response))
}

/// List the tables that can be queried, by name, with their columns.
#[utoipa::path(
    get, path = "/v1/tables", tag = "analytics",
    params(
        ("limit" = Option<u64>, Query, minimum = 1, maximum = 10000),
        ("after" = Option<String>, Query, description = "The `next` of the page before"),
    ),
    responses(
        (status = 200, description = "Tables", body = schema::TableList, headers(("Link" = String))),
        (status = 400, description = "`malformed-request`", body = schema::ProblemDocument, content_type = "application/problem+json"),
    ),
)]
pub(crate) async fn tables(State(app): State<Shared>, request: Request) -> Result<Response, Problem> {
    let (parts, _) = request.into_parts();
    let mut query = Query::parse(parts.uri.query())?;
    let page = PageOf::take_plain(&mut query, &parts)?;
    query.finish()?;
    let mut tables = app.database.tables_of(visible(&Caller::of(&app, &parts))).await?;
    tables.sort_by(|one, other| one.name.cmp(&other.name));
    let named = page.cut(tables.into_iter().map(|table| (table.name.clone(), table)));
    let answer = page.answer(&parts, "tables", named, |out, _, table| push_table(out, table));
    Ok(answer.into_response(&parts.headers).await)
}

/// For a token that is for some streams there are no others.
fn visible(caller: &Caller) -> Option<VisibleStreams> {
    caller.narrowed_to().map(|patterns| VisibleStreams::new(patterns.beginnings()))
}

fn push_table(out: &mut Vec<u8>, table: &TableInfo) {
    out.extend_from_slice(b"{\"name\":");
    push_string(out, &table.name);
    out.extend_from_slice(match table.kind {
        TableKind::Events => b",\"kind\":\"events\",\"columns\":[".as_slice(),
        TableKind::Category => b",\"kind\":\"category\",\"columns\":[",
        TableKind::View => b",\"kind\":\"view\",\"columns\":[",
        TableKind::Export => b",\"kind\":\"export\",\"columns\":[",
        TableKind::Telemetry => b",\"kind\":\"telemetry\",\"columns\":[",
    });
    for (number, column) in table.columns.iter().enumerate() {
        out.extend_from_slice(if number > 0 { b",{\"name\":" } else { b"{\"name\":" });
        push_string(out, &column.name);
        out.extend_from_slice(b",\"type\":");
        push_string(out, &column.data_type);
        out.extend_from_slice(if column.nullable { b",\"nullable\":true}" } else { b",\"nullable\":false}" });
    }
    out.extend_from_slice(b"]}");
}

const FORMATS: [(&str, OutputFormat); 6] = [
    ("application/json", OutputFormat::Json),
    ("application/x-ndjson", OutputFormat::Ndjson),
    ("application/ndjson", OutputFormat::Ndjson),
    ("text/csv", OutputFormat::Csv),
    ("application/vnd.apache.arrow.stream", OutputFormat::Arrow),
    ("application/vnd.apache.parquet", OutputFormat::Parquet),
];
/// Far more than a person writes, and what a program should bring as parameters.
const QUERY_BYTES_MAX: usize = 1 << 20;
