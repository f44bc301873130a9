//! How does the world talk to the database? The only place for axum, wire shapes and status codes; one file a resource.
//!
//! [`router`] is the interface as a value; [`serve`] puts it on a socket. Calls go to [`crate::Database`] and to nothing below it.

mod access;
mod aggregates;
mod answer;
mod append;
mod body;
mod carried;
mod clients;
mod cloud_events;
#[cfg(feature = "analytics")]
mod coded;
mod commands;
mod conditional;
mod connection;
mod decode;
mod definitions;
#[cfg(feature = "analytics")]
mod exports;
mod feed;
mod ids;
mod import;
mod jobs;
mod keys;
mod listings;
mod log_level;
mod meters;
mod min_position;
mod negotiate;
mod new_events;
mod oauth;
mod observe;
mod one_event;
mod operations;
mod pages;
mod partial;
pub mod problem;
mod projections;
mod query;
mod request;
mod schema;
mod schemas;
mod serve;
mod settings;
mod shards;
#[cfg(feature = "analytics")]
mod sql;
mod stalled;
mod status;
mod streams;
mod subscriptions;
mod tls;
mod transactions;
mod view_query;
mod views;
mod well_known;
mod wire;

use std::sync::Arc;
use std::time::Instant;

use axum::Router;
use axum::routing::get;
use bytes::Bytes;
use tokio::sync::Semaphore;
use tower::util::option_layer;
use utoipa::OpenApi;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

pub use access::Quotas;
pub use serve::serve;
pub use settings::HttpSettings;
pub use tls::Tls;
pub use tls::TlsFault;
pub use tls::TlsFiles;

use crate::Database;
use crate::auth::Auth;
use crate::http::problem::Problem;
use crate::http::problem::Slug;

/// What every handler has.
pub(crate) struct App {
    database: Database,
    settings: HttpSettings,
    imports: Arc<Semaphore>,
    started: Instant,
    openapi: Bytes,
    auth: Option<Arc<Auth>>,
}

pub(crate) type Shared = Arc<App>;

/// The whole interface over an open database.
pub fn router(database: Database, settings: HttpSettings) -> Router {
    build(database, settings, None)
}

/// The whole interface over an open database, for who is let in by `auth`.
pub fn guarded_router(database: Database, settings: HttpSettings, auth: Arc<Auth>) -> Router {
    build(database, settings, Some(auth))
}

fn build(database: Database, settings: HttpSettings, auth: Option<Arc<Auth>>) -> Router {
    let (router, description) = described().split_for_parts();
    let quotas = settings.quotas;
    let log = database.id();
    let app = App {
        database,
        imports: Arc::new(Semaphore::new(settings.imports_max)),
        settings,
        started: Instant::now(),
        openapi: description.to_json().expect("the description is JSON").into(),
        auth: auth.clone(),
    };
    let router = router
        .route("/docs", get(operations::docs))
        .route("/", get(operations::root))
        .fallback(nothing_here)
        .method_not_allowed_fallback(not_allowed);
    // Both as one: axum copies and boxes whatever is put around its routes, once for each time that something is.
    let around = (observe::ObserveLayer::new(log), option_layer(access::layer(auth, quotas)));
    router.layer(around).with_state(Arc::new(app))
}

/// The interface's description, as `GET /openapi.json` gives it.
///
/// # Errors
///
/// None in practice: it is made from constants.
pub fn openapi_json() -> Result<String, serde_json::Error> {
    described().into_openapi().to_pretty_json()
}

fn described() -> OpenApiRouter<Shared> {
    let mut router = routes();
    access::describe(router.get_openapi_mut());
    router
}

fn shard_routes() -> OpenApiRouter<Shared> {
    OpenApiRouter::new()
        .routes(routes!(shards::list, jobs::add))
        .routes(routes!(jobs::drain))
        .routes(routes!(jobs::rebalance))
        .routes(routes!(jobs::list))
        .routes(routes!(jobs::one))
        .routes(routes!(jobs::pause))
        .routes(routes!(jobs::resume))
        .routes(routes!(jobs::cancel))
        .routes(routes!(shards::locate))
}

fn routes() -> OpenApiRouter<Shared> {
    let router = OpenApiRouter::with_openapi(Description::openapi())
        .routes(routes!(append::append, pages::stream_events))
        .routes(routes!(one_event::stream_event))
        .routes(routes!(transactions::transact))
        .routes(routes!(import::import))
        .routes(routes!(pages::events))
        .routes(routes!(one_event::event_by_id))
        .routes(routes!(streams::stream, streams::delete))
        .routes(routes!(streams::set_retention))
        .routes(routes!(listings::streams))
        .routes(routes!(listings::categories))
        .routes(routes!(listings::types))
        .merge(shard_routes())
        .routes(routes!(definitions::list))
        .routes(routes!(definitions::definition, definitions::define, definitions::remove))
        .routes(routes!(aggregates::state))
        .routes(routes!(aggregates::history))
        .routes(routes!(aggregates::snapshots))
        .routes(routes!(aggregates::put_snapshot))
        .routes(routes!(commands::command))
        .routes(routes!(schemas::list))
        .routes(routes!(schemas::versions))
        .routes(routes!(schemas::schema, schemas::register))
        .routes(routes!(projections::list))
        .routes(routes!(projections::status, projections::define, projections::remove))
        .routes(routes!(projections::definition))
        .routes(routes!(projections::pause))
        .routes(routes!(projections::resume))
        .routes(routes!(projections::rebuild))
        .routes(routes!(projections::skip))
        .routes(routes!(projections::parked))
        .routes(routes!(views::list))
        .routes(routes!(views::rows))
        .routes(routes!(views::row))
        .routes(routes!(subscriptions::list))
        .routes(routes!(subscriptions::status, subscriptions::define, subscriptions::remove))
        .routes(routes!(subscriptions::consume))
        .routes(routes!(subscriptions::acknowledge))
        .routes(routes!(subscriptions::reject))
        .routes(routes!(subscriptions::parked))
        .routes(routes!(subscriptions::replay))
        .routes(routes!(subscriptions::skip))
        .routes(routes!(oauth::token))
        .routes(routes!(oauth::revoke))
        .routes(routes!(oauth::introspect))
        .routes(routes!(well_known::jwks))
        .routes(routes!(well_known::metadata))
        .routes(routes!(clients::list))
        .routes(routes!(clients::client, clients::put, clients::remove))
        .routes(routes!(keys::list))
        .routes(routes!(keys::rotate))
        .routes(routes!(operations::live))
        .routes(routes!(operations::ready))
        .routes(routes!(status::status))
        .routes(routes!(operations::metrics))
        .routes(routes!(log_level::log_level, log_level::set_log_level))
        .routes(routes!(operations::openapi));
    #[cfg(feature = "analytics")]
    let router = router
        .routes(routes!(sql::query))
        .routes(routes!(sql::tables))
        .routes(routes!(exports::list))
        .routes(routes!(exports::status, exports::define, exports::remove))
        .routes(routes!(exports::definition))
        .routes(routes!(exports::flush));
    router
}

/// The head of the description.
#[derive(OpenApi)]
#[openapi(
    info(
        title = "Factum",
        description = "An event-store database over HTTP. Every error is an RFC 9457 problem whose `type` is `urn:factum:problem:<slug>`. \
            Every answer that wrote or read carries its cursor in `Factum-Position`. `HEAD` works wherever `GET` does.",
        license(name = "Apache-2.0", identifier = "Apache-2.0"),
    ),
    tags(
        (name = "append", description = "The command side: facts go in"),
        (name = "read", description = "Events come out: as pages, lines or a live feed"),
        (name = "streams", description = "What there is"),
        (name = "aggregates", description = "What a category's events come to, and what it can be told to do"),
        (name = "schemas", description = "Which shape the data of each event type has"),
        (name = "projections", description = "Which read models are kept, and how they fare"),
        (name = "views", description = "The rows of read models"),
        (name = "analytics", description = "What all events say together, in SQL"),
        (name = "subscriptions", description = "Who shares the work on which events, and how far they are"),
        (name = "exports", description = "Which Parquet files follow the log, and how they fare"),
        (name = "shards", description = "Which logs streams are spread over, and where each stream lives"),
        (name = "identity", description = "Who gets tokens, which count, and which keys sign them"),
        (name = "operations", description = "How the server is"),
    ),
)]
struct Description;

async fn nothing_here() -> Problem {
    Problem::new(Slug::PathNotFound, "there is nothing at this path; see /openapi.json for what there is")
}

async fn not_allowed() -> Problem {
    Problem::new(Slug::MethodNotAllowed, "the path does not take this method; see Allow for those that it takes")
}
