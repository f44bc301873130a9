//! How are shards added and drained over HTTP, and how far is that?

use std::convert::Infallible;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::Request;
use axum::extract::State;
use axum::response::Response;
use bytes::Bytes;
use futures::Stream;
use http::HeaderValue;
use http::StatusCode;
use http::header;
use http::request::Parts;
use serde::Serialize;

use crate::database;
use crate::database::Job;
use crate::database::TopologyChange;
use crate::http::App;
use crate::http::Shared;
use crate::http::answer;
use crate::http::answer::ReadAnswer;
use crate::http::body::read_at_most;
use crate::http::conditional::refuse_conditions;
use crate::http::decode::from_body;
use crate::http::negotiate;
use crate::http::negotiate::json_only;
use crate::http::problem::Problem;
use crate::http::query::Query;
use crate::http::request::require_json;
use crate::http::request::segment;
use crate::http::schema;

/// Add a shard while appends go on. It takes its share from the others; history stays where it is.
#[utoipa::path(
    post, path = "/v1/shards", tag = "shards",
    params(("dry_run" = Option<bool>, Query, description = "Only say what would move")),
    request_body = Option<NewShard>,
    responses(
        (status = 200, description = "With `dry_run`: what would move", body = Plan),
        (status = 202, description = "The job that sees to it", body = JobInfo, headers(("Location" = String))),
        (status = 400, description = "`malformed-request`", body = schema::ProblemDocument, content_type = "application/problem+json"),
        (status = 409, description = "`topology-conflict`", body = schema::ProblemDocument, content_type = "application/problem+json"),
        (status = 503, description = "`shard-unavailable`", body = schema::ProblemDocument, content_type = "application/problem+json"),
        (status = 507, description = "`storage-full`", body = schema::ProblemDocument, content_type = "application/problem+json"),
    ),
)]
pub(crate) async fn add(State(app): State<Shared>, request: Request) -> Result<Response, Problem> {
    let (parts, body) = request.into_parts();
    let body = read_at_most(&parts.headers, body, &app.settings, BODY_BYTES_MAX).await?;
    let asked: NewShard = if body.is_empty() {
        NewShard::default()
    } else {
        require_json(&parts.headers)?;
        from_body(&body)?
    };
    let NewShard { weight, split, region } = asked;
    change(&app, &parts, TopologyChange::Add(database::NewShard { weight, split, region })).await
}

/// Drain a shard while appends go on: it gives all that it has to the others, with `geo` to those of its region. Its log stays, and is
/// read like before.
#[utoipa::path(
    delete, path = "/v1/shards/{id}", tag = "shards",
    params(("id" = u16, Path), ("dry_run" = Option<bool>, Query, description = "Only say what would move")),
    responses(
        (status = 200, description = "With `dry_run`: what would move", body = Plan),
        (status = 202, description = "The job that sees to it", body = JobInfo, headers(("Location" = String))),
        (status = 400, description = "`malformed-request`", body = schema::ProblemDocument, content_type = "application/problem+json"),
        (status = 404, description = "`part-not-found`", body = schema::ProblemDocument, content_type = "application/problem+json"),
        (status = 409, description = "`topology-conflict`", body = schema::ProblemDocument, content_type = "application/problem+json"),
        (status = 503, description = "`shard-unavailable`", body = schema::ProblemDocument, content_type = "application/problem+json"),
    ),
)]
pub(crate) async fn drain(State(app): State<Shared>, request: Request) -> Result<Response, Problem> {
    let (parts, _) = request.into_parts();
    let id = segment(&parts.uri, 2, "id")?;
    let shard = id.parse().map_err(|_| Problem::malformed("id", "is not the number of a shard"))?;
    change(&app, &parts, TopologyChange::Drain(shard)).await
}

/// Give each shard its share: after a change that was cancelled, or when ranges have grown apart.
#[utoipa::path(
    post, path = "/v1/shards/rebalance", tag = "shards",
    params(("dry_run" = Option<bool>, Query, description = "Only say what would move")),
    responses(
        (status = 200, description = "With `dry_run`: what would move", body = Plan),
        (status = 202, description = "The job that sees to it", body = JobInfo, headers(("Location" = String))),
        (status = 400, description = "`malformed-request`", body = schema::ProblemDocument, content_type = "application/problem+json"),
        (status = 409, description = "`topology-conflict`", body = schema::ProblemDocument, content_type = "application/problem+json"),
        (status = 503, description = "`shard-unavailable`", body = schema::ProblemDocument, content_type = "application/problem+json"),
    ),
)]
pub(crate) async fn rebalance(State(app): State<Shared>, request: Request) -> Result<Response, Problem> {
    let (parts, _) = request.into_parts();
    change(&app, &parts, TopologyChange::Rebalance).await
}

async fn change(app: &App, parts: &Parts, change: TopologyChange) -> Result<Response, Problem> {
    refuse_conditions(&parts.headers)?;
    json_only(&parts.headers)?;
    let mut query = Query::parse(parts.uri.query())?;
    let dry_run = query.switch("dry_run")?;
    query.finish()?;
    if dry_run {
        let plan = Plan::new(&app.database.plan_shards(change).await?);
        return Ok(answer::whole(StatusCode::OK, answer::JSON, json(&plan)));
    }
    let job = app.database.change_shards(change).await?;
    let mut response = answer::whole(StatusCode::ACCEPTED, answer::JSON, json(&JobInfo::new(&job)));
    answer::set(response.headers_mut(), header::LOCATION, format!("/v1/jobs/{}", job.id));
    Ok(response)
}

/// The jobs since the server was started, and the one that it went on with; the newest last.
#[utoipa::path(
    get, path = "/v1/jobs", tag = "shards",
    responses(
        (status = 200, description = "Jobs", body = JobList),
        (status = 400, description = "`malformed-request`", body = schema::ProblemDocument, content_type = "application/problem+json"),
    ),
)]
pub(crate) async fn list(State(app): State<Shared>, request: Request) -> Result<Response, Problem> {
    let (parts, _) = request.into_parts();
    json_only(&parts.headers)?;
    Query::parse(parts.uri.query())?.finish()?;
    let jobs = JobList { jobs: app.database.jobs().iter().map(JobInfo::new).collect() };
    Ok(ReadAnswer::json(json(&jobs)).into_response(&parts.headers).await)
}

/// How far a job is. As `text/event-stream`: each time that it has changed, until it has ended.
#[utoipa::path(
    get, path = "/v1/jobs/{id}", tag = "shards",
    params(("id" = String, Path)),
    responses(
        (status = 200, description = "The job", content((JobInfo = "application/json"), (String = "text/event-stream"))),
        (status = 400, description = "`malformed-request`", body = schema::ProblemDocument, content_type = "application/problem+json"),
        (status = 404, description = "`part-not-found`", body = schema::ProblemDocument, content_type = "application/problem+json"),
    ),
)]
pub(crate) async fn one(State(app): State<Shared>, request: Request) -> Result<Response, Problem> {
    let (parts, _) = request.into_parts();
    let id = segment(&parts.uri, 2, "id")?;
    let is_stream = negotiate::pick(&parts.headers, &[("application/json", false), ("text/event-stream", true)])?;
    Query::parse(parts.uri.query())?.finish()?;
    let job = app.database.job(&id)?;
    if !is_stream {
        return Ok(ReadAnswer::json(json(&JobInfo::new(&job))).into_response(&parts.headers).await);
    }
    let mut response = Response::new(Body::from_stream(told(Arc::clone(&app), id)));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(response)
}

/// The job each time that it has changed, and a comment when it has not for a while.
fn told(app: Shared, id: String) -> impl Stream<Item = Result<Bytes, Infallible>> {
    let changes = app.database.job_changes();
    let state = (app, id, changes, None::<Vec<u8>>, false);
    futures::stream::unfold(state, |(app, id, mut changes, told, has_ended)| async move {
        if has_ended {
            return None;
        }
        loop {
            changes.mark_unchanged();
            // One that is forgotten has nothing more to tell.
            let job = app.database.job(&id).ok()?;
            let text = json(&JobInfo::new(&job));
            if told.as_ref() != Some(&text) {
                let part = [b"event: job\ndata: ", text.as_slice(), b"\n\n"].concat();
                return Some((Ok(part.into()), (app, id, changes, Some(text), job.has_ended())));
            }
            let closing = app.settings.closing.clone();
            tokio::select! {
                () = closing.cancelled() => return None,
                changed = changes.changed() => changed.ok()?,
                () = tokio::time::sleep(app.settings.heartbeat) => {
                    return Some((Ok(Bytes::from_static(b":\n\n")), (app, id, changes, told, false)));
                }
            }
        }
    })
}

/// Let a job rest: nothing moves until it is resumed, also after a restart.
#[utoipa::path(
    post, path = "/v1/jobs/{id}/pause", tag = "shards",
    params(("id" = String, Path)),
    responses(
        (status = 200, description = "The job", body = JobInfo),
        (status = 400, description = "`malformed-request`", body = schema::ProblemDocument, content_type = "application/problem+json"),
        (status = 404, description = "`part-not-found`", body = schema::ProblemDocument, content_type = "application/problem+json"),
        (status = 409, description = "`topology-conflict`: it has ended", body = schema::ProblemDocument, content_type = "application/problem+json"),
    ),
)]
pub(crate) async fn pause(State(app): State<Shared>, request: Request) -> Result<Response, Problem> {
    let (id, parts) = steered(request)?;
    steer_answer(&parts, &app.database.pause_job(&id).await?).await
}

/// Go on with a job that rests or has failed.
#[utoipa::path(
    post, path = "/v1/jobs/{id}/resume", tag = "shards",
    params(("id" = String, Path)),
    responses(
        (status = 200, description = "The job", body = JobInfo),
        (status = 400, description = "`malformed-request`", body = schema::ProblemDocument, content_type = "application/problem+json"),
        (status = 404, description = "`part-not-found`", body = schema::ProblemDocument, content_type = "application/problem+json"),
        (status = 409, description = "`topology-conflict`: it has ended", body = schema::ProblemDocument, content_type = "application/problem+json"),
    ),
)]
pub(crate) async fn resume(State(app): State<Shared>, request: Request) -> Result<Response, Problem> {
    let (id, parts) = steered(request)?;
    steer_answer(&parts, &app.database.resume_job(&id).await?).await
}

/// Give a job up. What has moved stays where it is; `POST /v1/shards/rebalance` evens out what is left.
#[utoipa::path(
    post, path = "/v1/jobs/{id}/cancel", tag = "shards",
    params(("id" = String, Path)),
    responses(
        (status = 200, description = "The job", body = JobInfo),
        (status = 400, description = "`malformed-request`", body = schema::ProblemDocument, content_type = "application/problem+json"),
        (status = 404, description = "`part-not-found`", body = schema::ProblemDocument, content_type = "application/problem+json"),
        (status = 409, description = "`topology-conflict`: it has ended", body = schema::ProblemDocument, content_type = "application/problem+json"),
    ),
)]
pub(crate) async fn cancel(State(app): State<Shared>, request: Request) -> Result<Response, Problem> {
    let (id, parts) = steered(request)?;
    steer_answer(&parts, &app.database.cancel_job(&id).await?).await
}

fn steered(request: Request) -> Result<(String, Parts), Problem> {
    let (parts, _) = request.into_parts();
    refuse_conditions(&parts.headers)?;
    json_only(&parts.headers)?;
    Query::parse(parts.uri.query())?.finish()?;
    Ok((segment(&parts.uri, 2, "id")?, parts))
}

async fn steer_answer(parts: &Parts, job: &Job) -> Result<Response, Problem> {
    Ok(ReadAnswer::json(json(&JobInfo::new(job))).into_response(&parts.headers).await)
}

fn json(value: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(value).expect("numbers and text are JSON")
}

const BODY_BYTES_MAX: usize = 4_096;

mod shapes;

pub(crate) use shapes::*;
