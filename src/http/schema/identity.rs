//! What do answers about tokens, clients and keys look like?

use utoipa::ToSchema;

/// What a client asks for.
#[derive(ToSchema)]
pub(crate) struct TokenForm {
    /// `client_credentials` or `refresh_token`.
    #[schema(example = "client_credentials")]
    grant_type: String,
    refresh_token: Option<String>,
    /// Fewer than all of the client's, with spaces between them.
    #[schema(example = "events:read events:append")]
    scope: Option<String>,
    /// Fewer than all of the client's, with spaces between them.
    #[schema(example = "order-*")]
    streams: Option<String>,
    client_id: Option<String>,
    client_secret: Option<String>,
}

/// Which token.
#[derive(ToSchema)]
pub(crate) struct TokenOfForm {
    /// An access token or a refresh token.
    token: String,
    client_id: Option<String>,
    client_secret: Option<String>,
}

/// What a client gets.
#[derive(ToSchema)]
pub(crate) struct Token {
    access_token: String,
    #[schema(example = "Bearer")]
    token_type: String,
    /// In seconds.
    expires_in: u64,
    scope: String,
    /// To be exchanged once, for the next access token and the next refresh token.
    refresh_token: Option<String>,
}

/// A refusal as RFC 6749 has it.
#[derive(ToSchema)]
pub(crate) struct OAuthFault {
    #[schema(example = "invalid_client")]
    error: String,
    error_description: String,
}

/// What a token comes to. Only `active` is always there.
#[derive(ToSchema)]
pub(crate) struct Introspection {
    active: bool,
    scope: Option<String>,
    client_id: Option<String>,
    sub: Option<String>,
    iss: Option<String>,
    jti: Option<String>,
    exp: Option<u64>,
    token_type: Option<String>,
    streams: Option<Vec<String>>,
}

/// A JWK set.
#[derive(ToSchema)]
pub(crate) struct KeySet {
    #[schema(value_type = Vec<Object>)]
    keys: Vec<serde_json::Value>,
}

/// Keys of this server.
#[derive(ToSchema)]
pub(crate) struct KeyList {
    keys: Vec<Key>,
}

/// A key that signs or verifies tokens.
#[derive(ToSchema)]
pub(crate) struct Key {
    kid: String,
    #[schema(example = "ES256")]
    algorithm: String,
    /// `next`, `active` or `retiring`.
    #[schema(example = "active")]
    state: String,
    #[schema(format = "date-time")]
    created_at: String,
    #[schema(format = "date-time")]
    activated_at: Option<String>,
    /// Of one that is retiring: until the last token that it has signed has expired.
    #[schema(format = "date-time")]
    verifies_until: Option<String>,
}

/// A client.
#[derive(ToSchema)]
pub(crate) struct Client {
    #[schema(example = "mail")]
    id: String,
    /// Only in the answer to the request that made it.
    secret: Option<String>,
    scopes: Vec<String>,
    streams: Vec<String>,
    #[schema(format = "date-time")]
    created_at: String,
    #[schema(format = "date-time")]
    updated_at: String,
}

/// A page of clients.
#[derive(ToSchema)]
pub(crate) struct ClientList {
    clients: Vec<Client>,
    next: Option<String>,
}
