//! Is everything denied that is not allowed, whatever the names?

use proptest::prelude::*;

use super::*;

fn principal(scopes: Scopes, streams: Patterns) -> Principal {
    Principal {
        subject: "s".into(),
        client: None,
        scopes,
        streams,
        token: TokenId { issuer: "i".into(), id: "t".into() },
        own: None,
        foreign: None,
        expires_at: Timestamp::from_micros(0),
    }
}

fn patterns(texts: &[&str]) -> Patterns {
    Patterns::parse(texts.iter().copied()).unwrap()
}

#[test]
fn a_pattern_is_a_name_or_a_beginning() {
    for (pattern, stream, expected) in [
        ("order-*", "order-1", true),
        ("order-*", "order-", true),
        ("order-*", "order", false),
        ("order-*", "Order-1", false),
        ("t1-*", "t1-1", true),
        ("t1-*", "t10-1", false),
        ("t1-*", "t1-../t2-1", true),
        ("t1-*", "t2-1", false),
        ("t1-1", "t1-1", true),
        ("t1-1", "t1-10", false),
        ("t1-1", "t1-1\u{200b}", false),
        ("*", "anything", true),
        ("*", "$clients", false),
        // The Cyrillic letter that looks like an o.
        ("order-*", "\u{43e}rder-1", false),
        // One letter in two encodings: two streams.
        ("caf\u{e9}-*", "cafe\u{301}-1", false),
    ] {
        assert_eq!(patterns(&[pattern]).matches(stream), expected, "{pattern} and {stream}");
    }
    for bad in ["", "a*b", "*a", "**", "$*", "$clients", "a\0*", "a\u{7f}"] {
        assert!(Patterns::parse([bad].into_iter()).is_err(), "{bad:?}");
    }
    assert!(!patterns(&[]).matches("a") && !patterns(&[]).are_all());
    assert!(patterns(&["a", "*"]).are_all());
    let many = vec!["a"; pattern::PATTERNS_MAX + 1];
    assert_eq!(Patterns::parse(many.into_iter()), Err(BadPattern::TooMany(65)));
}

#[test]
fn streams_of_the_system_are_read_by_administrators_of_everything_alone() {
    let all = principal(Scopes::all(), Patterns::all());
    assert_eq!(decide(&all, Action::Read, Target::Stream("$audit")), Ok(()));
    for action in [Action::Append, Action::ReadViews, Action::Query, Action::Define, Action::Administer] {
        assert_eq!(decide(&all, action, Target::Stream("$audit")), Err(Denied::System));
    }
    let narrowed = principal(Scopes::all(), patterns(&["a-*"]));
    assert_eq!(decide(&narrowed, Action::Read, Target::Stream("$audit")), Err(Denied::Narrowed));
    let reader = principal(Scopes::NONE.with(Scope::EventsRead), Patterns::all());
    assert_eq!(decide(&reader, Action::Read, Target::Stream("$audit")), Err(Denied::Scope(Scope::Admin)));
    assert_eq!(decide(&reader, Action::Read, Target::Each), Ok(()));
}

#[test]
fn scopes_are_written_as_they_are_read() {
    assert_eq!(Scopes::known_in(&Scopes::all().to_string()), Scopes::all());
    assert_eq!(Scopes::known_in("openid events:read EVENTS:READ events:append2  admin").to_string(), "events:read admin");
    assert_eq!(Scopes::known_in(""), Scopes::NONE);
}

/// Names from few characters, so that they often begin alike.
fn name() -> impl Strategy<Value = String> {
    "[ab$-]{1,6}"
}

fn pattern_text() -> impl Strategy<Value = String> {
    prop_oneof!["[ab-]{1,4}", "[ab-]{0,4}\\*"]
}

fn any_patterns() -> impl Strategy<Value = Vec<String>> {
    proptest::collection::vec(pattern_text(), 0..4)
}

const ACTIONS: [Action; 6] = [Action::Read, Action::Append, Action::ReadViews, Action::Query, Action::Define, Action::Administer];

proptest! {
    /// A decision for one stream says the same as a reader who goes through the rules one by one.
    #[test]
    fn what_is_allowed_is_allowed_by_a_rule(texts in any_patterns(), stream in name(), bits in 0..64_u8, index in 0..6_usize) {
        let scopes: Scopes = Scope::ALL.into_iter().enumerate().filter(|(at, _)| bits & (1 << at) != 0).map(|(_, scope)| scope).collect();
        let streams = Patterns::parse(texts.iter().map(String::as_str)).unwrap();
        let action = ACTIONS[index];
        let star = texts.iter().any(|text| text == "*");
        let named = texts.iter().any(|text| match text.strip_suffix('*') {
            Some(prefix) => stream.starts_with(prefix),
            None => *text == stream,
        });
        let expected = scopes.contains(action.scope()) && if stream.starts_with('$') {
            action == Action::Read && scopes.contains(Scope::Admin) && star
        } else {
            named
        };
        let asking = principal(scopes, streams);
        prop_assert_eq!(decide(&asking, action, Target::Stream(&stream)).is_ok(), expected);
        prop_assert_eq!(decide(&asking, action, Target::Whole).is_ok(), scopes.contains(action.scope()) && star);
    }

    /// What a pattern is said to cover, it matches; and a set that contains another matches all that the other does.
    #[test]
    fn covering_is_matching(texts in any_patterns(), others in any_patterns(), stream in name(), cut in 0..6_usize) {
        let streams = Patterns::parse(texts.iter().map(String::as_str)).unwrap();
        let other = Patterns::parse(others.iter().map(String::as_str)).unwrap();
        let beginning: String = stream.chars().take(cut).collect();
        if !stream.starts_with('$') && streams.cover(&beginning) {
            prop_assert!(streams.matches(&stream));
        }
        if streams.contain(&other) && other.matches(&stream) {
            prop_assert!(streams.matches(&stream));
        }
        let texts = streams.texts();
        prop_assert_eq!(Patterns::parse(texts.iter().map(String::as_str)).unwrap(), streams);
    }
}
