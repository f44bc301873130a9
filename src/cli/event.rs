//! How does an event look that a server sent?

use serde::Deserialize;
use serde_json::value::RawValue;

use super::output::Column;
use super::output::cut;
use super::output::printable;

/// What the human forms show of an event. Programs get the server's own text, byte for byte.
#[derive(Debug, Deserialize)]
pub(crate) struct Event<'a> {
    pub(crate) stream: String,
    pub(crate) version: u64,
    #[serde(rename = "type")]
    pub(crate) event_type: String,
    #[serde(borrow)]
    pub(crate) data: &'a RawValue,
    #[serde(default)]
    pub(crate) tags: Vec<String>,
    pub(crate) occurred_at: String,
    pub(crate) recorded_at: String,
}

impl<'a> Event<'a> {
    pub(crate) fn parse(text: &'a str) -> Result<Self, serde_json::Error> {
        serde_json::from_str(text)
    }

    /// One line of a table of a stream's events.
    pub(crate) fn stream_row(&self, width: u16) -> Vec<String> {
        let tags = if self.tags.is_empty() { String::new() } else { format!("  [{}]", self.tags.join(", ")) };
        // What stands before it: version, time, type, and the space between them.
        let room = usize::from(width).saturating_sub(37 + self.event_type.chars().count().max(20)).max(16);
        vec![
            self.version.to_string(),
            seconds(&self.occurred_at),
            self.event_type.clone(),
            cut(&printable(&format!("{}{tags}", self.data.get())), room),
        ]
    }

    /// One line of a feed: time, stream and version, type, data as far as there is room.
    pub(crate) fn feed_line(&self, width: u16) -> String {
        let head = format!("{}  {} #{}  {}  ", seconds(&self.recorded_at), self.stream, self.version, self.event_type);
        let room = usize::from(width).saturating_sub(head.chars().count()).max(16);
        format!("{}{}", printable(&head), cut(&printable(self.data.get()), room))
    }
}

/// The heads that go with [`Event::stream_row`].
pub(crate) const STREAM_COLUMNS: [Column; 4] =
    [Column::right("version"), Column::left("occurred at"), Column::left("type"), Column::left("data")];

/// An RFC 3339 time to the second, as people read it.
pub(crate) fn seconds(time: &str) -> String {
    match (time.get(..10), time.get(10..11), time.get(11..19)) {
        (Some(date), Some("T"), Some(clock)) => format!("{date} {clock}"),
        _ => time.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_reads_as_one_line() {
        let text = r#"{"id":"0","stream":"order-1","version":3,"type":"OrderPaid","schema_version":1,"data":{"amount":1.50},"metadata":{},
            "tags":["customer:7"],"occurred_at":"2026-11-22T18:00:01.123456Z",
            "recorded_at":"2026-11-22T19:00:01.123456Z","shard":0,"position":9}"#;
        let event = Event::parse(text).unwrap();
        assert_eq!(event.feed_line(100), r#"2026-11-22 19:00:01  order-1 #3  OrderPaid  {"amount":1.50}"#);
        let row = event.stream_row(100);
        assert_eq!(row, ["3", "2026-11-22 18:00:01", "OrderPaid", r#"{"amount":1.50}  [customer:7]"#]);
    }
}
