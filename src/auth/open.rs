//! How does a server begin to let people in? Everything that can be wrong with the settings is found here, before it answers anybody.

use std::io;
use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use factum_storage::Clock;
use factum_storage::SystemClock;
use tokio::task::JoinSet;

use super::Auth;
use super::Registered;
use super::attempts::Attempts;
use super::audit::Audit;
use super::books::Books;
use super::client;
use super::key;
use super::key::KeyOptions;
use super::key::KeyStoreError;
use super::key::Keys;
use super::key::PublicKey;
use super::known::Known;
use super::policy::Patterns;
use super::policy::Scopes;
use super::remote::Remote;
use super::secret::SECRET_CHARS_MIN;
use super::secret::Secrets;
use super::verifier::SharedSecret;
use crate::Database;
use crate::Error;
use crate::config::AuthSettings;

/// What else there is to say.
pub struct AuthOptions {
    /// The settings; `enabled` is not looked at.
    pub settings: AuthSettings,
    /// `iss` if the settings name none.
    pub issuer: String,
    /// The data directory; without one keys stay in memory.
    pub data: Option<PathBuf>,
    /// What time it is.
    pub clock: Arc<dyn Clock>,
}

impl AuthOptions {
    /// With the machine's clock.
    #[must_use]
    pub fn new(settings: AuthSettings, issuer: impl Into<String>, data: Option<PathBuf>) -> Self {
        Self { settings, issuer: issuer.into(), data, clock: Arc::new(SystemClock) }
    }
}

/// Why nobody can be let in.
#[derive(Debug, thiserror::Error)]
pub enum AuthError {
    /// A setting can't be as it is.
    #[error("{setting}: {detail}")]
    Setting {
        /// Which.
        setting: &'static str,
        /// Why, and what would be right.
        detail: String,
    },
    /// A file that the settings name can't be read.
    #[error("{setting}: cannot read {}", .file.display())]
    File {
        /// Which setting.
        setting: &'static str,
        /// Which file.
        file: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The keys can't be had.
    #[error("the keys of this server cannot be used")]
    Keys(#[from] KeyStoreError),
    /// `$clients` or `$tokens` can't be read.
    #[error("clients and revocations cannot be read")]
    Database(#[from] Error),
}

impl Auth {
    /// Opens keys, clients and revocations, and follows what becomes of them.
    ///
    /// # Errors
    ///
    /// [`AuthError`] says which setting, file or stream is in the way.
    pub async fn open(database: &Database, options: AuthOptions) -> Result<Arc<Self>, AuthError> {
        let AuthOptions { settings, issuer, data, clock } = options;
        let issuer = settings.issuer.clone().unwrap_or(issuer);
        let shared_secret = shared_secret(&settings, &issuer)?;
        let remotes = remotes(&settings, &issuer, &clock)?;
        let secrets = Secrets::new().await.map_err(|_| setting("auth", "secrets cannot be hashed here"))?;
        let bootstrap = bootstrap(&settings, &secrets).await?;
        let (store, sealing) = key::open_store(data.map(|data| data.join(KEYS)), sealing_material(&settings)?).await?;
        let options = KeyOptions { algorithm: settings.algorithm, rotate_every: settings.rotate_every, token_ttl: settings.token_ttl };
        let keys = Arc::new(Keys::open(store, options, clock.now()).await?);
        let books = Books::open(database).await?;
        let mut tasks = JoinSet::new();
        let (audit, writing) = Audit::new(database);
        tasks.spawn(writing);
        tasks.spawn(Arc::clone(&books).keep(database.clone()));
        for remote in &remotes {
            tasks.spawn(Arc::clone(remote).keep());
        }
        tasks.spawn(keep(Arc::clone(&keys), Arc::clone(&books), Arc::clone(&clock)));
        Ok(Arc::new(Self {
            database: database.clone(),
            clock,
            issuer,
            audience: settings.audience,
            token_ttl: settings.token_ttl,
            refresh_ttl: settings.refresh_ttl,
            bootstrap,
            shared_secret,
            remotes,
            keys,
            sealing,
            books,
            secrets,
            attempts: Attempts::default(),
            known: Known::default(),
            audit,
            changing: tokio::sync::Mutex::default(),
            _tasks: tasks,
        }))
    }
}

/// Rotates on schedule, and forgets what has expired.
async fn keep(keys: Arc<Keys>, books: Arc<Books>, clock: Arc<dyn Clock>) {
    let mut every = tokio::time::interval(KEEP_EVERY);
    every.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        every.tick().await;
        books.forget(clock.now());
        match keys.keep(clock.now()).await {
            Ok(true) => tracing::info!("the keys that sign tokens were changed on schedule"),
            Ok(false) => {}
            Err(error) => tracing::error!(%error, "the keys that sign tokens could not be changed; tried again in a while"),
        }
    }
}

async fn bootstrap(settings: &AuthSettings, secrets: &Secrets) -> Result<Option<Registered>, AuthError> {
    let (id, file) = match (&settings.bootstrap_client_id, &settings.bootstrap_client_secret_file) {
        (None, None) => return Ok(None),
        (Some(id), Some(file)) => (id.clone(), file),
        (Some(_), None) => return Err(setting("auth.bootstrap_client_secret_file", "is needed beside auth.bootstrap_client_id")),
        (None, Some(_)) => return Err(setting("auth.bootstrap_client_id", "is needed beside auth.bootstrap_client_secret_file")),
    };
    if !client::is_name(&id) {
        return Err(setting("auth.bootstrap_client_id", "must be 1 to 100 letters, digits, - . and _"));
    }
    let text = read("auth.bootstrap_client_secret_file", file)?;
    let secret = String::from_utf8(text).map_err(|_| setting("auth.bootstrap_client_secret_file", "must hold text"))?;
    if secret.chars().count() < SECRET_CHARS_MIN {
        return Err(setting("auth.bootstrap_client_secret_file", format!("must hold at least {SECRET_CHARS_MIN} characters")));
    }
    let busy = |_| setting("auth.bootstrap_client_secret_file", "cannot be hashed here");
    let secret = secrets.place().await.map_err(busy)?.hash(secret).await.map_err(busy)?;
    Ok(Some(Registered { id, scopes: Scopes::all(), streams: Patterns::all(), version: 0, secret }))
}

fn shared_secret(settings: &AuthSettings, issuer: &str) -> Result<Option<SharedSecret>, AuthError> {
    let Some(file) = &settings.shared_secret.file else { return Ok(None) };
    if settings.shared_secret.issuer == issuer {
        return Err(setting("auth.shared_secret.issuer", "must not be this server's own (auth.issuer)"));
    }
    let secret = read("auth.shared_secret.file", file)?;
    let key = PublicKey::of_secret(&secret);
    let key = key.ok_or_else(|| setting("auth.shared_secret.file", format!("holds {} bytes, at least 32 are needed", secret.len())))?;
    Ok(Some(SharedSecret { issuer: settings.shared_secret.issuer.clone(), key }))
}

fn remotes(settings: &AuthSettings, own: &str, clock: &Arc<dyn Clock>) -> Result<Vec<Arc<Remote>>, AuthError> {
    let shared = settings.shared_secret.file.as_ref().map(|_| settings.shared_secret.issuer.as_str());
    let read = settings.issuers.iter().map(|issuer| {
        if issuer.issuer == own || Some(issuer.issuer.as_str()) == shared {
            return Err(setting("auth.issuers", format!("{:?} is this server's own issuer, or that of the shared secret", issuer.issuer)));
        }
        let remote = Remote::new(issuer, Arc::clone(clock));
        remote.map(Arc::new).map_err(|error| setting("auth.issuers", format!("{:?}: {error}", issuer.issuer)))
    });
    read.collect()
}

fn sealing_material(settings: &AuthSettings) -> Result<Option<Vec<u8>>, AuthError> {
    match (&settings.key, &settings.key_file) {
        (Some(_), Some(_)) => Err(setting("auth.key_file", "cannot stand beside auth.key: they say the same")),
        (Some(key), None) => Ok(Some(key.expose().as_bytes().to_vec())),
        (None, Some(file)) => read("auth.key_file", file).map(Some),
        (None, None) => Ok(None),
    }
}

/// What a file holds, without white space around it.
fn read(setting: &'static str, file: &Path) -> Result<Vec<u8>, AuthError> {
    let text = std::fs::read(file).map_err(|source| AuthError::File { setting, file: file.to_owned(), source })?;
    Ok(text.trim_ascii().to_vec())
}

fn setting(setting: &'static str, detail: impl Into<String>) -> AuthError {
    AuthError::Setting { setting, detail: detail.into() }
}

const KEYS: &str = "keys";
const KEEP_EVERY: Duration = Duration::from_secs(30);
