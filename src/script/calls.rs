//! What does each sort of call hand to the driver, and what does it make of the answer?

use bytes::Bytes;
use rquickjs::Object;

use super::Decision;
use super::Exports;
use super::Folded;
use super::Kind;
use super::Module;
use super::ScriptError;
use super::realm::Failure;
use super::realm::Realm;
use super::realm::step;
use super::report::impure;
use super::report::told;
use super::report::unshifted;

impl Realm {
    pub(super) fn inspect(&mut self, module: &Module) -> Result<Exports, ScriptError> {
        self.with_instance(module, |driver, instance| {
            let seen = step(module, driver, "inspect", (instance,))?;
            let initial: Option<String> = seen.get("initial")?;
            let snapshot_every: Option<f64> = seen.get("snapshotEvery")?;
            Ok(Exports {
                initial: initial.map(Bytes::from),
                snapshot_every: snapshot_every.and_then(|every| format!("{every}").parse().ok()),
                evolve: seen.get("evolve")?,
                decide: seen.get("decide")?,
                project: seen.get("project")?,
            })
        })
    }

    pub(super) fn fold(
        &mut self,
        module: &Module,
        state: Option<&Bytes>,
        events: &[Bytes],
        every_step: bool,
    ) -> Result<Folded, ScriptError> {
        let limit = self.options.output_bytes_max;
        let (given, list) = (state_text(module, state)?, joined(module, events.iter().map(|event| [event]))?);
        let (folded, again) = self.with_instance(module, |driver, instance| {
            let done = step(module, driver, "fold", (instance, given, list, events.len(), every_step, limit))?;
            let text: String = done.get("text")?;
            let steps: Vec<String> = done.get("steps")?;
            let before: Option<String> = done.get("before")?;
            let last: usize = done.get("last")?;
            Ok(((text, steps), before.map(|before| (before, last))))
        })?;
        let (text, steps) = folded;
        if let Some((before, last)) = again {
            let event = joined(module, events.get(last).map(|event| [event]).into_iter())?;
            let expected: String = self
                .with_instance(module, |driver, instance| {
                    let done = step(module, driver, "fold", (instance, Some(before), event, 1, false, limit))?;
                    Ok(done.get("text")?)
                })
                .map_err(|error| if error.kind == Kind::Threw { impure(module, last) } else { error })?;
            // Events behind `last` have no handler, so the state after it is the final one.
            if expected != text {
                return Err(impure(module, last));
            }
        }
        if let Some(at) = steps.iter().chain([&text]).position(|text| text.len() > limit) {
            let error = ScriptError::new(Kind::Output, module.name(), "state is too large");
            return Err(ScriptError { at: Some(at.min(events.len().saturating_sub(1))), ..error });
        }
        Ok(Folded { state: Bytes::from(text), steps: steps.into_iter().map(Bytes::from).collect() })
    }

    pub(super) fn decide(&mut self, module: &Module, command: &str, state: Option<&Bytes>, input: &Bytes) -> Result<Decision, ScriptError> {
        let limit = self.options.output_bytes_max;
        let (state, input) = (state_text(module, state)?, text_of(module, input)?);
        let decision = self.with_instance(module, |driver, instance| {
            let done = step(module, driver, "decide", (instance, command, state, input, limit))?;
            let events: Option<Vec<String>> = done.get("events")?;
            match events {
                Some(events) => Ok(Decision::Events(events.into_iter().map(Bytes::from).collect())),
                None => Ok(Decision::Rejected { code: done.get("code")?, message: done.get("message")? }),
            }
        })?;
        if matches!(&decision, Decision::Events(events) if events.iter().map(Bytes::len).sum::<usize>() > limit) {
            return Err(ScriptError::new(Kind::Output, module.name(), format!("decide.{command} is too large")));
        }
        Ok(decision)
    }

    pub(super) fn map(&mut self, module: &Module, items: &[(Bytes, Bytes)]) -> Result<Vec<Result<Bytes, ScriptError>>, ScriptError> {
        let mut mapped = self.mapped(module, items)?;
        let last = mapped.iter().rposition(Result::is_ok).filter(|last| *last > 0);
        if let Some((last, item)) = last.and_then(|last| Some((last, items.get(last..=last)?))) {
            let again = self.mapped(module, item)?;
            if again.first().and_then(|again| again.as_ref().ok()) != mapped.get(last).and_then(|first| first.as_ref().ok()) {
                return Err(impure(module, last));
            }
        }
        for (at, text) in mapped.iter_mut().enumerate() {
            if matches!(text, Ok(text) if text.len() > self.options.output_bytes_max) {
                let error = ScriptError::new(Kind::Output, module.name(), "data is too large");
                *text = Err(ScriptError { at: Some(at), ..error });
            }
        }
        Ok(mapped)
    }

    fn mapped(&mut self, module: &Module, items: &[(Bytes, Bytes)]) -> Result<Vec<Result<Bytes, ScriptError>>, ScriptError> {
        let limit = self.options.output_bytes_max;
        let list = joined(module, items.iter().map(|(data, event)| [data, event]))?;
        self.with_instance(module, |driver, instance| {
            let done = step(module, driver, "map", (instance, list, items.len(), limit))?;
            let texts: Vec<Option<String>> = done.get("texts")?;
            let faults: Object = done.get("faults")?;
            let each = texts.into_iter().enumerate().map(|(at, text)| match text {
                Some(text) => Ok(Ok(Bytes::from(text))),
                None => {
                    let fault: Object = faults.get(u32::try_from(at).map_err(|_| rquickjs::Error::Unknown)?)?;
                    let error = told(module, &fault)?;
                    Ok(Err(unshifted(ScriptError { at: Some(at), ..error }, module)))
                }
            });
            each.collect::<Result<_, Failure>>()
        })
    }
}

pub(super) fn text_of(module: &Module, bytes: &Bytes) -> Result<String, ScriptError> {
    String::from_utf8(bytes.to_vec()).map_err(|_| ScriptError::new(Kind::Output, module.name(), "what was given is not UTF-8"))
}

fn state_text(module: &Module, state: Option<&Bytes>) -> Result<Option<String>, ScriptError> {
    state.map(|state| text_of(module, state)).transpose()
}

/// The JSON texts of `rows` as one list: of themselves where a row has one, of lists where it has more.
pub(super) fn joined<'a, const WIDTH: usize>(
    module: &Module,
    rows: impl Iterator<Item = [&'a Bytes; WIDTH]>,
) -> Result<String, ScriptError> {
    let mut text = Vec::new();
    for row in rows {
        text.push(if text.is_empty() { b'[' } else { b',' });
        let list = row.map(|cell| cell.as_ref()).join(&b","[..]);
        if WIDTH > 1 {
            text.push(b'[');
        }
        text.extend_from_slice(&list);
        if WIDTH > 1 {
            text.push(b']');
        }
    }
    if text.is_empty() {
        text.push(b'[');
    }
    text.push(b']');
    String::from_utf8(text).map_err(|_| ScriptError::new(Kind::Output, module.name(), "what was given is not UTF-8"))
}
