//! How is a group?

use std::sync::Arc;

use super::Groups;
use super::Terms;
use super::books::Books;
use super::books::Counts;
use super::store::Shards;
use crate::Error;
use crate::subscription::Cursor;

/// How a group is.
#[derive(Clone, Debug)]
pub struct GroupStatus {
    /// Its name.
    pub name: String,
    /// In one word.
    pub state: GroupState,
    /// What is wrong, if it has failed.
    pub error: Option<String>,
    /// Everything up to here is done, parked, held back or to be tried again; none if that can't be read.
    pub checkpoint: Option<Cursor>,
    /// Where the log ends.
    pub head: Cursor,
    /// Events between the two, those included that the filter leaves out.
    pub lag: u64,
    /// Given out, and not acknowledged.
    pub in_flight: u64,
    /// Put aside for somebody to look at.
    pub parked: u64,
    /// To be tried again.
    pub retrying: u64,
    /// Known, and held back by a parked one of their stream.
    pub held_back: u64,
    /// Connected.
    pub consumers: u64,
    /// What its definition says.
    pub terms: Arc<Terms>,
}

/// How a group is, in one word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GroupState {
    /// It has consumers.
    Active,
    /// It has none.
    Idle,
    /// So many events are parked, held back or out that nothing more is read.
    Blocked,
    /// Its progress, or the log, can't be read.
    Failed,
}

impl GroupState {
    /// As it is written.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Idle => "idle",
            Self::Blocked => "blocked",
            Self::Failed => "failed",
        }
    }
}

impl Groups {
    /// How a group is.
    ///
    /// # Errors
    ///
    /// [`Error::DefinitionNotFound`].
    pub(crate) async fn status(&self, name: &str) -> Result<GroupStatus, Error> {
        let group = self.group(name)?;
        let session = group.slot.lock().await.clone();
        let terms = Arc::clone(&group.terms.lock());
        let head = Cursor::end(&self.shared.router);
        let failure = group.failure.lock().clone();
        let counts = match &session {
            Some(session) => Ok(session.books.lock().counts()),
            None => {
                let (owned, shards, terms) = (name.to_owned(), Shards::of(&self.shared.router), Arc::clone(&terms));
                let stored = self.shared.in_store(name, move |store| store.load(&owned, shards)).await;
                stored.map(|progress| Books::new(terms, progress).counts())
            }
        };
        let error = failure.filter(|_| session.is_none()).or_else(|| counts.as_ref().err().cloned());
        let readable = counts.is_ok();
        let counts = counts.unwrap_or_else(|_| Counts::default());
        let state = match (&error, counts.is_blocked, counts.consumers) {
            (Some(_), _, _) => GroupState::Failed,
            (None, true, _) => GroupState::Blocked,
            (None, false, 0) => GroupState::Idle,
            (None, false, _) => GroupState::Active,
        };
        let checkpoint = Cursor::of(&self.shared.router, counts.checkpoints.iter().copied().map(factum_storage::Position::new).collect());
        let lag = head.positions().iter().zip(&counts.checkpoints).map(|(head, at)| head.get().saturating_sub(*at)).sum();
        Ok(GroupStatus {
            name: name.to_owned(),
            state,
            error: error.map(|error| error.to_string()),
            checkpoint: readable.then_some(checkpoint),
            head,
            lag,
            in_flight: counts.in_flight,
            parked: counts.parked,
            retrying: counts.retrying,
            held_back: counts.held_back,
            consumers: counts.consumers,
            terms,
        })
    }
}
