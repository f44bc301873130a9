//! How does a stored event become JSON? By concatenation: the stored data and metadata go out as they lie.

use factum_storage::RecordedEvent;

use crate::subscription::json_text::push_string;
use crate::subscription::time::push_timestamp;

/// Whether the text must not hold a line break, for formats that frame by lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lines {
    /// As stored.
    Any,
    /// Line breaks between JSON tokens are written as spaces, which means the same.
    One,
}

/// Appends the event as one JSON object.
pub(crate) fn push_event(out: &mut Vec<u8>, shard: u16, event: &RecordedEvent, lines: Lines) {
    out.reserve(event.stored_bytes() + ENVELOPE_BYTES);
    out.extend_from_slice(b"{\"id\":\"");
    push_uuid(out, event.id().as_bytes());
    out.extend_from_slice(b"\",\"stream\":");
    push_string(out, event.stream());
    out.extend_from_slice(b",\"version\":");
    push_number(out, event.version().get());
    out.extend_from_slice(b",\"type\":");
    push_string(out, event.event_type());
    out.extend_from_slice(b",\"schema_version\":");
    push_number(out, u64::from(event.schema_version()));
    out.extend_from_slice(b",\"data\":");
    push_payload(out, event.data(), b"null", lines);
    out.extend_from_slice(b",\"metadata\":");
    push_payload(out, event.metadata(), b"{}", lines);
    out.extend_from_slice(b",\"tags\":[");
    if event.has_tags() {
        for (number, tag) in event.tags().enumerate() {
            if number > 0 {
                out.push(b',');
            }
            push_string(out, tag);
        }
    }
    out.extend_from_slice(b"],\"occurred_at\":\"");
    let occurred_at = out.len();
    push_timestamp(out, event.occurred_at());
    let occurred_end = out.len();
    out.extend_from_slice(b"\",\"recorded_at\":\"");
    if event.client_occurred_at().is_none() {
        // The same time again.
        out.extend_from_within(occurred_at..occurred_end);
    } else {
        push_timestamp(out, event.recorded_at());
    }
    out.extend_from_slice(b"\",\"shard\":");
    push_number(out, u64::from(shard));
    out.extend_from_slice(b",\"position\":");
    push_number(out, event.position().get());
    if let Some(why) = event.reshape_failure() {
        // Its data above is null: nobody must take the old shape for the new one.
        out.extend_from_slice(b",\"error\":{\"type\":\"urn:factum:problem:upcast-failed\",\"detail\":");
        push_string(out, why);
        out.push(b'}');
    }
    out.push(b'}');
}

/// Appends an array of events of one shard.
pub(crate) fn push_events<'a>(out: &mut Vec<u8>, events: impl Iterator<Item = (u16, &'a RecordedEvent)>) {
    out.push(b'[');
    for (number, (shard, event)) in events.enumerate() {
        if number > 0 {
            out.push(b',');
        }
        push_event(out, shard, event, Lines::Any);
    }
    out.push(b']');
}

/// About how many bytes the events take as JSON.
pub(crate) fn estimated_bytes<'a>(events: impl Iterator<Item = &'a RecordedEvent>) -> usize {
    events.map(|event| event.stored_bytes() + ENVELOPE_BYTES).sum()
}

fn push_payload(out: &mut Vec<u8>, json: &[u8], if_empty: &[u8], lines: Lines) {
    if json.is_empty() {
        out.extend_from_slice(if_empty);
        return;
    }
    let start = out.len();
    out.extend_from_slice(json);
    if lines == Lines::One {
        // Valid JSON has raw line breaks between tokens only. Without a branch, so that it runs many bytes at a time.
        for byte in out.iter_mut().skip(start) {
            *byte = if matches!(*byte, b'\n' | b'\r') { b' ' } else { *byte };
        }
    }
}

/// Appends a UUID in its usual form.
pub(crate) fn push_uuid(out: &mut Vec<u8>, bytes: &[u8; 16]) {
    let mut text = [0; uuid::fmt::Hyphenated::LENGTH];
    uuid::Uuid::from_bytes(*bytes).as_hyphenated().encode_lower(&mut text);
    out.extend_from_slice(&text);
}

/// Appends a number in decimal.
pub(crate) fn push_number(out: &mut Vec<u8>, mut number: u64) {
    let mut digits = [0_u8; 20];
    let mut count = 0;
    for slot in digits.iter_mut().rev() {
        *slot = b'0' + (number % 10) as u8;
        number /= 10;
        count += 1;
        if number == 0 {
            break;
        }
    }
    out.extend_from_slice(digits.get(digits.len() - count..).unwrap_or_default());
}

/// More than the keys, numbers and times of an event take.
const ENVELOPE_BYTES: usize = 320;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_decimal() {
        for number in [0, 9, 10, 99, 1_042, u64::MAX] {
            let mut out = Vec::new();
            push_number(&mut out, number);
            assert_eq!(String::from_utf8(out).unwrap(), number.to_string());
        }
    }

    #[test]
    fn a_line_stays_one_line() {
        let mut out = Vec::new();
        push_payload(&mut out, b"{\n\"a\":\r\n1}", b"null", Lines::One);
        assert_eq!(out, b"{ \"a\":  1}");
    }
}
