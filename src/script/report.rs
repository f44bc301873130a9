//! What is an author told about a failure? Its sort, its words and its place, made from what the driver or the engine says.

use rquickjs::Ctx;
use rquickjs::Function;
use rquickjs::Object;

use super::Kind;
use super::Module;
use super::Options;
use super::ScriptError;

/// The event or item that the driver is at.
pub(super) fn progress(driver: &Object<'_>) -> Option<usize> {
    let progress: Object = driver.get("progress").ok()?;
    progress.get::<_, i64>("at").ok().and_then(|at| usize::try_from(at).ok())
}

/// What the driver says about something that was thrown.
pub(super) fn told(module: &Module, fault: &Object<'_>) -> rquickjs::Result<ScriptError> {
    let mut message: String = fault.get("message")?;
    let kind = match fault.get::<_, String>("kind")?.as_str() {
        "definition" => Kind::Definition,
        "memory" => Kind::Memory,
        "stack" => Kind::Stack,
        "output" => Kind::Output,
        "missing" => Kind::Missing,
        "null" if !module.throws_null() => {
            "takes too much memory, or threw null".clone_into(&mut message);
            Kind::Memory
        }
        "null" | "threw" => Kind::Threw,
        other => return Err(rquickjs::Error::new_from_js_message("fault", "kind", other)),
    };
    if let Some(unknown) = fault.get::<_, Option<String>>("unknown")? {
        let known: Vec<String> = fault.get("known")?;
        message.push_str(&suggestion(&unknown, &known));
    }
    Ok(ScriptError::new(kind, module.name(), message).placed(&fault.get::<_, String>("stack")?))
}

fn suggestion(unknown: &str, known: &[String]) -> String {
    let near = known.iter().map(|name| (strsim::damerau_levenshtein(unknown, name), name)).min();
    match near {
        Some((distance, name)) if distance <= 2.max(unknown.chars().count() / 3) => format!("; did you mean {name}?"),
        _ if known.is_empty() => "; there are none".to_owned(),
        _ => format!("; there are {}", known.join(", ")),
    }
}

/// What the engine says about an exception that nothing caught.
pub(super) fn caught<'js>(ctx: &Ctx<'js>, driver: &Object<'js>, module: &Module, error: &rquickjs::Error) -> ScriptError {
    if !matches!(error, rquickjs::Error::Exception) {
        return died(module, error);
    }
    let thrown = ctx.catch();
    let fault = driver.get::<_, Function>("describe").and_then(|describe| describe.call::<_, Object>((thrown,)));
    match fault.and_then(|fault| told(module, &fault)) {
        Ok(error) if error.message.contains("could not load module") => {
            ScriptError { kind: Kind::Definition, message: "a module cannot import anything".to_owned(), ..error }
        }
        Ok(error) => error,
        Err(error) => died(module, &error),
    }
}

pub(super) fn died(module: &Module, error: &rquickjs::Error) -> ScriptError {
    ScriptError::new(Kind::Died, module.name(), format!("the engine failed: {error}"))
}

pub(super) fn out_of_time(module: &Module, options: &Options) -> ScriptError {
    ScriptError::new(Kind::Time, module.name(), format!("the call took longer than {} ms", options.wall.as_millis()))
}

pub(super) fn impure(module: &Module, at: usize) -> ScriptError {
    let message = "keeps something between calls: the same input gave another result in a fresh instance of the module";
    ScriptError { at: Some(at), ..ScriptError::new(Kind::Impure, module.name(), message) }
}

/// The place as the author counts: without what stands before a function.
pub(super) fn unshifted(mut error: ScriptError, module: &Module) -> ScriptError {
    if error.line == Some(1) {
        error.column = error.column.map(|column| column.saturating_sub(module.shift()).max(1));
    }
    error
}
