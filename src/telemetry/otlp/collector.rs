//! How does a message get to a collector? By OTLP over HTTP, as protobuf or JSON, or over gRPC, with the HTTP client that is there already.
//!
//! Of gRPC only one call is needed, of one message to one answer: that is a POST over HTTP/2 whose outcome stands behind the answer's body.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::BodyExt;
use http_body_util::Limited;
use reqwest::Body;
use reqwest::Url;

use super::message::Message;
use super::message::Value;

/// How a collector is spoken to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// gRPC; collectors listen at port 4317.
    Grpc,
    /// HTTP, with bodies in protobuf; collectors listen at port 4318.
    HttpProtobuf,
    /// HTTP, with bodies in JSON; at the same port.
    HttpJson,
}

/// What is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// Spans.
    Traces,
    /// Measurements.
    Metrics,
    /// Lines of the log.
    Logs,
}

/// Whom something is sent to.
pub(super) struct Collector {
    http: reqwest::Client,
    url: Url,
    protocol: Protocol,
    signal: Signal,
}

impl Protocol {
    /// As the setting writes it.
    #[must_use]
    pub fn of_text(text: &str) -> Option<Self> {
        match text {
            "grpc" => Some(Self::Grpc),
            "http/protobuf" => Some(Self::HttpProtobuf),
            "http/json" => Some(Self::HttpJson),
            _ => None,
        }
    }

    fn port(self) -> u16 {
        match self {
            Self::Grpc => 4317,
            Self::HttpProtobuf | Self::HttpJson => 4318,
        }
    }
}

impl Signal {
    /// As the setting, a path and a line of the log write it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Traces => "traces",
            Self::Metrics => "metrics",
            Self::Logs => "logs",
        }
    }

    fn method(self) -> &'static str {
        match self {
            Self::Traces => "opentelemetry.proto.collector.trace.v1.TraceService/Export",
            Self::Metrics => "opentelemetry.proto.collector.metrics.v1.MetricsService/Export",
            Self::Logs => "opentelemetry.proto.collector.logs.v1.LogsService/Export",
        }
    }

    /// The body of a request: what is sent, and who sends it.
    fn request(self, items: Vec<Message>) -> Message {
        let (resources, scopes, name) = match self {
            Self::Traces => ("resourceSpans", "scopeSpans", "spans"),
            Self::Metrics => ("resourceMetrics", "scopeMetrics", "metrics"),
            Self::Logs => ("resourceLogs", "scopeLogs", "logRecords"),
        };
        let said = |key: &str, text: &str| Message::attribute(key, Message::text(text));
        let service = vec![said("service.name", "factum"), said("service.version", VERSION)];
        let resource = Message::new().with(1, "attributes", Value::Messages(service));
        let scope = Message::new().with(1, "name", Value::Text("factum".to_owned())).with(2, "version", Value::Text(VERSION.to_owned()));
        let scope = Message::new().with(1, "scope", Value::Message(scope)).with(2, name, Value::Messages(items));
        let resource = Message::new().with(1, "resource", Value::Message(resource)).with(2, scopes, Value::Messages(vec![scope]));
        Message::new().with(1, resources, Value::Messages(vec![resource]))
    }
}

impl Collector {
    /// # Errors
    ///
    /// A sentence: the endpoint is none, or no client can be made.
    pub(super) fn new(endpoint: &str, protocol: Protocol, signal: Signal) -> Result<Self, String> {
        let path = match protocol {
            Protocol::Grpc => signal.method().to_owned(),
            Protocol::HttpProtobuf | Protocol::HttpJson => format!("v1/{}", signal.as_str()),
        };
        let text = format!("{}/{path}", endpoint.trim_end_matches('/'));
        let mut url = Url::parse(&text).map_err(|error| format!("{text}: {error}"))?;
        if url.scheme() == "http" && url.port().is_none() && !names_port(endpoint) {
            url.set_port(Some(protocol.port())).map_err(|()| format!("{text}: it can have no port"))?;
        }
        let http = reqwest::Client::builder()
            .timeout(SEND_TIMEOUT)
            .redirect(reqwest::redirect::Policy::none())
            .user_agent(concat!("factum/", env!("CARGO_PKG_VERSION")));
        let http = if protocol == Protocol::Grpc { http.http2_prior_knowledge() } else { http };
        Ok(Self { http: http.build().map_err(|error| error.to_string())?, url, protocol, signal })
    }

    pub(super) fn signal(&self) -> Signal {
        self.signal
    }

    /// Sends some items, and is done when the collector has taken them.
    ///
    /// # Errors
    ///
    /// What it said, or why it said nothing.
    pub(super) async fn send(&self, items: Vec<Message>) -> Result<(), String> {
        let message = self.signal.request(items);
        let request = self.http.post(self.url.clone());
        let request = match self.protocol {
            Protocol::HttpJson => request.header("content-type", "application/json").body(message.to_json().to_string()),
            Protocol::HttpProtobuf => request.header("content-type", "application/x-protobuf").body(message.to_protobuf()),
            Protocol::Grpc => request.header("content-type", "application/grpc").header("te", "trailers").body(framed(&message)),
        };
        let response = request.send().await.map_err(|error| error.without_url().to_string())?;
        if !response.status().is_success() {
            return Err(response.status().to_string());
        }
        match self.protocol {
            // What a collector says beside its status is not read: it may be anything, of any length.
            Protocol::HttpJson | Protocol::HttpProtobuf => Ok(()),
            Protocol::Grpc => grpc_outcome(response.into()).await,
        }
    }
}

/// A url forgets that it names the usual port of its scheme.
fn names_port(endpoint: &str) -> bool {
    let authority = endpoint.split("://").nth(1).unwrap_or_default().split('/').next().unwrap_or_default();
    authority.rsplit(']').next().is_some_and(|behind| behind.contains(':'))
}

/// One message of gRPC, not compressed.
fn framed(message: &Message) -> Vec<u8> {
    let message = message.to_protobuf();
    let length = u32::try_from(message.len()).unwrap_or(u32::MAX);
    let mut frame = vec![0];
    frame.extend_from_slice(&length.to_be_bytes());
    frame.extend_from_slice(&message);
    frame
}

/// `grpc-status` stands behind the body, or, where there is none, among the headers.
async fn grpc_outcome(response: http::Response<Body>) -> Result<(), String> {
    let (head, body) = response.into_parts();
    let body = Limited::new(body, ANSWER_BYTES_MAX).collect().await.map_err(|error| error.to_string())?;
    let status = body.trailers().and_then(|trailers| trailers.get(GRPC_STATUS)).or_else(|| head.headers.get(GRPC_STATUS));
    match status.map(|status| Bytes::copy_from_slice(status.as_bytes())) {
        Some(status) if &*status == b"0" => Ok(()),
        Some(status) => Err(format!("gRPC status {}", status.escape_ascii())),
        None => Err("it does not speak gRPC".to_owned()),
    }
}

const VERSION: &str = env!("CARGO_PKG_VERSION");
const SEND_TIMEOUT: Duration = Duration::from_secs(5);
const GRPC_STATUS: &str = "grpc-status";
/// An answer to an export is a few bytes.
const ANSWER_BYTES_MAX: usize = 64 << 10;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_without_a_port_has_that_of_its_protocol() {
        let url = |endpoint: &str, protocol| Collector::new(endpoint, protocol, Signal::Logs).unwrap().url.to_string();
        assert_eq!(url("http://a", Protocol::HttpJson), "http://a:4318/v1/logs");
        assert_eq!(url("http://[::1]/x/", Protocol::HttpProtobuf), "http://[::1]:4318/x/v1/logs");
        assert_eq!(url("http://[::1]:80", Protocol::HttpProtobuf), "http://[::1]/v1/logs");
        assert_eq!(url("http://a:80/", Protocol::HttpJson), "http://a/v1/logs");
        assert_eq!(url("https://a", Protocol::HttpJson), "https://a/v1/logs");
        assert_eq!(url("http://a:1", Protocol::Grpc), "http://a:1/opentelemetry.proto.collector.logs.v1.LogsService/Export");
        assert_eq!(url("http://a", Protocol::Grpc), "http://a:4317/opentelemetry.proto.collector.logs.v1.LogsService/Export");
    }
}
