//! What is wrong with this JSON? Parse errors become answers that name the field and the place, and never repeat a value.

use serde::Deserialize;

use crate::http::problem::Problem;
use crate::subscription::json_text::path_at;

/// Reads a body as JSON text.
///
/// # Errors
///
/// 400 that names the field and position of the first fault.
pub(crate) fn from_body<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Result<T, Problem> {
    let text = std::str::from_utf8(body).map_err(|error| {
        let at = error.valid_up_to();
        Problem::malformed(&path_at(body, at), format!("is not UTF-8 at byte {at}")).with_json("byte", at.to_string())
    })?;
    serde_json::from_str(text).map_err(|error| json_problem(body, &error))
}

fn json_problem(body: &[u8], error: &serde_json::Error) -> Problem {
    // The place is behind the byte that was looked at last; where that byte itself is wrong, it says nothing about where it stands.
    let offset = offset_of(body, error.line(), error.column()).saturating_sub(usize::from(error.is_syntax()));
    let message = error.to_string();
    let message = message.split(" at line ").next().unwrap_or_default();
    let mut field = path_at(body, offset);
    if let Some(name) = message.strip_prefix("missing field `").and_then(|rest| rest.strip_suffix('`')) {
        field = if field == "body" { name.to_owned() } else { format!("{field}.{name}") };
    }
    let detail = format!("{} at line {} column {}", without_values(message), error.line(), error.column());
    Problem::malformed(&field, detail)
}

/// Messages such as ``invalid type: string "secret", expected u64`` lose what the client sent and keep its kind.
fn without_values(message: &str) -> String {
    let Some((head, rest)) = message.split_once(": ") else { return message.chars().take(MESSAGE_CHARS_MAX).collect() };
    match (head, rest.rsplit_once(", expected ")) {
        ("invalid type" | "invalid value", Some((found, expected))) => {
            let kind: String = found.chars().take_while(|&c| c != '`' && c != '"').collect();
            format!("{head}: {}, expected {expected}", kind.trim_end())
        }
        ("invalid type" | "invalid value", None) => head.to_owned(),
        _ => message.chars().take(MESSAGE_CHARS_MAX).collect(),
    }
}

fn offset_of(body: &[u8], line: usize, column: usize) -> usize {
    let before: usize = body.split_inclusive(|&byte| byte == b'\n').take(line.saturating_sub(1)).map(<[u8]>::len).sum();
    (before + column).min(body.len())
}

const MESSAGE_CHARS_MAX: usize = 300;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::wire::AppendWire;
    use crate::http::wire::Object;

    fn check(body: &[u8], field: &str, detail: &str) {
        let problem = from_body::<Object<AppendWire<'_>>>(body).unwrap_err();
        let json = String::from_utf8(problem.to_json()).unwrap();
        assert!(json.contains(&format!("\"field\":\"{field}\"")), "{json}");
        assert!(json.contains(detail), "{json}");
        assert!(!json.contains("secret"), "{json}");
    }

    #[test]
    fn faults_name_their_field_and_repeat_no_value() {
        check(b"", "body", "EOF");
        check(b"\"secret\"", "body", "invalid type: string, expected an append");
        check(br#"{"events": [{"type": "a", "data": 1}, {"type": 5, "data": 1}]}"#, "events[1].type", "expected a string");
        check(br#"{"events": [{"type": "a"}]}"#, "events[0].data", "missing field");
        check(br#"{"events": [{"type": "a", "data": 1, "colour": 2}]}"#, "events[0].colour", "unknown field");
        check(br#"{"events": [{"type": "a", "type": "b", "data": 1}]}"#, "events[0].type", "duplicate field");
        check(br#"{"events": [{"type": "a", "data": NaN}]}"#, "events[0].data", "line 1");
        check(br#"{"events": [], "expected_version": "secret"}"#, "expected_version", "invalid value: string, expected a version");
        check(br#"{"events": [], "expected_version": null}"#, "expected_version", "invalid type: null");
        check(br#"{"events": [], "expected_version": 1e400}"#, "expected_version", "out of range");
        check(b"{\"events\": [{\"type\": \"\xff\"}]}", "events[0].type", "not UTF-8 at byte 22");
    }
}
