//! How does a delta get into the tables, in one transaction?
//!
//! Everything is written in the order of its keys: it is faster, and the file then does not depend on the order of a hash map.

use std::sync::Arc;

use redb::Database;
use redb::ReadableTable;
use redb::Table;
use redb::WriteTransaction;

use super::TermKind;
use super::delta::Delta;
use super::delta::StreamDelta;
use super::delta::TermDelta;
use super::fault::Fault;
use super::ids;
use super::postings;
use super::postings::PAGE;
use super::rows;
use super::rows::List;
use super::rows::Meta;
use super::rows::StreamRow;
use super::rows::TermRow;

/// A full page on its way to the table.
struct Page {
    list: u64,
    first: u64,
    bytes: Vec<u8>,
}

/// What the lists of one flush share.
struct Pages {
    next_list: u64,
    full: Vec<Page>,
}

/// Writes the delta and the mark up to which everything is in the tables. Nothing of it is durable before the commit.
pub(super) fn write(database: &Database, transaction: &WriteTransaction, log_id: [u8; 16], delta: &Delta) -> Result<(), Fault> {
    let mut meta_table = transaction.open_table(rows::META)?;
    let before = match meta_table.get(rows::META_STATE)? {
        Some(state) => rows::decode_meta(state.value())?,
        None => return Err(Fault::unusable("the state is missing")),
    };
    let mut pages = Pages { next_list: before.next_list, full: Vec::new() };
    write_streams(transaction, delta, &mut pages)?;
    for kind in TermKind::ALL {
        write_terms(transaction, kind, delta, &mut pages)?;
    }
    pages.full.sort_unstable_by_key(|page| (page.list, page.first));
    let mut table = transaction.open_table(rows::PAGES)?;
    for page in &pages.full {
        table.insert((page.list, page.first), page.bytes.as_slice())?;
    }
    ids::write(database, transaction, log_id, &delta.ids)?;
    let meta = Meta { through: delta.through, next_list: pages.next_list, counts: delta.counts };
    meta_table.insert(rows::META_STATE, rows::encode_meta(&meta)?.as_slice())?;
    Ok(())
}

fn write_streams(transaction: &WriteTransaction, delta: &Delta, pages: &mut Pages) -> Result<(), Fault> {
    let mut table = transaction.open_table(rows::STREAMS)?;
    let mut hidden = transaction.open_table(rows::HIDDEN)?;
    let mut touched: Vec<(&Arc<str>, &StreamDelta)> = delta.streams.iter().collect();
    touched.sort_unstable_by_key(|(name, _)| *name);
    let mut bytes = Vec::new();
    for (name, stream) in touched {
        let mut list = if stream.is_new { List::default() } else { list_of(&table, name, stream)? };
        list.tail.extend_from_slice(&stream.positions);
        let first_version = stream.state.version + 1 - list.tail.len() as u64;
        pages.take_full(&mut list, |index, _| first_version + index as u64);
        bytes.clear();
        StreamRow { state: stream.state, list }.encode(&mut bytes)?;
        table.insert(&**name, bytes.as_slice())?;
        if stream.state.hides() {
            hidden.insert(&**name, ())?;
        } else if stream.was_hiding {
            hidden.remove(&**name)?;
        }
    }
    Ok(())
}

fn list_of(table: &Table<'_, &str, &[u8]>, name: &str, stream: &StreamDelta) -> Result<List, Fault> {
    let row = table.get(name)?.ok_or_else(|| Fault::unusable(format!("the row of stream {name} is missing")))?;
    let row = StreamRow::decode(row.value())?;
    if row.state.version + 1 != stream.from {
        return Err(Fault::unusable(format!("stream {name} is at version {}, not before {}", row.state.version, stream.from)));
    }
    Ok(row.list)
}

fn write_terms(transaction: &WriteTransaction, kind: TermKind, delta: &Delta, pages: &mut Pages) -> Result<(), Fault> {
    let mut table = transaction.open_table(rows::TERMS)?;
    let mut touched: Vec<(&Arc<str>, &TermDelta)> = delta.terms[kind.index()].iter().collect();
    touched.sort_unstable_by_key(|(term, _)| *term);
    let mut bytes = Vec::new();
    for (term, more) in touched {
        let key = kind.key(term);
        let mut row = match table.get(key.as_slice())? {
            Some(row) => TermRow::decode(row.value())?,
            None => TermRow::default(),
        };
        row.counts.events += more.counts.events;
        row.counts.client_events += more.counts.client_events;
        row.counts.streams += more.counts.streams;
        row.list.tail.extend_from_slice(&more.positions);
        pages.take_full(&mut row.list, |_, first| first);
        bytes.clear();
        row.encode(&mut bytes)?;
        table.insert(key.as_slice(), bytes.as_slice())?;
    }
    Ok(())
}

impl Pages {
    /// Moves full pages out of the list's tail. `key` makes a page's key of the index of its first entry, and of that entry.
    fn take_full(&mut self, list: &mut List, key: impl Fn(usize, u64) -> u64) {
        let full = list.tail.len() / PAGE * PAGE;
        if full == 0 {
            return;
        }
        if list.number == 0 {
            list.number = self.next_list;
            self.next_list += 1;
        }
        for (number, page) in list.tail.chunks_exact(PAGE).enumerate() {
            let mut bytes = Vec::with_capacity(PAGE * 2);
            postings::encode(page, &mut bytes);
            let first = page.first().copied().unwrap_or_default();
            self.full.push(Page { list: list.number, first: key(number * PAGE, first), bytes });
        }
        list.tail.drain(..full);
    }
}
