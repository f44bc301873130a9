//! What does each route take? The one table: the layer obeys it, and the description of the interface shows it.

use http::Method;
use utoipa::openapi::OpenApi;
use utoipa::openapi::RefOr;
use utoipa::openapi::Response;
use utoipa::openapi::path::Operation;
use utoipa::openapi::path::PathItem;
use utoipa::openapi::security::HttpAuthScheme;
use utoipa::openapi::security::HttpBuilder;
use utoipa::openapi::security::SecurityRequirement;
use utoipa::openapi::security::SecurityScheme;

use crate::auth::policy::Action;
use crate::auth::policy::Target;

/// What a route takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Access {
    /// Nothing.
    Open,
    /// A token that counts, whatever it may do.
    AnyToken,
    /// Every one of these actions. With [`Target::Each`] the handler decides about each stream.
    Needs(&'static [Action], Target<'static>),
    /// It is not in the table.
    Closed,
}

impl Access {
    /// Whether it is remembered who has done it.
    pub(super) fn is_remembered(self) -> bool {
        match self {
            Self::Needs(actions, _) => actions.iter().any(|action| matches!(action, Action::Define | Action::Administer)),
            Self::Open | Self::AnyToken | Self::Closed => false,
        }
    }

    /// Whether nothing is lost when it is broken off. Acknowledgements take the permission to read, and change something all the same.
    pub(super) fn only_reads(self, method: &Method) -> bool {
        match self {
            Self::Needs(actions, _) => actions == [Action::Query] || matches!(*method, Method::GET | Method::HEAD),
            Self::Open | Self::AnyToken | Self::Closed => false,
        }
    }
}

/// Reads events, stream by stream.
const READ: Access = Access::Needs(&[Action::Read], Target::Each);
/// Reads what is about the events of all streams.
const READ_ALL: Access = Access::Needs(&[Action::Read], Target::Whole);
const APPEND: Access = Access::Needs(&[Action::Append], Target::Each);
/// A command reads the state that it decides upon, and answers it.
const TELL: Access = Access::Needs(&[Action::Append, Action::Read], Target::Each);
const VIEWS: Access = Access::Needs(&[Action::ReadViews], Target::Whole);
/// Asks about events, of which none are there but those that the token is for.
const ASK: Access = Access::Needs(&[Action::Query], Target::Each);
const QUERY: Access = Access::Needs(&[Action::Query], Target::Whole);
const DEFINE: Access = Access::Needs(&[Action::Define], Target::Whole);
const ADMIN: Access = Access::Needs(&[Action::Administer], Target::Whole);

/// Every route. A test holds it complete.
pub(super) const ROUTES: &[(Method, &str, Access)] = &[
    (Method::GET, "/", Access::Open),
    (Method::GET, "/docs", Access::Open),
    (Method::GET, "/openapi.json", Access::Open),
    (Method::GET, "/health/live", Access::Open),
    (Method::GET, "/health/ready", Access::Open),
    (Method::GET, "/metrics", Access::AnyToken),
    (Method::GET, "/v1/status", Access::AnyToken),
    (Method::GET, "/v1/shards", READ_ALL),
    (Method::GET, "/v1/shards/locate/{stream}", READ),
    (Method::POST, "/v1/shards", ADMIN),
    (Method::DELETE, "/v1/shards/{id}", ADMIN),
    (Method::POST, "/v1/shards/rebalance", ADMIN),
    (Method::GET, "/v1/jobs", READ_ALL),
    (Method::GET, "/v1/jobs/{id}", READ_ALL),
    (Method::POST, "/v1/jobs/{id}/pause", ADMIN),
    (Method::POST, "/v1/jobs/{id}/resume", ADMIN),
    (Method::POST, "/v1/jobs/{id}/cancel", ADMIN),
    (Method::GET, "/v1/log-level", ADMIN),
    (Method::PUT, "/v1/log-level", ADMIN),
    // Clients show their secrets here instead of a token; who asks with a token is checked by the handler.
    (Method::POST, "/oauth/token", Access::Open),
    (Method::POST, "/oauth/revoke", Access::Open),
    (Method::POST, "/oauth/introspect", Access::Open),
    (Method::GET, "/.well-known/jwks.json", Access::Open),
    (Method::GET, "/.well-known/oauth-authorization-server", Access::Open),
    (Method::GET, "/v1/clients", ADMIN),
    (Method::GET, "/v1/clients/{id}", ADMIN),
    (Method::PUT, "/v1/clients/{id}", ADMIN),
    (Method::DELETE, "/v1/clients/{id}", ADMIN),
    (Method::GET, "/v1/keys", ADMIN),
    (Method::POST, "/v1/keys/rotate", ADMIN),
    (Method::POST, "/v1/streams/{stream}/events", APPEND),
    (Method::GET, "/v1/streams/{stream}/events", READ),
    (Method::GET, "/v1/streams/{stream}/events/{version}", READ),
    (Method::GET, "/v1/streams/{stream}", READ),
    (Method::DELETE, "/v1/streams/{stream}", ADMIN),
    (Method::PUT, "/v1/streams/{stream}/retention", ADMIN),
    (Method::POST, "/v1/transactions", APPEND),
    (Method::POST, "/v1/import", APPEND),
    (Method::GET, "/v1/events", READ),
    (Method::GET, "/v1/events/{id}", READ),
    (Method::GET, "/v1/streams", READ),
    (Method::GET, "/v1/categories", READ_ALL),
    (Method::GET, "/v1/types", READ_ALL),
    (Method::GET, "/v1/aggregates", READ_ALL),
    (Method::GET, "/v1/aggregates/{category}", READ_ALL),
    (Method::PUT, "/v1/aggregates/{category}", DEFINE),
    (Method::DELETE, "/v1/aggregates/{category}", DEFINE),
    (Method::GET, "/v1/aggregates/{category}/{id}", READ),
    (Method::GET, "/v1/aggregates/{category}/{id}/history", READ),
    (Method::GET, "/v1/aggregates/{category}/{id}/snapshots", READ),
    (Method::PUT, "/v1/aggregates/{category}/{id}/snapshots/{version}", TELL),
    (Method::POST, "/v1/aggregates/{category}/{id}/commands/{name}", TELL),
    (Method::GET, "/v1/schemas", READ_ALL),
    (Method::GET, "/v1/schemas/{type}", READ_ALL),
    (Method::GET, "/v1/schemas/{type}/{schema_version}", READ_ALL),
    (Method::PUT, "/v1/schemas/{type}/{schema_version}", DEFINE),
    (Method::GET, "/v1/subscriptions", READ_ALL),
    (Method::GET, "/v1/subscriptions/{name}", READ),
    (Method::PUT, "/v1/subscriptions/{name}", DEFINE),
    (Method::DELETE, "/v1/subscriptions/{name}", DEFINE),
    (Method::GET, "/v1/subscriptions/{name}/events", READ),
    (Method::POST, "/v1/subscriptions/{name}/ack", READ),
    (Method::POST, "/v1/subscriptions/{name}/nack", READ),
    (Method::GET, "/v1/subscriptions/{name}/parked", READ),
    (Method::POST, "/v1/subscriptions/{name}/parked/replay", READ),
    (Method::POST, "/v1/subscriptions/{name}/parked/skip", READ),
    (Method::GET, "/v1/projections", VIEWS),
    (Method::GET, "/v1/projections/{projection}", VIEWS),
    (Method::GET, "/v1/projections/{projection}/definition", VIEWS),
    (Method::GET, "/v1/projections/{projection}/parked", VIEWS),
    (Method::PUT, "/v1/projections/{projection}", DEFINE),
    (Method::DELETE, "/v1/projections/{projection}", DEFINE),
    (Method::POST, "/v1/projections/{projection}/pause", DEFINE),
    (Method::POST, "/v1/projections/{projection}/resume", DEFINE),
    (Method::POST, "/v1/projections/{projection}/rebuild", DEFINE),
    (Method::POST, "/v1/projections/{projection}/skip", DEFINE),
    (Method::GET, "/v1/views", VIEWS),
    (Method::GET, "/v1/views/{view}", VIEWS),
    (Method::GET, "/v1/views/{view}/{key}", VIEWS),
    (Method::POST, "/v1/sql", ASK),
    (Method::GET, "/v1/tables", ASK),
    (Method::GET, "/v1/exports", QUERY),
    (Method::GET, "/v1/exports/{export}", QUERY),
    (Method::GET, "/v1/exports/{export}/definition", QUERY),
    (Method::PUT, "/v1/exports/{export}", DEFINE),
    (Method::DELETE, "/v1/exports/{export}", DEFINE),
    (Method::POST, "/v1/exports/{export}/flush", DEFINE),
];

/// Writes what each route takes into the description.
pub(crate) fn describe(description: &mut OpenApi) {
    let scheme = HttpBuilder::new()
        .scheme(HttpAuthScheme::Bearer)
        .bearer_format("JWT")
        .description(Some("A token of `POST /oauth/token` or of an issuer in the settings. Only needed where `auth.enabled` is set."))
        .build();
    let components = description.components.get_or_insert_default();
    components.security_schemes.insert(SCHEME.to_owned(), RefOr::T(SecurityScheme::Http(scheme)));
    for (path, item) in &mut description.paths.paths {
        for (method, operation) in operations(item) {
            // One that is missing gets no security, which a test finds.
            if let Some((_, _, access)) = ROUTES.iter().find(|(own, template, _)| *own == method && template == path) {
                secure(operation, *access);
            }
        }
    }
}

fn operations(item: &mut PathItem) -> impl Iterator<Item = (Method, &mut Operation)> {
    let all =
        [(Method::GET, &mut item.get), (Method::PUT, &mut item.put), (Method::POST, &mut item.post), (Method::DELETE, &mut item.delete)];
    all.into_iter().filter_map(|(method, operation)| Some((method, operation.as_mut()?)))
}

fn secure(operation: &mut Operation, access: Access) {
    let scopes: Vec<&str> = match access {
        Access::Open => {
            operation.security = Some(Vec::new());
            return;
        }
        Access::AnyToken | Access::Closed => Vec::new(),
        Access::Needs(actions, _) => actions.iter().map(|action| action.scope().as_str()).collect(),
    };
    operation.security = Some(vec![SecurityRequirement::new(SCHEME, scopes)]);
    let mut answer = |status: &str, description: &str| {
        let there = &mut operation.responses.responses;
        there.entry(status.to_owned()).or_insert_with(|| RefOr::T(Response::new(description)));
    };
    answer("401", "`unauthenticated`: no token, or one that does not count");
    if matches!(access, Access::Needs(..)) {
        answer("403", "`forbidden`: the token lacks the scope, or is not for these streams");
    }
}

const SCHEME: &str = "bearer";

#[cfg(test)]
mod tests {
    use super::*;

    /// A1: no route is open by mistake, and no entry is about a route that is not there.
    #[test]
    fn a1_every_route_is_in_the_table_once() {
        let mut description = crate::http::described().into_openapi();
        let mut missing = Vec::new();
        let mut found = 0;
        for (path, item) in &mut description.paths.paths {
            for (method, operation) in operations(item) {
                found += 1;
                let entries = ROUTES.iter().filter(|(own, template, _)| *own == method && template == path).count();
                if entries != 1 || operation.security.is_none() {
                    missing.push(format!("{method} {path}: {entries} entries"));
                }
            }
        }
        assert!(missing.is_empty(), "{missing:?}");
        // Pages for browsers are no part of the description; SQL and exports are not in every build.
        let without = if cfg!(feature = "analytics") { 2 } else { 2 + 8 };
        assert_eq!(found + without, ROUTES.len());
    }
}
