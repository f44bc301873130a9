//! How is a message of OTLP written? Each is said once, field by field, and written as protobuf or as JSON.
//!
//! Only what these few messages need: no reading, no unknown fields. Numbers and names are those of `opentelemetry-proto` 1.x.

use serde_json::Map;
use serde_json::Value as Json;

/// One message: its fields by number and by name.
#[derive(Clone, Debug, Default)]
pub(crate) struct Message(Vec<(u32, &'static str, Value)>);

/// What a field holds.
#[derive(Clone, Debug)]
pub(crate) enum Value {
    Text(String),
    /// `fixed64`.
    Fixed(u64),
    /// `int64`.
    Integer(i64),
    Double(f64),
    Truth(bool),
    /// An `enum`.
    Choice(u8),
    /// The id of a trace or of a span.
    Id(Vec<u8>),
    Message(Message),
    Messages(Vec<Message>),
    /// `repeated fixed64`.
    Fixeds(Vec<u64>),
    /// `repeated double`.
    Doubles(Vec<f64>),
}

impl Message {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// With this field too.
    #[must_use]
    pub(crate) fn with(mut self, number: u32, name: &'static str, value: Value) -> Self {
        self.0.push((number, name, value));
        self
    }

    /// `KeyValue`.
    pub(crate) fn attribute(key: &str, value: Self) -> Self {
        Self::new().with(1, "key", Value::Text(key.to_owned())).with(2, "value", Value::Message(value))
    }

    /// `AnyValue`.
    pub(crate) fn text(text: &str) -> Self {
        Self::new().with(1, "stringValue", Value::Text(text.to_owned()))
    }

    /// `AnyValue`.
    pub(crate) fn integer(number: i64) -> Self {
        Self::new().with(3, "intValue", Value::Integer(number))
    }

    /// As JSON, in the form that OTLP asks for.
    pub(crate) fn to_json(&self) -> Json {
        Json::Object(self.0.iter().map(|(_, name, value)| ((*name).to_owned(), value.to_json())).collect::<Map<_, _>>())
    }

    /// As protobuf.
    pub(crate) fn to_protobuf(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        for (number, _, value) in &self.0 {
            value.write(*number, &mut bytes);
        }
        bytes
    }
}

impl Value {
    fn to_json(&self) -> Json {
        match self {
            Self::Text(text) => Json::from(text.as_str()),
            // As texts: JSON's numbers end at 2^53.
            Self::Fixed(number) => Json::from(number.to_string()),
            Self::Integer(number) => Json::from(number.to_string()),
            Self::Double(number) => double(*number),
            Self::Truth(truth) => Json::from(*truth),
            Self::Choice(choice) => Json::from(*choice),
            Self::Id(id) => Json::from(id.iter().map(|byte| format!("{byte:02x}")).collect::<String>()),
            Self::Message(message) => message.to_json(),
            Self::Messages(messages) => messages.iter().map(Message::to_json).collect(),
            Self::Fixeds(numbers) => numbers.iter().map(|number| Json::from(number.to_string())).collect(),
            Self::Doubles(numbers) => numbers.iter().map(|number| double(*number)).collect(),
        }
    }

    fn write(&self, number: u32, to: &mut Vec<u8>) {
        match self {
            Self::Text(text) => delimited(number, text.as_bytes(), to),
            Self::Fixed(value) => fixed(number, value.to_le_bytes(), to),
            Self::Double(value) => fixed(number, value.to_le_bytes(), to),
            Self::Integer(value) => varint_field(number, u64::from_le_bytes(value.to_le_bytes()), to),
            Self::Truth(value) => varint_field(number, u64::from(*value), to),
            Self::Choice(value) => varint_field(number, u64::from(*value), to),
            Self::Id(id) => delimited(number, id, to),
            Self::Message(message) => delimited(number, &message.to_protobuf(), to),
            Self::Messages(messages) => messages.iter().for_each(|message| delimited(number, &message.to_protobuf(), to)),
            Self::Fixeds(values) => delimited(number, &values.iter().flat_map(|value| value.to_le_bytes()).collect::<Vec<_>>(), to),
            Self::Doubles(values) => delimited(number, &values.iter().flat_map(|value| value.to_le_bytes()).collect::<Vec<_>>(), to),
        }
    }
}

/// What JSON has no number for is a word.
fn double(number: f64) -> Json {
    if number.is_nan() {
        Json::from("NaN")
    } else if number.is_infinite() {
        Json::from(if number > 0.0 { "Infinity" } else { "-Infinity" })
    } else {
        Json::from(number)
    }
}

fn delimited(number: u32, bytes: &[u8], to: &mut Vec<u8>) {
    varint(u64::from(number << 3 | DELIMITED), to);
    varint(u64::try_from(bytes.len()).unwrap_or(u64::MAX), to);
    to.extend_from_slice(bytes);
}

fn fixed(number: u32, bytes: [u8; 8], to: &mut Vec<u8>) {
    varint(u64::from(number << 3 | FIXED64), to);
    to.extend_from_slice(&bytes);
}

fn varint_field(number: u32, value: u64, to: &mut Vec<u8>) {
    varint(u64::from(number << 3 | VARINT), to);
    varint(value, to);
}

fn varint(mut value: u64, to: &mut Vec<u8>) {
    loop {
        let [low, ..] = value.to_le_bytes();
        value >>= 7;
        if value == 0 {
            to.push(low & 0x7f);
            return;
        }
        to.push(low | 0x80);
    }
}

const VARINT: u32 = 0;
const FIXED64: u32 = 1;
const DELIMITED: u32 = 2;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_written_as_the_encoding_says() {
        let inner = Message::attribute("k", Message::integer(-1));
        let message = Message::new()
            .with(1, "a", Value::Choice(150))
            .with(2, "b", Value::Text("hé".to_owned()))
            .with(16, "c", Value::Fixeds(vec![1]))
            .with(3, "d", Value::Messages(vec![inner]))
            .with(4, "e", Value::Double(f64::NAN));
        let mut expected = vec![0x08, 0x96, 0x01, 0x12, 3, b'h', 0xc3, 0xa9, 0x82, 0x01, 8, 1, 0, 0, 0, 0, 0, 0, 0];
        expected.extend([0x1a, 16, 0x0a, 1, b'k', 0x12, 11, 0x18, 255, 255, 255, 255, 255, 255, 255, 255, 255, 1]);
        expected.push(0x21);
        expected.extend(f64::NAN.to_le_bytes());
        assert_eq!(message.to_protobuf(), expected);
        let json = r#"{"a":150,"b":"hé","c":["1"],"d":[{"key":"k","value":{"intValue":"-1"}}],"e":"NaN"}"#;
        assert_eq!(message.to_json(), serde_json::from_str::<Json>(json).unwrap());
    }
}
