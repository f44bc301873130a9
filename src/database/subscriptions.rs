//! How does a program take part in a consumer group?

use std::time::Duration;

use factum_storage as storage;

use super::Database;
use super::definitions::fault;
use super::definitions::file;
use crate::Error;
use crate::definition::Definition;
use crate::definition::Format;
use crate::definition::Key;
use crate::definition::Kind;
use crate::definition::document;
use crate::error::DefinitionFault;
use crate::subscription::group::Acknowledged;
use crate::subscription::group::Consumer;
use crate::subscription::group::ConsumerOptions;
use crate::subscription::group::Delivery;
use crate::subscription::group::DeliveryId;
use crate::subscription::group::GroupStatus;
use crate::subscription::group::Nack;
use crate::subscription::group::ParkedPage;
use crate::subscription::group::Terms;

impl Database {
    /// Takes part in a consumer group: its events are shared out among all who do, each event at least once.
    ///
    /// ```
    /// # use factum::Database;
    /// # use factum::database::{ConsumerOptions, ExpectedVersion, EventId, Format, Kind, NewEvent, StreamAppend, StreamName};
    /// # #[tokio::main]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let database = Database::in_memory().await?;
    /// let terms = r#"filter.categories = ["order"]"#;
    /// database.define(Kind::Subscription, "mail", Format::Toml, terms, false).await?;
    /// # let event = NewEvent {
    /// #     id: EventId::from_bytes([7; 16]),
    /// #     id_is_fresh: false,
    /// #     event_type: "OrderPlaced".into(),
    /// #     schema_version: 1,
    /// #     occurred_at: None,
    /// #     tags: vec![],
    /// #     metadata: Default::default(),
    /// #     data: "{}".into(),
    /// # };
    /// # let stream = StreamName::new("order-42")?;
    /// # database.append(StreamAppend { stream, expected: ExpectedVersion::Any, events: vec![event] }).await?;
    ///
    /// let mut consumer = database.consume("mail", ConsumerOptions::default()).await?;
    /// let delivery = consumer.next().await?;
    /// assert_eq!(delivery.event.record.event_type(), "OrderPlaced");
    /// database.acknowledge("mail", &[delivery.id]).await?; // on disk: it will not come again
    /// # database.close().await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::DefinitionNotFound`], [`Error::SubscriptionFailed`], [`Error::Invalid`] for a window that is none.
    pub async fn consume(&self, name: &str, options: ConsumerOptions) -> Result<Consumer, Error> {
        if options.max_in_flight.is_some_and(|max| max == 0 || max > IN_FLIGHT_MAX) {
            return Err(invalid("max_in_flight", &format!("must be a number from 1 to {IN_FLIGHT_MAX}")));
        }
        self.inner.groups.consume(name, options).await
    }

    /// Takes up to `limit` deliveries of a consumer group, waiting for the first. They stay out until they are acknowledged or their time
    /// is over.
    ///
    /// # Errors
    ///
    /// As [`Database::consume`].
    ///
    /// # Cancellation
    ///
    /// What was taken when the future is dropped comes again when its time is over.
    pub async fn pull(&self, name: &str, limit: usize, wait: Duration) -> Result<Vec<Delivery>, Error> {
        self.inner.groups.pull(name, limit, wait).await
    }

    /// Says that deliveries are done; that is on disk when this returns, and their events never come again.
    ///
    /// # Errors
    ///
    /// [`Error::DefinitionNotFound`]; [`Error::SubscriptionFailed`]: they may come again.
    ///
    /// # Cancellation
    ///
    /// Dropping the future does not take it back.
    pub async fn acknowledge(&self, name: &str, deliveries: &[DeliveryId]) -> Result<Acknowledged, Error> {
        self.inner.groups.acknowledge(name, deliveries).await
    }

    /// Says that deliveries did not get done, and what is to become of their events.
    ///
    /// # Errors
    ///
    /// As [`Database::acknowledge`], and [`Error::Invalid`] for a reason that is too long.
    pub async fn negative_acknowledge(
        &self,
        name: &str,
        deliveries: &[DeliveryId],
        action: Nack,
        reason: &str,
    ) -> Result<Acknowledged, Error> {
        if reason.len() > REASON_BYTES_MAX {
            return Err(invalid("reason", &format!("has {} bytes, at most {REASON_BYTES_MAX} are allowed", reason.len())));
        }
        self.inner.groups.reject(name, deliveries, action, reason).await
    }

    /// How a consumer group is.
    ///
    /// # Errors
    ///
    /// [`Error::DefinitionNotFound`].
    pub async fn subscription_status(&self, name: &str) -> Result<GroupStatus, Error> {
        self.inner.groups.status(name).await
    }

    /// What a consumer group has put aside, behind a place (shard and position).
    ///
    /// # Errors
    ///
    /// As [`Database::acknowledge`], and those of reading the log.
    pub async fn parked(&self, name: &str, after: Option<(u16, u64)>, limit: usize) -> Result<ParkedPage, Error> {
        self.inner.groups.parked(name, after, limit).await
    }

    /// Has parked events (shard and position; all, if none are named) given out again, in order and as if for the first time. Says how
    /// many there were.
    ///
    /// # Errors
    ///
    /// As [`Database::acknowledge`].
    pub async fn replay_parked(&self, name: &str, events: Option<&[(u16, u64)]>) -> Result<u64, Error> {
        self.inner.groups.replay_parked(name, events).await
    }

    /// Counts parked events (shard and position; all, if none are named) as done. Says how many there were.
    ///
    /// # Errors
    ///
    /// As [`Database::acknowledge`].
    pub async fn skip_parked(&self, name: &str, events: Option<&[(u16, u64)]>) -> Result<u64, Error> {
        self.inner.groups.skip_parked(name, events).await
    }

    /// What a definition says, and whether that is in force already in other words.
    pub(super) fn check_subscription(
        &self,
        key: &Key,
        format: Format,
        text: &str,
        before: Option<&Definition>,
    ) -> Result<(Terms, bool), Error> {
        check_name(&key.name)?;
        let terms = terms(key, format, text)?;
        let Some(before) = before.and_then(|before| self::terms(key, before.format, &before.text).ok()) else {
            let at = |detail: String| of_file(key, document::at("/after", &detail));
            self.inner.groups.beginning(&terms).map_err(|error| {
                if let Error::BadCursor { detail, .. } = error {
                    return at(format!("not a cursor of this database: {detail}"));
                }
                error
            })?;
            return Ok((terms, false));
        };
        if before.after != terms.after {
            let detail = format!(
                "is {:?} since the subscription was made, and can't be changed; delete it and define it anew to begin elsewhere",
                before.after.as_str()
            );
            return Err(of_file(key, document::at("/after", &detail)));
        }
        let is_same = before == terms;
        Ok((terms, is_same))
    }
}

/// What a subscription's definition says.
pub(super) fn terms(key: &Key, format: Format, text: &str) -> Result<Terms, Error> {
    Terms::parse(format, text).map_err(|found| of_file(key, found))
}

fn of_file(key: &Key, found: DefinitionFault) -> Error {
    debug_assert_eq!(key.kind, Kind::Subscription, "only subscriptions have terms");
    fault(DefinitionFault { what: file(key), ..found })
}

fn check_name(name: &str) -> Result<(), Error> {
    storage::check_name(name).map_err(|error| invalid("name", &error.to_string()))?;
    if name.starts_with('$') || name.contains('/') {
        return Err(invalid("name", "must not begin with $ nor hold a /"));
    }
    Ok(())
}

fn invalid(field: &str, detail: &str) -> Error {
    Error::Invalid { field: field.to_owned(), detail: detail.to_owned() }
}

const IN_FLIGHT_MAX: usize = 100_000;
const REASON_BYTES_MAX: usize = 4 << 10;
