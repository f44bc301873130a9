//! How does one call run in the engine? In a runtime of its module, on a fresh instance, within a budget.

use std::rc::Rc;

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

use super::Kind;
use super::Module;
use super::Options;
use super::ScriptError;
use super::budget::Budget;
use super::job::Answer;
use super::job::Work;
use super::report::caught;
use super::report::died;
use super::report::out_of_time;
use super::report::progress;
use super::report::told;
use super::report::unshifted;

const REALM: &str = include_str!("realm.js");
const DRIVER: &str = include_str!("driver.js");
const PROJECT: &str = include_str!("project.js");

/// What old instances may hold of a runtime before it is made anew, and how many of them there may be.
const LEFTOVER_BYTES_MAX: i64 = 16 << 20;
const INSTANCES_MAX: i64 = 1_024;
/// The same where a factory makes them, for a module that takes no more than so much.
const INSTANCES_MADE_MAX: i64 = 16_384;
const SMALL_BYTES: i64 = 256 << 10;

/// What stopped a step: the engine, or something that was found out.
pub(super) enum Failure {
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

/// A runtime that serves one module.
pub(super) struct Realm {
    ready: Option<Persistent<Object<'static>>>,
    /// Both are there until the end; [`Drop`] needs them to go before the runtime does.
    driver: Option<Persistent<Object<'static>>>,
    context: Option<Context>,
    runtime: Runtime,
    budget: Rc<Budget>,
    pub(super) options: Options,
    /// How many instances were made, how many are enough, and what the first one takes.
    instances: i64,
    instances_max: i64,
    /// Makes an instance at less cost than evaluating the module again; some modules have none.
    factory: Option<Persistent<Function<'static>>>,
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
            driver: Some(driver),
            context: Some(context),
            runtime,
            budget,
            options: options.clone(),
            instances: 0,
            instances_max: INSTANCES_MAX,
            factory: None,
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
            Work::Project(call) => self.project(module, call).map(Answer::Projected),
            #[cfg(test)]
            // Without the hook: writing a backtrace can take longer than the time that a call has.
            Work::Panic => std::panic::resume_unwind(Box::new("as the test wants it")),
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

    /// Makes an instance: by the factory, or where there is none by evaluating the module once more.
    fn prepare(&mut self, module: &Module) -> Result<(), ScriptError> {
        let is_first = self.instances == 0;
        let before = if is_first { self.runtime.memory_usage().malloc_size } else { 0 };
        self.instances += 1;
        let (limit, known) = (self.options.output_bytes_max, self.factory.clone());
        let (instance, factory) = self.enter(module, |ctx, driver| {
            let mut factory = known.map(|factory| factory.restore(ctx)).transpose()?;
            let mut namespace = None;
            if factory.is_none() {
                let evaluated = evaluate(ctx, module.name(), module.text())?;
                // From the first instance on all come the same way, so that not even the text of a stack trace tells them apart.
                factory = if is_first { compiled(ctx, module, &evaluated)? } else { None };
                namespace = Some(evaluated);
            }
            if let Some(make) = &factory {
                namespace = Some(make.call(())?);
            }
            let instance = prepared(module, driver, namespace.ok_or(rquickjs::Error::Unknown)?, limit)?;
            Ok((Persistent::save(ctx, instance), factory.map(|factory| Persistent::save(ctx, factory))))
        })?;
        self.ready = Some(instance);
        self.factory = factory;
        if is_first {
            let taken = self.runtime.memory_usage().malloc_size - before;
            // What a factory made can be freed, what was evaluated stays.
            let most = if self.factory.is_some() && taken < SMALL_BYTES { INSTANCES_MADE_MAX } else { LEFTOVER_BYTES_MAX / taken.max(1) };
            self.instances_max = most.clamp(1, if self.factory.is_some() { INSTANCES_MADE_MAX } else { INSTANCES_MAX });
        }
        Ok(())
    }

    /// Calls a function of the driver with a fresh instance in front of `given`.
    pub(super) fn with_instance<R>(
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
        let saved = self.driver.clone().expect("there until the drop");
        let context = self.context.as_ref().expect("there until the drop");
        let result = context.with(|ctx| {
            let driver = saved.restore(&ctx).map_err(|error| died(module, &error))?;
            budget.arm();
            let result = run(&ctx, &driver);
            let is_spent = budget.disarm();
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
}

impl Drop for Realm {
    /// The engine ends the process when it frees a runtime in which objects are left over, and it loses hold of some when memory runs
    /// out at a bad moment. Such a runtime is left alone: what it still holds is small, since all that can be reached was freed.
    fn drop(&mut self) {
        self.ready = None;
        self.factory = None;
        self.driver = None;
        self.context = None;
        self.runtime.run_gc();
        let left = self.runtime.memory_usage();
        if left.obj_count + left.shape_count + left.js_func_count > 0 {
            tracing::debug!(objects = left.obj_count, bytes = left.malloc_size, "a runtime for scripts could not be freed");
            std::mem::forget(self.runtime.clone());
        }
    }
}

/// Freezes the globals and makes the driver.
fn harden<'js>(ctx: &Ctx<'js>) -> rquickjs::Result<Persistent<Object<'static>>> {
    let realm: Object<'js> = ctx.eval(REALM)?;
    let make: Function<'js> = ctx.eval(DRIVER)?;
    let project: Function<'js> = ctx.eval(PROJECT)?;
    let driver: Object<'js> = make.call((realm, project))?;
    Ok(Persistent::save(ctx, driver))
}

/// Parses and runs a module, and gives its exports.
fn evaluate<'js>(ctx: &Ctx<'js>, name: &str, text: String) -> Result<Object<'js>, Failure> {
    let declared = match rquickjs::Module::declare(ctx.clone(), name, text) {
        Ok(declared) => declared,
        Err(rquickjs::Error::InvalidString(_)) => {
            return Err(ScriptError::new(Kind::Syntax, name, "the source holds a NUL character").into());
        }
        Err(error) => return Err(Failure::Source(error)),
    };
    let (evaluated, promise) = declared.eval()?;
    match promise.state() {
        PromiseState::Resolved => Ok(evaluated.namespace()?),
        PromiseState::Rejected => Err(promise.result::<()>().and_then(Result::err).unwrap_or(rquickjs::Error::Unknown).into()),
        PromiseState::Pending => Err(ScriptError::new(Kind::Definition, name, "a module must not await anything").into()),
    }
}

/// What the driver works on.
fn prepared<'js>(module: &Module, driver: &Object<'js>, namespace: Object<'js>, limit: usize) -> Result<Object<'js>, Failure> {
    Ok(step(module, driver, "prepare", (namespace, module.is_function(), limit))?.get("instance")?)
}

/// The factory of a module whose exports are known, if it has one.
fn compiled<'js>(ctx: &Ctx<'js>, module: &Module, namespace: &Object<'js>) -> Result<Option<Function<'js>>, Failure> {
    let names = namespace.keys::<String>().collect::<rquickjs::Result<Vec<String>>>()?;
    let Some(factory) = module.factory(&names) else { return Ok(None) };
    for probe in factory.probes {
        if rquickjs::Module::declare(ctx.clone(), module.name(), probe).is_ok() {
            return Ok(None);
        }
        ctx.catch();
    }
    match evaluate(ctx, module.name(), factory.text) {
        Ok(made) => Ok(Some(made.get("default")?)),
        Err(Failure::Source(_)) => {
            ctx.catch();
            Ok(None)
        }
        Err(other) => Err(other),
    }
}

/// Calls a function of the driver; what it says that went wrong becomes the error.
pub(super) fn step<'js>(module: &Module, driver: &Object<'js>, name: &str, given: impl IntoArgs<'js>) -> Result<Object<'js>, Failure> {
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
