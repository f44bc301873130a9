//! What bounds the interface? Every limit and deadline of the HTTP side, in one place.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::database::Durability;
use crate::http::access::Quotas;
use crate::http::tls::Tls;

/// Limits and deadlines of the interface. The defaults are for production.
#[derive(Clone, Debug)]
pub struct HttpSettings {
    /// The most of one request body, counted after decompression. An import is a stream and is bounded by its lines instead.
    pub body_bytes_max: usize,
    /// The most data and metadata of one event, together.
    pub event_bytes_max: usize,
    /// The most events of one append or transaction.
    pub events_max: usize,
    /// A page ends after about so many bytes of records, if its limit is not reached before.
    pub page_bytes_max: usize,
    /// The longest that a page looks for events that match; what was found until then is answered.
    pub page_time: Duration,
    /// A connection has so long for a request's head, and for its first request after it was opened.
    pub header_read_timeout: Duration,
    /// The longest wait for the next part of a request body.
    pub body_chunk_timeout: Duration,
    /// The longest wait for the whole of a request body. An import has the wait between its parts only.
    pub body_total_timeout: Duration,
    /// A connection whose client takes nothing for so long, while there is something to send, is closed.
    pub write_stall_timeout: Duration,
    /// The most connections at once; further ones wait in the system's queue.
    pub connections_max: usize,
    /// The most imports at once.
    pub imports_max: usize,
    /// The most requests at once of one HTTP/2 connection.
    pub http2_streams_max: u32,
    /// The most bytes of one HTTP/2 request's headers.
    pub http2_header_bytes_max: u32,
    /// What one client may ask for, where it is known who asks.
    pub quotas: Quotas,
    /// How often a silent feed sends a sign of life.
    pub heartbeat: Duration,
    /// How long requests under way may take once the server stops.
    pub shutdown_deadline: Duration,
    /// Whether handlers learn where a request comes from; only who counts failures needs to know.
    pub knows_peers: bool,
    /// What an acknowledgement means, for `/v1/status` to say.
    pub durability: Durability,
    /// The certificate that connections begin with; `None` is plain HTTP.
    pub tls: Option<Tls>,
    /// Cancelled when the server begins to stop: feeds end, and it is no longer ready. [`crate::http::serve`] does so.
    pub closing: CancellationToken,
}

impl Default for HttpSettings {
    fn default() -> Self {
        Self {
            body_bytes_max: 16 << 20,
            event_bytes_max: 1 << 20,
            events_max: 10_000,
            page_bytes_max: 8 << 20,
            page_time: Duration::from_secs(1),
            header_read_timeout: Duration::from_secs(30),
            body_chunk_timeout: Duration::from_secs(15),
            body_total_timeout: Duration::from_secs(120),
            write_stall_timeout: Duration::from_secs(60),
            connections_max: 10_000,
            imports_max: 4,
            http2_streams_max: 128,
            http2_header_bytes_max: 32 << 10,
            quotas: Quotas::default(),
            heartbeat: Duration::from_secs(15),
            shutdown_deadline: Duration::from_secs(10),
            knows_peers: false,
            durability: Durability::Strict,
            tls: None,
            closing: CancellationToken::new(),
        }
    }
}
