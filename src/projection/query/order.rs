//! In which order do rows stand, and where does a page go on?

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;

use super::super::spec::ColumnType;
use super::super::spec::Columns;
use super::super::target::embedded::encoding;
use super::super::target::embedded::fault::Trouble;
use super::super::target::embedded::sortable::push_sortable;
use super::Order;
use super::QueryFault;
use super::name_of;

/// A total order of rows: the last column is the primary key.
pub(super) struct Sorting {
    pub(super) by: Vec<Order>,
}

impl Sorting {
    pub(super) fn new(columns: &Columns, order_by: &[Order]) -> Result<Self, QueryFault> {
        let mut by = Vec::new();
        for order in order_by {
            let invalid = |detail: &str| QueryFault::Invalid {
                field: "order_by".to_owned(),
                detail: format!("{} {detail}", name_of(columns, order.place)),
            };
            let column = columns.list().get(order.place).ok_or_else(|| invalid("is not a column of the view"))?;
            if column.column_type == ColumnType::Json {
                return Err(invalid("is JSON, which has no order"));
            }
            by.push(*order);
            if order.place == columns.primary_key() {
                // No two rows are equal so far: what follows decides nothing.
                return Ok(Self { by });
            }
        }
        let is_descending = by.last().is_some_and(|last| last.is_descending);
        by.push(Order { place: columns.primary_key(), is_descending });
        Ok(Self { by })
    }

    /// Appends the bytes by which a row sorts. `key` is its primary key, sortable.
    pub(super) fn push_key(&self, out: &mut Vec<u8>, columns: &Columns, key: &[u8], row: &[u8]) -> Result<(), Trouble> {
        for order in &self.by {
            let start = out.len();
            if order.place == columns.primary_key() {
                out.extend_from_slice(key);
            } else if let Some(column) = columns.list().get(order.place) {
                push_sortable(out, &encoding::value_at(row, columns, order.place)?, column.column_type);
            }
            if order.is_descending {
                invert(out.get_mut(start..).unwrap_or_default());
            }
        }
        Ok(())
    }

    /// What leads on behind the row with these bytes.
    pub(super) fn token(&self, columns: &Columns, key: &[u8]) -> String {
        let mut bytes = vec![TOKEN_FORMAT];
        bytes.extend_from_slice(&self.signature(columns));
        bytes.extend_from_slice(key);
        BASE64_URL_SAFE_NO_PAD.encode(bytes)
    }

    /// The bytes behind which a page goes on.
    pub(super) fn read_token(&self, columns: &Columns, token: &str) -> Result<Vec<u8>, QueryFault> {
        let invalid = |detail: &str| QueryFault::Invalid { field: "after".to_owned(), detail: detail.to_owned() };
        let bytes = BASE64_URL_SAFE_NO_PAD.decode(token).map_err(|_| invalid(NO_TOKEN))?;
        let (format, rest) = bytes.split_first().ok_or_else(|| invalid(NO_TOKEN))?;
        let (signature, key) = rest.split_at_checked(8).ok_or_else(|| invalid(NO_TOKEN))?;
        if *format != TOKEN_FORMAT || key.is_empty() {
            return Err(invalid(NO_TOKEN));
        }
        if signature != self.signature(columns) {
            return Err(invalid("is of a query with another order, or of other columns: begin at the first page"));
        }
        Ok(key.to_vec())
    }

    fn signature(&self, columns: &Columns) -> [u8; 8] {
        let mut text = String::new();
        for order in &self.by {
            let column_type = columns.list().get(order.place).map(|column| column.column_type);
            text.push_str(&format!("{} {column_type:?} {}\n", name_of(columns, order.place), order.is_descending));
        }
        xxhash_rust::xxh3::xxh3_64(text.as_bytes()).to_be_bytes()
    }
}

/// The other way round: bytes that stood in front then stand behind, as no encoding is the beginning of another.
pub(super) fn invert(bytes: &mut [u8]) {
    for byte in bytes {
        *byte = !*byte;
    }
}

const TOKEN_FORMAT: u8 = 1;
const NO_TOKEN: &str = "must be the `next` of the page before";
