//! How does one call run in the engine? In a runtime of its module, on a fresh instance, within a budget.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Instant;

use bytes::Bytes;
use rquickjs::CatchResultExt as _;
use rquickjs::Context;
use rquickjs::Ctx;
use rquickjs::Function;
use rquickjs::Object;
use rquickjs::Persistent;
use rquickjs::Runtime;
use rquickjs::context::intrinsic;
use rquickjs::function::IntoArgs;
use rquickjs::promise::PromiseState;

use super::Decision;
use super::Exports;
use super::Folded;
use super::Kind;
use super::Module;
use super::Options;
use super::ScriptError;
use super::job::Answer;
use super::job::Work;

const REALM: &str = include_str!("realm.js");
const DRIVER: &str = include_str!("driver.js");

/// What old instances may hold of a runtime before it is made anew, and how many of them there may be.
const LEFTOVER_BYTES_MAX: i64 = 16 << 20;
const INSTANCES_MAX: i64 = 1_024;

/// How long a call may still go on; the engine asks now and then.
struct Budget {
    deadline: Cell<Instant>,
    interrupts_left: Cell<u64>,
    /// Stays so until the next call: code that swallowed one interrupt meets the next.
    is_spent: Cell<bool>,
    /// Only while code of a module may run.
    is_armed: Cell<bool>,
}

impl Budget {
    fn new() -> Self {
        Self { deadline: Cell::new(Instant::now()), interrupts_left: Cell::new(0), is_spent: Cell::new(false), is_armed: Cell::new(false) }
    }

    fn renew(&self, options: &Options) {
        self.deadline.set(Instant::now() + options.wall);
        self.interrupts_left.set(options.interrupts_max);
        self.is_spent.set(false);
    }

    fn has_run_out(&self) -> bool {
        if !self.is_armed.get() {
            return false;
        }
        let left = self.interrupts_left.get();
        self.interrupts_left.set(left.saturating_sub(1));
        if left == 0 || Instant::now() > self.deadline.get() {
            self.is_spent.set(true);
        }
        self.is_spent.get()
    }
}

/// What stopped a step: the engine, or something that was found out.
enum Failure {
    Engine(rquickjs::Error),
    /// The engine could not read the source.
    Source(rquickjs::Error),
    Script(ScriptError),
}

impl From<rquickjs::Error> for Failure {
    fn from(error: rquickjs::Error) -> Self {
        Self::Engine(error)
    }
}

impl From<ScriptError> for Failure {
    fn from(error: ScriptError) -> Self {
        Self::Script(error)
    }
}

/// A runtime that serves one module. What refers to the runtime stands before it, so that it is dropped first.
pub(super) struct Realm {
    ready: Option<Persistent<Object<'static>>>,
    driver: Persistent<Object<'static>>,
    context: Context,
    runtime: Runtime,
    budget: Rc<Budget>,
    options: Options,
    /// How many instances were made, how many are enough, and what the first one takes.
    instances: i64,
    instances_max: i64,
    is_broken: bool,
}

impl Realm {
    /// A runtime whose globals are frozen.
    pub(super) fn new(options: &Options) -> Result<Self, String> {
        let told = |error: rquickjs::Error| error.to_string();
        let runtime = Runtime::new().map_err(told)?;
        runtime.set_max_stack_size(options.stack_bytes);
        let budget = Rc::new(Budget::new());
        let asked = Rc::clone(&budget);
        runtime.set_interrupt_handler(Some(Box::new(move || asked.has_run_out())));
        let context = Context::builder()
            .with::<intrinsic::Date>()
            .with::<intrinsic::Eval>()
            .with::<intrinsic::RegExpCompiler>()
            .with::<intrinsic::RegExp>()
            .with::<intrinsic::Json>()
            .with::<intrinsic::MapSet>()
            .with::<intrinsic::Promise>()
            .build(&runtime)
            .map_err(told)?;
        let driver = context.with(|ctx| harden(&ctx).catch(&ctx).map_err(|error| error.to_string()))?;
        let mut realm = Self {
            ready: None,
            driver,
            context,
            runtime,
            budget,
            options: options.clone(),
            instances: 0,
            instances_max: INSTANCES_MAX,
            is_broken: false,
        };
        realm.runtime.run_gc();
        realm.limit_memory();
        Ok(realm)
    }

    /// Whether a call was made here before.
    pub(super) fn was_used(&self) -> bool {
        self.instances > 0
    }

    /// Whether the next call needs a new runtime.
    pub(super) fn is_worn(&self) -> bool {
        self.is_broken || (self.ready.is_none() && self.instances >= self.instances_max)
    }

    /// From now on, so much more than there is now may be allocated.
    fn limit_memory(&mut self) -> i64 {
        let used = self.runtime.memory_usage().malloc_size;
        let limit = usize::try_from(used).unwrap_or(0).saturating_add(self.options.memory_bytes);
        self.runtime.set_memory_limit(limit);
        used
    }

    /// Runs one call.
    pub(super) fn call(&mut self, module: &Module, work: &Work) -> Result<Answer, ScriptError> {
        self.budget.renew(&self.options);
        if self.ready.is_none() {
            self.prepare(module)?;
        }
        match work {
            Work::Inspect => self.inspect(module).map(Answer::Inspected),
            Work::Fold { state, events, every_step } => self.fold(module, state.as_ref(), events, *every_step).map(Answer::Folded),
            Work::Decide { command, state, input } => self.decide(module, command, state.as_ref(), input).map(Answer::Decided),
            Work::Map { items } => self.map(module, items).map(Answer::Mapped),
            #[cfg(test)]
            Work::Panic => panic!("as the test wants it"),
            #[cfg(test)]
            Work::Hang(until) => {
                until.lock().recv().expect_err("the other side only goes away");
                self.inspect(module).map(Answer::Inspected)
            }
        }
    }

    /// Makes the instance for the next call. A failure is not kept: the call would meet it too, and has someone to tell.
    pub(super) fn prepare_ahead(&mut self, module: &Module) {
        if self.ready.is_none() && self.instances < self.instances_max {
            self.budget.renew(&self.options);
            if self.prepare(module).is_err() {
                self.is_broken = true;
            }
        }
    }

    /// Evaluates the module once more.
    fn prepare(&mut self, module: &Module) -> Result<(), ScriptError> {
        let is_first = self.instances == 0;
        let before = if is_first { self.runtime.memory_usage().malloc_size } else { 0 };
        self.instances += 1;
        let (is_function, limit) = (module.is_function(), self.options.output_bytes_max);
        let instance = self.enter(module, |ctx, driver| {
            let namespace = evaluate(ctx, module)?;
            let prepared = step(module, driver, "prepare", (namespace, is_function, limit))?;
            let instance: Object = prepared.get("instance")?;
            Ok(Persistent::save(ctx, instance))
        })?;
        self.ready = Some(instance);
        if is_first {
            let taken = self.runtime.memory_usage().malloc_size - before;
            self.instances_max = (LEFTOVER_BYTES_MAX / taken.max(1)).clamp(1, INSTANCES_MAX);
        }
        Ok(())
    }

    /// Calls a function of the driver with a fresh instance in front of `given`.
    fn with_instance<R>(
        &mut self,
        module: &Module,
        run: impl for<'js> FnOnce(&Object<'js>, Object<'js>) -> Result<R, Failure>,
    ) -> Result<R, ScriptError> {
        if self.ready.is_none() {
            self.prepare(module)?;
        }
        let ready = self.ready.take();
        self.enter(module, |ctx, driver| {
            let instance = ready.ok_or(rquickjs::Error::Unknown)?.restore(ctx)?;
            run(driver, instance)
        })
    }

    /// Lets code of the module run, and says what stopped it.
    fn enter<R>(
        &mut self,
        module: &Module,
        run: impl for<'js> FnOnce(&Ctx<'js>, &Object<'js>) -> Result<R, Failure>,
    ) -> Result<R, ScriptError> {
        let (budget, options) = (&self.budget, &self.options);
        let saved = self.driver.clone();
        let result = self.context.with(|ctx| {
            let driver = saved.restore(&ctx).map_err(|error| died(module, &error))?;
            budget.is_armed.set(true);
            let result = run(&ctx, &driver);
            budget.is_armed.set(false);
            let is_spent = budget.is_spent.get();
            match result {
                Ok(result) if !is_spent => Ok(result),
                Ok(_) => Err(out_of_time(module, options)),
                Err(Failure::Script(error)) if !is_spent => Err(error),
                Err(Failure::Script(_)) => Err(out_of_time(module, options)),
                Err(Failure::Source(error)) => {
                    let told = caught(&ctx, &driver, module, &error);
                    Err(if told.kind == Kind::Threw { ScriptError { kind: Kind::Syntax, ..told } } else { told })
                }
                Err(Failure::Engine(error)) => {
                    let mut told = caught(&ctx, &driver, module, &error);
                    if is_spent {
                        told = ScriptError { kind: Kind::Time, message: out_of_time(module, options).message, ..told };
                    }
                    told.at = progress(&driver);
                    Err(told)
                }
            }
        });
        let left_job = self.runtime.is_job_pending();
        self.is_broken |=
            left_job || matches!(&result, Err(error) if matches!(error.kind, Kind::Time | Kind::Memory | Kind::Stack | Kind::Died));
        if left_job && result.is_ok() {
            return Err(ScriptError::new(Kind::Output, module.name(), "left a Promise behind: nothing may be async"));
        }
        result.map_err(|error| unshifted(error, module))
    }

    fn inspect(&mut self, module: &Module) -> Result<Exports, ScriptError> {
        self.with_instance(module, |driver, instance| {
            let seen = step(module, driver, "inspect", (instance,))?;
            let initial: Option<String> = seen.get("initial")?;
            let snapshot_every: Option<f64> = seen.get("snapshotEvery")?;
            Ok(Exports {
                initial: initial.map(Bytes::from),
                snapshot_every: snapshot_every.and_then(|every| format!("{every}").parse().ok()),
                evolve: seen.get("evolve")?,
                decide: seen.get("decide")?,
            })
        })
    }

    fn fold(&mut self, module: &Module, state: Option<&Bytes>, events: &[Bytes], every_step: bool) -> Result<Folded, ScriptError> {
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

    fn decide(&mut self, module: &Module, command: &str, state: Option<&Bytes>, input: &Bytes) -> Result<Decision, ScriptError> {
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

    fn map(&mut self, module: &Module, items: &[(Bytes, Bytes)]) -> Result<Vec<Result<Bytes, ScriptError>>, ScriptError> {
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

/// Freezes the globals and makes the driver.
fn harden<'js>(ctx: &Ctx<'js>) -> rquickjs::Result<Persistent<Object<'static>>> {
    let realm: Object<'js> = ctx.eval(REALM)?;
    let make: Function<'js> = ctx.eval(DRIVER)?;
    let driver: Object<'js> = make.call((realm,))?;
    Ok(Persistent::save(ctx, driver))
}

/// Parses and runs the module, and gives its exports.
fn evaluate<'js>(ctx: &Ctx<'js>, module: &Module) -> Result<Object<'js>, Failure> {
    let declared = match rquickjs::Module::declare(ctx.clone(), module.name(), module.text()) {
        Ok(declared) => declared,
        Err(rquickjs::Error::InvalidString(_)) => {
            return Err(ScriptError::new(Kind::Syntax, module.name(), "the source holds a NUL character").into());
        }
        Err(error) => return Err(Failure::Source(error)),
    };
    let (evaluated, promise) = declared.eval()?;
    match promise.state() {
        PromiseState::Resolved => Ok(evaluated.namespace()?),
        PromiseState::Rejected => Err(promise.result::<()>().and_then(Result::err).unwrap_or(rquickjs::Error::Unknown).into()),
        PromiseState::Pending => Err(ScriptError::new(Kind::Definition, module.name(), "a module must not await anything").into()),
    }
}

/// Calls a function of the driver; what it says that went wrong becomes the error.
fn step<'js>(module: &Module, driver: &Object<'js>, name: &str, given: impl IntoArgs<'js>) -> Result<Object<'js>, Failure> {
    let function: Function = driver.get(name)?;
    let done: Object = function.call(given)?;
    match done.get::<_, Option<Object>>("fault")? {
        None => Ok(done),
        Some(fault) => {
            let at = progress(driver);
            Err(ScriptError { at, ..told(module, &fault)? }.into())
        }
    }
}

/// The event or item that the driver is at.
fn progress(driver: &Object<'_>) -> Option<usize> {
    let progress: Object = driver.get("progress").ok()?;
    progress.get::<_, i64>("at").ok().and_then(|at| usize::try_from(at).ok())
}

/// What the driver says about something that was thrown.
fn told(module: &Module, fault: &Object<'_>) -> rquickjs::Result<ScriptError> {
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
fn caught<'js>(ctx: &Ctx<'js>, driver: &Object<'js>, module: &Module, error: &rquickjs::Error) -> ScriptError {
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

fn died(module: &Module, error: &rquickjs::Error) -> ScriptError {
    ScriptError::new(Kind::Died, module.name(), format!("the engine failed: {error}"))
}

fn out_of_time(module: &Module, options: &Options) -> ScriptError {
    ScriptError::new(Kind::Time, module.name(), format!("the call took longer than {} ms", options.wall.as_millis()))
}

fn impure(module: &Module, at: usize) -> ScriptError {
    let message = "keeps something between calls: the same input gave another result in a fresh instance of the module";
    ScriptError { at: Some(at), ..ScriptError::new(Kind::Impure, module.name(), message) }
}

/// The place as the author counts: without what stands before a function.
fn unshifted(mut error: ScriptError, module: &Module) -> ScriptError {
    if error.line == Some(1) {
        error.column = error.column.map(|column| column.saturating_sub(module.shift()).max(1));
    }
    error
}

fn text_of(module: &Module, bytes: &Bytes) -> Result<String, ScriptError> {
    String::from_utf8(bytes.to_vec()).map_err(|_| ScriptError::new(Kind::Output, module.name(), "what was given is not UTF-8"))
}

fn state_text(module: &Module, state: Option<&Bytes>) -> Result<Option<String>, ScriptError> {
    state.map(|state| text_of(module, state)).transpose()
}

/// The JSON texts of `rows` as one list: of themselves where a row has one, of lists where it has more.
fn joined<'a, const WIDTH: usize>(module: &Module, rows: impl Iterator<Item = [&'a Bytes; WIDTH]>) -> Result<String, ScriptError> {
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
