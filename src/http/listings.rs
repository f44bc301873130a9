//! What is there? Streams, categories and types by name, with counts.

use std::collections::BTreeMap;

use axum::extract::Request;
use axum::extract::State;
use axum::response::Response;
use http::request::Parts;

use crate::database::Database;
use crate::database::StreamInfo;
use crate::database::StreamsQuery;
use crate::http::Shared;
use crate::http::access::Caller;
use crate::http::access::authorise_system_read;
use crate::http::answer::ReadAnswer;
use crate::http::negotiate::json_only;
use crate::http::partial::Partial;
use crate::http::problem::Problem;
use crate::http::query::LIMIT_DEFAULT;
use crate::http::query::Query;
use crate::http::query::with_parameter;
use crate::http::schema;
use crate::subscription::event_json::push_number;
use crate::subscription::json_text::push_string;
use crate::subscription::time::push_timestamp;

/// List streams by name.
#[utoipa::path(
    get, path = "/v1/streams", tag = "streams",
    params(
        ("limit" = Option<u64>, Query, minimum = 1, maximum = 10000),
        ("after" = Option<String>, Query, description = "The `next` of the page before"),
        ("prefix" = Option<String>, Query, description = "How names begin"),
        ("category" = Option<String>, Query),
        ("include_system" = Option<bool>, Query),
        ("allow_partial" = Option<bool>, Query, description = "Go on without shards that can't be used; `missing_shards` names them"),
    ),
    responses(
        (status = 200, description = "Streams", body = schema::StreamList, headers(("Link" = String), ("Factum-Missing-Shards" = String))),
        (status = 400, description = "`malformed-request`", body = schema::ProblemDocument, content_type = "application/problem+json"),
    ),
)]
pub(crate) async fn streams(State(app): State<Shared>, request: Request) -> Result<Response, Problem> {
    let (parts, _) = request.into_parts();
    let caller = Caller::of(&app, &parts);
    let mut query = Query::parse(parts.uri.query())?;
    let page = PageOf::take(&mut query, &parts, &caller)?;
    let prefix = query.text("prefix")?.unwrap_or_default();
    let category = query.text("category")?;
    query.finish()?;
    let query = StreamsQuery { after: page.after.clone(), prefix, category, include_system: page.include_system, limit: page.limit + 1 };
    let streams = visible_streams(&page.partial.over(&app.database), &caller, query).await?;
    let named = streams.into_iter().map(|(_, info)| (info.stream.as_str().to_owned(), info)).collect();
    let answer = page.answer(&parts, "streams", named, |out, name, info| {
        out.extend_from_slice(b"{\"stream\":");
        push_string(out, name);
        out.extend_from_slice(b",\"category\":");
        push_string(out, info.stream.category());
        out.extend_from_slice(b",\"version\":");
        push_number(out, info.version.get());
        out.extend_from_slice(b",\"updated_at\":\"");
        push_timestamp(out, info.updated_at);
        out.extend_from_slice(b"\"}");
    });
    Ok(answer.into_response(&parts.headers).await)
}

/// The streams that a query finds and the caller may read: one search for each pattern that the token is for.
async fn visible_streams(database: &Database, caller: &Caller, query: StreamsQuery) -> Result<Vec<(u16, StreamInfo)>, crate::Error> {
    let Some(patterns) = caller.narrowed_to() else { return database.streams(query).await };
    let mut found = BTreeMap::new();
    for (beginning, is_whole) in patterns.beginnings() {
        let prefix = match (beginning.starts_with(&query.prefix), query.prefix.starts_with(beginning)) {
            (true, _) => beginning,
            (false, true) if !is_whole => query.prefix.as_str(),
            (false, _) => continue,
        };
        let narrower = StreamsQuery { prefix: prefix.to_owned(), limit: if is_whole { 1 } else { query.limit }, ..query.clone() };
        for (shard, info) in database.streams(narrower).await? {
            if caller.sees(info.stream.as_str()) {
                found.insert(info.stream.as_str().to_owned(), (shard, info));
            }
        }
    }
    Ok(found.into_values().take(query.limit).collect())
}

/// List categories by name, with how many streams and events they have had.
#[utoipa::path(
    get, path = "/v1/categories", tag = "streams",
    params(
        ("limit" = Option<u64>, Query, minimum = 1, maximum = 10000),
        ("after" = Option<String>, Query, description = "The `next` of the page before"),
        ("include_system" = Option<bool>, Query),
        ("allow_partial" = Option<bool>, Query, description = "Go on without shards that can't be used; `missing_shards` names them"),
    ),
    responses(
        (status = 200, description = "Categories", body = schema::CategoryList, headers(("Link" = String), ("Factum-Missing-Shards" = String))),
        (status = 400, description = "`malformed-request`", body = schema::ProblemDocument, content_type = "application/problem+json"),
    ),
)]
pub(crate) async fn categories(State(app): State<Shared>, request: Request) -> Result<Response, Problem> {
    let (parts, _) = request.into_parts();
    let caller = Caller::of(&app, &parts);
    let mut query = Query::parse(parts.uri.query())?;
    let page = PageOf::take(&mut query, &parts, &caller)?;
    query.finish()?;
    let all = page.partial.over(&app.database).categories(page.include_system).await?;
    let named = page.cut(all.into_iter().map(|info| (info.category, (info.streams, info.events))));
    let answer = page.answer(&parts, "categories", named, |out, name, (streams, events)| {
        out.extend_from_slice(b"{\"category\":");
        push_string(out, name);
        out.extend_from_slice(format!(",\"streams\":{streams},\"events\":{events}}}").as_bytes());
    });
    Ok(answer.into_response(&parts.headers).await)
}

/// List event types by name, with how many events of them were appended.
#[utoipa::path(
    get, path = "/v1/types", tag = "streams",
    params(
        ("limit" = Option<u64>, Query, minimum = 1, maximum = 10000),
        ("after" = Option<String>, Query, description = "The `next` of the page before"),
        ("include_system" = Option<bool>, Query),
        ("allow_partial" = Option<bool>, Query, description = "Go on without shards that can't be used; `missing_shards` names them"),
    ),
    responses(
        (status = 200, description = "Types", body = schema::TypeList, headers(("Link" = String), ("Factum-Missing-Shards" = String))),
        (status = 400, description = "`malformed-request`", body = schema::ProblemDocument, content_type = "application/problem+json"),
    ),
)]
pub(crate) async fn types(State(app): State<Shared>, request: Request) -> Result<Response, Problem> {
    let (parts, _) = request.into_parts();
    let caller = Caller::of(&app, &parts);
    let mut query = Query::parse(parts.uri.query())?;
    let page = PageOf::take(&mut query, &parts, &caller)?;
    query.finish()?;
    let all = page.partial.over(&app.database).types(page.include_system).await?;
    let named = page.cut(all.into_iter().map(|info| (info.event_type, info.events)));
    let answer = page.answer(&parts, "types", named, |out, name, events| {
        out.extend_from_slice(b"{\"type\":");
        push_string(out, name);
        out.extend_from_slice(format!(",\"events\":{events}}}").as_bytes());
    });
    Ok(answer.into_response(&parts.headers).await)
}

/// Which page of a listing.
pub(crate) struct PageOf {
    limit: usize,
    after: Option<String>,
    include_system: bool,
    partial: Partial,
}

impl PageOf {
    fn take(query: &mut Query, parts: &Parts, caller: &Caller) -> Result<Self, Problem> {
        let include_system = query.switch("include_system")?;
        if include_system {
            authorise_system_read(caller)?;
        }
        Ok(Self { include_system, partial: Partial::take(query)?, ..Self::take_plain(query, parts)? })
    }

    /// Of a listing that never has anything of the system in it.
    pub(crate) fn take_plain(query: &mut Query, parts: &Parts) -> Result<Self, Problem> {
        json_only(&parts.headers)?;
        Ok(Self {
            limit: query.limit()?.unwrap_or(LIMIT_DEFAULT),
            after: query.text("after")?,
            include_system: false,
            partial: Partial::default(),
        })
    }

    /// One more than fits, so that it is known whether there is more. `all` is in the order of names.
    pub(crate) fn cut<T>(&self, all: impl Iterator<Item = (String, T)>) -> Vec<(String, T)> {
        all.filter(|(name, _)| self.after.as_ref().is_none_or(|after| name > after)).take(self.limit + 1).collect()
    }

    pub(crate) fn answer<T>(
        &self,
        parts: &Parts,
        plural: &str,
        mut items: Vec<(String, T)>,
        push: impl Fn(&mut Vec<u8>, &str, &T),
    ) -> ReadAnswer {
        let has_more = items.len() > self.limit;
        items.truncate(self.limit);
        let next = items.last().filter(|_| has_more).map(|(name, _)| name.clone());
        let mut body = Vec::with_capacity(items.len() * 96 + 64);
        body.extend_from_slice(format!("{{\"{plural}\":[").as_bytes());
        for (number, (name, item)) in items.iter().enumerate() {
            if number > 0 {
                body.push(b',');
            }
            push(&mut body, name, item);
        }
        body.extend_from_slice(b"],\"next\":");
        match &next {
            Some(name) => push_string(&mut body, name),
            None => body.extend_from_slice(b"null"),
        }
        self.partial.push_member(&mut body);
        body.push(b'}');
        let link = next.map(|name| format!("{}?{}", parts.uri.path(), with_parameter(parts.uri.query(), "after", &name)));
        let etag = format!("W/\"{:016x}\"", xxhash_rust::xxh3::xxh3_64(&body));
        ReadAnswer { etag: Some(etag), next: link, missing: self.partial.missing().unwrap_or_default(), ..ReadAnswer::json(body) }
    }
}
