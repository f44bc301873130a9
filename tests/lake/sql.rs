//! Do queries answer what an independent reader of the same events finds?

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::time::Duration;

use factum::Database;
use factum::Error;
use factum::database::After;
use factum::database::Direction;
use factum::database::EventsQuery;
use factum::database::Filter;
use factum::database::Format;
use factum::database::Kind;
use factum::database::NewEvent;
use factum::database::Options;
use factum::database::Retention;
use factum::database::SqlQuery;
use factum::database::StreamName;
use factum::database::TableKind;
use serde_json::json;

use crate::fixture::*;

#[tokio::test]
async fn events_and_categories_are_tables() {
    let database = memory(1).await;
    let placed = event(1, "Placed", r#"{"amount": 12, "who": "Ann"}"#);
    append(&database, "order-1", vec![placed, event(2, "Paid", r#"{"amount": 12.5}"#)]).await;
    append(&database, "invoice-1", vec![event(3, "Sent", r#"{"dueDate": "2026-01-01", "Total": 5}"#)]).await;
    assert_eq!(value_of(&database, "select count(*) from events").await, "3");
    let rows = rows_of(&database, "select type, amount, who from \"order\" order by position").await;
    assert_eq!(rows, [["Placed", "12.0", "Ann"], ["Paid", "12.5", "∅"]]);
    assert_eq!(rows_of(&database, "select type from categories.\"order\" order by amount").await, [["Placed"], ["Paid"]]);
    // Names are taken as they are written, where they are written so.
    assert_eq!(value_of(&database, "select dueDate from invoice").await, "2026-01-01");
    assert_eq!(value_of(&database, "SELECT i.dueDate FROM Invoice AS i WHERE i.Total = 5").await, "2026-01-01");
    assert_eq!(value_of(&database, "select \"dueDate\" from \"invoice\"").await, "2026-01-01");
    assert_eq!(value_of(&database, "select sum(amount) as Total from \"order\" order by Total").await, "24.5");
    assert_eq!(value_of(&database, "select data->>'who' from events where version = 1 and stream = 'order-1'").await, "Ann");
    assert_eq!(value_of(&database, "select json_get_float(data, 'amount') from EVENTS where type = 'Paid'").await, "12.5");
    let of_ann = "select type || '/' || data->>'who' as x from events where data->>'who' = 'Ann' and data->'amount' is not null";
    assert_eq!(value_of(&database, of_ann).await, "Placed/Ann");
    assert_eq!(
        value_of(&database, "select sum((data->'amount')::double * 2) from \"order\" where (data->'amount')::double > 12").await,
        "25.0"
    );
    assert_eq!(value_of(&database, "select stream from events order by position desc limit 1").await, "invoice-1");
    assert_eq!(value_of(&database, "select count(*) from events e join \"order\" o on e.id = o.id").await, "2");
    assert_eq!(value_of(&database, "with e as (select * from events) select count(*) from e").await, "3");
    assert!(!rows_of(&database, "explain select * from events").await.is_empty());
    assert_eq!(rows_of(&database, "describe events").await.len(), 13);
}

#[tokio::test]
async fn what_is_wrong_with_a_query_is_told() {
    let database = memory(1).await;
    append(&database, "order-1", vec![event(1, "Placed", r#"{"amount": 12, "dueDate": "x"}"#)]).await;
    for (text, expected) in [
        ("select * from evnts", "there is no table \"evnts\"; did you mean events?"),
        ("select * from orders", "there is no table \"orders\"; did you mean order?"),
        ("select * from views.events", "there is no table \"events\"; GET /v1/tables lists those that there are"),
        (
            "select * from lake.events",
            "there is no schema \"lake\", in which \"events\" could be; there are categories, views, exports and telemetry",
        ),
        ("select amout from \"order\"", "there is no column \"amout\"; did you mean amount?"),
        ("select duedate from \"order\"", "there is no column \"duedate\"; did you mean \"dueDate\"?"),
        ("select $1", "$1 has no value: there are 0 params"),
        ("select ?", "\"?\" is no placeholder: they are called $1, $2 …"),
        ("select 1; select 2", "goes on with \"select\" behind its end; one statement at a time"),
    ] {
        assert_eq!(refusal(&database, text).await, expected, "{text}");
    }
    for (text, line, column) in
        [("select *\nfrom events\nwhere where", 3, 7), ("select *,\n  amout\nfrom \"order\"", 2, 3), ("select 1; x", 1, 11)]
    {
        match query(&database, text).await {
            Err(Error::InvalidQuery { line: found, column: at, detail }) => {
                assert_eq!((found, at), (Some(line), Some(column)), "{text}: {detail}");
            }
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn parameters_are_values_and_nothing_else() {
    let database = memory(1).await;
    append(&database, "order-1", vec![event(1, "Placed", r#"{"amount": 12.5, "who": "'; drop table events; --"}"#)]).await;
    let ask = async |text: &str, params: serde_json::Value| query_with(&database, text, params.as_array().unwrap().clone()).await.unwrap();
    assert_eq!(ask("select count(*) from events where stream = $1 and type = $2", json!(["order-1", "Placed"])).await, [["1"]]);
    assert_eq!(ask("select count(*) from \"order\" where who = $1", json!(["'; drop table events; --"])).await, [["1"]]);
    assert_eq!(ask("select amount + $1 from \"order\" where amount < $2 limit $3", json!([1, 13, 1])).await, [["13.5"]]);
    assert_eq!(ask("select count(*) from events where recorded_at > $1", json!(["2020-01-01T00:00:00Z"])).await, [["1"]]);
    assert_eq!(ask("select $1, $2, $3, $4", json!([null, true, 1.5, {"a": [1]}])).await, [["∅", "true", "1.5", "{\"a\":[1]}"]]);
    assert_eq!(ask("select count(*) from events where position in ($1, $2)", json!([1, 2])).await, [["1"]]);
}

/// A condition of a random query, and what an independent reader makes of it.
type Holds = Box<dyn Fn(&Fact) -> bool>;

struct Condition {
    text: String,
    holds: Holds,
}

fn condition(random: &mut Random, facts: &[Fact]) -> Condition {
    let fact = random.pick(facts).clone();
    let quoted = |text: &str| format!("'{}'", text.replace('\'', "''"));
    let (text, holds): (String, Holds) = match random.below(14) {
        0 => (format!("type = {}", quoted(&fact.event_type)), Box::new(move |other| other.event_type == fact.event_type)),
        1 => {
            let other = random.pick(facts).event_type.clone();
            let text = format!("type in ({}, {})", quoted(&fact.event_type), quoted(&other));
            (text, Box::new(move |found| found.event_type == fact.event_type || found.event_type == other))
        }
        2 => (format!("type <> {}", quoted(&fact.event_type)), Box::new(move |other| other.event_type != fact.event_type)),
        3 => {
            let streams: Vec<String> = (0..20).map(|_| random.pick(facts).stream.clone()).collect();
            let list: Vec<String> = streams.iter().map(|stream| quoted(stream)).collect();
            (format!("stream in ({})", list.join(", ")), Box::new(move |other| streams.contains(&other.stream)))
        }
        4 => {
            let prefix = fact.stream[.."declaration-1".len()].to_owned();
            (format!("stream like '{prefix}%'"), Box::new(move |other| other.stream.starts_with(&prefix)))
        }
        5 => (format!("version >= {}", fact.version), Box::new(move |other| other.version >= fact.version)),
        6 => {
            let at = jiff::Timestamp::from_microsecond(fact.occurred_at.as_micros()).unwrap();
            (format!("occurred_at < '{at}'"), Box::new(move |other| other.occurred_at < fact.occurred_at))
        }
        7 => {
            let bound = random.below(500) as f64 + 0.5;
            (format!("amount > {bound}"), Box::new(move |other| other.data["amount"].as_f64().is_some_and(|amount| amount > bound)))
        }
        8 => {
            let role = fact.data["role"].as_str().unwrap_or("none").to_owned();
            (format!("role = {}", quoted(&role)), Box::new(move |other| other.data["role"].as_str() == Some(&role)))
        }
        9 => ("amount is null".to_owned(), Box::new(|other| other.data["amount"].is_null())),
        10 => {
            let tag = fact.tags.first().cloned().unwrap_or_else(|| "v:2".to_owned());
            (format!("array_has(tags, {})", quoted(&tag)), Box::new(move |other| other.tags.contains(&tag)))
        }
        11 => {
            let by = fact.data["by"].as_str().unwrap_or("none").to_owned();
            (format!("data->>'by' = {}", quoted(&by)), Box::new(move |other| other.data["by"].as_str() == Some(&by)))
        }
        12 => ("category = 'declaration'".to_owned(), Box::new(|other| other.stream.starts_with("declaration-"))),
        _ => {
            let one = fact.event_type.clone();
            let text = format!("(type = {} or version = 2)", quoted(&one));
            (text, Box::new(move |other| other.event_type == one || other.version == 2))
        }
    };
    Condition { text, holds }
}

/// What `select … group by` tells of some facts.
fn folded(facts: &[&Fact]) -> Vec<String> {
    let amounts: Vec<f64> = facts.iter().filter_map(|fact| fact.data["amount"].as_f64()).collect();
    let of = |amount: Option<f64>| amount.map_or("∅".to_owned(), |amount| format!("{amount:.4}"));
    let some = |amount: f64| if amounts.is_empty() { None } else { Some(amount) };
    vec![
        facts.len().to_string(),
        amounts.len().to_string(),
        of(some(amounts.iter().sum())),
        of(amounts.iter().copied().reduce(f64::min)),
        of(amounts.iter().copied().reduce(f64::max)),
        facts.iter().map(|fact| &fact.stream).collect::<BTreeSet<_>>().len().to_string(),
        facts.iter().map(|fact| fact.version).max().map_or("∅".to_owned(), |version| version.to_string()),
        facts
            .iter()
            .map(|fact| fact.data["role"].as_str().unwrap_or_default().to_owned())
            .max()
            .filter(|role| !role.is_empty())
            .unwrap_or("∅".to_owned()),
    ]
}

const FOLD: &str = "count(*), count(amount), sum(amount), min(amount), max(amount), count(distinct stream), max(version), max(role)";

/// Numbers as four digits behind the point, so that sums in another order are the same.
fn rounded(rows: Rows) -> Rows {
    let round = |(place, text): (usize, String)| match text.parse::<f64>() {
        Ok(number) if (2..=4).contains(&place) => format!("{number:.4}"),
        _ => text,
    };
    rows.into_iter().map(|row| row.into_iter().enumerate().map(round).collect()).collect()
}

async fn random_queries_equal_a_fold(shards: u16) {
    let mut random = Random::seeded(0x5EED_0001 + u64::from(shards));
    let facts = facts(6_000);
    let database = memory(shards).await;
    record(&database, &facts).await;
    for round in 0..60 {
        let conditions: Vec<Condition> = (0..random.below(4)).map(|_| condition(&mut random, &facts)).collect();
        let negated = random.below(6) == 0;
        let found: Vec<&Fact> = facts.iter().filter(|fact| conditions.iter().all(|condition| (condition.holds)(fact))).collect();
        let mut text: Vec<&str> = conditions.iter().map(|condition| condition.text.as_str()).collect();
        if text.is_empty() {
            text.push("true");
        }
        let text = text.join(" and ");
        let expected = folded(&found);
        let whole = format!("select {FOLD} from declaration where {text}");
        assert_eq!(rounded(rows_of(&database, &whole).await), [expected], "round {round}: {whole}");
        if negated {
            let rest = format!("select count(*) from declaration where not coalesce({text}, false)");
            assert_eq!(value_of(&database, &rest).await, (facts.len() - found.len()).to_string(), "round {round}: {rest}");
        }
        let mut groups: BTreeMap<&str, Vec<&Fact>> = BTreeMap::new();
        found.iter().for_each(|fact| groups.entry(&fact.event_type).or_default().push(fact));
        let grouped = format!("select {FOLD}, type from declaration where {text} group by type order by type");
        let expected: Rows =
            groups.into_iter().map(|(name, facts)| folded(&facts).into_iter().chain([name.to_owned()]).collect()).collect();
        assert_eq!(rounded(rows_of(&database, &grouped).await), expected, "round {round}: {grouped}");
    }
}

#[tokio::test]
async fn random_queries_equal_a_fold_on_one_shard() {
    random_queries_equal_a_fold(1).await;
}

#[tokio::test]
async fn random_queries_equal_a_fold_on_three_shards() {
    random_queries_equal_a_fold(3).await;
}

/// A condition as the log answers it, and one that means the same and that it can't.
fn twins(random: &mut Random, samples: &[Vec<String>]) -> (String, String) {
    let sample = random.pick(samples).clone();
    let [position, recorded_at, stream, version, event_type, id, shard, tag] = sample.as_slice() else { panic!("{sample:?}") };
    let op = *random.pick(&["=", "<", "<=", ">", ">="]);
    let other = random.pick(samples).clone();
    match random.below(13) {
        0 => (format!("position {op} {position}"), format!("position + 0 {op} {position}")),
        1 => (format!("recorded_at {op} '{recorded_at}'"), format!("recorded_at + interval '0' day {op} '{recorded_at}'")),
        2 => (format!("version {op} {version}"), format!("version + 0 {op} {version}")),
        3 => (format!("shard {op} {shard}"), format!("shard + 0 {op} {shard}")),
        4 => (format!("stream = '{stream}'"), format!("stream || '' = '{stream}'")),
        5 => (format!("stream in ('{stream}', '{}')", other[2]), format!("(stream || '' = '{stream}' or stream || '' = '{}')", other[2])),
        6 => (format!("type in ('{event_type}', '{}')", other[4]), format!("concat(type, '') in ('{event_type}', '{}')", other[4])),
        7 => (format!("id = '{id}'"), format!("id || '' = '{id}'")),
        8 => (format!("array_has(tags, '{tag}')"), format!("array_position(tags, '{tag}') is not null")),
        9 => (
            format!("array_has_any(tags, ['{tag}', '{}'])", other[7]),
            format!("(array_position(tags, '{tag}') is not null or array_position(tags, '{}') is not null)", other[7]),
        ),
        10 => (format!("stream like '{}%'", &stream[..14]), format!("left(stream, 14) = '{}'", &stream[..14])),
        11 => (
            format!("position between {} and {}", other[0], position),
            format!("position + 0 >= {} and position + 0 <= {position}", other[0]),
        ),
        _ => ("category = 'declaration'".to_owned(), "concat(category, '') = 'declaration'".to_owned()),
    }
}

async fn pushed_down_equals_not_pushed_down(shards: u16) {
    let mut random = Random::seeded(0x5EED_0002 + u64::from(shards));
    let database = memory(shards).await;
    record(&database, &facts(3_000)).await;
    append(&database, "other-1", (0..50).map(|n| event(n, "Placed", "{}")).collect()).await;
    let samples = rows_of(
        &database,
        "select position, recorded_at, stream, version, type, id, shard, coalesce(tags[1], 'none') from events where category = 'declaration'",
    )
    .await;
    assert_eq!(samples.len(), 3_000);
    for round in 0..80 {
        let pairs: Vec<(String, String)> = (0..1 + random.below(3)).map(|_| twins(&mut random, &samples)).collect();
        let (pushed, not): (Vec<String>, Vec<String>) = pairs.into_iter().unzip();
        let ask = |conditions: &[String]| {
            format!(
                "select shard, position, stream, version, type, id from events where {} order by shard, position",
                conditions.join(" and ")
            )
        };
        let (fast, slow) = (ask(&pushed), ask(&not));
        let expected = rows_of(&database, &slow).await;
        let found = rows_of(&database, &fast).await;
        assert_eq!(found, expected, "round {round}: {fast}");
        let plan = rows_of(&database, &format!("explain {fast}")).await.concat().join("\n");
        assert!(!plan.contains("FilterExec") && plan.contains("LogScan") | plan.contains("EmptyExec"), "round {round}: {plan}");
        let limit = random.below(40);
        let limited = rows_of(&database, &format!("select position from events where {} limit {limit}", pushed.join(" and "))).await;
        assert_eq!(limited.len(), expected.len().min(limit), "round {round}");
        for direction in ["", "desc"] {
            let of = |conditions: &[String]| {
                format!("select recorded_at from events where {} order by recorded_at {direction} limit 7", conditions.join(" and "))
            };
            assert_eq!(rows_of(&database, &of(&pushed)).await, rows_of(&database, &of(&not)).await, "round {round}: {}", of(&pushed));
        }
    }
}

#[tokio::test]
async fn pushed_down_equals_not_pushed_down_on_one_shard() {
    pushed_down_equals_not_pushed_down(1).await;
}

#[tokio::test]
async fn pushed_down_equals_not_pushed_down_on_three_shards() {
    pushed_down_equals_not_pushed_down(3).await;
}

/// All that readers of pages see: shard, position.
async fn visible(database: &Database) -> Vec<(u16, u64)> {
    let mut after = After::Start;
    let mut seen = Vec::new();
    loop {
        let query = EventsQuery { filter: Filter::default(), after, direction: Direction::Forward, limit: 1_000, bytes_max: 1 << 20 };
        let page = database.read_events(query).await.unwrap();
        seen.extend(page.events.iter().map(|event| (event.shard, event.record.position().get())));
        if page.at_end {
            seen.sort_unstable();
            return seen;
        }
        after = After::Cursor(page.cursor);
    }
}

#[tokio::test]
async fn what_is_hidden_from_readers_is_hidden_from_queries() {
    let database = memory(3).await;
    for stream in 0..40_u64 {
        append(&database, &format!("order-{stream}"), (0..20).map(|n| event(stream * 100 + n, "Placed", r#"{"n": 1}"#)).collect()).await;
    }
    let name = |stream: u64| StreamName::new(&format!("order-{stream}")).unwrap();
    database.delete_stream(name(3), false).await.unwrap();
    database.delete_stream(name(4), true).await.unwrap();
    database.delete_stream(name(5), false).await.unwrap();
    append(&database, "order-5", vec![event(9_999, "Placed", "{}")]).await;
    for (stream, max_count) in [(6, 5), (7, 1)] {
        let retention = Retention { max_count: Some(max_count), ..Retention::default() };
        database.set_retention(name(stream), retention).await.unwrap();
    }
    let expected: Vec<Vec<String>> =
        visible(&database).await.into_iter().map(|(shard, position)| vec![shard.to_string(), position.to_string()]).collect();
    assert_eq!(expected.len(), 35 * 20 + 1 + 5 + 1);
    for text in [
        "select shard, position from events order by shard, position",
        "select shard, position from \"order\" order by shard, position",
        "select shard, position from events where type || '' = 'Placed' order by 1, 2",
        "select shard, position from events where stream like 'order%' order by 1, 2",
    ] {
        assert_eq!(rows_of(&database, text).await, expected, "{text}");
    }
    for (stream, count) in [(3, 0), (4, 0), (5, 1), (6, 5), (7, 1), (8, 20)] {
        let text = format!("select count(*) from events where stream = 'order-{stream}'");
        assert_eq!(value_of(&database, &text).await, count.to_string(), "{text}");
        let text = format!("select count(*) from events where stream in ('order-{stream}', 'nobody') and version < 100");
        assert_eq!(value_of(&database, &text).await, count.to_string(), "{text}");
    }
}

#[tokio::test]
async fn a_query_sees_what_is_committed_up_to_its_cursor() {
    let database = memory(3).await;
    let writer = {
        let database = database.clone();
        tokio::spawn(async move {
            for n in 0..2_000_u64 {
                append(&database, &format!("order-{}", n % 50), vec![event(n, "Placed", "{}")]).await;
            }
        })
    };
    let mut last = 0;
    while last < 2_000 {
        let text = "select count(*), count(distinct id), max(position) from events".to_owned();
        let answer = database.sql(SqlQuery { text, ..SqlQuery::default() }).await.unwrap();
        let committed: u64 = answer.cursor().positions().iter().map(|position| position.get()).sum();
        let batches: Vec<_> = futures::StreamExt::collect::<Vec<_>>(answer).await;
        let found: Rows = batches.into_iter().flat_map(|batch| rows(&batch.unwrap())).collect();
        assert_eq!((&found[0][0], &found[0][1]), (&committed.to_string(), &committed.to_string()));
        assert!(committed >= last);
        last = committed;
    }
    writer.await.unwrap();
}

#[tokio::test]
async fn columns_widen_with_what_comes_and_never_fail() {
    let database = memory(1).await;
    let mut number = 0;
    let mut add = async |data: &[u8]| {
        number += 1;
        let event = NewEvent { data: bytes::Bytes::copy_from_slice(data), ..event(number, "Placed", "") };
        append(&database, "order-1", vec![event]).await;
    };
    let ask = async |text: &str| rows_of(&database, text).await.concat();
    add(br#"{"a": 1}"#).await;
    assert_eq!(ask("select a + 1 from \"order\"").await, ["2"]);
    add(br#"{"a": 1.5}"#).await;
    assert_eq!(ask("select a + 1 from \"order\" order by position").await, ["2.0", "2.5"]);
    add(br#"{"a": "x", "b": null}"#).await;
    assert_eq!(ask("select a from \"order\" order by position").await, ["1", "1.5", "x"]);
    for broken in [&b"{\"a\": "[..], b"\xff\xfe\x00", b"", b"[1]", b"7", b"\"\xc3\x28\""] {
        add(broken).await;
    }
    add(format!("{{\"a\": {}{}}}", "[".repeat(50_000), "]".repeat(50_000)).as_bytes()).await;
    let wide: Vec<String> = (0..1_500).map(|n| format!("\"field{n}\": {n}")).collect();
    add(format!("{{{}}}", wide.join(",")).as_bytes()).await;
    assert_eq!(ask("select count(*), count(a), count(data), count(b), sum(field7) from \"order\"").await, ["11", "4", "10", "0", "7"]);
    assert_eq!(refusal(&database, "select field1400 from \"order\"").await.split(';').next(), Some("there is no column \"field1400\""));
    assert_eq!(ask("select json_get_int(data, 'field1400') from events order by position desc limit 1").await, ["1400"]);
    assert_eq!(ask("select json_get_int(data, 'a') from events order by position limit 1").await, ["1"]);
    // Three that are good, and five that are broken or no objects: nothing at all has no length.
    assert_eq!(ask("select * from \"order\" where length(data) < 10000").await.len(), 8 * (13 + 1_000));
    let tables = database.tables().await.unwrap();
    let of = |name: &str| tables.iter().find(|table| table.name == name).unwrap();
    assert_eq!((of("events").kind, of("order").kind), (TableKind::Events, TableKind::Category));
    assert_eq!(of("order").columns.len(), 13 + 1_000);
    let column = |name: &str| of("order").columns.iter().find(|column| column.name == name).unwrap().data_type.clone();
    assert_eq!(
        (column("a"), column("b"), column("field0"), column("tags")),
        ("text".into(), "text".into(), "bigint".into(), "text[]".into())
    );
}

#[tokio::test]
async fn schemas_say_what_columns_are_and_upcasters_what_is_in_them() {
    let database = memory(1).await;
    let define = async |name: &str, document: serde_json::Value| {
        database.define(Kind::Schema, name, Format::Json, &document.to_string(), false).await.unwrap();
    };
    let paid = |number: u64, version: u16, data: &str| NewEvent { schema_version: version, ..event(number, "Paid", data) };
    append(&database, "order-1", vec![paid(1, 1, r#"{"amount": 12, "at": "2026-01-01T00:00:00Z"}"#)]).await;
    assert_eq!(value_of(&database, "select arrow_typeof(at) from \"order\"").await, "Utf8View");
    let schema = json!({"properties": {"amount": {"type": "number"}, "at": {"type": "string", "format": "date-time"}, "later": {"type": "integer"}}});
    define("Paid/1", json!({"schema": schema})).await;
    assert_eq!(
        rows_of(&database, "select amount, at + interval '1' hour, later from \"order\"").await,
        [["12.0", "2026-01-01T01:00:00Z", "∅"]]
    );
    define(
        "Paid/2",
        json!({
            "schema": {"properties": {"cents": {"type": "integer"}}, "required": ["cents"]},
            "upcast": "(data) => { if (data.amount === 13) throw new Error('unlucky'); return { cents: data.amount * 100 }; }",
        }),
    )
    .await;
    append(&database, "order-1", vec![paid(2, 2, r#"{"cents": 5}"#), paid(3, 1, r#"{"amount": 13}"#)]).await;
    let rows = rows_of(&database, "select version, schema_version, cents, data from \"order\" order by version").await;
    assert_eq!(rows, [["1", "2", "1200", r#"{"cents":1200}"#], ["2", "2", "5", r#"{"cents": 5}"#], ["3", "1", "∅", "∅"]]);
    assert_eq!(refusal(&database, "select amount from \"order\"").await.split(';').next(), Some("there is no column \"amount\""));
    assert_eq!(value_of(&database, "select sum(json_get_int(data, 'cents')) from events").await, "1205");
}

#[tokio::test]
async fn columns_are_kept_over_a_restart_and_found_again_without_them() {
    let folder = tempfile::tempdir().unwrap();
    let open = async || Database::open(Options::new(folder.path())).await.unwrap();
    let database = open().await;
    for stream in 0..24_u64 {
        let events = (0..500).map(|n| event(stream * 1_000 + n, "Placed", r#"{"z": 1, "a": "x"}"#)).collect();
        append(&database, &format!("order-{stream}"), events).await;
    }
    let columns = "select * from \"order\" limit 0";
    let names = async |database: &Database| {
        let answer = database.sql(SqlQuery { text: columns.to_owned(), ..SqlQuery::default() }).await.unwrap();
        answer.schema().fields().iter().skip(13).map(|field| format!("{} {}", field.name(), field.data_type())).collect::<Vec<_>>()
    };
    let expected = ["z Int64", "a Utf8View"];
    assert_eq!(names(&database).await, expected);
    let file = folder.path().join("analytics").join("columns.json");
    let began = std::time::Instant::now();
    while !file.exists() {
        assert!(began.elapsed() < Duration::from_secs(10), "the columns were not kept");
        tokio::task::yield_now().await;
    }
    database.close().await.unwrap();
    let kept = std::fs::read(&file).unwrap();
    for content in [Some(kept.clone()), None, Some(Vec::new()), Some(kept[..kept.len() / 2].to_vec()), Some(b"{}".to_vec())] {
        match content {
            Some(content) => std::fs::write(&file, content).unwrap(),
            None => std::fs::remove_file(&file).unwrap(),
        }
        let database = open().await;
        assert_eq!(names(&database).await, expected);
        assert_eq!(value_of(&database, "select sum(z) from \"order\"").await, "12000");
        database.close().await.unwrap();
    }
    // Kept by a log that had more.
    let text = String::from_utf8(kept).unwrap().replace("\"through\":\"", "\"through\":\"9");
    std::fs::write(&file, text).unwrap();
    let database = open().await;
    assert_eq!(names(&database).await, expected);
    database.close().await.unwrap();
}

const ACCOUNTS: &str = r#"
[source]
categories = ["account"]

[columns]
key     = "text primary key"
owner   = "text index"
balance = "decimal(12,2) default 0"
at      = "timestamp"
ref     = "uuid"
extra   = "json"

[on.Opened]
key = "$.stream"
set = { owner = "$.data.owner", at = "$.recorded_at", ref = "$.id", extra = "$.data" }
"#;

#[tokio::test]
async fn views_are_tables_of_one_state() {
    let database = memory(1).await;
    database.define(Kind::Projection, "accounts", Format::Toml, ACCOUNTS, false).await.unwrap();
    let mut cursor = None;
    for n in 0..100_u64 {
        let data = format!(r#"{{"owner": "o{}", "n": {n}}}"#, n % 10);
        cursor = Some(append(&database, &format!("account-{n}"), vec![event(n, "Opened", &data)]).await);
    }
    let ask = async |text: &str| {
        let query = SqlQuery { text: text.to_owned(), min: cursor.clone(), wait: Duration::from_secs(20), ..SqlQuery::default() };
        let answer = database.sql(query).await.unwrap();
        let batches: Vec<_> = futures::StreamExt::collect::<Vec<_>>(answer).await;
        batches.into_iter().flat_map(|batch| rows(&batch.unwrap())).collect::<Rows>()
    };
    assert_eq!(ask("select count(*) from accounts").await, [["100"]]);
    assert_eq!(ask("select count(*), min(key), max(balance) from views.accounts where owner = 'o3'").await, [["10", "account-13", "0.00"]]);
    assert_eq!(
        ask("select key from accounts where owner in ('o1', 'o2') and key > 'account-9' order by key").await,
        [["account-91"], ["account-92"]]
    );
    let joined = "select count(*) from accounts a join events e on a.ref = e.id and a.at = e.recorded_at where e.category = 'account'";
    assert_eq!(ask(joined).await, [["100"]]);
    assert_eq!(ask("select extra->>'n' from accounts where key = 'account-42'").await, [["42"]]);
    assert_eq!(ask("select count(*) from (select key from accounts limit 7)").await, [["7"]]);
    assert_eq!(database.tables().await.unwrap().into_iter().filter(|table| table.kind == TableKind::View).count(), 1);
}
