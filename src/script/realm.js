// Turns a new context into one that is pure: what depends on the host is gone, and what is left cannot be changed.
// Runs once in each runtime, before any other code.
(() => {
  "use strict";
  const { defineProperty, freeze, getOwnPropertyDescriptor, getPrototypeOf } = Object;
  const { ownKeys, construct, apply } = Reflect;
  const global = globalThis;

  const refuse = (owner, name, advice) => {
    const stub = { [name]() { throw new Error(advice); } }[name];
    defineProperty(owner, name, { value: stub, writable: true, enumerable: false, configurable: true });
  };

  // Code made from text: the four function constructors are only reachable through prototypes, so they go there.
  const functions = [
    function () {},
    function* () {},
    async function () {},
    async function* () {},
  ].map(getPrototypeOf);
  for (const prototype of functions) {
    const old = prototype.constructor;
    const stub = { [old.name]: function () { throw new Error(`${old.name}: code cannot be made from text`); } }[old.name];
    defineProperty(stub, "prototype", { value: prototype, writable: false, enumerable: false, configurable: false });
    defineProperty(prototype, "constructor", { value: stub, writable: false, enumerable: false, configurable: true });
    if (old.name === "Function") defineProperty(global, "Function", { value: stub, writable: true, configurable: true });
  }

  // Settings of the engine that would outlive a call.
  delete Error.prepareStackTrace;
  delete Error.stackTraceLimit;
  delete Error.captureStackTrace;

  // Setting a prototype through data: without the accessor, `__proto__` is a name like any other.
  for (const name of ["__proto__", "__defineGetter__", "__defineSetter__"]) delete Object.prototype[name];

  // Time. A moment comes from the event; its parts are those of UTC, since a local zone differs from host to host.
  const Real = Date;
  const zoned = /^(?:\d{4}|[+-]\d{6})(?:-\d\d(?:-\d\d)?)?(?:T\d\d:\d\d(?::\d\d(?:\.\d+)?)?(?:Z|[+-]\d\d:\d\d))?$/;
  const { parse, UTC, prototype: moments } = Real;
  const { exec } = RegExp.prototype;
  const { getTime } = moments;
  const instant = (text) => {
    if (apply(exec, zoned, [text]) === null) {
      throw new Error(`Date: ${text} is no ISO 8601 date, or has no zone: end it with Z or an offset such as +01:00`);
    }
    return parse(text);
  };
  const Moment = function Date(...parts) {
    if (new.target === undefined) throw new Error("Date() reads the clock: take the time from the event, as in event.occurred_at");
    if (parts.length === 0) throw new Error("new Date() reads the clock: take the time from the event, as in event.occurred_at");
    if (parts.length > 1) throw new Error("new Date(year, month, ...) depends on the local zone: use new Date(Date.UTC(year, month, ...))");
    let value = parts[0];
    if (typeof value === "object" && value !== null) {
      try {
        value = apply(getTime, value, []);
      } catch {
        value = `${value}`;
      }
    }
    return construct(Real, [typeof value === "string" ? instant(value) : value], new.target);
  };
  defineProperty(Moment, "prototype", { value: moments, writable: false });
  defineProperty(Moment, "length", { value: 7 });
  defineProperty(Moment, "UTC", { value: UTC, writable: true, configurable: true });
  defineProperty(Moment, "parse", { value: { parse(text) { return instant(`${text}`); } }.parse, writable: true, configurable: true });
  refuse(Moment, "now", "Date.now reads the clock: take the time from the event, as in event.occurred_at");
  defineProperty(moments, "constructor", { value: Moment, writable: true, configurable: true });
  defineProperty(global, "Date", { value: Moment, writable: true, configurable: true });
  const local = /^(?:[gs]et(?!UTC|Time$)|to(?:Date|Time)?String$|toLocale)/;
  for (const name of ownKeys(moments)) {
    if (typeof name === "string" && apply(exec, local, [name]) !== null) {
      refuse(moments, name, `${name} depends on the local zone: use the UTC methods`);
    }
  }
  refuse(Math, "random", "Math.random: a fold must give the same state each time; take chance from the event");

  // A refusal of a command, as opposed to a mistake in the code.
  const Rejection = function (code, message) {
    if (typeof code !== "string" || code === "") throw new TypeError("Rejection(code, message): the code must be a text that is not empty");
    const error = construct(Error, [message === undefined ? code : `${message}`], new.target ?? Rejection);
    defineProperty(error, "code", { value: code, writable: true, enumerable: true, configurable: true });
    return error;
  };
  defineProperty(Rejection, "name", { value: "Rejection" });
  const rejections = Object.create(Error.prototype, {
    constructor: { value: Rejection, writable: true, configurable: true },
    name: { value: "Rejection", writable: true, configurable: true },
  });
  defineProperty(Rejection, "prototype", { value: rejections, writable: false });
  Object.setPrototypeOf(Rejection, Error);
  global.Rejection = Rejection;

  // Single steps of the engine that nothing interrupts. An array of four thousand million holes costs nothing to make, and an object
  // can claim any length, so these would go on for hours: they take real arrays, and none that is longer than memory could hold.
  const { isArray } = Array;
  const LENGTH_MAX = 10000000;
  // The engine asks whether to go on every 10,000 jumps; this makes it ask now.
  const ask = () => {
    for (let at = 0; at < 10000; at += 1);
  };
  let heavy = 0;
  const counted = () => {
    heavy = (heavy + 1) % 16;
    if (heavy === 0) ask();
  };
  const checked = (value, name) => {
    if (!isArray(value)) throw new TypeError(`Array.prototype.${name} works on arrays only`);
    if (value.length > LENGTH_MAX) throw new RangeError(`Array.prototype.${name}: the array is too long`);
    if (value.length > 10000) ask();
  };
  const redefine = (owner, name, value) => defineProperty(owner, name, { value, writable: true, enumerable: false, configurable: true });
  const arrays = Array.prototype;
  for (const name of ["copyWithin", "fill", "join", "reverse", "shift", "slice", "sort", "splice", "toReversed", "toSorted", "toSpliced", "unshift", "with"]) {
    const real = arrays[name];
    redefine(arrays, name, { [name](...given) { checked(this, name); return apply(real, this, given); } }[name]);
  }
  const append = (target, value) => {
    if (!isArray(value)) {
      target[target.length] = value;
      return;
    }
    checked(value, "concat");
    const { length } = value;
    const start = target.length;
    for (let at = 0; at < length; at += 1) if (at in value) target[start + at] = value[at];
    target.length = start + length;
  };
  const flatten = (target, value, depth) => {
    checked(value, "flat");
    const { length } = value;
    for (let at = 0; at < length; at += 1) {
      if (!(at in value)) continue;
      const item = value[at];
      if (depth > 0 && isArray(item)) flatten(target, item, depth - 1);
      else target[target.length] = item;
    }
    return target;
  };
  const { map } = arrays;
  redefine(arrays, "concat", { concat(...given) {
    const target = [];
    append(target, this);
    for (let at = 0; at < given.length; at += 1) append(target, given[at]);
    return target;
  } }.concat);
  redefine(arrays, "flat", { flat(depth = 1) { return flatten([], this, +depth); } }.flat);
  redefine(arrays, "flatMap", { flatMap(each, receiver) { return flatten([], apply(map, this, [each, receiver]), 1); } }.flatMap);
  delete arrays.toLocaleString;
  const { parse: fromText, stringify: toText } = JSON;
  redefine(JSON, "parse", { parse(...given) { counted(); return apply(fromText, undefined, given); } }.parse);
  redefine(JSON, "stringify", { stringify(value, replacer, ...given) {
    counted();
    if (isArray(replacer)) checked(replacer, "stringify");
    return apply(toText, undefined, [value, replacer, ...given]);
  } }.stringify);

  // Whatever a later version of the engine adds stays out until someone has looked at it.
  const allowed = new Set(
    ("AggregateError Array Boolean Date Error EvalError Function Infinity Iterator JSON Map Math NaN Number Object RangeError " +
      "ReferenceError RegExp Reflect Rejection Set String SuppressedError Symbol SyntaxError TypeError URIError WeakMap WeakSet " +
      "decodeURI decodeURIComponent encodeURI encodeURIComponent globalThis isFinite isNaN parseFloat parseInt undefined").split(" "),
  );
  const engineError = global.InternalError;
  const promise = global.Promise;
  for (const name of ownKeys(global)) {
    if (typeof name === "string" && !allowed.has(name)) delete global[name];
  }

  // A frozen prototype would also forbid `this.name = "X"` in a subclass of Error or `row.toString = ...` on a plain object.
  // An accessor whose setter defines the property on the receiver gives these assignments their usual meaning.
  const assignable = (owner, names = ownKeys(owner)) => {
    for (const name of names) {
      const { value, enumerable, configurable, writable } = getOwnPropertyDescriptor(owner, name);
      if (typeof name !== "string" || !configurable || writable === undefined) continue;
      defineProperty(owner, name, {
        get: { [name]() { return value; } }[name],
        set: {
          [name](given) {
            if (this === owner || this === null || (typeof this !== "object" && typeof this !== "function")) {
              throw new TypeError(`${name} is read-only`);
            }
            const own = getOwnPropertyDescriptor(this, name);
            if (own !== undefined && own.writable === false) throw new TypeError(`${name} is read-only`);
            defineProperty(this, name, own === undefined
              ? { value: given, writable: true, enumerable: true, configurable: true }
              : { value: given });
          },
        }[name],
        enumerable,
        configurable,
      });
      seen.add(value);
    }
  };
  const pending = [global, engineError, promise, ...functions];
  const seen = new Set();
  for (const name of ownKeys(global)) {
    const value = global[name];
    if (typeof value === "function" && (value === Error || getPrototypeOf(value) === Error)) assignable(value.prototype);
  }
  assignable(engineError.prototype);
  assignable(Object.prototype);
  assignable(Function.prototype, ["constructor", "name", "toString"]);
  pending.push(...seen);
  seen.clear();

  // Iterators have no global name.
  pending.push(...[[].values(), "".matchAll(/a/g), new Map().values(), new Set().values(), ""[Symbol.iterator](), (function* () {})(),
    (async function* () {})(), Iterator.from({ next() {} }), [].values().map((x) => x)].map(getPrototypeOf));
  pending.push(getPrototypeOf(async function* () {}.prototype));

  while (pending.length > 0) {
    const value = pending.pop();
    if (value === null || (typeof value !== "object" && typeof value !== "function") || seen.has(value)) continue;
    seen.add(value);
    freeze(value);
    pending.push(getPrototypeOf(value));
    for (const name of ownKeys(value)) {
      const property = getOwnPropertyDescriptor(value, name);
      pending.push(property.value, property.get, property.set);
    }
  }
  return { engineError, parse: fromText, stringify: toText };
})()
