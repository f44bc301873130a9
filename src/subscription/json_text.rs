//! How is text written into JSON by hand, and where in a document does a byte stand?

/// Appends `text` as a JSON string, quotes included.
pub(crate) fn push_string(out: &mut Vec<u8>, text: &str) {
    out.reserve(text.len() + 2);
    out.push(b'"');
    let bytes = text.as_bytes();
    // Names almost never need escaping: one branch-free pass proves it, and the bytes are copied whole.
    if bytes.iter().fold(false, |found, &byte| found | needs_escape(byte)) {
        push_escaped(out, bytes);
    } else {
        out.extend_from_slice(bytes);
    }
    out.push(b'"');
}

fn needs_escape(byte: u8) -> bool {
    byte < 0x20 || byte == b'"' || byte == b'\\'
}

fn push_escaped(out: &mut Vec<u8>, bytes: &[u8]) {
    for &byte in bytes {
        match byte {
            b'"' => out.extend_from_slice(b"\\\""),
            b'\\' => out.extend_from_slice(b"\\\\"),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            0..0x20 => out.extend_from_slice(format!("\\u{byte:04x}").as_bytes()),
            _ => out.push(byte),
        }
    }
}

/// Whether arrays and objects stand deeper in each other than `max`. `json` is known to be valid JSON.
pub(crate) fn is_deeper_than(json: &[u8], max: usize) -> bool {
    // So many levels need as many bytes to open as to close: most payloads are too short to be looked at.
    if json.len() <= 2 * max {
        return false;
    }
    let mut depth = 0_usize;
    let mut bytes = json.iter();
    while let Some(&byte) = bytes.next() {
        match byte {
            b'[' | b'{' => {
                depth += 1;
                if depth > max {
                    return true;
                }
            }
            b']' | b'}' => depth = depth.saturating_sub(1),
            b'"' => {
                while let Some(&inner) = bytes.next() {
                    match inner {
                        b'"' => break,
                        b'\\' => {
                            bytes.next();
                        }
                        _ => {}
                    }
                }
            }
            _ => {}
        }
    }
    false
}

/// The path (such as `events[2].type`) of the value that stands at byte `offset` of a document, as far as the document makes sense.
pub(crate) fn path_at(json: &[u8], offset: usize) -> String {
    let mut levels: Vec<Level> = Vec::new();
    let mut at = 0;
    while at < json.len().min(offset) {
        match json.get(at).copied().unwrap_or_default() {
            b'{' => levels.push(Level::Object { key: None, in_value: false }),
            b'[' => levels.push(Level::Array { index: 0 }),
            b'}' | b']' => {
                levels.pop();
            }
            b',' => match levels.last_mut() {
                Some(Level::Array { index }) => *index += 1,
                Some(Level::Object { key, in_value }) => {
                    *key = None;
                    *in_value = false;
                }
                None => {}
            },
            b':' => {
                if let Some(Level::Object { in_value, .. }) = levels.last_mut() {
                    *in_value = true;
                }
            }
            b'"' => {
                let end = string_end(json, at + 1);
                if let Some(Level::Object { key, in_value: false }) = levels.last_mut() {
                    *key = Some((at + 1, end));
                }
                at = end;
            }
            _ => {}
        }
        if levels.len() > PATH_LEVELS_MAX {
            break;
        }
        at += 1;
    }
    render(json, &levels)
}

enum Level {
    Object { key: Option<(usize, usize)>, in_value: bool },
    Array { index: usize },
}

/// Where the quote stands that closes the string whose first byte is at `from`.
fn string_end(json: &[u8], from: usize) -> usize {
    let mut at = from;
    while let Some(&byte) = json.get(at) {
        match byte {
            b'"' => return at,
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
    json.len()
}

fn render(json: &[u8], levels: &[Level]) -> String {
    let mut path = String::new();
    for level in levels {
        match level {
            Level::Array { index } => path.push_str(&format!("[{index}]")),
            Level::Object { key: Some((start, end)), .. } => {
                let name = String::from_utf8_lossy(json.get(*start..*end).unwrap_or_default());
                if !path.is_empty() {
                    path.push('.');
                }
                path.extend(name.chars().take(NAME_CHARS_MAX));
            }
            Level::Object { key: None, .. } => {}
        }
    }
    if path.is_empty() { "body".to_owned() } else { path }
}

/// Envelopes are flat; a path as deep as this is inside a payload and says nothing more.
const PATH_LEVELS_MAX: usize = 16;
/// A longer name is cut, so that an error stays short.
const NAME_CHARS_MAX: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_are_escaped_as_serde_json_does() {
        for text in ["", "plain", "a\"b\\c", "\u{0}\u{1f}\n\r\t", "ünïcödé 🎉", "\u{7f}\u{2028}"] {
            let mut out = Vec::new();
            push_string(&mut out, text);
            let back: String = serde_json::from_slice(&out).unwrap();
            assert_eq!(back, text);
        }
    }

    #[test]
    fn depth_counts_brackets_outside_strings() {
        let nested = |levels: usize| format!("{}{}", "[".repeat(levels), "]".repeat(levels));
        assert!(!is_deeper_than(nested(128).as_bytes(), 128));
        assert!(is_deeper_than(nested(129).as_bytes(), 128));
        let text = format!("\"\\\"{}\"", "[".repeat(1000));
        assert!(!is_deeper_than(text.as_bytes(), 128));
    }

    #[test]
    fn path_names_the_value_at_an_offset() {
        let check = |json: &str, needle: &str, path: &str| assert_eq!(path_at(json.as_bytes(), json.find(needle).unwrap() + 1), path);
        check(r#"{"events": [{"type": "a"}, {"type": 5}]}"#, "5", "events[1].type");
        check(r#"{"expected_version": -1}"#, "-1", "expected_version");
        check(r#"{"a": {"b,c": [1, [2, 3]]}}"#, "3", "a.b,c[1][1]");
        check(r#"[1, 2]"#, "2", "[1]");
        check(r#"7"#, "7", "body");
    }
}
