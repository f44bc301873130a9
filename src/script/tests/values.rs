//! What may come out of a script, and what an author is told when it may not.

use super::*;

async fn state(sandbox: &Sandbox, expression: &str) -> Result<String, ScriptError> {
    let source = format!("export const evolve = {{\n  A(state, event) {{\n    return {expression};\n  }} }};");
    let folded =
        sandbox.fold(&module(&source), Some(Bytes::from_static(br#"{"a":1,"list":[1,2]}"#)), json(&[r#"{"type":"A"}"#]), false).await?;
    Ok(String::from_utf8(folded.state.to_vec()).unwrap())
}

#[tokio::test]
async fn values_that_are_not_json_are_refused_with_their_path() {
    let sandbox = sandbox();
    let table = [
        ("undefined", "evolve.A returned undefined instead of a state"),
        ("() => 1", "state is a function, which JSON cannot say"),
        ("{ f() {} }", "state.f is a function, which JSON cannot say"),
        ("{ a: Symbol('x') }", "state.a is a symbol, which JSON cannot say"),
        ("{ [Symbol('x')]: 1 }", "state has a symbol as a name, which JSON cannot say"),
        ("{ a: [1, NaN] }", "state.a[1] is NaN, which JSON cannot say"),
        ("{ a: { b: -Infinity } }", "state.a.b is -Infinity, which JSON cannot say"),
        ("{ 'a b': [[new Date(0)]] }", "state[\"a b\"][0][0] is a Date, which JSON cannot say"),
        ("new Map()", "state is a Map, which JSON cannot say"),
        ("{ s: new Set() }", "state.s is a Set, which JSON cannot say"),
        ("new (class Total {})()", "state is a Total, which JSON cannot say"),
        ("{ r: /a/ }", "state.r is a RegExp, which JSON cannot say"),
        ("{ n: Object(1) }", "state.n is a Number, which JSON cannot say"),
        ("{ list: [1, undefined] }", "state.list[1] is undefined"),
        ("{ list: [1, , 2] }", "state.list[1] is undefined"),
        ("{ get total() { return 1; } }", "state.total is computed by a getter, which JSON cannot say"),
        ("Object.defineProperty({}, 'h', { value: 1 })", "state.h is not enumerable, which JSON cannot say"),
        ("Object.create({ inherited: 1 })", "state is no plain object, which JSON cannot say"),
        ("{ t: '\\ud800' }", "state.t is no well-formed text: it holds half of a surrogate pair"),
        ("(async () => 1)()", "state is a Promise: the function must not be async"),
        ("{ p: (async () => 1)() }", "state.p is a Promise: the function must not be async"),
        ("(() => { const x = {}; x.x = x; return x; })()", "state is more than 128 levels deep, or contains itself"),
    ];
    for (expression, message) in table {
        let error = state(&sandbox, expression).await.unwrap_err();
        assert_eq!((error.kind, error.message.as_str(), error.at), (Kind::Output, message, Some(0)), "{expression}");
    }
}

#[tokio::test]
async fn values_are_normalised() {
    let sandbox = sandbox();
    let table = [
        ("{ a: undefined, b: null, c: [null] }", r#"{"b":null,"c":[null]}"#),
        ("[-0, { z: -0 }]", r#"[0,{"z":0}]"#),
        ("5", "5"),
        ("null", "null"),
        ("'é\\u0000\\ud83d\\ude00'", "\"é\\u0000😀\""),
        ("Object.assign(Object.create(null), { a: 1 })", r#"{"a":1}"#),
        ("Object.freeze({ a: Object.freeze([1]) })", r#"{"a":[1]}"#),
        ("(state.a += 1, state.list.push(3), state)", r#"{"a":2,"list":[1,2,3]}"#),
        ("'a1b2'.match(/[0-9]/)", r#"["1"]"#),
        ("{ toJSON: 1, constructor: 2, ['__proto__']: 3 }", r#"{"toJSON":1,"constructor":2,"__proto__":3}"#),
        ("'\\\\ud800'", r#""\\ud800""#),
    ];
    for (expression, expected) in table {
        assert_eq!(state(&sandbox, expression).await.unwrap(), expected, "{expression}");
    }
}

#[tokio::test]
async fn a_state_belongs_to_nobody_else() {
    // Shared and frozen parts come apart as they would on the way through JSON, so it does not matter where a fold is cut.
    let source = "const shared = Object.freeze({ n: 0 }); export const evolve = { A: () => ({ a: shared, b: shared }), B: (state) => { state.a.n += 1; return state; } };";
    let folded = sandbox().fold(&module(source), None, json(&[r#"{"type":"A"}"#, r#"{"type":"B"}"#]), false).await.unwrap();
    assert_eq!(folded.state, r#"{"a":{"n":1},"b":{"n":0}}"#);
}

#[tokio::test]
async fn throws_of_anything_are_told() {
    let sandbox = sandbox();
    let table = [
        ("throw new Error('boom')", "boom"),
        ("throw new TypeError('boom')", "TypeError: boom"),
        ("state.missing.name", "TypeError: cannot read property 'name' of undefined"),
        ("JSON.parse('{')", "SyntaxError: "),
        ("throw 42", "threw 42"),
        ("throw null", "threw null"),
        ("throw undefined", "threw undefined"),
        ("throw 'text'", "text"),
        ("throw ''", "threw an empty text"),
        ("throw Symbol('s')", "threw Symbol(s)"),
        ("throw () => 1", "threw a function"),
        ("throw {}", "threw an object without a message"),
        ("throw { message: 'own' }", "own"),
        (
            "throw { get message() { for (;;) {} }, toString() { for (;;) {} }, get stack() { for (;;) {} } }",
            "threw an object without a message",
        ),
        ("class E extends Error { get message() { for (;;) {} } } throw new E()", "threw an object without a message"),
        ("class Late extends Error { constructor() { super('late'); this.name = 'Late'; } } throw new Late()", "Late: late"),
        ("throw new Rejection('code', 'why')", "Rejection: why"),
        ("throw Rejection('code', 'why')", "Rejection: why"),
        ("throw new Rejection('')", "TypeError: Rejection(code, message): the code must be a text that is not empty"),
        ("throw Object.create(null)", "threw an object without a message"),
        ("throw 'x'.repeat(5000)", "xxx"),
    ];
    for (statement, message) in table {
        let source = format!("export const evolve = {{ A(state) {{ {statement}; return {{}}; }} }};");
        let error = sandbox.fold(&module(&source), None, json(&[r#"{"type":"A"}"#]), false).await.unwrap_err();
        assert_eq!((error.kind, error.at), (Kind::Threw, Some(0)), "{statement}: {error:?}");
        assert!(error.message.starts_with(message) && error.message.len() <= 2_000, "{statement}: {error:?}");
    }
}

#[tokio::test]
async fn errors_have_line_and_column_of_the_authors_text() {
    let sandbox = sandbox();
    let place = |error: ScriptError| (error.kind, error.file, error.line, error.column);
    let name = || "declaration.js".to_owned();
    let syntax = sandbox.inspect(&module("export const evolve = {\n  A: (state => 1,\n};")).await.unwrap_err();
    assert_eq!(place(syntax), (Kind::Syntax, name(), Some(3), Some(1)));
    let top = sandbox.inspect(&module("const a = 1;\n\n  a.b.c;")).await.unwrap_err();
    assert_eq!(place(top), (Kind::Threw, name(), Some(3), Some(3)));
    let deep = module(
        "const check = (event) => {\n  throw new Error('no');\n};\nexport const evolve = {\n  A: (state, event) => check(event),\n};",
    );
    let error = sandbox.fold(&deep, None, json(&[r#"{"type":"A"}"#]), false).await.unwrap_err();
    assert_eq!(error.to_string(), "declaration.js:2:13: no");
    let function = Arc::new(Module::function("up.js", "(data) => data.a.b.c"));
    let item = (Bytes::from_static(b"{}"), Bytes::from_static(b"{}"));
    let error = sandbox.map(&function, vec![item]).await.unwrap().remove(0).unwrap_err();
    assert_eq!((error.file.as_str(), error.line, error.column, error.at), ("up.js", Some(1), Some(11), Some(0)));
    let nul = sandbox.inspect(&module("export const initial = '\0';")).await.unwrap_err();
    assert_eq!(nul.kind, Kind::Syntax);
}

#[tokio::test]
async fn exports_are_checked() {
    let sandbox = sandbox();
    let table = [
        ("export const evolv = {};", "evolv is no export that means something here; did you mean evolve?"),
        ("export default 1;", "default is no export that means something here; there are initial, snapshotEvery, evolve, decide, project"),
        ("export const evolve = [];", "evolve must be an object of functions"),
        ("export const evolve = { A: 1 };", "evolve.A must be a function"),
        ("export const evolve = { get A() { return 1; } };", "evolve.A must be a function"),
        ("export const decide = null;", "decide must be an object of functions"),
        ("export const initial = { a: () => 1 };", "initial.a is a function, which JSON cannot say"),
        ("export const snapshotEvery = 0;", "snapshotEvery must be a whole number from 1 to 1000000"),
        ("export const snapshotEvery = 1.5;", "snapshotEvery must be a whole number from 1 to 1000000"),
        ("export const snapshotEvery = 1000001;", "snapshotEvery must be a whole number from 1 to 1000000"),
        ("export const snapshotEvery = '5';", "snapshotEvery must be a whole number from 1 to 1000000"),
        ("await 1;", "a module must not await anything"),
    ];
    for (source, message) in table {
        let error = sandbox.inspect(&module(source)).await.unwrap_err();
        assert_eq!((error.kind, error.message.as_str()), (Kind::Definition, message), "{source}");
    }
    let none = Exports { initial: None, snapshot_every: None, evolve: Vec::new(), decide: Vec::new(), project: false };
    assert_eq!(sandbox.inspect(&module("")).await.unwrap(), none);
    let exports = sandbox.inspect(&module(DECLARATION)).await.unwrap();
    assert_eq!(exports.initial.unwrap(), r#"{"status":"new","amount":0,"rejections":0}"#);
    assert_eq!(exports.evolve, ["DeclarationSubmitted", "DeclarationRejected", "PaymentHandled"]);
}

#[tokio::test]
async fn decisions_are_checked() {
    let sandbox = sandbox();
    let table = [
        ("undefined", "decide.a must return a list of events"),
        ("{ type: 'A' }", "decide.a must return a list of events"),
        ("(async () => [])()", "decide.a must not be async"),
        ("[1]", "decide.a[0] is no event: it must be an object"),
        ("[{ type: 'A' }, { data: 1 }]", "decide.a[1].type must be a text that is not empty"),
        ("[{ type: 'A', data: { at: new Date(0) } }]", "decide.a[0].data.at is a Date, which JSON cannot say"),
    ];
    for (expression, message) in table {
        let module = module(&format!("export const decide = {{ a: () => ({expression}) }};"));
        let error = sandbox.decide(&module, "a", None, Bytes::from_static(b"{}")).await.unwrap_err();
        assert_eq!((error.kind, error.message.as_str()), (Kind::Output, message), "{expression}");
    }
    let error = sandbox.decide(&module(DECLARATION), "rejct", None, Bytes::from_static(b"{}")).await.unwrap_err();
    assert_eq!((error.kind, error.message.as_str()), (Kind::Missing, "there is no command rejct; did you mean reject?"));
    let this = module("export const decide = { a() { return this.b(); }, b() { return []; } };");
    assert_eq!(sandbox.decide(&this, "a", None, Bytes::from_static(b"{}")).await.unwrap(), Decision::Events(Vec::new()));
}

#[tokio::test]
async fn upcasters_map_each_item_on_its_own() {
    let sandbox = sandbox();
    let item = |data: &'static str| (Bytes::from_static(data.as_bytes()), Bytes::from_static(br#"{"type":"A","version":3}"#));
    let up = Arc::new(Module::function(
        "up.js",
        "(data, event) => ({ ...data, currency: data.currency.toUpperCase(), v: event.version }) // as of 2",
    ));
    let mapped = sandbox.map(&up, vec![item(r#"{"currency":"eur"}"#), item("{}"), item(r#"{"currency":"usd"}"#)]).await.unwrap();
    assert_eq!(mapped[0].as_ref().unwrap(), r#"{"currency":"EUR","v":3}"#.as_bytes());
    assert_eq!((mapped[1].as_ref().unwrap_err().kind, mapped[1].as_ref().unwrap_err().at), (Kind::Threw, Some(1)));
    assert_eq!(mapped[2].as_ref().unwrap(), r#"{"currency":"USD","v":3}"#.as_bytes());
    assert_eq!(sandbox.map(&up, Vec::new()).await.unwrap().len(), 0);
    let endless = Arc::new(Module::function("up.js", "(data) => { if (data.bad) for (;;) {} return data; }"));
    let error = sandbox.map(&endless, vec![item("{}"), item(r#"{"bad":true}"#)]).await.unwrap_err();
    assert_eq!((error.kind, error.at), (Kind::Time, Some(1)));
    for (source, kind) in [
        ("1", Kind::Definition),
        ("(data) => data; let x", Kind::Syntax),
        ("data); export const more = 1; (1", Kind::Threw),
        ("(data) => undefined", Kind::Output),
    ] {
        let outcome = sandbox.map(&Arc::new(Module::function("up.js", source)), vec![item("{}")]).await;
        assert_eq!(outcome.and_then(|mut mapped| mapped.remove(0)).unwrap_err().kind, kind, "{source}");
    }
}

#[tokio::test]
async fn input_that_is_not_json_is_refused() {
    let sandbox = sandbox();
    let module = module(DECLARATION);
    let bytes = |text: &'static [u8]| Bytes::from_static(text);
    for (state, event) in
        [(&b"{"[..], &b"{}"[..]), (b"{}", b"{"), (b"{}", b"{},{}"), (b"{}", b"1"), (b"\xff", b"{}"), (b"{}", b"\xff"), (b"{}", b"")]
    {
        let error = sandbox.fold(&module, Some(bytes(state)), vec![bytes(event)], false).await.unwrap_err();
        assert_eq!(error.kind, Kind::Output, "{state:?} {event:?}");
    }
    assert_eq!(sandbox.decide(&module, "reject", None, bytes(b"x")).await.unwrap_err().kind, Kind::Output);
}
