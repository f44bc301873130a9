//! X4, X5, X7 and X8: the same input gives the same output, whatever was called before and wherever.

use super::*;

/// What `expression` gives as the state's `v`.
async fn value(sandbox: &Sandbox, expression: &str) -> Result<String, ScriptError> {
    let source = format!("export const evolve = {{ A: (state, event) => ({{ v: ({expression}) }}) }};");
    let folded = sandbox.fold(&module(&source), None, json(&[r#"{"type":"A","data":{"n":1}}"#]), false).await?;
    Ok(String::from_utf8(folded.state.to_vec()).unwrap())
}

#[tokio::test]
async fn x4_no_clock_random_io_or_code_from_text() {
    let sandbox = sandbox();
    let expressions = [
        "Date.now()",
        "new Date()",
        "Date()",
        "Date(0)",
        "new Date(2020, 1)",
        "new Date('2020-01-01T00:00:00')",
        "Date.parse('Jan 1 2020')",
        "Reflect.construct(Date, [])",
        "new (class extends Date {})()",
        "new (new Date(0).constructor)()",
        "new Date(0).getHours()",
        "new Date(0).getTimezoneOffset()",
        "new Date(0).setMonth(1)",
        "`${new Date(0)}`",
        "new Date(0) + 1",
        "new Date(0).toDateString()",
        "new Date(0).toTimeString()",
        "new Date(0).toLocaleString()",
        "new Date(0).toLocaleDateString('de')",
        "new Date(0).getYear()",
        "new Date(0).setYear(1)",
        "Math.random()",
        "performance.now()",
        "setTimeout(() => 1)",
        "queueMicrotask(() => 1)",
        "new Intl.NumberFormat()",
        "new WeakRef({})",
        "new FinalizationRegistry(() => 1)",
        "Atomics.wait",
        "new SharedArrayBuffer(1)",
        "new Uint8Array(1)",
        "eval('1')",
        "(0, eval)('1')",
        "Function('return 1')()",
        "new Function('return 1')()",
        "(() => 1).constructor('return 1')()",
        "(function* () {}).constructor('yield 1')()",
        "(async () => 1).constructor('return 1')()",
        "(async function* () {}).constructor('1')()",
        "Reflect.construct(function () {}.constructor, ['return 1'])()",
        "Object.getPrototypeOf(function* () {}).constructor('1')",
        "globalThis.constructor.constructor('return 1')()",
        "require('fs')",
        "std.open",
        "os.exec",
        "process.env",
        "print(1)",
        "console.log(1)",
        "fetch('http://a')",
        "BigInt(1)",
        "new Proxy({}, {})",
        "globalThis.Promise.resolve(1)",
        "gc()",
        "structuredClone({})",
        "new Error().toLocaleString(undefined()).x",
    ];
    for expression in expressions {
        let outcome = value(&sandbox, expression).await;
        assert!(matches!(&outcome, Err(error) if error.kind == Kind::Threw), "{expression}: {outcome:?}");
    }
}

#[tokio::test]
async fn x4_what_does_not_depend_on_the_host_works() {
    let sandbox = sandbox();
    let expressions = [
        ("new Date('2020-01-02T03:04:05Z').getTime()", "1577934245000"),
        ("new Date('2020-01-02T03:04:05.123+01:00').toISOString()", "\"2020-01-02T02:04:05.123Z\""),
        ("new Date('2020-01-02').getUTCDay()", "4"),
        ("Date.UTC(2020, 0, 2)", "1577923200000"),
        ("Date.parse('2020-01-02')", "1577923200000"),
        ("new Date(new Date(5)).valueOf()", "5"),
        ("new Date(7) - new Date(5)", "2"),
        ("new Date(5) instanceof Date", "true"),
        ("(() => 1) instanceof Function", "true"),
        ("new Date(NaN).toJSON()", "null"),
        ("[3, 1, 2].toSorted().concat([4], 5, [[6]]).flat().join('-')", "\"1-2-3-4-5-6\""),
        ("[1, 2].flatMap((x) => [x, [x]]).length", "4"),
        ("[1, 2, 3].slice(1)", "[2,3]"),
        ("JSON.parse(JSON.stringify({ a: [1] }, null, 1))", "{\"a\":[1]}"),
        ("Math.max(1, 2)", "2"),
    ];
    for (expression, expected) in expressions {
        assert_eq!(value(&sandbox, expression).await.unwrap(), format!("{{\"v\":{expected}}}"), "{expression}");
    }
}

#[tokio::test]
async fn x4_nothing_can_be_imported() {
    let sandbox = sandbox();
    for source in
        ["import x from 'std';", "import * as os from 'os';", "export * from './a.js';", "export const initial = await import('os');"]
    {
        assert_eq!(sandbox.inspect(&module(source)).await.unwrap_err().kind, Kind::Definition, "{source}");
    }
    assert_eq!(value(&sandbox, "import('os').then(() => 1)").await.unwrap_err().kind, Kind::Output);
    assert_eq!(value(&sandbox, "(import('os'), 1)").await.unwrap_err().kind, Kind::Output);
}

#[tokio::test]
async fn x5_nothing_leaks_between_calls() {
    let sandbox = sandbox();
    let leaky = module(
        "let n = 0; const seen = []; export const decide = { count: () => { seen.push(1); n += 1; return [{ type: 'N', n, seen: seen.length }]; } };",
    );
    for _ in 0..5 {
        let decided = sandbox.decide(&leaky, "count", None, Bytes::from_static(b"{}")).await.unwrap();
        assert_eq!(decided, Decision::Events(json(&[r#"{"type":"N","n":1,"seen":1}"#])));
    }
}

#[tokio::test]
async fn x5_every_instance_is_fresh_however_it_is_made() {
    let sandbox = sandbox();
    let counter = "{ a: () => [{ type: 'N', n: (n += 1), t: `${text}`, self: typeof this, given: typeof arguments }] }";
    for (export, text) in [
        (format!("export const decide = {counter};"), "''"),
        (format!("const all = {counter};\nexport {{ all as decide }};"), "''"),
        (format!("export const decide = {counter};"), "`\nexport const x = 1`"),
        (format!("export const decide = {counter};"), "`\nexport const decide = 1`"),
        (format!("export const decide = {counter}, initial = {{}};"), "`\nexport const initial = 1`"),
        (format!("#!/usr/bin/env node\nexport const decide = {counter};"), "''"),
    ] {
        let module = module(&format!("{export}\nlet n = 0; const text = {text};"));
        let said = text.trim_matches(['\'', '`']).replace('\n', "\\n");
        let expected = format!(r#"{{"type":"N","n":1,"t":"{said}","self":"undefined","given":"undefined"}}"#);
        for _ in 0..3 {
            let decided = sandbox.decide(&module, "a", None, Bytes::from_static(b"{}")).await.unwrap();
            assert_eq!(decided, Decision::Events(json(&[&expected])), "{export} {text}");
        }
    }
    for source in ["((n) => (data) => ({ n: ++n }))(0)", "up); let n = 0; function up() { return { n: ++n }; } (0"] {
        let up = Arc::new(Module::function("up.js", source));
        for _ in 0..3 {
            let item = (Bytes::from_static(b"{}"), Bytes::from_static(b"{}"));
            let mapped = sandbox.map(&up, vec![item]).await.unwrap();
            assert_eq!(mapped[0].as_ref().unwrap(), r#"{"n":1}"#, "{source}");
        }
    }
}

#[tokio::test]
async fn x5_the_parts_of_a_template_keep_nothing() {
    // The engine makes them once for each place in the text, not once for each instance.
    let sandbox = sandbox();
    let tagged = module(
        "const tag = (parts) => { for (const list of [parts, parts.raw]) for (const name of ['0', '1', 'length', 'x']) { \
         Reflect.set(list, name, 7); Reflect.defineProperty(list, name, { value: 7 }); Reflect.deleteProperty(list, name); } \
         return [...parts, ...parts.raw, parts.length, parts.x === undefined, parts.raw.x === undefined]; };\n\
         export const decide = { a: () => [{ type: 'T', parts: tag`a${1}b` }] };",
    );
    for _ in 0..3 {
        let decided = sandbox.decide(&tagged, "a", None, Bytes::from_static(b"{}")).await.unwrap();
        assert_eq!(decided, Decision::Events(json(&[r#"{"type":"T","parts":["a","b","a","b",2,true,true]}"#])));
    }
}

#[tokio::test]
async fn x5_a_stack_trace_is_the_same_in_every_instance_and_its_place_is_right() {
    let sandbox = sandbox();
    let told =
        module("export const decide = { a: () => [{ type: 'S', stack: new Error('x').stack }], b: () => { throw new Error('b'); } };");
    let first = sandbox.decide(&told, "a", None, Bytes::from_static(b"{}")).await.unwrap();
    for _ in 0..2 {
        assert_eq!(sandbox.decide(&told, "a", None, Bytes::from_static(b"{}")).await.unwrap(), first);
        let error = sandbox.decide(&told, "b", None, Bytes::from_static(b"{}")).await.unwrap_err();
        assert_eq!((error.line, error.column), (Some(1), Some(101)));
    }
}

#[tokio::test]
async fn x5_intrinsics_are_frozen() {
    let sandbox = sandbox();
    let attempts = [
        "Object.prototype.polluted = 1",
        "Array.prototype.push = () => 1",
        "globalThis.leak = 1",
        "leak = 1",
        "globalThis.JSON = {}",
        "JSON.parse = () => 1",
        "Object.defineProperty(Object.prototype, 'x', { get: () => 1 })",
        "Object.prototype.toString = () => 'x'",
        "Object.setPrototypeOf(Object.prototype, {})",
        "Object.setPrototypeOf(Array.prototype, null)",
        "Math.PI = 3",
        "delete Math.abs",
        "Object.getPrototypeOf([][Symbol.iterator]()).next = () => 1",
        "Object.getPrototypeOf(function* () {}).x = 1",
        "Object.getPrototypeOf((function* () {})()).next = 1",
        "Object.getPrototypeOf(async () => 1).x = 1",
        "Error.stackTraceLimit = 0",
        "Error.prepareStackTrace = () => 1",
        "RegExp.prototype.exec = () => null",
        "Date.prototype.x = 1",
        "Rejection.prototype.x = 1",
        "Rejection.x = 1",
        "Symbol.prototype.x = 1",
        "Map.prototype.set = 1",
        "Object.prototype.toString.x = 1",
        "Error.prototype.message = 'x'",
        "TypeError.prototype.name = 'x'",
        "Function.prototype.call = 1",
        "({}).constructor.keys = 1",
        "(() => 1).constructor.x = 1",
        "Object.getPrototypeOf(Iterator.from({ next() {} })).x = 1",
        "Object.getOwnPropertyDescriptor(Object.prototype, 'toString').get.x = 1",
        "Object.getPrototypeOf('a'.matchAll(/a/g)).next = 1",
        "Object.getPrototypeOf((async () => 1)()).then = 1",
        "Reflect.set(Object.prototype, 'p', 1) || undefined()",
        "(() => { try { null.x } catch (e) { e.constructor.x = 1 } })()",
        "Object.getPrototypeOf(Object.getPrototypeOf((async function* () {})())).x = 1",
    ];
    for attempt in attempts {
        let outcome = value(&sandbox, attempt).await;
        assert!(matches!(&outcome, Err(error) if error.kind == Kind::Threw), "{attempt}: {outcome:?}");
    }
    // The walk is the proof for what the list above forgot.
    let walk = "(() => { const open = []; const seen = new Set(); const go = (x, path) => { if (x === null || (typeof x !== 'object' && typeof x !== 'function') \
                || seen.has(x)) return; seen.add(x); if (!Object.isFrozen(x)) open.push(path); go(Object.getPrototypeOf(x), path + '^'); \
                for (const k of Reflect.ownKeys(x)) { const d = Object.getOwnPropertyDescriptor(x, k); const p = path + '.' + String(k); \
                go(d.value, p); go(d.get, p + '(get)'); go(d.set, p + '(set)'); } }; go(globalThis, 'global'); return open; })()";
    assert_eq!(value(&sandbox, walk).await.unwrap(), r#"{"v":[]}"#);
}

#[tokio::test]
async fn x5_ordinary_assignments_work_in_spite_of_frozen_prototypes() {
    let sandbox = sandbox();
    let expressions = [
        (
            "(() => { class E extends Error { constructor(m) { super(m); this.name = 'E'; this.message = m + '!'; } } const e = new E('a'); return [e.name, e.message, `${e}`, e instanceof E]; })()",
            r#"["E","a!","E: a!",true]"#,
        ),
        (
            "(() => { const o = {}; o.toString = () => 'x'; o.constructor = 5; o.valueOf = 1; return [`${o}`, o.constructor, Object.keys(o)]; })()",
            r#"["x",5,["toString","constructor","valueOf"]]"#,
        ),
        (
            "(() => { function F() {} F.prototype.toString = () => 'f'; F.toString = () => 'F'; return [`${new F()}`, `${F}`]; })()",
            r#"["f","F"]"#,
        ),
        ("(() => { const o = {}; o['__proto__'] = { a: 1 }; return [o.a === undefined, Object.keys(o)]; })()", r#"[true,["__proto__"]]"#),
    ];
    for (expression, expected) in expressions {
        assert_eq!(value(&sandbox, expression).await.unwrap(), format!("{{\"v\":{expected}}}"), "{expression}");
    }
}

#[tokio::test]
async fn x5_names_from_data_reach_no_prototype() {
    let sandbox = sandbox();
    let copy = module(
        "export const evolve = { Set: (state, event) => { for (const k of Object.keys(event.data)) state[k] = event.data[k]; return state; } };",
    );
    let event = r#"{"type":"Set","data":{"__proto__":{"polluted":1},"constructor":{"prototype":{"polluted":1}}}}"#;
    let folded = sandbox.fold(&copy, None, json(&[event, event]), false).await.unwrap();
    assert_eq!(folded.state, r#"{"__proto__":{"polluted":1},"constructor":{"prototype":{"polluted":1}}}"#);
    for name in ["constructor", "__proto__", "toString", "hasOwnProperty", "valueOf"] {
        let event = format!(r#"{{"type":"{name}","data":{{}}}}"#);
        let folded = sandbox.fold(&copy, Some(Bytes::from_static(b"{\"a\":1}")), json(&[&event]), false).await.unwrap();
        assert_eq!(folded.state, r#"{"a":1}"#, "{name}");
        assert_eq!(sandbox.decide(&copy, name, None, Bytes::from_static(b"{}")).await.unwrap_err().kind, Kind::Missing, "{name}");
    }
    let own = module("export const evolve = { constructor: () => ({ c: 1 }), ['__proto__']: () => ({ p: 1 }) };");
    assert_eq!(sandbox.fold(&own, None, json(&[r#"{"type":"constructor"}"#]), false).await.unwrap().state, r#"{"c":1}"#);
    assert_eq!(sandbox.fold(&own, None, json(&[r#"{"type":"__proto__"}"#]), false).await.unwrap().state, r#"{"p":1}"#);
}

#[tokio::test]
async fn x5_state_kept_between_events_is_found_out() {
    let sandbox = sandbox();
    let event = r#"{"type":"A","data":{}}"#;
    for source in [
        "let n = 0; export const evolve = { A: (state) => ({ n: ++n }) };",
        "let ready; export const evolve = { A: (state) => { if (state.first) return { ok: ready.yes }; ready = { yes: 1 }; return { first: true }; } };",
    ] {
        let impure = module(source);
        for every_step in [false, true] {
            let error = sandbox.fold(&impure, None, json(&[event, event, r#"{"type":"Other"}"#]), every_step).await.unwrap_err();
            assert_eq!((error.kind, error.at), (Kind::Impure, Some(1)), "{source}");
        }
    }
    let pure =
        module("const table = new Map([['a', 1]]); export const evolve = { A: (state) => ({ n: (state.n ?? 0) + table.get('a') }) };");
    assert_eq!(sandbox.fold(&pure, None, json(&[event; 3]), false).await.unwrap().state, r#"{"n":3}"#);
    let counting = Arc::new(Module::function("up.js", "((n) => (data) => ({ n: n++ }))(0)"));
    let item = (Bytes::from_static(b"{}"), Bytes::from_static(b"{}"));
    assert_eq!(sandbox.map(&counting, vec![item.clone(), item]).await.unwrap_err().kind, Kind::Impure);
}

#[tokio::test]
async fn x7_same_input_same_output_on_other_threads_and_after_other_calls() {
    let source = "export const evolve = { A: (state, event) => ({ ...state, [event.data.k]: Math.sqrt(event.data.n) / 3, \
                  keys: Object.keys(state), sorted: [3, 1, 2, event.data.n].sort(), \
                  t: new Date(event.data.n * 1e6).toISOString(), s: `${0.1 + event.data.n}` }) };";
    let events: Vec<Bytes> = (0..200).map(|n| Bytes::from(format!(r#"{{"type":"A","data":{{"k":"k{}","n":{n}}}}}"#, n % 7))).collect();
    let mut hashes = Vec::new();
    let crowd = Sandbox::new(Options { threads: 3, wall: Duration::from_secs(60), ..Options::default() });
    for _ in 0..3 {
        let calls = (0..4).map(|_| {
            let (crowd, source, events) = (crowd.clone(), module(source), events.clone());
            tokio::spawn(async move { crowd.fold(&source, None, events, true).await })
        });
        for call in calls.collect::<Vec<_>>() {
            let folded = call.await.unwrap().unwrap();
            hashes.push(blake3::hash(&folded.steps.concat()));
        }
    }
    // In pieces, the state going through JSON between them, it must be the same.
    let mut state = None;
    let mut steps = Vec::new();
    for piece in events.chunks(7) {
        let folded = sandbox().fold(&module(source), state, piece.to_vec(), true).await.unwrap();
        steps.extend(folded.steps);
        state = Some(folded.state);
    }
    hashes.push(blake3::hash(&steps.concat()));
    hashes.dedup();
    assert_eq!(hashes.len(), 1);
}

#[tokio::test]
async fn x8_error_names_the_event_and_the_fold_resumes_there() {
    let sandbox = sandbox();
    let picky = module(
        "export const evolve = {\n  A: (state, event) => {\n    if (event.data.n === 3) throw new Error('three');\n    if (event.data.n === 4) for (;;) {}\n    return { sum: (state.sum ?? 0) + event.data.n };\n  } };",
    );
    let event = |n: u32| Bytes::from(format!(r#"{{"type":"A","data":{{"n":{n}}}}}"#));
    let error = sandbox.fold(&picky, None, vec![event(1), event(2), event(3), event(5)], false).await.unwrap_err();
    assert_eq!((error.kind, error.at, error.message.as_str()), (Kind::Threw, Some(2), "three"));
    assert_eq!((error.file.as_str(), error.line), ("declaration.js", Some(3)));
    let error = sandbox.fold(&picky, None, vec![event(1), event(4)], true).await.unwrap_err();
    assert_eq!((error.kind, error.at), (Kind::Time, Some(1)));
    let before = sandbox.fold(&picky, None, vec![event(1), event(2)], false).await.unwrap();
    let behind = sandbox.fold(&picky, Some(before.state), vec![event(5)], false).await.unwrap();
    assert_eq!(behind.state, r#"{"sum":8}"#);
}
