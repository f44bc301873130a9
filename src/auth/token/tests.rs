//! Is every token refused that is not exactly right? The claims and parts one by one; whole requests are in `tests/http`.

use serde_json::Map;
use serde_json::Value;
use serde_json::json;

use super::*;
use crate::auth::text::encode;
use factum_storage::Timestamp;

const NOW_S: i64 = 1_800_000_000;

fn now() -> Timestamp {
    Timestamp::from_micros(NOW_S * 1_000_000)
}

fn claims(change: &Value) -> Map<String, Value> {
    let mut claims = json!({
        "iss": "i", "aud": "factum", "sub": "s", "client_id": "c", "client_version": 3, "jti": "t",
        "exp": NOW_S + 60, "iat": NOW_S, "scope": "events:read admin", "streams": ["order-*"],
    });
    let map = claims.as_object_mut().unwrap();
    for (name, value) in change.as_object().unwrap() {
        if value == "(absent)" {
            map.remove(name);
        } else {
            map.insert(name.clone(), value.clone());
        }
    }
    map.clone()
}

fn read(change: &Value, kind: Kind) -> Result<Claims, Rejected> {
    Claims::read(&claims(change), kind, "factum", now())
}

fn refused(changes: &[Value]) {
    for change in changes {
        for kind in [Kind::Own, Kind::Foreign] {
            assert!(read(change, kind).is_err(), "{change} {kind:?}");
        }
    }
}

#[test]
fn what_is_right_is_read() {
    let found = read(&json!({}), Kind::Own).unwrap();
    assert_eq!((found.subject.as_str(), found.client.as_deref(), found.own), ("s", Some("c"), Some((3, None))));
    assert_eq!((found.scopes.to_string().as_str(), found.streams.texts()), ("events:read admin", vec!["order-*".to_owned()]));
    assert!(read(&json!({"streams": "(absent)"}), Kind::Own).unwrap().streams.are_all());
    assert!(!read(&json!({"streams": []}), Kind::Own).unwrap().streams.matches("a"));
    assert_eq!(read(&json!({"scope": "(absent)", "scp": ["sql:read"]}), Kind::Foreign).unwrap().scopes.to_string(), "sql:read");
    assert_eq!(read(&json!({"aud": ["a", "factum"], "nbf": NOW_S}), Kind::Foreign).unwrap().own, None);
}

#[test]
fn j7_times_are_whole_numbers_within_bounds() {
    refused(&[
        json!({"exp": "(absent)"}),
        json!({"exp": (NOW_S + 60).to_string()}),
        json!({"exp": 1_800_000_060.5}),
        json!({"exp": -1}),
        json!({"exp": 9_223_372_036_854_775_807_i64}),
        json!({"exp": 9_223_372_036_854_775_808_u64}),
        json!({"exp": 1e300}),
        json!({"exp": NOW_S}),
        json!({"exp": null}),
        json!({"nbf": NOW_S + 60}),
        json!({"nbf": NOW_S.to_string()}),
        json!({"nbf": null}),
        json!({"iat": NOW_S + 60}),
        json!({"iat": "now"}),
    ]);
}

#[test]
fn j8_the_audience_is_this_very_text() {
    for audience in ["FACTUM", "factum/", "fact", "factum2", "", " factum", "https://factum"] {
        refused(&[json!({"aud": audience}), json!({"aud": [audience]})]);
    }
    refused(&[
        json!({"aud": "(absent)"}),
        json!({"aud": ["factum", 7]}),
        json!({"aud": []}),
        json!({"aud": {"factum": 1}}),
        json!({"aud": true}),
    ]);
}

#[test]
fn j9_tokens_about_identity_are_not_for_access() {
    for change in
        [json!({"nonce": "n"}), json!({"at_hash": "h"}), json!({"token_use": "id"}), json!({"typ": "ID"}), json!({"typ": "Refresh"})]
    {
        assert!(read(&change, Kind::Foreign).is_err(), "{change}");
    }
    assert!(read(&json!({"client_version": "(absent)"}), Kind::Own).is_err());
}

#[test]
fn claims_of_other_types_are_refused_rather_than_left_out() {
    refused(&[
        json!({"sub": 7}),
        json!({"sub": ""}),
        json!({"sub": "a".repeat(257)}),
        json!({"client_id": ["c"]}),
        json!({"jti": {}}),
        json!({"scope": 7}),
        json!({"scope": ["events:read", 7]}),
        json!({"streams": 7}),
        json!({"streams": [7]}),
        json!({"streams": ["a*b"]}),
        json!({"streams": ["$clients"]}),
        json!({"streams": null}),
    ]);
}

fn token(header: &str, claims: &str) -> String {
    format!("{}.{}.{}", encode(header), encode(claims), encode("signature"))
}

#[test]
fn j13_size_and_depth_have_their_bounds() {
    let deep = format!(r#"{{"a":{}1{}}}"#, "[".repeat(2_000), "]".repeat(2_000));
    for (token, why) in [
        (token(r#"{"alg":"ES256"}"#, &format!(r#"{{"a":"{}"}}"#, "x".repeat(100_000))), "too large"),
        (token(r#"{"alg":"ES256"}"#, &deep), "a part that is no object in base64url"),
    ] {
        assert_eq!(Compact::read(&token).err(), Some(Rejected(why)));
    }
}

#[test]
fn j14_parts_have_one_way_to_be_written() {
    let good = token(r#"{"alg":"ES256","typ":"application/AT+JWT","kid":"k"}"#, "{}");
    let read = Compact::read(&good).unwrap();
    assert_eq!((read.typ.as_deref(), read.key.as_deref(), read.algorithm.as_str()), (Some("at+jwt"), Some("k"), "ES256"));
    for bad in [
        format!("{good}="),
        format!(" {good}"),
        format!("{good}\n"),
        format!("{good}."),
        good.replacen('.', "..", 1),
        good.replacen('.', "", 1),
        format!("{good}.a.b"),
        good.rsplit_once('.').unwrap().0.to_owned() + ".",
        good.rsplit_once('.').unwrap().0.to_owned() + ".Y",
        token(r#"{"alg":"ES256","alg":"none"}"#, "{}"),
        token(r#"{"alg":"ES256"}"#, r#"{"sub":"a","sub":"b"}"#),
        token(r#"{"alg":"ES256"}"#, "[]"),
        token(r#"["alg"]"#, "{}"),
        token("{}", "{}"),
        token(r#"{"alg":7}"#, "{}"),
        String::new(),
        "..".to_owned(),
    ] {
        assert!(Compact::read(&bad).is_err(), "{bad}");
    }
}

#[test]
fn j5_j6_headers_are_short_texts_and_extensions_are_refused() {
    let long = format!(r#"{{"alg":"ES256","kid":"{}"}}"#, "k".repeat(257));
    for header in [
        long.as_str(),
        r#"{"alg":"ES256","kid":7}"#,
        r#"{"alg":"ES256","kid":"a","kid":"b"}"#,
        r#"{"alg":"ES256","crit":["exp"]}"#,
        r#"{"alg":"ES256","crit":[]}"#,
        r#"{"alg":"ES256","b64":false}"#,
        r#"{"alg":"dir","enc":"A256GCM"}"#,
        r#"{"alg":"ES256","zip":"DEF"}"#,
    ] {
        assert!(Compact::read(&token(header, "{}")).is_err(), "{header}");
    }
    // A key that comes along is not looked at, whatever it is.
    for header in
        [r#"{"alg":"ES256","jwk":{"kty":"oct","k":"AA"}}"#, r#"{"alg":"ES256","jku":"http://127.0.0.1:1/","x5u":"a","x5c":["b"]}"#]
    {
        assert!(Compact::read(&token(header, "{}")).is_ok_and(|read| read.key.is_none()), "{header}");
    }
}
