//! A follower of the feed that waits for one event.

use std::time::Duration;
use std::time::Instant;

use reqwest::Method;
use reqwest::Response;
use reqwest::header::ACCEPT;

use crate::cli::client::Client;
use crate::cli::event::Event;
use crate::cli::failure::Failure;
use crate::cli::sse::SseParser;

/// An open feed from now on.
pub(super) struct Follower {
    response: Response,
    parser: SseParser,
}

/// What the follower was given: the event's line for people, and when.
pub(super) struct Seen {
    pub(super) line: String,
    pub(super) at: Instant,
}

impl Follower {
    /// Connects; what is appended after this returns is seen.
    pub(super) async fn connect(client: &Client, category: &str) -> Result<Self, Failure> {
        let query = [("after", "end".to_owned()), ("category", category.to_owned())];
        let request = client.request(Method::GET, &["v1", "events"], &query)?.header(ACCEPT, "text/event-stream");
        Ok(Self { response: client.send(request).await?, parser: SseParser::default() })
    }

    /// Waits for the event with this stream and version.
    pub(super) async fn wait_for(mut self, stream: &str, version: u64) -> Result<Seen, Failure> {
        let found = tokio::time::timeout(WAIT_MAX, async {
            while let Ok(Some(chunk)) = self.response.chunk().await {
                let at = Instant::now();
                for item in self.parser.push(&chunk).map_err(Failure::failed)? {
                    if item.event != "event" {
                        continue;
                    }
                    let event =
                        Event::parse(&item.data).map_err(|error| Failure::failed("the feed cannot be read").detail(error.to_string()))?;
                    if event.stream == stream && event.version == version {
                        return Ok(Seen { line: event.feed_line(LINE_WIDTH), at });
                    }
                }
            }
            Err(Failure::failed("the feed ended before the event came"))
        });
        found.await.unwrap_or_else(|_| Err(Failure::failed("the feed did not bring the event in time")))
    }
}

const WAIT_MAX: Duration = Duration::from_secs(10);
const LINE_WIDTH: u16 = 90;
