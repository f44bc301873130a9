//! What is an export told to do, while it works?

use std::time::Duration;

use tokio::sync::watch;

use crate::subscription::Cursor;

/// What an export is told.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Orders {
    pub(super) is_stopped: bool,
    /// Everything up to here is to be published as soon as it can be.
    pub(super) flush_to: Option<Cursor>,
    /// Counts up each time that somebody wants it to try again now.
    pub(super) nudges: u64,
}

/// Who listens to the orders.
#[derive(Clone)]
pub(super) struct Told(watch::Receiver<Orders>);

impl Told {
    pub(super) fn new(orders: watch::Receiver<Orders>) -> Self {
        Self(orders)
    }

    pub(super) fn is_stopped(&self) -> bool {
        // Without anybody who could give orders there is nobody to work for.
        self.0.has_changed().is_err() || self.0.borrow().is_stopped
    }

    /// How far somebody waits for everything to be published.
    pub(super) fn flush_to(&self) -> Option<Cursor> {
        self.0.borrow().flush_to.clone()
    }

    /// Waits for new orders.
    pub(super) async fn changed(&mut self) {
        // `is_stopped` says it when nobody is left.
        self.0.changed().await.unwrap_or_default();
    }

    /// Waits so long, or until there are new orders to try again or to stop.
    pub(super) async fn pause(&self, time: Duration) {
        let mut orders = self.0.clone();
        let nudges = orders.borrow().nudges;
        let told = orders.wait_for(|orders| orders.is_stopped || orders.nudges != nudges);
        // Either way it goes on.
        drop(tokio::time::timeout(time, told).await);
    }

    /// Waits until it is told to try again or to stop.
    pub(super) async fn wait(&self) {
        let mut orders = self.0.clone();
        let nudges = orders.borrow().nudges;
        // Nobody can tell it any more: that is an end too.
        drop(orders.wait_for(|orders| orders.is_stopped || orders.nudges != nudges).await);
    }
}
