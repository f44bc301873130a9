//! Is the guide's recipe for work over several shards exact, whoever is killed meanwhile?

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Child;
use std::process::Command;
use std::process::Stdio;

use serde_json::Value;
use serde_json::json;

use crate::crash::Random;
use crate::http::Api;
use crate::process::Place;
use crate::process::Server;
use crate::process::note;
use crate::process::run;
use crate::process::skipped;

const GUIDE: &str = include_str!("../../docs/guide/transfers.md");
const ACCOUNTS: u64 = 8;
const OPENING: u64 = 100;
const TRANSFERS: u64 = 120;
const KILLS: u64 = 10;

/// What the guide writes into a file: `cat > name <<'END'` up to `END`.
fn file_of_guide(name: &str) -> String {
    let (_, behind) = GUIDE.split_once(&format!("cat > {name} <<'")).unwrap_or_else(|| panic!("the guide writes {name}"));
    let (end, text) = behind.split_once("'\n").expect("a here document");
    text.split_once(&format!("\n{end}\n")).expect("its end").0.to_owned()
}

fn write(place: &Place, name: &str, text: &str) {
    let path = place.path(name);
    std::fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
    std::fs::write(path, text).expect("a file");
}

/// The guide's process manager, which goes on until it is killed.
fn manager(program: &Path, url: &str) -> Child {
    let mut command = Command::new("python3");
    command.arg(program).env("FACTUM_URL", url).stdout(Stdio::null()).stderr(Stdio::null());
    command.spawn().expect("python starts")
}

async fn finished(api: &Api) -> u64 {
    let types = api.get("/v1/types?limit=100").await.unwrap_or_else(|| json!({"types": []}));
    let count =
        |name: &str| types["types"].as_array().into_iter().flatten().find(|of| of["type"] == name).and_then(|of| of["events"].as_u64());
    count("TransferDone").unwrap_or(0) + count("TransferRefused").unwrap_or(0)
}

async fn begin(api: &Api, random: &mut Random) {
    for account in 0..ACCOUNTS {
        let order = json!({"transfer": format!("opening-{account}"), "amount": OPENING}).to_string();
        let answer = api.post(&format!("/v1/aggregates/account/{account}/commands/deposit"), "application/json", order).await;
        assert!(matches!(answer, Some((201, _))), "{answer:?}");
    }
    for transfer in 0..TRANSFERS {
        let (from, to) = (random.below(ACCOUNTS), random.below(ACCOUNTS));
        let order = json!({"from": from.to_string(), "to": to.to_string(), "amount": 1 + random.below(90)});
        api.write(&format!("transfer-{transfer}"), "TransferRequested", order).await;
    }
}

/// Every transfer is done or refused, once, and the money is where it says.
fn judge(events: &[Value]) {
    let mut balances: BTreeMap<String, i64> = BTreeMap::new();
    let mut steps: BTreeMap<String, Vec<String>> = BTreeMap::new();
    // A stream's events come in its order, and a balance is of one stream.
    for event in events {
        let (stream, kind) = (event["stream"].as_str().expect("text"), event["type"].as_str().expect("text"));
        let amount = event["data"]["amount"].as_i64().expect("a number");
        let change = match kind {
            "MoneyDeposited" => amount,
            "MoneyReserved" => -amount,
            _ => 0,
        };
        if stream.starts_with("account-") {
            let balance = balances.entry(stream.to_owned()).or_default();
            *balance += change;
            assert!(*balance >= 0, "{stream} owes money after {event}");
        }
        let transfer = event["data"]["transfer"].as_str().unwrap_or(stream);
        steps.entry(transfer.to_owned()).or_default().push(kind.to_owned());
    }
    assert_eq!(balances.values().sum::<i64>(), i64::try_from(ACCOUNTS * OPENING).expect("small"));
    let (mut done, mut refused) = (0, 0);
    for (transfer, mut steps) in steps.into_iter().filter(|(transfer, _)| transfer.starts_with("transfer-")) {
        steps.sort_unstable();
        match steps.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
            ["MoneyDeposited", "MoneyReserved", "TransferDone", "TransferRequested"] => done += 1,
            ["ReservationRefused", "TransferRefused", "TransferRequested"] => refused += 1,
            other => panic!("{transfer}: {other:?}"),
        }
    }
    assert_eq!(done + refused, TRANSFERS);
    assert!(done > 0 && refused > 0, "{done} done, {refused} refused");
}

#[tokio::test]
async fn crash_a_process_manager_over_shards_is_exact_whoever_is_killed() {
    if Command::new("python3").arg("--version").output().is_err() {
        return skipped("crash_a_process_manager_over_shards_is_exact_whoever_is_killed", "no python3");
    }
    let (mut random, seed) = Random::of_environment();
    note(&format!("SEED={seed}"));
    let place = Place::new();
    write(&place, "definitions/aggregates/account.js", &file_of_guide("definitions/aggregates/account.js"));
    // What a killed manager had in its hands comes back soon, also while another is still at it.
    let group = file_of_guide("definitions/subscriptions/transfers.toml").replace("5000", "300");
    write(&place, "definitions/subscriptions/transfers.toml", &group);
    write(&place, "transfers.py", &file_of_guide("transfers.py"));
    let program = place.path("transfers.py");
    let mut server = place.start().flag(&["--shards", "4"]).ready();
    let url = server.url.clone();
    let address = url.trim_start_matches("http://").to_owned();
    let api = Api::new(&url);
    run(&["apply", place.path("definitions").to_str().expect("text")], "", &[("FACTUM_URL", &url)]).exits(0);
    begin(&api, &mut random).await;

    let mut managers = [manager(&program, &url), manager(&program, &url)];
    for _ in 0..KILLS {
        let goal = (finished(&api).await + 1 + random.below(TRANSFERS / KILLS)).min(TRANSFERS);
        let mut tries = 0;
        while finished(&api).await < goal {
            tries += 1;
            assert!(tries < 100_000, "nothing goes on any more");
            // One that lost its server has ended.
            for manager in &mut managers {
                if manager.try_wait().expect("a child").is_some() {
                    *manager = self::manager(&program, &url);
                }
            }
        }
        if random.below(3) == 0 {
            server.kill();
            server = start_again(&place, &address);
        } else {
            let victim = &mut managers[usize::try_from(random.below(2)).expect("small")];
            victim.kill().and_then(|()| victim.wait()).expect("it can be killed");
        }
    }
    for manager in &mut managers {
        manager.kill().and_then(|()| manager.wait()).expect("it can be killed");
    }
    let mut tries = 0;
    while finished(&api).await < TRANSFERS {
        tries += 1;
        assert!(tries < 1_000, "nothing goes on any more");
        let ended = Command::new("python3").arg(&program).arg("--once").env("FACTUM_URL", &url).output().expect("python runs");
        assert!(ended.status.success(), "{}", String::from_utf8_lossy(&ended.stderr));
    }
    let (events, _) = api.events_after("0").await;
    judge(&events);
    assert_eq!(server.terminate(), Some(0));
}

fn start_again(place: &Place, address: &str) -> Server {
    place.start_at(address).ready()
}
