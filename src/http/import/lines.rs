//! From bytes to batches: reads lines as they come, checks them, and groups them by stream.

use std::io;
use std::io::BufRead;
use std::io::BufReader;
use std::io::Read;

use axum::body::Body;
use bytes::Bytes;
use factum_storage::NewEvent;
use factum_storage::StreamName;
use foldhash::HashMap;
use foldhash::HashMapExt;
use http::HeaderMap;
use http_body_util::BodyExt;
use tokio::runtime::Handle;
use tokio::sync::mpsc;

use crate::http::access::Caller;
use crate::http::access::authorise_write;
use crate::http::body::data_of;
use crate::http::body::decoder;
use crate::http::body::too_slow;
use crate::http::decode::from_body;
use crate::http::negotiate::Coding;
use crate::http::new_events::EventMaker;
use crate::http::problem::Problem;
use crate::http::problem::Slug;
use crate::http::settings::HttpSettings;
use crate::http::wire::EventWire;
use crate::http::wire::Object;

/// What is imported.
pub(super) struct Source {
    pub(super) body: Body,
    pub(super) coding: Option<Coding>,
    pub(super) settings: HttpSettings,
    pub(super) headers: HeaderMap,
    pub(super) caller: Caller,
}

/// What stands on one line or ended the reading, on its way to be committed.
pub(super) enum Part {
    /// Lines that are committed together.
    Batch(Batch),
    /// The reading ended here; `line` is 1-based.
    Fault { problem: Problem, line: u64 },
    /// There is no more.
    End,
}

/// Lines that are committed together, by stream.
#[derive(Default)]
pub(super) struct Batch {
    pub(super) groups: Vec<Group>,
    /// How many bytes of the body they were.
    pub(super) bytes: u64,
}

/// The lines of one stream in a batch.
pub(super) struct Group {
    pub(super) stream: StreamName,
    pub(super) events: Vec<NewEvent>,
    /// The line of each event.
    pub(super) lines: Vec<u64>,
}

/// Reads the body to its end on this thread, and sends what it finds. Ends early when nobody listens any more.
pub(super) fn read(source: Source, runtime: &Handle, parts: &mpsc::Sender<Part>) {
    let Source { body, coding, settings, headers, caller } = source;
    let pull = BodyReader { body, runtime, settings: &settings, current: Bytes::new() };
    let mut reader = match coding {
        None => Lines::new(Box::new(BufReader::with_capacity(READ_BYTES, pull)), &settings),
        Some(coding) => match decoder(coding, pull) {
            Ok(decoder) => Lines::new(Box::new(BufReader::with_capacity(READ_BYTES, decoder)), &settings),
            Err(error) => return drop(parts.blocking_send(Part::Fault { problem: read_problem(&error), line: 1 })),
        },
    };
    loop {
        let (batch, end) = reader.batch(&headers, &caller);
        if !batch.groups.is_empty() && parts.blocking_send(Part::Batch(batch)).is_err() {
            return;
        }
        if let Some(end) = end {
            // Nobody listens when the client has hung up; then there is nobody to tell.
            drop(parts.blocking_send(end));
            return;
        }
    }
}

struct Lines<'a> {
    source: Box<dyn BufRead + 'a>,
    settings: &'a HttpSettings,
    line: u64,
    line_bytes_max: usize,
}

impl<'a> Lines<'a> {
    fn new(source: Box<dyn BufRead + 'a>, settings: &'a HttpSettings) -> Self {
        // Escapes and whitespace can make the line longer than what is stored of it.
        Self { source, settings, line: 0, line_bytes_max: settings.event_bytes_max.saturating_mul(2).saturating_add(64 << 10) }
    }

    /// The next batch, and what ended it if that was not its size.
    fn batch(&mut self, headers: &HeaderMap, caller: &Caller) -> (Batch, Option<Part>) {
        let mut grouped = Grouped::default();
        // Lines of a batch lie in one buffer, and the events are slices of it.
        let (text, ends, mut end) = self.fill();
        let mut start = 0;
        let mut maker = match EventMaker::new(&text, headers, self.settings) {
            Ok(maker) => maker,
            Err(problem) => return (Batch::default(), Some(self.fault(problem))),
        };
        for (number, line_end) in ends {
            let line = text.get(start..line_end).unwrap_or_default();
            start = line_end;
            if line.trim_ascii().is_empty() {
                continue;
            }
            if let Err(problem) = grouped.add(line, number, &mut maker, caller) {
                end = Some(Part::Fault { problem, line: number });
                break;
            }
        }
        grouped.batch.bytes = start as u64;
        (grouped.batch, end)
    }

    /// Reads lines until there are enough; gives where each ends, with its number.
    fn fill(&mut self) -> (Bytes, Vec<(u64, usize)>, Option<Part>) {
        let mut text = Vec::with_capacity(BATCH_BYTES / 4);
        let mut ends = Vec::new();
        let end = loop {
            if ends.len() >= BATCH_LINES || text.len() >= BATCH_BYTES {
                break None;
            }
            let start = text.len();
            let most = self.line_bytes_max as u64 + 1;
            match (&mut self.source).take(most).read_until(b'\n', &mut text) {
                Ok(0) => break Some(Part::End),
                Ok(read) if read > self.line_bytes_max => {
                    text.truncate(start);
                    let detail = format!("the line has more than {} bytes", self.line_bytes_max);
                    break Some(self.fault(Problem::new(Slug::PayloadTooLarge, detail)));
                }
                Ok(_) => {
                    self.line += 1;
                    ends.push((self.line, text.len()));
                }
                Err(error) => {
                    // What came of the line that broke off is not a line.
                    text.truncate(start);
                    break Some(self.fault(read_problem(&error)));
                }
            }
        };
        (text.into(), ends, end)
    }

    fn fault(&self, problem: Problem) -> Part {
        Part::Fault { problem, line: self.line + 1 }
    }
}

#[derive(Default)]
struct Grouped {
    batch: Batch,
    by_stream: Option<HashMap<StreamName, usize>>,
}

impl Grouped {
    fn add(&mut self, line: &[u8], number: u64, maker: &mut EventMaker<'_>, caller: &Caller) -> Result<(), Problem> {
        let Object(wire) = from_body::<Object<EventWire<'_>>>(line)?;
        let Some(name) = &wire.stream else { return Err(Problem::malformed("stream", "missing field `stream`")) };
        let group = self.group(&name.0, caller)?;
        let event = maker.make(&wire, group.stream.as_str(), group.events.len()).map_err(|fault| fault.into_problem(""))?;
        group.events.push(event);
        group.lines.push(number);
        Ok(())
    }

    fn group(&mut self, name: &str, caller: &Caller) -> Result<&mut Group, Problem> {
        let by_stream = self.by_stream.get_or_insert_with(HashMap::new);
        let index = match by_stream.get(name) {
            Some(index) => *index,
            None => {
                let stream = StreamName::new(name).map_err(|fault| Problem::malformed("stream", fault.to_string()))?;
                authorise_write(caller, &stream)?;
                let index = self.batch.groups.len();
                by_stream.insert(stream.clone(), index);
                self.batch.groups.push(Group { stream, events: Vec::new(), lines: Vec::new() });
                index
            }
        };
        Ok(self.batch.groups.get_mut(index).expect("the map names groups that are there"))
    }
}

/// The body as a blocking reader, with a deadline for each of its parts.
struct BodyReader<'a> {
    body: Body,
    runtime: &'a Handle,
    settings: &'a HttpSettings,
    current: Bytes,
}

impl Read for BodyReader<'_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        while self.current.is_empty() {
            let wait = self.settings.body_chunk_timeout;
            let frame = self.runtime.block_on(async { tokio::time::timeout(wait, self.body.frame()).await });
            let data = frame.map_err(|_| too_slow(wait)).and_then(data_of);
            match data {
                Ok(Some(data)) => self.current = data,
                Ok(None) => return Ok(0),
                Err(problem) => return Err(io::Error::other(BodyFault(problem.slug()))),
            }
        }
        let count = out.len().min(self.current.len());
        let part = self.current.split_to(count);
        if let Some(slot) = out.get_mut(..count) {
            slot.copy_from_slice(&part);
        }
        Ok(count)
    }
}

/// Marks that the body itself failed, and not its decompression.
#[derive(Debug, thiserror::Error)]
#[error("the body broke off or came too slowly")]
struct BodyFault(Slug);

fn read_problem(error: &io::Error) -> Problem {
    match error.get_ref().and_then(|inner| inner.downcast_ref::<BodyFault>()) {
        Some(BodyFault(slug)) => Problem::new(*slug, "the body broke off or came too slowly"),
        None => Problem::malformed("body", "the body is not validly compressed"),
    }
}

/// A batch is full with so many lines.
const BATCH_LINES: usize = 8_192;
/// A batch is full with so many bytes.
const BATCH_BYTES: usize = 4 << 20;
const READ_BYTES: usize = 256 << 10;
