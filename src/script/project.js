// Calls a projection's function, event by event, over the rows that the host has told. Made once in each runtime by driver.js, whose
// tools it is given. What earlier events of a call wrote, later ones see: but only where it is exactly what the host would read back.
(tools) => {
  "use strict";
  const { begin, copied, copiedFlat, describe, isPromise, left, outOfMemory, parse, progress, read, Refusal, stringify, written } = tools;
  const { entries, fromEntries, hasOwn, keys } = Object;
  const { isArray } = Array;
  const { isFinite, isSafeInteger } = Number;
  // What may stand for a row instead of it or null: the host has to tell it first, or it has to apply what was written first.
  const UNKNOWN = { unknown: true };
  const BARRED = { barred: true };
  // What a row is before the event at hand.
  const STANDING = { standing: true };
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
    const names = keys(copy);
    for (let at = 0; at < names.length; at += 1) {
      const value = copy[names[at]];
      if (typeof value === "object" && value !== null) copy[names[at]] = parse(stringify(value));
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

    // What the events that are done made of rows: null, or what was written over what. The row is worked out when somebody looks.
    const overlay = new Map();
    let isSwept = false;
    // The same of the event at hand, with what it read, and what it could not.
    const own = new Map();
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
    const over = (before, { given, set }) => ({ ...(before ?? { ...view.blank, [view.key]: given }), ...set });
    // The row that the host would read, once it has applied what was written.
    const applied = (text, { before, given, set, row }) => {
      const base = before === undefined ? known[text] : before;
      if (base === undefined) return UNKNOWN;
      if (base === BARRED || typeof base === "string") return base;
      const names = keys(set);
      for (let at = 0; at < names.length; at += 1) if (!isExact(kinds.get(names[at]), set[names[at]])) return BARRED;
      return row ?? over(base, { given, set });
    };
    // The row before the event at hand. `isPlain`: there is no other way to write the key.
    const standing = (text, isPlain) => {
      if (isSwept || (overlay.size > 0 && !isPlain)) return BARRED;
      let found = overlay.get(text);
      if (found === undefined) found = known[text] === undefined ? UNKNOWN : known[text];
      else if (found !== null) found = found.applied ??= applied(text, found);
      if (found !== UNKNOWN && found !== BARRED) reads.push([text, found]);
      return found;
    };
    // The row as the event at hand has left it.
    const current = (text, isPlain) => {
      const mine = own.get(text);
      if (mine === undefined) return standing(text, isPlain);
      if (mine === null) return null;
      if (mine.row !== undefined) return mine.row;
      const before = mine.before === STANDING ? standing(text, isPlain) : mine.before;
      if (before === UNKNOWN || before === BARRED || typeof before === "string") return before;
      return (mine.row = over(before, mine));
    };
    const cells = (method, what, value) => {
      const isObject = typeof value === "object" && value !== null && !isArray(value);
      if (!isObject) throw new TypeError(`${method}: ${what} is ${isArray(value) ? "a list" : shown(value)}, but must be an object`);
      const flat = copiedFlat(value, kinds);
      if (flat !== undefined) return flat;
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
      if (keyKind === "text" && typeof key === "string" && key.isWellFormed()) {
        given = key;
        isPlain = true;
      } else {
        given = keyOf(method, keyKind, key);
        isPlain = isExact(keyKind, given);
      }
      text = textOf(given);
      raw = key;
    };
    const rows = Object.freeze({
      get(key) {
        locate("rows.get", key);
        const found = current(text, isPlain);
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
        const mine = own.get(text);
        if (mine === undefined) own.set(text, { before: STANDING, given, set, row: undefined, applied: undefined });
        else if (mine === null) own.set(text, { before: null, given, set, row: undefined, applied: undefined });
        else own.set(text, { before: mine.before, given, set: { ...mine.set, ...set }, row: undefined, applied: undefined });
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
        if (made !== null && made.before === STANDING) {
          const before = overlay.get(text);
          if (before === undefined || before === null) made.before = before;
          else if (before.applied === undefined) [made.before, made.set] = [before.before, { ...before.set, ...made.set }];
          else made.before = before.applied === UNKNOWN ? undefined : before.applied;
        }
        overlay.set(text, made);
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
    let list = stringify(done);
    if (list.includes("\\ud")) {
      for (let at = 0; at < done.length; at += 1) {
        try {
          written(done[at], "what project does");
        } catch (thrown) {
          if (!(thrown instanceof Refusal)) throw thrown;
          progress.at = at;
          failure = describe(thrown);
          stop = "failed";
          done.length = at;
          list = stringify(done);
        }
      }
    }
    const again = last !== undefined && last.at > 0 && last.at < done.length ? last : undefined;
    const elsewhere = new Map();
    for (const [name, text, found] of again?.looked ?? []) elsewhere.set(name, { ...elsewhere.get(name), [text]: found });
    return {
      operations: list,
      stop,
      failure: stop === "failed" ? failure : undefined,
      own: stop === "needs" ? [...missing] : [],
      lookups: stop === "needs" ? [...missingElsewhere].flatMap(([name, wanted]) => [...wanted].map((text) => [name, text])) : [],
      again: again && { at: again.at, rows: stringify(fromEntries(again.reads)), lookups: stringify(fromEntries(elsewhere)) },
    };
  };
}
