//! Where does the time of one request go, from the socket through the queue and the sync to the rows of projections?
//!
//! Nothing is made while a request runs but a few notes of when what began and ended. When it is answered they become spans, or are
//! forgotten: kept are those that are sampled, and any request that failed inside or was slow. So a trace costs where it is kept.

pub(crate) mod span;

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::OnceLock;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;
use std::time::Duration;
use std::time::Instant;

use parking_lot::Mutex;
use uuid::Uuid;
use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::exemplars;
use super::queue::Queue;
use super::request;
use super::request::TraceId;
use span::Span;
use span::SpanKind;

pub use span::Attribute;
pub use span::AttributeValue;
pub use span::Place;

/// Which traces are kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// How many of a million requests are kept that bring no decision of their own.
    pub sample_of_a_million: u32,
    /// A request that takes longer is always kept.
    pub slow: Duration,
}

/// A request that may become a trace.
#[derive(Debug)]
pub struct Active {
    place: Place,
    parent: u64,
    is_sampled: bool,
    state: Option<Arc<str>>,
    began: Instant,
    notes: Mutex<Notes>,
}

#[derive(Debug)]
enum Notes {
    /// It is not answered yet.
    Open(Vec<Note>),
    /// It was, and is kept: what ends later is too.
    Kept,
    Forgotten,
}

/// A piece of a request's work.
#[derive(Debug)]
struct Note {
    name: &'static str,
    began: Instant,
    ended: Instant,
    attributes: Vec<Attribute>,
    is_error: bool,
}

/// How a request was answered.
#[derive(Debug)]
pub struct Answered<'a> {
    /// The path as the interface names it; empty if there is none.
    pub route: &'a str,
    /// GET, POST and so on.
    pub method: &'a str,
    /// The status.
    pub status: u16,
}

/// Keeps traces from here on, for these; the first call counts.
pub(super) fn install(options: &Options, queues: Vec<Queue<Span>>) {
    if queues.is_empty() {
        return;
    }
    TRACER.get_or_init(|| {
        let now = (Instant::now(), jiff::Timestamp::now().as_nanosecond());
        let sample = f64::from(options.sample_of_a_million) / 1e6;
        Tracer { queues, sample, slow: options.slow, now }
    });
}

/// Whether traces are kept at all.
#[must_use]
pub fn is_on() -> bool {
    TRACER.get().is_some()
}

/// A request begins, in the trace of its `traceparent` if it has one, whose decision then counts. `None` where no traces are kept.
#[must_use]
pub fn begin(trace: TraceId, traceparent: Option<&str>, tracestate: Option<&str>) -> Option<Arc<Active>> {
    let tracer = TRACER.get()?;
    let above = traceparent.and_then(Place::of_traceparent);
    let is_sampled = match traceparent {
        Some(text) if above.is_some() => is_flagged(text),
        _ => trace.chance() < tracer.sample,
    };
    Some(Arc::new(Active {
        place: Place { trace, span: draw() },
        parent: above.map_or(0, |above| above.span),
        is_sampled,
        state: tracestate.filter(|text| text.len() <= STATE_BYTES_MAX).map(Arc::from),
        began: Instant::now(),
        notes: Mutex::new(Notes::Open(Vec::new())),
    }))
}

/// Notes a piece of work of the request at hand, if there is one.
pub fn note(name: &'static str, began: Instant, ended: Instant, attributes: impl FnOnce() -> Vec<Attribute>) {
    if let Some(active) = current() {
        active.note(Note { name, began, ended, attributes: attributes(), is_error: false });
    }
}

/// The request at hand, for work that may end after it was answered.
#[must_use]
pub fn current() -> Option<Arc<Active>> {
    if is_on() { request::current().and_then(|ids| ids.span) } else { None }
}

/// What events of the request at hand are to remember, so that who comes after them goes on in its trace; `None` if that is not kept.
#[must_use]
pub fn traceparent() -> Option<String> {
    let active = current().filter(|active| active.is_sampled)?;
    Some(format!("00-{}-{:016x}-01", active.place.trace, active.place.span))
}

impl Active {
    /// Where its span stands.
    #[must_use]
    pub(super) fn place(&self) -> Place {
        self.place
    }

    /// The request was answered: it becomes a trace, or is forgotten. Says where it stands if it is kept.
    pub fn answered(&self, answered: &Answered<'_>) -> Option<Place> {
        let tracer = TRACER.get()?;
        let ended = Instant::now();
        let is_error = answered.status >= 500;
        let is_kept = self.is_sampled || is_error || ended.duration_since(self.began) >= tracer.slow;
        let before = std::mem::replace(&mut *self.notes.lock(), if is_kept { Notes::Kept } else { Notes::Forgotten });
        if !is_kept {
            return None;
        }
        tracer.put(Span {
            place: self.place,
            parent: self.parent,
            name: "request",
            kind: SpanKind::Server,
            began: tracer.time(self.began),
            ended: tracer.time(ended),
            attributes: vec![
                ("http.request.method", answered.method.into()),
                ("http.route", answered.route.into()),
                ("http.response.status_code", u64::from(answered.status).into()),
            ],
            links: Vec::new(),
            is_error,
            state: self.state.clone(),
        });
        if let Notes::Open(notes) = before {
            notes.into_iter().for_each(|note| self.put(tracer, note));
        }
        Some(self.place)
    }

    /// A piece of work of this request that may end after the answer.
    pub fn note_late(&self, name: &'static str, began: Instant, attributes: Vec<Attribute>, is_error: bool) {
        self.note(Note { name, began, ended: Instant::now(), attributes, is_error });
    }

    fn note(&self, note: Note) {
        match &mut *self.notes.lock() {
            Notes::Open(notes) if notes.len() < NOTES_MAX => notes.push(note),
            Notes::Open(_) | Notes::Forgotten => {}
            Notes::Kept => {
                if let Some(tracer) = TRACER.get() {
                    self.put(tracer, note);
                }
            }
        }
    }

    fn put(&self, tracer: &Tracer, note: Note) {
        let Note { name, began, ended, attributes, is_error } = note;
        let place = Place { trace: self.place.trace, span: draw() };
        if name == COMMIT
            && let Some(AttributeValue::Number(shard)) = attributes.iter().find(|(name, _)| *name == "factum.shard").map(|(_, value)| value)
        {
            exemplars::note("factum_commit_seconds", &[("shard", &shard.to_string())], ended.saturating_duration_since(began), place);
        }
        tracer.put(Span {
            place,
            parent: self.place.span,
            name,
            kind: SpanKind::Internal,
            began: tracer.time(began),
            ended: tracer.time(ended),
            attributes,
            links: Vec::new(),
            is_error,
            state: None,
        });
    }
}

impl Place {
    /// That of a `traceparent`, if it is one.
    #[must_use]
    pub fn of_traceparent(text: &str) -> Option<Self> {
        let trace = TraceId::of_traceparent(text)?;
        let span = text.split('-').nth(2).filter(|digits| digits.len() == 16)?;
        u64::from_str_radix(span, 16).ok().filter(|span| *span != 0).map(|span| Self { trace, span })
    }

    /// That of what has caused an event, if the event's metadata says so and that trace is kept.
    #[must_use]
    pub fn of_metadata(metadata: &[u8]) -> Option<Self> {
        #[derive(serde::Deserialize)]
        struct Metadata {
            traceparent: Option<String>,
        }
        if !is_on() || metadata.is_empty() {
            return None;
        }
        let text = serde_json::from_slice::<Metadata>(metadata).ok()?.traceparent?;
        Self::of_traceparent(&text).filter(|_| is_flagged(&text))
    }
}

/// Work that several requests have caused, each in its trace: a span in each of them, with links to the others. Says where these are.
pub fn follow(name: &'static str, causes: &[Place], (began, ended): (Instant, Instant), attributes: &[Attribute]) -> Vec<Place> {
    let Some(tracer) = TRACER.get() else { return Vec::new() };
    let mut seen = HashSet::new();
    let mut made = Vec::new();
    for cause in causes.iter().filter(|cause| seen.insert(cause.trace.0)).take(FOLLOWED_MAX) {
        let place = Place { trace: cause.trace, span: draw() };
        made.push(place);
        let others = causes.iter().filter(|other| *other != cause).take(LINKS_MAX);
        tracer.put(Span {
            place,
            parent: cause.span,
            name,
            kind: SpanKind::Consumer,
            began: tracer.time(began),
            ended: tracer.time(ended),
            attributes: attributes.to_vec(),
            links: others.copied().collect(),
            is_error: false,
            state: None,
        });
    }
    made
}

fn is_flagged(traceparent: &str) -> bool {
    let flags = traceparent.split('-').nth(3).and_then(|digits| u8::from_str_radix(digits, 16).ok());
    flags.is_some_and(|flags| flags & 1 == 1)
}

/// A new span's id.
fn draw() -> u64 {
    let number = DRAWN.fetch_add(1, Ordering::Relaxed);
    let seed = *SEED.get_or_init(|| Uuid::new_v4().as_u64_pair().0);
    xxh3_64_with_seed(&number.to_le_bytes(), seed).max(1)
}

/// What keeps the traces of this process.
struct Tracer {
    queues: Vec<Queue<Span>>,
    sample: f64,
    slow: Duration,
    /// The same moment by both clocks.
    now: (Instant, i128),
}

impl Tracer {
    fn put(&self, span: Span) {
        if let Some((last, others)) = self.queues.split_last() {
            others.iter().for_each(|queue| queue.put(span.clone()));
            last.put(span);
        }
    }

    fn time(&self, at: Instant) -> i128 {
        let (instant, nanoseconds) = self.now;
        nanoseconds + i128::try_from(at.saturating_duration_since(instant).as_nanos()).unwrap_or(i128::MAX)
    }
}

static TRACER: OnceLock<Tracer> = OnceLock::new();
static DRAWN: AtomicU64 = AtomicU64::new(0);
static SEED: OnceLock<u64> = OnceLock::new();

/// The work that `factum_commit_seconds` measures, by the same two instants.
const COMMIT: &str = "shard.commit";
const NOTES_MAX: usize = 64;
const STATE_BYTES_MAX: usize = 512;
/// A batch of events may be of many traces: so many of them get a span.
const FOLLOWED_MAX: usize = 16;
const LINKS_MAX: usize = 32;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_parent_says_where_and_whether() {
        let parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        let place = Place::of_traceparent(parent).unwrap();
        assert_eq!((place.trace.to_string().as_str(), place.span), ("0af7651916cd43dd8448eb211c80319c", 0xb7ad_6b71_6920_3331));
        assert!(is_flagged(parent) && !is_flagged("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00"));
        assert_eq!(Place::of_traceparent("00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01"), None);
        assert_eq!(Place::of_metadata(br#"{"traceparent":"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"}"#), None, "off");
        assert!(begin(place.trace, Some(parent), None).is_none() && traceparent().is_none(), "nothing is kept here");
        assert_ne!(draw(), draw());
    }
}
