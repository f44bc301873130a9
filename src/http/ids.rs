//! Which id does an event get that came without one? A time-ordered one of its own, or one derived from what makes the request the
//! same request.

use factum_storage::EventId;
use http::HeaderMap;
use http::HeaderName;
use uuid::Uuid;

use crate::http::conditional::single;
use crate::http::problem::Problem;

/// Gives the events of one request their ids, in order.
pub(crate) struct IdSource<'a> {
    key: Option<&'a str>,
    base: Option<u128>,
    drawn: u64,
}

impl<'a> IdSource<'a> {
    /// Derives from the request's `Idempotency-Key`, or draws fresh ids if it has none.
    ///
    /// # Errors
    ///
    /// 400 if the key is not 1 to 255 visible ASCII characters.
    pub(crate) fn new(headers: &'a HeaderMap) -> Result<Self, Problem> {
        Ok(Self { key: idempotency_key(headers)?, base: None, drawn: 0 })
    }

    /// The id of the event at `index` of `stream` in this request, and whether it was drawn just now.
    pub(crate) fn next(&mut self, stream: &str, index: usize) -> (EventId, bool) {
        match self.key {
            Some(key) => {
                let mut name = Vec::with_capacity(key.len() + stream.len() + 10);
                name.extend_from_slice(key.as_bytes());
                name.push(0);
                name.extend_from_slice(stream.as_bytes());
                name.push(0);
                name.extend_from_slice(&(index as u64).to_be_bytes());
                (EventId::from_bytes(Uuid::new_v5(&IDEMPOTENCY_NAMESPACE, &name).into_bytes()), false)
            }
            None => (self.fresh(), true),
        }
    }

    /// One draw of randomness serves the request: later ids count on in the lowest 62 bits, as RFC 9562 has it for batches.
    fn fresh(&mut self) -> EventId {
        let base = *self.base.get_or_insert_with(|| Uuid::now_v7().as_u128());
        let counted = (base & COUNTED_BITS).wrapping_add(u128::from(self.drawn)) & COUNTED_BITS;
        self.drawn += 1;
        EventId::from_bytes(((base & !COUNTED_BITS) | counted).to_be_bytes())
    }
}

/// What makes a retry the same request.
///
/// # Errors
///
/// 400 if it is not 1 to 255 visible ASCII characters.
pub(crate) fn idempotency_key(headers: &HeaderMap) -> Result<Option<&str>, Problem> {
    short_text(headers, &IDEMPOTENCY_KEY, "Idempotency-Key")
}

/// The one value of a header that names something.
///
/// # Errors
///
/// 400 if it is not 1 to 255 visible ASCII characters.
pub(crate) fn short_text<'a>(headers: &'a HeaderMap, name: &HeaderName, text: &str) -> Result<Option<&'a str>, Problem> {
    let value = single(headers, name, text)?;
    if value.is_some_and(|value| value.is_empty() || value.len() > 255) {
        return Err(Problem::malformed(text, "must have 1 to 255 characters"));
    }
    Ok(value)
}

/// The id of a CloudEvent whose own id is not a UUID: the pair of source and id names the event.
pub(crate) fn cloud_event_id(source: &str, id: &str) -> EventId {
    let mut name = Vec::with_capacity(source.len() + id.len() + 1);
    name.extend_from_slice(source.as_bytes());
    name.push(0);
    name.extend_from_slice(id.as_bytes());
    EventId::from_bytes(Uuid::new_v5(&CLOUD_EVENT_NAMESPACE, &name).into_bytes())
}

const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
const COUNTED_BITS: u128 = (1 << 62) - 1;
/// Pinned: derived ids are on disks.
const IDEMPOTENCY_NAMESPACE: Uuid = Uuid::from_u128(0x6d0e_9a52_7c41_4c0b_9d6f_31f2_64b8_a7e5);
/// Pinned: derived ids are on disks.
const CLOUD_EVENT_NAMESPACE: Uuid = Uuid::from_u128(0x2b7f_05c3_e1d8_4e6a_8a94_c05d_7e13_b6f9);

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn fresh_ids_are_distinct_ordered_and_of_version_7() {
        let headers = HeaderMap::new();
        let mut source = IdSource::new(&headers).unwrap();
        let ids: Vec<EventId> = (0..1000).map(|index| source.next("s", index).0).collect();
        assert!(ids.windows(2).all(|pair| pair[0] != pair[1]));
        assert!(ids.iter().all(|id| Uuid::from_bytes(*id.as_bytes()).get_version_num() == 7));
        let mut sorted = ids.clone();
        sorted.sort();
        sorted.dedup();
        assert_eq!(sorted.len(), 1000);
    }

    #[test]
    fn derived_ids_are_the_same_every_time() {
        let headers = HeaderMap::from_iter([(IDEMPOTENCY_KEY, HeaderValue::from_static("k1"))]);
        let draw = |stream: &str, index| IdSource::new(&headers).unwrap().next(stream, index);
        assert_eq!(draw("s", 0), draw("s", 0));
        assert_ne!(draw("s", 0), draw("s", 1));
        assert_ne!(draw("s", 0), draw("t", 0));
        let (id, is_fresh) = draw("s", 0);
        assert!(!is_fresh);
        assert_eq!(format!("{id:?}"), "3233e0ab4576563ab2a6bd2dfe0a68f7");
    }
}
