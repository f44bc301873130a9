//! placeholder
use crate::schema::document::Document;
use crate::schema::error::Break;
pub(in crate::schema) fn backward_breaks(_o: &Document<'_>, _n: &Document<'_>, _v: u16) -> Vec<Break> {
    Vec::new()
}
pub(in crate::schema) fn forward_breaks(_o: &Document<'_>, _n: &Document<'_>, _v: u16) -> Vec<Break> {
    Vec::new()
}
