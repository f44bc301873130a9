// Calls a module's functions and lets nothing but JSON in and out. Runs once in each runtime, in the context that realm.js froze.
(realm, projecting) => {
  "use strict";
  const { engineError, parse, stringify } = realm;
  const { getOwnPropertyDescriptor, getPrototypeOf, keys, prototype: plain } = Object;
  const { apply, ownKeys } = Reflect;
  const { isArray, prototype: list } = Array;
  const { isInteger } = Number;
  const { bind } = Function.prototype;
  const { __lookupGetter__: getterOf } = plain;
  const { isWellFormed, includes } = String.prototype;
  const call = apply(bind, Function.prototype.call, [Function.prototype.call]);
  const Rejected = Rejection;
  const errors = Error.prototype;
  const engineErrors = engineError.prototype;
  const natives = new Set([errors, engineErrors, Rejected.prototype, ...[AggregateError, EvalError, RangeError, ReferenceError, SyntaxError, TypeError, URIError]
    .map((each) => each.prototype)]);
  const DEPTH = 128;

  // What this file itself refuses; code of a module never gets hold of one.
  class Refusal {
    constructor(kind, message, unknown, known) {
      this.kind = kind;
      this.message = message;
      this.unknown = unknown;
      this.known = known;
    }
  }

  // The walk: what stands at each depth of the path, and how many characters may still come.
  const path = [];
  let root = "";
  let room = 0;
  const named = (depth) => {
    let text = root;
    for (let at = 0; at < depth; at += 1) {
      const step = path[at];
      text += typeof step === "number" ? `[${step}]` : /^[\p{L}_$][\p{L}\p{N}_$]*$/u.test(step) ? `.${step}` : `[${stringify(step)}]`;
      if (text.length > 200) return `${text.slice(0, 200)}...`;
    }
    return text;
  };
  const bad = (depth, what) => {
    throw new Refusal("output", `${named(depth)} ${what}`);
  };
  const className = (prototype) => {
    const made = getOwnPropertyDescriptor(prototype, "constructor");
    const maker = made === undefined ? undefined : made.value;
    const name = typeof maker === "function" ? getOwnPropertyDescriptor(maker, "name") : undefined;
    return name !== undefined && typeof name.value === "string" && name.value !== "" ? `a ${name.value}` : "no plain object";
  };
  const spend = (amount) => {
    room -= amount;
    if (room < 0) throw new Refusal("output", `${root} is too large`);
  };

  // A copy of `value` that is JSON and belongs to nobody else.
  const clean = (value, depth) => {
    switch (typeof value) {
      case "string":
        spend(value.length + 2);
        return value;
      case "number":
        spend(1);
        if (value - value !== 0) bad(depth, `is ${value}, which JSON cannot say`);
        return value === 0 ? 0 : value;
      case "boolean":
        spend(4);
        return value;
      case "object":
        break;
      case "undefined":
        return bad(depth, "is undefined");
      default:
        return bad(depth, `is a ${typeof value}, which JSON cannot say`);
    }
    spend(2);
    if (value === null) return null;
    if (depth >= DEPTH) bad(0, `is more than ${DEPTH} levels deep, or contains itself`);
    const prototype = getPrototypeOf(value);
    if (isArray(value)) {
      if (prototype !== list) bad(depth, `is ${className(prototype ?? {})}, which JSON cannot say`);
      const length = value.length;
      const copy = [];
      for (let at = 0; at < length; at += 1) {
        path[depth] = at;
        copy[at] = clean(value[at], depth + 1);
      }
      return copy;
    }
    if (prototype !== plain && prototype !== null) {
      const advice = className(prototype);
      bad(depth, advice === "a Promise" ? "is a Promise: the function must not be async" : `is ${advice}, which JSON cannot say`);
    }
    const names = keys(value);
    const all = ownKeys(value);
    if (all.length !== names.length) odd(value, all, depth);
    const copy = {};
    const count = names.length;
    for (let at = 0; at < count; at += 1) {
      const name = names[at];
      if (getterOf.call(value, name) !== undefined && getOwnPropertyDescriptor(value, name).get !== undefined) {
        path[depth] = name;
        bad(depth + 1, "is computed by a getter, which JSON cannot say");
      }
      const item = value[name];
      const sort = typeof item;
      room -= name.length + 3;
      if (sort === "string") {
        room -= item.length + 2;
        copy[name] = item;
      } else if (sort === "number" && item - item === 0) {
        room -= 1;
        copy[name] = item === 0 ? 0 : item;
      } else if (item !== undefined) {
        path[depth] = name;
        copy[name] = clean(item, depth + 1);
      }
    }
    spend(0);
    return copy;
  };
  const odd = (value, all, depth) => {
    for (const name of all) {
      if (typeof name === "symbol") bad(depth, "has a symbol as a name, which JSON cannot say");
      if (!getOwnPropertyDescriptor(value, name).enumerable) {
        path[depth] = name;
        bad(depth + 1, "is not enumerable, which JSON cannot say");
      }
    }
  };
  // Half of a surrogate pair is text to JavaScript and none to the rest of the world.
  const formed = (value, depth) => {
    if (typeof value === "string" && !call(isWellFormed, value)) bad(depth, "is no well-formed text: it holds half of a surrogate pair");
    if (typeof value !== "object" || value === null) return;
    for (const name of keys(value)) {
      path[depth] = isArray(value) ? +name : name;
      if (!call(isWellFormed, name)) bad(depth, "has a name with half of a surrogate pair");
      formed(value[name], depth + 1);
    }
  };
  const written = (value) => {
    const text = stringify(value);
    if (call(includes, text, "\\ud")) formed(value, 0);
    return text;
  };

  // Text from outside. It was checked before it came here, so a failure is not the module's.
  const read = (text, what) => {
    try {
      return parse(text);
    } catch (thrown) {
      if (stackOverflow(thrown)) throw new Refusal("stack", `${what} is nested too deeply`);
      if (outOfMemory(thrown)) throw thrown;
      throw new Refusal("output", `${what} is not JSON`);
    }
  };

  const kindOf = (thrown) => (typeof thrown === "object" && thrown !== null ? getPrototypeOf(thrown) : null);
  const data = (object, name) => {
    for (let at = object, steps = 0; at !== null && steps < 32; at = getPrototypeOf(at), steps += 1) {
      const property = getOwnPropertyDescriptor(at, name);
      if (property !== undefined) {
        // Only the engine's own accessors: one of the module's would be code that runs here.
        return property.get !== undefined && natives.has(at) ? apply(property.get, object, []) : property.value;
      }
    }
    return undefined;
  };
  const stackOverflow = (thrown) => kindOf(thrown) === RangeError.prototype && data(thrown, "message") === "Maximum call stack size exceeded";
  // Without a message, there was no memory left for one.
  const outOfMemory = (thrown) => kindOf(thrown) === engineErrors && /^(?:|out of memory|string too long)$/.test(data(thrown, "message"));

  const wording = (thrown) => {
    switch (typeof thrown) {
      case "string":
        return thrown === "" ? "threw an empty text" : thrown;
      case "function":
        return "threw a function";
      case "symbol":
      case "number":
      case "boolean":
      case "undefined":
        return `threw ${String(thrown)}`;
      default:
    }
    if (thrown === null) return "threw null"; // Also what the engine throws when there is no memory left for an error.
    const message = data(thrown, "message");
    if (typeof message !== "string") return "threw an object without a message";
    const name = data(thrown, "name");
    if (typeof name !== "string" || name === "Error" || name === "") return message === "" ? "threw an Error without a message" : message;
    return message === "" ? name : `${name}: ${message}`;
  };
  const fault = (kind, message, stack, unknown, known) => ({ kind, message: message.slice(0, 2000).toWellFormed(), stack, unknown, known });
  const describe = (thrown) => {
    if (thrown instanceof Refusal) return fault(thrown.kind, thrown.message, "", thrown.unknown, thrown.known);
    const trace = typeof thrown === "object" && thrown !== null ? data(thrown, "stack") : undefined;
    const stack = typeof trace === "string" ? trace.slice(0, 4000).toWellFormed() : "";
    if (stackOverflow(thrown)) return fault("stack", "the calls are nested too deeply", stack);
    if (outOfMemory(thrown)) return fault("memory", "takes too much memory", stack);
    return fault(thrown === null ? "null" : "threw", wording(thrown), stack);
  };
  // The state of the walk must not outlive the call that it belongs to.
  const guarded = (work) => (...given) => {
    progress.at = -1;
    try {
      return work(...given);
    } catch (thrown) {
      return { fault: describe(thrown) };
    } finally {
      path.length = 0;
    }
  };
  const progress = { at: -1 };

  const wrong = (message, unknown, known) => {
    throw new Refusal("definition", message, unknown, known);
  };
  const handlers = (exported, name) => {
    const found = new Map();
    if (exported === undefined) return found;
    if (typeof exported !== "object" || exported === null || isArray(exported)) wrong(`${name} must be an object of functions`);
    for (const key of ownKeys(exported)) {
      if (typeof key === "symbol") wrong(`${name} has a symbol as a name`);
      const { value } = getOwnPropertyDescriptor(exported, key);
      if (typeof value !== "function") wrong(`${name}.${key} must be a function`);
      found.set(key, apply(bind, value, [exported]));
    }
    return found;
  };
  const EXPORTS = ["initial", "snapshotEvery", "evolve", "decide", "project"];

  // What the functions below work on, made from the namespace of a module that has just been evaluated.
  const aggregate = (namespace, limit) => {
    for (const name of keys(namespace)) {
      if (!call(list.includes, EXPORTS, name)) wrong(`${name} is no export that means something here`, name, EXPORTS);
    }
    const { initial, snapshotEvery, evolve, decide, project } = namespace;
    if (project !== undefined && typeof project !== "function") wrong("project must be a function");
    if (project !== undefined && keys(namespace).length > 1) wrong("a module that exports project exports nothing else");
    if (snapshotEvery !== undefined && (!isInteger(snapshotEvery) || snapshotEvery < 1 || snapshotEvery > 1000000)) {
      wrong("snapshotEvery must be a whole number from 1 to 1000000");
    }
    let text;
    if (initial !== undefined) {
      root = "initial";
      room = limit;
      try {
        text = written(clean(initial, 0));
      } catch (thrown) {
        if (thrown instanceof Refusal) wrong(thrown.message);
        throw thrown;
      }
    }
    return { initial: text, snapshotEvery, evolve: handlers(evolve, "evolve"), decide: handlers(decide, "decide"), project };
  };
  const single = (namespace) => {
    const upcast = namespace.default;
    if (typeof upcast !== "function" || keys(namespace).length !== 1) wrong("must be one function, such as (data, event) => data");
    return { upcast, evolve: new Map(), decide: new Map() };
  };

  const start = (instance, text) => (text === undefined ? parse(instance.initial ?? "{}") : read(text, "the state"));
  const evolved = (handler, state, event, limit) => {
    root = "state";
    room = limit;
    const next = handler(state, event);
    if (next === undefined) throw new Refusal("output", `evolve.${event.type} returned undefined instead of a state`);
    return clean(next, 0);
  };

  const tools = {
    describe, outOfMemory, parse, progress, read, Refusal, stringify,
    begin: (limit) => {
      room = limit;
    },
    // What may still come, after so much more.
    left: (amount) => (room -= amount),
    // A copy of a row, at less cost: undefined where it is not flat and plain, or has a name that is not of `names`. Between the check and
    // the copy no code of the module runs, since there are no proxies here.
    copiedFlat: (value, names) => {
      const own = keys(value);
      const prototype = getPrototypeOf(value);
      if ((prototype !== plain && prototype !== null) || ownKeys(value).length !== own.length) return undefined;
      let size = 2;
      for (let at = 0; at < own.length; at += 1) {
        const name = own[at];
        if (!names.has(name) || getterOf.call(value, name) !== undefined) return undefined;
        const item = value[name];
        size += name.length + 5;
        switch (typeof item) {
          case "string":
            size += item.length;
            break;
          case "number":
            if (item - item !== 0 || (item === 0 && 1 / item < 0)) return undefined;
            break;
          case "boolean":
            break;
          default:
            if (item !== null) return undefined;
        }
      }
      if (size > room) return undefined;
      room -= size;
      return { ...value };
    },
    copied: (value, what) => {
      root = what;
      return clean(value, 0);
    },
    isPromise: (value) => typeof value === "object" && value !== null && className(getPrototypeOf(value) ?? {}) === "a Promise",
    written: (value, what) => {
      root = what;
      return written(value);
    },
  };

  return {
    progress,
    describe,
    project: guarded(projecting(tools)),
    prepare: guarded((namespace, isFunction, limit) => ({ instance: isFunction ? single(namespace) : aggregate(namespace, limit) })),
    inspect: guarded(({ initial, snapshotEvery, evolve, decide, project }) =>
      ({ initial, snapshotEvery, evolve: [...evolve.keys()], decide: [...decide.keys()], project: project !== undefined })),
    // `before` is the state before the last event that has a handler, if another one came earlier, and `last` says which event that is.
    fold: guarded((instance, stateText, eventsText, count, everyStep, limit) => {
      let state = start(instance, stateText);
      const events = read(eventsText, "the list of events");
      if (events.length !== count) throw new Refusal("output", "the list of events is not JSON");
      const { evolve } = instance;
      let last = count > 0 ? count - 1 : 0;
      while (last > 0 && !evolve.has(events[last]?.type)) last -= 1;
      let before;
      const steps = [];
      for (let at = 0; at < count; at += 1) {
        progress.at = at;
        const event = events[at];
        if (typeof event !== "object" || event === null) throw new Refusal("output", "the event is no object");
        const handler = evolve.get(event.type);
        if (handler !== undefined) {
          if (at === last && at > 0) before = written(state);
          state = evolved(handler, state, event, limit);
        }
        if (everyStep) steps[at] = written(state);
      }
      return { text: everyStep && count > 0 ? steps[count - 1] : written(state), steps, before, last };
    }),
    decide: guarded((instance, name, stateText, inputText, limit) => {
      const handler = instance.decide.get(name);
      if (handler === undefined) throw new Refusal("missing", `there is no command ${name}`, name, [...instance.decide.keys()]);
      const state = start(instance, stateText);
      const input = read(inputText, "the command");
      let events;
      try {
        events = handler(state, input);
      } catch (thrown) {
        if (!(thrown instanceof Rejected)) throw thrown;
        const code = data(thrown, "code");
        const message = data(thrown, "message");
        if (typeof code !== "string" || code === "" || typeof message !== "string") throw thrown;
        return { code: code.toWellFormed(), message: message.slice(0, 2000).toWellFormed() };
      }
      root = `decide.${name}`;
      room = limit;
      if (!isArray(events)) {
        const isAsync = typeof events === "object" && events !== null && className(getPrototypeOf(events) ?? {}) === "a Promise";
        throw new Refusal("output", isAsync ? `${root} must not be async` : `${root} must return a list of events`);
      }
      if (events.length > 1000) throw new Refusal("output", `${root} returned ${events.length} events, and 1000 are the most`);
      return { events: clean(events, 0).map((event, at) => {
        if (typeof event !== "object" || event === null || isArray(event)) throw new Refusal("output", `${root}[${at}] is no event: it must be an object`);
        if (typeof event.type !== "string" || event.type === "") throw new Refusal("output", `${root}[${at}].type must be a text that is not empty`);
        return written(event);
      }) };
    }),
    map: guarded((instance, itemsText, count, limit) => {
      const items = read(itemsText, "the list of items");
      if (items.length !== count) throw new Refusal("output", "the list of items is not JSON");
      const texts = [];
      const faults = [];
      for (let at = 0; at < count; at += 1) {
        progress.at = at;
        try {
          root = "data";
          room = limit;
          const next = instance.upcast(items[at][0], items[at][1]);
          if (next === undefined) throw new Refusal("output", "the function returned undefined instead of data");
          texts[at] = written(clean(next, 0));
        } catch (thrown) {
          if (outOfMemory(thrown)) throw thrown;
          texts[at] = null;
          faults[at] = describe(thrown);
        }
      }
      return { texts, faults };
    }),
  };
}
