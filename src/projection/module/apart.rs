//! When is a module asked about two lots of events at the same time? As long as each event changes no row but that of its own stream: what
//! the events of one lane do, those of the other can't see, so they may be taken side by side, and come to the same.

use bytes::Bytes;

use super::Calls;
use super::Change;
use super::Fault;
use super::Projected;
use super::Projecting;
use super::Value;
use super::Working;
use super::Writer;
use super::habit::Asked;
use super::habit::lane;
use super::named;
use super::operation;
use super::operation::Told;

impl Calls<'_> {
    /// Asks about the next events in two lanes, by the rows of their streams. `false` if they are to be asked about together: nothing was
    /// taken of what was told then.
    pub(super) async fn run_apart(&mut self, working: &mut Working, writer: &mut dyn Writer) -> Result<bool, Fault> {
        let is_plain = self.wanted.is_empty() && self.wanted_elsewhere.is_empty() && self.alone != Some(self.next);
        if !is_plain || !self.habit.may_go_apart() {
            return Ok(false);
        }
        let behind = self.events.get(self.next..).unwrap_or_default();
        let asked: Vec<Asked> = behind.iter().take(self.count * 2).map_while(Option::clone).collect();
        let lanes: Option<Vec<usize>> = asked.iter().map(|asked| asked.own_key.as_ref().map(lane)).collect();
        let Some(lanes) = lanes.filter(|_| asked.len() >= EVENTS_MIN) else { return Ok(false) };
        let calls = [0, 1].map(|own| {
            let events = || asked.iter().zip(&lanes).filter(move |(_, lane)| **lane == own).map(|(asked, _)| asked);
            self.call_of_own(working, events().cloned().collect())
        });
        let (one, other) = {
            let [one, other] = calls;
            futures::join!(self.sandbox.project(self.module, one), self.sandbox.project(self.module, other))
        };
        let told = one.and_then(|one| Ok([one, other?])).ok();
        let changes = told.and_then(|told| merged(working, &lanes, told));
        self.habit.went_apart(changes.is_some());
        let Some(changes) = changes else { return Ok(false) };
        self.ahead.extend(changes);
        self.load_changed(working, writer).await?;
        Ok(true)
    }

    /// A call about some events, which is told the rows of their streams and no others.
    fn call_of_own(&mut self, working: &Working, asked: Vec<Asked>) -> Projecting {
        let mut told = Told::new(working.columns());
        told.push_own(working, asked.iter().filter_map(|asked| asked.own_key.as_ref()));
        let events = asked.into_iter().map(|asked| asked.text).collect();
        Projecting { events, rows: told.into_text(), lookups: Bytes::from_static(b"{}"), view: self.shape(working) }
    }
}

/// What the events do, in their order. `None` if some are not done, or change rows that the other lane may have looked at.
fn merged(working: &Working, lanes: &[usize], told: [Projected; 2]) -> Option<Vec<Vec<Change>>> {
    let is_done =
        |own: usize, told: &Projected| told.stop.is_none() && told.operations.len() == lanes.iter().filter(|lane| **lane == own).count();
    let [one, other] = told;
    if !is_done(0, &one) || !is_done(1, &other) {
        return None;
    }
    let mut operations = [one.operations.into_iter(), other.operations.into_iter()];
    let mut all = Vec::with_capacity(lanes.len());
    for own in lanes {
        let changes = operation::changes(working.columns(), &operations.get_mut(*own)?.next()?).ok()?;
        let stays = |key: Option<&Value>| key.is_some_and(|key| lane(key) == *own);
        if !changes.iter().all(|change| stays(named(change))) {
            return None;
        }
        all.push(changes);
    }
    Some(all)
}

/// Fewer are not worth a second call.
const EVENTS_MIN: usize = 64;
