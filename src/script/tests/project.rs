//! What a projection does with events and rows, and where it has to stop.

use super::*;

const VIEW: &str = r#"{"key":"id","blank":{"id":null,"n":0,"name":null,"amount":0,"at":null,"tags":null,"flag":null},
    "kinds":{"id":"text","n":"integer","name":"text","amount":2,"at":"timestamp","tags":"other","flag":"boolean"}}"#;

fn body(text: &str) -> Arc<Module> {
    module(&format!("export function project(event, rows) {{\n{text}\n}}"))
}

fn call(events: &[&str], rows: &str) -> Projecting {
    let view = Bytes::from_static(VIEW.as_bytes());
    Projecting { events: json(events), rows: Bytes::from(rows.to_owned()), lookups: Bytes::from_static(b"{}"), view }
}

/// The operations of each event, and why there are no more.
async fn run(module: &Arc<Module>, events: &[&str], rows: &str) -> (Vec<String>, Option<Stop>) {
    let projected = sandbox().project(module, call(events, rows)).await.unwrap();
    (projected.operations.iter().map(|text| String::from_utf8(text.to_vec()).unwrap()).collect(), projected.stop)
}

async fn failure(text: &str) -> ScriptError {
    match run(&body(text), &["{}"], r#"{"\"a\"":null}"#).await {
        (operations, Some(Stop::Failed(error))) if operations.is_empty() => error,
        other => panic!("{text} came to {other:?}"),
    }
}

fn needs(keys: &[&str]) -> Option<Stop> {
    Some(Stop::Needs { own: keys.iter().map(|key| (*key).to_owned()).collect(), lookups: Vec::new() })
}

const COUNT: &str = "const row = rows.get(event.key); rows.upsert(event.key, { n: (row?.n ?? 0) + 1 });";

#[tokio::test]
async fn operations_come_in_order_for_each_event() {
    let text = "if (event.k) { rows.upsert(event.k, { name: event.k, tags: [1, { a: undefined }] }); rows.update({ n: 1 }, { name: null }); rows.delete('z'); } return 5;";
    let (operations, stop) = run(&body(text), &[r#"{"k":"a"}"#, "{}", r#"{"k":"é"}"#], "{}").await;
    assert_eq!(operations[0], r#"[["upsert","a",{"name":"a","tags":[1,{}]}],["update",{"n":1},{"name":null}],["delete","z"]]"#);
    assert_eq!((operations[1].as_str(), operations.len(), stop), ("[]", 3, None));
    assert_eq!(run(&body(text), &[], "{}").await, (Vec::new(), None));
}

#[tokio::test]
async fn rows_that_are_not_known_are_asked_for_at_once() {
    let events = [r#"{"key":"a"}"#, r#"{"key":"b"}"#, r#"{"key":"a"}"#, r#"{"key":"c"}"#];
    assert_eq!(run(&body(COUNT), &events, "{}").await, (Vec::new(), needs(&[r#""a""#, r#""b""#, r#""c""#])));
    let (operations, stop) = run(&body(COUNT), &events, r#"{"\"a\"":{"id":"a","n":4}}"#).await;
    assert_eq!((operations.as_slice(), stop), (&[r#"[["upsert","a",{"n":5}]]"#.to_owned()][..], needs(&[r#""b""#, r#""c""#])));
    let (operations, stop) = run(&body(COUNT), &events, r#"{"\"a\"":null,"\"b\"":null,"\"c\"":null}"#).await;
    assert_eq!((operations[2].as_str(), operations.len(), stop), (r#"[["upsert","a",{"n":2}]]"#, 4, None));
    // Nothing that the code does with what it is told meanwhile counts.
    let swallowed = "let row; try { row = rows.get(event.key); } catch {} rows.upsert(event.key, { n: row ? 1 : 2 });";
    assert_eq!(run(&body(swallowed), &events, "{}").await, (Vec::new(), needs(&[r#""a""#, r#""b""#, r#""c""#])));
}

#[tokio::test]
async fn what_was_written_is_read_only_where_the_host_reads_the_same() {
    // What is written, and whether the next event may read it in the same call.
    let table = [
        ("{ n: 1 }", Some(r#"{"id":"a","n":1,"name":null,"amount":0,"at":null,"tags":null,"flag":null}"#)),
        ("{ name: 'x', flag: true, id: 'a' }", Some(r#"{"id":"a","n":0,"name":"x","amount":0,"at":null,"tags":null,"flag":true}"#)),
        (
            "{ amount: 1.25, at: '2026-01-02T03:04:05.000006Z' }",
            Some(r#"{"id":"a","n":0,"name":null,"amount":1.25,"at":"2026-01-02T03:04:05.000006Z","tags":null,"flag":null}"#),
        ),
        ("{ tags: null }", Some(r#"{"id":"a","n":0,"name":null,"amount":0,"at":null,"tags":null,"flag":null}"#)),
        ("{ amount: 1.255 }", None),
        ("{ amount: '1.5' }", None),
        ("{ amount: 1e-7 }", None),
        ("{ at: '2026-01-02T03:04:05Z' }", None),
        ("{ tags: [] }", None),
        ("{ name: 5 }", None),
        ("{ n: '5' }", None),
        ("{ n: 1.5 }", None),
    ];
    for (row, expected) in table {
        let text = format!("if (event.write) rows.upsert('a', {row}); else rows.upsert('b', {{ name: JSON.stringify(rows.get('a')) }});");
        let (operations, stop) = run(&body(&text), &[r#"{"write":1}"#, "{}"], r#"{"\"a\"":null}"#).await;
        match expected {
            Some(expected) => {
                let read: serde_json::Value = serde_json::from_str(&operations[1]).unwrap();
                assert_eq!((read[0][2]["name"].as_str(), stop), (Some(expected), None), "{row}");
            }
            None => assert_eq!((operations.len(), stop), (1, Some(Stop::Barrier)), "{row}"),
        }
        let own = format!("rows.upsert('a', {row}); if (rows.get('a').id !== 'a') throw 1;");
        assert_eq!(run(&body(&own), &["{}"], r#"{"\"a\"":null}"#).await.1, None, "{row}");
    }
    // A row that is not known can be written, but not read before the host has put the two together.
    let (operations, stop) = run(&body("rows.upsert('a', { n: 1 }); rows.get(event.key);"), &[r#"{"key":"b"}"#], "{}").await;
    assert_eq!((operations.len(), stop), (0, needs(&[r#""b""#])));
    let written = "if (event.write) rows.upsert('a', { n: 1 }); else rows.get('a');";
    assert_eq!(run(&body(written), &[r#"{"write":1}"#, "{}"], "{}").await.1, needs(&[r#""a""#]));
}

#[tokio::test]
async fn rows_behind_an_update_have_to_be_read_again() {
    let text =
        "if (event.update) rows.update({ n: 1 }, { name: 'x' }); else if (event.get) rows.get('a'); else rows.upsert('b', { n: 1 });";
    let events = [r#"{"update":1}"#, "{}", r#"{"update":1}"#, r#"{"get":1}"#, "{}"];
    let (operations, stop) = run(&body(text), &events, r#"{"\"a\"":null}"#).await;
    assert_eq!((operations.len(), stop), (3, Some(Stop::Barrier)));
    let deleted =
        "if (event.write) rows.upsert('a', { tags: [] }); else if (event.delete) rows.delete('a'); else if (rows.get('a')) throw 1;";
    let events = [r#"{"write":1}"#, r#"{"delete":1}"#, "{}"];
    assert_eq!(run(&body(deleted), &events, r#"{"\"a\"":{"id":"a"}}"#).await.1, None, "a row that is gone is known again");
}

#[tokio::test]
async fn keys_have_one_form() {
    let text = "rows.upsert(event.one, { n: 7 }); if (rows.get(event.other).n !== 7) throw 1;";
    assert_eq!(run(&body(text), &[r#"{"one":5,"other":"5"}"#], r#"{"\"5\"":null}"#).await.0, [r#"[["upsert","5",{"n":7}]]"#]);
    let by_id = |kind: &str, text: &'static str, events: &[&str], rows: &'static str| {
        let view = VIEW.replace(r#""id":"text""#, &format!(r#""id":"{kind}""#));
        let call = Projecting { view: Bytes::from(view), ..call(events, rows) };
        async move { sandbox().project(&body(text), call).await.unwrap() }
    };
    let upper = r#"{"one":"0190C0F5-7B3C-7C3A-9D5E-1F2A3B4C5D6E","other":"0190c0f5-7b3c-7c3a-9d5e-1f2a3b4c5d6e"}"#;
    let known = r#"{"\"0190c0f5-7b3c-7c3a-9d5e-1f2a3b4c5d6e\"":null}"#;
    assert_eq!(by_id("uuid", text, &[upper], known).await.stop, None);
    assert_eq!(by_id("integer", text, &[r#"{"one":-0.0,"other":0}"#], r#"{"0":null}"#).await.stop, None);
    let times = ["{}", "{}"];
    let each = "rows.get('2026-01-02T03:04:05Z'); rows.upsert('2026-01-02T03:04:05Z', { n: 1 });";
    let projected = by_id("timestamp", each, &times, r#"{"\"2026-01-02T03:04:05Z\"":null}"#).await;
    assert_eq!((projected.operations.len(), projected.stop), (1, Some(Stop::Barrier)), "only the host knows its one form");
}

#[tokio::test]
async fn other_views_are_looked_up() {
    let module = body("const payer = rows.lookup('payers', event.payer); rows.upsert('a', { name: payer?.name ?? 'none' });");
    let mut asked = call(&[r#"{"payer":"p"}"#, r#"{"payer":7}"#], "{}");
    let first = sandbox().project(&module, asked.clone()).await.unwrap();
    let pair = |key: &str| ("payers".to_owned(), key.to_owned());
    assert_eq!(first.stop, Some(Stop::Needs { own: Vec::new(), lookups: vec![pair("\"p\""), pair("7")] }));
    asked.lookups = Bytes::from_static(br#"{"payers":{"\"p\"":{"name":"x"},"7":null}}"#);
    let second = sandbox().project(&module, asked.clone()).await.unwrap();
    assert_eq!(second.operations, json(&[r#"[["upsert","a",{"name":"x"}]]"#, r#"[["upsert","a",{"name":"none"}]]"#]));
    asked.lookups = Bytes::from_static(br#"{"payers":{"\"p\"":"there is no view payers"}}"#);
    let Some(Stop::Failed(error)) = sandbox().project(&module, asked).await.unwrap().stop else { panic!("it can't be told") };
    assert_eq!((error.message.as_str(), error.line), ("TypeError: rows.lookup: there is no view payers", Some(2)));
}

#[tokio::test]
async fn a_row_that_was_got_belongs_to_the_code() {
    let text = "const row = rows.get('a'); if (row.n !== 1 || row.tags[0] !== 1) throw 'changed'; row.n = 2; row.tags[0] = 2; rows.upsert('a', { name: 'x' });";
    let (operations, stop) = run(&body(text), &["{}", "{}", "{}"], r#"{"\"a\"":{"id":"a","n":1,"tags":[1]}}"#).await;
    assert_eq!((operations.len(), stop), (3, None));
    let shared = "const row = { tags: [1] }; rows.upsert('a', row); row.tags[0] = 2; const got = rows.get('a'); if (got.tags[0] !== 1) throw 1; got.tags[0] = 3; if (rows.get('a').tags[0] !== 1) throw 2;";
    assert_eq!(run(&body(shared), &["{}"], r#"{"\"a\"":null}"#).await, (vec![r#"[["upsert","a",{"tags":[1]}]]"#.to_owned()], None));
}

#[tokio::test]
async fn what_came_before_an_event_that_throws_is_kept() {
    let text = "if (event.bad) { rows.upsert('a', { n: 5 });\nthrow new Error('bad'); }\nrows.upsert('a', { n: 1 });";
    let (operations, stop) = run(&body(text), &["{}", "{}", r#"{"bad":1}"#, "{}"], "{}").await;
    let Some(Stop::Failed(error)) = stop else { panic!("it threw") };
    assert_eq!((operations.len(), error.kind, error.message.as_str()), (2, Kind::Threw, "bad"));
    assert_eq!((error.at, error.line), (Some(2), Some(3)));
    let half = "rows.upsert('a', { name: event.half ? '\\ud800' : 'x' });";
    let (operations, stop) = run(&body(half), &["{}", r#"{"half":1}"#, "{}"], "{}").await;
    assert!(matches!(stop, Some(Stop::Failed(error)) if error.kind == Kind::Output && error.at == Some(1)) && operations.len() == 1);
}

#[tokio::test]
async fn arguments_are_checked() {
    let table = [
        ("rows.get()", "TypeError: rows.get: the key is undefined, but must be a text"),
        ("rows.get(null)", "TypeError: rows.get: the key is null, but must be a text"),
        ("rows.get({})", "TypeError: rows.get: the key is an object, but must be a text"),
        ("rows.get(0.5)", "TypeError: rows.get: the key is 0.5, but must be a text"),
        ("rows.upsert('a')", "TypeError: rows.upsert: the row is undefined, but must be an object"),
        ("rows.upsert('a', [1])", "TypeError: rows.upsert: the row is a list, but must be an object"),
        ("rows.upsert('a', { n: () => 1 })", "TypeError: rows.upsert.n is a function, which JSON cannot say"),
        ("rows.upsert('a', { n: NaN })", "TypeError: rows.upsert.n is NaN, which JSON cannot say"),
        ("rows.upsert('a', { m: 1 })", "TypeError: rows.upsert: there is no column \"m\"; there are id, n, name, amount, at, tags, flag"),
        (
            "rows.upsert('a', { constructor: 1 })",
            "TypeError: rows.upsert: there is no column \"constructor\"; there are id, n, name, amount, at, tags, flag",
        ),
        ("rows.upsert('a', { id: 'b' })", "TypeError: rows.upsert: the row's id is another than its key"),
        ("rows.update({}, { n: 1 })", "TypeError: rows.update: at least one column must say which rows"),
        ("rows.update({ n: 1 }, { id: 'b' })", "TypeError: rows.update: a row's primary key can't be changed"),
        ("rows.delete()", "TypeError: rows.delete: the key is undefined, but must be a text"),
        ("rows.lookup('payers')", "TypeError: rows.lookup: the key is undefined, but must be a text, a number or a boolean"),
        ("rows.lookup(1, 1)", "TypeError: rows.lookup: the view is 1, but must be a text"),
        ("return (async () => 1)()", "project must not be async"),
    ];
    for (text, message) in table {
        let error = failure(text).await;
        assert_eq!((error.message.as_str(), error.at), (message, Some(0)), "{text}");
    }
    // What was refused may be caught, and it is no way to anything of ours.
    let caught = "try { rows.upsert('a', { n: NaN }); } catch (error) { if (error.constructor !== TypeError) throw 1; } rows.x = 1;";
    assert_eq!(failure(caught).await.kind, Kind::Threw, "rows is frozen");
}

#[tokio::test]
async fn a_projection_is_stopped_as_anything_else() {
    let sandbox = sandbox();
    let table = [
        ("for (;;) {}", Kind::Time),
        ("for (;;) { try { rows.get('b'); } catch {} }", Kind::Time),
        ("const a = []; for (;;) a.push([1, 2, 3, 4]);", Kind::Memory),
    ];
    for (text, kind) in table {
        let error = sandbox.project(&body(&format!("if (event.bad) {{ {text} }}")), call(&["{}", r#"{"bad":1}"#], "{}")).await.unwrap_err();
        assert_eq!((error.kind, error.at), (kind, Some(1)), "{text}");
    }
    assert_eq!(failure("const f = () => f() + 1; f();").await.kind, Kind::Stack);
    assert_eq!(failure("rows.upsert('a', { name: 'x'.repeat(2000000) });").await.message, "TypeError: rows.upsert is too large");
    assert_eq!(failure("for (;;) rows.delete('a'.repeat(20000));").await.message, "TypeError: rows.delete is too large");
    // Much output ends a call sooner, and is no failure.
    let (operations, stop) = run(&body("rows.upsert('a', { name: 'x'.repeat(100000) });"), &["{}"; 20], "{}").await;
    assert_eq!((operations.len(), stop), (6, Some(Stop::Barrier)));
}

#[tokio::test]
async fn what_is_kept_between_events_is_found_out() {
    let sandbox = sandbox();
    let keeps = module("let n = 0;\nexport function project(event, rows) { rows.get('a'); n += 1; rows.upsert('a', { n }); }");
    let error = sandbox.project(&keeps, call(&["{}", "{}", "{}"], r#"{"\"a\"":null}"#)).await.unwrap_err();
    assert_eq!((error.kind, error.at), (Kind::Impure, Some(2)));
    let reads = body("rows.upsert('a', { n: (rows.get('a')?.n ?? 0) + rows.get('b').n });");
    let rows = r#"{"\"a\"":null,"\"b\"":{"n":2}}"#;
    let projected = sandbox.project(&reads, call(&["{}", "{}"], rows)).await.unwrap();
    assert_eq!(projected.operations[1], r#"[["upsert","a",{"n":4}]]"#);
}

#[tokio::test]
async fn a_module_says_that_it_projects() {
    let sandbox = sandbox();
    assert!(sandbox.inspect(&body("")).await.unwrap().project);
    assert!(!sandbox.inspect(&module(DECLARATION)).await.unwrap().project);
    for source in ["export const project = 1;", "export const project = () => 1; export const evolve = {};"] {
        assert_eq!(sandbox.inspect(&module(source)).await.unwrap_err().kind, Kind::Definition, "{source}");
    }
    let error = sandbox.project(&module(DECLARATION), call(&["{}"], "{}")).await.unwrap_err();
    assert_eq!((error.kind, error.message.as_str()), (Kind::Missing, "exports no function project(event, rows)"));
}
