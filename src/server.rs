//! How does a server come up and go down? Bottom-up: lock and log, then HTTP; top-down within a deadline.

mod options;

use std::collections::BTreeSet;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use std::time::Instant;

use factum_storage as storage;
use options::database_options;
use options::http_settings;
use tokio::net::TcpListener;

use crate::Database;
use crate::Error;
use crate::auth::Auth;
use crate::auth::AuthError;
use crate::auth::AuthOptions;
use crate::config::Settings;
use crate::config::TlsSettings;
use crate::definition::folder;
use crate::definition::folder::FolderFault;
use crate::http;
use crate::http::HttpSettings;
use crate::http::Tls;
use crate::http::TlsFault;
use crate::http::TlsFiles;
use crate::telemetry;

/// Why the server did not come up, or did not end well.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// Beyond loopback anybody could read and write everything.
    #[error("{0} is not a loopback address, and authentication is off (auth.enabled)")]
    Insecure(SocketAddr),
    /// The certificate can't be used.
    #[error("TLS cannot be spoken")]
    Tls(#[source] TlsFault),
    /// One of two settings without the other.
    #[error("{0} is set without {1}")]
    HalfTls(&'static str, &'static str),
    /// The address can't be had.
    #[error("cannot listen on {address}")]
    Listen {
        /// Which.
        address: SocketAddr,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The data directory can't be opened.
    #[error("cannot open {data}")]
    Open {
        /// Which directory.
        data: String,
        /// Why.
        #[source]
        source: Error,
    },
    /// Authentication is on, and can't be.
    #[error("authentication cannot be turned on")]
    Auth(#[source] AuthError),
    /// The folder of definitions can't be used, or holds one that is refused.
    #[error("the definitions cannot be put in force")]
    Definitions(#[source] FolderFault),
    /// The interface broke off.
    #[error("the HTTP interface failed")]
    Http(#[source] io::Error),
    /// A disk has failed under a running server.
    #[error("shard {shard} takes no appends any more: {detail}")]
    Poisoned {
        /// Which shard.
        shard: u16,
        /// What failed.
        detail: Arc<str>,
    },
    /// The last flush failed or took too long; the log is whole all the same.
    #[error("the index was not flushed in time; nothing acknowledged is lost, the next start reads it again from the log: {0}")]
    Close(String),
}

/// A server that answers.
pub struct Server {
    listener: TcpListener,
    address: SocketAddr,
    database: Database,
    auth: Option<Arc<Auth>>,
    settings: Settings,
    tls: Option<Tls>,
}

impl Server {
    /// Binds the address, opens the data directory and puts the folder of definitions in force. Dropped before it is done, it leaves
    /// nothing behind that is half done.
    ///
    /// # Errors
    ///
    /// [`ServerError::Tls`], [`ServerError::HalfTls`], [`ServerError::Insecure`], [`ServerError::Listen`], [`ServerError::Open`],
    /// [`ServerError::Auth`], [`ServerError::Definitions`].
    pub async fn open(settings: Settings) -> Result<Self, ServerError> {
        let wanted = settings.server.listen;
        let tls = tls(&settings.tls).await?;
        // Whoever has no certificate of the clients' authority does not get in.
        let is_closed = settings.tls.client_ca.is_some();
        if !wanted.ip().is_loopback() && !settings.server.insecure && !settings.auth.enabled && !is_closed {
            return Err(ServerError::Insecure(wanted));
        }
        // The address comes first: it is the quicker of the two to fail.
        let bound = TcpListener::bind(wanted).await;
        let listener = bound.map_err(|source| ServerError::Listen { address: wanted, source })?;
        let address = listener.local_addr().map_err(|source| ServerError::Listen { address: wanted, source })?;
        let data = settings.server.data.display().to_string();
        tracing::info!(data, durability = ?settings.storage.durability, "opening");
        let opened = told_while_waiting(Database::open(database_options(&settings)), &data).await;
        let database = opened.map_err(|source| ServerError::Open { data, source })?;
        match prepare(&database, &settings).await {
            Ok(auth) => Ok(Self { listener, address, database, auth, settings, tls }),
            Err(error) => {
                if let Err(error) = close(&database, settings.server.shutdown_timeout).await {
                    tracing::warn!(%error, "closing what was opened has failed too");
                }
                Err(error)
            }
        }
    }

    /// Where it is; with port 0 the port that it got.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The certificate, if there is one, to be read again at will.
    #[must_use]
    pub fn tls(&self) -> Option<&Tls> {
        self.tls.as_ref()
    }

    /// The open database.
    #[must_use]
    pub fn database(&self) -> &Database {
        &self.database
    }

    /// Serves until `shutdown` is done, then finishes what is under way, flushes and closes.
    ///
    /// # Errors
    ///
    /// [`ServerError::Http`], [`ServerError::Poisoned`], [`ServerError::Close`].
    pub async fn run(self, shutdown: impl Future<Output = ()> + Send + 'static) -> Result<(), ServerError> {
        let Self { listener, address, database, auth, settings, tls } = self;
        let http_settings = HttpSettings { tls, ..http_settings(&settings) };
        let router = match &auth {
            Some(auth) => http::guarded_router(database.clone(), http_settings.clone(), Arc::clone(auth)),
            None => http::router(database.clone(), http_settings.clone()),
        };
        let (poisoned, poison) = tokio::sync::oneshot::channel();
        let watch = tokio::spawn(watch_for_poison(database.clone(), poisoned));
        let measuring = tokio::spawn(telemetry::metrics::keep());
        let sending = tokio::spawn(telemetry::otlp::run());
        #[cfg(feature = "analytics")]
        let writing = tokio::spawn({
            let database = database.clone();
            async move { database.write_telemetry().await }
        });
        let reporting = tokio::spawn(report(database.clone(), settings.telemetry.otlp_interval));
        let stop = async move {
            tokio::select! {
                () = shutdown => None,
                Ok(error) = poison => Some(error),
            }
        };
        let (stopped, reason) = tokio::sync::oneshot::channel();
        let stop = async move {
            let error = stop.await;
            tracing::info!("stopping");
            // Nobody listens any more if the interface failed meanwhile, which then is what is told.
            drop(stopped.send(error));
        };
        let served = http::serve(listener, router, http_settings, stop).await;
        watch.abort();
        measuring.abort();
        reporting.abort();
        if let Some(auth) = auth
            && tokio::time::timeout(settings.server.shutdown_timeout, auth.flush()).await.is_err()
        {
            tracing::error!("the last of what was done could not be written to $audit in time");
        }
        // Collectors that do not answer must not hold the end up.
        if tokio::time::timeout(TELEMETRY_TIMEOUT, send_metrics(&database)).await.is_err() {
            tracing::warn!("the last measurements were not sent in time");
        }
        let closed = close(&database, settings.server.shutdown_timeout).await;
        if tokio::time::timeout(TELEMETRY_TIMEOUT, telemetry::otlp::flush()).await.is_err() {
            tracing::warn!("the last traces and lines of the log were not sent in time");
        }
        #[cfg(feature = "analytics")]
        {
            if tokio::time::timeout(TELEMETRY_TIMEOUT, telemetry::lake::flush()).await.is_err() {
                tracing::warn!("the last traces and lines of the log were not written in time");
            }
            writing.abort();
        }
        sending.abort();
        served.map_err(ServerError::Http)?;
        if let Ok(Some(error)) = reason.await {
            return Err(error);
        }
        closed?;
        tracing::info!(%address, "stopped");
        Ok(())
    }
}

/// The certificate that the settings name.
async fn tls(settings: &TlsSettings) -> Result<Option<Tls>, ServerError> {
    let files = match settings.clone() {
        TlsSettings { certificate: Some(certificate), key: Some(key), client_ca } => TlsFiles { certificate, key, client_ca },
        TlsSettings { certificate: Some(_), key: None, .. } => return Err(ServerError::HalfTls("tls.certificate", "tls.key")),
        TlsSettings { certificate: None, key: Some(_), .. } => return Err(ServerError::HalfTls("tls.key", "tls.certificate")),
        TlsSettings { client_ca: Some(_), .. } => return Err(ServerError::HalfTls("tls.client_ca", "tls.certificate")),
        TlsSettings { certificate: None, key: None, client_ca: None } => return Ok(None),
    };
    let fault = |file: &Path, error: String| TlsFault { file: file.to_owned(), detail: error };
    let named = files.certificate.clone();
    let read = tokio::task::spawn_blocking(move || Tls::read(files)).await;
    read.map_err(|error| fault(&named, error.to_string())).flatten().map(Some).map_err(ServerError::Tls)
}

/// What comes between an open database and the first request.
async fn prepare(database: &Database, settings: &Settings) -> Result<Option<Arc<Auth>>, ServerError> {
    let auth = if settings.auth.enabled {
        let scheme = if settings.tls.certificate.is_some() { "https" } else { "http" };
        let issuer = format!("{scheme}://{}", settings.server.listen);
        let options = AuthOptions::new(settings.auth.clone(), issuer, Some(settings.server.data.clone()));
        Some(Auth::open(database, options).await.map_err(ServerError::Auth)?)
    } else {
        None
    };
    if let Some(folder) = &settings.server.definitions {
        put_in_force(database, folder).await.map_err(ServerError::Definitions)?;
    }
    Ok(auth)
}

/// Puts a folder of definitions in force, up to the first that is refused.
async fn put_in_force(database: &Database, folder: &Path) -> Result<(), FolderFault> {
    let folder = folder.to_owned();
    let read = tokio::task::spawn_blocking(move || folder::read(&folder)).await;
    let found = read.map_err(|error| FolderFault::new("definitions", error.to_string()))??;
    for definition in found {
        let defined = database.define(definition.kind, &definition.name, definition.format, &definition.text, false).await;
        let change = defined.map_err(|error| definition.refused(&error))?;
        tracing::info!(definition = definition.file, ?change, "in force");
    }
    Ok(())
}

async fn close(database: &Database, deadline: Duration) -> Result<(), ServerError> {
    match tokio::time::timeout(deadline, database.close()).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(error)) => Err(ServerError::Close(error.to_string())),
        Err(_) => Err(ServerError::Close(format!("not within {deadline:?}"))),
    }
}

/// Says from time to time that opening goes on: reading a long log again takes its time.
async fn told_while_waiting<T>(opening: impl Future<Output = T>, data: &str) -> T {
    let started = Instant::now();
    let mut opening = pin!(opening);
    loop {
        match tokio::time::timeout(TOLD_EVERY, opening.as_mut()).await {
            Ok(opened) => return opened,
            Err(_) => tracing::info!(data, seconds = started.elapsed().as_secs(), "still opening"),
        }
    }
}

/// After a failed sync only a restart can tell what is on the disk, so the process ends and its supervisor starts it anew. With several
/// shards the others serve on, and somebody has to choose the time.
async fn watch_for_poison(database: Database, poisoned: tokio::sync::oneshot::Sender<ServerError>) {
    let mut told = BTreeSet::new();
    let mut every = tokio::time::interval(POISON_CHECK_EVERY);
    every.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        every.tick().await;
        let Ok(shards) = database.status().await else { continue };
        let is_alone = shards.len() == 1;
        let failed = shards.into_iter().filter_map(|shard| match shard.appends {
            Err(storage::Error::Poisoned(detail)) => Some((shard.shard, detail)),
            _ => None,
        });
        for (shard, detail) in failed {
            let error = ServerError::Poisoned { shard, detail };
            if !is_alone {
                if told.insert(shard) {
                    tracing::error!(%error, "a disk has failed; the other shards serve on, a restart finds out what is on it");
                }
                continue;
            }
            tracing::error!(%error, "a disk has failed; stopping, a restart finds out what is on it");
            // Nobody listens any more if the server stops already.
            drop(poisoned.send(error));
            return;
        }
    }
}

/// Tells the collector the measurements, for ever.
async fn report(database: Database, interval: Duration) {
    let mut every = tokio::time::interval(interval);
    every.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    while telemetry::otlp::takes_metrics() {
        every.tick().await;
        send_metrics(&database).await;
    }
}

async fn send_metrics(database: &Database) {
    if telemetry::otlp::takes_metrics()
        && let Ok(present) = database.measure().await
    {
        telemetry::otlp::send_metrics(&present).await;
    }
}

const TELEMETRY_TIMEOUT: Duration = Duration::from_secs(2);
const TOLD_EVERY: Duration = Duration::from_secs(5);
const POISON_CHECK_EVERY: Duration = Duration::from_secs(1);
