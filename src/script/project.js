// Calls a projection's function, event by event, over the rows that the host has told. Made once in each runtime by driver.js, whose
// tools it is given. What earlier events of a call wrote, later ones see: but only where it is exactly what the host would read back.
(tools) => {
  "use strict";
  const { begin, copied, describe, isPromise, left, outOfMemory, parse, progress, read, Refusal, stringify, written } = tools;
  const { entries, fromEntries, hasOwn, keys } = Object;
  const { isArray } = Array;
  const { isFinite, isSafeInteger } = Number;
  // What may stand under a key instead of a row or null: the host has to tell it first, or it has to apply what was written first.
  const UNKNOWN = { unknown: true };
  const BARRED = { barred: true };
  const MISSING_MAX = 4096;
  const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/;
  const ANY_UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/i;
  const DATE = /^\d{4}-\d\d-\d\d$/;
  const MOMENT = /^\d{4}-\d\d-\d\dT(?:[01]\d|2[0-3]):[0-5]\d:[0-5]\d\.\d{6}Z$/;

  // Whether the host reads back exactly this value from a column of this kind. A number as the kind is the scale of a decimal.
  const isExact = (kind, value) => {
    if (value === null) return true;
    switch (kind) {
      case "text":
        return typeof value === "string";
      case "integer":
        return isSafeInteger(value);
      case "double":
        return typeof value === "number";
      case "boolean":
        return typeof value === "boolean";
      case "uuid":
        return typeof value === "string" && UUID.test(value);
      case "date":
        return typeof value === "string" && DATE.test(value);
      case "timestamp":
        return typeof value === "string" && MOMENT.test(value);
      default:
    }
    if (typeof kind !== "number" || typeof value !== "number") return false;
    if (isSafeInteger(value)) return true;
    const text = `${value}`;
    const point = text.indexOf(".");
    return point > 0 && text.length - point - 1 <= kind && !text.includes("e");
  };
  const KEYS = { text: "a text", integer: "a whole number", uuid: "a UUID", date: "a date such as 2026-11-22" };
  const shown = (value) => {
    const sort = typeof value;
    if (value === null || sort === "undefined") return `${value}`;
    if (sort === "string") return `the text ${stringify(value.slice(0, 60))}`;
    if (sort === "number" || sort === "boolean") return `${value}`;
    return sort === "object" ? "an object" : `a ${sort}`;
  };
  // The one form that all ways of writing a key have, where this side knows them all.
  const keyOf = (method, kind, key) => {
    let given = key === 0 ? 0 : key;
    if (kind === "text" && (isSafeInteger(key) || typeof key === "boolean")) given = `${given}`;
    if (kind === "uuid" && typeof key === "string" && ANY_UUID.test(key)) given = key.toLowerCase();
    const wanted = KEYS[kind];
    const sort = typeof given;
    const isKey = wanted === undefined ? sort === "string" || sort === "boolean" || isFinite(given) : given !== null && isExact(kind, given);
    if (!isKey) throw new TypeError(`${method}: the key is ${shown(key)}, but must be ${wanted ?? "a text, a number or a boolean"}`);
    if (sort === "string" && !given.isWellFormed()) throw new TypeError(`${method}: the key holds half of a surrogate pair`);
    return given;
  };
  const textOf = (key) => (typeof key === "string" ? stringify(key) : `${key}`);
  const copyOf = (row) => {
    const copy = { ...row };
    for (const name of keys(copy)) {
      const value = copy[name];
      if (typeof value === "object" && value !== null) copy[name] = parse(stringify(value));
    }
    return copy;
  };
  const cleaned = (method, value) => {
    try {
      return copied(value, method);
    } catch (thrown) {
      // Code of the module catches this, and must not get hold of what is ours.
      if (thrown instanceof Refusal) throw new TypeError(thrown.message);
      throw thrown;
    }
  };

  return (instance, viewText, rowsText, lookupsText, eventsText, count, limit) => {
    const { project } = instance;
    if (project === undefined) throw new Refusal("missing", "exports no function project(event, rows)");
    const view = read(viewText, "the view");
    const kinds = new Map(entries(view.kinds));
    const keyKind = kinds.get(view.key);
    const known = read(rowsText, "the rows");
    const others = new Map(entries(read(lookupsText, "the rows of other views")));
    const events = read(eventsText, "the list of events");
    if (events.length !== count) throw new Refusal("output", "the list of events is not JSON");

    // What the events that are done made of rows, and the keys of those that the host reads back as something else.
    const overlay = new Map();
    const barred = new Set();
    let isSwept = false;
    // The same of the event at hand, with what it read, and what it could not.
    const own = new Map();
    const inexact = new Set();
    let operations, reads, looked, sweeps, isStopped;
    const missing = new Set();
    const missingElsewhere = new Map();

    const pending = (method) => {
      isStopped = true;
      return new Error(`${method}: the row has to be fetched first, then the event is projected again`);
    };
    const miss = (method, text) => {
      if (missing.size < MISSING_MAX) missing.add(text);
      return pending(method);
    };
    // `isPlain`: there is no other way to write the key.
    const standing = (text, isPlain) => {
      const mine = own.get(text);
      if (mine !== undefined) return mine;
      if (isSwept || barred.has(text) || (overlay.size > 0 && !isPlain)) return BARRED;
      const made = overlay.get(text);
      const found = made === undefined ? known[text] : made;
      if (found === undefined || found === UNKNOWN) return UNKNOWN;
      reads.push([text, found]);
      return found;
    };
    const cells = (method, what, value) => {
      const isObject = typeof value === "object" && value !== null && !isArray(value);
      if (!isObject) throw new TypeError(`${method}: ${what} is ${isArray(value) ? "a list" : shown(value)}, but must be an object`);
      const copy = cleaned(method, value);
      for (const name of keys(copy)) {
        if (!kinds.has(name)) throw new TypeError(`${method}: there is no column ${stringify(name)}; there are ${[...kinds.keys()].join(", ")}`);
      }
      return copy;
    };
    const record = (operation) => {
      operations.push(operation);
      left(8);
    };
    // The key at hand: mostly what is got is written next.
    let raw, given, text, isPlain;
    const locate = (method, key) => {
      if (typeof key === "string" && key === raw) return;
      raw = undefined;
      given = keyOf(method, keyKind, key);
      text = textOf(given);
      isPlain = isExact(keyKind, given);
      raw = key;
    };
    const rows = Object.freeze({
      get(key) {
        locate("rows.get", key);
        const found = standing(text, isPlain);
        if (found === BARRED) throw pending("rows.get");
        if (found === UNKNOWN) throw miss("rows.get", text);
        if (typeof found === "string") throw new TypeError(`rows.get: ${found}`);
        return found === null ? null : copyOf(found);
      },
      upsert(key, row) {
        locate("rows.upsert", key);
        const set = cells("rows.upsert", "the row", row);
        if (hasOwn(set, view.key)) {
          if (textOf(keyOf("rows.upsert", keyKind, set[view.key])) === text) delete set[view.key];
          else if (isPlain) throw new TypeError(`rows.upsert: the row's ${view.key} is another than its key`);
        }
        record(["upsert", given, set]);
        sweeps ||= !isPlain;
        const before = standing(text, isPlain);
        if (before === UNKNOWN || before === BARRED || typeof before === "string") {
          own.set(text, before);
          return;
        }
        own.set(text, { ...(before ?? { ...view.blank, [view.key]: given }), ...set });
        for (const name of keys(set)) if (!isExact(kinds.get(name), set[name])) inexact.add(text);
      },
      update(where, changes) {
        const matching = cells("rows.update", "what rows must have", where);
        const set = cells("rows.update", "what is changed", changes);
        if (keys(matching).length === 0) throw new TypeError("rows.update: at least one column must say which rows");
        if (hasOwn(set, view.key)) throw new TypeError("rows.update: a row's primary key can't be changed");
        record(["update", matching, set]);
        sweeps = true;
      },
      delete(key) {
        locate("rows.delete", key);
        record(["delete", cleaned("rows.delete", given)]);
        sweeps ||= !isPlain;
        own.set(text, null);
        inexact.delete(text);
      },
      lookup(name, key) {
        if (typeof name !== "string" || !name.isWellFormed()) throw new TypeError(`rows.lookup: the view is ${shown(name)}, but must be a text`);
        const place = textOf(keyOf("rows.lookup", "other", key));
        const found = others.get(name)?.[place];
        if (found === undefined) {
          const wanted = missingElsewhere.get(name) ?? new Set();
          if (wanted.size < MISSING_MAX && missingElsewhere.size < MISSING_MAX) missingElsewhere.set(name, wanted.add(place));
          throw pending("rows.lookup");
        }
        looked.push([name, place, found]);
        if (typeof found === "string") throw new TypeError(`rows.lookup: ${found}`);
        return found === null ? null : copyOf(found);
      },
    });
    const projected = (event) => {
      operations = [];
      reads = [];
      looked = [];
      sweeps = false;
      isStopped = false;
      own.clear();
      inexact.clear();
      begin(limit);
      try {
        if (typeof event !== "object" || event === null) throw new Refusal("output", "the event is no object");
        if (isPromise(project(event, rows))) throw new Refusal("output", "project must not be async");
      } catch (thrown) {
        if (outOfMemory(thrown)) throw thrown;
        return describe(thrown);
      }
      return undefined;
    };
    const keep = () => {
      isSwept ||= sweeps;
      for (const [text, made] of own) {
        overlay.set(text, made);
        if (made === BARRED || inexact.has(text)) barred.add(text);
        else barred.delete(text);
      }
    };

    const done = [];
    let stop, failure, last;
    let spent = 0;
    for (let at = 0; at < count && stop === undefined; at += 1) {
      progress.at = at;
      failure = projected(events[at]);
      if (missing.size > 0 || missingElsewhere.size > 0) stop = "needs";
      else if (isStopped) stop = "barrier";
      else if (failure !== undefined) stop = "failed";
      else {
        done.push(operations);
        if (operations.length > 0) last = { at, reads, looked };
        keep();
        spent += limit - left(0);
        if (spent > limit / 2 && at + 1 < count) stop = "barrier";
      }
    }
    if (stop === "needs") {
      // What the events behind it do is not to be trusted. But most look at the same rows all the same, so one answer serves them all.
      for (let at = done.length + 1; at < count && missing.size < MISSING_MAX; at += 1) {
        progress.at = at;
        projected(events[at]);
      }
    }
    const texts = [];
    for (const each of done) {
      try {
        texts.push(written(each, "what project does"));
      } catch (thrown) {
        if (!(thrown instanceof Refusal)) throw thrown;
        progress.at = texts.length;
        failure = describe(thrown);
        stop = "failed";
        break;
      }
    }
    const again = last !== undefined && last.at > 0 && last.at < texts.length ? last : undefined;
    const elsewhere = new Map();
    for (const [name, text, found] of again?.looked ?? []) elsewhere.set(name, { ...elsewhere.get(name), [text]: found });
    return {
      texts,
      stop,
      failure: stop === "failed" ? failure : undefined,
      own: stop === "needs" ? [...missing] : [],
      lookups: stop === "needs" ? [...missingElsewhere].flatMap(([name, wanted]) => [...wanted].map((text) => [name, text])) : [],
      again: again && { at: again.at, rows: stringify(fromEntries(again.reads)), lookups: stringify(fromEntries(elsewhere)) },
    };
  };
}
