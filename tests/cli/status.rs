//! `factum status`: all is well, or what is not and what to do.

use serde_json::json;

use crate::busy::keep_busy;
use crate::http::Api;
use crate::process::Place;

#[tokio::test]
async fn status_says_whether_all_is_well() {
    let place = Place::new();
    let server = place.start().ready();
    let api = Api::new(&server.url);
    keep_busy(&api).await;
    let ran = server.run(&["status"]);
    assert!(ran.code == Some(0) || ran.stdout.contains("of disk left"), "{:?}: {}", ran.code, ran.stdout);
    let status = &ran.json_lines()[0];
    // Nobody consumes what the group waits for. How full the disk of this machine is, is its own affair.
    let troubles: Vec<_> = status["troubles"].as_array().expect("troubles").iter().filter(|trouble| trouble["part"] != "shard").collect();
    let [one] = troubles[..] else { panic!("{status}") };
    assert_eq!((&one["severity"], &one["name"]), (&json!("warning"), &json!("mail")));
    assert_eq!((&status["shards"][0]["state"], &status["projections"][0]["state"]), (&json!("ok"), &json!("running")));
    if cfg!(feature = "analytics") {
        assert_eq!((&status["exports"][0]["name"], &status["exports"][0]["state"]), (&json!("lake"), &json!("running")));
    }
    let toml = "[columns]\nid = \"text primary key\"\nn = \"bigint\"\n[on.Paid]\nkey = \"$.stream\"\nset = { n = \"$.data.note\" }\n";
    assert_eq!(api.put("/v1/projections/mistypes", "application/toml", toml).await.0, 201);
    api.failed("mistypes").await;
    let ran = server.run(&["status"]).exits(1);
    let status = ran.json_lines().remove(0);
    let critical = status["troubles"].as_array().expect("troubles").iter().find(|trouble| trouble["part"] == "projection");
    let worst = critical.expect("it is told");
    assert_eq!((&worst["severity"], &worst["part"], &worst["name"]), (&json!("critical"), &json!("projection"), &json!("mistypes")));
    assert!(worst["todo"].as_str().is_some_and(|todo| todo.contains("factum projections mistypes")), "{worst}");
    assert_eq!(server.terminate(), Some(0));
    let url = server_url_of_nobody();
    crate::process::run(&["status"], "", &[("FACTUM_URL", &url)]).exits(1).says("127.0.0.1");
}

/// Where nobody listens: a port that was free a moment ago.
fn server_url_of_nobody() -> String {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    format!("http://{}", listener.local_addr().expect("bound"))
}
