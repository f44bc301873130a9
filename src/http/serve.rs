//! How does the interface get onto a socket, and off it again without cutting anybody short?

use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use metrics::Gauge;
use metrics::gauge;
use tokio::net::TcpListener;
use tokio::net::TcpStream;
use tokio::sync::OwnedSemaphorePermit;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::http::connection;
use crate::http::settings::HttpSettings;

/// Serves `router` on `listener` until `shutdown` is ready; then takes no more connections, ends feeds, lets requests under way
/// finish, and returns when all have, or when the deadline has passed.
///
/// # Errors
///
/// When the listener is broken for good. A connection that fails is its own affair.
pub async fn serve(listener: TcpListener, router: Router, settings: HttpSettings, shutdown: impl Future<Output = ()>) -> io::Result<()> {
    let protocol = Arc::new(connection::protocol(&settings));
    let places = Arc::new(Semaphore::new(settings.connections_max));
    let connections = TaskTracker::new();
    let stop = CancellationToken::new();
    // Cancelled when nobody may go on any more: whatever way this function ends, no connection outlives it.
    let cut = CancellationToken::new();
    let _cut_at_the_end = cut.clone().drop_guard();
    tokio::pin!(shutdown);
    loop {
        let accepted = tokio::select! {
            () = &mut shutdown => break,
            accepted = accept(&listener, &places) => accepted?,
        };
        let (socket, place) = accepted;
        let running = connection::begin(socket, Arc::clone(&protocol), router.clone(), settings.clone(), stop.clone());
        let cut = cut.clone();
        let open = Open::count();
        connections.spawn(async move {
            tokio::select! {
                () = running => {}
                () = cut.cancelled() => {}
            }
            drop((place, open));
        });
    }
    drop(listener);
    settings.closing.cancel();
    stop.cancel();
    connections.close();
    if tokio::time::timeout(settings.shutdown_deadline, connections.wait()).await.is_err() {
        tracing::warn!(connections = connections.len(), "connections were cut: the deadline for shutting down has passed");
    }
    Ok(())
}

/// A connection, as long as it is open.
struct Open(Gauge);

impl Open {
    fn count() -> Self {
        let gauge = gauge!("factum_http_connections");
        gauge.increment(1.0);
        Self(gauge)
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.decrement(1.0);
    }
}

/// A connection with a place for it. When all places are taken, clients wait in the system's queue.
async fn accept(listener: &TcpListener, places: &Arc<Semaphore>) -> io::Result<(TcpStream, OwnedSemaphorePermit)> {
    let place = Arc::clone(places).acquire_owned().await.map_err(io::Error::other)?;
    let mut has_warned = false;
    loop {
        match listener.accept().await {
            Ok((socket, _)) => return Ok((socket, place)),
            Err(error) if is_of_one_connection(&error) => tracing::debug!(%error, "a connection was lost before it was accepted"),
            Err(error) if is_out_of_resources(&error) => {
                // Out of file descriptors or memory: others have to go first.
                if !std::mem::replace(&mut has_warned, true) {
                    tracing::warn!(%error, "cannot accept connections until others have gone");
                }
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
            Err(error) => return Err(error),
        }
    }
}

fn is_of_one_connection(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset | io::ErrorKind::Interrupted)
}

/// ENFILE, EMFILE, ENOBUFS, ENOMEM, by their numbers on Linux; the standard library has no kinds for most of them.
fn is_out_of_resources(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(23 | 24 | 105 | 12))
}

const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
