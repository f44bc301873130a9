//! What happens on one connection? HTTP/1.1 or HTTP/2 with prior knowledge, with a deadline on everything that a client can delay.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::response::IntoResponse;
use axum::response::Response;
use futures::FutureExt;
use http::Request;
use http::Version;
use http::header;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioExecutor;
use hyper_util::rt::TokioIo;
use hyper_util::rt::TokioTimer;
use hyper_util::server::conn::auto;
use tokio::io::AsyncRead;
use tokio::io::AsyncWrite;
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

use crate::http::access::Sender;
use crate::http::problem::Problem;
use crate::http::settings::HttpSettings;
use crate::http::stalled::StallGuard;

/// The protocol with its limits; one for all connections.
pub(crate) fn protocol(settings: &HttpSettings) -> auto::Builder<TokioExecutor> {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder
        .http1()
        // Without a timer the timeout would be inert.
        .timer(TokioTimer::new())
        .header_read_timeout(settings.header_read_timeout)
        .max_buf_size(HTTP1_BUFFER_BYTES);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(settings.http2_streams_max)
        .max_header_list_size(settings.http2_header_bytes_max)
        .max_pending_accept_reset_streams(RESET_STREAMS_MAX)
        .max_local_error_reset_streams(RESET_STREAMS_MAX)
        .max_send_buf_size(HTTP2_SEND_BYTES)
        .initial_stream_window_size(HTTP2_STREAM_WINDOW)
        .initial_connection_window_size(HTTP2_CONNECTION_WINDOW)
        .keep_alive_interval(HTTP2_PING)
        .keep_alive_timeout(HTTP2_PING);
    builder
}

/// Serves one connection to its end, after its handshake if there is to be one.
pub(crate) async fn begin(
    socket: TcpStream,
    protocol: Arc<auto::Builder<TokioExecutor>>,
    router: Router,
    settings: HttpSettings,
    stop: CancellationToken,
) {
    // Answers are written whole; waiting for more to send with them only delays them.
    if let Err(error) = socket.set_nodelay(true) {
        tracing::debug!(%error, "connection without TCP_NODELAY");
    }
    let peer = socket.peer_addr().ok().filter(|_| settings.knows_peers).map(|address| address.ip());
    let Some(tls) = settings.tls.clone() else {
        return run((StallGuard::new(socket, settings.write_stall_timeout), peer), protocol, router, settings, stop).await;
    };
    let accepted = tokio::select! {
        accepted = tls.accept(socket, settings.header_read_timeout, settings.write_stall_timeout) => accepted,
        () = stop.cancelled() => return,
    };
    match accepted {
        Ok(stream) => run((stream, peer), protocol, router, settings, stop).await,
        Err(error) => tracing::debug!(%error, "no TLS connection"),
    }
}

async fn run<S: AsyncRead + AsyncWrite + Unpin + 'static>(
    (stream, peer): (S, Option<IpAddr>),
    protocol: Arc<auto::Builder<TokioExecutor>>,
    router: Router,
    settings: HttpSettings,
    stop: CancellationToken,
) {
    let io = TokioIo::new(stream);
    let has_asked = Arc::new(AtomicBool::new(false));
    let asked = Arc::clone(&has_asked);
    let service = service_fn(move |request: Request<Incoming>| {
        if !asked.load(Ordering::Relaxed) {
            asked.store(true, Ordering::Relaxed);
        }
        answer(router.clone(), request, peer)
    });
    let connection = protocol.serve_connection(io, service);
    tokio::pin!(connection);
    // hyper's own timeout begins when it knows which protocol is spoken. A client that sends nothing, or opens HTTP/2 and asks
    // nothing, never gets there.
    let silence = tokio::time::sleep(settings.header_read_timeout);
    tokio::pin!(silence);
    let (mut is_stopping, mut is_watched) = (false, true);
    loop {
        tokio::select! {
            ended = connection.as_mut() => {
                if let Err(error) = ended {
                    tracing::debug!(%error, "connection ended");
                }
                return;
            }
            () = &mut silence, if is_watched => {
                if !has_asked.load(Ordering::Relaxed) {
                    tracing::debug!("connection closed: no request came");
                    return;
                }
                is_watched = false;
            }
            () = stop.cancelled(), if !is_stopping => {
                is_stopping = true;
                connection.as_mut().graceful_shutdown();
            }
        }
    }
}

fn answer(
    router: Router,
    mut request: Request<Incoming>,
    peer: Option<IpAddr>,
) -> impl Future<Output = Result<Response, std::convert::Infallible>> {
    let fault = bad_host(&request);
    match fault {
        Some(problem) => futures::future::ready(Ok(problem.closing().into_response())).left_future(),
        None => {
            if let Some(peer) = peer {
                request.extensions_mut().insert(Sender::at(peer));
            }
            router.oneshot(request.map(Body::new)).right_future()
        }
    }
}

/// HTTP/1.1 asks for exactly one `Host`. A request with none or two is one that two parsers read differently.
fn bad_host(request: &Request<Incoming>) -> Option<Problem> {
    let mut hosts = request.headers().get_all(header::HOST).iter();
    let first = hosts.next();
    if hosts.next().is_some() {
        return Some(Problem::malformed("Host", "is given more than once"));
    }
    match first {
        None if request.version() == Version::HTTP_11 => Some(Problem::malformed("Host", "is required")),
        None => None,
        Some(host) => {
            let is_sane = host.len() <= 255
                && host.to_str().is_ok_and(|text| {
                    text.parse::<http::uri::Authority>().is_ok_and(|authority| !text.contains('@') && !authority.host().is_empty())
                });
            (!is_sane).then(|| Problem::malformed("Host", "is not a host"))
        }
    }
}

/// Request heads and parts of bodies.
const HTTP1_BUFFER_BYTES: usize = 64 << 10;
/// Streams that were reset and are not yet forgotten: beyond it the connection is an attack (CVE-2023-44487).
const RESET_STREAMS_MAX: usize = 64;
/// What one stream may have waiting to be sent.
const HTTP2_SEND_BYTES: usize = 256 << 10;
const HTTP2_STREAM_WINDOW: u32 = 1 << 20;
const HTTP2_CONNECTION_WINDOW: u32 = 4 << 20;
/// A connection that does not answer a ping for so long is gone.
const HTTP2_PING: Duration = Duration::from_secs(20);
