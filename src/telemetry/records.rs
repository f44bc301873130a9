//! What is a line of the log, for those that keep or send it? The same lines as on stderr, in pieces, with the ids of the request.

use std::fmt;
use std::fmt::Write;
use std::sync::Arc;
use std::sync::OnceLock;

use jiff::Timestamp;
use tracing::Event;
use tracing::Level;
use tracing::Subscriber;
use tracing::field::Field;
use tracing::field::Visit;
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;

use super::queue::Queue;
use super::request;
use super::request::TraceId;

/// A line of the log.
#[derive(Clone, Debug)]
pub(crate) struct Record {
    /// In nanoseconds since 1970.
    pub(crate) at: i128,
    pub(crate) level: Level,
    /// The module that tells it.
    pub(crate) target: &'static str,
    pub(crate) message: String,
    pub(crate) fields: Vec<(&'static str, String)>,
    pub(crate) request: Option<Arc<str>>,
    pub(crate) trace: Option<TraceId>,
    /// The request's own span, where traces are kept.
    pub(crate) span: Option<u64>,
}

/// Gives lines of the log to these from here on; the first call counts.
pub(super) fn install(queues: Vec<Queue<Record>>) {
    if !queues.is_empty() {
        QUEUES.get_or_init(|| queues);
    }
}

/// Looks at what the log writes.
pub(super) struct Records;

impl<S: Subscriber> Layer<S> for Records {
    fn on_event(&self, event: &Event<'_>, _context: Context<'_, S>) {
        let Some((last, others)) = QUEUES.get().and_then(|queues| queues.split_last()) else { return };
        let record = record(event);
        others.iter().for_each(|queue| queue.put(record.clone()));
        last.put(record);
    }
}

fn record(event: &Event<'_>) -> Record {
    let mut said = Said { message: String::new(), fields: Vec::new(), left: TEXT_BYTES_MAX };
    event.record(&mut said);
    let ids = request::current();
    Record {
        at: Timestamp::now().as_nanosecond(),
        level: *event.metadata().level(),
        target: event.metadata().target(),
        message: said.message,
        fields: said.fields,
        request: ids.as_ref().map(|ids| Arc::clone(&ids.request)),
        trace: ids.as_ref().map(|ids| ids.trace),
        span: ids.and_then(|ids| ids.span).map(|active| active.place().span),
    }
}

/// What an event says, up to a bound.
struct Said {
    message: String,
    fields: Vec<(&'static str, String)>,
    left: usize,
}

impl Said {
    fn put(&mut self, field: &Field, value: fmt::Arguments<'_>) {
        let mut text = Bounded { text: String::new(), left: self.left };
        // What does not fit is cut off.
        text.write_fmt(value).unwrap_or_default();
        self.left = text.left;
        if field.name() == "message" {
            self.message = text.text;
        } else {
            self.fields.push((field.name(), text.text));
        }
    }
}

impl Visit for Said {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.put(field, format_args!("{value}"));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.put(field, format_args!("{value:?}"));
    }
}

struct Bounded {
    text: String,
    left: usize,
}

impl Write for Bounded {
    fn write_str(&mut self, more: &str) -> fmt::Result {
        let fits = more.floor_char_boundary(self.left);
        self.text.push_str(more.get(..fits).unwrap_or_default());
        self.left -= fits;
        if fits < more.len() {
            self.left = 0;
            return Err(fmt::Error);
        }
        Ok(())
    }
}

static QUEUES: OnceLock<Vec<Queue<Record>>> = OnceLock::new();
/// Of all that one line says.
const TEXT_BYTES_MAX: usize = 8 << 10;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_texts_are_cut_at_a_character() {
        let mut text = Bounded { text: String::new(), left: 4 };
        assert!(text.write_str("aé").is_ok() && text.write_str("é").is_err() && text.write_str("b").is_err());
        assert_eq!((text.text.as_str(), text.left), ("aé", 0));
    }
}
