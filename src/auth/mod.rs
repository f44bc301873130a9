//! Who is this, and what may they do? From a credential to a principal, and from a principal to a yes or no.
//!
//! [`policy`] decides, and knows nothing of tokens, keys or files. [`Auth`] knows who is who: it issues tokens to clients, checks those
//! that come back, and ends them before their time. Clients and revocations are events of `$clients` and `$tokens`; private keys are not,
//! they lie sealed in a file of their own.

mod attempts;
mod audit;
mod books;
mod client;
mod issuer;
mod key;
mod known;
mod open;
pub mod policy;
mod refresh;
mod registry;
mod remote;
mod revocation;
mod secret;
mod text;
mod token;
mod verifier;

use std::sync::Arc;
use std::time::Duration;

use factum_storage::Clock;
use tokio::task::JoinSet;

use attempts::Attempts;
use audit::Audit;
pub use audit::Call;
use books::Books;
pub use client::Client;
pub use issuer::Asker;
pub use issuer::Credentials;
pub use issuer::Grant;
pub use issuer::GrantError;
pub use issuer::Introspection;
pub use issuer::TokenAnswer;
pub use issuer::TokenRequest;
pub use key::KeyInfo;
pub use key::KeyState;
pub use key::KeyStoreError;
use key::Keys;
use key::SealingKey;
use known::Known;
pub use open::AuthError;
pub use open::AuthOptions;
use policy::Patterns;
use policy::Scopes;
pub use registry::ClientChange;
pub use registry::ClientError;
pub use registry::ClientTerms;
use remote::Remote;
use secret::Secrets;
use verifier::SharedSecret;
pub use verifier::Unauthenticated;

use crate::Database;

/// Who is let in.
pub struct Auth {
    database: Database,
    clock: Arc<dyn Clock>,
    issuer: String,
    audience: String,
    token_ttl: Duration,
    refresh_ttl: Option<Duration>,
    bootstrap: Option<Registered>,
    shared_secret: Option<SharedSecret>,
    remotes: Vec<Arc<Remote>>,
    keys: Arc<Keys>,
    sealing: SealingKey,
    books: Arc<Books>,
    secrets: Secrets,
    attempts: Attempts,
    known: Known,
    audit: Audit,
    /// One change of the clients at a time.
    changing: tokio::sync::Mutex<()>,
    /// Look after the streams and the keys, as long as this lives.
    _tasks: JoinSet<()>,
}

/// A client as far as tokens hang on it, whether it was made or stands in the settings.
#[derive(Clone, Debug)]
struct Registered {
    id: String,
    scopes: Scopes,
    streams: Patterns,
    version: u64,
    secret: String,
}
