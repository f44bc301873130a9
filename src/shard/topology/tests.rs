//! Does every table lead each stream to one shard, evenly where it should, and for ever to the same?

use super::regions::matches;
use super::*;
use crate::shard::SLOTS;

/// Names as applications have them: a kind with a number, a UUID, a tenant in braces, an address, a document.
fn names() -> impl Iterator<Item = String> {
    (0..1_000_000_u64).map(|n| {
        let mixed = n.wrapping_mul(0x9E37_79B9_7F4A_7C15);
        match n % 6 {
            0 => format!("order-{}", 100_000 + n),
            1 => format!("declaration-{}", 86_791 + n),
            2 => format!("customer-{:08x}-{:04x}-7{:03x}-a{:03x}-{:012x}", n, n % 65_521, n % 4_093, n % 4_091, mixed >> 16),
            3 => format!("invoice-{{tenant-{}}}-{n}", n % 100_003),
            4 => format!("mailbox-user.{n}@example.org"),
            _ => format!("device/{:x}/readings-2026-{:02}-{:02}", mixed, n % 12 + 1, n % 28 + 1),
        }
    })
}

fn loads(topology: &Topology, names: &[String]) -> Vec<u64> {
    let mut loads = vec![0; usize::from(topology.shards())];
    for name in names {
        loads[usize::from(topology.owner(name))] += 1;
    }
    loads
}

fn topology(strategy: Strategy, shards: Option<u16>) -> Topology {
    let (shards, strategy) = strategy.settled(shards).unwrap();
    Topology::new(shards, strategy)
}

fn geo(default: Option<&str>) -> Topology {
    let region = |name: &str, shards: &[u16], keys: &[&str]| Region {
        name: name.to_owned(),
        shards: shards.to_vec(),
        keys: keys.iter().map(|key| (*key).to_owned()).collect(),
    };
    let regions = vec![region("eu", &[0, 2], &["eu-*", "*.de"]), region("us", &[1], &["us-*"])];
    topology(Strategy::Geo { regions, default_region: default.map(str::to_owned) }, None)
}

#[test]
fn a_million_names_are_spread_evenly_by_hash_and_by_ring() {
    let names: Vec<String> = names().collect();
    for shards in [2, 4, 5, 16, 64] {
        for strategy in [Strategy::Hash, Strategy::Ring { weights: Vec::new() }] {
            let name = strategy.as_str();
            let loads = loads(&topology(strategy, Some(shards)), &names);
            let mean = names.len() as f64 / f64::from(shards);
            let max = *loads.iter().max().unwrap() as f64;
            println!("{name}, {shards} shards: max/mean {:.3}", max / mean);
            assert!(max / mean <= 1.10, "{name}, {shards} shards: {loads:?}");
        }
    }
}

#[test]
fn a_fifth_shard_takes_a_fifth_of_the_names() {
    let names: Vec<String> = names().take(100_000).collect();
    let of = |shards| topology(Strategy::Ring { weights: Vec::new() }, Some(shards));
    let (four, five) = (of(4), of(5));
    let moved: Vec<&String> = names.iter().filter(|name| four.owner(name) != five.owner(name)).collect();
    let fraction = moved.len() as f64 / names.len() as f64;
    assert!((0.18..=0.22).contains(&fraction), "{fraction}");
    assert!(moved.iter().all(|name| five.owner(name) == 4));
}

#[test]
fn hash_is_slot_modulo_shards_as_ever() {
    for shards in [1, 3, 7] {
        let topology = topology(Strategy::Hash, Some(shards));
        for name in names().take(10_000) {
            assert_eq!(topology.owner(&name), partition::slot(&name) % shards);
        }
    }
}

#[test]
fn ranges_go_by_the_order_of_keys() {
    let topology = topology(Strategy::Range { splits: vec!["g".to_owned(), "n".to_owned()] }, None);
    for (stream, shard) in
        [("a", 0), ("fzz", 0), ("g", 1), ("g-1", 1), ("mzz", 1), ("n", 2), ("z", 2), ("Z", 0), ("z-{b}", 0), ("ä", 2), ("$x", 0)]
    {
        assert_eq!(topology.owner(stream), shard, "{stream}");
    }
    let reason = |stream| topology.explain(stream).reason;
    let range = |from: Option<&str>, to: Option<&str>| Reason::Range { from: from.map(str::to_owned), to: to.map(str::to_owned) };
    assert_eq!(reason("a"), range(None, Some("g")));
    assert_eq!(reason("g"), range(Some("g"), Some("n")));
    assert_eq!(reason("z"), range(Some("n"), None));
    assert_eq!(reason("$definitions"), Reason::System);
}

#[test]
fn what_has_a_region_stays_in_it() {
    let topology = geo(Some("us"));
    for number in 0..1_000 {
        assert!([0, 2].contains(&topology.owner(&format!("eu-{number}"))));
        assert!([0, 2].contains(&topology.owner(&format!("order-{{shop{number}.de}}-7"))));
        assert_eq!(topology.owner(&format!("us-{number}")), 1);
        assert_eq!(topology.owner(&format!("order-{number}")), 1);
    }
    let used: std::collections::BTreeSet<u16> = (0..100).map(|number| topology.owner(&format!("eu-{number}"))).collect();
    assert_eq!(used.len(), 2);
    let region = |name: &str, pattern: Option<&str>| Reason::Region { region: Some(name.to_owned()), pattern: pattern.map(str::to_owned) };
    assert_eq!(topology.explain("eu-1").reason, region("eu", Some("eu-*")));
    assert_eq!(topology.explain("order-1").reason, region("us", None));
}

#[test]
fn without_a_default_what_has_no_region_is_not_written() {
    let check = |topology: &Topology, stream: &str| topology.check_home(&StreamName::new(stream).unwrap(), || "stream".to_owned());
    let strict = geo(None);
    let refused = check(&strict, "order-1").unwrap_err();
    assert!(matches!(&refused, Error::Residency { field, detail } if field == "stream" && detail.contains("eu, us")), "{refused:?}");
    assert_eq!(strict.explain("order-1").reason, Reason::Region { region: None, pattern: None });
    check(&strict, "eu-1").unwrap();
    check(&strict, "$definitions").unwrap();
    check(&geo(Some("eu")), "order-1").unwrap();
}

#[test]
fn patterns_match_whole_keys() {
    for (pattern, text, expected) in [
        ("eu-*", "eu-1", true),
        ("eu-*", "eu-", true),
        ("eu-*", "us-eu-1", false),
        ("eu", "eu", true),
        ("eu", "eu-1", false),
        ("*.de", "a.de", true),
        ("*.de", "a.de.com", false),
        ("a*b*c", "a-b-b-c", true),
        ("a*b*c", "acb", false),
        ("a*a", "a", false),
        ("*", "", true),
        ("**", "x", true),
    ] {
        assert_eq!(matches(pattern, text), expected, "{pattern} {text}");
    }
}

#[test]
fn what_is_kept_reads_back_and_what_is_not_whole_is_refused() {
    let range = Strategy::Range { splits: vec!["g".to_owned()] };
    for topology in
        [topology(Strategy::Hash, Some(3)), topology(Strategy::Ring { weights: vec![1, 3] }, None), topology(range, None), geo(None)]
    {
        assert_eq!(Topology::from_json(&topology.to_json()), Ok(topology));
    }
    let check = |text: &str, expected: &str| {
        let refused = Topology::from_json(text).unwrap_err();
        assert!(refused.contains(expected), "{refused}");
    };
    check("", "EOF");
    check(r#"{"version":1,"shards":2,"by":{"strategy":"ring","weights":[1,1]},"slots":[0,1]}"#, "2 slots have an owner");
    check(r#"{"version":1,"shards":2,"by":{"strategy":"ring","weights":[1,1]}}"#, "0 slots have an owner");
    check(r#"{"version":1,"shards":3,"by":{"strategy":"range","splits":["g"]}}"#, "makes 2");
    check(r#"{"version":1,"shards":3,"by":{"strategy":"fair"}}"#, "fair");
    let slots = vec!["2"; usize::from(SLOTS)].join(",");
    check(&format!(r#"{{"version":1,"shards":2,"by":{{"strategy":"hash"}},"slots":[{slots}]}}"#), "owned by shard 2");

    // Ranges that were changed: without a gap, of shards that are there, and owned by who has had them last.
    let ranges = |ranges: &str, moves: &str| {
        let by = r#""by":{"strategy":"range","splits":["g"]}"#;
        format!(r#"{{"version":3,"shards":3,"began_with":2,{by},"ranges":[{ranges}],"moves":[{moves}]}}"#)
    };
    let moved = r#"{"version":3,"keys":{"from":"n"},"from":1,"to":2,"from_position":5,"to_position":1}"#;
    let whole = r#"{"from":"","shard":0},{"from":"g","shard":1},{"from":"n","shard":2}"#;
    let topology = Topology::from_json(&ranges(whole, moved)).unwrap();
    assert_eq!(["f", "g", "n", "z"].map(|key| topology.owner(key)), [0, 1, 2, 2]);
    check(&ranges("", moved), "first range");
    check(&ranges(r#"{"from":"","shard":0},{"from":"n","shard":2},{"from":"g","shard":1}"#, moved), "does not stand before");
    check(&ranges(r#"{"from":"","shard":0},{"from":"g","shard":1},{"from":"n","shard":3}"#, moved), "shard 3");
    check(&ranges(r#"{"from":"","shard":0},{"from":"g","shard":1},{"from":"m","shard":2}"#, moved), "their owner is 2");
    check(&ranges(r#"{"from":"","shard":0},{"from":"g","shard":1},{"from":"o","shard":2}"#, moved), "their owner is 1");
    check(&ranges(whole, &moved.replace("\"from\":1", "\"from\":0")), "went from shard 0");
    check(&ranges(whole, &moved.replace("\"keys\":{\"from\":\"n\"}", "\"slots\":[1]")), "the strategy is range");
    check(&ranges(whole, &moved.replace("\"keys\":{\"from\":\"n\"},", "")), "neither slots nor keys");
    check(&ranges(whole, moved).replace("\"began_with\":2", "\"began_with\":4"), "began with 4");
    check(r#"{"version":3,"shards":2,"by":{"strategy":"range","splits":["g"]}}"#, "does not fit the strategy range");
}

/// What a build before ranges could move has kept: hand-overs of slots, and goals without a plan.
#[test]
fn what_was_kept_before_ranges_could_move_reads_as_ever() {
    let slots = (0..SLOTS).map(|slot| if slot < 2 { "1" } else { "0" }).collect::<Vec<_>>().join(",");
    let moved = r#"{"version":3,"slots":[0,1],"from":0,"to":1,"from_position":7,"to_position":2}"#;
    let goal = r#"{"job":"a job","kind":{"add":1},"started_at":5,"total":2048,"is_paused":true}"#;
    let by = r#""by":{"strategy":"hash"}"#;
    let text = format!(r#"{{"version":3,"shards":2,{by},"slots":[{slots}],"began_with":1,"moves":[{moved}],"goal":{goal}}}"#);
    let topology = Topology::from_json(&text).unwrap();
    assert_eq!((topology.moves()[0].part.clone(), topology.slots_of(1)), (Part::Slots(vec![0, 1]), Some(2)));
    assert_eq!(topology.to_json(), text, "and is written as it was");
}

/// What the settings said when the database was made is right to ask for, however it has grown.
#[test]
fn what_it_began_with_is_still_right_to_ask_for() {
    let goal = || Goal {
        job: "a job".to_owned(),
        kind: GoalKind::Add(3),
        started_at: 0,
        total: 0,
        is_paused: false,
        planned: Vec::new(),
        why: None,
    };
    let first = geo(Some("us"));
    let grown = first.with_shard(1, Some("us"), goal());
    assert_ne!(first.strategy(), grown.strategy());
    for asked in [first.strategy(), grown.strategy(), &Strategy::Geo { regions: Vec::new(), default_region: None }] {
        grown.check_asked(asked).unwrap();
    }
    grown.check_asked(geo(None).strategy()).unwrap_err();
    let first = topology(Strategy::Range { splits: vec!["g".to_owned()] }, None);
    let grown = first.with_shard(1, None, goal());
    grown.check_asked(first.strategy()).unwrap();
    grown.check_asked(&Strategy::Range { splits: vec!["h".to_owned()] }).unwrap_err();
}
