//! What does a chunk of a `text/event-stream` body say? Follows the parsing rules of the WHATWG HTML standard.

/// One event of the stream.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct SseEvent {
    /// The last `id:` seen, which here is the cursor behind this event.
    pub(crate) id: String,
    /// What `event:` said; `message` if it said nothing.
    pub(crate) event: String,
    /// The `data:` lines, joined by line feeds.
    pub(crate) data: String,
}

/// Turns chunks into events; holds what is not a whole line yet.
#[derive(Debug, Default)]
pub(crate) struct SseParser {
    buffer: Vec<u8>,
    last_id: String,
    event: String,
    data: Option<String>,
}

impl SseParser {
    /// Adds a chunk, and hands over the events that are whole now.
    ///
    /// Says `Err` with a sentence when one line grows past [`LINE_BYTES_MAX`].
    pub(crate) fn push(&mut self, chunk: &[u8]) -> Result<Vec<SseEvent>, String> {
        self.buffer.extend_from_slice(chunk);
        let mut events = Vec::new();
        let mut rest = std::mem::take(&mut self.buffer);
        let mut start = 0;
        while let Some(length) = rest.get(start..).and_then(|bytes| bytes.iter().position(|byte| *byte == b'\n')) {
            let line = rest.get(start..start + length).unwrap_or_default();
            let line = String::from_utf8_lossy(line.strip_suffix(b"\r").unwrap_or(line)).into_owned();
            events.extend(self.line(&line));
            start += length + 1;
        }
        rest.drain(..start);
        if rest.len() + self.data.as_ref().map_or(0, String::len) > LINE_BYTES_MAX {
            return Err(format!("an event of the feed is over {LINE_BYTES_MAX} bytes"));
        }
        self.buffer = rest;
        Ok(events)
    }

    fn line(&mut self, line: &str) -> Option<SseEvent> {
        if line.is_empty() {
            let event = std::mem::take(&mut self.event);
            let data = self.data.take()?;
            let event = if event.is_empty() { "message".to_owned() } else { event };
            return Some(SseEvent { id: self.last_id.clone(), event, data });
        }
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "id" if !value.contains('\0') => value.clone_into(&mut self.last_id),
            "event" => value.clone_into(&mut self.event),
            "data" => match &mut self.data {
                Some(data) => {
                    data.push('\n');
                    data.push_str(value);
                }
                None => self.data = Some(value.to_owned()),
            },
            // A comment (heartbeat), `retry`, or a field of a later version.
            _ => {}
        }
        None
    }
}

/// More than any event can take, with its envelope and escapes.
const LINE_BYTES_MAX: usize = 64 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: &[(&str, &str, &str)]) {
        // Whatever the chunks are, the events are the same.
        for size in [1, 2, 3, 7, text.len().max(1)] {
            let mut parser = SseParser::default();
            let mut events = Vec::new();
            for chunk in text.as_bytes().chunks(size) {
                events.extend(parser.push(chunk).expect("short lines"));
            }
            let found: Vec<_> = events.iter().map(|event| (event.id.as_str(), event.event.as_str(), event.data.as_str())).collect();
            assert_eq!(found, expected, "chunks of {size}");
        }
    }

    #[test]
    fn events_are_read_whatever_the_chunks() {
        check("id: 7\nevent: event\ndata: {\"a\":\"ä\"}\n\n", &[("7", "event", "{\"a\":\"ä\"}")]);
        check(": heartbeat\n\nid:8\r\ndata:x\r\ndata: y\r\n\r\n", &[("8", "message", "x\ny")]);
        check("id: 1\ndata: a\n\nevent: caught-up\ndata\n\n", &[("1", "message", "a"), ("1", "caught-up", "")]);
        check("data: cut off", &[]);
    }

    #[test]
    fn an_endless_line_is_refused() {
        let mut parser = SseParser::default();
        let chunk = vec![b'x'; LINE_BYTES_MAX / 2 + 1];
        assert!(parser.push(&chunk).is_ok());
        assert!(parser.push(&chunk).is_err());
    }
}
