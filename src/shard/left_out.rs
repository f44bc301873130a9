//! What of an answer is missing, where somebody would rather have a part than none?

use std::collections::BTreeSet;
use std::sync::Arc;

use futures::future::join_all;
use parking_lot::Mutex;

use super::Handle;
use crate::Error;

/// The shards that could not be asked, of all reads that share it. Clones are the same.
///
/// Once a shard is left out of one read it is left out of the ones after it: they are parts of one answer.
#[derive(Clone, Debug, Default)]
pub struct LeftOut {
    shards: Arc<Mutex<BTreeSet<u16>>>,
}

impl LeftOut {
    /// Their numbers, ascending: none, and the answer is whole.
    #[must_use]
    pub fn shards(&self) -> Vec<u16> {
        self.shards.lock().iter().copied().collect()
    }

    pub(crate) fn holds(&self, shard: u16) -> bool {
        self.shards.lock().contains(&shard)
    }

    /// Whether an error says that a shard can't be asked; it is left out from here on.
    pub(crate) fn takes(&self, error: &Error) -> bool {
        let Error::ShardFailed { shard, .. } = error else { return false };
        self.shards.lock().insert(*shard);
        true
    }

    /// Leaves out those that are known to be missing.
    pub(crate) fn take_absent(&self, shards: &[Handle]) {
        for shard in shards {
            if let Err(error) = shard.check_open() {
                self.takes(&error);
            }
        }
    }
}

/// Asks shards side by side, and those that are left out not at all.
///
/// # Errors
///
/// What the shards say: first of all which of them is missing, as that may be why others can't tell something.
pub(crate) async fn ask_all<'a, T, F>(
    shards: &'a [Handle],
    left_out: Option<&LeftOut>,
    ask: impl Fn(&'a Handle) -> F,
) -> Result<Vec<(&'a Handle, T)>, Error>
where
    F: Future<Output = Result<T, Error>>,
{
    let asked: Vec<&Handle> = shards.iter().filter(|shard| left_out.is_none_or(|left_out| !left_out.holds(shard.number()))).collect();
    let answers = join_all(asked.iter().map(|shard| ask(shard))).await;
    let (mut given, mut failure) = (Vec::with_capacity(answers.len()), None);
    for (shard, answer) in asked.into_iter().zip(answers) {
        match answer {
            Ok(answer) => given.push((shard, answer)),
            Err(error) if left_out.is_some_and(|left_out| left_out.takes(&error)) => {}
            Err(error @ Error::ShardFailed { .. }) => return Err(error),
            Err(error) => failure = failure.or(Some(error)),
        }
    }
    failure.map_or(Ok(given), Err)
}
